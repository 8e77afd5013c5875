/* SPDX-License-Identifier: MIT */
#include "tools/busctl-lite/body.h"

#include <bus/bus.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tools/busctl-lite/json.h"
#include "tools/busctl-lite/owned.h"
#include "tools/busctl-lite/report.h"

#define READ_SIZE 65536
#define WHAT_MAX  300

struct pair {
    const char *key;
    size_t key_size;
    bool is_json;
    const char *value;
};

int read_whole(int fd, char **ret_text, size_t *ret_size)
{
    CLEANUP(owned_text) char *text = NULL;
    size_t capacity = 0;
    size_t size = 0;

    for (;;) {
        ssize_t n;

        if (capacity - size < READ_SIZE + 1) {
            char *larger = realloc(text, capacity * 2 + READ_SIZE + 1);

            if (!larger)
                return -ENOMEM;
            text = larger;
            capacity = capacity * 2 + READ_SIZE + 1;
        }
        n = read(fd, text + size, READ_SIZE);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        size += (size_t)n;
    }
    text[size] = '\0';
    *ret_text = TAKE(text);
    *ret_size = size;
    return 0;
}

/* Whether the argument is a pair: a key that begins with a letter or underscore,
 * then '=' or ':=' before anything that JSON is made of. */
static bool parse_pair(const char *argument, struct pair *ret_pair)
{
    size_t size = strcspn(argument, "={}[]\",: \t\r\n");
    bool is_json = strncmp(argument + size, ":=", 2) == 0;
    char first = argument[0];

    if (!((first >= 'a' && first <= 'z') || (first >= 'A' && first <= 'Z') || first == '_'))
        return false;
    if (!is_json && argument[size] != '=')
        return false;
    *ret_pair = (struct pair){argument, size, is_json, argument + size + (is_json ? 2 : 1)};
    return true;
}

static int check(const char *what, const char *text, size_t size)
{
    size_t offset = 0;
    const char *reason = bus_check_json(text, size, &offset);

    return reason ? report_bad_json(what, text, size, offset, reason) : STATUS_OK;
}

static bool is_utf8(const char *text)
{
    size_t size = strlen(text);

    for (size_t i = 0, length; i < size; i += length) {
        length = json_utf8_length(text + i, size - i);
        if (length == 0)
            return false;
    }
    return true;
}

/* Checks one pair against itself and those before it. */
static int check_pair(const char *verb, char *const *operands, size_t index, struct pair *ret_pair)
{
    char what[WHAT_MAX];

    if (!parse_pair(operands[index], ret_pair))
        return report_usage(verb,
                            "'%s': a body of several arguments is made of key=value (text) and "
                            "key:=json",
                            operands[index]);
    for (size_t i = 0; i < index; i++) {
        struct pair before;

        if (parse_pair(operands[i], &before) && before.key_size == ret_pair->key_size &&
            memcmp(before.key, ret_pair->key, before.key_size) == 0)
            return report_usage(verb, "the key '%.*s' is given twice", (int)before.key_size,
                                before.key);
    }
    if (!is_utf8(operands[index]))
        return report_failure(STATUS_INVALID, "the pair '%.*s' is not valid UTF-8",
                              (int)ret_pair->key_size, ret_pair->key);
    snprintf(what, sizeof(what), "the value of '%.*s'", (int)ret_pair->key_size, ret_pair->key);
    return ret_pair->is_json ? check(what, ret_pair->value, strlen(ret_pair->value)) : STATUS_OK;
}

