/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * QEMU's firmware configuration interface: keys and named files that the firmware reads from ports
 * 0x510 and 0x511, or by DMA at 0x514 (QEMU's docs/specs/fw_cfg). Files are fixed before the start.
 */
#ifndef HYPERVISOR_FWCFG_H
#define HYPERVISOR_FWCFG_H

#include "hypervisor/device.h"

#define FWCFG_MAX_FILES 64
#define FWCFG_MAX_NAME 55

struct fwcfg;
struct fwcfg *fwcfg_new(const struct device_host *host, struct error *err);
struct device *fwcfg_device(struct fwcfg *fwcfg); /* its close frees it */

/* Copied. A key below 0x20, or a file; names as "etc/e820", sorted by this. */
int fwcfg_add_key(struct fwcfg *fwcfg, uint16_t key, const void *data, size_t length,
                  struct error *err);
int fwcfg_add_file(struct fwcfg *fwcfg, const char *name, const void *data, size_t length,
                   struct error *err);

#endif
