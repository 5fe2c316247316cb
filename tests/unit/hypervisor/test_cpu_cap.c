/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The hard CPU cap over threads that burn what they get, as a guest does, with the loop of a vCPU
 * around it.
 */
#include "base/clock.h"
#include "hypervisor/cpu_cap.h"

#include <dirent.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define CPUS 2

struct machine {
    struct cpu_cap *cap;
    struct burner {
        struct machine *machine;
        unsigned index;
        pthread_t thread;
    } burners[CPUS];
    atomic_bool is_kicked[CPUS]; /* as KVM's immediate_exit */
    atomic_bool is_over;
};

static void kick(void *context, unsigned cpu)
{
    atomic_store(&((struct machine *)context)->is_kicked[cpu], true);
}

static void *burn(void *context)
{
    struct burner *burner = context;
    struct machine *machine = burner->machine;

    cpu_cap_join(machine->cap, burner->index);
    while (!machine->is_over) {
        int64_t wait;

        atomic_store(&machine->is_kicked[burner->index], false);
        wait = cpu_cap_wait_ns(machine->cap);
        assert_true(wait <= CPU_CAP_PERIOD_MS * INT64_C(1000000));
        if (wait > 0) {
            nanosleep(&(struct timespec){.tv_nsec = wait}, NULL);
            continue;
        }
        while (!atomic_load(&machine->is_kicked[burner->index]) && !machine->is_over)
            ;
    }
    cpu_cap_leave(machine->cap, burner->index);
    return NULL;
}

static void machine_start(struct machine *machine, unsigned percent)
{
    struct cpu_cap_options options = {.cpus = CPUS, .kick = kick, .context = machine};
    struct error err;

    machine->cap = cpu_cap_new(&options, &err);
    assert_non_null(machine->cap);
    cpu_cap_set(machine->cap, percent);
    for (unsigned i = 0; i < CPUS; i++) {
        machine->burners[i].machine = machine;
        machine->burners[i].index = i;
        assert_int_equal(
            pthread_create(&machine->burners[i].thread, NULL, burn, &machine->burners[i]), 0);
    }
}

static void machine_stop(struct machine *machine)
{
    machine->is_over = true;
    for (unsigned i = 0; i < CPUS; i++)
        pthread_join(machine->burners[i].thread, NULL);
}

/* For how long threads of this process were ready and the machine, busy otherwise, let them wait.
 */
static double waited_seconds(void)
{
    DIR *tasks = opendir("/proc/self/task");
    double waited = 0;

    assert_non_null(tasks);
    for (struct dirent *task; (task = readdir(tasks));) {
        unsigned long long ran, waiting;
        char path[300];

        snprintf(path, sizeof(path), "/proc/self/task/%s/schedstat", task->d_name);
        FILE *file = task->d_name[0] == '.' ? NULL : fopen(path, "r");
        if (file && fscanf(file, "%llu %llu", &ran, &waiting) == 2)
            waited += (double)waiting / 1e9;
        if (file)
            fclose(file);
    }
    closedir(tasks);
    return waited;
}

struct share { /* percent of one CPU */
    double got, wanted;
};

static struct share measure(struct machine *machine, unsigned milliseconds)
{
    double begin = clock_seconds(), used = cpu_cap_cpu_seconds(machine->cap);
    double waited = waited_seconds(), seconds;

    usleep(milliseconds * 1000);
    used = cpu_cap_cpu_seconds(machine->cap) - used;
    waited = waited_seconds() - waited;
    seconds = clock_seconds() - begin;
    return (struct share){used * 100 / seconds, (used + waited) * 100 / seconds};
}

/* Never more; less only by what others on this machine took away. */
static void expect_percent(struct machine *machine, unsigned milliseconds, double percent)
{
    struct share share = measure(machine, milliseconds);

    if (share.got > percent * 1.05 || share.wanted < percent * 0.95)
        fail_msg("%.1f %% (with waiting %.1f %%) instead of %.1f %%", share.got, share.wanted,
                 percent);
}

static void test_cap_holds_within_5_percent_over_2_seconds(void **state)
{
    struct machine machine = {0};

    (void)state;
    machine_start(&machine, 25);
    expect_percent(&machine, 2000, 25);
    machine_stop(&machine);
    cpu_cap_free(machine.cap);
}

static void test_cap_can_be_changed_and_lifted_while_it_runs(void **state)
{
    struct machine machine = {0};

    (void)state;
    machine_start(&machine, 0);
    assert_true(measure(&machine, 100).wanted > 120);
    cpu_cap_set(machine.cap, 10);
    expect_percent(&machine, 1600, 10);
    cpu_cap_set(machine.cap, 0);
    assert_true(measure(&machine, 200).wanted > 120);
    machine_stop(&machine);
    cpu_cap_free(machine.cap);
}

static void test_time_of_threads_that_left_still_counts(void **state)
{
    struct machine machine = {0};
    double used;

    (void)state;
    machine_start(&machine, 0);
    while (cpu_cap_cpu_seconds(machine.cap) < 0.005)
        usleep(1000);
    machine_stop(&machine);
    used = cpu_cap_cpu_seconds(machine.cap);
    assert_true(used >= 0.005);
    assert_true(used == cpu_cap_cpu_seconds(machine.cap));
    cpu_cap_free(machine.cap);
}

static void test_too_many_cpus_are_refused(void **state)
{
    struct cpu_cap_options options = {.cpus = CPU_CAP_MAX_CPUS + 1, .kick = kick};
    struct error err;

    (void)state;
    assert_null(cpu_cap_new(&options, &err));
    cpu_cap_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cap_holds_within_5_percent_over_2_seconds),
        cmocka_unit_test(test_cap_can_be_changed_and_lifted_while_it_runs),
        cmocka_unit_test(test_time_of_threads_that_left_still_counts),
        cmocka_unit_test(test_too_many_cpus_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
