/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * How a device interrupts, whatever delivers it: KVM's chips in a machine, a recorder in a test.
 * Any thread may call; neither call fails in a way that a device could do something about.
 */
#ifndef HYPERVISOR_INTERRUPTS_H
#define HYPERVISOR_INTERRUPTS_H

#include <stdbool.h>
#include <stdint.h>

struct interrupts {
    void (*set_line)(void *context, unsigned gsi, bool is_high);
    void (*send_message)(void *context, uint64_t address, uint32_t data); /* MSI and MSI-X */
    void *context;
};

#endif
