/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The test for zeroes, and sizes for people.
 */
#include "base/bytes.h"

#include "base/checked.h"

#include <stdio.h>

bool bytes_are_zero(const void *data, size_t length)
{
    const uint8_t *bytes = data;
    size_t head = (size_t)min_u64(length, 16);
    for (size_t i = 0; i < head; i++)
        if (bytes[i])
            return false;
    /* The first 16 bytes are zero: so is the rest, exactly if it equals itself moved by 16. */
    return length <= 16 || memcmp(bytes, bytes + 16, length - 16) == 0;
}

void bytes_format_hex(const void *bytes, size_t length, char *text)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *from = bytes;
    for (size_t i = 0; i < length; i++) {
        *text++ = digits[from[i] >> 4];
        *text++ = digits[from[i] & 15];
    }
    *text = '\0';
}

char *bytes_format(uint64_t bytes, char *buffer, size_t size)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    size_t unit = 0;
    double value = (double)bytes;
    while (value >= 1024 && unit + 1 < ARRAY_LENGTH(units)) {
        value /= 1024;
        unit++;
    }
    snprintf(buffer, size, unit == 0 || value >= 999.95 ? "%.0f %s" : "%.1f %s", value,
             units[unit]);
    return buffer;
}
