/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The parts of looking at a machine from the boot medium. Private to findings*.c.
 */
#ifndef P2V_BOOT_FINDINGS_PRIVATE_H
#define P2V_BOOT_FINDINGS_PRIVATE_H

#include "base/source.h"
#include "p2v/boot/findings.h"

/* What is beyond BOOT_MAX_NOTICES is dropped; the same text is said once. */
void findings_notice(struct boot_findings *findings, enum boot_notice_kind kind, const char *format,
                     ...) __attribute__((format(printf, 3, 4)));

/* "Dell Inc. PowerEdge R720, serial 4XK2, BIOS, 16 CPUs, 32 GiB". */
void findings_read_machine(const char *root, struct boot_findings *findings);

/* ECMA-119, 8.4: a volume of ours, as it stands at the start of a CD and of a USB stick. */
bool findings_is_boot_medium(const struct block_source *disk);

#endif
