/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A machine of disks in memory sent to a small server in the same process, over the real wire: what
 * arrives, cuts at every frame, who may and who may not.
 */
#include "tests/unit/p2v/fake_machine.h"

/* --- what arrives --- */

static void test_what_is_used_arrives_and_nothing_else(void **state)
{
    (void)state;
    struct fixture *fixture = begin();
    add_disk(fixture, 24 * MIB + 512);
    use(fixture, 0, 512, 100000);
    use(fixture, 0, 5 * MIB + 4096, 9 * MIB);
    use(fixture, 0, 24 * MIB, 512);
    memset(fixture->disks[0].data + 8 * MIB, 0, MIB);
    fixture->options.token = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    send_machine(fixture);
    assert_arrived(fixture, 0);
    assert_true(fixture->result.is_received && fixture->result.has_result);
    assert_int_equal(fixture->result.exit_code, 3);
    assert_string_equal(fixture->result.text, "with warnings");
    assert_string_equal(fixture->result.machine, "machine");
    assert_int_equal(fixture->server.consistency, WIRE_AT_REST);
    assert_int_equal(fixture->server.disks[0].states[8 * 16], CHUNK_ZERO);
    assert_int_equal(fixture->server.disks[0].states[20 * 16], CHUNK_SKIPPED);
    /* Two chunks, nine MiB and one chunk of them, less the MiB of zeroes, and the last sector. */
    assert_int_equal(fixture->result.disks[0].sent_bytes, (2 + 8 * 16 + 1) * CHUNK + 512);
    assert_string_equal(fixture->server.token, ""); /* nobody asked for it */
    end(fixture);
}

static void test_several_disks_are_sent_side_by_side(void **state)
{
    (void)state;
    struct fixture *fixture = begin();
    add_disk(fixture, 8 * MIB);
    add_disk(fixture, 5 * MIB);
    use(fixture, 0, 0, 8 * MIB);
    use(fixture, 1, 0, 5 * MIB);
    send_machine(fixture);
    assert_arrived(fixture, 0);
    assert_arrived(fixture, 1);
    end(fixture);
}

static void test_an_empty_disk_takes_a_handful_of_frames(void **state)
{
    (void)state;
    struct fixture *fixture = begin();
    add_disk(fixture, 256 * MIB);
    send_machine(fixture);
    assert_true(fixture->server.frames <= 3);
    end(fixture);
}

static void test_what_the_server_has_is_not_sent_again(void **state)
{
    (void)state;
    struct fixture *fixture = begin();
    add_disk(fixture, 16 * MIB);
    use(fixture, 0, 0, 16 * MIB);
    send_machine(fixture);
    sender_result_fini(&fixture->result);
    fixture->disks[0].data[7 * MIB] ^= 1;
    send_machine(fixture);
    assert_arrived(fixture, 0);
    assert_int_equal(fixture->result.disks[0].sent_bytes, CHUNK);
    end(fixture);
}

static void test_compressed_chunks_arrive(void **state)
{
    (void)state;
    struct fixture *fixture = begin();
    add_disk(fixture, 12 * MIB);
    use(fixture, 0, 0, 12 * MIB);
    for (uint64_t i = 0; i < 10 * MIB; i++)
        fixture->disks[0].data[i] &= 3;
    fixture->options.compression = 1;
    send_machine(fixture);
    assert_arrived(fixture, 0);
    assert_true(fixture->result.disks[0].wire_bytes < 8 * MIB);
    end(fixture);
}

static void test_a_rate_limit_is_kept(void **state)
{
    (void)state;
    struct fixture *fixture = begin();
    add_disk(fixture, 4 * MIB);
    use(fixture, 0, 0, 4 * MIB);
    fixture->options.limit_bytes_per_second = 8 * MIB;
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    send_machine(fixture);
    clock_gettime(CLOCK_MONOTONIC, &after);
    double seconds =
        (double)(after.tv_sec - before.tv_sec) + (double)(after.tv_nsec - before.tv_nsec) / 1e9;
    assert_true(seconds > 0.3);
    /* What is done is what has gone out, however much was read ahead. */
    assert_int_equal(fixture->most_ahead, 0);
    end(fixture);
}

