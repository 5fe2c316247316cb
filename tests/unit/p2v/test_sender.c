/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A machine of disks in memory sent to a small server in the same process, over the real wire.
 */
#include "base/own.h"
#include "p2v/agent/sender.h"
#include "tests/unit/p2v/fake_server.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define CHUNK ((uint64_t)CHUNK_SIZE)

struct disk {
    struct block_source source;
    uint8_t *data;
    struct extents used;
    int fail_errno; /* every read fails with it */
    uint64_t fail_from;
    uint8_t *bad; /* a byte per sector; NULL: all good */
    atomic_uint maps;
};

struct fixture {
    struct fake_server server;
    struct disk disks[FAKE_DISKS];
    struct sender_disk sender_disks[FAKE_DISKS];
    struct sender_options options;
    struct sender_result result;
    struct error err;
    struct log log;
    atomic_uint warnings;
    atomic_bool stop;
    unsigned freezes, thaws;
    bool is_frozen;
    int freeze_result;
    enum sender_phase phases[8];
    char texts[8][64];
    unsigned phase_count;
};

/* --- disks --- */

static int disk_read(const struct block_source *source, uint64_t offset, void *buffer,
                     size_t length, struct error *err)
{
    const struct disk *disk = (const struct disk *)source;
    if (disk->fail_errno && offset + length > disk->fail_from)
        return error_set(err, disk->fail_errno, "read");
    for (uint64_t i = offset / 512; disk->bad && i * 512 < offset + length; i++)
        if (disk->bad[i])
            return error_set(err, EIO, "read");
    memcpy(buffer, disk->data + offset, length);
    return 0;
}

static const struct block_source_ops disk_ops = {.read = disk_read};

static int disk_map(void *context, struct extents *used, struct error *err)
{
    struct disk *disk = context;
    disk->maps++;
    return extents_add_all(used, &disk->used, 0, err);
}

static void fill(uint8_t *data, uint64_t size, uint64_t seed)
{
    uint64_t value = 88172645463325252u + seed;
    for (uint64_t i = 0; i + 8 <= size; i += 8) {
        value ^= value << 13;
        value ^= value >> 7;
        value ^= value << 17;
        memcpy(data + i, &value, 8);
    }
}

/* --- a machine --- */

static void on_log(struct log *log, enum log_level level, const char *line)
{
    struct fixture *fixture =
        (struct fixture *)(uintptr_t)((uint8_t *)log - offsetof(struct fixture, log));
    (void)line;
    if (level == LOG_LEVEL_WARNING)
        fixture->warnings++;
}

static void on_progress(void *context, size_t disk, const struct sender_progress *progress)
{
    struct fixture *fixture = context;
    unsigned last = fixture->phase_count;
    if (disk != 0 || last == 8 || (last > 0 && fixture->phases[last - 1] == progress->phase))
        return;
    fixture->phases[last] = progress->phase;
    snprintf(fixture->texts[last], sizeof(fixture->texts[last]), "%.63s", progress->text);
    fixture->phase_count++;
}

static bool has_phase(const struct fixture *fixture, enum sender_phase phase, const char *text)
{
    for (unsigned i = 0; i < fixture->phase_count; i++)
        if (fixture->phases[i] == phase && strcmp(fixture->texts[i], text) == 0)
            return true;
    return false;
}

static int on_freeze(void *context, struct error *err)
{
    struct fixture *fixture = context;
    (void)err;
    fixture->freezes++;
    fixture->is_frozen = fixture->freeze_result > 0;
    return fixture->freeze_result;
}

static void on_thaw(void *context)
{
    struct fixture *fixture = context;
    fixture->thaws++;
    fixture->is_frozen = false;
}

static void add_disk(struct fixture *fixture, uint64_t size)
{
    size_t index = fixture->options.disk_count++;
    struct disk *disk = &fixture->disks[index];
    disk->source = (struct block_source){&disk_ops, size, 512};
    disk->data = memory_new(size, 1);
    fill(disk->data, size, index);
    fixture->sender_disks[index] = (struct sender_disk){
        .name = "sda", .serial = "S1", .block = &disk->source, .map = disk_map, .context = disk};
    fake_add_disk(&fixture->server, size);
}

