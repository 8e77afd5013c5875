/* SPDX-License-Identifier: MIT */
#include "busd/documents.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libbus/base/macros.h"

void documents_deinit(struct documents *documents)
{
    for (size_t i = 0; i < documents->count; i++)
        document_deinit(&documents->items[i]);
    free(documents->items);
}

static bool add(struct documents *documents, const char *path, char reason[DOCUMENT_REASON_SIZE])
{
    struct document *items =
        realloc(documents->items, (documents->count + 1) * sizeof(*documents->items));

    if (!items) {
        snprintf(reason, DOCUMENT_REASON_SIZE, "%.255s: %s", path, strerror(ENOMEM));
        return false;
    }
    documents->items = items;
    if (!document_load(&items[documents->count], path, reason))
        return false;
    documents->count++;
    return true;
}

/* The main file, if there is one. */
static bool load_main(struct documents *documents, const struct documents_source *source,
                      char reason[DOCUMENT_REASON_SIZE])
{
    char path[PATH_MAX];

    if (source->file) {
        documents->has_main = add(documents, source->file, reason);
        return documents->has_main;
    }
    for (size_t i = 0; i < source->folder_count; i++) {
        snprintf(path, sizeof(path), "%s/%s.json", source->folders[i], source->name);
        if (access(path, F_OK) != 0 && errno == ENOENT)
            continue;
        documents->has_main = add(documents, path, reason);
        return documents->has_main;
    }
    return true;
}

static int is_json(const struct dirent *entry)
{
    size_t size = strlen(entry->d_name);

    return size > 5 && entry->d_name[0] != '.' && strcmp(entry->d_name + size - 5, ".json") == 0;
}

/* Whether a folder before this one has a file of this name. */
static bool is_masked(const struct documents_source *source, size_t folder, const char *kind,
                      const char *name)
{
    char path[PATH_MAX];

    for (size_t i = 0; i < folder; i++) {
        snprintf(path, sizeof(path), "%s/%s/%s", source->folders[i], kind, name);
        if (access(path, F_OK) == 0)
            return true;
    }
    return false;
}

struct drop_in {
    char *path;
    const char *name; /* within the path */
    size_t found;     /* as the how manieth */
};

/* Of conf.d/a.json and policy.d/a.json the first one comes first, always. */
static int compare_names(const void *a, const void *b)
{
    const struct drop_in *left = a;
    const struct drop_in *right = b;
    int order = strcmp(left->name, right->name);

    return order ? order : (left->found > right->found) - (left->found < right->found);
}

/* Appends a folder's file, unless it is masked. */
static bool add_drop_in(struct drop_in **drop_ins, size_t *count, const char *folder,
                        const char *name)
{
    struct drop_in *grown = realloc(*drop_ins, (*count + 1) * sizeof(*grown));
    char *path;

    if (!grown)
        return false;
    *drop_ins = grown;
    if (asprintf(&path, "%s/%s", folder, name) < 0)
        return false;
    grown[*count] = (struct drop_in){path, strrchr(path, '/') + 1, *count};
    (*count)++;
    return true;
}

/* The unmasked files of kind/ in all folders, appended to *drop_ins. A folder that is
 * not there is empty; one that cannot be read may hold rules that count. */
static bool find_drop_ins(const struct documents_source *source, const char *kind,
                          struct drop_in **drop_ins, size_t *count,
                          char reason[DOCUMENT_REASON_SIZE])
{
    bool right = true;

    for (size_t i = 0; right && i < source->folder_count; i++) {
        char folder[PATH_MAX];
        struct dirent **entries = NULL;
        snprintf(folder, sizeof(folder), "%s/%s", source->folders[i], kind);
        int n = scandir(folder, &entries, is_json, alphasort);
        if (n < 0 && errno != ENOENT) {
            snprintf(reason, DOCUMENT_REASON_SIZE, "%.512s: %s", folder, strerror(errno));
            right = false;
        }
        for (int j = 0; j < n; j++) {
            right = right && (is_masked(source, i, kind, entries[j]->d_name) ||
                              add_drop_in(drop_ins, count, folder, entries[j]->d_name));
            free(entries[j]);
        }
        free(entries);
    }
    return right;
}

static bool is_empty_file(const char *path)
{
    struct stat status;

    return stat(path, &status) == 0 && (S_ISCHR(status.st_mode) || status.st_size == 0);
}

static bool load_drop_ins(struct documents *documents, const struct documents_source *source,
                          char reason[DOCUMENT_REASON_SIZE])
{
    struct drop_in *drop_ins = NULL;
    size_t count = 0;

    bool right = find_drop_ins(source, "conf.d", &drop_ins, &count, reason) &&
                 find_drop_ins(source, "policy.d", &drop_ins, &count, reason);
    if (count > 0)
        qsort(drop_ins, count, sizeof(*drop_ins), compare_names);
    for (size_t i = 0; i < count; i++) {
        right =
            right && (is_empty_file(drop_ins[i].path) || add(documents, drop_ins[i].path, reason));
        free(drop_ins[i].path);
    }
    free(drop_ins);
    return right;
}

bool documents_load(struct documents *ret_documents, const struct documents_source *source,
                    char reason[DOCUMENT_REASON_SIZE])
{
    struct documents documents = {0};

    snprintf(reason, DOCUMENT_REASON_SIZE, "%s", strerror(ENOMEM));
    if (load_main(&documents, source, reason) && load_drop_ins(&documents, source, reason)) {
        *ret_documents = documents;
        return true;
    }
    documents_deinit(&documents);
    return false;
}
