/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Backing files: only plain files inside the allowed folder, in the format that is named, in
 * chains of bounded length.
 */
#include "formats/image_driver.h"
#include "tests/unit/formats/qcow2_fixture.h"

#include <ftw.h>

/* FOLDER/in is allowed, FOLDER/out is not; each holds a raw file. */
struct place {
    char root[64];
    char in[80];
    struct error err;
};

static char *path_of(const struct place *place, const char *name)
{
    static char paths[4][256];
    static unsigned turn;
    char *path = paths[turn++ % 4];

    snprintf(path, 256, "%s/%s", place->root, name);
    return path;
}

static void make_file(const struct place *place, const char *name, const char *content)
{
    int fd = open(path_of(place, name), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 4096), 0);
    assert_int_equal(write(fd, content, strlen(content)), strlen(content));
    close(fd);
}

static int set_up(void **state)
{
    struct place *place = calloc(1, sizeof(*place));

    snprintf(place->root, sizeof(place->root), "/tmp/rehost-backing-XXXXXX");
    assert_non_null(mkdtemp(place->root));
    snprintf(place->in, sizeof(place->in), "%s/in", place->root);
    assert_int_equal(mkdir(place->in, 0700), 0);
    assert_int_equal(mkdir(path_of(place, "in/sub"), 0700), 0);
    assert_int_equal(mkdir(path_of(place, "inside"), 0700), 0);
    assert_int_equal(mkdir(path_of(place, "out"), 0700), 0);
    make_file(place, "in/base", "inside");
    make_file(place, "out/base", "outside");
    make_file(place, "inside/base", "beside");
    *state = place;
    return 0;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    return remove(path);
}

