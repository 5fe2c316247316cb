/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The files that a boot test writes to: an overlay per disk and a copy of the UEFI variables. Each
 * is opened and at once loses its name, so that nothing is left behind however the test ends.
 */
#ifndef P2V_BOOTTEST_FILES_H
#define P2V_BOOTTEST_FILES_H

#include "base/error.h"
#include "formats/guest.h"

#include <stddef.h>

/*
 * A new qcow2 overlay over the guest's disk, which is only read and whose own backing files must
 * lie in `folder` (absolute) too. Returns its descriptor, for reading and writing; the caller
 * closes it.
 */
int boot_overlay_open(const struct guest_disk *disk, const char *folder, const char *scratch,
                      struct error *err);

/*
 * A copy of the guest's UEFI variables, or of an empty store when it has none, as a descriptor;
 * *code names the installed firmware that goes with it (static). ENOENT without firmware.
 */
int boot_variables_open(const struct guest *guest, const char *folder, const char *scratch,
                        const char **code, struct error *err);

#endif
