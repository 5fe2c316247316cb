/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Power losses while a disk is received. This program's own pwrite, fsync and so on remember what
 * was synced; at a random call a child loses power: each sector of each file becomes the synced or
 * the written one, and the child is gone. What is believed to be there after must be there.
 */
#include "base/bytes.h"
#include "base/checked.h"
#include "base/text.h"
#include "formats/image.h"
#include "p2v/machine.h"
#include "p2v/server/receiver.h"
#include "p2v/wire/frame.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define CHUNKS 24u
#define DISK_SIZE ((CHUNKS - 1) * (uint64_t)CHUNK_SIZE + 512)
#define SECTOR 512u
#define DISKS 8
#define LOSSES 4 /* of each disk */
#define MAX_FILES 16
#define POWER_LOST 42

/* --- a disk that forgets ---------------------------------------------------------------------- */

struct synced {
    ino_t inode;
    uint8_t *data;
    size_t length;
};

static struct synced synced[MAX_FILES];
static size_t synced_count;
static long calls_left = -1; /* until the power goes; negative: it stays */
static const char *dying_folder;
static void (*during_sync)(void); /* what another thread might do meanwhile */

static uint8_t *read_all(int fd, size_t *length)
{
    struct stat status;
    uint8_t *data;

    if (fstat(fd, &status) != 0)
        abort();
    *length = (size_t)status.st_size;
    data = calloc(1, *length + 1);
    if (!data || pread(fd, data, *length, 0) != (ssize_t)*length)
        abort();
    return data;
}

static struct synced *find_synced(ino_t inode)
{
    for (size_t i = 0; i < synced_count; i++) {
        if (synced[i].inode == inode)
            return &synced[i];
    }
    if (synced_count == MAX_FILES)
        abort();
    synced[synced_count] = (struct synced){.inode = inode};
    return &synced[synced_count++];
}

static void remember(int fd)
{
    struct synced *file;
    struct stat status;

    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode))
        return;
    file = find_synced(status.st_ino);
    free(file->data);
    file->data = read_all(fd, &file->length);
}

static void mix(int fd)
{
    size_t length, end, least;
    uint8_t *data = read_all(fd, &length);
    const struct synced *file;
    struct stat status;

    if (fstat(fd, &status) != 0)
        abort();
    file = find_synced(status.st_ino);
    least = file->length < length ? file->length : length;
    end = least + (size_t)random() % (length - least + 1);
    for (size_t at = 0; at < end; at += SECTOR) {
        size_t part = end - at < SECTOR ? end - at : SECTOR;
        size_t known = file->length > at ? file->length - at : 0;

        if (random() % 2)
            continue;
        memset(data + at, 0, part);
        if (known)
            memcpy(data + at, file->data + at, known < part ? known : part);
    }
    if (syscall(SYS_pwrite64, fd, data, end, 0L) != (long)end ||
        syscall(SYS_ftruncate, fd, (long)end) != 0)
        abort();
    free(data);
}

static void for_each_file(void (*visit)(int fd))
{
    static const char *const names[] = {"disk0.qcow2", "disk0.raw", "disk0.ledger"};

    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        AUTO_FREE char *path = path_join(dying_folder, names[i]);
        AUTO_CLOSE int fd = open(path, O_RDWR | O_CLOEXEC);

        if (fd >= 0)
            visit(fd);
    }
}

static void lose_power(void)
{
    calls_left = -1;
    for_each_file(mix);
    _exit(POWER_LOST);
}

static void count_call(void)
{
    if (calls_left >= 0 && calls_left-- == 0)
        lose_power();
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset);
ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset)
{
    count_call();
    return syscall(SYS_pwrite64, fd, data, length, offset);
}

int ftruncate64(int fd, off64_t length);
int ftruncate64(int fd, off64_t length)
{
    count_call();
    return (int)syscall(SYS_ftruncate, fd, length);
}

static void sync_file(int fd)
{
    count_call();
    if (calls_left >= 0)
        remember(fd);
}

