/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Lines of fstab(5) and crypttab(5): fields between blanks, with their places, so that one field
 * can be replaced and everything else stays as it was.
 */
#ifndef BOOTFIX_FSTAB_H
#define BOOTFIX_FSTAB_H

#include "bootfix/span.h"

#include <stdbool.h>
#include <stddef.h>

#define FSTAB_MAX_FIELDS 6

enum fstab_field { FSTAB_SPEC, FSTAB_FOLDER, FSTAB_TYPE, FSTAB_OPTIONS };
enum crypttab_field { CRYPTTAB_NAME, CRYPTTAB_SOURCE, CRYPTTAB_KEY, CRYPTTAB_OPTIONS };

struct fstab_line {
    struct span line; /* without newline */
    struct span fields[FSTAB_MAX_FIELDS];
    size_t field_count; /* 0: a comment or an empty line */
};

void fstab_parse_line(struct span line, struct fstab_line *parsed);

/*
 * Adds the line with one field replaced. The column behind it stays where it was as far as its
 * blanks allow.
 */
void fstab_add_replaced(const struct fstab_line *parsed, size_t field, const char *value,
                        struct text *out);

/* True when the field, a comma-separated list, holds the option, alone or as OPTION=…. */
bool fstab_has_option(const struct fstab_line *parsed, size_t field, const char *option);

#endif
