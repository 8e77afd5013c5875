/* SPDX-License-Identifier: MIT */
#include "libbus/wire/errors.h"

#include <errno.h>

#include "libbus/base/macros.h"

static const struct {
    const char *name;
    int error;
    const char *sentence;
} errors[] = {[WIRE_OK] = {"", 0, ""},
#define X(symbol, name, error, sentence) [WIRE_##symbol] = {name, error, sentence},
              WIRE_ERRORS(X)
#undef X
};

const char *wire_error_name(enum wire_error error)
{
    return errors[error].name;
}

const char *wire_error_sentence(enum wire_error error)
{
    return errors[error].sentence;
}

int wire_error_errno(struct span name)
{
    for (size_t i = WIRE_OK + 1; i < ARRAY_SIZE(errors); i++)
        if (span_is(name, errors[i].name))
            return errors[i].error;
    return EREMOTEIO;
}
