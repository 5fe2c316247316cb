/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The agent's side of a disk connection: what it takes for safe, and where it goes on after a cut.
 */
#include "base/bytes.h"
#include "p2v/agent/disk_offer.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define CHUNK ((uint64_t)CHUNK_SIZE)
#define CHUNKS 4096u

static struct chunk_name names[WIRE_MAX_OFFER];

static struct disk_offer *begin(void)
{
    for (unsigned i = 0; i < WIRE_MAX_OFFER; i++)
        names[i].bytes[0] = (uint8_t)(i + 1);
    struct disk_offer *offer = disk_offer_new(CHUNKS * CHUNK, NULL);
    assert_non_null(offer);
    return offer;
}

static uint64_t offer_names(struct disk_offer *offer, uint64_t first, uint16_t count)
{
    uint64_t sequence;
    assert_int_equal(disk_offer_names(offer, first, count, names, &sequence, NULL), 0);
    return sequence;
}

static uint64_t offer_run(struct disk_offer *offer, uint64_t first, uint64_t count,
                          enum chunk_state state)
{
    uint64_t sequence;
    assert_int_equal(disk_offer_run(offer, first, count, state, &sequence, NULL), 0);
    return sequence;
}

static int want(struct disk_offer *offer, uint64_t sequence, uint16_t count, bool is_wanted)
{
    struct wire_want message = {.sequence = sequence, .count = count};
    struct error err = {0};
    uint64_t first;
    for (unsigned i = 0; is_wanted && i < count; i++)
        message.bits[i / 8] |= (uint8_t)(1u << (i % 8));
    int result = disk_offer_wanted(offer, &message, &first, &err);
    assert_true(result == 0 || err.errnum == EPROTO);
    return result;
}

static int safe(struct disk_offer *offer, uint64_t sequence)
{
    struct error err = {0};
    int result = disk_offer_safe(offer, &(struct wire_safe){sequence}, &err);
    assert_true(result == 0 || err.errnum == EPROTO);
    return result;
}

static uint64_t reconnect(struct disk_offer *offer)
{
    uint64_t chunk;
    assert_int_equal(disk_offer_reconnect(offer, &chunk, NULL), 0);
    return chunk;
}

static void test_sequences_count_runs_and_offers_together(void **state)
{
    (void)state;
    AUTO_PTR(disk_offer) offer = begin();
    assert_int_equal(offer_run(offer, 0, 10, CHUNK_SKIPPED), 0);
    assert_int_equal(offer_names(offer, 10, 4), 1);
    assert_int_equal(offer_run(offer, 14, 1, CHUNK_ZERO), 2);
    assert_int_equal(disk_offer_position(offer), 15);
    assert_int_equal(reconnect(offer), 0);
    assert_int_equal(offer_names(offer, 0, 4), 0);
}

static void test_what_is_out_of_turn_is_refused(void **state)
{
    (void)state;
    AUTO_PTR(disk_offer) offer = begin();
    uint64_t sequence;
    assert_int_equal(disk_offer_names(offer, 1, 1, names, &sequence, NULL), -1);
    assert_int_equal(disk_offer_run(offer, 0, CHUNKS + 1, CHUNK_ZERO, &sequence, NULL), -1);
    assert_int_equal(disk_offer_run(offer, 0, 0, CHUNK_ZERO, &sequence, NULL), -1);
    offer_names(offer, 0, 4);
    assert_int_equal(disk_offer_names(offer, 2, 1, names, &sequence, NULL), -1);
    assert_int_equal(disk_offer_position(offer), 4);
}

static void test_wants_come_in_order_and_of_the_right_size(void **state)
{
    (void)state;
    AUTO_PTR(disk_offer) offer = begin();
    assert_int_equal(want(offer, 0, 4, false), -1);
    uint64_t a = offer_names(offer, 0, 4), b = offer_names(offer, 4, 4);
    assert_int_equal(want(offer, b, 4, true), -1);
    assert_int_equal(want(offer, a, 5, true), -1);
    assert_int_equal(want(offer, a, 4, true), 0);
    assert_int_equal(want(offer, a, 4, true), -1);
    assert_int_equal(want(offer, b, 4, true), 0);
    assert_int_equal(want(offer, b, 4, true), -1);
}

