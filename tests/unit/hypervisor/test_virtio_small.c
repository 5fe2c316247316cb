/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Entropy, balloon and console, each with a driver that may do anything.
 */
#include "base/own.h"
#include "hypervisor/virtio/small.h"
#include "tests/lib/virtqueue_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_balloon.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>

#include <cmocka.h>

#define RAM_SIZE (((size_t)4 << 20) + 100) /* its last page is not whole */
#define PAGE 4096
#define INFLATE 0
#define DEFLATE 1
#define RX 0
#define TX 1

struct bench {
    struct loop *loop;
    pthread_t thread;
    struct driver_ram ram;
    struct driver_ring rings[2];
    struct driver_plug plug;
    struct virtio_device *device;
};

static void *run_loop(void *context)
{
    assert_int_equal(loop_run(context, NULL), 0);
    return NULL;
}

static void bench_rings(struct bench *bench)
{
    bench->ram.taken = 0;
    driver_ring_init(&bench->rings[0], &bench->ram, 16);
    driver_ring_init(&bench->rings[1], &bench->ram, 16);
}

static void bench_make(struct bench *bench, struct loop *loop, struct virtio_device *device)
{
    assert_non_null(device);
    memset(bench, 0, sizeof(*bench));
    bench->loop = loop;
    bench->device = device;
    driver_ram_init(&bench->ram, RAM_SIZE);
    bench_rings(bench);
    driver_plug_in(&bench->plug, device, &bench->ram.memory);
    assert_int_equal(pthread_create(&bench->thread, NULL, run_loop, loop), 0);
}

static void bench_start(struct bench *bench)
{
    assert_int_equal(driver_start(&bench->plug, bench->rings, 0, NULL), 0);
}

static void bench_end(struct bench *bench)
{
    loop_stop(bench->loop);
    pthread_join(bench->thread, NULL);
    driver_unplug(&bench->plug);
    loop_free(bench->loop);
    driver_ram_fini(&bench->ram);
}

/* Offers one buffer and kicks; returns where it is. */
static uint64_t give(struct bench *bench, unsigned queue, uint32_t length, bool is_written)
{
    struct driver_part part = {driver_ram_take(&bench->ram, length, 1), length, is_written};
    driver_ring_add(&bench->rings[queue], &part, 1);
    return part.address;
}

static uint32_t wait_used(struct bench *bench, unsigned queue)
{
    uint32_t head, written = 0;
    assert_true(driver_ring_wait(&bench->rings[queue], &head, &written));
    return written;
}

static bool is_used(struct bench *bench, unsigned queue)
{
    uint32_t head, written;
    return driver_ring_take(&bench->rings[queue], &head, &written);
}

static void rest(long milliseconds)
{
    nanosleep(&(struct timespec){.tv_nsec = milliseconds * 1000000}, NULL);
}

static int64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void assert_loop_sleeps(struct bench *bench)
{
    clockid_t clock;
    rest(5);
    assert_int_equal(pthread_getcpuclockid(bench->thread, &clock), 0);
    int64_t before = clock_ns(clock);
    rest(40);
    assert_true(clock_ns(clock) - before < 10000000);
}

/* --- entropy --- */

static void rng_bench(struct bench *bench)
{
    struct loop *loop = loop_new(NULL);
    bench_make(bench, loop, virtio_rng_new(loop, NULL));
}

static void test_rng_fills_what_is_offered_with_different_bytes(void **state)
{
    (void)state;
    struct bench bench;
    rng_bench(&bench);
    uint64_t one = give(&bench, 0, 64, true), other = give(&bench, 0, 64, true);
    bench_start(&bench);
    assert_int_equal(wait_used(&bench, 0), 64);
    assert_int_equal(wait_used(&bench, 0), 64);
    assert_memory_not_equal(driver_ram_at(&bench.ram, one), driver_ram_at(&bench.ram, other), 64);
    assert_int_equal(*driver_ram_at(&bench.ram, other + 64), 0);
    for (int i = 0; i < 2000 && !bench.plug.interrupts[0]; i++)
        rest(1);
    assert_true(bench.plug.interrupts[0] > 0);
    bench_end(&bench);
}