static int from_pairs(const char *verb, char *const *operands, size_t count, char **ret_text,
                      size_t *ret_size)
{
    CLEANUP(owned_text) char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    int r = STATUS_OK;

    if (!out)
        return report_no_memory();
    fputc('{', out);
    for (size_t i = 0; i < count && !r; i++) {
        struct pair pair;

        r = check_pair(verb, operands, i, &pair);
        if (r)
            break;
        fputs(i ? "," : "", out);
        json_write_string(out, pair.key, pair.key_size);
        fputc(':', out);
        if (pair.is_json)
            fputs(pair.value, out);
        else
            json_write_string(out, pair.value, strlen(pair.value));
    }
    fputc('}', out);
    if (fclose(out) != 0 && !r)
        r = report_no_memory();
    if (r)
        return r;
    *ret_text = TAKE(text);
    *ret_size = size;
    return STATUS_OK;
}

static int from_file(const char *path, char **ret_text, size_t *ret_size)
{
    CLEANUP(owned_fd) int fd = -1;
    int r;

    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return report_failure(STATUS_USAGE, "cannot open the body's file %s: %s", path,
                              strerror(errno));
    r = read_whole(fd, ret_text, ret_size);
    if (r < 0)
        return report_failure(STATUS_USAGE, "cannot read the body's file %s: %s", path,
                              strerror(-r));
    return STATUS_OK;
}

static bool is_word(const char *text)
{
    for (; *text; text++) {
        if (!((*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z') || *text == '_' ||
              *text == '.' || *text == '-' || *text == ' '))
            return false;
    }
    return true;
}

static int from_argument(const char *argument, char **ret_text, size_t *ret_size)
{
    int r;

    *ret_text = strdup(argument);
    if (!*ret_text)
        return report_no_memory();
    *ret_size = strlen(argument);
    r = check("the body", argument, *ret_size);
    if (r && argument[0] && is_word(argument))
        fprintf(stderr, "  A string has quotes, which the shell must not take: '\"%s\"'\n",
                argument);
    return r;
}

/* One argument that is no pair. On failure *ret_text may hold something too. */
static int from_single(const char *argument, char **ret_text, size_t *ret_size)
{
    char what[WHAT_MAX];
    int r;

    if (strcmp(argument, "-") == 0) {
        r = read_whole(STDIN_FILENO, ret_text, ret_size);
        if (r < 0)
            return report_failure(STATUS_USAGE, "cannot read the body from stdin: %s",
                                  strerror(-r));
        return check("the body from stdin", *ret_text, *ret_size);
    }
    if (argument[0] == '@') {
        r = from_file(argument + 1, ret_text, ret_size);
        snprintf(what, sizeof(what), "the body from %s", argument + 1);
        return r ? r : check(what, *ret_text, *ret_size);
    }
    return from_argument(argument, ret_text, ret_size);
}

int body_from_operands(const char *verb, char *const *operands, size_t count, char **ret_text,
                       size_t *ret_size)
{
    CLEANUP(owned_text) char *text = NULL;
    size_t size = 0;
    struct pair pair;
    int r;

    if (count == 0) {
        text = strdup("null");
        size = strlen("null");
        r = text ? STATUS_OK : report_no_memory();
    } else if (count > 1 || parse_pair(operands[0], &pair)) {
        r = from_pairs(verb, operands, count, &text, &size);
    } else {
        r = from_single(operands[0], &text, &size);
    }
    if (r)
        return r;
    *ret_text = TAKE(text);
    *ret_size = size;
    return STATUS_OK;
}

const char *body_fault(struct bus_message *message, size_t *ret_offset)
{
    const char *text;
    size_t size;

    *ret_offset = 0;
    if (bus_message_body_fd(message) < 0)
        return NULL;
    text = bus_message_body_text(message, &size);
    return text ? bus_check_json(text, size, ret_offset) : "there is no memory to map it";
}

int body_of_message(struct bus_message *message, const char *what, const char **ret_text,
                    size_t *ret_size)
{
    size_t offset;
    const char *fault = body_fault(message, &offset);

    *ret_text = bus_message_body_text(message, ret_size);
    return fault ? report_bad_json(what, *ret_text ? *ret_text : "", *ret_size, offset, fault)
                 : STATUS_OK;
}
