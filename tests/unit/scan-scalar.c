/* SPDX-License-Identifier: MIT */
#include "tests/unit/scan-scalar.h"

#define SCAN_FORCE_SCALAR
#define scan_value  scalar_scan_value
#define scan_string scalar_scan_string
#define scan_text   scalar_scan_text

/* The file itself: the same code, with its other half compiled in. */
#include "libbus/wire/scan.c"
