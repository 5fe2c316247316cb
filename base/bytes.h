/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Integers of a fixed byte order in buffers of any alignment, and a fast test for zeroes.
 */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define BYTES_ACCESSORS(bits)                                                                      \
    static inline uint##bits##_t load_le##bits(const void *from)                                   \
    {                                                                                              \
        uint##bits##_t value;                                                                      \
        memcpy(&value, from, sizeof(value));                                                       \
        return le##bits##toh(value);                                                               \
    }                                                                                              \
    static inline uint##bits##_t load_be##bits(const void *from)                                   \
    {                                                                                              \
        uint##bits##_t value;                                                                      \
        memcpy(&value, from, sizeof(value));                                                       \
        return be##bits##toh(value);                                                               \
    }                                                                                              \
    static inline void store_le##bits(void *to, uint##bits##_t value)                              \
    {                                                                                              \
        value = htole##bits(value);                                                                \
        memcpy(to, &value, sizeof(value));                                                         \
    }                                                                                              \
    static inline void store_be##bits(void *to, uint##bits##_t value)                              \
    {                                                                                              \
        value = htobe##bits(value);                                                                \
        memcpy(to, &value, sizeof(value));                                                         \
    }

BYTES_ACCESSORS(16)
BYTES_ACCESSORS(32)
BYTES_ACCESSORS(64)

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)
#define TIB ((uint64_t)1 << 40)

#define ARRAY_LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* True for length 0. */
bool bytes_are_zero(const void *data, size_t length);

/* Lower-case hexadecimal digits; `text` has room for 2 * length + 1. */
void bytes_format_hex(const void *bytes, size_t length, char *text);

/* "37.2 GiB" into a buffer of the caller's; returns it. */
char *bytes_format(uint64_t bytes, char *buffer, size_t size);

#endif
