/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The virtual CPUs of a machine: a thread each, that runs KVM and hands what the guest does at its
 * ports and addresses to the buses. They rest together, run together, and are reset together.
 */
#ifndef HYPERVISOR_VCPU_H
#define HYPERVISOR_VCPU_H

#include "base/error.h"
#include "hypervisor/boot.h"
#include "hypervisor/bus.h"
#include "hypervisor/cpuid.h"
#include "hypervisor/kvm.h"

#include <stdint.h>

struct vcpus_options {
    struct kvm *kvm;
    struct bus *ports, *memory_bus;
    struct cpuid_topology topology;
    bool has_nesting;
    /* All of them asked to rest already when these are called, in the thread of a CPU. */
    void (*triple_fault)(void *context);
    void (*failed)(void *context, const struct error *error); /* KVM cannot go on */
    void *context;
};

struct vcpus;

/* Makes them and their threads, which rest until vcpus_resume. */
struct vcpus *vcpus_new(const struct vcpus_options *options, struct error *err);
void vcpus_free(struct vcpus *vcpus); /* NULL-safe; ends the threads */

/* Any thread, also a CPU's own, and does not wait: the next instruction of the guest is not run. */
void vcpus_ask_to_rest(struct vcpus *vcpus);

/* When it returns, none runs, and what each was about has been completed. Not in a CPU's thread. */
void vcpus_pause(struct vcpus *vcpus);
void vcpus_resume(struct vcpus *vcpus);

/* While they rest: all as after power-on, the first at its entry. */
int vcpus_reset(struct vcpus *vcpus, const struct boot_entry *entry, struct error *err);

/* Percent of one CPU for all together; 0: no limit. Any thread. */
void vcpus_set_limit(struct vcpus *vcpus, unsigned percent);

uint64_t vcpus_exits(struct vcpus *vcpus); /* to this process */
double vcpus_cpu_seconds(struct vcpus *vcpus);

#endif
