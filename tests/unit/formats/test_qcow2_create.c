/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * New qcow2 images: frames beside whole clusters, refcounts computed at the end, the order of
 * writing, overlays.
 */
#include "formats/qcow2.h"
#include "tests/unit/formats/qcow2_fixture.h"

#include <pthread.h>
#include <zlib.h>
#include <zstd.h>

#define CLUSTER ((size_t)65536)
#define SIZE ((uint64_t)200 * CLUSTER)

static struct image *create(struct folder *folder, enum image_compression compression)
{
    struct image_create_options options = {
        .format = "qcow2", .size_bytes = SIZE, .compression = compression};
    struct image *image = image_create(folder->file, &options, &folder->err);

    if (!image)
        fail_msg("%s", folder->err.text);
    return image;
}

/* Content that compresses to about a third, different for each index. */
static void fill(uint8_t *cluster, unsigned index)
{
    srandom(index + 1);
    for (size_t i = 0; i < CLUSTER; i++)
        cluster[i] = i % 3 ? (uint8_t)index : (uint8_t)random();
}

static size_t compress_frame(enum image_compression compression, const uint8_t *cluster,
                             uint8_t *frame)
{
    z_stream stream = {.next_in = (Bytef *)(uintptr_t)cluster,
                       .avail_in = CLUSTER,
                       .next_out = frame,
                       .avail_out = CLUSTER};

    if (compression == IMAGE_COMPRESSION_ZSTD)
        return ZSTD_compress(frame, CLUSTER, cluster, CLUSTER, 1);
    deflateInit2(&stream, 6, Z_DEFLATED, -12, 8, Z_DEFAULT_STRATEGY);
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    deflateEnd(&stream);
    return stream.total_out;
}

static void assert_cluster_is(struct folder *folder, const struct image *image, unsigned index,
                              const uint8_t *expected)
{
    AUTO_FREE uint8_t *got = malloc(CLUSTER);

    assert_ok(folder,
              block_source_read(&image->source, index * CLUSTER, got, CLUSTER, &folder->err));
    assert_memory_equal(got, expected, CLUSTER);
    memset(got, 0, CLUSTER);
    assert_ok(folder,
              block_source_read(&image->source, index * CLUSTER + 777, got, 1000, &folder->err));
    assert_memory_equal(got, expected + 777, 1000);
}

/* Every third cluster plain, every seventh left out, the rest as frames. */
static void write_mixed(struct folder *folder, struct image *image,
                        enum image_compression compression)
{
    AUTO_FREE uint8_t *cluster = malloc(CLUSTER);
    AUTO_FREE uint8_t *frame = malloc(CLUSTER);

    for (unsigned i = 0; i < SIZE / CLUSTER; i++) {
        fill(cluster, i);
        if (i % 7 == 0)
            continue;
        if (i % 3 == 0)
            assert_ok(folder, image_write(image, i * CLUSTER, cluster, CLUSTER, &folder->err));
        else
            assert_ok(folder,
                      image_write_frame(image, i * CLUSTER, frame,
                                        compress_frame(compression, cluster, frame), &folder->err));
    }
}

static void test_qcow2_frames_and_clusters_are_read_back(void **state)
{
    struct folder *folder = *state;
    AUTO_FREE uint8_t *cluster = malloc(CLUSTER);

    for (int c = IMAGE_COMPRESSION_ZLIB; c <= IMAGE_COMPRESSION_ZSTD; c++) {
        struct image *image = create(folder, (enum image_compression)c);

        write_mixed(folder, image, (enum image_compression)c);
        assert_ok(folder, image_finish(image, &folder->err));
        image_close(image);
        check_refcounts(folder->file);
        image = folder_open(folder, false);
        assert_non_null(image);
        for (unsigned i = 0; i < SIZE / CLUSTER; i++) {
            fill(cluster, i);
            if (i % 7 == 0)
                memset(cluster, 0, CLUSTER);
            assert_cluster_is(folder, image, i, cluster);
        }
        image_close(image);
        unlink(folder->file);
    }
}

