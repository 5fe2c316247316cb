/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The copying engine over disks in memory: what arrives, what stays behind, what cannot be read.
 */
#include "base/bytes.h"
#include "base/own.h"
#include "base/text.h"
#include "p2v/copy.h"
#include "p2v/verify.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define CHUNK ((uint64_t)CHUNK_SIZE)

/* A disk in memory with sectors that cannot be read, and with holes that it knows of. */
struct disk {
    struct block_source source;
    uint8_t *data;
    struct extents bad, holes;
    int bad_errno;
    unsigned reads;
};

struct fixture {
    struct disk disk;
    struct extents used;
    char folder[64];
    char *path;
    struct image *target;
    struct manifest manifest;
    struct copy_job job;
    struct copy_result result;
    struct error err;
};

static int disk_read(const struct block_source *source, uint64_t offset, void *buffer,
                     size_t length, struct error *err)
{
    struct disk *disk = (struct disk *)(uintptr_t)source;
    __atomic_add_fetch(&disk->reads, 1, __ATOMIC_RELAXED);
    if (disk->bad.count && extents_touch(&disk->bad, offset, length))
        return error_set(err, disk->bad_errno, "read");
    memcpy(buffer, disk->data + offset, length);
    return 0;
}

static int disk_map(const struct block_source *source, uint64_t offset, uint64_t length,
                    struct extents *data, struct error *err)
{
    const struct disk *disk = (const struct disk *)source;
    struct extents found = {0};
    int result = extents_add(&found, offset, length, err);
    for (size_t i = 0; result == 0 && i < disk->holes.count; i++)
        result =
            extents_remove(&found, disk->holes.items[i].offset, disk->holes.items[i].length, err);
    if (result == 0)
        result = extents_add_all(data, &found, 0, err);
    extents_fini(&found);
    return result;
}

static const struct block_source_ops disk_ops = {.read = disk_read, .map = disk_map};

/* Bytes that are nowhere zero and differ from chunk to chunk. */
static void fill(uint8_t *data, uint64_t size)
{
    uint64_t value = 88172645463325252u;
    for (uint64_t i = 0; i < size; i++) {
        value ^= value << 13;
        value ^= value >> 7;
        value ^= value << 17;
        data[i] = (uint8_t)(value | 1);
    }
}

static void start(struct fixture *fixture, uint64_t size, const char *format,
                  enum image_compression compression)
{
    *fixture = (struct fixture){.folder = "/tmp/rehost-test.XXXXXX"};
    assert_non_null(mkdtemp(fixture->folder));
    fixture->path = text_format("%s/disk", fixture->folder);
    fixture->disk.source = (struct block_source){&disk_ops, size, 512};
    fixture->disk.data = malloc(size);
    fixture->disk.bad_errno = EIO;
    fill(fixture->disk.data, size);
    struct image_create_options options = {
        .format = format, .size_bytes = copy_target_size(size), .compression = compression};
    fixture->target = image_create(fixture->path, &options, &fixture->err);
    assert_non_null(fixture->target);
    assert_int_equal(manifest_init(&fixture->manifest, copy_target_size(size), NULL), 0);
    fixture->job = (struct copy_job){.source = &fixture->disk.source,
                                     .used = &fixture->used,
                                     .target = fixture->target,
                                     .manifest = &fixture->manifest,
                                     .threads = 2,
                                     .is_compressed = compression != IMAGE_COMPRESSION_NONE};
}

static void use(struct fixture *fixture, uint64_t offset, uint64_t length)
{
    assert_int_equal(extents_add(&fixture->used, offset, length, NULL), 0);
}

/* Copies, finishes, and opens the result for reading. */
static void copy(struct fixture *fixture)
{
    if (copy_disk(&fixture->job, &fixture->result, &fixture->err) != 0 ||
        image_finish(fixture->target, &fixture->err) != 0)
        fail_msg("%s", fixture->err.text);
    const char *format = fixture->target->driver->name;
    image_close(take_ptr(&fixture->target));
    struct image_open_options options = {.format = format};
    fixture->target = image_open(fixture->path, &options, &fixture->err);
    assert_non_null(fixture->target);
}

static void stop(struct fixture *fixture)
{
    image_close(fixture->target);
    unlink(fixture->path);
    rmdir(fixture->folder);
    free(fixture->path);
    free(fixture->disk.data);
    extents_fini(&fixture->disk.bad);
    extents_fini(&fixture->disk.holes);
    extents_fini(&fixture->used);
    manifest_fini(&fixture->manifest);
    copy_result_fini(&fixture->result);
}

static uint8_t *read_back(const struct fixture *fixture, uint64_t offset, uint64_t length)
{
    uint8_t *data = malloc(length);
    assert_int_equal(block_source_read(&fixture->target->source, offset, data, length, NULL), 0);
    return data;
}

