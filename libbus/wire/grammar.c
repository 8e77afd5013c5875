/* SPDX-License-Identifier: MIT */
#include "libbus/wire/grammar.h"

enum {
    CHAR_TOPIC = 1, /* may stand in a segment */
    CHAR_START = 2, /* may begin a segment of a name */
};

static const unsigned char classes[256] = {
    ['0' ... '9'] = CHAR_TOPIC,
    ['-'] = CHAR_TOPIC,
    ['A' ... 'Z'] = CHAR_TOPIC | CHAR_START,
    ['a' ... 'z'] = CHAR_TOPIC | CHAR_START,
    ['_'] = CHAR_TOPIC | CHAR_START,
};

static const char *wrong(size_t *ret_offset, size_t offset, const char *reason)
{
    if (ret_offset)
        *ret_offset = offset;
    return reason;
}

/* Dot-separated segments whose first character is of the class `start`. */
static const char *check_segments(struct span text, unsigned char start, size_t segments_min,
                                  size_t *ret_offset)
{
    size_t segments = 1;
    bool at_start = true;

    if (text.size == 0)
        return wrong(ret_offset, 0, "it is empty");
    if (text.size > GRAMMAR_NAME_MAX)
        return wrong(ret_offset, GRAMMAR_NAME_MAX, "it is longer than 255 bytes");
    for (size_t i = 0; i < text.size; i++) {
        unsigned char class = classes[(unsigned char)text.data[i]];
        if (text.data[i] == '.') {
            if (at_start)
                return wrong(ret_offset, i, "a segment is empty");
            segments++;
            at_start = true;
        } else if (!class) {
            return wrong(ret_offset, i, "only letters, digits, '_', '-' and dots may stand here");
        } else if (at_start && !(class & start)) {
            return wrong(ret_offset, i, "a segment must begin with a letter or '_'");
        } else {
            at_start = false;
        }
    }
    if (at_start)
        return wrong(ret_offset, text.size, "a segment is empty");
    if (segments < segments_min)
        return wrong(ret_offset, text.size, "it needs at least two segments, like org.example");
    return NULL;
}

const char *grammar_check_name(struct span name, size_t *ret_offset)
{
    if (name.size > GRAMMAR_WELL_KNOWN_MAX)
        return wrong(ret_offset, GRAMMAR_WELL_KNOWN_MAX, "it is longer than 246 bytes");
    return check_segments(name, CHAR_START, 2, ret_offset);
}

const char *grammar_check_topic(struct span topic, size_t *ret_offset)
{
    return check_segments(topic, CHAR_TOPIC, 1, ret_offset);
}

const char *grammar_check_method(struct span method, size_t *ret_offset)
{
    return check_segments(method, CHAR_START, 1, ret_offset);
}

const char *grammar_check_group(struct span group, size_t *ret_offset)
{
    if (group.size == 0)
        return wrong(ret_offset, 0, "it is empty");
    for (size_t i = 0; i < group.size; i++) {
        if (i == GRAMMAR_GROUP_MAX)
            return wrong(ret_offset, i, "it is longer than 64 bytes");
        if (!classes[(unsigned char)group.data[i]])
            return wrong(ret_offset, i, "only letters, digits, '_' and '-' may stand here");
    }
    return NULL;
}

const char *grammar_check_pattern(struct span pattern, size_t *ret_offset)
{
    size_t start = 0;

    if (pattern.size == 0)
        return wrong(ret_offset, 0, "it is empty");
    if (pattern.size > GRAMMAR_NAME_MAX)
        return wrong(ret_offset, GRAMMAR_NAME_MAX, "it is longer than 255 bytes");
    for (size_t i = 0; i <= pattern.size; i++) {
        if (i < pattern.size && pattern.data[i] != '.') {
            char c = pattern.data[i];
            if (c == '*' || c == '#') {
                bool alone = i == start && (i + 1 == pattern.size || pattern.data[i + 1] == '.');
                if (!alone)
                    return wrong(ret_offset, i, "a wildcard must be a segment of its own");
                if (c == '#' && i + 1 != pattern.size)
                    return wrong(ret_offset, i, "'#' may only be the last segment");
            } else if (!classes[(unsigned char)c]) {
                return wrong(ret_offset, i,
                             "only letters, digits, '_', '-', dots and the wildcards '*' and '#' "
                             "may stand here");
            }
            continue;
        }
        if (i == start)
            return wrong(ret_offset, i, "a segment is empty");
        start = i + 1;
    }
    return NULL;
}

uint64_t grammar_unique_name(struct span name)
{
    uint64_t id = 0;

    /* 2^53-1 has 16 digits. */
    if (name.size < 2 || name.size > 17 || name.data[0] != ':' || name.data[1] == '0')
        return 0;
    for (size_t i = 1; i < name.size; i++) {
        if (name.data[i] < '0' || name.data[i] > '9')
            return 0;
        id = id * 10 + (uint64_t)(name.data[i] - '0');
    }
    return id <= GRAMMAR_INTEGER_MAX ? id : 0;
}

const char *grammar_check_destination(struct span name, size_t *ret_offset)
{
    if (span_equal(name, SPAN("bus")))
        return NULL;
    if (name.size > 0 && name.data[0] == ':') {
        if (grammar_unique_name(name) == 0)
            return wrong(ret_offset, 0, "a unique name is a colon and a number, like :42");
        return NULL;
    }
    return grammar_check_name(name, ret_offset);
}

bool grammar_is_reserved(struct span text)
{
    return text.size >= 3 && memcmp(text.data, "bus", 3) == 0 &&
           (text.size == 3 || text.data[3] == '.');
}

bool grammar_has_wildcard(struct span pattern)
{
    return memchr(pattern.data, '*', pattern.size) || memchr(pattern.data, '#', pattern.size);
}

bool grammar_matches(struct span pattern, struct span topic)
{
    if ((pattern.data[0] == '*' || pattern.data[0] == '#') && grammar_is_reserved(topic))
        return false;
    return grammar_covers(pattern, topic);
}

bool grammar_covers(struct span pattern, struct span topic)
{
    size_t t = 0;

    for (size_t p = 0; p < pattern.size; p++) {
        char wanted = pattern.data[p];
        if (wanted == '#')
            return true;
        if (wanted == '*') {
            if (t == topic.size)
                return false;
            while (t < topic.size && topic.data[t] != '.')
                t++;
        } else if (t == topic.size) {
            /* The '#' of "a.#" may stand for nothing, dot included. */
            return wanted == '.' && pattern.data[p + 1] == '#';
        } else if (topic.data[t++] != wanted) {
            return false;
        }
    }
    return t == topic.size;
}