/* Of images. */
int fsync(int fd)
{
    void (*meanwhile)(void) = during_sync;

    sync_file(fd);
    during_sync = NULL;
    if (meanwhile)
        meanwhile();
    during_sync = meanwhile;
    return 0;
}

/* Of ledgers, which are locked meanwhile. */
int fdatasync(int fildes)
{
    sync_file(fildes);
    return 0;
}

/* --- a disk that is received ------------------------------------------------------------------ */

struct fixture {
    char pool[64];
    char *folder, *base;
    struct receiver_options options;
    uint8_t disk_id[32];
    struct receiver *receiver;
    uint8_t content[CHUNKS]; /* 0: zero */
    struct error err;
};

static struct fixture fixture;

/* Written by the child: what was committed and not touched since. */
static struct {
    bool is_safe[CHUNKS];
    uint8_t content[CHUNKS];
} * shared;
static bool is_known[CHUNKS];     /* safe when this child began, or sent by it */
static bool is_untouched[CHUNKS]; /* of these, since the last seal */

static size_t length_of(uint64_t index)
{
    return (size_t)min_u64(CHUNK_SIZE, DISK_SIZE - index * CHUNK_SIZE);
}

/* Few contents, so that what comes is often what was. */
static uint8_t some_content(void)
{
    return (uint8_t)(random() % 4);
}

static void name_content(uint64_t index, uint8_t content, struct chunk_name *name)
{
    static uint8_t chunk[CHUNK_SIZE];

    memset(chunk, content, sizeof(chunk));
    chunk_name_compute(chunk, length_of(index), name);
}

static int send_chunk(uint64_t index)
{
    static uint8_t chunk[CHUNK_SIZE];
    struct chunk_name name;
    uint8_t wanted;

    if (fixture.content[index] == 0)
        return receiver_run(fixture.receiver, index, 1, CHUNK_ZERO, &fixture.err);
    name_content(index, fixture.content[index], &name);
    if (receiver_offer(fixture.receiver, index, 1, &name, &wanted, &fixture.err) != 0)
        return -1;
    memset(chunk, fixture.content[index], sizeof(chunk));
    return wanted ? receiver_store(fixture.receiver, index, 1, &name, chunk, length_of(index),
                                   &fixture.err)
                  : 0;
}

static void change_some(void)
{
    for (unsigned i = 0; i < 4; i++) {
        uint64_t index = (uint64_t)random() % CHUNKS;

        shared->is_safe[index] = is_untouched[index] = false;
        is_known[index] = true;
        shared->content[index] = fixture.content[index] = some_content();
        if (send_chunk(index) != 0)
            abort();
    }
}

static void receive_until_power_is_lost(long calls)
{
    dying_folder = fixture.folder;
    for_each_file(remember); /* what the last loss left is all there is */
    calls_left = calls;
    memcpy(is_known, shared->is_safe, sizeof(is_known));
    fixture.receiver = receiver_open(&fixture.options, &fixture.err);
    if (!fixture.receiver)
        abort();
    for (;;) {
        for (unsigned i = 0; i < 3; i++)
            change_some();
        receiver_seal(fixture.receiver);
        memcpy(is_untouched, is_known, sizeof(is_known));
        during_sync = change_some;
        if (receiver_commit(fixture.receiver, &fixture.err) != 0)
            abort();
        during_sync = NULL;
        memcpy(shared->is_safe, is_untouched, sizeof(is_untouched));
    }
}

static void lose_power_once(unsigned seed)
{
    pid_t child = fork();
    int status;

    if (child == 0) {
        srandom(seed);
        receive_until_power_is_lost(random() % 120);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), POWER_LOST);
}

static void open_receiver(void)
{
    fixture.receiver = receiver_open(&fixture.options, &fixture.err);
    if (!fixture.receiver)
        fail_msg("%s", fixture.err.text);
}

/* What was told to be safe does not have to be sent again. */
static void assert_safe(unsigned seed)
{
    for (uint64_t i = 0; i < CHUNKS; i++) {
        struct chunk_name name;
        uint8_t wanted;

        if (!shared->is_safe[i] || shared->content[i] == 0)
            continue;
        name_content(i, shared->content[i], &name);
        if (receiver_offer(fixture.receiver, i, 1, &name, &wanted, &fixture.err) != 0 || wanted)
            fail_msg("disk %u: chunk %llu was safe and is wanted", seed, (unsigned long long)i);
    }
}

