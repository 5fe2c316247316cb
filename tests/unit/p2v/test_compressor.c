/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The choice of compression over simulated links and machines, and single chunks.
 */
#include "base/bytes.h"
#include "formats/manifest.h"
#include "p2v/agent/compressor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <zstd.h>

#include <cmocka.h>

/* What a link and a machine can do at each step, in bytes of content a second. */
struct model {
    double link; /* bytes on the wire a second */
    double ratio[COMPRESSION_STEPS];
    double make[COMPRESSION_STEPS]; /* content that the cores can prepare */
    double idle[COMPRESSION_STEPS];
};

static const struct model gigabit = {118e6, {1, 2.6, 2.9}, {3e9, 800e6, 400e6}, {0.9, 0.6, 0.2}};
static const struct model loopback = {
    900e6, {1, 2.6, 2.9}, {950e6, 300e6, 150e6}, {0.05, 0.02, 0.01}};
static const struct model slow = {12e6, {1, 2.6, 3.2}, {3e9, 800e6, 400e6}, {0.9, 0.9, 0.8}};

static void run(struct compression *state, const struct model *model, double seconds)
{
    for (double time = 0; time < seconds; time += 0.5) {
        unsigned step = state->step;
        double by_link = model->link * model->ratio[step];
        bool is_link = by_link < model->make[step];
        double goodput = is_link ? by_link : model->make[step];
        struct compression_sample sample = {.seconds = 0.5,
                                            .bytes = (uint64_t)(goodput / 2),
                                            .idle = model->idle[step],
                                            .blocked = is_link ? 0.9 : 0.1};
        compression_choose(state, &sample);
    }
}

static void test_a_gigabit_link_gets_zstd_within_a_second(void **state)
{
    (void)state;
    struct compression compression = {0};
    run(&compression, &gigabit, 1.0);
    assert_int_equal(compression.step, 1);
    run(&compression, &gigabit, 1.0);
    assert_true(compression.step >= 1);
}

static void test_a_slow_link_gets_the_most(void **state)
{
    (void)state;
    struct compression compression = {0};
    run(&compression, &slow, 8.0);
    assert_int_equal(compression.step, 2);
}

static void test_a_busy_machine_compresses_nothing(void **state)
{
    (void)state;
    struct compression compression = {0};
    for (int i = 0; i < 200; i++) {
        run(&compression, &loopback, 0.5);
        assert_int_equal(compression.step, 0);
    }
}

static void test_a_slow_link_gets_zstd_on_a_busy_machine_too(void **state)
{
    (void)state;
    struct model busy = {12e6, {1, 2.6, 2.9}, {100e6, 60e6, 25e6}, {0, 0, 0}};
    struct compression compression = {0};
    run(&compression, &busy, 4.0);
    assert_true(compression.step > 0);
}

static void test_a_link_that_became_fast_gets_plain_data_again(void **state)
{
    (void)state;
    struct compression compression = {0};
    run(&compression, &slow, 10.0);
    assert_true(compression.step > 0);
    run(&compression, &loopback, 8.0);
    assert_int_equal(compression.step, 0);
}

static void test_a_step_that_does_not_pay_is_tried_less_and_less(void **state)
{
    (void)state;
    /* The other side is what is slow: compressing changes nothing. */
    struct model other = {100e6, {1, 1, 1}, {3e9, 3e9, 3e9}, {0.9, 0.9, 0.9}};
    struct compression compression = {0};
    unsigned tries = 0;
    for (double time = 0; time < 300; time += 0.5) {
        run(&compression, &other, 0.5);
        tries += compression.step > 0;
    }
    assert_in_range(tries, 3, 24);
}

static void test_a_pause_decides_nothing(void **state)
{
    (void)state;
    struct compression compression = {.step = 1};
    struct compression_sample sample = {.seconds = 30, .idle = 1, .blocked = 1};
    assert_int_equal(compression_choose(&compression, &sample), 1);
}