static void assert_same(const struct fixture *fixture, uint64_t offset, uint64_t length)
{
    AUTO_FREE uint8_t *data = read_back(fixture, offset, length);
    assert_memory_equal(data, fixture->disk.data + offset, length);
}

static void assert_zero(const struct fixture *fixture, uint64_t offset, uint64_t length)
{
    AUTO_FREE uint8_t *data = read_back(fixture, offset, length);
    assert_true(bytes_are_zero(data, length));
}

static void assert_verified(const struct fixture *fixture)
{
    struct verify_job job = {
        .image = &fixture->target->source, .manifest = &fixture->manifest, .threads = 2};
    struct verify_result result;
    assert_int_equal(verify_image(&job, &result, NULL), 0);
    assert_int_equal(result.difference_count, 0);
    assert_int_equal(result.checked_bytes, fixture->manifest.size_bytes);
}

static void test_copy_moves_what_is_used_and_nothing_else(void **state)
{
    static const char *const formats[] = {"raw", "qcow2"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(formats); i++) {
        struct fixture fixture;
        start(&fixture, 6 * MIB, formats[i], IMAGE_COMPRESSION_NONE);
        use(&fixture, 0, 2 * MIB);
        use(&fixture, 3 * MIB, MIB + 4096);
        copy(&fixture);
        assert_same(&fixture, 0, 2 * MIB);
        assert_zero(&fixture, 2 * MIB, MIB);
        assert_same(&fixture, 3 * MIB, MIB + 4096);
        assert_zero(&fixture, 4 * MIB + 4096, 2 * MIB - 4096);
        assert_int_equal(manifest_state(&fixture.manifest, 0), CHUNK_DATA);
        assert_int_equal(manifest_state(&fixture.manifest, 2 * MIB / CHUNK), CHUNK_SKIPPED);
        assert_int_equal(fixture.result.counts.done_bytes, fixture.result.counts.total_bytes);
        assert_int_equal(fixture.result.counts.data_bytes, 3 * MIB + CHUNK);
        assert_verified(&fixture);
        stop(&fixture);
    }
}

/* Old data shares chunks with live data; it must not come along. */
static void test_copy_leaves_unused_bytes_of_a_used_chunk_behind(void **state)
{
    (void)state;
    struct fixture fixture;
    start(&fixture, 4 * CHUNK, "qcow2", IMAGE_COMPRESSION_NONE);
    use(&fixture, 4096, 4096);
    use(&fixture, 16384, 1024);
    use(&fixture, CHUNK - 512, 1024); /* over the border of two chunks */
    copy(&fixture);
    assert_zero(&fixture, 0, 4096);
    assert_same(&fixture, 4096, 4096);
    assert_zero(&fixture, 8192, 8192);
    assert_same(&fixture, 16384, 1024);
    assert_zero(&fixture, 17408, CHUNK - 512 - 17408);
    assert_same(&fixture, CHUNK - 512, 1024);
    assert_zero(&fixture, CHUNK + 512, 3 * CHUNK - 512);
    assert_int_equal(manifest_state(&fixture.manifest, 1), CHUNK_DATA);
    assert_int_equal(manifest_state(&fixture.manifest, 2), CHUNK_SKIPPED);
    assert_verified(&fixture);
    stop(&fixture);
}

static void test_copy_names_chunks_by_their_content_without_what_is_unused(void **state)
{
    (void)state;
    struct fixture fixture;
    struct chunk_name name;
    start(&fixture, 2 * CHUNK, "raw", IMAGE_COMPRESSION_NONE);
    use(&fixture, 0, CHUNK + 512);
    copy(&fixture);
    chunk_name_compute(fixture.disk.data, CHUNK, &name);
    assert_memory_equal(manifest_name(&fixture.manifest, 0), &name, sizeof(name));
    memset(fixture.disk.data + CHUNK + 512, 0, CHUNK - 512);
    chunk_name_compute(fixture.disk.data + CHUNK, CHUNK, &name);
    assert_memory_equal(manifest_name(&fixture.manifest, 1), &name, sizeof(name));
    stop(&fixture);
}

static void test_copy_finds_zeroes_and_does_not_store_them(void **state)
{
    (void)state;
    struct fixture fixture;
    start(&fixture, 3 * MIB, "qcow2", IMAGE_COMPRESSION_NONE);
    memset(fixture.disk.data + MIB, 0, MIB);
    use(&fixture, 0, 3 * MIB);
    copy(&fixture);
    assert_int_equal(fixture.result.counts.zero_bytes, MIB);
    assert_int_equal(manifest_state(&fixture.manifest, MIB / CHUNK), CHUNK_ZERO);
    assert_same(&fixture, 0, 3 * MIB);
    struct image_info info;
    image_get_info(fixture.target, &info);
    assert_true(info.allocated_bytes < 2 * MIB + MIB / 2);
    stop(&fixture);
}

