/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * For the tests of the server: a server of one's own on a free port, and an agent written by hand
 * from docs/wire.md, which does one step at a time.
 */
#ifndef TESTS_SERVER_AGENT_H
#define TESTS_SERVER_AGENT_H

#include "base/bytes.h"
#include "base/text.h"
#include "formats/image.h"
#include "p2v/machine.h"
#include "p2v/server/server.h"
#include "p2v/wire/disksum.h"
#include "p2v/wire/link.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define AGENT_WAIT_MS 10000
#define INVENTORY "{\"hostname\": \"web01\", \"dmi\": {}}"

/* --- the server --- */

struct stage {
    char folder[64];       /* of the pool */
    struct server *server; /* NULL: it is another process */
    unsigned port;
    char pin[TLS_PIN_SIZE];
    char jobs[8][64]; /* names that were added */
    int job_count;
};

static inline int note_job(void *context, const char *machine, struct error *err)
{
    struct stage *stage = context;
    (void)err;
    assert_true(stage->job_count < 8);
    snprintf(stage->jobs[stage->job_count++], 64, "%s", machine);
    return 0;
}

static inline void stage_start(struct stage *stage)
{
    struct error err = {0};
    struct server_options options = {.pool = stage->folder,
                                     .listen = "127.0.0.1:0",
                                     .checkpoint_bytes = 1 << 20,
                                     .add_job = note_job,
                                     .context = stage};
    stage->server = server_start(&options, &err);
    if (!stage->server)
        fail_msg("%s", err.text);
    stage->port = server_port(stage->server);
    server_pin(stage->server, stage->pin);
}

static inline void stage_stop(struct stage *stage)
{
    server_stop(stage->server);
    stage->server = NULL;
}

static inline int stage_make_folder(void **state)
{
    struct stage *stage = memory_new(1, sizeof(*stage));
    snprintf(stage->folder, sizeof(stage->folder), "/tmp/rehost-server.XXXXXX");
    assert_non_null(mkdtemp(stage->folder));
    *state = stage;
    return 0;
}

static inline int stage_set_up(void **state)
{
    stage_make_folder(state);
    stage_start(*state);
    return 0;
}

static inline int stage_tear_down(void **state)
{
    struct stage *stage = *state;
    stage_stop(stage);
    assert_int_equal(folder_remove(AT_FDCWD, stage->folder, NULL), 0);
    free(stage);
    return 0;
}

/* --- the agent --- */

struct agent {
    struct stage *stage;
    struct tls_identity *identity;
    struct link *control;
    uint8_t session[WIRE_SESSION_SIZE];
    char machine[64];
};

static inline void agent_init(struct agent *agent, struct stage *stage)
{
    *agent = (struct agent){.stage = stage, .identity = tls_identity_new(NULL)};
    assert_non_null(agent->identity);
}

static inline void agent_hang_up(struct agent *agent)
{
    link_close(take_ptr(&agent->control));
}

static inline void agent_fini(struct agent *agent)
{
    agent_hang_up(agent);
    tls_identity_free(agent->identity);
}

static inline void send_text(struct link *link, struct text *out)
{
    struct error err = {0};
    if (link_send(link, out->data, out->length, &err) != 0)
        fail_msg("send: %s", err.text);
    text_fini(out);
}

#define SEND(link, kind, ...)                                                                      \
    do {                                                                                           \
        struct text out_ = {0};                                                                    \
        wire_##kind##_encode(&(struct wire_##kind)__VA_ARGS__, &out_);                             \
        send_text(link, &out_);                                                                    \
    } while (0)

/* 1: a frame; 0: closed; -1: cut. */
static inline int get(struct link *link, struct link_frame *frame)
{
    return link_receive(link, frame, AGENT_WAIT_MS, NULL, NULL);
}

