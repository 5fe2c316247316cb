/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The used-map drivers, one per file in this folder. usedmap.c puts them into their order.
 */
#ifndef DISK_FS_DRIVERS_H
#define DISK_FS_DRIVERS_H

#include "disk/usedmap.h"

extern const struct usedmap_driver ext_driver;
extern const struct usedmap_driver swap_driver;
extern const struct usedmap_driver unknown_driver; /* takes every volume */

#endif
