/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What was received becomes the machine, or goes into it, whatever happens on the way: the process
 * is ended at each of its writes, one after the other, and the next one has to bring it to the same
 * end.
 */
#include "base/bytes.h"
#include "base/io.h"
#include "base/text.h"
#include "formats/guest.h"
#include "formats/image.h"
#include "p2v/finish_complete.h"
#include "p2v/finish_folder.h"
#include "p2v/json.h"
#include "p2v/machine.h"
#include "p2v/overlay.h"
#include "p2v/server/pool.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* --- the end at a given write -------------------------------------------------------------------
 */

#define KILLED 77

static int writes_left = -1; /* -1: no end */

static void count_write(void)
{
    if (writes_left == 0)
        _exit(KILLED);
    if (writes_left > 0)
        writes_left--;
}

/* In place of the C library's, of which each is one step that others can see. */
#define REAL(name) ((__typeof__(&name))(uintptr_t)dlsym(RTLD_NEXT, #name))

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset)
{
    count_write();
    return REAL(pwrite64)(fd, data, length, offset);
}

int unlinkat(int fd, const char *path, int flags)
{
    count_write();
    return REAL(unlinkat)(fd, path, flags);
}

int unlink(const char *path)
{
    count_write();
    return REAL(unlink)(path);
}

int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
    count_write();
    return REAL(renameat2)(from_fd, from, to_fd, to, flags);
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    count_write();
    return REAL(renameat)(from_fd, from, to_fd, to);
}

int rename(const char *from, const char *to)
{
    count_write();
    return REAL(rename)(from, to);
}

/* --- a pool with two machines' worth of folders -------------------------------------------------
 */

#define CHUNKS 8
#define DISK_SIZE ((uint64_t)CHUNKS * CHUNK_SIZE)

struct place {
    char folder[64];
};

static int start(void **state)
{
    struct place *place = memory_new(1, sizeof(*place));
    /* Hundreds of runs, each with its syncs: in memory where there is such a place. */
    const char *parent = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(place->folder, sizeof(place->folder), "%s/rehost-test.XXXXXX", parent);
    assert_non_null(mkdtemp(place->folder));
    *state = place;
    return 0;
}

static int stop(void **state)
{
    struct place *place = *state;
    int result = folder_remove(AT_FDCWD, place->folder, NULL);
    free(place);
    return result;
}

static char *path_of(const struct place *place, const char *folder, const char *name)
{
    return text_format("%s/%s%s%s", place->folder, folder, name[0] ? "/" : "", name);
}