static void test_unanswered_offers_are_bounded(void **state)
{
    (void)state;
    AUTO_PTR(disk_offer) offer = begin();
    uint64_t chunk = 0;
    for (; disk_offer_may_offer(offer, 64); chunk += 64)
        offer_names(offer, chunk, 64);
    assert_int_equal(chunk * CHUNK, WIRE_MAX_OFFERED);
    assert_int_equal(want(offer, 0, 64, true), 0);
    assert_true(disk_offer_may_offer(offer, 64));
}

static void test_the_window_fills_with_data_and_empties_with_safe(void **state)
{
    (void)state;
    AUTO_PTR(disk_offer) offer = begin();
    uint64_t a = offer_names(offer, 0, 16);
    want(offer, a, 16, true);
    assert_int_equal(disk_offer_room(offer, 2 * MIB), 2 * MIB);
    disk_offer_sent(offer, a, 16, MIB);
    assert_int_equal(disk_offer_room(offer, 2 * MIB), MIB);
    assert_int_equal(disk_offer_room(offer, MIB / 2), 0);
    assert_int_equal(safe(offer, 1), 0);
    assert_int_equal(disk_offer_room(offer, 2 * MIB), 2 * MIB);
}

static void test_safe_neither_goes_back_nor_ahead(void **state)
{
    (void)state;
    AUTO_PTR(disk_offer) offer = begin();
    uint64_t a = offer_names(offer, 0, 2);
    offer_run(offer, 2, 2, CHUNK_ZERO);
    assert_int_equal(safe(offer, 3), -1);
    want(offer, a, 2, true);
    assert_int_equal(safe(offer, 1), -1); /* wanted, not sent */
    disk_offer_sent(offer, a, 1, CHUNK);
    assert_int_equal(safe(offer, 1), -1);
    disk_offer_sent(offer, a, 1, CHUNK);
    assert_int_equal(safe(offer, 2), 0);
    assert_int_equal(safe(offer, 1), -1);
    assert_int_equal(disk_offer_safe_chunk(offer), 4);
}

static void test_safe_may_overtake_a_want_that_wants_nothing(void **state)
{
    (void)state;
    AUTO_PTR(disk_offer) offer = begin();
    uint64_t a = offer_names(offer, 0, 2), b = offer_names(offer, 2, 2);
    assert_int_equal(safe(offer, 2), 0);
    assert_int_equal(disk_offer_safe_chunk(offer), 0);
    assert_int_equal(want(offer, a, 2, false), 0);
    assert_int_equal(disk_offer_safe_chunk(offer), 2);
    assert_int_equal(want(offer, b, 2, true), -1); /* it was told safe */
}

static void test_a_cut_goes_back_to_what_is_safe_with_its_digest(void **state)
{
    (void)state;
    AUTO_PTR(disk_offer) offer = begin();
    uint64_t a = offer_names(offer, 0, 8);
    struct disksum after_a = *disk_offer_digest(offer);
    offer_names(offer, 8, 8);
    offer_run(offer, 16, 2, CHUNK_UNREADABLE);
    struct disksum after_all = *disk_offer_digest(offer);
    want(offer, a, 8, false);
    assert_int_equal(safe(offer, 1), 0);
    assert_int_equal(reconnect(offer), 8);
    assert_true(disksum_is_equal(disk_offer_digest(offer), &after_a));
    assert_int_equal(disk_offer_unreadable(offer)->count, 0);
    offer_names(offer, 8, 8);
    offer_run(offer, 16, 2, CHUNK_UNREADABLE);
    assert_true(disksum_is_equal(disk_offer_digest(offer), &after_all));
}