static void test_rng_gives_less_than_a_greedy_chain_asks_for(void **state)
{
    (void)state;
    struct bench bench;
    struct driver_part parts[3];
    rng_bench(&bench);
    for (unsigned i = 0; i < 3; i++)
        parts[i] = (struct driver_part){driver_ram_take(&bench.ram, 10000, 1), 10000, true};
    driver_ring_add(&bench.rings[0], parts, 3);
    give(&bench, 0, 100, false); /* nothing to write into */
    bench_start(&bench);
    assert_int_equal(wait_used(&bench, 0), 16384);
    assert_int_equal(wait_used(&bench, 0), 0);
    uint8_t *last = driver_ram_at(&bench.ram, parts[2].address);
    for (unsigned i = 0; i < 10000; i++)
        assert_int_equal(last[i], 0);
    bench_end(&bench);
}

/* 13 times 16 KiB at 1 MiB a second, the first 50 ms of it for nothing. */
static void test_rng_keeps_to_its_rate(void **state)
{
    (void)state;
    struct bench bench;
    rng_bench(&bench);
    for (int i = 0; i < 13; i++)
        give(&bench, 0, 16384, true);
    int64_t begin = clock_ns(CLOCK_MONOTONIC);
    bench_start(&bench);
    for (int i = 0; i < 13; i++)
        assert_int_equal(wait_used(&bench, 0), 16384);
    assert_true(clock_ns(CLOCK_MONOTONIC) - begin > 120000000);
    bench_end(&bench);
}

static void test_rng_with_a_broken_ring_asks_for_one_reset(void **state)
{
    (void)state;
    struct bench bench;
    rng_bench(&bench);
    struct driver_part beyond = {DRIVER_RAM_START + RAM_SIZE - 1, 2, true};
    driver_ring_add(&bench.rings[0], &beyond, 1);
    bench_start(&bench);
    for (int i = 0; i < 2000 && !bench.plug.resets_needed; i++)
        rest(1);
    driver_kick(&bench.plug, 0);
    assert_loop_sleeps(&bench);
    assert_int_equal(bench.plug.resets_needed, 1);
    bench_end(&bench);
}

/* --- balloon --- */

static void balloon_bench(struct bench *bench)
{
    struct loop *loop = loop_new(NULL);
    bench_make(bench, loop, virtio_balloon_new(loop, NULL));
}

static uint32_t balloon_config(struct bench *bench, uint32_t offset)
{
    uint8_t bytes[4];
    bench->device->ops->read_config(bench->device, offset, bytes, sizeof(bytes));
    return load_le32(bytes);
}

/* Names pages, and waits until the device has taken notice. */
static void name_pages(struct bench *bench, unsigned queue, const uint32_t *pages, size_t count)
{
    uint64_t at = give(bench, queue, (uint32_t)(4 * count), false);
    for (size_t i = 0; i < count; i++)
        store_le32(driver_ram_at(&bench->ram, at + 4 * i), pages[i]);
    driver_kick(&bench->plug, queue);
    assert_int_equal(wait_used(bench, queue), 0);
}

