/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A growing byte string that is always NUL-terminated, and the escaping of untrusted text.
 *
 * Out of memory ends the program (as in a shell): the strings here are small and their sizes are
 * bounded by their callers.
 */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* {0} is the empty text; data is NULL until something was added. */
struct text {
    char *data;
    size_t length; /* without the NUL; data may hold NUL bytes inside */
    size_t capacity;
};

void text_fini(struct text *text);

void text_add(struct text *text, const char *string);
void text_add_bytes(struct text *text, const void *bytes, size_t length);
void text_addf(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Adds at most `length` bytes with control bytes and invalid UTF-8 as \xNN, '\' as '\\'. */
void text_add_escaped(struct text *text, const char *bytes, size_t length);

/* Length of the valid, printable UTF-8 character that `bytes` begin with; 0 when there is none. */
size_t text_printable_length(const char *bytes, size_t available);

/* The last line that is not blank, without blanks around it; what is behind it is cut off. Or "".
 */
const char *text_last_line(struct text *text);

/* Gives the string away ("" when nothing was added); caller frees. The text is empty after. */
char *text_take(struct text *text);

/* Never NULL. */
const char *text_string(const struct text *text);

/* Formats into a new string; caller frees. Never NULL. */
char *text_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* strdup, malloc and realloc(array) that do not return NULL; for small sizes. */
char *text_copy(const char *string);
void *memory_new(size_t count, size_t size); /* zeroed */
void *memory_grow(void *array, size_t count, size_t size);

/* Overwrites a secret and frees it. NULL is fine. */
void text_wipe(char *secret);

bool text_starts_with(const char *string, const char *prefix);
bool text_ends_with(const char *string, const char *suffix);
bool text_is_one_of(const char *string, const char *const words[], size_t count);

#endif