struct reader {
    const struct image *image;
    unsigned start;
    struct error err;
    int result;
};

/* Small reads, clusters in another order for each thread. */
static void *read_frames(void *argument)
{
    struct reader *reader = argument;
    AUTO_FREE uint8_t *got = malloc(CLUSTER);

    for (unsigned i = 0; i < SIZE / CLUSTER && reader->result == 0; i++) {
        unsigned index = (reader->start + i) % (unsigned)(SIZE / CLUSTER);

        for (size_t at = 0; at < CLUSTER && reader->result == 0; at += CLUSTER / 4)
            reader->result = block_source_read(&reader->image->source, index * CLUSTER + at,
                                               got + at, CLUSTER / 4, &reader->err);
        /* Every third byte is random, those between tell which cluster it is. */
        for (size_t at = 1; at < CLUSTER && reader->result == 0; at += 3)
            reader->result = got[at] == (index % 7 ? (uint8_t)index : 0) ? 0 : -1;
    }
    return NULL;
}

static void test_qcow2_frames_are_read_by_threads_at_once(void **state)
{
    struct folder *folder = *state;
    struct reader readers[4];
    pthread_t threads[4];

    for (int c = IMAGE_COMPRESSION_ZLIB; c <= IMAGE_COMPRESSION_ZSTD; c++) {
        struct image *image = create(folder, (enum image_compression)c);

        write_mixed(folder, image, (enum image_compression)c);
        assert_ok(folder, image_finish(image, &folder->err));
        image_close(image);
        image = folder_open(folder, false);
        assert_non_null(image);
        for (unsigned i = 0; i < 4; i++) {
            readers[i] = (struct reader){.image = image, .start = i * 40 / 3 * 3};
            assert_int_equal(pthread_create(&threads[i], NULL, read_frames, &readers[i]), 0);
        }
        for (unsigned i = 0; i < 4; i++) {
            pthread_join(threads[i], NULL);
            assert_int_equal(readers[i].result, 0);
        }
        image_close(image);
        unlink(folder->file);
    }
}

static void test_qcow2_clusters_written_twice_are_counted_once(void **state)
{
    struct folder *folder = *state;
    AUTO_FREE uint8_t *cluster = malloc(CLUSTER);
    struct image *image = create(folder, IMAGE_COMPRESSION_ZSTD);

    write_mixed(folder, image, IMAGE_COMPRESSION_ZSTD);
    fill(cluster, 1000);
    for (unsigned i = 0; i < SIZE / CLUSTER; i += 5) /* over frames, clusters and nothing */
        assert_ok(folder, image_write(image, i * CLUSTER, cluster, CLUSTER, &folder->err));
    assert_ok(folder, image_write_zeroes(image, 50 * CLUSTER, 20 * CLUSTER, &folder->err));
    assert_ok(folder, image_write(image, 60 * CLUSTER + 5, cluster, 10, &folder->err));
    write_mixed(folder, image, IMAGE_COMPRESSION_ZSTD);
    assert_ok(folder, image_finish(image, &folder->err));
    image_close(image);
    check_refcounts(folder->file);
    image = folder_open(folder, false);
    assert_non_null(image);
    memset(cluster, 0, CLUSTER);
    assert_cluster_is(folder, image, 63, cluster);
    fill(cluster, 1000);
    assert_cluster_is(folder, image, 105, cluster);
    fill(cluster, 64);
    assert_cluster_is(folder, image, 64, cluster);
    image_close(image);
}

