/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * For the tests of sending: a machine of disks in memory, which may fail and may be written to, and
 * the small server that it is sent to.
 */
#ifndef TESTS_FAKE_MACHINE_H
#define TESTS_FAKE_MACHINE_H

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
    atomic_bool is_end_read;
    atomic_uint early; /* reads of less than a chunk before that */
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
    uint64_t most_ahead; /* by how much disk 0 was shown as done and was not sent */
};

/* --- disks --- */

static inline int disk_read(const struct block_source *source, uint64_t offset, void *buffer,
                            size_t length, struct error *err)
{
    struct disk *disk = (struct disk *)(uintptr_t)source;
    disk->early += length < CHUNK && !disk->is_end_read;
    if (offset + length == source->size_bytes)
        disk->is_end_read = true;
    if (disk->fail_errno && offset + length > disk->fail_from)
        return error_set(err, disk->fail_errno, "read");
    for (uint64_t i = offset / 512; disk->bad && i * 512 < offset + length; i++)
        if (disk->bad[i])
            return error_set(err, EIO, "read");
    memcpy(buffer, disk->data + offset, length);
    return 0;
}

static const struct block_source_ops disk_ops = {.read = disk_read};

static inline int disk_map(void *context, struct extents *used, struct error *err)
{
    struct disk *disk = context;
    disk->maps++;
    return extents_add_all(used, &disk->used, 0, err);
}

static inline void fill(uint8_t *data, uint64_t size, uint64_t seed)
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

static inline void on_log(struct log *log, enum log_level level, const char *line)
{
    struct fixture *fixture =
        (struct fixture *)(uintptr_t)((uint8_t *)log - offsetof(struct fixture, log));
    (void)line;
    if (level == LOG_LEVEL_WARNING)
        fixture->warnings++;
}

static inline void on_progress(void *context, size_t disk, const struct sender_progress *progress)
{
    struct fixture *fixture = context;
    unsigned last = fixture->phase_count;
    if (disk == 0 && progress->done_bytes > progress->sent_bytes + fixture->most_ahead)
        fixture->most_ahead = progress->done_bytes - progress->sent_bytes;
    if (disk != 0 || last == 8 || (last > 0 && fixture->phases[last - 1] == progress->phase))
        return;
    fixture->phases[last] = progress->phase;
    snprintf(fixture->texts[last], sizeof(fixture->texts[last]), "%.63s", progress->text);
    fixture->phase_count++;
}

static inline bool has_phase(const struct fixture *fixture, enum sender_phase phase,
                             const char *text)
{
    for (unsigned i = 0; i < fixture->phase_count; i++)
        if (fixture->phases[i] == phase && strcmp(fixture->texts[i], text) == 0)
            return true;
    return false;
}

static inline int on_freeze(void *context, struct error *err)
{
    struct fixture *fixture = context;
    (void)err;
    fixture->freezes++;
    fixture->is_frozen = fixture->freeze_result > 0;
    return fixture->freeze_result;
}

static inline void on_thaw(void *context)
{
    struct fixture *fixture = context;
    fixture->thaws++;
    fixture->is_frozen = false;
}

static inline void add_disk(struct fixture *fixture, uint64_t size)
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

static inline void use(struct fixture *fixture, size_t disk, uint64_t offset, uint64_t length)
{
    assert_int_equal(extents_add(&fixture->disks[disk].used, offset, length, NULL), 0);
}

static inline struct fixture *begin(void)
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

static inline void end(struct fixture *fixture)
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

static inline void send_machine(struct fixture *fixture)
{
    if (sender_run(&fixture->options, &fixture->result, &fixture->err) != 0)
        fail_msg("%s", fixture->err.text);
}

/* What is used arrived, everything else is zero there. */
static inline void assert_arrived(const struct fixture *fixture, size_t index)
{
    const struct disk *disk = &fixture->disks[index];
    uint64_t size = disk->source.size_bytes;
    AUTO_FREE uint8_t *expected = memory_new(size, 1);
    for (size_t i = 0; i < disk->used.count; i++)
        memcpy(expected + disk->used.items[i].offset, disk->data + disk->used.items[i].offset,
               disk->used.items[i].length);
    assert_memory_equal(fixture->server.disks[index].data, expected, size);
}

#endif