static inline void expect_type(struct link *link, struct link_frame *frame, enum wire_type type)
{
    struct error err = {0};
    int got = link_receive(link, frame, AGENT_WAIT_MS, NULL, &err);
    if (got != 1)
        fail_msg("%s expected: %s", wire_type_name(type), got ? err.text : "closed");
    if (frame->type == WIRE_ERROR && type != WIRE_ERROR)
        fail_msg("%s expected: ERROR %u %.*s", wire_type_name(type), frame->payload[0],
                 (int)frame->length - 4, (const char *)frame->payload + 4);
    assert_string_equal(wire_type_name(frame->type), wire_type_name(type));
}

#define EXPECT(link, TYPE, kind, message)                                                          \
    do {                                                                                           \
        struct link_frame frame_;                                                                  \
        expect_type(link, &frame_, TYPE);                                                          \
        assert_int_equal(wire_##kind##_decode(frame_.payload, frame_.length, message, NULL), 0);   \
    } while (0)

/* The connection ends with this ERROR. */
static inline void expect_error(struct link *link, enum wire_error_code code)
{
    struct wire_error error;
    EXPECT(link, WIRE_ERROR, error, &error);
    assert_int_equal(error.code, code);
    struct link_frame frame;
    assert_true(get(link, &frame) <= 0);
}

static inline struct link *agent_knock(struct agent *agent)
{
    struct error err = {0};
    struct link_address address = {.host = "127.0.0.1"};
    uint8_t hash[TLS_IDENTITY_SIZE];
    snprintf(address.port, sizeof(address.port), "%u", agent->stage->port);
    assert_int_equal(tls_pin_parse(agent->stage->pin, hash, NULL), 0);
    struct link *link = link_connect(&address, agent->identity, hash, AGENT_WAIT_MS, &err);
    if (!link)
        fail_msg("connect: %s", err.text);
    return link;
}

static inline struct link *agent_hello(struct agent *agent, enum wire_role role, bool *is_strange)
{
    struct link *link = agent_knock(agent);
    struct wire_hello hello = {.version = WIRE_VERSION, .role = role, .program = "by hand"};
    struct wire_welcome welcome;
    struct text out = {0};
    if (role == WIRE_DISK_DATA)
        memcpy(hello.session, agent->session, sizeof(hello.session));
    wire_hello_encode(&hello, &out);
    send_text(link, &out);
    EXPECT(link, WIRE_WELCOME, welcome, &welcome);
    assert_int_equal(welcome.chunk_size, CHUNK_SIZE);
    if (is_strange)
        *is_strange = welcome.needs_admission;
    return link;
}

static inline void make_token(struct stage *stage, const struct token_options *options,
                              char token[WIRE_TOKEN_LENGTH + 1])
{
    char id[16];
    assert_int_equal(token_create(server_database(stage->server), options, token, id, NULL), 0);
}

static inline void send_token(struct link *link, const char *text)
{
    struct wire_token token;
    struct text out = {0};
    snprintf(token.token, sizeof(token.token), "%s", text);
    wire_token_encode(&token, &out);
    send_text(link, &out);
}

/* Admitted, by a fresh token if need be. */
static inline void agent_enter(struct agent *agent)
{
    bool is_strange;
    struct wire_admitted admitted;
    char token[WIRE_TOKEN_LENGTH + 1];
    agent->control = agent_hello(agent, WIRE_CONTROL, &is_strange);
    if (!is_strange)
        return;
    make_token(agent->stage, &(struct token_options){0}, token);
    send_token(agent->control, token);
    EXPECT(agent->control, WIRE_ADMITTED, admitted, &admitted);
    assert_false(admitted.is_waiting);
}

/* MACHINE with disks of that size, up to SESSION. */
static inline void agent_announce(struct agent *agent, const char *name, size_t disks,
                                  uint64_t size_bytes)
{
    struct wire_machine *machine = memory_new(1, sizeof(*machine));
    struct wire_session session;
    struct text out = {0};
    machine->disk_count = (uint16_t)disks;
    for (size_t i = 0; i < disks; i++) {
        struct wire_disk_info *disk = &machine->disks[i];
        *disk = (struct wire_disk_info){size_bytes, 512, size_bytes, "", ""};
        snprintf(disk->name, sizeof(disk->name), "sd%c", (char)('a' + i));
        snprintf(disk->serial, sizeof(disk->serial), "serial%zu", i);
    }
    snprintf(machine->name, sizeof(machine->name), "%s", name);
    machine->inventory = INVENTORY;
    machine->inventory_length = strlen(INVENTORY);
    wire_machine_encode(machine, &out);
    send_text(agent->control, &out);
    free(machine);
    EXPECT(agent->control, WIRE_SESSION, session, &session);
    memcpy(agent->session, session.session, sizeof(agent->session));
    snprintf(agent->machine, sizeof(agent->machine), "%s", session.machine);
}

/* --- a disk --- */

/* Chunks of it are zero where the number divides by 3; a new seed changes every seventh. */
static inline void make_disk(uint8_t *disk, size_t size, unsigned seed)
{
    memset(disk, 0, size);
    for (size_t chunk = 0; chunk * CHUNK_SIZE < size; chunk++) {
        size_t length =
            size - chunk * CHUNK_SIZE < CHUNK_SIZE ? size - chunk * CHUNK_SIZE : CHUNK_SIZE;
        unsigned value = (unsigned)chunk * 7919u + (chunk % 7 == 1 ? seed : 0) + 1;
        for (size_t i = 0; chunk % 3 && i < length; i++) {
            value = value * 1103515245u + 12345u;
            disk[chunk * CHUNK_SIZE + i] = (uint8_t)(value >> 16);
        }
    }
}

struct disk_run {
    struct link *link;
    uint16_t disk;
    const uint8_t *content;
    size_t size;
    uint64_t sequence, safe;
    size_t sent_chunks;
    int frames_left; /* cut behind so many DATA and OFFER frames; negative: never */
    struct disksum digest;
};

static inline size_t chunk_length(const struct disk_run *run, uint64_t chunk)
{
    size_t rest = run->size - (size_t)chunk * CHUNK_SIZE;
    return rest < CHUNK_SIZE ? rest : CHUNK_SIZE;
}

/* False when it was the last one before the cut. */
static inline bool count_frame(struct disk_run *run)
{
    return run->frames_left < 0 || run->frames_left-- > 0;
}

static inline bool send_chunk(struct disk_run *run, uint64_t sequence, uint64_t chunk)
{
    uint8_t head[WIRE_DATA_HEAD_SIZE];
    struct wire_data data = {.sequence = sequence, .first = chunk, .count = 1};
    data.parts[0].data = run->content + chunk * CHUNK_SIZE;
    data.parts[0].length = (uint32_t)chunk_length(run, chunk);
    if (!count_frame(run))
        return false;
    struct iovec parts[2] = {{head, wire_data_encode_head(&data, head)},
                             {(void *)(uintptr_t)data.parts[0].data, data.parts[0].length}};
    run->sent_chunks++;
    return link_send_parts(run->link, parts, 2, NULL) == 0;
}

/* The next frame that is not SAFE. False: the connection has ended. */
static inline bool get_answer(struct disk_run *run, struct link_frame *frame)
{
    struct wire_safe safe;
    while (get(run->link, frame) == 1) {
        if (frame->type != WIRE_SAFE)
            return true;
        assert_int_equal(wire_safe_decode(frame->payload, frame->length, &safe, NULL), 0);
        assert_true(safe.sequence >= run->safe && safe.sequence <= run->sequence);
        run->safe = safe.sequence;
    }
    return false;
}

static inline bool is_zero_chunk(const struct disk_run *run, uint64_t chunk)
{
    return bytes_are_zero(run->content + chunk * CHUNK_SIZE, chunk_length(run, chunk));
}

static inline bool offer_chunk(struct disk_run *run, uint64_t chunk)
{
    struct wire_offer offer = {.sequence = run->sequence, .first = chunk, .count = 1};
    struct link_frame frame;
    struct wire_want want;
    struct text out = {0};
    chunk_name_compute(run->content + chunk * CHUNK_SIZE, chunk_length(run, chunk),
                       &offer.names[0]);
    disksum_add(&run->digest, chunk, CHUNK_DATA, &offer.names[0]);
    wire_offer_encode(&offer, &out);
    bool is_sent = count_frame(run) && link_send(run->link, out.data, out.length, NULL) == 0;
    text_fini(&out);
    run->sequence++;
    if (!is_sent || !get_answer(run, &frame))
        return false;
    assert_string_equal(wire_type_name(frame.type), "WANT");
    assert_int_equal(wire_want_decode(frame.payload, frame.length, &want, NULL), 0);
    assert_int_equal(want.sequence, run->sequence - 1);
    return !wire_want_has(&want, 0) || send_chunk(run, want.sequence, chunk);
}

/* DISK up to READY. */
static inline void open_disk(struct agent *agent, struct disk_run *run)
{
    struct wire_ready ready;
    run->link = agent_hello(agent, WIRE_DISK_DATA, NULL);
    run->sequence = run->safe = 0;
    run->digest = (struct disksum){{0}};
    SEND(run->link, disk, {.disk = run->disk, .pass = 0});
    EXPECT(run->link, WIRE_READY, ready, &ready);
    assert_int_equal(ready.checkpoint_bytes, 1 << 20);
}

/* All of the disk, chunk by chunk, from the beginning. False: cut. */
static inline bool offer_disk(struct disk_run *run)
{
    uint64_t count = (run->size + CHUNK_SIZE - 1) / CHUNK_SIZE;
    for (uint64_t chunk = 0; chunk < count; chunk++) {
        if (is_zero_chunk(run, chunk)) {
            struct text out = {0};
            struct wire_run zero = {run->sequence++, chunk, 1, CHUNK_ZERO};
            wire_run_encode(&zero, &out);
            bool is_sent = link_send(run->link, out.data, out.length, NULL) == 0;
            text_fini(&out);
            if (!is_sent)
                return false;
        } else if (!offer_chunk(run, chunk)) {
            return false;
        }
    }
    return true;
}

static inline void end_pass(struct disk_run *run)
{
    struct wire_pass pass = {.pass = 0, .is_last = true};
    struct wire_passed passed;
    struct link_frame frame;
    struct text out = {0};
    memcpy(pass.digest, run->digest.bytes, sizeof(pass.digest));
    wire_pass_encode(&pass, &out);
    send_text(run->link, &out);
    assert_true(get_answer(run, &frame));
    assert_string_equal(wire_type_name(frame.type), "PASSED");
    assert_int_equal(wire_passed_decode(frame.payload, frame.length, &passed, NULL), 0);
    assert_false(passed.is_different);
    assert_int_equal(run->safe, run->sequence);
}

static inline void send_disk(struct agent *agent, struct disk_run *run)
{
    run->frames_left = -1;
    open_disk(agent, run);
    assert_true(offer_disk(run));
    end_pass(run);
    link_close(take_ptr(&run->link));
}

static inline void agent_finish(struct agent *agent)
{
    struct wire_stage_text stage;
    SEND(agent->control, finish, {.report = "{}", .report_length = 2});
    EXPECT(agent->control, WIRE_STAGE, stage_text, &stage);
    assert_int_equal(stage.stage, WIRE_STAGE_RECEIVED);
}

/* --- what has arrived --- */

static inline void expect_image(const struct stage *stage, const char *folder, size_t disk,
                                const uint8_t *content, size_t size)
{
    struct error err = {0};
    AUTO_FREE uint8_t *read = malloc(size);
    AUTO_FREE char *pool = text_format("%s/", stage->folder);
    AUTO_FREE char *path = text_format("%s/%s/disk%zu.qcow2", stage->folder, folder, disk);
    struct image_open_options options = {.format = "qcow2", .backing_folder = pool};
    AUTO_PTR(image) image = image_open(path, &options, &err);
    if (!image)
        fail_msg("%s", err.text);
    assert_int_equal(image->source.size_bytes, size);
    assert_int_equal(image->source.ops->read(&image->source, 0, read, size, NULL), 0);
    assert_memory_equal(read, content, size);
}

static inline bool pool_has(const struct stage *stage, const char *name)
{
    AUTO_FREE char *path = text_format("%s/%s", stage->folder, name);
    return access(path, F_OK) == 0;
}

#endif