static void test_levels_and_steps(void **state)
{
    (void)state;
    assert_int_equal(compression_level(0), 0);
    assert_int_equal(compression_level(1), 1);
    assert_int_equal(compression_level(2), 3);
    assert_int_equal(compression_step(0), 0);
    assert_int_equal(compression_step(1), 1);
    assert_int_equal(compression_step(3), 2);
    assert_int_equal(compression_step(19), 2);
}

static void test_idle_time_is_read_from_the_kernels_words(void **state)
{
    (void)state;
    struct cpu_ticks before, after;
    assert_true(cpu_ticks_parse("cpu  10 0 10 100 20 0 0 0 0 0\ncpu0 1 2", &before));
    assert_true(cpu_ticks_parse("cpu  20 0 20 150 30 0 0 20 0 0\n", &after));
    assert_float_equal(cpu_ticks_idle(&before, &after), 0.6, 0.001);
    assert_float_equal(cpu_ticks_idle(&after, &after), 0, 0.001);
    assert_false(cpu_ticks_parse("intr 1 2 3", &before));
    assert_false(cpu_ticks_parse("", &before));
}

static void test_a_chunk_that_shrinks_is_a_frame_that_says_its_size(void **state)
{
    (void)state;
    static uint8_t chunk[CHUNK_SIZE], back[CHUNK_SIZE];
    struct compressor compressor;
    assert_int_equal(compressor_init(&compressor, NULL), 0);
    for (size_t i = 0; i < sizeof(chunk); i++)
        chunk[i] = (uint8_t)(i / 100);
    size_t length = compressor_run(&compressor, 1, chunk, sizeof(chunk));
    assert_in_range(length, 1, CHUNK_SIZE / 8 * 7);
    assert_int_equal(ZSTD_getFrameContentSize(compressor.frame, length), CHUNK_SIZE);
    assert_int_equal(ZSTD_decompress(back, sizeof(back), compressor.frame, length), CHUNK_SIZE);
    assert_memory_equal(back, chunk, sizeof(chunk));
    compressor_fini(&compressor);
}

static void test_after_chunks_that_do_not_shrink_some_are_not_tried(void **state)
{
    (void)state;
    static uint8_t noise[CHUNK_SIZE], zeroes[CHUNK_SIZE];
    struct compressor compressor;
    uint64_t value = 88172645463325252u;
    assert_int_equal(compressor_init(&compressor, NULL), 0);
    for (size_t i = 0; i < sizeof(noise); i += 8) {
        value ^= value << 13;
        value ^= value >> 7;
        value ^= value << 17;
        memcpy(noise + i, &value, 8);
    }
    for (int i = 0; i < 1000; i++)
        assert_int_equal(compressor_run(&compressor, 1, noise, sizeof(noise)), 0);
    unsigned plain = 0;
    while (compressor_run(&compressor, 1, zeroes, sizeof(zeroes)) == 0)
        assert_true(++plain <= 4);
    assert_true(compressor_run(&compressor, 1, zeroes, sizeof(zeroes)) > 0);
    compressor_fini(&compressor);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_gigabit_link_gets_zstd_within_a_second),
        cmocka_unit_test(test_a_slow_link_gets_the_most),
        cmocka_unit_test(test_a_busy_machine_compresses_nothing),
        cmocka_unit_test(test_a_slow_link_gets_zstd_on_a_busy_machine_too),
        cmocka_unit_test(test_a_link_that_became_fast_gets_plain_data_again),
        cmocka_unit_test(test_a_step_that_does_not_pay_is_tried_less_and_less),
        cmocka_unit_test(test_a_pause_decides_nothing),
        cmocka_unit_test(test_levels_and_steps),
        cmocka_unit_test(test_idle_time_is_read_from_the_kernels_words),
        cmocka_unit_test(test_a_chunk_that_shrinks_is_a_frame_that_says_its_size),
        cmocka_unit_test(test_after_chunks_that_do_not_shrink_some_are_not_tried),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