static void use(struct fixture *fixture, size_t disk, uint64_t offset, uint64_t length)
{
    assert_int_equal(extents_add(&fixture->disks[disk].used, offset, length, NULL), 0);
}

static struct fixture *begin(void)
{
    struct fixture *fixture = memory_new(1, sizeof(*fixture));
    struct sender_options *options = &fixture->options;
    fake_server_start(&fixture->server);
    fixture->log.emit = on_log;
    fixture->freeze_result = 1;
    snprintf(options->server.host, sizeof(options->server.host), "127.0.0.1");
    snprintf(options->server.port, sizeof(options->server.port), "%s", fixture->server.port);
    tls_identity_hash(fixture->server.identity, options->pin);
    options->identity = tls_identity_new(NULL);
    options->name = "";
    options->inventory = "{}";
    options->disks = fixture->sender_disks;
    options->retry_ms = 1;
    options->is_result_awaited = true;
    options->stop = &fixture->stop;
    options->progress = on_progress;
    options->freeze = on_freeze;
    options->thaw = on_thaw;
    options->context = fixture;
    options->log = &fixture->log;
    return fixture;
}

static void end(struct fixture *fixture)
{
    fake_server_stop(&fixture->server);
    for (size_t i = 0; i < fixture->options.disk_count; i++) {
        extents_fini(&fixture->disks[i].used);
        free(fixture->disks[i].data);
        free(fixture->disks[i].bad);
    }
    sender_result_fini(&fixture->result);
    tls_identity_free(fixture->options.identity);
    free(fixture);
}

static void send_machine(struct fixture *fixture)
{
    if (sender_run(&fixture->options, &fixture->result, &fixture->err) != 0)
        fail_msg("%s", fixture->err.text);
}

/* What is used arrived, everything else is zero there. */
static void assert_arrived(const struct fixture *fixture, size_t index)
{
    const struct disk *disk = &fixture->disks[index];
    uint64_t size = disk->source.size_bytes;
    AUTO_FREE uint8_t *expected = memory_new(size, 1);
    for (size_t i = 0; i < disk->used.count; i++)
        memcpy(expected + disk->used.items[i].offset, disk->data + disk->used.items[i].offset,
               disk->used.items[i].length);
    assert_memory_equal(fixture->server.disks[index].data, expected, size);
}

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
        cmocka_unit_test(test_what_is_used_arrives_and_nothing_else),
        cmocka_unit_test(test_several_disks_are_sent_side_by_side),
        cmocka_unit_test(test_an_empty_disk_takes_a_handful_of_frames),
        cmocka_unit_test(test_what_the_server_has_is_not_sent_again),
        cmocka_unit_test(test_compressed_chunks_arrive),
        cmocka_unit_test(test_a_rate_limit_is_kept),
        cmocka_unit_test(test_a_cut_at_every_frame_changes_nothing),
        cmocka_unit_test(test_a_server_that_forgot_the_session_gets_a_new_one),
        cmocka_unit_test(test_a_pause_is_waited_out_and_shown),
        cmocka_unit_test(test_a_wrong_digest_is_answered_by_offering_again_once),
        cmocka_unit_test(test_a_token_is_sent_when_it_is_needed),
        cmocka_unit_test(test_a_wrong_pin_ends_it_before_anything_is_sent),
        cmocka_unit_test(test_refusals_end_it_with_their_kind),
        cmocka_unit_test(test_without_a_server_it_gives_up_in_time),
        cmocka_unit_test(test_stop_ends_it),
        cmocka_unit_test(test_a_disk_that_vanishes_leaves_the_others_alone),
        cmocka_unit_test(test_bad_sectors_are_reported_and_all_others_arrive),
        cmocka_unit_test(test_bad_sectors_and_cuts_together_change_nothing),
        cmocka_unit_test(test_a_live_disk_is_sent_until_it_stands_still),
        cmocka_unit_test(test_what_cannot_be_frozen_is_called_not_consistent),
        cmocka_unit_test(test_a_freeze_ends_also_when_the_last_pass_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
