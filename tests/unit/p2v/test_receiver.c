/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A disk is received, broken off, taken up and updated; in the end image, manifest and digest say
 * what the source said last, and nothing is believed that was not read.
 */
#include "base/bytes.h"
#include "base/checked.h"
#include "base/io.h"
#include "base/text.h"
#include "formats/image.h"
#include "p2v/machine.h"
#include "p2v/server/receiver.h"
#include "p2v/wire/frame.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define CHUNKS 300u
#define DISK_SIZE ((CHUNKS - 1) * (uint64_t)CHUNK_SIZE + 1536)
#define CRASHES 30
#define HUGE_SIZE ((uint64_t)2 << 40) /* a byte for each chunk would be 32 MiB */

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

static size_t length_of(uint64_t index)
{
    return (size_t)min_u64(CHUNK_SIZE, DISK_SIZE - index * CHUNK_SIZE);
}

static void make_content(uint32_t content, uint8_t *chunk)
{
    if (content == 0) {
        memset(chunk, 0, CHUNK_SIZE);
        return;
    }
    for (size_t i = 0; i < CHUNK_SIZE; i += 4)
        store_le32(chunk + i, content + (uint32_t)(i << 8));
}

static void name_content(uint64_t index, uint32_t content, struct chunk_name *name)
{
    uint8_t chunk[CHUNK_SIZE];

    make_content(content, chunk);
    chunk_name_compute(chunk, length_of(index), name);
}

/* Runs of data, zero, skipped and unreadable chunks. */
static void make_disk(struct disk *disk, unsigned seed)
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
static bool find_image(void *context, uint32_t machine, uint16_t disk, char *path, size_t size)
{
    const struct fixture *fixture = context;

    if (machine != 7)
        return false;
    snprintf(path, size, "%s/other/disk%u.qcow2", fixture->pool, disk);
    return true;
}

static void make_folder(struct fixture *fixture, const char *name)
{
    AUTO_FREE char *path = path_join(fixture->pool, name);

    assert_int_equal(mkdir(path, 0700), 0);
}

static int set_up(void **state)
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

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    receiver_close(fixture->receiver);
    chunk_index_close(fixture->index);
    free(fixture->folder);
    assert_int_equal(folder_remove(AT_FDCWD, fixture->pool, NULL), 0);
    free(fixture);
    return 0;
}

static void open_receiver(struct fixture *fixture)
{
    fixture->receiver = receiver_open(&fixture->options, &fixture->err);
    if (!fixture->receiver)
        fail_msg("%s", fixture->err.text);
}

static void close_receiver(struct fixture *fixture)
{
    receiver_close(fixture->receiver);
    fixture->receiver = NULL;
}

static int send_chunk(struct fixture *fixture, uint64_t index, const struct chunk_name *name)
{
    uint8_t chunk[CHUNK_SIZE];

    make_content(fixture->disk.content[index], chunk);
    return receiver_store(fixture->receiver, index, 1, name, chunk, length_of(index),
                          &fixture->err);
}

/* Chunks [first, end), all with data. */
static int offer(struct fixture *fixture, uint64_t first, uint64_t end)
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

static int commit(struct fixture *fixture)
{
    receiver_seal(fixture->receiver);
    return receiver_commit(fixture->receiver, &fixture->err);
}

/* All of the disk, in runs of one kind; a checkpoint after every `checkpoint` runs. */
static int send_disk(struct fixture *fixture, unsigned checkpoint)
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

static void assert_digest(struct fixture *fixture)
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

static void assert_image(struct fixture *fixture)
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

static void read_result(struct fixture *fixture, struct manifest *manifest)
{
    int folder_fd = open(fixture->options.folder, O_RDONLY | O_DIRECTORY);

    assert_ok(fixture, manifest_read(manifest, folder_fd, "disk0.manifest", &fixture->err));
    close(folder_fd);
}

static void assert_manifest(struct fixture *fixture)
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

static void finish(struct fixture *fixture, uint32_t machine)
{
    assert_digest(fixture);
    assert_ok(fixture, receiver_finish(fixture->receiver, machine, &fixture->err));
    close_receiver(fixture);
    assert_image(fixture);
    assert_manifest(fixture);
}

/* --- */

