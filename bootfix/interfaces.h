/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Which network interfaces a guest's own configuration names: ifupdown (interfaces(5) with source
 * and source-directory), systemd-networkd (.network, .link), NetworkManager keyfiles, netplan, and
 * the MAC addresses that udev's persistent-net rules know. Interfaces that software makes (lo,
 * bonds, bridges, VLANs, tunnels) are left out; the hardware below them is not.
 */
#ifndef BOOTFIX_INTERFACES_H
#define BOOTFIX_INTERFACES_H

#include "base/error.h"
#include "bootfix/files.h"
#include "bootfix/system.h"

#include <stdbool.h>
#include <stddef.h>

/* Limits of what is read from a guest; more is not looked at. */
#define INTERFACES_MAX 64
#define INTERFACES_MAX_FILES 128
#define INTERFACES_MAX_DEPTH 4

/*
 * Fills system->interfaces, in the natural order of their names (eth2 before eth10). -1 only when
 * reading the guest failed; configuration that is not understood names nothing.
 */
int interfaces_read(struct files *files, struct system *system, struct error *err);

/* Letters, digits and "._-", 1 to 15 of them, not "." or "..": safe in a file name and a rule. */
bool interface_name_is_valid(const char *name);

/* Six hexadecimal bytes with colons (or dashes); written in lower case with colons. */
bool interface_parse_mac(const char *text, size_t length, char mac[18]);

#endif
