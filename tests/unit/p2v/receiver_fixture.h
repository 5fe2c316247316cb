/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * For the tests of the receiver: a pool in memory, a disk of known chunks that is sent to it, and
 * what image, manifest and digest must say of it in the end.
 */
#ifndef TESTS_UNIT_P2V_RECEIVER_FIXTURE_H
#define TESTS_UNIT_P2V_RECEIVER_FIXTURE_H

#include "base/bytes.h"
#include "base/checked.h"
#include "base/io.h"
#include "base/own.h"
#include "base/text.h"
#include "formats/image.h"
#include "p2v/machine.h"
#include "p2v/server/receiver.h"
#include "p2v/wire/frame.h"

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

#define CHUNKS 300u
#define DISK_SIZE ((CHUNKS - 1) * (uint64_t)CHUNK_SIZE + 1536)

/* What a source holds: a content by number, 0: zero. */
struct disk {
    uint32_t content[CHUNKS];
    enum chunk_state empty[CHUNKS]; /* where content is 0 */
};

struct fixture {
    char pool[64];
    char *folder;
    struct chunk_index *index;
    struct receiver_pool images;
    struct receiver_options options;
    struct receiver *receiver;
    uint8_t disk_id[32];
    struct disk disk;
    struct error err;
    unsigned wanted; /* by all offers */
};

#define assert_ok(fixture, call)                                                                   \
    do {                                                                                           \
        if ((call) != 0)                                                                           \
            fail_msg("%s", (fixture)->err.text);                                                   \
    } while (0)

static inline size_t length_of(uint64_t index)
{
    return (size_t)min_u64(CHUNK_SIZE, DISK_SIZE - index * CHUNK_SIZE);
}

static inline void make_content(uint32_t content, uint8_t *chunk)
{
    if (content == 0) {
        memset(chunk, 0, CHUNK_SIZE);
        return;
    }
    for (size_t i = 0; i < CHUNK_SIZE; i += 4)
        store_le32(chunk + i, content + (uint32_t)(i << 8));
}

static inline void name_content(uint64_t index, uint32_t content, struct chunk_name *name)
{
    uint8_t chunk[CHUNK_SIZE];

    make_content(content, chunk);
    chunk_name_compute(chunk, length_of(index), name);
}

/* Runs of data, zero, skipped and unreadable chunks. */
static inline void make_disk(struct disk *disk, unsigned seed)
{
    memset(disk, 0, sizeof(*disk));
    for (unsigned i = 0; i < CHUNKS; i++) {
        unsigned kind = (i / 7 + seed) % 5;

        if (kind < 3)
            disk->content[i] = seed * 1000 + i + 1;
        else
            disk->empty[i] = kind == 3 ? CHUNK_SKIPPED : i % 11 ? CHUNK_ZERO : CHUNK_UNREADABLE;
    }
}

/* "machine 7" is POOL/other. */
static inline bool find_image(void *context, uint32_t machine, uint16_t disk, char *path,
                              size_t size)
{
    const struct fixture *fixture = context;

    if (machine != 7)
        return false;
    snprintf(path, size, "%s/other/disk%u.qcow2", fixture->pool, disk);
    return true;
}

static inline void make_folder(struct fixture *fixture, const char *name)
{
    AUTO_FREE char *path = path_join(fixture->pool, name);

    assert_int_equal(mkdir(path, 0700), 0);
}

static inline int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    int pool_fd;

    snprintf(fixture->pool, sizeof(fixture->pool), "%s/rehost-receiver-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(fixture->pool));
    make_folder(fixture, "web.partial");
    fixture->folder = path_join(fixture->pool, "web.partial");
    pool_fd = open(fixture->pool, O_RDONLY | O_DIRECTORY);
    fixture->index = chunk_index_open(pool_fd, "index", 4096, &fixture->err);
    close(pool_fd);
    assert_non_null(fixture->index);
    fixture->images = (struct receiver_pool){find_image, fixture};
    memset(fixture->disk_id, 5, sizeof(fixture->disk_id));
    fixture->options = (struct receiver_options){.folder = fixture->folder,
                                                 .format = "qcow2",
                                                 .size_bytes = DISK_SIZE,
                                                 .disk_id = fixture->disk_id,
                                                 .source = "sda of web",
                                                 .index = fixture->index,
                                                 .pool = &fixture->images};
    make_disk(&fixture->disk, 1);
    *state = fixture;
    return 0;
}

static inline int tear_down(void **state)
{
    struct fixture *fixture = *state;

    receiver_close(fixture->receiver);
    chunk_index_close(fixture->index);
    free(fixture->folder);
    assert_int_equal(folder_remove(AT_FDCWD, fixture->pool, NULL), 0);
    free(fixture);
    return 0;
}

static inline void open_receiver(struct fixture *fixture)
{
    fixture->receiver = receiver_open(&fixture->options, &fixture->err);
    if (!fixture->receiver)
        fail_msg("%s", fixture->err.text);
}

static inline void close_receiver(struct fixture *fixture)
{
    receiver_close(fixture->receiver);
    fixture->receiver = NULL;
}