/* --- cuts --- */

static void test_a_cut_at_every_frame_changes_nothing(void **state)
{
    (void)state;
    struct fixture *fixture = begin();
    bool is_cut = true;
    add_disk(fixture, 16 * MIB);
    use(fixture, 0, MIB / 2, 15 * MIB);
    memset(fixture->disks[0].data + 4 * MIB, 0, 2 * MIB);
    fixture->server.window_bytes = 2 * MIB;
    fixture->server.safe_every = 1;
    for (unsigned frame = 1; is_cut; frame++) {
        fake_forget_disks(&fixture->server);
        fixture->server.frames = fixture->server.cuts = 0;
        fixture->server.cut_at = frame;
        send_machine(fixture);
        is_cut = fixture->server.cuts > 0;
        assert_arrived(fixture, 0);
        assert_true(fixture->result.disks[0].sent_bytes <= 13 * MIB + 2 * MIB + 2 * CHUNK);
        assert_int_equal(fixture->result.reconnects, is_cut);
        sender_result_fini(&fixture->result);
        assert_true(frame < 500);
    }
    end(fixture);
}

static void test_a_server_that_forgot_the_session_gets_a_new_one(void **state)
{
    (void)state;
    struct fixture *fixture = begin();
    add_disk(fixture, 8 * MIB);
    use(fixture, 0, 0, 8 * MIB);
    fixture->server.forget_at = 6;
    send_machine(fixture);
    assert_arrived(fixture, 0);
    assert_true(fixture->server.controls >= 2);
    assert_int_equal(fixture->server.finishes, 1);
    end(fixture);
}

static void test_a_server_that_forgot_all_at_the_end_is_told_again(void **state)
{
    (void)state;
    struct fixture *fixture = begin();
    add_disk(fixture, 4 * MIB);
    use(fixture, 0, 0, 4 * MIB);
    fixture->server.forgets_at_end = true;
    send_machine(fixture);
    assert_arrived(fixture, 0);
    assert_true(fixture->result.is_received);
    assert_int_equal(fixture->server.finishes, 1);
    assert_int_equal(fixture->server.disks[0].passes, 2);
    assert_int_equal(fixture->result.disks[0].sent_bytes, 4 * MIB); /* names alone, again */
    end(fixture);
}

static void test_a_pause_is_waited_out_and_shown(void **state)
{
    (void)state;
    struct fixture *fixture = begin();
    add_disk(fixture, 8 * MIB);
    use(fixture, 0, 0, 8 * MIB);
    fixture->server.pause_at = 6;
    send_machine(fixture);
    assert_arrived(fixture, 0);
    assert_int_equal(fixture->result.reconnects, 0);
    assert_true(has_phase(fixture, SENDER_PAUSED, "no room"));
    end(fixture);
}

static void test_a_wrong_digest_is_answered_by_offering_again_once(void **state)
{
    (void)state;
    struct fixture *fixture = begin();
    add_disk(fixture, 4 * MIB);
    use(fixture, 0, 0, 4 * MIB);
    fixture->server.lies = 1;
    send_machine(fixture);
    assert_arrived(fixture, 0);
    assert_int_equal(fixture->server.disks[0].passes, 2);
    assert_int_equal(fixture->result.disks[0].sent_bytes, 4 * MIB + CHUNK);

    fixture->server.lies = 2;
    sender_result_fini(&fixture->result);
    assert_int_equal(sender_run(&fixture->options, &fixture->result, &fixture->err), -1);
    assert_int_equal(fixture->err.errnum, EPROTO);
    assert_false(fixture->result.is_received);
    end(fixture);
}

/* --- who may, and who may not --- */

static void test_a_token_is_sent_when_it_is_needed(void **state)
{
    (void)state;
    struct fixture *fixture = begin();
    add_disk(fixture, MIB);
    fixture->server.needs_token = true;
    fixture->options.token = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    send_machine(fixture);
    assert_string_equal(fixture->server.token, fixture->options.token);
    end(fixture);
}

