/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The budget and the thread that watches it. While there is budget left, the thread sleeps for as
 * long as it takes all vCPUs together to use it up, so that between two looks nothing but what they
 * wake up late by is used too much; and that is owed.
 */
#include "hypervisor/cpu_cap.h"

#include "base/clock.h"
#include "hypervisor/sandbox.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#define SECOND_NS INT64_C(1000000000)
#define PERIOD_NS (CPU_CAP_PERIOD_MS * INT64_C(1000000))
#define MIN_SLEEP_NS INT64_C(200000)

struct cpu_cap {
    struct cpu_cap_options options;
    pthread_t thread;
    _Atomic bool is_closed; /* no budget: vCPUs sleep */

    pthread_mutex_t lock; /* of all below */
    pthread_cond_t watch;
    bool is_ending;
    unsigned percent;
    int64_t budget_ns, period_end_ns;
    struct {
        bool is_here;
        clockid_t clock;
        int64_t used_ns; /* when last looked at, or when it left */
    } cpus[CPU_CAP_MAX_CPUS];
};

static int64_t read_clock(clockid_t clock)
{
    struct timespec now = {0};

    clock_gettime(clock, &now);
    return now.tv_sec * SECOND_NS + now.tv_nsec;
}

static struct timespec timespec_of(int64_t ns)
{
    return (struct timespec){.tv_sec = ns / SECOND_NS, .tv_nsec = ns % SECOND_NS};
}

/* What vCPU threads have used since the last look. */
static int64_t collect_locked(struct cpu_cap *cap, unsigned *running)
{
    int64_t used = 0;

    *running = 0;
    for (unsigned i = 0; i < cap->options.cpus; i++) {
        int64_t now;

        if (!cap->cpus[i].is_here)
            continue;
        now = read_clock(cap->cpus[i].clock);
        used += now - cap->cpus[i].used_ns;
        cap->cpus[i].used_ns = now;
        ++*running;
    }
    return used;
}

static int64_t quota_ns(const struct cpu_cap *cap)
{
    return PERIOD_NS / 100 * cap->percent;
}

/* A new period: what was not used is gone, what was used too much is not. */
static void refill_locked(struct cpu_cap *cap, int64_t now)
{
    int64_t periods;

    if (now < cap->period_end_ns)
        return;
    periods = 1 + (now - cap->period_end_ns) / PERIOD_NS;
    cap->period_end_ns += periods * PERIOD_NS;
    cap->budget_ns += periods * quota_ns(cap);
    if (cap->budget_ns > quota_ns(cap))
        cap->budget_ns = quota_ns(cap);
}

/* Until when the thread may sleep. *must_kick: vCPUs are to leave the guest. */
static int64_t look_locked(struct cpu_cap *cap, bool *must_kick)
{
    int64_t now = read_clock(CLOCK_MONOTONIC), until;
    unsigned running;

    cap->budget_ns -= collect_locked(cap, &running);
    refill_locked(cap, now);
    *must_kick = cap->budget_ns <= 0;
    atomic_store(&cap->is_closed, *must_kick);
    if (*must_kick)
        return cap->period_end_ns;
    until = now + cap->budget_ns / (running ? running : 1);
    if (until < now + MIN_SLEEP_NS)
        until = now + MIN_SLEEP_NS;
    return until < cap->period_end_ns ? until : cap->period_end_ns;
}

/* Under the lock: who has left is never kicked. */
static void kick_all_locked(struct cpu_cap *cap)
{
    for (unsigned i = 0; i < cap->options.cpus; i++) {
        if (cap->cpus[i].is_here)
            cap->options.kick(cap->options.context, i);
    }
}

static void watch_once_locked(struct cpu_cap *cap)
{
    bool must_kick;
    int64_t until = look_locked(cap, &must_kick);
    struct timespec moment = timespec_of(until);

    if (must_kick)
        kick_all_locked(cap);
    pthread_cond_timedwait(&cap->watch, &cap->lock, &moment);
}

static void *cap_main(void *context)
{
    struct cpu_cap *cap = context;
    struct error err;

    pthread_mutex_lock(&cap->lock);
    while (!cap->is_ending) {
        if (cap->percent == 0) {
            pthread_cond_wait(&cap->watch, &cap->lock);
            continue;
        }
        /* It reads nothing of a guest's: should its list fail to load, the cap still holds. */
        sandbox_enter(SANDBOX_VCPU, &err);
        watch_once_locked(cap);
    }
    pthread_mutex_unlock(&cap->lock);
    return NULL;
}

