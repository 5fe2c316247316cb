/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A machine's life, with a payload of a few instructions as its firmware: pause, resume, reset,
 * stop and limits while it runs. Needs /dev/kvm; a slow one that interprets will do.
 */
#include "base/clock.h"
#include "base/own.h"
#include "base/text.h"
#include "hypervisor/loop.h"
#include "hypervisor/vm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cmocka.h>

#define ROM_SIZE 131072

/* Prints 'R' once, then dots for ever. */
static const uint8_t printing[] = {
    0xba, 0xf8, 0x03, /* mov dx, 0x3f8 */
    0xb0, 'R',        /* mov al, 'R' */
    0xee,             /* out dx, al */
    0xb0, '.',        /* mov al, '.' */
    0xee,             /* out dx, al */
    0xeb, 0xfb,       /* jmp back to mov al, '.' */
};

/* Prints 'R', then does nothing, without an end. */
static const uint8_t spinning[] = {0xba, 0xf8, 0x03, 0xb0, 'R', 0xee, 0xeb, 0xfe};

/* Ends with 42 at the test port. */
static const uint8_t ending[] = {0xba, 0xf4, 0x00, 0xb0, 42, 0xee, 0xf4};

struct fixture {
    struct guest *guest;
    char rom[32];
    struct vm *vm;
    atomic_uint dots, starts;
    int timer;
    struct loop_watch watch;
    unsigned step, ticks;
    unsigned dots_before;
};

static void on_text(void *context, const char *bytes, size_t length)
{
    struct fixture *fixture = context;
    for (size_t i = 0; i < length; i++)
        atomic_fetch_add(bytes[i] == 'R' ? &fixture->starts : &fixture->dots, 1);
}

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    fixture->guest = guest_new("payload");
    fixture->guest->memory_bytes = 32u << 20;
    snprintf(fixture->rom, sizeof(fixture->rom), "/tmp/test-vm-XXXXXX");
    fixture->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    vm_free(fixture->vm);
    guest_free(fixture->guest);
    unlink(fixture->rom);
    close(fixture->timer);
    free(fixture);
    return 0;
}

static void write_rom(struct fixture *fixture, const uint8_t *code, size_t length)
{
    static const uint8_t jump[] = {0xea, 0x00, 0x00, 0x00, 0xf0}; /* ljmp 0xf000:0 */
    uint8_t *rom = calloc(1, ROM_SIZE);
    memcpy(rom + ROM_SIZE - 0x10000, code, length);
    memcpy(rom + ROM_SIZE - 16, jump, sizeof(jump));
    int fd = mkstemp(fixture->rom);
    assert_int_equal(write(fd, rom, ROM_SIZE), ROM_SIZE);
    close(fd);
    free(rom);
}

static void make_vm(struct fixture *fixture, const uint8_t *code, size_t length)
{
    struct error err;
    struct vm_options options = {.guest = fixture->guest,
                                 .folder = "/tmp",
                                 .firmware = fixture->rom,
                                 .has_test_exit = true,
                                 .console = {.in = -1, .out = -1, .tap = on_text}};
    if (access("/dev/kvm", R_OK | W_OK) != 0) {
        print_message("no /dev/kvm that can be opened\n");
        skip();
    }
    options.console.context = fixture;
    write_rom(fixture, code, length);
    fixture->vm = vm_new(&options, &err);
    if (!fixture->vm)
        fail_msg("%s", err.text);
}

/* `ready` is called every so many milliseconds. */
static void tick(struct fixture *fixture, int ms, void (*ready)(void *context, uint32_t events))
{
    struct itimerspec time = {{0, ms * 1000000}, {0, ms * 1000000}};
    timerfd_settime(fixture->timer, 0, &time, NULL);
    fixture->watch = (struct loop_watch){ready, fixture, fixture->timer};
    assert_int_equal(loop_add(vm_loop(fixture->vm), &fixture->watch, EPOLLIN, NULL), 0);
}

/* A machine may be slow, but not for ever. */
static void clear_tick(struct fixture *fixture)
{
    uint64_t count;
    assert_int_equal(read(fixture->timer, &count, sizeof(count)), sizeof(count));
    assert_true(fixture->ticks++ < 200);
}

static void run(struct fixture *fixture, struct vm_result *result)
{
    struct error err;
    if (vm_run(fixture->vm, result, &err) != 0)
        fail_msg("%s", err.text);
}

static void a_payload_ends_the_machine_with_its_value(void **state)
{
    struct fixture *fixture = *state;
    struct vm_result result;
    make_vm(fixture, ending, sizeof(ending));
    run(fixture, &result);
    assert_int_equal(result.end, VM_END_EXIT);
    assert_int_equal(result.value, 42);
}

