/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What fixers write to an overlay arrives in the disk and in its manifest, and only that.
 */
#include "base/bytes.h"
#include "base/own.h"
#include "base/text.h"
#include "formats/image.h"
#include "p2v/fix_disks.h"
#include "p2v/machine.h"
#include "p2v/overlay.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define CHUNK ((uint64_t)CHUNK_SIZE)
#define DISK_SIZE (40 * MIB + 512) /* more than one batch, and a short last chunk */

struct fixture {
    char folder[64];
    char *base;
    const char *format;
    struct fix_disks disks;
    struct manifest manifest;
    struct error err;
    uint8_t before[CHUNK_SIZE], buffer[CHUNK_SIZE];
};

static void make_base(struct fixture *fixture)
{
    struct image_create_options options = {.format = fixture->format, .size_bytes = DISK_SIZE};
    AUTO_PTR(image) image = image_create(fixture->base, &options, NULL);
    assert_non_null(image);
    memset(fixture->before, 'b', sizeof(fixture->before));
    assert_int_equal(image_write(image, CHUNK, fixture->before, CHUNK, NULL), 0);
    assert_int_equal(image_write(image, 2 * CHUNK, fixture->before, CHUNK, NULL), 0);
    assert_int_equal(image_finish(image, NULL), 0);
}

static void start(struct fixture *fixture, const char *format)
{
    *fixture = (struct fixture){.folder = "/tmp/rehost-test.XXXXXX", .format = format};
    assert_non_null(mkdtemp(fixture->folder));
    fixture->base = path_join(fixture->folder, "disk0");
    make_base(fixture);
    struct chunk_name name;
    chunk_name_compute(fixture->before, CHUNK, &name);
    assert_int_equal(manifest_init(&fixture->manifest, DISK_SIZE, NULL), 0);
    manifest_set(&fixture->manifest, 1, CHUNK_DATA, &name);
    manifest_set(&fixture->manifest, 2, CHUNK_DATA, &name);
    if (fix_disks_add(&fixture->disks, fixture->folder, "disk0", format, NULL, &fixture->err) != 0)
        fail_msg("%s", fixture->err.text);
}

static void stop(struct fixture *fixture)
{
    fix_disks_fini(&fixture->disks);
    manifest_fini(&fixture->manifest);
    free(fixture->base);
    assert_int_equal(folder_remove(AT_FDCWD, fixture->folder, NULL), 0);
}

static void write_overlay(const struct fixture *fixture, uint64_t offset, char byte, size_t length)
{
    struct image_open_options options = {
        .format = "qcow2", .is_writable = true, .backing_folder = fixture->folder};
    AUTO_PTR(image) image = image_open(fixture->disks.items[0].overlay_path, &options, NULL);
    AUTO_FREE char *data = malloc(length);
    assert_non_null(image);
    memset(data, byte, length);
    assert_int_equal(image_write(image, offset, data, length, NULL), 0);
    assert_int_equal(image_finish(image, NULL), 0);
}

static void read_base(struct fixture *fixture, uint64_t offset, size_t length)
{
    struct image_open_options options = {.format = fixture->format};
    AUTO_PTR(image) image = image_open(fixture->base, &options, NULL);
    assert_non_null(image);
    assert_int_equal(block_source_read(&image->source, offset, fixture->buffer, length, NULL), 0);
}

static void test_overlay_commit_writes_what_changed(void **state)
{
    static const char *const formats[] = {"raw", "qcow2"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(formats); i++) {
        struct fixture fixture;
        struct chunk_name name;
        uint64_t changed;
        start(&fixture, formats[i]);
        write_overlay(&fixture, CHUNK + 100, 'n', 50);    /* inside a chunk */
        write_overlay(&fixture, 2 * CHUNK, 0, CHUNK);     /* becomes zero */
        write_overlay(&fixture, 20 * MIB, 'm', 18 * MIB); /* more than a batch */
        write_overlay(&fixture, 40 * MIB, 'e', 512);      /* the short last chunk */
        assert_int_equal(
            fix_disks_commit(&fixture.disks, 0, &fixture.manifest, &changed, &fixture.err), 0);
        assert_int_equal(changed, 2 * CHUNK + 18 * MIB + 512);
        memset(fixture.before + 100, 'n', 50);
        read_base(&fixture, CHUNK, CHUNK);
        assert_memory_equal(fixture.buffer, fixture.before, CHUNK);
        chunk_name_compute(fixture.before, CHUNK, &name);
        assert_memory_equal(manifest_name(&fixture.manifest, 1), &name, sizeof(name));
        read_base(&fixture, 2 * CHUNK, CHUNK);
        assert_true(bytes_are_zero(fixture.buffer, CHUNK));
        assert_int_equal(manifest_state(&fixture.manifest, 2), CHUNK_ZERO);
        read_base(&fixture, 37 * MIB, CHUNK);
        assert_int_equal(fixture.buffer[CHUNK - 1], 'm');
        assert_int_equal(manifest_state(&fixture.manifest, 37 * MIB / CHUNK), CHUNK_DATA);
        read_base(&fixture, 40 * MIB, 512);
        assert_int_equal(fixture.buffer[511], 'e');
        assert_int_equal(fixture.manifest.change_count, 2 + 18 * MIB / CHUNK + 1);
        assert_int_equal(fixture.manifest.changes[0].state, CHUNK_DATA);
        stop(&fixture);
    }
}

