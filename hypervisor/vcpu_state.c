/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * System calls of KVM that read and write a virtual CPU's registers.
 */
#include "hypervisor/vcpu_state.h"

#include "base/bytes.h"
#include "base/own.h"
#include "base/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#define CPUID_ROOM 256 /* KVM's own limit */
#define MSR_ROOM 1024

#define CR0_PE 1u

int vcpu_set_cpuid(const struct kvm *kvm, int fd, const struct cpuid_options *options,
                   struct error *err)
{
    AUTO_FREE struct kvm_cpuid2 *cpuid =
        memory_new(1, sizeof(*cpuid) + CPUID_ROOM * sizeof(cpuid->entries[0]));
    cpuid->nent = CPUID_ROOM;
    if (ioctl(kvm->fd, KVM_GET_SUPPORTED_CPUID, cpuid) != 0)
        return error_set(err, errno, "KVM: which CPU features it supports");
    cpuid_adapt(cpuid, CPUID_ROOM, options);
    return ioctl(fd, KVM_SET_CPUID2, cpuid) == 0 ? 0
                                                 : error_set(err, errno, "KVM: set CPU features");
}

/* The clock goes on through a reset: one that jumps back on one CPU first would be out of step. */
static bool is_left_alone(uint32_t index)
{
    enum { TSC = 0x10, TSC_ADJUST = 0x3b };
    return index == TSC || index == TSC_ADJUST;
}

/* Those of KVM's list that can be read. */
static int save_msrs(struct vcpu_state *state, const struct kvm *kvm, int fd, struct error *err)
{
    AUTO_FREE struct kvm_msr_list *list =
        memory_new(1, sizeof(*list) + MSR_ROOM * sizeof(list->indices[0]));
    list->nmsrs = MSR_ROOM;
    if (ioctl(kvm->fd, KVM_GET_MSR_INDEX_LIST, list) != 0)
        return error_set(err, errno, "KVM: list the machine's registers");
    AUTO_FREE struct kvm_msrs *one = memory_new(1, sizeof(*one) + sizeof(one->entries[0]));
    state->msrs =
        memory_new(1, sizeof(*state->msrs) + list->nmsrs * sizeof(state->msrs->entries[0]));
    for (uint32_t i = 0; i < list->nmsrs; i++) {
        one->nmsrs = 1;
        one->entries[0] = (struct kvm_msr_entry){.index = list->indices[i]};
        if (!is_left_alone(list->indices[i]) && ioctl(fd, KVM_GET_MSRS, one) == 1)
            state->msrs->entries[state->msrs->nmsrs++] = one->entries[0];
    }
    return 0;
}

/* KVM sets as many as it can and tells how many: one that it refuses is passed over. */
static void restore_msrs(const struct vcpu_state *state, int fd)
{
    AUTO_FREE struct kvm_msrs *rest =
        memory_new(1, sizeof(*rest) + state->msrs->nmsrs * sizeof(state->msrs->entries[0]));
    uint32_t done = 0;
    while (done < state->msrs->nmsrs) {
        rest->nmsrs = state->msrs->nmsrs - done;
        memcpy(rest->entries, &state->msrs->entries[done], rest->nmsrs * sizeof(rest->entries[0]));
        int set = ioctl(fd, KVM_SET_MSRS, rest);
        if (set < 0)
            return;
        done += (uint32_t)set < rest->nmsrs ? (uint32_t)set + 1 : (uint32_t)set;
    }
}