static void test_copy_does_not_read_the_holes_of_its_source(void **state)
{
    (void)state;
    struct fixture fixture;
    start(&fixture, 4 * MIB, "raw", IMAGE_COMPRESSION_NONE);
    memset(fixture.disk.data + MIB, 0, 3 * MIB);
    assert_int_equal(extents_add(&fixture.disk.holes, MIB, 3 * MIB, NULL), 0);
    use(&fixture, 0, 4 * MIB);
    uint64_t estimate;
    assert_int_equal(copy_estimate(fixture.job.source, &fixture.used, &estimate, NULL), 0);
    assert_int_equal(estimate, MIB);
    copy(&fixture);
    assert_int_equal(fixture.disk.reads, 1);
    assert_int_equal(manifest_state(&fixture.manifest, 2 * MIB / CHUNK), CHUNK_ZERO);
    assert_verified(&fixture);
    stop(&fixture);
}

static void test_copy_compresses_what_shrinks(void **state)
{
    (void)state;
    struct fixture fixture;
    start(&fixture, 2 * MIB, "qcow2", IMAGE_COMPRESSION_ZSTD);
    memset(fixture.disk.data, 'x', MIB); /* shrinks; the other half is noise */
    use(&fixture, 0, 2 * MIB);
    copy(&fixture);
    assert_same(&fixture, 0, 2 * MIB);
    assert_true(fixture.result.counts.stored_bytes < MIB + MIB / 8);
    assert_verified(&fixture);
    stop(&fixture);
}

static void test_copy_pads_a_disk_that_ends_inside_a_sector(void **state)
{
    (void)state;
    struct fixture fixture;
    start(&fixture, 3 * CHUNK + 700, "qcow2", IMAGE_COMPRESSION_NONE);
    use(&fixture, 0, 3 * CHUNK + 700);
    copy(&fixture);
    assert_int_equal(fixture.target->source.size_bytes, 3 * CHUNK + 1024);
    assert_same(&fixture, 0, 3 * CHUNK + 700);
    assert_zero(&fixture, 3 * CHUNK + 700, 324);
    assert_verified(&fixture);
    stop(&fixture);
}

static void test_copy_reads_around_bad_sectors(void **state)
{
    (void)state;
    struct fixture fixture;
    start(&fixture, 2 * MIB, "qcow2", IMAGE_COMPRESSION_NONE);
    assert_int_equal(extents_add(&fixture.disk.bad, MIB + 512, 512, NULL), 0);
    assert_int_equal(extents_add(&fixture.disk.bad, MIB + 5 * 4096, 1024, NULL), 0);
    use(&fixture, 0, 2 * MIB);
    copy(&fixture);
    assert_int_equal(fixture.result.unreadable.count, 2);
    assert_int_equal(fixture.result.unreadable.items[0].offset, MIB + 512);
    assert_int_equal(fixture.result.unreadable.items[0].length, 512);
    assert_int_equal(fixture.result.unreadable.items[1].length, 1024);
    assert_int_equal(fixture.result.counts.unreadable_bytes, 1536);
    assert_same(&fixture, 0, MIB + 512);
    assert_zero(&fixture, MIB + 512, 512);
    assert_same(&fixture, MIB + 1024, 5 * 4096 - 1024);
    assert_same(&fixture, MIB + 6 * 4096, MIB - 6 * 4096);
    /* What could be read of the chunk is kept, and has a name. */
    assert_int_equal(manifest_state(&fixture.manifest, MIB / CHUNK), CHUNK_DATA);
    assert_verified(&fixture);
    stop(&fixture);
}

static void test_copy_marks_a_chunk_of_which_nothing_was_read(void **state)
{
    (void)state;
    struct fixture fixture;
    start(&fixture, 4 * CHUNK, "qcow2", IMAGE_COMPRESSION_NONE);
    assert_int_equal(extents_add(&fixture.disk.bad, CHUNK, CHUNK, NULL), 0);
    use(&fixture, 0, 4 * CHUNK);
    copy(&fixture);
    assert_int_equal(manifest_state(&fixture.manifest, 1), CHUNK_UNREADABLE);
    assert_int_equal(manifest_state(&fixture.manifest, 2), CHUNK_DATA);
    assert_zero(&fixture, CHUNK, CHUNK);
    assert_int_equal(fixture.result.counts.zero_bytes, 0);
    stop(&fixture);
}