static void test_overlay_commit_of_the_same_bytes_changes_nothing(void **state)
{
    (void)state;
    struct fixture fixture;
    uint64_t changed = 1;
    start(&fixture, "qcow2");
    write_overlay(&fixture, CHUNK, 'b', CHUNK);
    write_overlay(&fixture, 10 * CHUNK, 0, CHUNK);
    assert_int_equal(fix_disks_commit(&fixture.disks, 0, &fixture.manifest, &changed, NULL), 0);
    assert_int_equal(changed, 0);
    assert_int_equal(fixture.manifest.change_count, 0);
    stop(&fixture);
}

static void test_overlay_leaves_its_base_alone_until_it_is_committed(void **state)
{
    (void)state;
    struct fixture fixture;
    start(&fixture, "qcow2");
    write_overlay(&fixture, CHUNK, 'n', CHUNK);
    read_base(&fixture, CHUNK, CHUNK);
    assert_memory_equal(fixture.buffer, fixture.before, CHUNK);
    AUTO_FREE char *overlay = text_copy(fixture.disks.items[0].overlay_path);
    assert_int_equal(access(overlay, F_OK), 0);
    fix_disks_fini(&fixture.disks);
    assert_int_equal(access(overlay, F_OK), -1);
    stop(&fixture);
}

static void test_fix_disks_keep_gives_the_overlay_a_name(void **state)
{
    (void)state;
    struct fixture fixture;
    start(&fixture, "raw");
    AUTO_FREE char *path = path_join(fixture.folder, "disk0.fixed.qcow2");
    assert_int_equal(fix_disks_keep(&fixture.disks, 0, path, NULL), 0); /* nothing in it */
    assert_int_equal(access(path, F_OK), -1);
    write_overlay(&fixture, CHUNK, 'n', 10);
    assert_int_equal(fix_disks_keep(&fixture.disks, 0, path, NULL), 1);
    struct image_open_options options = {.format = "qcow2", .backing_folder = fixture.folder};
    AUTO_PTR(image) image = image_open(path, &options, NULL);
    assert_non_null(image);
    assert_int_equal(block_source_read(&image->source, CHUNK, fixture.buffer, CHUNK, NULL), 0);
    assert_int_equal(fixture.buffer[0], 'n');
    assert_int_equal(fixture.buffer[10], 'b');
    stop(&fixture);
}

static void test_fix_disks_add_elsewhere_names_its_base_absolutely(void **state)
{
    (void)state;
    struct fixture fixture;
    struct fix_disks elsewhere = {.count = 0};
    char other[] = "/tmp/rehost-test.XXXXXX";
    assert_non_null(mkdtemp(other));
    start(&fixture, "raw");
    assert_int_equal(fix_disks_add(&elsewhere, fixture.folder, "disk0", "raw", other, NULL), 0);
    assert_string_equal(elsewhere.items[0].base_name, fixture.base);
    assert_int_equal(strncmp(elsewhere.items[0].overlay_path, other, strlen(other)), 0);
    fix_disks_fini(&elsewhere);
    assert_int_equal(rmdir(other), 0); /* nothing is left in it */
    stop(&fixture);
}

/* Killed between the seal and the end of the commit: the next run finds all it needs. */
static void test_fix_disks_sealed_survive_their_process(void **state)
{
    (void)state;
    struct fixture fixture;
    struct fix_disks next = {.count = 0};
    uint64_t changed;
    start(&fixture, "qcow2");
    write_overlay(&fixture, CHUNK, 'n', CHUNK);
    assert_false(fix_disks_are_sealed(fixture.folder, "disk0"));
    assert_int_equal(fix_disks_seal(&fixture.disks, NULL), 0);
    assert_int_equal(fix_disks_commit(&fixture.disks, 0, NULL, &changed, NULL), 0);
    fix_disks_fini(&fixture.disks); /* without finish: as if killed */
    assert_true(fix_disks_are_sealed(fixture.folder, "disk0"));

    assert_int_equal(fix_disks_attach(&next, fixture.folder, "disk0", "qcow2", NULL), 1);
    assert_int_equal(fix_disks_commit(&next, 0, &fixture.manifest, &changed, &fixture.err), 0);
    fix_disks_finish(&next);
    fix_disks_fini(&next);
    assert_false(fix_disks_are_sealed(fixture.folder, "disk0"));
    read_base(&fixture, CHUNK, CHUNK);
    assert_int_equal(fixture.buffer[0], 'n');
    /* The bytes were there already; the manifest still learns of them. */
    struct chunk_name name;
    chunk_name_compute(fixture.buffer, CHUNK, &name);
    assert_memory_equal(manifest_name(&fixture.manifest, 1), &name, sizeof(name));
    stop(&fixture);
}

static void test_fix_disks_attach_finds_nothing_where_nothing_is(void **state)
{
    (void)state;
    struct fixture fixture;
    struct fix_disks next = {.count = 0};
    start(&fixture, "raw");
    assert_int_equal(fix_disks_attach(&next, fixture.folder, "disk0", "raw", NULL), 0);
    fix_disks_fini(&next);
    stop(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_overlay_commit_writes_what_changed),
        cmocka_unit_test(test_overlay_commit_of_the_same_bytes_changes_nothing),
        cmocka_unit_test(test_overlay_leaves_its_base_alone_until_it_is_committed),
        cmocka_unit_test(test_fix_disks_keep_gives_the_overlay_a_name),
        cmocka_unit_test(test_fix_disks_sealed_survive_their_process),
        cmocka_unit_test(test_fix_disks_attach_finds_nothing_where_nothing_is),
        cmocka_unit_test(test_fix_disks_add_elsewhere_names_its_base_absolutely),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
