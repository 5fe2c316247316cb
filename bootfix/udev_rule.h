/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Lines of udev rules (udev(7)), as far as persistent interface names need them.
 */
#ifndef BOOTFIX_UDEV_RULE_H
#define BOOTFIX_UDEV_RULE_H

#include "bootfix/span.h"

#include <stdbool.h>

/* What stands in quotes behind the key and its operator: KEY=="value", KEY="value". */
bool udev_rule_find(struct span line, const char *key, struct span *value);

/* True for a rule that names a network interface so. */
bool udev_rule_names(struct span line, const char *name);

/* True when such a rule holds for the card with that MAC (lower case), wherever it is plugged. */
bool udev_rule_matches_mac(struct span line, const char *mac);

/* The rule that names the card with that MAC, without newline. */
void udev_rule_add(struct text *out, const char *name, const char *mac);

#endif
