/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Files of "[Section]" and "Key=Value" lines: systemd's .network, .link and .netdev, and
 * NetworkManager's keyfiles.
 */
#ifndef BOOTFIX_KEYFILE_H
#define BOOTFIX_KEYFILE_H

#include "bootfix/span.h"

#include <stdbool.h>

struct keyfile {
    const char *position; /* set to the text before the first call */
    struct span section;  /* without brackets; empty before the first */
    struct span line;     /* where the entry is, whole, without newline */
    struct span key, value;
};

/* The next entry; comments, empty lines and lines without '=' are passed over. */
bool keyfile_next(struct keyfile *keyfile);

/* True when the entry is in that section, under that key (both exact). */
bool keyfile_is(const struct keyfile *keyfile, const char *section, const char *key);

/* The last value of a key; false when there is none. */
bool keyfile_find(const char *text, const char *section, const char *key, struct span *value);

#endif