static void test_qcow2_in_place_writes_give_up_frames(void **state)
{
    struct folder *folder = *state;
    AUTO_FREE uint8_t *cluster = malloc(CLUSTER);
    struct image *image = create(folder, IMAGE_COMPRESSION_ZLIB);

    write_mixed(folder, image, IMAGE_COMPRESSION_ZLIB);
    assert_ok(folder, image_finish(image, &folder->err));
    image_close(image);
    image = folder_open(folder, true);
    assert_non_null(image);
    for (unsigned i = 1; i < SIZE / CLUSTER; i += 2)
        assert_ok(folder, image_write(image, i * CLUSTER + 100, "change", 6, &folder->err));
    assert_int_equal(image_write_frame(image, 0, "x", 1, &folder->err), -1);
    assert_int_equal(folder->err.errnum, ENOTSUP);
    image_close(image);
    check_refcounts(folder->file);
    image = folder_open(folder, false);
    assert_non_null(image);
    for (unsigned i = 1; i < SIZE / CLUSTER; i += 2) {
        fill(cluster, i);
        if (i % 7 == 0)
            memset(cluster, 0, CLUSTER);
        memcpy(cluster + 100, "change", 6);
        assert_cluster_is(folder, image, i, cluster);
    }
    image_close(image);
}

static void test_qcow2_frames_of_impossible_size_are_refused(void **state)
{
    struct folder *folder = *state;
    AUTO_FREE uint8_t *frame = calloc(1, CLUSTER);
    AUTO_PTR(image) image = create(folder, IMAGE_COMPRESSION_ZSTD);

    assert_int_equal(image_write_frame(image, 0, frame, 0, &folder->err), -1);
    assert_int_equal(image_write_frame(image, 0, frame, CLUSTER, &folder->err), -1);
    assert_int_equal(image_write_frame(image, 512, frame, 100, &folder->err), -1);
    assert_int_equal(image_write_frame(image, SIZE, frame, 100, &folder->err), -1);
}

static void test_qcow2_a_damaged_frame_is_an_error_not_content(void **state)
{
    struct folder *folder = *state;
    AUTO_FREE uint8_t *buffer = calloc(1, CLUSTER);

    for (int c = IMAGE_COMPRESSION_ZLIB; c <= IMAGE_COMPRESSION_ZSTD; c++) {
        struct image *image = create(folder, (enum image_compression)c);

        memset(buffer, 0xee, CLUSTER);
        assert_ok(folder, image_write_frame(image, 0, buffer, 3000, &folder->err));
        assert_ok(folder, image_finish(image, &folder->err));
        image_close(image);
        image = folder_open(folder, false);
        assert_non_null(image);
        assert_int_equal(block_source_read(&image->source, 0, buffer, CLUSTER, &folder->err), -1);
        assert_non_null(strstr(folder->err.text, "damaged"));
        assert_int_equal(block_source_read(&image->source, 9, buffer, 10, &folder->err), -1);
        image_close(image);
        unlink(folder->file);
    }
}

static void test_qcow2_a_new_file_holds_no_more_than_was_written(void **state)
{
    struct folder *folder = *state;
    AUTO_FREE uint8_t *data = malloc(64 * CLUSTER);
    struct image *image = create(folder, IMAGE_COMPRESSION_NONE);
    struct stat status;

    memset(data, 1, 64 * CLUSTER);
    assert_ok(folder, image_write(image, 3 * CLUSTER, data, 64 * CLUSTER, &folder->err));
    assert_ok(folder, image_write_zeroes(image, 100 * CLUSTER + 7, 1000, &folder->err));
    assert_ok(folder, image_write_zeroes(image, 120 * CLUSTER - 7, 3 * CLUSTER, &folder->err));
    assert_ok(folder, image_finish(image, &folder->err));
    image_close(image);
    assert_int_equal(stat(folder->file, &status), 0);
    /* header, L2 table, L1 table, refcount block and table */
    assert_int_equal(status.st_size, (64 + 5) * CLUSTER);
}

