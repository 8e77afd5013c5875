/* SPDX-License-Identifier: MIT */
/*
 * The configuration: a plain struct that is right in every part, or none at all. The
 * file is a JSON object; unknown keys are errors:
 *
 *     {"limits": {"connections": 100, "message_bytes": 65536}}
 */
#ifndef BUSD_CONFIG_H
#define BUSD_CONFIG_H

#include <stdbool.h>

#include "busd/limits.h"

#define CONFIG_REASON_SIZE 1024

struct config {
    struct limits limits;
};

/* The defaults. */
void config_init(struct config *config, bool system);

/* Reads a file over what is there. On failure, false with a sentence that names file,
 * place and what would be right, and *config unchanged. */
bool config_read(struct config *config, const char *path, char reason[CONFIG_REASON_SIZE]);

/* Sets one limit, "NAME=VALUE". On failure as above. */
bool config_set_limit(struct config *config, const char *assignment,
                      char reason[CONFIG_REASON_SIZE]);

#endif
