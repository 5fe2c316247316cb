/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Repairing a qcow2 image: damage of each kind, and power losses as a disk shows them, where any
 * sector written since the last sync is the old one or the new one.
 */
#include "base/io.h"
#include "tests/unit/formats/qcow2_fixture.h"

#define SECTOR 512u
#define QCOW2_OFFSETS 0x00fffffffffffe00ull
#define POWER_LOSSES 60

static void repair(struct folder *folder)
{
    assert_ok(folder, image_repair(folder->file, "qcow2", &folder->err));
}

static int refuse(struct folder *folder)
{
    return image_repair(folder->file, "qcow2", &folder->err);
}

struct bytes {
    char *data;
    size_t length;
};

static struct bytes read_file(const struct folder *folder)
{
    struct bytes bytes;

    assert_int_equal(
        io_read_file(AT_FDCWD, folder->file, (size_t)64 << 20, &bytes.data, &bytes.length, NULL),
        0);
    return bytes;
}

static void write_file(const struct folder *folder, const struct bytes *bytes)
{
    int fd = open(folder->file, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes->data, bytes->length), bytes->length);
    close(fd);
}

static void make_image(struct folder *folder, unsigned cluster_bits, uint64_t size)
{
    struct made made = made_new(cluster_bits, 4, size);

    made_store(&made, folder->file);
    free(made.bytes);
}

static void write_at(struct folder *folder, uint64_t offset, size_t length, int content)
{
    AUTO_PTR(image) image = folder_open(folder, true);
    AUTO_FREE char *data = malloc(length);

    assert_non_null(image);
    memset(data, content, length);
    assert_ok(folder, image_write(image, offset, data, length, &folder->err));
}

static void assert_reads(struct folder *folder, uint64_t offset, size_t length, int content)
{
    AUTO_PTR(image) image = folder_open(folder, false);
    AUTO_FREE char *data = malloc(length), *expected = malloc(length);

    if (!image)
        fail_msg("%s", folder->err.text);
    memset(expected, content, length);
    assert_ok(folder, block_source_read(&image->source, offset, data, length, &folder->err));
    assert_memory_equal(data, expected, length);
}

/* An image of 64 KiB clusters with its first six written, and its bytes. */
static struct bytes make_written(struct folder *folder)
{
    make_image(folder, 16, (uint64_t)8 << 20);
    write_at(folder, 0, 6 * 65536, 'a');
    return read_file(folder);
}

static uint64_t first_l2(const struct bytes *bytes)
{
    return load_be64(bytes->data + load_be64(bytes->data + 40)) & QCOW2_OFFSETS;
}

static void test_qcow2_repair_leaves_a_good_image_as_it_is(void **state)
{
    struct folder *folder = *state;
    struct bytes before = make_written(folder), after;

    repair(folder);
    after = read_file(folder);
    assert_int_equal(after.length, before.length);
    assert_memory_equal(after.data, before.data, before.length);
    free(before.data);
    free(after.data);
}

static void test_qcow2_repair_clears_entries_that_cannot_be_true(void **state)
{
    struct folder *folder = *state;
    struct bytes bytes = make_written(folder);
    uint64_t l2 = first_l2(&bytes), fourth = load_be64(bytes.data + l2 + 3 * 8);

    store_be64(bytes.data + l2, (uint64_t)1 << 63 | 0x7777777770000); /* not in the file */
    store_be64(bytes.data + l2 + 8, fourth + 512);                    /* not a cluster's */
    store_be64(bytes.data + l2 + 2 * 8, (uint64_t)1 << 63 | l2);      /* a table */
    store_be64(bytes.data + l2 + 4 * 8, fourth);                      /* another one's */
    store_be64(bytes.data + l2 + 7 * 8, fourth | (uint64_t)1 << 57);  /* reserved bits */
    write_file(folder, &bytes);
    free(bytes.data);
    repair(folder);
    check_refcounts(folder->file);
    assert_reads(folder, 0, 3 * 65536, 0);
    assert_reads(folder, 3 * 65536, 65536, 'a');
    assert_reads(folder, 4 * 65536, 65536, 0);
    assert_reads(folder, 5 * 65536, 65536, 'a');
    assert_reads(folder, 7 * 65536, 65536, 0);
}

static void test_qcow2_repair_clears_tables_that_are_not_in_the_file(void **state)
{
    struct folder *folder = *state;
    struct bytes bytes = make_written(folder);

    bytes.length = first_l2(&bytes) + 4096; /* torn inside the table */
    write_file(folder, &bytes);
    free(bytes.data);
    repair(folder);
    check_refcounts(folder->file);
    assert_reads(folder, 0, (size_t)8 << 20, 0);
    write_at(folder, 65536, 65536, 'b');
    check_refcounts(folder->file);
}