static void test_the_code_is_shown_while_an_approval_is_awaited(void **state)
{
    (void)state;
    struct fixture *fixture = begin();
    add_disk(fixture, MIB);
    fixture->server.needs_approval = true;
    send_machine(fixture);
    assert_true(has_phase(fixture, SENDER_WAITING, "ABCD-EFGH"));
    assert_true(fixture->result.is_received);
    end(fixture);
}

static void test_a_wrong_pin_ends_it_before_anything_is_sent(void **state)
{
    (void)state;
    struct fixture *fixture = begin();
    add_disk(fixture, MIB);
    fixture->server.needs_token = true;
    fixture->options.token = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    fixture->options.pin[0] ^= 1;
    assert_int_equal(sender_run(&fixture->options, &fixture->result, &fixture->err), -1);
    assert_int_equal(fixture->err.errnum, TLS_WRONG_PIN);
    assert_string_equal(fixture->server.token, "");
    end(fixture);
}

static void test_refusals_end_it_with_their_kind(void **state)
{
    (void)state;
    static const struct {
        enum wire_error_code code;
        int errnum;
    } cases[] = {{WIRE_ERROR_NOT_AUTHORISED, EACCES},
                 {WIRE_ERROR_NO_SPACE, ENOSPC},
                 {WIRE_ERROR_PROTOCOL, EPROTO}};
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct fixture *fixture = begin();
        add_disk(fixture, MIB);
        fixture->server.refuse_disk = cases[i].code;
        assert_int_equal(sender_run(&fixture->options, &fixture->result, &fixture->err), -1);
        assert_int_equal(fixture->err.errnum, cases[i].errnum);
        end(fixture);
    }
}

static void test_without_a_server_it_gives_up_in_time(void **state)
{
    (void)state;
    struct fixture *fixture = begin();
    add_disk(fixture, MIB);
    snprintf(fixture->options.server.port, sizeof(fixture->options.server.port), "1");
    fixture->options.give_up_seconds = 1;
    fixture->options.retry_ms = 100;
    assert_int_equal(sender_run(&fixture->options, &fixture->result, &fixture->err), -1);
    assert_int_equal(fixture->err.errnum, ETIMEDOUT);
    end(fixture);
}

static void stop_at_three(void *context, unsigned frame)
{
    struct fixture *fixture = context;
    if (frame == 3)
        fixture->stop = true;
}

static void test_stop_ends_it(void **state)
{
    (void)state;
    struct fixture *fixture = begin();
    add_disk(fixture, 16 * MIB);
    use(fixture, 0, 0, 16 * MIB);
    fixture->server.on_frame = stop_at_three;
    fixture->server.context = fixture;
    fixture->server.pause_at = 4;
    assert_int_equal(sender_run(&fixture->options, &fixture->result, &fixture->err), -1);
    assert_int_equal(fixture->err.errnum, ECANCELED);
    end(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_used_arrives_and_nothing_else),
        cmocka_unit_test(test_several_disks_are_sent_side_by_side),
        cmocka_unit_test(test_an_empty_disk_takes_a_handful_of_frames),
        cmocka_unit_test(test_what_the_server_has_is_not_sent_again),
        cmocka_unit_test(test_compressed_chunks_arrive),
        cmocka_unit_test(test_a_rate_limit_is_kept),
        cmocka_unit_test(test_a_cut_at_every_frame_changes_nothing),
        cmocka_unit_test(test_a_server_that_forgot_the_session_gets_a_new_one),
        cmocka_unit_test(test_a_server_that_forgot_all_at_the_end_is_told_again),
        cmocka_unit_test(test_a_pause_is_waited_out_and_shown),
        cmocka_unit_test(test_a_wrong_digest_is_answered_by_offering_again_once),
        cmocka_unit_test(test_a_token_is_sent_when_it_is_needed),
        cmocka_unit_test(test_the_code_is_shown_while_an_approval_is_awaited),
        cmocka_unit_test(test_a_wrong_pin_ends_it_before_anything_is_sent),
        cmocka_unit_test(test_refusals_end_it_with_their_kind),
        cmocka_unit_test(test_without_a_server_it_gives_up_in_time),
        cmocka_unit_test(test_stop_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
