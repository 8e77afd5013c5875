/* SPDX-License-Identifier: MIT */
#include "libbus/wire/scan.h"

#include <stdint.h>
#include <string.h>

#include "libbus/base/utf8.h"

/* SCAN_FORCE_SCALAR builds the fallback on every machine, for its tests. */
#if defined(__SSE2__) && !defined(SCAN_FORCE_SCALAR)
#include <emmintrin.h>
#elif defined(__ARM_NEON) && defined(__aarch64__) && !defined(SCAN_FORCE_SCALAR)
#include <arm_neon.h>
#endif

static const char *fault(struct scan_fault *ret_fault, const char *position, const char *reason)
{
    *ret_fault =
        (struct scan_fault){position, *position == '\n' ? "the line ends too early" : reason};
    return NULL;
}

/* The first byte that is not plain string content: a quote, a backslash, a
 * control character or the beginning of a longer UTF-8 sequence. */
static inline const char *scan_plain(const char *p)
{
#if defined(__SSE2__) && !defined(SCAN_FORCE_SCALAR)
    for (;; p += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)p);
        /* The comparison is signed, so it finds bytes above 0x7f as well. */
        __m128i stop = _mm_or_si128(_mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20)),
                                    _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')),
                                                 _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'))));
        int mask = _mm_movemask_epi8(stop);
        if (mask)
            return p + __builtin_ctz((unsigned)mask);
    }
#elif defined(__ARM_NEON) && defined(__aarch64__) && !defined(SCAN_FORCE_SCALAR)
    for (;; p += 16) {
        int8x16_t bytes = vld1q_s8((const int8_t *)p);
        uint8x16_t stop =
            vorrq_u8(vcltq_s8(bytes, vdupq_n_s8(0x20)),
                     vorrq_u8(vceqq_s8(bytes, vdupq_n_s8('"')), vceqq_s8(bytes, vdupq_n_s8('\\'))));
        /* Four bits of every byte, for want of a movemask. */
        uint8x8_t nibbles = vshrn_n_u16(vreinterpretq_u16_u8(stop), 4);
        uint64_t mask = vget_lane_u64(vreinterpret_u64_u8(nibbles), 0);
        if (mask)
            return p + (__builtin_ctzll(mask) >> 2);
    }
#else
    while ((signed char)*p >= 0x20 && *p != '"' && *p != '\\')
        p++;
    return p;
#endif
}

/* Four hex digits as a number, -1 if they are not. */
static int scan_hex4(const char *p)
{
    int value = 0;

    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int digit;
        if (c >= '0' && c <= '9')
            digit = c - '0';
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            digit = (c | 0x20) - 'a' + 10;
        else
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

/* `p` is at a backslash; returns the byte after the escape. */
static const char *scan_escape(const char *p, struct scan_fault *ret_fault)
{
    switch (p[1]) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        return p + 2;
    case 'u':
        break;
    default:
        return fault(ret_fault, p + 1, "there is no such escape");
    }

    int unit = scan_hex4(p + 2);
    if (unit < 0)
        return fault(ret_fault, p, "\\u needs four hex digits");
    if (unit < 0xd800 || unit > 0xdfff)
        return p + 6;
    if (unit > 0xdbff || p[6] != '\\' || p[7] != 'u')
        return fault(ret_fault, p, "a surrogate escape stands alone");
    unit = scan_hex4(p + 8);
    if (unit < 0xdc00 || unit > 0xdfff)
        return fault(ret_fault, p, "a surrogate escape stands alone");
    return p + 12;
}

const char *scan_string(const char *p, bool *ret_escaped, struct scan_fault *ret_fault)
{
    bool escaped = false;

    for (;;) {
        p = scan_plain(p);
        if (*p == '"') {
            *ret_escaped = escaped;
            return p + 1;
        }
        if (*p == '\\') {
            escaped = true;
            p = scan_escape(p, ret_fault);
            if (!p)
                return NULL;
        } else if ((unsigned char)*p < 0x20) {
            return fault(ret_fault, p, "a control character in a string must be escaped");
        } else {
            /* The sentinel is no continuation, so this never goes past it. */
            size_t size = utf8_sequence(p, 4);
            if (size == 0)
                return fault(ret_fault, p, "not valid UTF-8");
            p += size;
        }
    }
}

