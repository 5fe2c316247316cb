/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The virtual machine as the kernel has it (Linux's Documentation/virt/kvm/api.rst): its
 * descriptors, memory, interrupt chips. Virtual CPUs are in hypervisor/vcpu.c.
 */
#ifndef HYPERVISOR_KVM_H
#define HYPERVISOR_KVM_H

#include "base/error.h"
#include "hypervisor/interrupts.h"
#include "hypervisor/memory.h"
#include "hypervisor/virtio/transport.h"

#include <linux/kvm.h>
#include <stddef.h>

/* What the interrupt chips were at the beginning. */
struct kvm_chips {
    struct kvm_irqchip chips[3]; /* both PICs and the IOAPIC */
    struct kvm_pit_state2 pit;
};

struct kvm {
    int fd, vm_fd;
    size_t run_size; /* of a virtual CPU's shared page */
    unsigned max_cpus;
    bool has_any_length_doorbells, has_tsc_deadline;
    unsigned slot_count;
    uint64_t low_bytes, high_bytes; /* RAM below and above 4 GiB */
    struct guest_memory memory;     /* RAM only */
    struct kvm_chips chips;
};

/*
 * Opens /dev/kvm and makes a machine without CPUs and memory. The error says, in words for a user,
 * what this system lacks. kvm_close may be called on {.fd = -1, .vm_fd = -1}, and after a failure.
 */
int kvm_open(struct kvm *kvm, struct error *err);
void kvm_close(struct kvm *kvm);

/* RAM as layout.h says; a multiple of 1 MiB. It costs nothing before it is used. */
int kvm_add_ram(struct kvm *kvm, uint64_t bytes, struct error *err);

/* Read-only memory whose end is at 4 GiB: whole pages, borrowed until kvm_close. */
int kvm_add_rom(struct kvm *kvm, const void *data, size_t size, struct error *err);

/* PICs, IOAPIC, PIT as after a reset. No virtual CPU runs meanwhile. */
int kvm_reset_chips(struct kvm *kvm, struct error *err);

struct interrupts kvm_interrupts(struct kvm *kvm);
struct doorbells kvm_doorbells(struct kvm *kvm);

#endif