static inline int send_chunk(struct fixture *fixture, uint64_t index, const struct chunk_name *name)
{
    uint8_t chunk[CHUNK_SIZE];

    make_content(fixture->disk.content[index], chunk);
    return receiver_store(fixture->receiver, index, 1, name, chunk, length_of(index),
                          &fixture->err);
}

/* Chunks [first, end), all with data. */
static inline int offer(struct fixture *fixture, uint64_t first, uint64_t end)
{
    struct chunk_name names[WIRE_MAX_OFFER] = {{{0}}};
    uint8_t wanted[WIRE_MAX_OFFER / 8];

    for (uint64_t i = first; i < end; i++)
        name_content(i, fixture->disk.content[i], &names[i - first]);
    if (receiver_offer(fixture->receiver, first, end - first, names, wanted, &fixture->err) != 0)
        return -1;
    for (uint64_t i = first; i < end; i++) {
        if (!(wanted[(i - first) / 8] >> ((i - first) % 8) & 1))
            continue;
        fixture->wanted++;
        if (send_chunk(fixture, i, &names[i - first]) != 0)
            return -1;
    }
    return 0;
}

static inline int commit(struct fixture *fixture)
{
    receiver_seal(fixture->receiver);
    return receiver_commit(fixture->receiver, &fixture->err);
}

/* All of the disk, in runs of one kind; a checkpoint after every `checkpoint` runs. */
static inline int send_disk(struct fixture *fixture, unsigned checkpoint)
{
    const struct disk *disk = &fixture->disk;
    unsigned runs = 0;

    fixture->wanted = 0;
    for (uint64_t first = 0, end; first < CHUNKS; first = end) {
        bool is_data = disk->content[first] != 0;
        int result;

        for (end = first + 1; end < CHUNKS && (disk->content[end] != 0) == is_data &&
                              disk->empty[end] == disk->empty[first];)
            end++;
        result = is_data ? offer(fixture, first, end)
                         : receiver_run(fixture->receiver, first, end - first, disk->empty[first],
                                        &fixture->err);
        if (result != 0 || (++runs % checkpoint == 0 && commit(fixture) != 0))
            return -1;
    }
    return 0;
}

static inline void assert_digest(struct fixture *fixture)
{
    struct disksum expected = {0}, digest;

    for (uint64_t i = 0; i < CHUNKS; i++) {
        struct chunk_name name;

        name_content(i, fixture->disk.content[i], &name);
        disksum_add(&expected, i, fixture->disk.content[i] ? CHUNK_DATA : fixture->disk.empty[i],
                    &name);
    }
    receiver_digest(fixture->receiver, &digest);
    assert_true(disksum_is_equal(&expected, &digest));
}

static inline void assert_image(struct fixture *fixture)
{
    AUTO_FREE char *path =
        text_format("%s/disk0.%s", fixture->options.folder,
                    fixture->options.base_folder ? "qcow2" : fixture->options.format);
    struct image_open_options options = {.backing_folder = fixture->pool};
    AUTO_PTR(image) image = image_open(path, &options, &fixture->err);
    uint8_t expected[CHUNK_SIZE], chunk[CHUNK_SIZE];

    if (!image)
        fail_msg("%s", fixture->err.text);
    assert_int_equal(image->source.size_bytes, DISK_SIZE);
    for (uint64_t i = 0; i < CHUNKS; i++) {
        make_content(fixture->disk.content[i], expected);
        assert_ok(fixture, block_source_read(&image->source, i * CHUNK_SIZE, chunk, length_of(i),
                                             &fixture->err));
        if (memcmp(chunk, expected, length_of(i)) != 0)
            fail_msg("chunk %llu differs", (unsigned long long)i);
    }
}

static inline void read_result(struct fixture *fixture, struct manifest *manifest)
{
    int folder_fd = open(fixture->options.folder, O_RDONLY | O_DIRECTORY);

    assert_ok(fixture, manifest_read(manifest, folder_fd, "disk0.manifest", &fixture->err));
    close(folder_fd);
}

static inline void assert_manifest(struct fixture *fixture)
{
    AUTO(manifest) manifest = {0};

    read_result(fixture, &manifest);
    assert_int_equal(manifest.size_bytes, DISK_SIZE);
    for (uint64_t i = 0; i < CHUNKS; i++) {
        struct chunk_name name;
        bool is_data = fixture->disk.content[i] != 0;

        assert_int_equal(manifest_state(&manifest, i),
                         is_data ? CHUNK_DATA : fixture->disk.empty[i]);
        name_content(i, fixture->disk.content[i], &name);
        if (is_data)
            assert_memory_equal(manifest_name(&manifest, i), &name, sizeof(name));
    }
}

static inline void finish(struct fixture *fixture, uint32_t machine)
{
    assert_digest(fixture);
    assert_ok(fixture, receiver_finish(fixture->receiver, machine, &fixture->err));
    close_receiver(fixture);
    assert_image(fixture);
    assert_manifest(fixture);
}

/* All of the disk, as another machine's: POOL/other. */
static inline void receive_other(struct fixture *fixture, uint32_t machine)
{
    AUTO_FREE char *other = path_join(fixture->pool, "other");

    make_folder(fixture, "other");
    fixture->options.folder = other;
    open_receiver(fixture);
    assert_ok(fixture, send_disk(fixture, 4));
    finish(fixture, machine);
    fixture->options.folder = fixture->folder;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