static void test_a_disk_is_received(void **state)
{
    struct fixture *fixture = *state;
    struct receiver_counts counts;

    open_receiver(fixture);
    assert_ok(fixture, send_disk(fixture, 4));
    receiver_get_counts(fixture->receiver, &counts);
    assert_int_equal(counts.had_bytes, 0);
    assert_true(counts.stored_bytes > 100 * (uint64_t)CHUNK_SIZE);
    assert_true(counts.unreadable_bytes > 0);
    finish(fixture, 1);
}

static void test_a_raw_disk_is_received_and_keeps_its_holes(void **state)
{
    struct fixture *fixture = *state;
    AUTO_FREE char *path = text_format("%s/disk0.raw", fixture->folder);
    struct stat status;

    fixture->options.format = "raw";
    open_receiver(fixture);
    assert_ok(fixture, send_disk(fixture, 4));
    finish(fixture, 1);
    assert_int_equal(stat(path, &status), 0);
    assert_true((uint64_t)status.st_blocks * 512 < DISK_SIZE * 3 / 4);
}

static void test_what_was_committed_is_not_wanted_again(void **state)
{
    struct fixture *fixture = *state;

    open_receiver(fixture);
    assert_ok(fixture, send_disk(fixture, 4));
    assert_ok(fixture, commit(fixture));
    close_receiver(fixture);
    open_receiver(fixture);
    assert_ok(fixture, send_disk(fixture, 4));
    assert_int_equal(fixture->wanted, 0);
    finish(fixture, 1);
}

static void test_what_was_not_committed_is_wanted_again_and_reads_as_zeroes(void **state)
{
    struct fixture *fixture = *state;

    open_receiver(fixture);
    assert_ok(fixture, offer(fixture, 0, 3));
    close_receiver(fixture);
    open_receiver(fixture);
    memset(&fixture->disk, 0, sizeof(fixture->disk));
    for (unsigned i = 0; i < CHUNKS; i++)
        fixture->disk.empty[i] = CHUNK_ZERO;
    assert_ok(fixture, send_disk(fixture, 4));
    finish(fixture, 1);
}

static void test_a_second_pass_brings_only_what_changed(void **state)
{
    struct fixture *fixture = *state;
    unsigned changed = 0;

    open_receiver(fixture);
    assert_ok(fixture, send_disk(fixture, 4));
    assert_ok(fixture, commit(fixture));
    for (unsigned i = 0; i < CHUNKS; i += 13) {
        if (fixture->disk.content[i]) {
            fixture->disk.content[i] += 500000;
            changed++;
        }
    }
    fixture->disk.content[2] = 0; /* freed, and used */
    fixture->disk.empty[2] = CHUNK_SKIPPED;
    fixture->disk.content[299] = 77;
    fixture->disk.empty[299] = CHUNK_SKIPPED;
    assert_ok(fixture, send_disk(fixture, 4));
    assert_in_range(fixture->wanted, changed, changed + 1);
    finish(fixture, 1);
}

static void test_another_disk_starts_anew(void **state)
{
    struct fixture *fixture = *state;

    open_receiver(fixture);
    assert_ok(fixture, send_disk(fixture, 4));
    assert_ok(fixture, commit(fixture));
    close_receiver(fixture);
    fixture->disk_id[0]++;
    make_disk(&fixture->disk, 2);
    open_receiver(fixture);
    assert_ok(fixture, send_disk(fixture, 4));
    finish(fixture, 1);
}

static void test_an_image_too_broken_to_repair_starts_anew(void **state)
{
    struct fixture *fixture = *state;
    AUTO_FREE char *path = text_format("%s/disk0.qcow2", fixture->folder);

    open_receiver(fixture);
    assert_ok(fixture, send_disk(fixture, 4));
    assert_ok(fixture, commit(fixture));
    close_receiver(fixture);
    assert_int_equal(truncate(path, 100), 0);
    open_receiver(fixture);
    assert_ok(fixture, send_disk(fixture, 4));
    assert_true(fixture->wanted > 100);
    finish(fixture, 1);
}

static void test_an_image_in_use_is_an_error_and_is_kept(void **state)
{
    struct fixture *fixture = *state;

    open_receiver(fixture);
    assert_ok(fixture, send_disk(fixture, 4));
    assert_ok(fixture, commit(fixture));
    assert_null(receiver_open(&fixture->options, &fixture->err));
    assert_int_equal(fixture->err.errnum, EBUSY);
    finish(fixture, 1);
}

