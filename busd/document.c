/* SPDX-License-Identifier: MIT */
#include "busd/document.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libbus/base/macros.h"
#include "libbus/wire/scan.h"

/* The whole file with room for the scanner's sentinel and padding. */
static char *read_file(const char *path, size_t *ret_size, char reason[DOCUMENT_REASON_SIZE])
{
    CLEANUP(cleanup_close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    CLEANUP(cleanup_free) char *text = NULL;
    size_t size = 0;

    if (fd < 0) {
        snprintf(reason, DOCUMENT_REASON_SIZE, "%s: %s", path, strerror(errno));
        return NULL;
    }
    text = malloc(DOCUMENT_BYTES_MAX + 1 + SCAN_PADDING);
    while (text && size <= DOCUMENT_BYTES_MAX) {
        ssize_t n = read(fd, text + size, DOCUMENT_BYTES_MAX + 1 - size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            snprintf(reason, DOCUMENT_REASON_SIZE, "%s: %s", path, strerror(errno));
            return NULL;
        }
        if (n == 0)
            break;
        size += (size_t)n;
    }
    if (!text || size > DOCUMENT_BYTES_MAX) {
        snprintf(reason, DOCUMENT_REASON_SIZE, "%s: %s", path,
                 text ? "it is larger than 1 MiB" : strerror(ENOMEM));
        return NULL;
    }
    *ret_size = size;
    return TAKE(text);
}

/* Remembers where lines begin and makes the text one line for the scanner. */
static bool flatten(struct document *document)
{
    size_t count = 1;

    for (size_t i = 0; i < document->size; i++)
        count += document->text[i] == '\n';
    document->lines = calloc(count, sizeof(*document->lines));
    if (!document->lines)
        return false;
    document->line_count = 1;
    for (size_t i = 0; i < document->size; i++) {
        if (document->text[i] != '\n')
            continue;
        document->text[i] = ' ';
        document->lines[document->line_count++] = i + 1;
    }
    document->text[document->size] = '\n';
    memset(document->text + document->size + 1, 0, SCAN_PADDING - 1);
    return true;
}

bool document_load(struct document *ret_document, const char *path,
                   char reason[DOCUMENT_REASON_SIZE])
{
    struct document document = {0};
    json_error_t error;

    document.text = read_file(path, &document.size, reason);
    if (!document.text)
        return false;
    document.path = strdup(path);
    document.tree = json_loadb(document.text, document.size, JSON_REJECT_DUPLICATES, &error);
    if (!document.tree)
        snprintf(reason, DOCUMENT_REASON_SIZE, "%s:%d:%d: %s", path, error.line, error.column,
                 json_error_code(&error) == json_error_null_character
                     ? "a text cannot have a \\u0000 in it"
                     : error.text);
    else if (!document.path || !flatten(&document))
        snprintf(reason, DOCUMENT_REASON_SIZE, "%s: %s", path, strerror(ENOMEM));
    else if (!json_is_object(document.tree))
        document_fault(&document, NULL, reason, "it must be an object");
    else {
        *ret_document = document;
        return true;
    }
    document_deinit(&document);
    return false;
}

void document_deinit(struct document *document)
{
    free(TAKE(document->path));
    free(TAKE(document->text));
    free(TAKE(document->lines));
    json_decref(TAKE(document->tree));
}

/* From an opening bracket or brace to the member's key or element; NULL: not there.
 * The text has been parsed, so it is right. */
static const char *find_member(const char *p, const struct document_step *step,
                               const char **ret_value)
{
    struct scan_fault fault;
    size_t index = 0;
    bool escaped;

    p = scan_space(p + 1);
    while (*p != '}' && *p != ']') {
        const char *start = p;
        const char *value = p;
        if (step->key) {
            const char *end = scan_string(p + 1, &escaped, &fault);
            if (!end)
                return NULL;
            value = scan_space(scan_space(end) + 1);
            size_t size = (size_t)(end - p) - 2;
            if (strlen(step->key) == size && memcmp(step->key, p + 1, size) == 0) {
                *ret_value = value;
                return start;
            }
        } else if (index++ == step->index) {
            *ret_value = value;
            return start;
        }
        p = scan_value(value, 0, &fault);
        if (!p)
            return NULL;
        p = scan_space(p);
        if (*p == ',')
            p = scan_space(p + 1);
    }
    return NULL;
}

/* Where the value begins; *ret_start is its key, where it has one. */
static const char *find_step(const struct document *document, const struct document_step *step,
                             const char **ret_start)
{
    const char *container = scan_space(document->text);
    const char *value = container;

    if (!step) {
        *ret_start = container;
        return container;
    }
    if (step->above)
        container = find_step(document, step->above, ret_start);
    *ret_start = container;
    if (!container || (*container != '{' && *container != '['))
        return container;
    const char *start = find_member(container, step, &value);
    if (!start)
        return container;
    *ret_start = start;
    return value;
}

void document_fault(const struct document *document, const struct document_step *step,
                    char reason[DOCUMENT_REASON_SIZE], const char *format, ...)
{
    const char *start = document->text;
    va_list args;
    size_t line = 1;

    find_step(document, step, &start);
    size_t offset = (size_t)(start - document->text);
    while (line < document->line_count && document->lines[line] <= offset)
        line++;
    int used = snprintf(reason, DOCUMENT_REASON_SIZE, "%.255s:%zu:%zu: ", document->path, line,
                        offset - document->lines[line - 1] + 1);
    va_start(args, format);
    vsnprintf(reason + used, DOCUMENT_REASON_SIZE - (size_t)used, format, args);
    va_end(args);
}