static int tear_down(void **state)
{
    struct place *place = *state;

    assert_int_equal(nftw(place->root, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
    free(place);
    return 0;
}

static struct image *open_backing(struct place *place, const char *image, const char *name,
                                  const char *folder)
{
    struct image_open_options options = {.backing_folder = folder};

    place->err = (struct error){0};
    return image_open_backing(path_of(place, image), name, NULL, &options, 1, &place->err);
}

static void assert_found(struct place *place, const char *image, const char *name,
                         const char *content)
{
    char buffer[16] = "";
    AUTO_PTR(image) backing = open_backing(place, image, name, place->in);

    if (!backing)
        fail_msg("%s", place->err.text);
    assert_false(backing->is_writable);
    assert_int_equal(block_source_read(&backing->source, 0, buffer, strlen(content), &place->err),
                     0);
    assert_string_equal(buffer, content);
}

static void assert_not_found(struct place *place, const char *image, const char *name,
                             const char *text)
{
    assert_null(open_backing(place, image, name, place->in));
    if (!strstr(place->err.text, text))
        fail_msg("refused by '%s', not by '%s'", place->err.text, text);
    assert_non_null(strstr(place->err.text, "backing file"));
}

static void test_backing_files_are_found_relative_to_the_image(void **state)
{
    struct place *place = *state;

    assert_found(place, "in/top", "base", "inside");
    assert_found(place, "in/sub/top", "../base", "inside");
    assert_found(place, "out/top", "../in/base", "inside");
    assert_found(place, "in/top", path_of(place, "in/base"), "inside");
    assert_int_equal(symlink("../base", path_of(place, "in/sub/link")), 0);
    assert_found(place, "in/sub/top", "link", "inside");
}

static void test_backing_files_outside_of_the_folder_are_refused(void **state)
{
    struct place *place = *state;

    assert_not_found(place, "in/top", "../out/base", "outside of the folder");
    assert_not_found(place, "in/top", "../inside/base", "outside of the folder");
    assert_not_found(place, "in/top", path_of(place, "out/base"), "outside of the folder");
    assert_not_found(place, "in/top", "/etc/passwd", "outside of the folder");
    assert_int_equal(symlink("../out/base", path_of(place, "in/link")), 0);
    assert_not_found(place, "in/top", "link", "outside of the folder");
    assert_int_equal(symlink("../out", path_of(place, "in/folder")), 0);
    assert_not_found(place, "in/top", "folder/base", "outside of the folder");
}

static void test_backing_files_are_refused_when_no_folder_is_given(void **state)
{
    struct place *place = *state;

    assert_null(open_backing(place, "in/top", "base", NULL));
    assert_non_null(strstr(place->err.text, "not allowed"));
}

static void test_backing_files_with_a_protocol_are_refused(void **state)
{
    struct place *place = *state;
    static const char *const names[] = {"nbd:localhost:1",
                                        "json:{\"driver\":\"file\"}",
                                        "file:base",
                                        "http://host/base",
                                        "fd:3",
                                        ":"};

    for (size_t i = 0; i < ARRAY_LENGTH(names); i++)
        assert_not_found(place, "in/top", names[i], "protocol");
    assert_false(image_name_has_protocol("./nbd:x"));
    assert_false(image_name_has_protocol("base"));
    assert_false(image_name_has_protocol(""));
}

static void test_backing_files_must_be_regular(void **state)
{
    struct place *place = *state;

    assert_int_equal(mkfifo(path_of(place, "in/fifo"), 0600), 0);
    assert_not_found(place, "in/top", "fifo", "not a regular file");
    assert_not_found(place, "in/top", "sub", "not a regular file");
    assert_not_found(place, "in/top", "nothing", "No such file");
}

static void make_overlay(struct place *place, const char *name, const char *backing,
                         const char *format)
{
    struct image_create_options options = {
        .format = "qcow2", .size_bytes = 4096, .backing_path = backing, .backing_format = format};
    AUTO_PTR(image) image = image_create(path_of(place, name), &options, &place->err);

    assert_non_null(image);
    assert_int_equal(image_finish(image, &place->err), 0);
}

static struct image *open_top(struct place *place, const char *name)
{
    struct image_open_options options = {.backing_folder = place->in};

    return image_open(path_of(place, name), &options, &place->err);
}

static void test_a_chain_of_the_longest_length_is_read_and_one_more_is_not(void **state)
{
    struct place *place = *state;
    char name[32], below[32] = "base";
    char byte;

    for (int i = 1; i <= IMAGE_MAX_CHAIN; i++) {
        snprintf(name, sizeof(name), "in/%d", i);
        make_overlay(place, name, below, i == 1 ? "raw" : "qcow2");
        snprintf(below, sizeof(below), "%d", i);
    }
    snprintf(name, sizeof(name), "in/%d", IMAGE_MAX_CHAIN - 1);
    AUTO_PTR(image) longest = open_top(place, name);
    if (!longest)
        fail_msg("%s", place->err.text);
    assert_int_equal(block_source_read(&longest->source, 0, &byte, 1, &place->err), 0);
    assert_int_equal(byte, 'i');
    snprintf(name, sizeof(name), "in/%d", IMAGE_MAX_CHAIN);
    assert_null(open_top(place, name));
    assert_int_equal(place->err.errnum, ELOOP);
}

static void test_a_circle_is_refused(void **state)
{
    struct place *place = *state;

    make_overlay(place, "in/a", "b", "qcow2");
    make_overlay(place, "in/b", "a", "qcow2");
    assert_null(open_top(place, "in/a"));
    assert_int_equal(place->err.errnum, ELOOP);
}

/* A raw base whose guest wrote a qcow2 header into it stays raw: its format is never guessed. */
static void test_a_backing_format_is_never_probed(void **state)
{
    struct place *place = *state;
    char head[4];

    make_overlay(place, "in/disguised", "../out/base", "raw");
    make_overlay(place, "in/top", "disguised", "raw");
    AUTO_PTR(image) top = open_top(place, "in/top");
    if (!top)
        fail_msg("%s", place->err.text);
    assert_int_equal(block_source_read(&top->source, 0, head, 4, &place->err), 0);
    assert_memory_equal(head, "QFI\xfb", 4);
    make_overlay(place, "in/strange", "base", "parallels");
    assert_null(open_top(place, "in/strange"));
    assert_non_null(strstr(place->err.text, "parallels"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_backing_files_are_found_relative_to_the_image),
        TEST(test_backing_files_outside_of_the_folder_are_refused),
        TEST(test_backing_files_are_refused_when_no_folder_is_given),
        TEST(test_backing_files_with_a_protocol_are_refused),
        TEST(test_backing_files_must_be_regular),
        TEST(test_a_chain_of_the_longest_length_is_read_and_one_more_is_not),
        TEST(test_a_circle_is_refused),
        TEST(test_a_backing_format_is_never_probed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
