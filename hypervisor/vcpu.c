/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A thread per virtual CPU, and the barrier where they rest. A CPU is got out of KVM by a signal
 * whose handler sets immediate_exit, so that one that comes just before KVM_RUN is not lost.
 */
#include "hypervisor/vcpu.h"

#include "base/clock.h"
#include "base/own.h"
#include "base/text.h"
#include "hypervisor/cpu_cap.h"
#include "hypervisor/sandbox.h"
#include "hypervisor/vcpu_exit.h"
#include "hypervisor/vcpu_state.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define KICK_SIGNAL SIGRTMIN

struct vcpu {
    struct vcpus *all;
    unsigned index;
    int fd;
    struct kvm_run *run;
    struct vcpu_state state; /* after power-on */
    pthread_t thread;
    bool has_thread;
    _Atomic uint64_t exits;
};

struct vcpus {
    struct vcpus_options options;
    struct cpu_cap *cap;
    unsigned count;
    atomic_bool should_rest; /* changed under the lock, read without */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned resting;
    bool is_ending;
    struct vcpu items[];
};

/* --- kicking ---------------------------------------------------------------------------------- */

static _Thread_local struct kvm_run *own_run;

static void set_immediate_exit(struct kvm_run *run, bool is_set)
{
    __atomic_store_n(&run->immediate_exit, is_set, __ATOMIC_SEQ_CST);
}

static void on_kick(int number)
{
    (void)number;
    if (own_run)
        set_immediate_exit(own_run, true);
}

static void kick(struct vcpu *vcpu)
{
    if (vcpu->has_thread)
        pthread_kill(vcpu->thread, KICK_SIGNAL);
}

static void kick_for_cap(void *context, unsigned cpu)
{
    struct vcpus *vcpus = context;
    kick(&vcpus->items[cpu]);
}

static void ask_locked(struct vcpus *vcpus)
{
    if (atomic_exchange(&vcpus->should_rest, true))
        return;
    for (unsigned i = 0; i < vcpus->count; i++)
        kick(&vcpus->items[i]);
    pthread_cond_broadcast(&vcpus->changed);
}

void vcpus_ask_to_rest(struct vcpus *vcpus)
{
    pthread_mutex_lock(&vcpus->lock);
    ask_locked(vcpus);
    pthread_mutex_unlock(&vcpus->lock);
}

void vcpus_pause(struct vcpus *vcpus)
{
    pthread_mutex_lock(&vcpus->lock);
    ask_locked(vcpus);
    while (vcpus->resting < vcpus->count)
        pthread_cond_wait(&vcpus->changed, &vcpus->lock);
    pthread_mutex_unlock(&vcpus->lock);
}

/* A guest whose clock jumped is told why (where it asked to be): else it complains of CPUs that
 * were stuck. */
void vcpus_resume(struct vcpus *vcpus)
{
    for (unsigned i = 0; i < vcpus->count; i++)
        ioctl(vcpus->items[i].fd, KVM_KVMCLOCK_CTRL, 0);
    pthread_mutex_lock(&vcpus->lock);
    atomic_store(&vcpus->should_rest, false);
    pthread_cond_broadcast(&vcpus->changed);
    pthread_mutex_unlock(&vcpus->lock);
}

/* --- a CPU's thread --------------------------------------------------------------------------- */

static void fail(struct vcpu *vcpu, const struct error *error)
{
    vcpus_ask_to_rest(vcpu->all);
    vcpu->all->options.failed(vcpu->all->options.context, error);
}

