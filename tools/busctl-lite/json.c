/* SPDX-License-Identifier: MIT */
#include "tools/busctl-lite/json.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tools/busctl-lite/style.h"

#define DEPTH_MAX 256 /* twice what the bus lets pass */

struct writer {
    FILE *out;
    const char *position;
    const char *end;
    enum json_layout layout;
    bool colour;
    bool key; /* the next string is a key */
    unsigned depth;
    bool objects[DEPTH_MAX]; /* whether the value open at this depth is an object */
};

size_t json_utf8_length(const char *text, size_t size)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *p = (const unsigned char *)text;
    size_t length;
    uint32_t code;

    if (size == 0)
        return 0;
    if (p[0] < 0x80)
        return 1;
    length = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : p[0] >= 0xc0 ? 2 : 0;
    if (length == 0 || length > size || p[0] > 0xf4)
        return 0;
    code = p[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (p[i] & 0x3f);
    }
    if (code < smallest[length] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
        return 0;
    return length;
}

/* DEL, or one of the C1 controls as its two bytes of UTF-8. */
static bool is_control(const char *text, size_t length)
{
    const unsigned char *p = (const unsigned char *)text;

    return p[0] == 0x7f || (length == 2 && p[0] == 0xc2 && p[1] < 0xa0);
}

static void write_control(FILE *out, const char *text, size_t length)
{
    fprintf(out, "\\u%04x", (unsigned char)text[length - 1]);
}

void json_write_string(FILE *out, const char *text, size_t size)
{
    fputc('"', out);
    for (size_t i = 0, length; i < size; i += length) {
        length = json_utf8_length(text + i, size - i);
        if (length == 0) {
            fputs("\xef\xbf\xbd", out);
            length = 1;
        } else if (text[i] == '"' || text[i] == '\\') {
            fprintf(out, "\\%c", text[i]);
        } else if (text[i] == '\n') {
            fputs("\\n", out);
        } else if (text[i] == '\t') {
            fputs("\\t", out);
        } else if ((unsigned char)text[i] < 0x20 || is_control(text + i, length)) {
            write_control(out, text + i, length);
        } else {
            fwrite(text + i, 1, length, out);
        }
    }
    fputc('"', out);
}

char *json_quote(const char *text, size_t size)
{
    char *quoted = NULL;
    size_t quoted_size;
    FILE *out = open_memstream(&quoted, &quoted_size);

    if (!out)
        return NULL;
    json_write_string(out, text, size);
    if (fclose(out) != 0) {
        free(quoted);
        return NULL;
    }
    return quoted;
}

void json_write_plain(FILE *out, const char *text, size_t size)
{
    for (size_t i = 0, length; i < size; i += length) {
        length = json_utf8_length(text + i, size - i);
        if (length == 0) {
            fputs("\xef\xbf\xbd", out);
            length = 1;
        } else if ((unsigned char)text[i] < 0x20 || is_control(text + i, length)) {
            fputc(text[i] == '\n' || text[i] == '\t' ? ' ' : '?', out);
        } else {
            fwrite(text + i, 1, length, out);
        }
    }
}

static void new_line(struct writer *writer)
{
    if (writer->layout == JSON_INDENTED)
        fprintf(writer->out, "\n%*s", (int)(writer->depth * 2), "");
}

static void write_token(struct writer *writer, const char *text, size_t size, enum style style)
{
    fputs(style_start(writer->colour, style), writer->out);
    fwrite(text, 1, size, writer->out);
    fputs(style_end(writer->colour), writer->out);
}

/* The string at the writer's position, its escapes as they came. */
static void copy_string(struct writer *writer)
{
    const char *p = writer->position + 1;
    const char *plain = writer->position;

    fputs(style_start(writer->colour, writer->key ? STYLE_KEY : STYLE_STRING), writer->out);
    while (p < writer->end && *p != '"') {
        if (*p == '\\') {
            p += p + 1 < writer->end ? 2 : 1;
        } else if (*p == 0x7f || (*p == '\xc2' && p + 1 < writer->end && is_control(p, 2))) {
            size_t length = *p == 0x7f ? 1 : 2;

            fwrite(plain, 1, (size_t)(p - plain), writer->out);
            write_control(writer->out, p, length);
            p += length;
            plain = p;
        } else {
            p++;
        }
    }
    if (p < writer->end)
        p++;
    fwrite(plain, 1, (size_t)(p - plain), writer->out);
    fputs(style_end(writer->colour), writer->out);
    writer->position = p;
}

static const char *skip_space(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\r' || *p == '\n'))
        p++;
    return p;
}

static void open_value(struct writer *writer, char bracket)
{
    char closing = bracket == '{' ? '}' : ']';
    const char *next = skip_space(writer->position + 1, writer->end);

    fputc(bracket, writer->out);
    if (next < writer->end && *next == closing) {
        fputc(closing, writer->out);
        writer->position = next + 1;
        return;
    }
    writer->position = next;
    if (writer->depth + 1 < DEPTH_MAX)
        writer->depth++;
    writer->objects[writer->depth] = bracket == '{';
    writer->key = bracket == '{';
    new_line(writer);
}

static void write_punctuation(struct writer *writer, char c)
{
    switch (c) {
    case '{':
    case '[':
        open_value(writer, c);
        return;
    case '}':
    case ']':
        if (writer->depth > 0)
            writer->depth--;
        new_line(writer);
        fputc(c, writer->out);
        break;
    case ',':
        fputc(c, writer->out);
        writer->key = writer->objects[writer->depth];
        new_line(writer);
        break;
    default:
        fputs(writer->layout == JSON_INDENTED ? ": " : ":", writer->out);
        writer->key = false;
        break;
    }
    writer->position++;
}

void json_write(FILE *out, const char *text, size_t size, enum json_layout layout, bool colour)
{
    struct writer writer = {
        .out = out,
        .position = text,
        .end = text + size,
        .layout = layout,
        .colour = colour,
    };

    while ((writer.position = skip_space(writer.position, writer.end)) < writer.end) {
        const char *start = writer.position;

        if (strchr("{}[],:", *start)) {
            write_punctuation(&writer, *start);
        } else if (*start == '"') {
            copy_string(&writer);
        } else {
            bool number = *start == '-' || (*start >= '0' && *start <= '9');

            while (writer.position < writer.end && !strchr("{}[],: \t\r\n\"", *writer.position))
                writer.position++;
            write_token(&writer, start, (size_t)(writer.position - start),
                        number ? STYLE_NUMBER : STYLE_LITERAL);
        }
    }
}
