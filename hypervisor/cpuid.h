/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What a virtual CPU says of itself: KVM's list of what it supports, with this CPU's place among
 * the others written in. Pure. (AMD64 Programmer's Manual volume 3, appendix E; Intel SDM volume 2,
 * CPUID; Linux's Documentation/virt/kvm/x86/cpuid.rst.)
 */
#ifndef HYPERVISOR_CPUID_H
#define HYPERVISOR_CPUID_H

#include <linux/kvm.h>
#include <stdbool.h>

/* CPUs are numbered through; APIC ids are those numbers, so both factors are powers of two unless
 * there is one socket. */
struct cpuid_topology {
    unsigned cpus, cores, threads; /* all; in a socket; in a core */
};

/* As near to the wanted one as the rule above allows. */
struct cpuid_topology cpuid_topology_make(unsigned sockets, unsigned cores, unsigned threads);

struct cpuid_options {
    struct cpuid_topology topology;
    unsigned apic_id;
    bool has_nesting;      /* SVM and VMX are shown */
    bool has_tsc_deadline; /* KVM_CAP_TSC_DEADLINE_TIMER */
};

/* `cpuid` has room for `room` entries; what does not fit in is left out. */
void cpuid_adapt(struct kvm_cpuid2 *cpuid, unsigned room, const struct cpuid_options *options);

#endif