static void test_a_repair_replaces_and_is_undone_by_a_cut(void **state)
{
    (void)state;
    AUTO_PTR(disk_offer) offer = begin();
    offer_run(offer, 0, 3, CHUNK_UNREADABLE);
    offer_run(offer, 3, CHUNKS - 3, CHUNK_SKIPPED);
    struct disksum bad = *disk_offer_digest(offer);
    assert_int_equal(safe(offer, 2), 0);
    uint64_t repair = offer_names(offer, 1, 1);
    assert_false(extents_touch(disk_offer_unreadable(offer), CHUNK, CHUNK));

    struct disksum expected = {0};
    disksum_add(&expected, 0, CHUNK_UNREADABLE, NULL);
    disksum_add(&expected, 1, CHUNK_DATA, &names[0]);
    disksum_add(&expected, 2, CHUNK_UNREADABLE, NULL);
    assert_true(disksum_is_equal(disk_offer_digest(offer), &expected));

    assert_int_equal(reconnect(offer), CHUNKS);
    assert_true(disksum_is_equal(disk_offer_digest(offer), &bad));
    assert_true(extents_contain(disk_offer_unreadable(offer), 0, 3 * CHUNK));
    repair = offer_names(offer, 1, 1);
    want(offer, repair, 1, false);
    assert_int_equal(safe(offer, repair + 1), 0);
    assert_int_equal(reconnect(offer), CHUNKS);
    assert_true(disksum_is_equal(disk_offer_digest(offer), &expected));
}

static void test_a_new_pass_begins_with_nothing(void **state)
{
    (void)state;
    AUTO_PTR(disk_offer) offer = begin();
    uint64_t a = offer_names(offer, 0, 8);
    want(offer, a, 8, false);
    disk_offer_begin_pass(offer);
    struct disksum none = {0};
    assert_true(disksum_is_equal(disk_offer_digest(offer), &none));
    assert_int_equal(disk_offer_position(offer), 0);
    assert_int_equal(safe(offer, 1), 0); /* a late one of the pass before */
    assert_int_equal(disk_offer_safe_chunk(offer), 0);
    assert_int_equal(offer_names(offer, 0, 8), 1);
    assert_true(!disk_offer_is_through(offer));
}

static void test_what_is_remembered_is_bounded_without_any_safe(void **state)
{
    (void)state;
    AUTO_PTR(disk_offer) offer = disk_offer_new(200000 * CHUNK, NULL);
    uint64_t chunk = 0;
    while (chunk < 200000 && disk_offer_may_offer(offer, 1)) {
        uint64_t sequence = offer_names(offer, chunk++, 1);
        want(offer, sequence, 1, false);
    }
    assert_int_equal(chunk, 200000);
    struct disksum all = *disk_offer_digest(offer);
    assert_int_equal(safe(offer, 100000), 0);
    uint64_t from = reconnect(offer);
    assert_true(from <= 100000 && from >= 100000 - 256);
    for (chunk = from; chunk < 200000; chunk++) {
        uint64_t sequence = offer_names(offer, chunk, 1);
        want(offer, sequence, 1, false);
    }
    assert_true(disksum_is_equal(disk_offer_digest(offer), &all));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sequences_count_runs_and_offers_together),
        cmocka_unit_test(test_what_is_out_of_turn_is_refused),
        cmocka_unit_test(test_wants_come_in_order_and_of_the_right_size),
        cmocka_unit_test(test_unanswered_offers_are_bounded),
        cmocka_unit_test(test_the_window_fills_with_data_and_empties_with_safe),
        cmocka_unit_test(test_safe_neither_goes_back_nor_ahead),
        cmocka_unit_test(test_safe_may_overtake_a_want_that_wants_nothing),
        cmocka_unit_test(test_a_cut_goes_back_to_what_is_safe_with_its_digest),
        cmocka_unit_test(test_a_repair_replaces_and_is_undone_by_a_cut),
        cmocka_unit_test(test_a_new_pass_begins_with_nothing),
        cmocka_unit_test(test_what_is_remembered_is_bounded_without_any_safe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
