/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Why a virtual CPU came out of KVM, and what is done about it: its accesses go to the buses. Works
 * on the shared page alone, so it is tested without KVM.
 */
#ifndef HYPERVISOR_VCPU_EXIT_H
#define HYPERVISOR_VCPU_EXIT_H

#include "base/error.h"
#include "hypervisor/bus.h"

#include <linux/kvm.h>

enum vcpu_exit {
    VCPU_EXIT_DONE,
    VCPU_EXIT_RESET,  /* a triple fault, as on metal */
    VCPU_EXIT_FAILED, /* KVM cannot go on: err */
};

/* `fd` is only asked for registers, for the error. */
enum vcpu_exit vcpu_exit_handle(struct kvm_run *run, int fd, struct bus *ports,
                                struct bus *memory_bus, struct error *err);

#endif