static void receive_other(struct fixture *fixture, uint32_t machine)
{
    AUTO_FREE char *other = path_join(fixture->pool, "other");

    make_folder(fixture, "other");
    fixture->options.folder = other;
    open_receiver(fixture);
    assert_ok(fixture, send_disk(fixture, 4));
    finish(fixture, machine);
    fixture->options.folder = fixture->folder;
}

static void test_a_clone_is_copied_inside_the_pool(void **state)
{
    struct fixture *fixture = *state;
    struct receiver_counts counts;

    receive_other(fixture, 7);
    open_receiver(fixture);
    assert_ok(fixture, send_disk(fixture, 4));
    assert_int_equal(fixture->wanted, 0);
    receiver_get_counts(fixture->receiver, &counts);
    assert_true(counts.copied_bytes > 100 * (uint64_t)CHUNK_SIZE);
    finish(fixture, 1);
}

static void test_a_poisoned_chunk_of_another_machine_is_wanted(void **state)
{
    struct fixture *fixture = *state;
    AUTO_FREE char *path = text_format("%s/other/disk0.qcow2", fixture->pool);
    struct image_open_options options = {.is_writable = true};
    uint8_t poison[CHUNK_SIZE] = {1};
    struct image *image;

    receive_other(fixture, 7);
    image = image_open(path, &options, NULL);
    assert_non_null(image);
    for (unsigned i = 0; i < 14; i++) {
        if (fixture->disk.content[i])
            assert_int_equal(image_write(image, i * CHUNK_SIZE, poison, CHUNK_SIZE, NULL), 0);
    }
    image_close(image);
    open_receiver(fixture);
    assert_ok(fixture, send_disk(fixture, 4));
    assert_int_equal(fixture->wanted, 14);
    finish(fixture, 1);
}

static void test_a_machine_that_is_gone_or_locked_does_no_harm(void **state)
{
    struct fixture *fixture = *state;
    AUTO_FREE char *path = text_format("%s/other/disk0.qcow2", fixture->pool);

    receive_other(fixture, 8); /* find_image does not know it */
    open_receiver(fixture);
    assert_ok(fixture, send_disk(fixture, 4));
    assert_true(fixture->wanted > 100);
    finish(fixture, 1);
    assert_int_equal(unlink(path), 0);
}

/* --- updates */

static void start_update(struct fixture *fixture, struct text *update, struct text *base)
{
    receive_other(fixture, 7);
    make_folder(fixture, "other.update");
    text_addf(update, "%s/other.update", fixture->pool);
    text_addf(base, "%s/other", fixture->pool);
    fixture->options.folder = update->data;
    fixture->options.base_folder = base->data;
    fixture->options.index = NULL;
}

static void test_an_update_wants_what_changed_and_what_fixers_changed(void **state)
{
    struct fixture *fixture = *state;
    AUTO(text) update = {0};
    AUTO(text) base = {0};
    AUTO_FREE char *path = text_format("%s/other/disk0.qcow2", fixture->pool);
    AUTO_FREE char *folder = text_format("%s/other", fixture->pool);
    struct image_open_options options = {.is_writable = true};
    AUTO(manifest) manifest = {0};
    uint8_t fixed[CHUNK_SIZE];
    struct chunk_name name;
    struct image *image;
    int folder_fd;

    start_update(fixture, &update, &base);
    /* A fixer writes to a chunk of data and to an empty one. */
    folder_fd = open(folder, O_RDONLY | O_DIRECTORY);
    assert_ok(fixture, manifest_read(&manifest, folder_fd, "disk0.manifest", &fixture->err));
    make_content(424242, fixed);
    chunk_name_compute(fixed, CHUNK_SIZE, &name);
    image = image_open(path, &options, NULL);
    assert_non_null(image);
    assert_int_not_equal(fixture->disk.content[1], 0);
    assert_int_equal(fixture->disk.content[16], 0);
    for (unsigned i = 1; i <= 16; i += 15) {
        assert_int_equal(image_write(image, i * CHUNK_SIZE, fixed, CHUNK_SIZE, NULL), 0);
        assert_ok(fixture, manifest_change(&manifest, i, CHUNK_DATA, &name, &fixture->err));
    }
    image_close(image);
    assert_ok(fixture, manifest_write(&manifest, folder_fd, "disk0.manifest", &fixture->err));
    close(folder_fd);

    fixture->disk.content[5] = 99;
    fixture->disk.content[6] = 0; /* there is data in the base: it must not show through */
    fixture->disk.empty[6] = CHUNK_ZERO;
    open_receiver(fixture);
    assert_ok(fixture, send_disk(fixture, 4));
    assert_int_equal(fixture->wanted, 2); /* 1 and 5 */
    finish(fixture, 7);
    assert_true(access(path, F_OK) == 0);
}

