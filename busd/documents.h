/* SPDX-License-Identifier: MIT */
/*
 * The files that a configuration is made of: the one that is named, else NAME.json in
 * the first folder that has it; and beside it conf.d/ and policy.d/ of every folder, in
 * the order of the files' names. A file in an earlier folder masks one of the same name
 * in a later one, and an empty file does nothing but that. What a file says is no
 * matter here.
 */
#ifndef BUSD_DOCUMENTS_H
#define BUSD_DOCUMENTS_H

#include "busd/document.h"

/* All borrowed. */
struct documents_source {
    const char *file;           /* NULL: looked for in the folders */
    const char *name;           /* what to look for, without its .json */
    const char *const *folders; /* the first has the first word */
    size_t folder_count;
};

struct documents {
    struct document *items; /* the main file first, if there is one */
    size_t count;
    bool has_main;
};

/* Reads them all. False with a sentence in `reason`, and nothing to be freed. */
bool documents_load(struct documents *ret_documents, const struct documents_source *source,
                    char reason[DOCUMENT_REASON_SIZE]);
void documents_deinit(struct documents *documents);

#endif