static void test_balloon_gives_named_pages_back_and_no_others(void **state)
{
    (void)state;
    struct bench bench;
    const uint32_t first = DRIVER_RAM_START / PAGE;
    const uint32_t pages[] = {first + 100, first + 101, first + 102, first + 200,
                              first + 199, first + 198, first + 300, first + 300};
    balloon_bench(&bench);
    memset(bench.ram.bytes + 50 * PAGE, 0xaa, 400 * PAGE);
    bench_start(&bench);
    name_pages(&bench, INFLATE, pages, ARRAY_LENGTH(pages));
    for (uint32_t i = 50; i < 450; i++) {
        bool is_given = (i >= 100 && i <= 102) || (i >= 198 && i <= 200) || i == 300;
        assert_int_equal(bench.ram.bytes[i * PAGE], is_given ? 0 : 0xaa);
        assert_int_equal(bench.ram.bytes[i * PAGE + PAGE - 1], is_given ? 0 : 0xaa);
    }
    name_pages(&bench, DEFLATE, pages, ARRAY_LENGTH(pages));
    assert_int_equal(bench.ram.bytes[50 * PAGE], 0xaa);
    bench_end(&bench);
}

static void test_balloon_ignores_pages_that_are_not_memory(void **state)
{
    (void)state;
    struct bench bench;
    const uint32_t first = DRIVER_RAM_START / PAGE;
    const uint32_t last = first + RAM_SIZE / PAGE; /* only in part */
    const uint32_t pages[] = {0, first - 1, last, last + 1, 0x7fffffff, 0xffffffff, first + 60};
    balloon_bench(&bench);
    memset(bench.ram.bytes + 60 * PAGE, 0xaa, 2 * PAGE);
    bench.ram.bytes[RAM_SIZE - 1] = 0xaa;
    bench_start(&bench);
    name_pages(&bench, INFLATE, pages, ARRAY_LENGTH(pages));
    assert_int_equal(bench.ram.bytes[60 * PAGE], 0);
    assert_int_equal(bench.ram.bytes[61 * PAGE], 0xaa);
    assert_int_equal(bench.ram.bytes[RAM_SIZE - 1], 0xaa);
    bench_end(&bench);
}

static void test_balloon_takes_lists_of_any_length(void **state)
{
    (void)state;
    struct bench bench;
    const uint32_t first = DRIVER_RAM_START / PAGE;
    balloon_bench(&bench);
    memset(bench.ram.bytes + 900 * PAGE, 0xaa, 4 * PAGE);
    bench_start(&bench);
    uint64_t at = give(&bench, INFLATE, 7, false); /* one and three quarters */
    store_le32(driver_ram_at(&bench.ram, at), first + 900);
    store_le32(driver_ram_at(&bench.ram, at + 4), first + 901);
    driver_kick(&bench.plug, INFLATE);
    wait_used(&bench, INFLATE);
    assert_int_equal(bench.ram.bytes[900 * PAGE], 0);
    assert_int_equal(bench.ram.bytes[901 * PAGE], 0xaa);
    at = give(&bench, INFLATE, 2000 * 1000, false); /* zeroes, and at the end one that is too far */
    store_le32(driver_ram_at(&bench.ram, at + 2000 * 1000 - 4), first + 902);
    give(&bench, INFLATE, 100, true); /* nothing to read */
    driver_kick(&bench.plug, INFLATE);
    wait_used(&bench, INFLATE);
    assert_int_equal(wait_used(&bench, INFLATE), 0);
    assert_int_equal(bench.ram.bytes[902 * PAGE], 0xaa);
    bench_end(&bench);
}