static void send_all(void)
{
    for (uint64_t i = 0; i < CHUNKS; i++) {
        fixture.content[i] = some_content();
        if (send_chunk(i) != 0)
            fail_msg("%s", fixture.err.text);
    }
    if (receiver_finish(fixture.receiver, 1, &fixture.err) != 0)
        fail_msg("%s", fixture.err.text);
    receiver_close(fixture.receiver);
}

static void assert_image(unsigned seed)
{
    AUTO_FREE char *path =
        text_format("%s/disk0.%s", fixture.options.folder, fixture.options.format);
    struct image_open_options options = {.format = fixture.options.format,
                                         .backing_folder = fixture.pool};
    AUTO_PTR(image) image = image_open(path, &options, &fixture.err);
    static uint8_t chunk[CHUNK_SIZE], expected[CHUNK_SIZE];

    if (!image)
        fail_msg("%s", fixture.err.text);
    for (uint64_t i = 0; i < CHUNKS; i++) {
        memset(expected, fixture.content[i], sizeof(expected));
        assert_int_equal(
            block_source_read(&image->source, i * CHUNK_SIZE, chunk, length_of(i), NULL), 0);
        if (memcmp(chunk, expected, length_of(i)) != 0)
            fail_msg("disk %u: chunk %llu is not what was sent", seed, (unsigned long long)i);
    }
}

static void receive_with_losses(const char *format, bool is_update)
{
    for (unsigned disk = 0; disk < DISKS; disk++) {
        assert_int_equal(folder_remove(AT_FDCWD, fixture.folder, NULL), 0);
        assert_int_equal(mkdir(fixture.folder, 0700), 0);
        fixture.options.folder = fixture.folder;
        fixture.options.format = format;
        fixture.options.base_folder = is_update ? fixture.base : NULL;
        srandom(disk);
        memset(fixture.content, 0, sizeof(fixture.content));
        memset(shared, 0, sizeof(*shared));
        for (unsigned loss = 0; loss < LOSSES; loss++)
            lose_power_once(disk * LOSSES + loss);
        open_receiver();
        assert_safe(disk);
        send_all();
        assert_image(disk);
    }
}

static void make_base(void)
{
    assert_int_equal(mkdir(fixture.base, 0700), 0);
    fixture.options.folder = fixture.base;
    fixture.options.format = "qcow2";
    open_receiver();
    send_all();
}

static int set_up(void **state)
{
    (void)state;
    snprintf(fixture.pool, sizeof(fixture.pool), "%s/rehost-power-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(fixture.pool));
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(shared != MAP_FAILED);
    fixture.folder = path_join(fixture.pool, "web.update");
    fixture.base = path_join(fixture.pool, "web");
    fixture.options = (struct receiver_options){
        .size_bytes = DISK_SIZE, .disk_id = fixture.disk_id, .source = "sda"};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    assert_int_equal(folder_remove(AT_FDCWD, fixture.pool, NULL), 0);
    munmap(shared, sizeof(*shared));
    free(fixture.folder);
    free(fixture.base);
    return 0;
}

static void test_power_losses_cost_a_qcow2_disk_nothing_that_was_claimed(void **state)
{
    (void)state;
    receive_with_losses("qcow2", false);
}

static void test_power_losses_cost_a_raw_disk_nothing_that_was_claimed(void **state)
{
    (void)state;
    receive_with_losses("raw", false);
}

static void test_power_losses_cost_an_update_nothing_that_was_claimed(void **state)
{
    (void)state;
    make_base();
    receive_with_losses("qcow2", true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_power_losses_cost_a_qcow2_disk_nothing_that_was_claimed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_power_losses_cost_a_raw_disk_nothing_that_was_claimed,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_power_losses_cost_an_update_nothing_that_was_claimed,
                                        set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