static void test_qcow2_the_header_is_the_last_thing_written(void **state)
{
    struct folder *folder = *state;
    struct image *image = create(folder, IMAGE_COMPRESSION_NONE);
    uint8_t head[8];
    int fd;

    assert_ok(folder, image_write(image, 0, "data", 4, &folder->err));
    fd = open(folder->file, O_RDONLY | O_CLOEXEC);
    assert_int_equal(pread(fd, head, 8, 0), 8);
    assert_int_equal(load_be32(head + 4), QCOW2_VERSION_UNFINISHED);
    assert_ok(folder, image_finish(image, &folder->err));
    assert_int_equal(pread(fd, head, 8, 0), 8);
    assert_int_equal(load_be32(head + 4), 3);
    close(fd);
    assert_int_equal(image_write(image, 0, "data", 4, &folder->err), -1);
    image_close(image);
}

/* Ranges 8 GiB apart meet in one place of the cache of L2 tables. */
static void write_far_apart(struct folder *folder, struct image *image, unsigned seed)
{
    for (unsigned i = 0; i < 64; i++) {
        uint64_t at = i % 4 * ((uint64_t)8 << 30) + i / 4 * CLUSTER;
        uint8_t byte = (uint8_t)(i + seed);

        assert_ok(folder, image_write(image, at, &byte, 1, &folder->err));
    }
}

static void check_far_apart(struct folder *folder, const struct image *image, unsigned seed)
{
    for (unsigned i = 0; i < 64; i++) {
        uint64_t at = i % 4 * ((uint64_t)8 << 30) + i / 4 * CLUSTER;
        uint8_t byte = 0;

        assert_ok(folder, block_source_read(&image->source, at, &byte, 1, &folder->err));
        assert_int_equal(byte, (uint8_t)(i + seed));
    }
}

static void test_qcow2_mapping_is_kept_beyond_the_cache(void **state)
{
    struct folder *folder = *state;
    struct image_create_options options = {.format = "qcow2", .size_bytes = (uint64_t)32 << 30};
    struct image *image = image_create(folder->file, &options, &folder->err);

    assert_non_null(image);
    write_far_apart(folder, image, 1);
    check_far_apart(folder, image, 1);
    assert_ok(folder, image_finish(image, &folder->err));
    image_close(image);
    check_refcounts(folder->file);
    image = folder_open(folder, true);
    assert_non_null(image);
    check_far_apart(folder, image, 1);
    write_far_apart(folder, image, 100);
    image_close(image);
    check_refcounts(folder->file);
    image = folder_open(folder, false);
    assert_non_null(image);
    check_far_apart(folder, image, 100);
    image_close(image);
}

static void test_qcow2_overlays_need_a_plain_name_and_a_format(void **state)
{
    struct folder *folder = *state;
    struct image_create_options options = {
        .format = "qcow2", .size_bytes = SIZE, .backing_path = "base.raw"};
    char long_name[1100];

    assert_null(image_create(folder->file, &options, &folder->err));
    assert_non_null(strstr(folder->err.text, "format"));
    options.backing_format = "raw";
    options.backing_path = "nbd:host";
    assert_null(image_create(folder->file, &options, &folder->err));
    memset(long_name, 'x', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = '\0';
    options.backing_path = long_name;
    assert_null(image_create(folder->file, &options, &folder->err));
    assert_int_equal(access(folder->file, F_OK), -1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_set_up, folder_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_qcow2_frames_and_clusters_are_read_back),
        TEST(test_qcow2_frames_are_read_by_threads_at_once),
        TEST(test_qcow2_clusters_written_twice_are_counted_once),
        TEST(test_qcow2_in_place_writes_give_up_frames),
        TEST(test_qcow2_frames_of_impossible_size_are_refused),
        TEST(test_qcow2_a_damaged_frame_is_an_error_not_content),
        TEST(test_qcow2_a_new_file_holds_no_more_than_was_written),
        TEST(test_qcow2_the_header_is_the_last_thing_written),
        TEST(test_qcow2_mapping_is_kept_beyond_the_cache),
        TEST(test_qcow2_overlays_need_a_plain_name_and_a_format),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