static void test_qcow2_repair_makes_refcounts_anew(void **state)
{
    struct folder *folder = *state;
    struct bytes bytes = make_written(folder);
    uint64_t block = load_be64(bytes.data + load_be64(bytes.data + 48));

    memset(bytes.data + block, 0, 65536);
    store_be64(bytes.data + load_be64(bytes.data + 48), bytes.length + 65536); /* no block */
    write_file(folder, &bytes);
    free(bytes.data);
    repair(folder);
    check_refcounts(folder->file);
    assert_reads(folder, 0, 6 * 65536, 'a');
}

static void test_qcow2_repair_marks_what_is_used_once_as_owned(void **state)
{
    struct folder *folder = *state;
    struct bytes bytes = make_written(folder), after;
    uint64_t l1 = load_be64(bytes.data + 40), l2 = first_l2(&bytes);

    store_be64(bytes.data + l1, l2);
    store_be64(bytes.data + l2, load_be64(bytes.data + l2) & QCOW2_OFFSETS);
    write_file(folder, &bytes);
    repair(folder);
    after = read_file(folder);
    assert_true(load_be64(after.data + l1) >> 63);
    assert_true(load_be64(after.data + l2) >> 63);
    free(bytes.data);
    free(after.data);
}

static void test_qcow2_repair_cuts_the_tail_off(void **state)
{
    struct folder *folder = *state;
    struct bytes bytes = make_written(folder), after;
    uint64_t block = load_be64(bytes.data + load_be64(bytes.data + 48)), used = bytes.length;

    store_be16(bytes.data + block + 2 * (used / 65536 + 3), 1); /* a leak */
    write_file(folder, &bytes);
    free(bytes.data);
    assert_int_equal(truncate(folder->file, (off_t)used + 10 * 65536), 0);
    repair(folder);
    after = read_file(folder);
    assert_int_equal(after.length, used);
    free(after.data);
    check_refcounts(folder->file);
}

static void test_qcow2_repair_clears_the_dirty_bit(void **state)
{
    struct folder *folder = *state;
    struct bytes bytes = make_written(folder);

    store_be64(bytes.data + 72, 1);
    write_file(folder, &bytes);
    free(bytes.data);
    assert_null(folder_open(folder, true));
    repair(folder);
    write_at(folder, 0, 65536, 'b');
}

static void test_qcow2_repair_keeps_zero_clusters_zero(void **state)
{
    struct folder *folder = *state;
    struct bytes bytes = make_written(folder), after;
    uint64_t l2 = first_l2(&bytes);

    store_be64(bytes.data + l2, load_be64(bytes.data + l2) | 1);
    store_be64(bytes.data + l2 + 8, 0x7777777770000 | 1);
    write_file(folder, &bytes);
    repair(folder);
    after = read_file(folder);
    assert_int_equal(load_be64(after.data + l2), load_be64(bytes.data + l2));
    assert_int_equal(load_be64(after.data + l2 + 8), 1);
    check_refcounts(folder->file);
    assert_reads(folder, 0, 2 * 65536, 0);
    free(bytes.data);
    free(after.data);
}

static void test_qcow2_repair_refuses_what_it_does_not_know(void **state)
{
    struct folder *folder = *state;
    struct bytes bytes = make_written(folder);
    uint64_t l2 = first_l2(&bytes);

    store_be32(bytes.data + 60, 1); /* snapshots */
    store_be64(bytes.data + 64, 3 * 65536);
    write_file(folder, &bytes);
    assert_int_equal(refuse(folder), -1);
    assert_non_null(strstr(folder->err.text, "snapshots"));
    store_be32(bytes.data + 60, 0);
    store_be64(bytes.data + 88, 1); /* an autoclear bit */
    write_file(folder, &bytes);
    assert_int_equal(refuse(folder), -1);
    assert_non_null(strstr(folder->err.text, "bitmaps"));
    store_be64(bytes.data + 88, 0);
    store_be64(bytes.data + l2, (uint64_t)1 << 62 | 0x50000);
    write_file(folder, &bytes);
    assert_int_equal(refuse(folder), -1);
    assert_non_null(strstr(folder->err.text, "compressed"));
    bytes.length = 50;
    write_file(folder, &bytes);
    assert_int_equal(refuse(folder), -1);
    free(bytes.data);
}

static void test_qcow2_repair_does_not_touch_an_image_in_use(void **state)
{
    struct folder *folder = *state;
    struct bytes bytes = make_written(folder);
    AUTO_PTR(image) image = folder_open(folder, false);

    free(bytes.data);
    assert_non_null(image);
    assert_int_equal(refuse(folder), -1);
    assert_int_equal(folder->err.errnum, EBUSY);
}

static void test_raw_images_need_no_repair(void **state)
{
    struct folder *folder = *state;
    struct bytes bytes = make_written(folder);

    bytes.length = 7;
    write_file(folder, &bytes);
    free(bytes.data);
    assert_ok(folder, image_repair(folder->file, "raw", &folder->err));
}

/* --- power losses */

/* Small clusters: many tables in little space. The disk's content is known by cluster. */
#define SMALL_BITS 9
#define SMALL ((uint64_t)1 << SMALL_BITS)
#define SMALL_CLUSTERS 2000u