static void handle_exit(struct vcpu *vcpu)
{
    const struct vcpus_options *options = &vcpu->all->options;
    struct error err;
    atomic_store_explicit(&vcpu->exits,
                          atomic_load_explicit(&vcpu->exits, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    switch (vcpu_exit_handle(vcpu->run, vcpu->fd, options->ports, options->memory_bus, &err)) {
    case VCPU_EXIT_DONE:
        break;
    case VCPU_EXIT_RESET:
        vcpus_ask_to_rest(vcpu->all);
        options->triple_fault(options->context);
        break;
    case VCPU_EXIT_FAILED:
        fail(vcpu, &err);
        break;
    }
}

/* One KVM_RUN; true when it ended with an exit that was handled. */
static bool run_once(struct vcpu *vcpu)
{
    if (ioctl(vcpu->fd, KVM_RUN, 0) == 0) {
        handle_exit(vcpu);
        return true;
    }
    if (errno != EINTR && errno != EAGAIN) {
        struct error err;
        int cause = errno;
        vcpu_describe(vcpu->fd, "the CPU stopped", &err);
        error_wrap(&err, "KVM: errno %d", cause);
        fail(vcpu, &err);
    }
    return false;
}

/* Until there is something to run; false: it is the end. */
static bool rest(struct vcpus *vcpus)
{
    pthread_mutex_lock(&vcpus->lock);
    vcpus->resting++;
    pthread_cond_broadcast(&vcpus->changed);
    while (atomic_load(&vcpus->should_rest) && !vcpus->is_ending)
        pthread_cond_wait(&vcpus->changed, &vcpus->lock);
    vcpus->resting--;
    bool goes_on = !vcpus->is_ending;
    pthread_mutex_unlock(&vcpus->lock);
    return goes_on;
}

/* KVM completes an access that was handled when it is entered again: so it is, until it comes back
 * by itself. */
static void complete(struct vcpu *vcpu)
{
    do
        set_immediate_exit(vcpu->run, true);
    while (run_once(vcpu));
}

/* Until the cap allows it more CPU time, or something else is wanted of it. */
static void sleep_capped(struct vcpus *vcpus, int64_t wait_ns)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t ns = until.tv_nsec + wait_ns;
    until.tv_sec += ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    pthread_mutex_lock(&vcpus->lock);
    while (!atomic_load(&vcpus->should_rest) &&
           pthread_cond_timedwait(&vcpus->changed, &vcpus->lock, &until) == 0)
        continue;
    pthread_mutex_unlock(&vcpus->lock);
}

static void run_guest(struct vcpu *vcpu)
{
    struct vcpus *vcpus = vcpu->all;
    struct error err;
    if (sandbox_enter(SANDBOX_VCPU, &err) != 0)
        fail(vcpu, &err);
    for (;;) {
        set_immediate_exit(vcpu->run, false);
        if (atomic_load(&vcpus->should_rest)) {
            complete(vcpu);
            if (!rest(vcpus))
                return;
            continue;
        }
        int64_t wait_ns = cpu_cap_wait_ns(vcpus->cap);
        if (wait_ns > 0)
            sleep_capped(vcpus, wait_ns);
        else
            run_once(vcpu);
    }
}

static void *vcpu_main(void *context)
{
    struct vcpu *vcpu = context;
    own_run = vcpu->run;
    cpu_cap_join(vcpu->all->cap, vcpu->index);
    if (rest(vcpu->all))
        run_guest(vcpu);
    cpu_cap_leave(vcpu->all->cap, vcpu->index);
    return NULL;
}

/* --- making them ------------------------------------------------------------------------------ */

static int make_cpu(struct vcpu *vcpu, struct error *err)
{
    const struct vcpus_options *options = &vcpu->all->options;
    const struct kvm *kvm = options->kvm;
    struct cpuid_options cpuid = {.topology = options->topology,
                                  .apic_id = vcpu->index,
                                  .has_nesting = options->has_nesting,
                                  .has_tsc_deadline = kvm->has_tsc_deadline};
    vcpu->fd = ioctl(kvm->vm_fd, KVM_CREATE_VCPU, vcpu->index);
    if (vcpu->fd < 0)
        return error_set(err, errno, "KVM: make CPU %u", vcpu->index);
    void *run = mmap(NULL, kvm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
    if (run == MAP_FAILED)
        return error_set(err, errno, "KVM: map CPU %u", vcpu->index);
    vcpu->run = run;
    if (vcpu_set_cpuid(kvm, vcpu->fd, &cpuid, err) != 0)
        return -1;
    return vcpu_state_save(&vcpu->state, kvm, vcpu->fd, err);
}

/* The signals of the process are for the main thread. */
static int start_thread(struct vcpu *vcpu, struct error *err)
{
    sigset_t all, before;
    sigfillset(&all);
    sigdelset(&all, KICK_SIGNAL);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int result = pthread_create(&vcpu->thread, NULL, vcpu_main, vcpu);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (result != 0)
        return error_set(err, result, "start a thread for CPU %u", vcpu->index);
    vcpu->has_thread = true;
    return 0;
}

static int make_all(struct vcpus *vcpus, struct error *err)
{
    struct cpu_cap_options cap = {.cpus = vcpus->count, .kick = kick_for_cap, .context = vcpus};
    struct sigaction action = {.sa_handler = on_kick};
    vcpus->cap = cpu_cap_new(&cap, err);
    if (!vcpus->cap)
        return -1;
    if (sigaction(KICK_SIGNAL, &action, NULL) != 0)
        return error_set(err, errno, "handle signal %d", KICK_SIGNAL);
    for (unsigned i = 0; i < vcpus->count; i++) {
        if (make_cpu(&vcpus->items[i], err) != 0)
            return -1;
    }
    for (unsigned i = 0; i < vcpus->count; i++) {
        if (start_thread(&vcpus->items[i], err) != 0)
            return -1;
    }
    return 0;
}

struct vcpus *vcpus_new(const struct vcpus_options *options, struct error *err)
{
    unsigned count = options->topology.cpus;
    if (count == 0 || count > options->kvm->max_cpus) {
        error_set(err, 0, "%u CPUs: KVM on this system runs 1 to %u", count,
                  options->kvm->max_cpus);
        return NULL;
    }
    struct vcpus *vcpus = memory_new(1, sizeof(*vcpus) + count * sizeof(vcpus->items[0]));
    vcpus->options = *options;
    vcpus->count = count;
    atomic_init(&vcpus->should_rest, true);
    pthread_mutex_init(&vcpus->lock, NULL);
    clock_condition_init(&vcpus->changed);
    for (unsigned i = 0; i < count; i++)
        vcpus->items[i] = (struct vcpu){.all = vcpus, .index = i, .fd = -1};
    if (make_all(vcpus, err) == 0)
        return vcpus;
    vcpus_free(vcpus);
    return NULL;
}

static void free_cpu(struct vcpu *vcpu)
{
    if (vcpu->run)
        munmap(vcpu->run, vcpu->all->options.kvm->run_size);
    own_close(&vcpu->fd);
    vcpu_state_fini(&vcpu->state);
}

void vcpus_free(struct vcpus *vcpus)
{
    if (!vcpus)
        return;
    pthread_mutex_lock(&vcpus->lock);
    ask_locked(vcpus);
    vcpus->is_ending = true;
    pthread_cond_broadcast(&vcpus->changed);
    pthread_mutex_unlock(&vcpus->lock);
    for (unsigned i = 0; i < vcpus->count; i++) {
        if (vcpus->items[i].has_thread)
            pthread_join(vcpus->items[i].thread, NULL);
    }
    for (unsigned i = 0; i < vcpus->count; i++)
        free_cpu(&vcpus->items[i]);
    cpu_cap_free(vcpus->cap);
    pthread_cond_destroy(&vcpus->changed);
    pthread_mutex_destroy(&vcpus->lock);
    free(vcpus);
}

/* --- the rest --------------------------------------------------------------------------------- */

int vcpus_reset(struct vcpus *vcpus, const struct boot_entry *entry, struct error *err)
{
    for (unsigned i = 0; i < vcpus->count; i++) {
        struct vcpu *vcpu = &vcpus->items[i];
        if (vcpu_state_restore(&vcpu->state, vcpu->fd, i == 0 ? entry : NULL, err) != 0)
            return error_wrap(err, "CPU %u", i);
    }
    return 0;
}

void vcpus_set_limit(struct vcpus *vcpus, unsigned percent)
{
    cpu_cap_set(vcpus->cap, percent);
}

uint64_t vcpus_exits(struct vcpus *vcpus)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < vcpus->count; i++)
        sum += atomic_load_explicit(&vcpus->items[i].exits, memory_order_relaxed);
    return sum;
}

double vcpus_cpu_seconds(struct vcpus *vcpus)
{
    return cpu_cap_cpu_seconds(vcpus->cap);
}