static inline bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static const char *scan_digits(const char *p)
{
    while (is_digit(*p))
        p++;
    return p;
}

static const char *scan_number(const char *p, struct scan_fault *ret_fault)
{
    if (*p == '-')
        p++;
    if (!is_digit(*p))
        return fault(ret_fault, p, "a minus sign needs a digit after it");
    if (*p == '0' && is_digit(p[1]))
        return fault(ret_fault, p, "a number may not have a leading zero");
    p = scan_digits(p);
    if (*p == '.') {
        if (!is_digit(*++p))
            return fault(ret_fault, p, "a decimal point needs a digit after it");
        p = scan_digits(p);
    }
    if (*p == 'e' || *p == 'E') {
        p++;
        if (*p == '+' || *p == '-')
            p++;
        if (!is_digit(*p))
            return fault(ret_fault, p, "an exponent needs a digit");
        p = scan_digits(p);
    }
    return p;
}

static const char *scan_literal(const char *p, struct scan_fault *ret_fault)
{
    if (memcmp(p, "true", 4) == 0 || memcmp(p, "null", 4) == 0)
        return p + 4;
    if (memcmp(p, "false", 5) == 0)
        return p + 5;
    return fault(ret_fault, p,
                 "a value was expected: an object, array, string, number, true, "
                 "false or null");
}

/* A string, number or literal. */
static inline const char *scan_scalar(const char *p, struct scan_fault *ret_fault)
{
    bool escaped;

    if (*p == '"')
        return scan_string(p + 1, &escaped, ret_fault);
    if (*p == '-' || is_digit(*p))
        return scan_number(p, ret_fault);
    return scan_literal(p, ret_fault);
}

/* `p` is at a key; returns the first byte of its value. */
static const char *scan_key(const char *p, struct scan_fault *ret_fault)
{
    bool escaped;

    if (*p != '"')
        return fault(ret_fault, p, "a key in double quotes was expected");
    p = scan_string(p + 1, &escaped, ret_fault);
    if (!p)
        return NULL;
    p = scan_space(p);
    if (*p != ':')
        return fault(ret_fault, p, "a colon was expected after the key");
    return scan_space(p + 1);
}

const char *scan_value(const char *p, unsigned depth, struct scan_fault *ret_fault)
{
    /* One bit for each container opened here: 1 is an object. */
    uint64_t objects[SCAN_DEPTH_MAX / 64 + 1] = {0};
    unsigned level = 0;

    for (;;) {
        bool opened = *p == '{' || *p == '[';

        if (opened) {
            uint64_t bit = UINT64_C(1) << (level & 63);
            bool object = *p == '{';
            if (depth + level >= SCAN_DEPTH_MAX)
                return fault(ret_fault, p, "nested deeper than 128");
            objects[level >> 6] = object ? objects[level >> 6] | bit : objects[level >> 6] & ~bit;
            level++;
            p = scan_space(p + 1);
            if (*p != (object ? '}' : ']')) {
                if (object && !(p = scan_key(p, ret_fault)))
                    return NULL;
                continue;
            }
        } else {
            p = scan_scalar(p, ret_fault);
            if (!p)
                return NULL;
        }

        /* After a value: close what ends here, then go on to the next one. */
        for (;;) {
            if (level == 0)
                return p;
            bool object = objects[(level - 1) >> 6] >> ((level - 1) & 63) & 1;
            p = scan_space(p);
            if (*p == (object ? '}' : ']')) {
                p++;
                level--;
                continue;
            }
            if (*p != ',')
                return fault(ret_fault, p,
                             object ? "a comma or a closing brace was expected"
                                    : "a comma or a closing bracket was expected");
            p = scan_space(p + 1);
            if (object && !(p = scan_key(p, ret_fault)))
                return NULL;
            break;
        }
    }
}

bool scan_text(const char *text, size_t size, struct scan_fault *ret_fault)
{
    const char *p = scan_value(scan_space(text), 0, ret_fault);

    if (!p)
        return false;
    p = scan_space(p);
    if (p == text + size)
        return true;
    *ret_fault = (struct scan_fault){p, "nothing may follow the value"};
    return false;
}
