/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Ranges without content become RUN frames: neighbours one, but never more than the server takes.
 */
#include "p2v/agent/pipeline_parts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define CHUNKS (2 * (uint64_t)WIRE_MAX_UNREADABLE)

static void test_unreadable_neighbours_are_one_run_up_to_what_a_frame_may_say(void **state)
{
    struct error err = {0};
    AUTO_PTR(disk_offer) offer = disk_offer_new(CHUNKS * CHUNK_SIZE, &err);
    AUTO_FREE struct disk_pipeline *pipeline = memory_new(1, sizeof(*pipeline));
    struct wire_run run;
    (void)state;
    assert_non_null(offer);
    pipeline->options.offer = offer;
    for (uint64_t i = 0; i < WIRE_MAX_UNREADABLE + 1; i++)
        assert_int_equal(pipeline_add_run_locked(pipeline, i, 1, CHUNK_UNREADABLE, &err), 0);
    assert_int_equal(pipeline_flush_locked(pipeline, &err), 0);
    assert_int_equal(pipeline->frames.length, 2 * (WIRE_HEADER_SIZE + 25));
    for (unsigned i = 0; i < 2; i++) {
        const uint8_t *frame = (const uint8_t *)pipeline->frames.data + i * (WIRE_HEADER_SIZE + 25);
        assert_int_equal(wire_run_decode(frame + WIRE_HEADER_SIZE, 25, &run, &err), 0);
        assert_int_equal(run.first, i * WIRE_MAX_UNREADABLE);
        assert_int_equal(run.count, i ? 1 : WIRE_MAX_UNREADABLE);
    }
    text_fini(&pipeline->frames);
}

static void test_zero_neighbours_are_one_run_however_many(void **state)
{
    struct error err = {0};
    AUTO_PTR(disk_offer) offer = disk_offer_new(CHUNKS * CHUNK_SIZE, &err);
    AUTO_FREE struct disk_pipeline *pipeline = memory_new(1, sizeof(*pipeline));
    (void)state;
    assert_non_null(offer);
    pipeline->options.offer = offer;
    for (uint64_t i = 0; i < CHUNKS; i++)
        assert_int_equal(pipeline_add_run_locked(pipeline, i, 1, CHUNK_ZERO, &err), 0);
    assert_int_equal(pipeline->open_run.count, CHUNKS);
    assert_int_equal(pipeline->frames.length, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unreadable_neighbours_are_one_run_up_to_what_a_frame_may_say),
        cmocka_unit_test(test_zero_neighbours_are_one_run_however_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