struct model {
    uint8_t content[SMALL_CLUSTERS]; /* 0: zero */
    bool is_touched[SMALL_CLUSTERS]; /* since the last sync */
};

static void change_some(struct folder *folder, struct model *model, unsigned count)
{
    AUTO_PTR(image) image = folder_open(folder, true);
    char data[16 * SMALL];

    assert_non_null(image);
    for (unsigned i = 0; i < count; i++) {
        unsigned at = (unsigned)random() % (SMALL_CLUSTERS - 16);
        unsigned length = 1 + (unsigned)random() % 15;
        uint8_t content = (uint8_t)(random() % 3 ? 1 + random() % 250 : 0);

        memset(data, content, sizeof(data));
        assert_ok(folder, content ? image_write(image, at * SMALL, data, length * SMALL, NULL)
                                  : image_write_zeroes(image, at * SMALL, length * SMALL, NULL));
        memset(model->content + at, content, length);
        memset(model->is_touched + at, true, length);
    }
}

/* Each sector is the one that was synced or a later one; the file has any length in between. */
static void lose_power(struct folder *folder, const struct bytes *synced)
{
    struct bytes written = read_file(folder);
    size_t least = synced->length < written.length ? synced->length : written.length;
    size_t length = least + (size_t)random() % (written.length - least + 1);

    for (size_t at = 0; at < length; at += SECTOR) {
        size_t part = length - at < SECTOR ? length - at : SECTOR;

        if (random() % 2)
            continue;
        if (at + SECTOR <= synced->length)
            memcpy(written.data + at, synced->data + at, part);
        else
            memset(written.data + at, 0, part);
    }
    written.length = length;
    write_file(folder, &written);
    free(written.data);
}

static void assert_synced(struct folder *folder, const struct model *model)
{
    AUTO_PTR(image) image = folder_open(folder, false);
    uint8_t data[SMALL], expected[SMALL];

    if (!image)
        fail_msg("%s", folder->err.text);
    for (unsigned i = 0; i < SMALL_CLUSTERS; i++) {
        assert_ok(folder, block_source_read(&image->source, i * SMALL, data, SMALL, &folder->err));
        memset(expected, model->content[i], SMALL);
        if (!model->is_touched[i] && memcmp(data, expected, SMALL) != 0)
            fail_msg("cluster %u was synced and is lost", i);
    }
}

static void test_qcow2_repair_after_a_power_loss_keeps_what_was_synced(void **state)
{
    struct folder *folder = *state;

    for (unsigned seed = 0; seed < POWER_LOSSES; seed++) {
        struct model model = {0};
        struct bytes synced;

        srandom(seed);
        make_image(folder, SMALL_BITS, SMALL_CLUSTERS * SMALL);
        change_some(folder, &model, seed % 40);
        memset(model.is_touched, 0, sizeof(model.is_touched));
        synced = read_file(folder);
        change_some(folder, &model, 1 + seed % 17);
        lose_power(folder, &synced);
        free(synced.data);
        repair(folder);
        check_refcounts(folder->file);
        assert_synced(folder, &model);
        change_some(folder, &model, 10);
        check_refcounts(folder->file);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_qcow2_repair_leaves_a_good_image_as_it_is,
                                        folder_set_up, folder_tear_down),
        cmocka_unit_test_setup_teardown(test_qcow2_repair_clears_entries_that_cannot_be_true,
                                        folder_set_up, folder_tear_down),
        cmocka_unit_test_setup_teardown(test_qcow2_repair_clears_tables_that_are_not_in_the_file,
                                        folder_set_up, folder_tear_down),
        cmocka_unit_test_setup_teardown(test_qcow2_repair_makes_refcounts_anew, folder_set_up,
                                        folder_tear_down),
        cmocka_unit_test_setup_teardown(test_qcow2_repair_marks_what_is_used_once_as_owned,
                                        folder_set_up, folder_tear_down),
        cmocka_unit_test_setup_teardown(test_qcow2_repair_cuts_the_tail_off, folder_set_up,
                                        folder_tear_down),
        cmocka_unit_test_setup_teardown(test_qcow2_repair_clears_the_dirty_bit, folder_set_up,
                                        folder_tear_down),
        cmocka_unit_test_setup_teardown(test_qcow2_repair_keeps_zero_clusters_zero, folder_set_up,
                                        folder_tear_down),
        cmocka_unit_test_setup_teardown(test_qcow2_repair_refuses_what_it_does_not_know,
                                        folder_set_up, folder_tear_down),
        cmocka_unit_test_setup_teardown(test_qcow2_repair_does_not_touch_an_image_in_use,
                                        folder_set_up, folder_tear_down),
        cmocka_unit_test_setup_teardown(test_raw_images_need_no_repair, folder_set_up,
                                        folder_tear_down),
        cmocka_unit_test_setup_teardown(test_qcow2_repair_after_a_power_loss_keeps_what_was_synced,
                                        folder_set_up, folder_tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