static void test_an_update_of_a_raw_disk_is_an_overlay_over_it(void **state)
{
    struct fixture *fixture = *state;
    AUTO(text) update = {0};
    AUTO(text) base = {0};
    AUTO_FREE char *path = text_format("%s/other/disk0.raw", fixture->pool);
    struct stat before, after;

    fixture->options.format = "raw";
    start_update(fixture, &update, &base);
    assert_int_equal(stat(path, &before), 0);
    fixture->disk.content[5] = 99;
    fixture->disk.content[6] = 0;
    fixture->disk.empty[6] = CHUNK_SKIPPED;
    open_receiver(fixture);
    assert_ok(fixture, send_disk(fixture, 4));
    assert_int_equal(fixture->wanted, 1);
    finish(fixture, 7);
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
}

static void test_an_update_that_breaks_off_goes_on(void **state)
{
    struct fixture *fixture = *state;
    AUTO(text) update = {0};
    AUTO(text) base = {0};
    unsigned all;

    start_update(fixture, &update, &base);
    for (unsigned i = 0; i < CHUNKS; i += 3)
        fixture->disk.content[i] = i % 2 ? 0 : 60000 + i;
    open_receiver(fixture);
    assert_ok(fixture, send_disk(fixture, 5));
    all = fixture->wanted;
    close_receiver(fixture);
    open_receiver(fixture);
    assert_ok(fixture, send_disk(fixture, 5));
    assert_true(fixture->wanted < all);
    finish(fixture, 7);
}

static void test_an_update_whose_base_was_never_received_is_refused(void **state)
{
    struct fixture *fixture = *state;
    AUTO_FREE char *other = path_join(fixture->pool, "other");

    make_folder(fixture, "other");
    fixture->options.base_folder = other;
    assert_null(receiver_open(&fixture->options, &fixture->err));
    assert_non_null(strstr(fixture->err.text, "disk0.manifest"));
}

/* --- faults */

static void test_no_space_loses_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct rlimit limit, full;
    int result;

    open_receiver(fixture);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    signal(SIGXFSZ, SIG_IGN);
    full = limit;
    full.rlim_cur = 4 * MIB;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &full), 0);
    result = send_disk(fixture, 4);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_int_equal(result, -1);
    assert_int_equal(fixture->err.errnum, EFBIG); /* what this limit gives instead of ENOSPC */
    assert_ok(fixture, commit(fixture));
    assert_ok(fixture, send_disk(fixture, 4));
    finish(fixture, 1);
}

static void test_a_name_that_is_a_reserved_record_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct chunk_name name = {{0}};
    uint8_t wanted;

    open_receiver(fixture);
    assert_int_equal(receiver_offer(fixture->receiver, 0, 1, &name, &wanted, &fixture->err), -1);
    assert_int_equal(fixture->err.errnum, EPROTO);
    memset(&name, 0xff, sizeof(name) - 1);
    name.bytes[31] = 2;
    assert_int_equal(receiver_offer(fixture->receiver, 0, 1, &name, &wanted, &fixture->err), -1);
    assert_int_equal(fixture->err.errnum, EPROTO);
}

static void test_chunks_outside_of_the_disk_are_refused(void **state)
{
    struct fixture *fixture = *state;
    struct chunk_name names[2] = {{{1}}, {{2}}};
    uint8_t wanted, data[2 * CHUNK_SIZE] = {0};

    open_receiver(fixture);
    assert_int_equal(receiver_offer(fixture->receiver, CHUNKS - 1, 2, names, &wanted, NULL), -1);
    assert_int_equal(receiver_run(fixture->receiver, 0, CHUNKS + 1, CHUNK_ZERO, NULL), -1);
    assert_int_equal(receiver_run(fixture->receiver, UINT64_MAX, 2, CHUNK_ZERO, NULL), -1);
    assert_int_equal(
        receiver_store(fixture->receiver, CHUNKS - 1, 1, names, data, CHUNK_SIZE, NULL), -1);
    assert_int_equal(receiver_store(fixture->receiver, 3, 2, names, data, sizeof(data) - 1, NULL),
                     -1);
}

