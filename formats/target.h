/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the writers of the targets share: which machine a guest needs. Private to formats/target*.c.
 */
#ifndef FORMATS_TARGET_H
#define FORMATS_TARGET_H

#include "base/error.h"
#include "formats/guest.h"

#include <stdbool.h>

/* PCI Express, unless a disk needs the IDE controller that only the older machine has. */
bool target_is_q35(const struct guest *guest);

/*
 * What every writer checks first: the definition itself, as guest_validate (its paths may lie
 * outside), and that Secure Boot, which needs system management mode, has a machine with it.
 */
int target_check(const struct guest *guest, struct error *err);

bool target_has_bus(const struct guest *guest, enum guest_bus bus);
bool target_has_serial(const struct guest *guest);
bool target_has_vga(const struct guest *guest);

/*
 * A disk's serial with only letters, digits, '_', '.', '+', '-' and blanks, which every target
 * takes, cut at `limit` bytes; "" when it has none. `buffer` holds limit + 1.
 */
const char *target_serial(const struct guest_disk *disk, char *buffer, size_t limit);

extern const struct guest_target guest_target_qemu, guest_target_libvirt;

#endif
