/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The fields of guest.json and where each stands in struct guest, as one table: its parser, its
 * formatter and its checks cannot disagree. Private to formats/guest*.c.
 */
#ifndef FORMATS_GUEST_FIELDS_H
#define FORMATS_GUEST_FIELDS_H

#include "formats/guest.h"

#include <stdbool.h>
#include <stddef.h>

#define GUEST_VERSION 1

enum guest_kind {
    GUEST_KIND_VERSION, /* always GUEST_VERSION, stands nowhere */
    GUEST_KIND_TEXT,    /* char *, NULL when absent */
    GUEST_KIND_COUNT,   /* unsigned, 0 when absent */
    GUEST_KIND_BYTES,   /* uint64_t, 0 when absent */
    GUEST_KIND_FLAG,    /* bool, false when absent */
    GUEST_KIND_CHOICE,  /* an enum, its values in the order of `choices` */
    GUEST_KIND_OBJECT,  /* `fields`, of the same struct */
    GUEST_KIND_ITEMS,   /* an array inside the struct; each item a struct with `fields`, or,
                           without `fields`, a text */
};

struct guest_field {
    const char *name; /* NULL ends a table */
    enum guest_kind kind;
    bool is_required;
    size_t offset; /* in the struct that the table is about */
    const char *const *choices;
    const struct guest_field *fields;
    size_t count_offset, item_size, item_limit; /* GUEST_KIND_ITEMS: offset of its size_t count */
};

extern const struct guest_field guest_fields[];

extern const char *const guest_firmware_names[], *const guest_clock_names[];
extern const char *const guest_bus_names[], *const guest_nic_model_names[];
/* Fields that are texts in the struct but may only have these values. */
extern const char *const guest_format_names[], *const guest_console_names[];
extern const char *const guest_os_type_names[], *const guest_arch_names[];

/* Index of a text in a list that ends with NULL, or -1. */
int guest_choice_find(const char *const *choices, const char *text);

/* Sets `field: "value": must be one of a, b, c`. Returns -1. */
int guest_choice_error(const char *const *choices, const char *where, const char *value,
                       struct error *err);

/* UTF-8 of printable characters, all of which XML has too. */
bool guest_text_is_printable(const char *text);

/* Frees whatever the fields own, items included. */
void guest_fields_free(const struct guest_field *fields, void *base);

static inline void *guest_field_at(void *base, size_t offset)
{
    return (char *)base + offset;
}

static inline const void *guest_field_in(const void *base, size_t offset)
{
    return (const char *)base + offset;
}

#endif