static int open_folder(const struct place *place, const char *folder)
{
    AUTO_FREE char *path = path_of(place, folder, "");
    mkdir(path, 0755);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static bool has(const struct place *place, const char *folder, const char *name)
{
    AUTO_FREE char *path = path_of(place, folder, name);
    return access(path, F_OK) == 0;
}

static void put(const struct place *place, const char *folder, const char *name, const char *text)
{
    AUTO_CLOSE int fd = open_folder(place, folder);
    assert_int_equal(io_replace_file(fd, name, text, strlen(text), 0644, NULL), 0);
}

static void fill(uint8_t chunk[CHUNK_SIZE], char content)
{
    memset(chunk, content == '0' ? 0 : content, CHUNK_SIZE);
}

/* A letter is a chunk of it, '0' zeroes, '.' nothing: what lies below. */
static void write_chunks(const char *path, const char *format, const char *parent,
                         const char *content)
{
    uint8_t chunk[CHUNK_SIZE];
    struct image_open_options options = {
        .format = format, .is_writable = true, .backing_folder = parent};
    AUTO_PTR(image) image = image_open(path, &options, NULL);
    assert_non_null(image);
    for (uint64_t i = 0; i < CHUNKS; i++) {
        fill(chunk, content[i]);
        if (content[i] == '0')
            assert_int_equal(image_write_zeroes(image, i * CHUNK_SIZE, CHUNK_SIZE, NULL), 0);
        else if (content[i] != '.')
            assert_int_equal(image_write(image, i * CHUNK_SIZE, chunk, CHUNK_SIZE, NULL), 0);
    }
    assert_int_equal(image_flush(image, NULL), 0);
}

static void make_image(const struct place *place, const char *folder, const char *name,
                       const char *format, const char *backing, const char *backing_format,
                       const char *content)
{
    struct error err = {0};
    AUTO_FREE char *path = path_of(place, folder, name);
    struct image_create_options options = {.format = format,
                                           .size_bytes = DISK_SIZE,
                                           .backing_path = backing,
                                           .backing_format = backing_format};
    AUTO_PTR(image) image = image_create(path, &options, &err);
    if (!image)
        fail_msg("%s", err.text);
    assert_int_equal(image_finish(image, NULL), 0);
    image_close(take_ptr(&image));
    write_chunks(path, format, place->folder, content);
}

/* Says of the disk what `content` does. */
static void make_manifest(const struct place *place, const char *folder, const char *image,
                          const char *content)
{
    AUTO(manifest) manifest = {0};
    uint8_t chunk[CHUNK_SIZE];
    struct chunk_name name;
    AUTO_CLOSE int fd = open_folder(place, folder);
    assert_int_equal(manifest_init(&manifest, DISK_SIZE, NULL), 0);
    snprintf(manifest.image, sizeof(manifest.image), "%s", image);
    for (uint64_t i = 0; i < CHUNKS; i++) {
        fill(chunk, content[i]);
        chunk_name_compute(chunk, CHUNK_SIZE, &name);
        manifest_set(&manifest, i, content[i] == '0' ? CHUNK_ZERO : CHUNK_DATA, &name);
    }
    assert_int_equal(manifest_write(&manifest, fd, "disk0.manifest", NULL), 0);
}

static void make_guest(const struct place *place, const char *folder, const char *path,
                       const char *format, uint64_t memory_bytes)
{
    AUTO_CLOSE int fd = open_folder(place, folder);
    AUTO_PTR(guest) guest = guest_new("web");
    guest->memory_bytes = memory_bytes;
    guest->disks[guest->disk_count++] = (struct guest_disk){
        .path = text_copy(path), .format = text_copy(format), .size_bytes = DISK_SIZE};
    assert_int_equal(guest_write(guest, fd, MACHINE_GUEST, NULL), 0);
}

/* --- what is to come of it ----------------------------------------------------------------------
 */

static void expect_disk(const struct place *place, const char *name, const char *format,
                        const char *content)
{
    uint8_t wanted[CHUNK_SIZE], found[CHUNK_SIZE];
    struct error err = {0};
    AUTO_FREE char *path = path_of(place, "web", name);
    struct image_open_options options = {.format = format};
    AUTO_PTR(image) image = image_open(path, &options, &err);
    if (!image)
        fail_msg("%s", err.text);
    for (uint64_t i = 0; i < CHUNKS; i++) {
        fill(wanted, content[i]);
        assert_int_equal(block_source_read(&image->source, i * CHUNK_SIZE, found, CHUNK_SIZE, NULL),
                         0);
        if (memcmp(wanted, found, CHUNK_SIZE) != 0)
            fail_msg("chunk %d is '%c', not '%c'", (int)i, found[0], content[i]);
    }
}

static enum chunk_state chunk_of(char content, struct chunk_name *name)
{
    uint8_t chunk[CHUNK_SIZE];
    *name = (struct chunk_name){{0}};
    if (content == '0')
        return CHUNK_ZERO;
    fill(chunk, content);
    chunk_name_compute(chunk, CHUNK_SIZE, name);
    return CHUNK_DATA;
}

/* What the image has, and what the source had where they differ. */
static void expect_manifest(const struct place *place, const char *image, const char *content,
                            const char *source)
{
    AUTO(manifest) manifest = {0};
    struct chunk_name name;
    size_t changes = 0;
    AUTO_CLOSE int fd = open_folder(place, "web");
    assert_int_equal(manifest_read(&manifest, fd, "disk0.manifest", NULL), 0);
    assert_string_equal(manifest.image, image);
    for (uint64_t i = 0; i < CHUNKS; i++) {
        assert_int_equal(manifest_state(&manifest, i), chunk_of(content[i], &name));
        assert_memory_equal(manifest_name(&manifest, i), &name, sizeof(name));
        if (content[i] == source[i])
            continue;
        assert_true(changes < manifest.change_count);
        const struct manifest_change *change = &manifest.changes[changes++];
        assert_int_equal(change->index, i);
        assert_int_equal(change->state, chunk_of(source[i], &name));
        assert_memory_equal(&change->name, &name, sizeof(name));
    }
    assert_int_equal(manifest.change_count, changes);
}

static void expect_files(const struct place *place, uint64_t memory_bytes)
{
    bool is_described = false;
    char digest[FINISH_STATE_SIZE];
    AUTO_CLOSE int fd = open_folder(place, "web");
    AUTO_PTR(guest) guest = guest_read(fd, MACHINE_GUEST, false, NULL);
    assert_non_null(guest);
    assert_int_equal(guest->memory_bytes, memory_bytes);
    AUTO_JSON report = json_read(fd, MACHINE_REPORT, NULL);
    const json_t *disk = json_array_get(json_object_get(report, "disks"), 0);
    assert_string_equal(json_string_value(json_object_get(disk, "is")), "new");
    assert_int_equal(json_string_length(json_object_get(disk, "digest")), 64);
    assert_int_equal(finish_base_state(fd, digest, &is_described, NULL), 0);
    assert_true(is_described);
    static const char *const gone[] = {
        FINISH_MARK,         FINISH_BASE,        POOL_RECEIVED,
        "disk0.ledger",      MACHINE_MERGE_MARK, MACHINE_DRAFT_MARK,
        "disk0.fixed.qcow2", MACHINE_BOOT_LOG,   ".disk0.qcow2.fix-commit"};
    for (size_t i = 0; i < ARRAY_LENGTH(gone); i++) {
        if (folder_has(fd, gone[i]))
            fail_msg("%s is still there", gone[i]);
    }
    assert_false(has(place, "web.update", ""));
    assert_false(has(place, "web.partial", ""));
}

/* --- killing ------------------------------------------------------------------------------------
 */

static int complete(const struct place *place, const char *folder, struct error *err)
{
    AUTO_FREE char *path = path_of(place, folder, "");
    int fd = -1;
    if (finish_folder_lock(path, true, &fd, err) != 1)
        return -1;
    return finish_complete(path, fd, NULL, err);
}

static void complete_or_fail(const struct place *place, const char *folder)
{
    struct error err = {0};
    if (complete(place, folder, &err) != 0)
        fail_msg("%s", err.text);
}

/* True when it was ended by its writes being used up. */
static bool complete_killed(const struct place *place, const char *folder, int writes)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        writes_left = writes;
        _exit(complete(place, folder, NULL) == 0 ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_not_equal(WEXITSTATUS(status), 1);
    return WEXITSTATUS(status) == KILLED;
}

/* Ends it at its first write, its second, …, each time from the beginning; then goes on. */
static void kill_everywhere(struct place *place, const char *folder,
                            void (*make)(const struct place *place),
                            void (*expect)(const struct place *place))
{
    bool is_killed = true;
    int writes;
    for (writes = 0; is_killed; writes++) {
        assert_int_equal(folder_remove(AT_FDCWD, place->folder, NULL), 0);
        assert_int_equal(mkdir(place->folder, 0700), 0);
        make(place);
        is_killed = complete_killed(place, folder, writes);
        /* Twice in a row, as a machine that loses power again does. */
        if (is_killed && has(place, folder, FINISH_MARK))
            complete_killed(place, folder, writes / 2);
        if (has(place, folder, FINISH_MARK))
            complete_or_fail(place, folder);
        /* The very end of it: hidden left-overs, which nothing takes for anything. */
        expect(place);
    }
    assert_true(writes > 20);
}

/* --- an update ----------------------------------------------------------------------------------
 */

static void make_base(const struct place *place, const char *format)
{
    AUTO_FREE char *name = text_format("disk0.%s", format);
    close(open_folder(place, "web"));
    make_image(place, "web", name, format, NULL, NULL, "abcd0000");
    make_manifest(place, "web", name, "abcd0000");
    make_guest(place, "web", name, format, 1 << 30);
    put(place, "web", MACHINE_REPORT, "{\"disks\": [{\"is\": \"old\"}]}");
    put(place, "web", MACHINE_BOOT_LOG, "an old failure");
    put(place, "web", "disk0.fixed.qcow2", "an overlay of a fix");
}

static void make_update_files(const struct place *place, const char *base_name, const char *format)
{
    make_guest(place, "web.update", base_name, format, (uint64_t)2 << 30);
    put(place, "web.update", MACHINE_REPORT, "{\"disks\": [{\"is\": \"new\"}]}");
    put(place, "web.update", MACHINE_INVENTORY, "{}");
    put(place, "web.update", POOL_RECEIVED, "{}");
    put(place, "web.update", FINISH_BASE, "x");
    put(place, "web.update", "disk0.ledger", "x");
    put(place, "web.update", MACHINE_DRAFT_MARK, "");
    put(place, "web.update", FINISH_MARK, "");
}

/* The update: one chunk other, one zero, one new; the fix changes one of those and another. */
static void make_update(const struct place *place)
{
    make_base(place, "qcow2");
    close(open_folder(place, "web.update"));
    make_image(place, "web.update", "disk0.qcow2", "qcow2", "../web/disk0.qcow2", "qcow2",
               ".B.0.F..");
    make_manifest(place, "web.update", "disk0.qcow2", "aBc00F00");
    make_image(place, "web.update", ".disk0.qcow2.fix-commit", "qcow2", "disk0.qcow2", "qcow2",
               "x....X..");
    make_update_files(place, "disk0.qcow2", "qcow2");
}

static void expect_update(const struct place *place)
{
    expect_disk(place, "disk0.qcow2", "qcow2", "xBc00X00");
    expect_manifest(place, "disk0.qcow2", "xBc00X00", "aBc00F00");
    expect_files(place, (uint64_t)2 << 30);
}

static void test_an_update_goes_into_the_machine(void **state)
{
    struct place *place = *state;
    make_update(place);
    complete_or_fail(place, "web.update");
    expect_update(place);
}

static void test_an_update_that_is_killed_anywhere_gets_to_the_same_end(void **state)
{
    kill_everywhere(*state, "web.update", make_update, expect_update);
}

static void test_an_update_goes_into_a_raw_disk(void **state)
{
    struct place *place = *state;
    make_base(place, "raw");
    close(open_folder(place, "web.update"));
    make_image(place, "web.update", "disk0.qcow2", "qcow2", "../web/disk0.raw", "raw", "0.C....H");
    make_manifest(place, "web.update", "disk0.qcow2", "0bCd000H");
    make_update_files(place, "disk0.raw", "raw");
    complete_or_fail(place, "web.update");
    expect_disk(place, "disk0.raw", "raw", "0bCd000H");
    expect_manifest(place, "disk0.raw", "0bCd000H", "0bCd000H");
    expect_files(place, (uint64_t)2 << 30);
}

static void test_a_machine_that_is_merged_into_is_no_machine_meanwhile(void **state)
{
    struct place *place = *state;
    struct machine machine;
    struct error err = {0};
    make_update(place);
    int writes = 0;
    while (!has(place, "web", MACHINE_MERGE_MARK))
        assert_true(complete_killed(place, "web.update", writes++));
    AUTO_FREE char *path = path_of(place, "web", "");
    assert_int_equal(machine_open(&machine, path, MACHINE_READ, &err), -1);
    assert_non_null(strstr(err.text, "rehost finish"));
    complete_or_fail(place, "web.update");
    assert_int_equal(machine_open(&machine, path, MACHINE_READ, &err), 0);
    machine_fini(&machine);
}

static void test_an_update_without_its_machine_is_an_error(void **state)
{
    struct place *place = *state;
    struct error err = {0};
    close(open_folder(place, "web.update"));
    make_image(place, "web.update", "disk0.qcow2", "qcow2", NULL, NULL, "abcdefgh");
    make_manifest(place, "web.update", "disk0.qcow2", "abcdefgh");
    make_update_files(place, "disk0.qcow2", "qcow2");
    assert_int_equal(complete(place, "web.update", &err), -1);
    assert_true(has(place, "web.update", "disk0.qcow2"));
}

/* --- a new machine ------------------------------------------------------------------------------
 */

static void make_partial(const struct place *place)
{
    close(open_folder(place, "web.partial"));
    make_image(place, "web.partial", "disk0.qcow2", "qcow2", NULL, NULL, "abcdef00");
    make_manifest(place, "web.partial", "disk0.qcow2", "abcdef00");
    make_image(place, "web.partial", ".disk0.qcow2.fix-commit", "qcow2", "disk0.qcow2", "qcow2",
               "A....0.Z");
    make_guest(place, "web.partial", "disk0.qcow2", "qcow2", (uint64_t)2 << 30);
    put(place, "web.partial", MACHINE_REPORT, "{\"disks\": [{\"is\": \"new\"}]}");
    put(place, "web.partial", POOL_RECEIVED, "{}");
    put(place, "web.partial", "disk0.ledger", "x");
    put(place, "web.partial", MACHINE_DRAFT_MARK, "");
    put(place, "web.partial", FINISH_MARK, "");
}

static void make_replacement(const struct place *place)
{
    make_base(place, "raw");
    put(place, "web", FINISH_UNTESTED, "");
    make_partial(place);
}

static void expect_partial(const struct place *place)
{
    /* Ended between the rename and what follows it: whoever comes next sees nothing to do. */
    AUTO_FREE char *mark = path_of(place, "web", FINISH_MARK);
    unlink(mark);
    expect_disk(place, "disk0.qcow2", "qcow2", "Abcde00Z");
    expect_manifest(place, "disk0.qcow2", "Abcde00Z", "abcdef00");
    if (has(place, "web.partial", "")) {
        /* The machine that was replaced, on its way out. */
        assert_false(has(place, "web.partial", FINISH_MARK));
        assert_false(has(place, "web.partial", POOL_RECEIVED));
        assert_false(has(place, "web.partial", FINISH_UNTESTED));
        assert_false(has(place, "web.partial", MACHINE_DRAFT_MARK));
        AUTO_FREE char *partial = path_of(place, "web.partial", "");
        assert_int_equal(folder_remove(AT_FDCWD, partial, NULL), 0);
    }
    expect_files(place, (uint64_t)2 << 30);
}

static void test_a_new_machine_that_is_killed_anywhere_gets_to_the_same_end(void **state)
{
    kill_everywhere(*state, "web.partial", make_partial, expect_partial);
}

static void test_a_machine_is_replaced_or_not_at_any_moment(void **state)
{
    kill_everywhere(*state, "web.partial", make_replacement, expect_partial);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_an_update_goes_into_the_machine, start, stop),
        cmocka_unit_test_setup_teardown(test_an_update_that_is_killed_anywhere_gets_to_the_same_end,
                                        start, stop),
        cmocka_unit_test_setup_teardown(test_an_update_goes_into_a_raw_disk, start, stop),
        cmocka_unit_test_setup_teardown(test_a_machine_that_is_merged_into_is_no_machine_meanwhile,
                                        start, stop),
        cmocka_unit_test_setup_teardown(test_an_update_without_its_machine_is_an_error, start,
                                        stop),
        cmocka_unit_test_setup_teardown(
            test_a_new_machine_that_is_killed_anywhere_gets_to_the_same_end, start, stop),
        cmocka_unit_test_setup_teardown(test_a_machine_is_replaced_or_not_at_any_moment, start,
                                        stop),
    };
    return cmocka_run_group_tests_name("finish_merge", tests, NULL, NULL);
}