/* Signals are for other threads. */
static int start_thread(struct cpu_cap *cap)
{
    pthread_attr_t attributes;
    sigset_t all;
    int failure;

    sigfillset(&all);
    pthread_attr_init(&attributes);
    pthread_attr_setsigmask_np(&attributes, &all);
    failure = pthread_create(&cap->thread, &attributes, cap_main, cap);
    pthread_attr_destroy(&attributes);
    return failure;
}

struct cpu_cap *cpu_cap_new(const struct cpu_cap_options *options, struct error *err)
{
    struct cpu_cap *cap = calloc(1, sizeof(*cap));
    int failure;

    if (!cap || options->cpus > CPU_CAP_MAX_CPUS) {
        error_set(err, cap ? EINVAL : ENOMEM, "CPU cap for %u CPUs", options->cpus);
        free(cap);
        return NULL;
    }
    cap->options = *options;
    pthread_mutex_init(&cap->lock, NULL);
    clock_condition_init(&cap->watch);
    failure = start_thread(cap);
    if (failure) {
        error_set(err, failure, "thread of the CPU cap");
        pthread_mutex_destroy(&cap->lock);
        free(cap);
        return NULL;
    }
    return cap;
}

void cpu_cap_free(struct cpu_cap *cap)
{
    if (!cap)
        return;
    pthread_mutex_lock(&cap->lock);
    cap->is_ending = true;
    pthread_cond_signal(&cap->watch);
    pthread_mutex_unlock(&cap->lock);
    pthread_join(cap->thread, NULL);
    pthread_cond_destroy(&cap->watch);
    pthread_mutex_destroy(&cap->lock);
    free(cap);
}

void cpu_cap_set(struct cpu_cap *cap, unsigned percent)
{
    unsigned ignored;

    pthread_mutex_lock(&cap->lock);
    if (percent != cap->percent) {
        collect_locked(cap, &ignored);
        cap->percent = percent;
        cap->budget_ns = quota_ns(cap);
        cap->period_end_ns = read_clock(CLOCK_MONOTONIC) + PERIOD_NS;
        atomic_store(&cap->is_closed, false);
        pthread_cond_signal(&cap->watch);
    }
    pthread_mutex_unlock(&cap->lock);
}

void cpu_cap_join(struct cpu_cap *cap, unsigned cpu)
{
    pthread_mutex_lock(&cap->lock);
    if (pthread_getcpuclockid(pthread_self(), &cap->cpus[cpu].clock) == 0) {
        cap->cpus[cpu].used_ns = 0;
        cap->cpus[cpu].is_here = true;
    }
    pthread_mutex_unlock(&cap->lock);
}

void cpu_cap_leave(struct cpu_cap *cap, unsigned cpu)
{
    unsigned ignored;

    pthread_mutex_lock(&cap->lock);
    cap->budget_ns -= collect_locked(cap, &ignored);
    cap->cpus[cpu].is_here = false;
    pthread_mutex_unlock(&cap->lock);
}

int64_t cpu_cap_wait_ns(struct cpu_cap *cap)
{
    int64_t wait;

    if (!atomic_load_explicit(&cap->is_closed, memory_order_relaxed))
        return 0;
    pthread_mutex_lock(&cap->lock);
    wait = cap->period_end_ns - read_clock(CLOCK_MONOTONIC);
    pthread_mutex_unlock(&cap->lock);
    /* The period is over and the thread has not looked yet: it is about to. */
    return wait > MIN_SLEEP_NS ? wait : MIN_SLEEP_NS;
}

double cpu_cap_cpu_seconds(struct cpu_cap *cap)
{
    int64_t used = 0;

    pthread_mutex_lock(&cap->lock);
    for (unsigned i = 0; i < cap->options.cpus; i++)
        used += cap->cpus[i].is_here ? read_clock(cap->cpus[i].clock) : cap->cpus[i].used_ns;
    pthread_mutex_unlock(&cap->lock);
    return (double)used / (double)SECOND_NS;
}