static void test_balloon_tells_its_target_and_believes_the_driver(void **state)
{
    (void)state;
    struct bench bench;
    uint8_t bytes[64];
    balloon_bench(&bench);
    assert_int_equal(bench.device->offered, 1 << VIRTIO_BALLOON_F_DEFLATE_ON_OOM);
    virtio_balloon_set(bench.device, 100 * PAGE + 5);
    assert_int_equal(bench.plug.config_changes, 0); /* nobody to be told yet */
    assert_int_equal(balloon_config(&bench, 0), 100);
    bench_start(&bench);
    virtio_balloon_set(bench.device, UINT64_MAX);
    assert_int_equal(bench.plug.config_changes, 1);
    assert_int_equal(balloon_config(&bench, 0), UINT32_MAX);
    bench.device->ops->write_config(bench.device, 4, "\x07\0\0\0", 4);
    bench.device->ops->write_config(bench.device, 0, "\x01\0\0\0", 4);
    bench.device->ops->write_config(bench.device, 6, "\x01\0", 2);
    bench.device->ops->write_config(bench.device, 255, "\x01", 1);
    assert_int_equal(balloon_config(&bench, 0), UINT32_MAX);
    assert_int_equal(balloon_config(&bench, 4), 7);
    assert_int_equal(virtio_balloon_get(bench.device), 7 * PAGE);
    memset(bytes, 0xee, sizeof(bytes));
    bench.device->ops->read_config(bench.device, 7, bytes, 8);
    assert_memory_equal(bytes, "\0\0\0\0\0\0\0\0\xee", 9);
    driver_stop(&bench.plug);
    virtio_balloon_set(bench.device, 0);
    assert_int_equal(bench.plug.config_changes, 1);
    bench_rings(&bench);
    bench_start(&bench);
    assert_int_equal(virtio_balloon_get(bench.device), 0);
    bench_end(&bench);
}

/* --- console --- */

struct ends {
    int typist, in, out, reader;
};

static void console_bench(struct bench *bench, struct ends *ends)
{
    int in[2], out[2];
    struct loop *loop = loop_new(NULL);
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    *ends = (struct ends){in[1], in[0], out[1], out[0]};
    bench_make(bench, loop, virtio_console_new(loop, ends->in, ends->out, NULL));
}

static void console_end(struct bench *bench, struct ends *ends)
{
    bench_end(bench);
    own_close(&ends->typist);
    own_close(&ends->reader);
    close(ends->in);
    close(ends->out);
}

static void test_console_prints_and_is_typed_at(void **state)
{
    (void)state;
    struct bench bench;
    struct ends ends;
    char text[16] = "";
    console_bench(&bench, &ends);
    bench_start(&bench);
    uint64_t at = give(&bench, TX, 6, false);
    memcpy(driver_ram_at(&bench.ram, at), "login:", 6);
    driver_kick(&bench.plug, TX);
    assert_int_equal(read(ends.reader, text, sizeof(text)), 6);
    assert_string_equal(text, "login:");
    assert_int_equal(wait_used(&bench, TX), 0);
    at = give(&bench, RX, 100, true);
    driver_kick(&bench.plug, RX);
    assert_int_equal(write(ends.typist, "root\n", 5), 5);
    assert_int_equal(wait_used(&bench, RX), 5);
    assert_memory_equal(driver_ram_at(&bench.ram, at), "root\n", 6);
    console_end(&bench, &ends);
}

static void test_console_keeps_what_is_typed_until_there_is_room(void **state)
{
    (void)state;
    struct bench bench;
    struct ends ends;
    console_bench(&bench, &ends);
    bench_start(&bench);
    assert_int_equal(write(ends.typist, "abcdef", 6), 6);
    assert_loop_sleeps(&bench);
    uint64_t first = give(&bench, RX, 4, true), second = give(&bench, RX, 4, true);
    driver_kick(&bench.plug, RX);
    assert_int_equal(wait_used(&bench, RX), 4);
    assert_int_equal(wait_used(&bench, RX), 2);
    assert_memory_equal(driver_ram_at(&bench.ram, first), "abcd", 4);
    assert_memory_equal(driver_ram_at(&bench.ram, second), "ef", 2);
    bench.device->ops->pause(bench.device);
    give(&bench, RX, 4, true);
    driver_kick(&bench.plug, RX);
    assert_int_equal(write(ends.typist, "g", 1), 1);
    assert_loop_sleeps(&bench);
    assert_false(is_used(&bench, RX));
    bench.device->ops->resume(bench.device);
    assert_int_equal(wait_used(&bench, RX), 1);
    console_end(&bench, &ends);
}