static void pause_step(void *context, uint32_t events)
{
    struct fixture *fixture = context;
    (void)events;
    clear_tick(fixture);
    unsigned dots = atomic_load(&fixture->dots);
    if (fixture->step == 0 && dots > 0) {
        vm_pause(fixture->vm);
        fixture->dots_before = atomic_load(&fixture->dots);
        fixture->step = 1;
    } else if (fixture->step == 1) {
        assert_int_equal(dots, fixture->dots_before);
        vm_resume(fixture->vm);
        fixture->step = 2;
    } else if (fixture->step == 2 && dots > fixture->dots_before) {
        assert_int_equal(atomic_load(&fixture->starts), 1); /* it did not start again */
        vm_stop(fixture->vm);
        fixture->step = 3;
    }
}

static void a_paused_machine_rests_and_goes_on_where_it_was(void **state)
{
    struct fixture *fixture = *state;
    struct vm_result result;
    struct vm_stats stats;
    make_vm(fixture, printing, sizeof(printing));
    tick(fixture, 100, pause_step);
    run(fixture, &result);
    assert_int_equal(result.end, VM_END_STOPPED);
    assert_int_equal(fixture->step, 3);
    vm_get_stats(fixture->vm, &stats);
    assert_int_equal(stats.state, VM_ENDED);
    assert_true(stats.exits >= atomic_load(&fixture->dots));
    assert_true(stats.resident_bytes > 0);
}

/* Also while it is paused: then it starts again only when it is resumed. */
static void reset_step(void *context, uint32_t events)
{
    struct fixture *fixture = context;
    (void)events;
    clear_tick(fixture);
    unsigned starts = atomic_load(&fixture->starts);
    if (fixture->step == 0 && starts == 1) {
        vm_reset(fixture->vm);
        fixture->step = 1;
    } else if (fixture->step == 1 && starts == 2) {
        vm_pause(fixture->vm);
        vm_reset(fixture->vm);
        fixture->step = 2;
    } else if (fixture->step == 2) {
        assert_int_equal(starts, 2);
        vm_resume(fixture->vm);
        fixture->step = 3;
    } else if (fixture->step == 3 && starts == 3) {
        vm_stop(fixture->vm);
        fixture->step = 4;
    }
}

static void a_reset_starts_the_firmware_again(void **state)
{
    struct fixture *fixture = *state;
    struct vm_result result;
    struct vm_stats stats;
    make_vm(fixture, printing, sizeof(printing));
    tick(fixture, 100, reset_step);
    run(fixture, &result);
    assert_int_equal(fixture->step, 4);
    vm_get_stats(fixture->vm, &stats);
    assert_int_equal(stats.resets, 2);
}

/* A hundred times in no time: nobody waits for what does not come. */
static void hurry_step(void *context, uint32_t events)
{
    struct fixture *fixture = context;
    (void)events;
    clear_tick(fixture);
    if (atomic_load(&fixture->starts) == 0)
        return;
    for (int i = 0; i < 100; i++) {
        vm_pause(fixture->vm);
        vm_resume(fixture->vm);
    }
    vm_stop(fixture->vm);
}

static void pausing_in_a_hurry_does_not_hang(void **state)
{
    struct fixture *fixture = *state;
    struct vm_result result;
    make_vm(fixture, printing, sizeof(printing));
    tick(fixture, 20, hurry_step);
    run(fixture, &result);
    assert_int_equal(result.end, VM_END_STOPPED);
    assert_int_equal(atomic_load(&fixture->starts), 1);
}

static void end_step(void *context, uint32_t events)
{
    struct fixture *fixture = context;
    (void)events;
    vm_stop(fixture->vm);
}

static void a_machine_that_spins_is_stopped_and_kept_to_its_cap(void **state)
{
    struct fixture *fixture = *state;
    struct vm_result result;
    struct vm_stats stats;
    fixture->guest->limits.cpu_percent = 20;
    make_vm(fixture, spinning, sizeof(spinning));
    tick(fixture, 900, end_step);
    run(fixture, &result);
    assert_int_equal(result.end, VM_END_STOPPED);
    vm_get_stats(fixture->vm, &stats);
    assert_true(stats.cpu_seconds <= 0.3 * stats.seconds);
}

static void a_machine_that_is_too_large_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct error err;
    struct vm_options options = {.guest = fixture->guest, .folder = "/tmp"};
    fixture->guest->cores = 65;
    assert_null(vm_new(&options, &err));
    assert_non_null(strstr(err.text, "65 CPUs"));
    fixture->guest->cores = 1;
    fixture->guest->firmware = GUEST_FIRMWARE_UEFI;
    assert_null(vm_new(&options, &err));
    assert_non_null(strstr(err.text, "UEFI"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_payload_ends_the_machine_with_its_value),
        TEST(a_paused_machine_rests_and_goes_on_where_it_was),
        TEST(a_reset_starts_the_firmware_again),
        TEST(pausing_in_a_hurry_does_not_hang),
        TEST(a_machine_that_spins_is_stopped_and_kept_to_its_cap),
        TEST(a_machine_that_is_too_large_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
