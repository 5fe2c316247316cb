/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * AML's encoding. A package length stands before what it counts and takes one to four bytes itself
 * (section 20.2.4), so it is put in between at the end.
 */
#include "hypervisor/aml.h"

#include <endian.h>
#include <string.h>

enum {
    AML_NAME = 0x08,
    AML_BYTE = 0x0a,
    AML_WORD = 0x0b,
    AML_DWORD = 0x0c,
    AML_STRING = 0x0d,
    AML_SCOPE = 0x10,
    AML_BUFFER = 0x11,
    AML_PACKAGE = 0x12,
    AML_EXTENDED = 0x5b,
    AML_DEVICE = 0x82, /* after AML_EXTENDED */
};

#define PKG_LENGTH_MAX 4
#define FIXED_RANGE 0x0c /* both ends of an address space are fixed */

static void add_byte(struct text *text, unsigned byte)
{
    uint8_t value = (uint8_t)byte;
    text_add_bytes(text, &value, 1);
}

static void add_word(struct text *text, unsigned word)
{
    uint16_t value = htole16((uint16_t)word);
    text_add_bytes(text, &value, sizeof(value));
}

static void add_dword(struct text *text, uint32_t dword)
{
    uint32_t value = htole32(dword);
    text_add_bytes(text, &value, sizeof(value));
}

/* --- objects --- */

void aml_name(struct text *aml, const char *name)
{
    add_byte(aml, AML_NAME);
    text_add_bytes(aml, name, strlen(name));
}

void aml_integer(struct text *aml, uint32_t value)
{
    if (value <= 1) { /* ZeroOp, OneOp */
        add_byte(aml, value);
    } else if (value <= UINT8_MAX) {
        add_byte(aml, AML_BYTE);
        add_byte(aml, value);
    } else if (value <= UINT16_MAX) {
        add_byte(aml, AML_WORD);
        add_word(aml, value);
    } else {
        add_byte(aml, AML_DWORD);
        add_dword(aml, value);
    }
}

void aml_string(struct text *aml, const char *value)
{
    add_byte(aml, AML_STRING);
    text_add_bytes(aml, value, strlen(value) + 1);
}

static unsigned hex_digit(char digit)
{
    return digit <= '9' ? (unsigned)(digit - '0') : (unsigned)(digit - 'A' + 10);
}

/* Three letters of five bits and four hex digits, in the order of big-endian bytes (19.3.4). */
void aml_eisa_id(struct text *aml, const char *id)
{
    uint32_t packed = 0;
    for (int i = 0; i < 3; i++)
        packed = packed << 5 | ((uint32_t)(id[i] - '@') & 0x1f);
    for (int i = 3; i < 7; i++)
        packed = packed << 4 | hex_digit(id[i]);
    add_byte(aml, AML_DWORD);
    add_dword(aml, htobe32(packed));
}

/* --- what holds others --- */

size_t aml_begin_scope(struct text *aml, const char *path)
{
    add_byte(aml, AML_SCOPE);
    size_t begun = aml->length;
    text_add_bytes(aml, path, strlen(path));
    return begun;
}

size_t aml_begin_device(struct text *aml, const char *name)
{
    add_byte(aml, AML_EXTENDED);
    add_byte(aml, AML_DEVICE);
    size_t begun = aml->length;
    text_add_bytes(aml, name, strlen(name));
    return begun;
}

size_t aml_begin_package(struct text *aml, uint8_t elements)
{
    add_byte(aml, AML_PACKAGE);
    size_t begun = aml->length;
    add_byte(aml, elements);
    return begun;
}

static size_t pkg_length(size_t inside, uint8_t encoded[PKG_LENGTH_MAX])
{
    size_t bytes = inside + 1 < 1 << 6    ? 1
                   : inside + 2 < 1 << 12 ? 2
                   : inside + 3 < 1 << 20 ? 3
                                          : 4;
    size_t length = inside + bytes; /* it counts itself */
    if (bytes == 1) {
        encoded[0] = (uint8_t)length;
        return 1;
    }
    encoded[0] = (uint8_t)((bytes - 1) << 6 | (length & 0xf));
    for (size_t i = 1; i < bytes; i++)
        encoded[i] = (uint8_t)(length >> (8 * i - 4));
    return bytes;
}

void aml_end(struct text *aml, size_t begun)
{
    uint8_t encoded[PKG_LENGTH_MAX];
    size_t inside = aml->length - begun, bytes = pkg_length(inside, encoded);
    text_add_bytes(aml, encoded, bytes); /* makes room */
    memmove(aml->data + begun + bytes, aml->data + begun, inside);
    memcpy(aml->data + begun, encoded, bytes);
}

/* --- resources --- */

void aml_io(struct text *resources, uint16_t port, uint8_t length)
{
    add_byte(resources, 0x47);
    add_byte(resources, 1); /* decodes 16 bits */
    add_word(resources, port);
    add_word(resources, port);
    add_byte(resources, 1); /* alignment */
    add_byte(resources, length);
}

void aml_irq(struct text *resources, unsigned irq)
{
    add_byte(resources, 0x22);
    add_word(resources, 1u << irq);
}

static void word_window(struct text *resources, unsigned type, unsigned flags, uint16_t first,
                        uint16_t last)
{
    add_byte(resources, 0x88);
    add_word(resources, 13);
    add_byte(resources, type);
    add_byte(resources, FIXED_RANGE);
    add_byte(resources, flags);
    add_word(resources, 0); /* granularity */
    add_word(resources, first);
    add_word(resources, last);
    add_word(resources, 0); /* translation */
    add_word(resources, (unsigned)last - first + 1);
}

void aml_bus_range(struct text *resources, uint16_t first, uint16_t last)
{
    word_window(resources, 2, 0, first, last);
}

void aml_io_window(struct text *resources, uint16_t first, uint16_t last)
{
    word_window(resources, 1, 3 /* the entire range */, first, last);
}

void aml_memory_window(struct text *resources, uint32_t first, uint32_t last)
{
    add_byte(resources, 0x87);
    add_word(resources, 23);
    add_byte(resources, 0);
    add_byte(resources, FIXED_RANGE);
    add_byte(resources, 1); /* not cached, read and write */
    add_dword(resources, 0);
    add_dword(resources, first);
    add_dword(resources, last);
    add_dword(resources, 0);
    add_dword(resources, last - first + 1);
}

void aml_resources(struct text *aml, const struct text *resources)
{
    static const uint8_t end_tag[] = {0x79, 0}; /* no checksum */
    aml_name(aml, "_CRS");
    add_byte(aml, AML_BUFFER);
    size_t begun = aml->length;
    aml_integer(aml, (uint32_t)(resources->length + sizeof(end_tag)));
    text_add_bytes(aml, resources->data, resources->length);
    text_add_bytes(aml, end_tag, sizeof(end_tag));
    aml_end(aml, begun);
}