static void test_what_was_withdrawn_agrees_with_no_digest(void **state)
{
    struct fixture *fixture = *state;
    struct disksum nothing = {0}, digest;
    struct chunk_name name;
    uint8_t wanted;

    open_receiver(fixture);
    assert_ok(fixture, offer(fixture, 0, 1));
    assert_ok(fixture, commit(fixture));
    name_content(0, 12345, &name);
    assert_ok(fixture, receiver_offer(fixture->receiver, 0, 1, &name, &wanted, &fixture->err));
    assert_int_equal(wanted, 1); /* and is never sent */
    receiver_digest(fixture->receiver, &digest);
    assert_false(disksum_is_equal(&digest, &nothing));
    assert_int_equal(receiver_finish(fixture->receiver, 1, &fixture->err), -1);
    assert_non_null(strstr(fixture->err.text, "never received"));
}

struct committer {
    struct fixture *fixture;
    pthread_t thread;
};

static void *run_commit(void *argument)
{
    struct committer *committer = argument;

    receiver_commit(committer->fixture->receiver, NULL);
    return NULL;
}

/* Passes over a disk that changes, commits in another thread, until killed. */
static void receive_until_killed(struct fixture *fixture, unsigned seed)
{
    struct committer committer = {.fixture = fixture};

    open_receiver(fixture);
    for (unsigned pass = 0;; pass++) {
        receiver_seal(fixture->receiver);
        pthread_create(&committer.thread, NULL, run_commit, &committer);
        make_disk(&fixture->disk, 1 + (seed + pass) % 4);
        if (send_disk(fixture, 1000) != 0)
            _exit(1);
        pthread_join(committer.thread, NULL);
    }
}

static void test_a_kill_at_any_moment_costs_nothing_but_time(void **state)
{
    struct fixture *fixture = *state;

    fixture->options.index = NULL;
    srandom(1);
    for (unsigned crash = 0; crash < CRASHES; crash++) {
        pid_t child = fork();
        int status;

        if (child == 0)
            receive_until_killed(fixture, crash);
        usleep((useconds_t)(random() % 20000));
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        if (crash % 3)
            continue;
        make_disk(&fixture->disk, 1 + crash % 4);
        open_receiver(fixture);
        assert_ok(fixture, send_disk(fixture, 6));
        finish(fixture, 1);
    }
}

static long peak_kib(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

static void test_a_huge_disk_with_hardly_anything_on_it_costs_hardly_any_memory(void **state)
{
    struct fixture *fixture = *state;
    uint64_t chunks = HUGE_SIZE / CHUNK_SIZE;
    long before_kib = peak_kib();

    fixture->options.size_bytes = HUGE_SIZE;
    open_receiver(fixture);
    assert_ok(fixture, receiver_run(fixture->receiver, 0, chunks, CHUNK_ZERO, &fixture->err));
    assert_ok(fixture,
              receiver_run(fixture->receiver, chunks / 2, 1000, CHUNK_SKIPPED, &fixture->err));
    for (uint64_t chunk = 7; chunk < chunks; chunk += MANIFEST_BLOCK_CHUNKS)
        assert_ok(fixture,
                  receiver_run(fixture->receiver, chunk, 1, CHUNK_UNREADABLE, &fixture->err));
    assert_ok(fixture, receiver_finish(fixture->receiver, 1, &fixture->err));
    assert_true(peak_kib() - before_kib < (long)(HUGE_SIZE / CHUNK_SIZE / 2 >> 10));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_a_huge_disk_with_hardly_anything_on_it_costs_hardly_any_memory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_disk_is_received, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_raw_disk_is_received_and_keeps_its_holes, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_what_was_committed_is_not_wanted_again, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(
            test_what_was_not_committed_is_wanted_again_and_reads_as_zeroes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_second_pass_brings_only_what_changed, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_another_disk_starts_anew, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_image_too_broken_to_repair_starts_anew, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_an_image_in_use_is_an_error_and_is_kept, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_clone_is_copied_inside_the_pool, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_poisoned_chunk_of_another_machine_is_wanted, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_machine_that_is_gone_or_locked_does_no_harm, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_an_update_wants_what_changed_and_what_fixers_changed,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_update_of_a_raw_disk_is_an_overlay_over_it, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_an_update_that_breaks_off_goes_on, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_update_whose_base_was_never_received_is_refused,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_space_loses_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_name_that_is_a_reserved_record_is_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_chunks_outside_of_the_disk_are_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_what_was_withdrawn_agrees_with_no_digest, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_kill_at_any_moment_costs_nothing_but_time, set_up,
                                        tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
