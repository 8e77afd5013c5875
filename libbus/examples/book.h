/* SPDX-License-Identifier: MIT */
/*
 * The address book's entries and the JSON file they live in. Knows nothing of the
 * bus.
 *
 * A change is on the disk when the function that makes it returns 0, and has not
 * happened at all when it fails. The file is replaced as a whole, so that whoever
 * opens it sees the old book or the new one, also after a power cut. One process
 * has a book at a time, by a lock on FILE.lock.
 *
 * An entry is {"id", "name", "email", "phone"}, the last two optional. Ids begin
 * at 1 and are never given out again.
 */
#ifndef LIBBUS_EXAMPLES_BOOK_H
#define LIBBUS_EXAMPLES_BOOK_H

#include <jansson.h>
#include <stddef.h>

/* With these the whole book fits into one message of 1 MiB. */
#define BOOK_ENTRIES_MAX 500
#define BOOK_TEXT_MAX    255 /* bytes of a name, an email address, a phone number */

struct book {
    char *path;
    char *new_path; /* what is being written, before it becomes the file */
    int lock;
    json_t *entries;
    json_int_t next_id;
};

/* Opens the book, and makes the file if there is none. A file that is not an
 * address book is left as it is. On failure a negative errno, and `error` says what
 * is wrong and where; the book need not be closed then. */
int book_open(struct book *book, const char *path, char *error, size_t error_size);
void book_close(struct book *book);

/* NULL if the text (may be NULL: none) can stand in an entry, or else what is wrong
 * with it, as the end of a sentence. */
const char *book_check_text(const char *text);

/* Adds an entry of checked texts; email and phone may be NULL. 1 with *ret_entry
 * borrowed, 0 if the book is full, or the errno of storing it. */
int book_add(struct book *book, const char *name, const char *email, const char *phone,
             json_t **ret_entry);

/* 1 with *ret_entry owned by the caller, 0 if there is no such entry, or the errno of
 * storing the book. */
int book_remove(struct book *book, json_int_t id, json_t **ret_entry);

/* A new array of the entries that hold `text` (checked) in any of their texts,
 * whatever the case of the letters, as LC_CTYPE knows it; NULL when out of memory. */
json_t *book_find(const struct book *book, const char *text);

#endif
