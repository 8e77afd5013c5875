/* SPDX-License-Identifier: MIT */
#include "busd/sqlite.h"

#include <dlfcn.h>
#include <stdio.h>

/* Its first version number, which has never changed, is in the name. */
#define LIBRARY "libsqlite3.so.0"

const struct sqlite *sqlite_load(char *reason, size_t size)
{
    static struct sqlite functions;
    static void *library;

    if (library)
        return &functions;
    void *opened = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!opened) {
        snprintf(reason, size, "cannot load SQLite: %s", dlerror());
        return NULL;
    }
#define X(name)                                                                                    \
    *(void **)&functions.name = dlsym(opened, "sqlite3_" #name);                                   \
    if (!functions.name) {                                                                         \
        snprintf(reason, size, "cannot use %s: it has no sqlite3_" #name, LIBRARY);                \
        dlclose(opened);                                                                           \
        return NULL;                                                                               \
    }
    SQLITE_FUNCTIONS(X)
#undef X
    library = opened;
    return &functions;
}
