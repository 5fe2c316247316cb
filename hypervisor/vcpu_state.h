/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The registers of a virtual CPU: as KVM made them, put back at each reset, and as text for an
 * error. Each call is for the CPU's own thread, or while it rests.
 */
#ifndef HYPERVISOR_VCPU_STATE_H
#define HYPERVISOR_VCPU_STATE_H

#include "base/error.h"
#include "hypervisor/boot.h"
#include "hypervisor/cpuid.h"
#include "hypervisor/kvm.h"

struct vcpu_state {
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    struct kvm_fpu fpu;
    struct kvm_xcrs xcrs;
    struct kvm_debugregs debugregs;
    struct kvm_lapic_state lapic;
    struct kvm_vcpu_events events;
    struct kvm_mp_state mp_state;
    struct kvm_msrs *msrs; /* owned */
};

/* CPUID for this CPU, from what KVM supports. */
int vcpu_set_cpuid(const struct kvm *kvm, int fd, const struct cpuid_options *options,
                   struct error *err);

int vcpu_state_save(struct vcpu_state *state, const struct kvm *kvm, int fd, struct error *err);
void vcpu_state_fini(struct vcpu_state *state);

/* `entry` NULL: a CPU that waits for its first interrupt from another. */
int vcpu_state_restore(const struct vcpu_state *state, int fd, const struct boot_entry *entry,
                       struct error *err);

/* All segments from 0 to the end, with these selectors. */
void vcpu_set_flat(struct kvm_sregs *sregs, uint16_t code, uint16_t data, bool is_64bit);

/* Sets the error: what happened, and where the CPU is. */
void vcpu_describe(int fd, const char *what, struct error *err);

#endif
