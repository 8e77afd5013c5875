/* SPDX-License-Identifier: MIT */
#include "libbus/examples/book.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include <wchar.h>
#include <wctype.h>

/* ---------------------------------------------------------- the file */

static int write_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t n = write(fd, data, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        data += n;
        size -= (size_t)n;
    }
    return fsync(fd) < 0 ? -errno : 0;
}

/* A rename is on the disk when its directory is. */
static int sync_directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *directory = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    int fd, r = 0;

    if (!directory)
        return -ENOMEM;
    fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(directory);
    if (fd < 0)
        return -errno;
    if (fsync(fd) < 0)
        r = -errno;
    close(fd);
    return r;
}

static int replace_file(const struct book *book, const char *data, size_t size)
{
    int fd = open(book->new_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int r;

    if (fd < 0)
        return -errno;
    r = write_all(fd, data, size);
    if (close(fd) < 0 && r >= 0)
        r = -errno;
    if (r >= 0 && rename(book->new_path, book->path) < 0)
        r = -errno;
    if (r < 0) {
        unlink(book->new_path);
        return r;
    }
    return sync_directory_of(book->path);
}

/* Makes `entries` (taken) the book if they can be stored. */
static int book_store(struct book *book, json_t *entries, json_int_t next_id)
{
    json_t *document = json_pack("{s:I, s:O}", "next_id", next_id, "entries", entries);
    char *text = document ? json_dumps(document, JSON_INDENT(2)) : NULL;
    int r = text ? replace_file(book, text, strlen(text)) : -ENOMEM;

    free(text);
    json_decref(document);
    if (r < 0) {
        json_decref(entries);
        return r;
    }
    json_decref(book->entries);
    book->entries = entries;
    book->next_id = next_id;
    return 0;
}

/* ------------------------------------------------------------ opening */

/* One process has the book: a second one would overwrite what this one adds. The
 * lock goes with the process, however it ends. */
static int book_lock(struct book *book, char *error, size_t error_size)
{
    char *path;
    int r = 0;

    if (asprintf(&path, "%s.lock", book->path) < 0)
        return -ENOMEM;
    book->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (book->lock < 0 || flock(book->lock, LOCK_EX | LOCK_NB) < 0) {
        r = -errno;
        snprintf(error, error_size, "%s: %s", path,
                 r == -EWOULDBLOCK ? "another process has this address book open" : strerror(-r));
    }
    free(path);
    return r;
}

/* Checks what was read from the file as strictly as what comes over the bus. */
static const char *entry_check(json_t *entry, json_int_t last_id, json_int_t next_id,
                               json_int_t *ret_id)
{
    const char *name, *email = NULL, *phone = NULL;

    if (json_unpack(entry, "{s:I, s:s, s?s, s?s !}", "id", ret_id, "name", &name, "email", &email,
                    "phone", &phone) < 0)
        return "is not {\"id\": number, \"name\": text, \"email\": text, \"phone\": text}";
    if (*ret_id <= last_id || *ret_id >= next_id)
        return "has an \"id\" that does not lie between the one before and \"next_id\"";
    if (book_check_text(name) || book_check_text(email) || book_check_text(phone))
        return "has a text that is empty, too long or holds a control character";
    return NULL;
}

static int book_check(const struct book *book, char *error, size_t error_size)
{
    json_int_t id = 0;
    json_t *entry;
    size_t i;

    json_array_foreach(book->entries, i, entry)
    {
        const char *wrong = entry_check(entry, id, book->next_id, &id);
        if (wrong) {
            snprintf(error, error_size, "%s: not an address book: entries[%zu] %s", book->path, i,
                     wrong);
            return -EINVAL;
        }
    }
    return 0;
}

static int book_parse(struct book *book, int fd, char *error, size_t error_size)
{
    json_error_t fault;
    json_t *document = json_loadfd(fd, JSON_REJECT_DUPLICATES, &fault);
    int r;

    if (!document) {
        snprintf(error, error_size, "%s:%d:%d: %s", book->path, fault.line, fault.column,
                 fault.text);
        return -EINVAL;
    }
    r = json_unpack_ex(document, &fault, 0, "{s:I, s:O !}", "next_id", &book->next_id, "entries",
                       &book->entries);
    json_decref(document);
    if (r < 0 || !json_is_array(book->entries)) {
        snprintf(error, error_size, "%s: not an address book: %s", book->path,
                 r < 0 ? fault.text : "\"entries\" is not an array");
        return -EINVAL;
    }
    if (json_array_size(book->entries) > BOOK_ENTRIES_MAX) {
        snprintf(error, error_size, "%s: holds more than %d entries", book->path, BOOK_ENTRIES_MAX);
        return -EINVAL;
    }
    return book_check(book, error, error_size);
}

static int book_load(struct book *book, char *error, size_t error_size)
{
    int fd = open(book->path, O_RDONLY | O_CLOEXEC);
    int r;

    if (fd < 0 && errno == ENOENT)
        r = book_store(book, json_array(), 1);
    else
        r = fd < 0 ? -errno : 0;
    if (r < 0)
        snprintf(error, error_size, "%s: %s", book->path, strerror(-r));
    if (fd >= 0) {
        r = book_parse(book, fd, error, error_size);
        close(fd);
    }
    return r;
}

int book_open(struct book *book, const char *path, char *error, size_t error_size)
{
    int r = 0;

    *book = (struct book){.path = strdup(path), .lock = -1};
    if (!book->path || asprintf(&book->new_path, "%s.new", path) < 0) {
        snprintf(error, error_size, "out of memory");
        book->new_path = NULL;
        r = -ENOMEM;
    }
    if (r >= 0)
        r = book_lock(book, error, error_size);
    if (r >= 0)
        r = book_load(book, error, error_size);
    if (r < 0)
        book_close(book);
    return r;
}

void book_close(struct book *book)
{
    json_decref(book->entries);
    if (book->lock >= 0)
        close(book->lock);
    free(book->new_path);
    free(book->path);
    *book = (struct book){.lock = -1};
}

/* ------------------------------------------------------------ changing */

const char *book_check_text(const char *text)
{
    if (!text)
        return NULL;
    if (text[0] == '\0')
        return "must not be empty";
    if (strlen(text) > BOOK_TEXT_MAX)
        return "must be at most 255 bytes long";
    /* What one user enters is shown on another one's terminal. */
    for (const char *p = text; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            return "must not hold control characters";
    return NULL;
}

int book_add(struct book *book, const char *name, const char *email, const char *phone,
             json_t **ret_entry)
{
    json_t *entries, *entry;
    int r;

    if (json_array_size(book->entries) >= BOOK_ENTRIES_MAX)
        return 0;
    entry = json_pack("{s:I, s:s, s:s*, s:s*}", "id", book->next_id, "name", name, "email", email,
                      "phone", phone);
    entries = json_copy(book->entries);
    if (json_array_append_new(entries, entry) < 0) {
        json_decref(entries);
        return -ENOMEM;
    }
    r = book_store(book, entries, book->next_id + 1);
    if (r < 0)
        return r;
    *ret_entry = entry;
    return 1;
}

int book_remove(struct book *book, json_int_t id, json_t **ret_entry)
{
    json_t *entries, *entry = NULL;
    size_t i;
    int r;

    for (i = 0; i < json_array_size(book->entries); i++) {
        entry = json_array_get(book->entries, i);
        if (json_integer_value(json_object_get(entry, "id")) == id)
            break;
    }
    if (i == json_array_size(book->entries))
        return 0;
    entries = json_copy(book->entries);
    if (json_array_remove(entries, i) < 0) {
        json_decref(entries);
        return -ENOMEM;
    }
    json_incref(entry);
    r = book_store(book, entries, book->next_id);
    if (r < 0) {
        json_decref(entry);
        return r;
    }
    *ret_entry = entry;
    return 1;
}

/* ------------------------------------------------------------- finding */

/* A checked text in lower case. */
static void fold(const char *text, wchar_t ret_folded[BOOK_TEXT_MAX + 1])
{
    size_t n = mbstowcs(ret_folded, text, BOOK_TEXT_MAX);

    ret_folded[n == (size_t)-1 ? 0 : n] = L'\0';
    for (wchar_t *p = ret_folded; *p; p++)
        *p = (wchar_t)towlower((wint_t)*p);
}

static bool entry_contains(json_t *entry, const wchar_t *folded_part)
{
    wchar_t folded[BOOK_TEXT_MAX + 1];
    const char *key;
    json_t *value;

    json_object_foreach(entry, key, value)
    {
        if (!json_is_string(value))
            continue;
        fold(json_string_value(value), folded);
        if (wcsstr(folded, folded_part))
            return true;
    }
    return false;
}

json_t *book_find(const struct book *book, const char *text)
{
    wchar_t folded_part[BOOK_TEXT_MAX + 1];
    json_t *found = json_array();
    json_t *entry;
    size_t i;

    fold(text, folded_part);
    json_array_foreach(book->entries, i, entry)
    {
        if (entry_contains(entry, folded_part) && json_array_append(found, entry) < 0) {
            json_decref(found);
            return NULL;
        }
    }
    return found;
}