/* A bad sector in free space is nobody's loss. */
static void test_copy_does_not_mind_bad_sectors_that_are_unused(void **state)
{
    (void)state;
    struct fixture fixture;
    start(&fixture, 2 * CHUNK, "qcow2", IMAGE_COMPRESSION_NONE);
    assert_int_equal(extents_add(&fixture.disk.bad, 8192, 4096, NULL), 0);
    use(&fixture, 0, 8192);
    use(&fixture, 12288, CHUNK);
    copy(&fixture);
    assert_int_equal(fixture.result.unreadable.count, 0);
    assert_same(&fixture, 0, 8192);
    assert_zero(&fixture, 8192, 4096);
    assert_same(&fixture, 12288, CHUNK);
    stop(&fixture);
}

static void test_copy_fails_on_errors_that_are_not_the_mediums(void **state)
{
    (void)state;
    struct fixture fixture;
    start(&fixture, 2 * MIB, "qcow2", IMAGE_COMPRESSION_NONE);
    fixture.disk.bad_errno = EBADF;
    assert_int_equal(extents_add(&fixture.disk.bad, MIB, 512, NULL), 0);
    use(&fixture, 0, 2 * MIB);
    assert_int_equal(copy_disk(&fixture.job, &fixture.result, &fixture.err), -1);
    assert_int_equal(fixture.err.errnum, EBADF);
    stop(&fixture);
}

static void test_copy_stops_when_it_is_told_to(void **state)
{
    (void)state;
    struct fixture fixture;
    atomic_bool is_stopped = true;
    start(&fixture, 2 * MIB, "qcow2", IMAGE_COMPRESSION_NONE);
    fixture.job.stop = &is_stopped;
    use(&fixture, 0, 2 * MIB);
    assert_int_equal(copy_disk(&fixture.job, &fixture.result, &fixture.err), -1);
    assert_int_equal(fixture.err.errnum, ECANCELED);
    assert_int_equal(fixture.disk.reads, 0);
    stop(&fixture);
}

static void test_copy_of_an_unused_disk_is_empty(void **state)
{
    (void)state;
    struct fixture fixture;
    start(&fixture, 2 * MIB, "qcow2", IMAGE_COMPRESSION_NONE);
    copy(&fixture);
    assert_int_equal(fixture.disk.reads, 0);
    assert_zero(&fixture, 0, 2 * MIB);
    assert_verified(&fixture);
    stop(&fixture);
}

static void test_verify_finds_a_byte_that_changed(void **state)
{
    (void)state;
    struct fixture fixture;
    struct verify_result result;
    start(&fixture, 4 * MIB, "raw", IMAGE_COMPRESSION_NONE);
    use(&fixture, 0, 2 * MIB);
    copy(&fixture);
    image_close(take_ptr(&fixture.target));
    FILE *file = fopen(fixture.path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, MIB + 5, SEEK_SET), 0);
    fputc(0, file); /* no byte was zero */
    assert_int_equal(fseek(file, 3 * MIB, SEEK_SET), 0);
    fputc(1, file); /* it was skipped */
    assert_int_equal(fclose(file), 0);
    struct image_open_options options = {.format = "raw"};
    fixture.target = image_open(fixture.path, &options, NULL);
    struct verify_job job = {.image = &fixture.target->source, .manifest = &fixture.manifest};
    assert_int_equal(verify_image(&job, &result, NULL), 0);
    assert_int_equal(result.difference_count, 2);
    assert_int_equal(result.differences[0].offset, MIB);
    assert_int_equal(result.differences[0].fault, VERIFY_CHANGED);
    assert_int_equal(result.differences[1].offset, 3 * MIB);
    assert_int_equal(result.differences[1].fault, VERIFY_NOT_ZERO);
    stop(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copy_moves_what_is_used_and_nothing_else),
        cmocka_unit_test(test_copy_leaves_unused_bytes_of_a_used_chunk_behind),
        cmocka_unit_test(test_copy_names_chunks_by_their_content_without_what_is_unused),
        cmocka_unit_test(test_copy_finds_zeroes_and_does_not_store_them),
        cmocka_unit_test(test_copy_does_not_read_the_holes_of_its_source),
        cmocka_unit_test(test_copy_compresses_what_shrinks),
        cmocka_unit_test(test_copy_pads_a_disk_that_ends_inside_a_sector),
        cmocka_unit_test(test_copy_reads_around_bad_sectors),
        cmocka_unit_test(test_copy_marks_a_chunk_of_which_nothing_was_read),
        cmocka_unit_test(test_copy_does_not_mind_bad_sectors_that_are_unused),
        cmocka_unit_test(test_copy_fails_on_errors_that_are_not_the_mediums),
        cmocka_unit_test(test_copy_stops_when_it_is_told_to),
        cmocka_unit_test(test_copy_of_an_unused_disk_is_empty),
        cmocka_unit_test(test_verify_finds_a_byte_that_changed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
