/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * systemd.link(5) files: which card one names, and the same file for another card.
 */
#ifndef BOOTFIX_LINK_FILE_H
#define BOOTFIX_LINK_FILE_H

#include "bootfix/span.h"

#include <stdbool.h>

/* True when [Link] gives that name. */
bool link_file_names(const char *text, const char *name);

/* True when it holds for the card with that MAC and asks nothing else of the hardware. */
bool link_file_matches_mac(const char *text, const char *mac);

/* True when it may hold for any card at all, or for this one, and says something about names. */
bool link_file_may_rename(const char *text, const char *mac);

/*
 * The lines of a [Match] for the card with that MAC. has_type: systemd is new enough (245) to tell
 * an Ethernet card from the VLANs on it, which have its MAC, too, and would be renamed with it.
 */
void link_file_add_match(struct text *out, const char *mac, bool has_type);

/* The file with its [Match] replaced by that one; comments and all other sections stay. */
void link_file_rematch(const char *text, const char *mac, bool has_type, struct text *out);

#endif
