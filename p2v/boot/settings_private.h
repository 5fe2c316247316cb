/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The kinds of value that parameters have: each is checked before it is kept. Private to
 * settings*.c.
 */
#ifndef P2V_BOOT_SETTINGS_PRIVATE_H
#define P2V_BOOT_SETTINGS_PRIVATE_H

#include "p2v/boot/settings.h"

/* A value was refused: the text says why, and never repeats a secret. */
typedef int settings_check(const char *value, struct error *err);

settings_check settings_check_server, settings_check_pin, settings_check_token, settings_check_name,
    settings_check_compress;

/* One item of a list. */
settings_check settings_check_disk, settings_check_network, settings_check_text;

int settings_read_memory(const char *value, uint64_t *bytes, struct error *err);
int settings_read_rate(const char *value, uint64_t *bytes_per_second, struct error *err);
int settings_read_vcpus(const char *value, unsigned *count, struct error *err);
int settings_read_flag(const char *value, bool *flag, struct error *err);
int settings_read_then(const char *value, enum boot_then *then, struct error *err);

/* All of them together: none is told twice. */
int settings_check_networks(const struct boot_names *networks, struct error *err);

/* Replaces *place with a copy; the old text is wiped. "" is none. */
void settings_replace(char **place, const char *value);

int settings_names_add(struct boot_names *names, const char *name, struct error *err);
void settings_names_fini(struct boot_names *names);

/* Each item of "a,b,c" is checked; none may be empty. Replaces what was there. */
int settings_names_split(struct boot_names *names, const char *value, settings_check *check,
                         struct error *err);

#endif
