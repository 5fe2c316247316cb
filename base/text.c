/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Growing strings and the escaping of untrusted text.
 */
#include "base/text.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* As the shell does: without memory for a line of text there is nobody left to tell. */
static void *or_abort(void *pointer)
{
    if (!pointer) {
        static const char message[] = "rehost: out of memory\n";
        fputs(message, stderr);
        abort();
    }
    return pointer;
}

void text_fini(struct text *text)
{
    free(text->data);
    *text = (struct text){0};
}

static void reserve(struct text *text, size_t more)
{
    size_t needed = text->length + more + 1;
    if (needed <= text->capacity)
        return;
    size_t capacity = text->capacity ? text->capacity : 64;
    while (capacity < needed)
        capacity *= 2;
    text->data = or_abort(realloc(text->data, capacity));
    text->capacity = capacity;
}

void text_add_bytes(struct text *text, const void *bytes, size_t length)
{
    reserve(text, length);
    if (length)
        memcpy(text->data + text->length, bytes, length);
    text->length += length;
    text->data[text->length] = '\0';
}

void text_add(struct text *text, const char *string)
{
    text_add_bytes(text, string, strlen(string));
}

static void add_formatted(struct text *text, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));

static void add_formatted(struct text *text, const char *format, va_list arguments)
{
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (length < 0)
        return;
    reserve(text, (size_t)length);
    vsnprintf(text->data + text->length, (size_t)length + 1, format, arguments);
    text->length += (size_t)length;
}

void text_addf(struct text *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    add_formatted(text, format, arguments);
    va_end(arguments);
}

/* RFC 3629. C1 control characters and the bidirectional overrides are obeyed by terminals. */
size_t text_printable_length(const char *string, size_t available)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *bytes = (const unsigned char *)string;
    if (available == 0)
        return 0;
    if (bytes[0] < 0x80)
        return bytes[0] >= 0x20 && bytes[0] != 0x7f;
    size_t length = bytes[0] >= 0xf0 ? 4 : bytes[0] >= 0xe0 ? 3 : 2;
    if (bytes[0] < 0xc2 || bytes[0] > 0xf4 || length > available)
        return 0;
    uint32_t code = bytes[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (bytes[i] & 0x3f);
    }
    bool is_surrogate = code >= 0xd800 && code <= 0xdfff;
    bool is_control =
        code < 0xa0 || (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
    if (code < least[length] || code > 0x10ffff || is_surrogate || is_control)
        return 0;
    return length;
}

void text_add_escaped(struct text *text, const char *bytes, size_t length)
{
    for (size_t i = 0; i < length;) {
        size_t printable = text_printable_length(bytes + i, length - i);
        if (printable == 0) {
            text_addf(text, "\\x%02x", (unsigned char)bytes[i]);
            i++;
            continue;
        }
        if (bytes[i] == '\\')
            text_add(text, "\\\\");
        else
            text_add_bytes(text, bytes + i, printable);
        i += printable;
    }
}

const char *text_last_line(struct text *text)
{
    while (text->length && strchr(" \n", text->data[text->length - 1]))
        text->data[--text->length] = '\0';
    const char *newline = text->length ? strrchr(text->data, '\n') : NULL;
    const char *line = newline ? newline + 1 : text_string(text);
    return line + strspn(line, " ");
}

char *text_take(struct text *text)
{
    char *string = text->data ? text->data : text_copy("");
    *text = (struct text){0};
    return string;
}

const char *text_string(const struct text *text)
{
    return text->data ? text->data : "";
}

char *text_format(const char *format, ...)
{
    struct text text = {0};
    va_list arguments;
    va_start(arguments, format);
    add_formatted(&text, format, arguments);
    va_end(arguments);
    return text_take(&text);
}

char *text_copy(const char *string)
{
    return or_abort(strdup(string));
}

void *memory_new(size_t count, size_t size)
{
    return or_abort(calloc(count ? count : 1, size));
}

void *memory_grow(void *array, size_t count, size_t size)
{
    return or_abort(reallocarray(array, count ? count : 1, size));
}

void text_wipe(char *secret)
{
    if (secret)
        explicit_bzero(secret, strlen(secret));
    free(secret);
}

bool text_starts_with(const char *string, const char *prefix)
{
    return strncmp(string, prefix, strlen(prefix)) == 0;
}

bool text_ends_with(const char *string, const char *suffix)
{
    size_t length = strlen(string), suffix_length = strlen(suffix);
    return length >= suffix_length && strcmp(string + length - suffix_length, suffix) == 0;
}

bool text_is_one_of(const char *string, const char *const words[], size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(string, words[i]) == 0)
            return true;
    }
    return false;
}
