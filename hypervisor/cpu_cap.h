/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A hard cap on the CPU time of all vCPUs together, which holds on an idle host too and needs no
 * cgroups. Each period has a budget; a thread of its own watches the vCPU threads' CPU clocks,
 * sleeping exactly until the budget can be gone, and then kicks them out of the guest until the
 * next period. What was used too much is taken from the periods that follow.
 */
#ifndef HYPERVISOR_CPU_CAP_H
#define HYPERVISOR_CPU_CAP_H

#include "base/error.h"
#include "base/own.h"

#include <stdint.h>

#define CPU_CAP_PERIOD_MS 50
#define CPU_CAP_MAX_CPUS 64

struct cpu_cap_options {
    unsigned cpus; /* at most CPU_CAP_MAX_CPUS */
    /* Makes that vCPU leave KVM_RUN soon, or not enter it; called by the cap's own thread for who
     * has joined and not left. It must not call the cap. */
    void (*kick)(void *context, unsigned cpu);
    void *context;
};

/* Starts without a cap. Makes its thread, so before the sandbox closes. */
struct cpu_cap *cpu_cap_new(const struct cpu_cap_options *options, struct error *err);
void cpu_cap_free(struct cpu_cap *cap); /* NULL-safe; after all vCPUs have left */
OWN_DEFINE_PTR(cpu_cap, cpu_cap_free)

/* Percent of one CPU over all vCPUs; 0: no cap. Any thread, at any time. */
void cpu_cap_set(struct cpu_cap *cap, unsigned percent);

/* In the vCPU's own thread: first of all, and last of all. */
void cpu_cap_join(struct cpu_cap *cap, unsigned cpu);
void cpu_cap_leave(struct cpu_cap *cap, unsigned cpu);

/*
 * In a vCPU's thread, before each KVM_RUN and after immediate_exit was cleared. 0: it may run. Else
 * nanoseconds, a period at most, for which it sleeps where its caller can wake it, and asks again.
 * Costs one load while there is budget.
 */
int64_t cpu_cap_wait_ns(struct cpu_cap *cap);

/* CPU time of all vCPU threads, also of those that have left. Any thread. */
double cpu_cap_cpu_seconds(struct cpu_cap *cap);

#endif