/* The guest's kernel spins until its text is taken. */
static void test_console_that_nobody_reads_drops_and_does_not_wait(void **state)
{
    (void)state;
    struct bench bench;
    struct ends ends;
    console_bench(&bench, &ends);
    bench_start(&bench);
    for (int i = 0; i < 8; i++) {
        give(&bench, TX, 60000, false);
        driver_kick(&bench.plug, TX);
        assert_int_equal(wait_used(&bench, TX), 0);
    }
    close(take_fd(&ends.reader));
    give(&bench, TX, 100, false);
    driver_kick(&bench.plug, TX);
    assert_int_equal(wait_used(&bench, TX), 0);
    assert_loop_sleeps(&bench);
    console_end(&bench, &ends);
}

static void test_console_whose_typist_left_goes_on_printing(void **state)
{
    (void)state;
    struct bench bench;
    struct ends ends;
    char byte;
    console_bench(&bench, &ends);
    give(&bench, RX, 4, true);
    bench_start(&bench);
    close(take_fd(&ends.typist));
    assert_loop_sleeps(&bench);
    assert_false(is_used(&bench, RX));
    driver_kick(&bench.plug, RX);
    give(&bench, TX, 1, false);
    driver_kick(&bench.plug, TX);
    assert_int_equal(read(ends.reader, &byte, 1), 1);
    assert_loop_sleeps(&bench);
    console_end(&bench, &ends);
}

static void test_console_without_a_typist_or_with_a_file_is_silent(void **state)
{
    (void)state;
    int ins[] = {-1, open("/dev/null", O_RDWR | O_CLOEXEC)};
    for (size_t i = 0; i < ARRAY_LENGTH(ins); i++) {
        struct bench bench;
        struct loop *loop = loop_new(NULL);
        bench_make(&bench, loop, virtio_console_new(loop, ins[i], ins[1], NULL));
        give(&bench, RX, 4, true);
        give(&bench, TX, 4, false);
        bench_start(&bench);
        wait_used(&bench, TX);
        assert_loop_sleeps(&bench);
        assert_false(is_used(&bench, RX));
        bench_end(&bench);
    }
    close(ins[1]);
}

static void test_console_is_reset_while_it_is_typed_at(void **state)
{
    (void)state;
    struct bench bench;
    struct ends ends;
    console_bench(&bench, &ends);
    for (int i = 0; i < 100; i++) {
        bench_rings(&bench);
        for (int k = 0; k < 4; k++)
            give(&bench, RX, 3, true);
        give(&bench, TX, 100, false);
        bench_start(&bench);
        assert_int_equal(write(ends.typist, "x", 1), 1);
        driver_kick(&bench.plug, TX);
        if (i % 4 == 0)
            wait_used(&bench, TX);
        driver_stop(&bench.plug);
    }
    console_end(&bench, &ends);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rng_fills_what_is_offered_with_different_bytes),
        cmocka_unit_test(test_rng_gives_less_than_a_greedy_chain_asks_for),
        cmocka_unit_test(test_rng_keeps_to_its_rate),
        cmocka_unit_test(test_rng_with_a_broken_ring_asks_for_one_reset),
        cmocka_unit_test(test_balloon_gives_named_pages_back_and_no_others),
        cmocka_unit_test(test_balloon_ignores_pages_that_are_not_memory),
        cmocka_unit_test(test_balloon_takes_lists_of_any_length),
        cmocka_unit_test(test_balloon_tells_its_target_and_believes_the_driver),
        cmocka_unit_test(test_console_prints_and_is_typed_at),
        cmocka_unit_test(test_console_keeps_what_is_typed_until_there_is_room),
        cmocka_unit_test(test_console_that_nobody_reads_drops_and_does_not_wait),
        cmocka_unit_test(test_console_whose_typist_left_goes_on_printing),
        cmocka_unit_test(test_console_without_a_typist_or_with_a_file_is_silent),
        cmocka_unit_test(test_console_is_reset_while_it_is_typed_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
