/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Services that watch or drive hardware which a virtual machine does not have.
 */
#ifndef BOOTFIX_HARDWARE_SERVICES_H
#define BOOTFIX_HARDWARE_SERVICES_H

#include "bootfix/span.h"

struct hardware_service {
    const char *name; /* of the unit without ".service", or of the script in /etc/init.d */
    const char *why;  /* "virtual disks have no …" */
};

/* Ends with a NULL name. */
extern const struct hardware_service hardware_services[];

/* The entry for a service's name, NULL when it may run. */
const struct hardware_service *hardware_service_find(struct span name);

#endif
