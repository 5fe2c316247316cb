/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Sending disks that make trouble: that vanish, that have bad sectors, that are written to
 * meanwhile.
 */
#include "tests/unit/p2v/fake_machine.h"

/* --- disks that fail --- */

static void test_a_disk_that_vanishes_leaves_the_others_alone(void **state)
{
    (void)state;
    struct fixture *fixture = begin();
    add_disk(fixture, 8 * MIB);
    add_disk(fixture, 8 * MIB);
    use(fixture, 0, 0, 8 * MIB);
    use(fixture, 1, 0, 8 * MIB);
    fixture->disks[0].fail_errno = ENODEV;
    fixture->disks[0].fail_from = 3 * MIB;
    assert_int_equal(sender_run(&fixture->options, &fixture->result, &fixture->err), -1);
    assert_int_equal(fixture->err.errnum, ENODEV);
    assert_false(fixture->result.disks[0].is_sent);
    assert_true(fixture->result.disks[1].is_sent);
    assert_int_equal(fixture->result.disks[0].error.errnum, ENODEV);
    assert_arrived(fixture, 1);
    assert_int_equal(fixture->server.finishes, 0);
    assert_false(fixture->result.is_received);
    end(fixture);
}

static void test_bad_sectors_are_reported_and_all_others_arrive(void **state)
{
    (void)state;
    struct fixture *fixture = begin();
    add_disk(fixture, 8 * MIB);
    use(fixture, 0, 0, 8 * MIB);
    struct disk *disk = &fixture->disks[0];
    disk->bad = memory_new(8 * MIB / 512, 1);
    disk->bad[100] = disk->bad[101] = disk->bad[5000] = 1;
    memset(disk->bad + 8192, 1, 128); /* a whole chunk */
    send_machine(fixture);
    for (uint64_t i = 0; i < 8 * MIB / 512; i++)
        if (disk->bad[i])
            memset(disk->data + i * 512, 0, 512);
    assert_arrived(fixture, 0);
    const struct extents *bad = &fixture->result.disks[0].unreadable;
    assert_int_equal(bad->count, 3);
    assert_int_equal(extents_total(bad), 131 * 512);
    assert_int_equal(bad->items[0].offset, 100 * 512);
    assert_int_equal(fixture->server.disks[0].states[64], CHUNK_UNREADABLE);
    assert_int_equal(fixture->server.disks[0].states[0], CHUNK_DATA);
    assert_int_equal(fixture->warnings, 1);
    assert_int_equal(disk->early, 0); /* good parts first */
    end(fixture);
}

static void test_bad_sectors_and_cuts_together_change_nothing(void **state)
{
    (void)state;
    struct fixture *fixture = begin();
    bool is_cut = true;
    add_disk(fixture, 4 * MIB);
    use(fixture, 0, 0, 4 * MIB);
    struct disk *disk = &fixture->disks[0];
    disk->bad = memory_new(4 * MIB / 512, 1);
    disk->bad[100] = disk->bad[1000] = disk->bad[4000] = disk->bad[4200] = 1;
    memset(disk->bad + 2048, 1, 128);
    for (uint64_t i = 0; i < 4 * MIB / 512; i++)
        if (disk->bad[i])
            memset(disk->data + i * 512, 0, 512);
    fixture->server.safe_every = 1;
    for (unsigned frame = 1; is_cut; frame++) {
        fake_forget_disks(&fixture->server);
        fixture->server.frames = fixture->server.cuts = 0;
        fixture->server.cut_at = frame;
        send_machine(fixture);
        is_cut = fixture->server.cuts > 0;
        assert_arrived(fixture, 0);
        assert_int_equal(extents_total(&fixture->result.disks[0].unreadable), 132 * 512);
        sender_result_fini(&fixture->result);
        assert_true(frame < 200);
    }
    end(fixture);
}

/* --- a machine that runs --- */

/* The machine writes as long as it is not frozen. */
static void write_now(void *context, unsigned frame)
{
    struct fixture *fixture = context;
    if (!fixture->is_frozen && frame % 4 == 0)
        fixture->disks[0].data[(frame * 7919u * 4096u) % (8 * MIB)] ^= 1;
}

static void test_a_live_disk_is_sent_until_it_stands_still(void **state)
{
    (void)state;
    struct fixture *fixture = begin();
    add_disk(fixture, 8 * MIB);
    use(fixture, 0, 0, 8 * MIB);
    fixture->sender_disks[0].is_live = true;
    fixture->server.on_frame = write_now;
    fixture->server.context = fixture;
    send_machine(fixture);
    assert_arrived(fixture, 0);
    assert_int_equal(fixture->result.consistency, WIRE_FROZEN);
    assert_int_equal(fixture->server.consistency, WIRE_FROZEN);
    assert_int_equal(fixture->freezes, 1);
    assert_int_equal(fixture->thaws, 1);
    assert_true(fixture->result.disks[0].passes >= 2);
    assert_true(fixture->disks[0].maps >= 3);
    end(fixture);
}

static void test_what_cannot_be_frozen_is_called_not_consistent(void **state)
{
    (void)state;
    struct fixture *fixture = begin();
    add_disk(fixture, 2 * MIB);
    use(fixture, 0, 0, 2 * MIB);
    fixture->sender_disks[0].is_live = true;
    fixture->freeze_result = 0;
    send_machine(fixture);
    assert_int_equal(fixture->server.consistency, WIRE_NOT_CONSISTENT);
    assert_int_equal(fixture->thaws, 0);
    end(fixture);
}

static void test_a_freeze_ends_also_when_the_last_pass_fails(void **state)
{
    (void)state;
    struct fixture *fixture = begin();
    add_disk(fixture, 2 * MIB);
    use(fixture, 0, 0, 2 * MIB);
    fixture->sender_disks[0].is_live = true;
    fixture->server.lies = 9; /* the first pass fails already without: let two be wrong */
    assert_int_equal(sender_run(&fixture->options, &fixture->result, &fixture->err), -1);
    assert_int_equal(fixture->freezes, fixture->thaws);
    end(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_disk_that_vanishes_leaves_the_others_alone),
        cmocka_unit_test(test_bad_sectors_are_reported_and_all_others_arrive),
        cmocka_unit_test(test_bad_sectors_and_cuts_together_change_nothing),
        cmocka_unit_test(test_a_live_disk_is_sent_until_it_stands_still),
        cmocka_unit_test(test_what_cannot_be_frozen_is_called_not_consistent),
        cmocka_unit_test(test_a_freeze_ends_also_when_the_last_pass_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
