/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * An update of a machine's disk is an overlay over its copy, of what changed since and of what the
 * fixers changed.
 */
#include "receiver_fixture.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_an_update_wants_what_changed_and_what_fixers_changed),
        TEST(test_an_update_of_a_raw_disk_is_an_overlay_over_it),
        TEST(test_an_update_that_breaks_off_goes_on),
        TEST(test_an_update_whose_base_was_never_received_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
