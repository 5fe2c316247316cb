/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Debian's debconf data base, /var/cache/debconf/config.dat: paragraphs of "Field: value", one per
 * question. Just enough to answer one.
 */
#ifndef BOOTFIX_DEBCONF_H
#define BOOTFIX_DEBCONF_H

#include "bootfix/span.h"

#include <stdbool.h>

/* The value of a question; false when the question is not there or was never answered. */
bool debconf_find(const char *text, const char *question, struct span *value);

/* The data base with the question answered and marked as seen; false when it is not there. */
bool debconf_set(const char *text, const char *question, const char *value, struct text *out);

#endif