/* In the order in which they are put back: what the later ones depend on comes first. */
static const struct {
    const char *name;
    unsigned long get, set;
    size_t offset;
} parts[] = {
    {"registers", KVM_GET_REGS, KVM_SET_REGS, offsetof(struct vcpu_state, regs)},
    {"system registers", KVM_GET_SREGS, KVM_SET_SREGS, offsetof(struct vcpu_state, sregs)},
    {"FPU", KVM_GET_FPU, KVM_SET_FPU, offsetof(struct vcpu_state, fpu)},
    {"XCRs", KVM_GET_XCRS, KVM_SET_XCRS, offsetof(struct vcpu_state, xcrs)},
    {"debug registers", KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS,
     offsetof(struct vcpu_state, debugregs)},
    {"APIC", KVM_GET_LAPIC, KVM_SET_LAPIC, offsetof(struct vcpu_state, lapic)},
    {"events", KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS, offsetof(struct vcpu_state, events)},
    {"state", KVM_GET_MP_STATE, KVM_SET_MP_STATE, offsetof(struct vcpu_state, mp_state)},
};

/* A CPU without XSAVE has no XCRs. */
static bool may_fail(size_t part)
{
    return parts[part].get == KVM_GET_XCRS;
}

int vcpu_state_save(struct vcpu_state *state, const struct kvm *kvm, int fd, struct error *err)
{
    for (size_t i = 0; i < ARRAY_LENGTH(parts); i++) {
        if (ioctl(fd, parts[i].get, (char *)state + parts[i].offset) != 0 && !may_fail(i))
            return error_set(err, errno, "KVM: read a CPU's %s", parts[i].name);
    }
    return save_msrs(state, kvm, fd, err);
}

void vcpu_state_fini(struct vcpu_state *state)
{
    free(state->msrs);
    state->msrs = NULL;
}

void vcpu_set_flat(struct kvm_sregs *sregs, uint16_t code, uint16_t data, bool is_64bit)
{
    sregs->ds = (struct kvm_segment){.limit = UINT32_MAX,
                                     .selector = data,
                                     .type = 3, /* writable, accessed */
                                     .present = 1,
                                     .db = 1,
                                     .s = 1,
                                     .g = 1};
    sregs->es = sregs->ss = sregs->fs = sregs->gs = sregs->cs = sregs->ds;
    sregs->cs.selector = code;
    sregs->cs.type = 0xb; /* code, readable, accessed */
    sregs->cs.l = is_64bit;
    sregs->cs.db = !is_64bit;
}

/* Protected mode without paging, interrupts off (Linux's boot protocol: selectors 0x10, 0x18). */
static void enter_directly(struct vcpu_state *state, const struct boot_entry *entry)
{
    vcpu_set_flat(&state->sregs, 0x10, 0x18, false);
    state->sregs.cr0 |= CR0_PE;
    state->regs = (struct kvm_regs){.rip = entry->address, .rsi = entry->table, .rflags = 2};
}

int vcpu_state_restore(const struct vcpu_state *state, int fd, const struct boot_entry *entry,
                       struct error *err)
{
    struct vcpu_state wanted = *state;
    if (entry && entry->is_direct)
        enter_directly(&wanted, entry);
    restore_msrs(state, fd);
    for (size_t i = 0; i < ARRAY_LENGTH(parts); i++) {
        if (ioctl(fd, parts[i].set, (char *)&wanted + parts[i].offset) != 0 && !may_fail(i))
            return error_set(err, errno, "KVM: set a CPU's %s", parts[i].name);
    }
    return 0;
}

void vcpu_describe(int fd, const char *what, struct error *err)
{
    struct kvm_regs regs = {0};
    struct kvm_sregs sregs = {0};
    ioctl(fd, KVM_GET_REGS, &regs);
    ioctl(fd, KVM_GET_SREGS, &sregs);
    error_set(err, 0,
              "%s at cs:rip 0x%x:0x%llx (base 0x%llx), rsp 0x%llx, rax 0x%llx, rflags 0x%llx, "
              "cr0 0x%llx, cr2 0x%llx, cr3 0x%llx, cr4 0x%llx, efer 0x%llx",
              what, sregs.cs.selector, regs.rip, sregs.cs.base, regs.rsp, regs.rax, regs.rflags,
              sregs.cr0, sregs.cr2, sregs.cr3, sregs.cr4, sregs.efer);
}
