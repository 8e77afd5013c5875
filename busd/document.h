/* SPDX-License-Identifier: MIT */
/*
 * A JSON file together with its text, so that whatever is wrong with a value can be
 * reported as file, line and column. For configuration: the file is small and read
 * whole.
 */
#ifndef BUSD_DOCUMENT_H
#define BUSD_DOCUMENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define DOCUMENT_BYTES_MAX   (1u << 20)
#define DOCUMENT_REASON_SIZE 768

struct document {
    char *path;
    json_t *tree; /* an object */
    char *text;   /* newlines made spaces, for the scanner; the same offsets */
    size_t size;
    size_t *lines; /* the offset at which each line begins */
    size_t line_count;
};

/* Reads a file whose top is an object. On failure, false with a sentence in
 * `reason`, and nothing to be freed. */
bool document_load(struct document *ret_document, const char *path,
                   char reason[DOCUMENT_REASON_SIZE]);
void document_deinit(struct document *document);

/* One step down from the top of a document: a key of an object, or, with key NULL, an
 * index into an array. */
struct document_step {
    const struct document_step *above; /* NULL: a child of the top */
    const char *key;
    size_t index;
};

/* Writes "file:line:column: …" about the value at `step` (NULL: the whole). */
void document_fault(const struct document *document, const struct document_step *step,
                    char reason[DOCUMENT_REASON_SIZE], const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
