/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/own.h"
#include "base/text.h"
#include "bootfix/cpio.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

/* Writes down what it is told: "path mode size[data];". */
struct recorder {
    struct cpio_visitor visitor;
    struct text text;
};

static int begin(struct cpio_visitor *visitor, const struct cpio_member *member, bool *is_wanted,
                 struct error *err)
{
    (void)err;
    text_addf(&((struct recorder *)visitor)->text, "%s %o %d[", member->path, member->mode,
              (int)member->size_bytes);
    *is_wanted = true;
    return 0;
}

static int data(struct cpio_visitor *visitor, const void *bytes, size_t length, struct error *err)
{
    (void)err;
    text_add_bytes(&((struct recorder *)visitor)->text, bytes, length);
    return 0;
}

static int end(struct cpio_visitor *visitor, struct error *err)
{
    (void)err;
    text_add(&((struct recorder *)visitor)->text, "];");
    return 0;
}

static void add_member(struct text *archive, const char *name, unsigned mode, const char *content)
{
    size_t name_size = strlen(name) + 1, size = strlen(content);
    text_addf(archive, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", 1, mode, 0, 0,
              1, 0, (unsigned)size, 0, 0, 0, 0, (unsigned)name_size, 0);
    text_add_bytes(archive, name, name_size);
    while (archive->length % 4)
        text_add_bytes(archive, "", 1);
    text_add_bytes(archive, content, size);
    while (archive->length % 4)
        text_add_bytes(archive, "", 1);
}

static void feed_in_pieces(const struct text *archive, size_t piece, struct recorder *recorder)
{
    struct cpio_reader reader;
    struct error err = {0};
    cpio_reader_init(&reader, &recorder->visitor);
    for (size_t offset = 0; offset < archive->length;) {
        size_t consumed, left = archive->length - offset;
        assert_int_equal(cpio_reader_feed(&reader, archive->data + offset,
                                          left < piece ? left : piece, &consumed, &err),
                         0);
        assert_true(consumed > 0);
        offset += consumed;
    }
    assert_int_equal(reader.state, CPIO_BETWEEN);
}

static void test_members_are_the_same_in_pieces_of_any_size(void **state)
{
    (void)state;
    AUTO(text) archive = {0};
    add_member(&archive, "./lib", S_IFLNK | 0777, "usr/lib");
    add_member(&archive, "/etc/x", S_IFREG | 0644, "hello");
    add_member(&archive, "empty", S_IFREG | 0600, "");
    add_member(&archive, "TRAILER!!!", 0, "");
    for (size_t piece = 1; piece <= archive.length; piece += piece < 8 ? 1 : 37) {
        struct recorder recorder = {.visitor = {begin, data, end}};
        feed_in_pieces(&archive, piece, &recorder);
        assert_string_equal(text_string(&recorder.text),
                            "lib 120777 7[usr/lib];etc/x 100644 5[hello];empty 100600 0[];");
        text_fini(&recorder.text);
    }
}

static void test_members_with_parent_components_are_left_out(void **state)
{
    (void)state;
    AUTO(text) archive = {0};
    add_member(&archive, "../etc/passwd", S_IFREG | 0644, "evil");
    add_member(&archive, "lib/modules/../../../etc/passwd", S_IFREG | 0644, "evil");
    add_member(&archive, "lib/..", S_IFDIR | 0755, "");
    add_member(&archive, "..", S_IFDIR | 0755, "");
    add_member(&archive, ".", S_IFDIR | 0755, "");
    add_member(&archive, "a..b/c", S_IFREG | 0644, "fine");
    add_member(&archive, "TRAILER!!!", 0, "");
    struct recorder recorder = {.visitor = {begin, data, end}};
    feed_in_pieces(&archive, archive.length, &recorder);
    assert_string_equal(text_string(&recorder.text), "a..b/c 100644 4[fine];");
    text_fini(&recorder.text);
}

static void test_reader_stops_behind_the_trailer(void **state)
{
    (void)state;
    AUTO(text) archive = {0};
    add_member(&archive, "TRAILER!!!", 0, "");
    size_t length = archive.length, consumed;
    text_add(&archive, "what follows");
    struct recorder recorder = {.visitor = {begin, data, end}};
    struct cpio_reader reader;
    struct error err = {0};
    cpio_reader_init(&reader, &recorder.visitor);
    assert_int_equal(cpio_reader_feed(&reader, archive.data, archive.length, &consumed, &err), 0);
    assert_int_equal(consumed, length);
}

static void assert_refused(size_t offset, const char *with)
{
    AUTO(text) archive = {0};
    add_member(&archive, "name", S_IFREG | 0644, "data");
    memcpy(archive.data + offset, with, strlen(with));
    struct recorder recorder = {.visitor = {begin, data, end}};
    struct cpio_reader reader;
    struct error err = {0};
    size_t consumed;
    cpio_reader_init(&reader, &recorder.visitor);
    assert_int_equal(cpio_reader_feed(&reader, archive.data, archive.length, &consumed, &err), -1);
    assert_true(strstr(err.text, "damaged cpio archive") != NULL);
    text_fini(&recorder.text);
}

static void test_headers_that_lie_are_refused(void **state)
{
    (void)state;
    const size_t name_size = 6 + 11 * 8, mode = 6 + 8;
    assert_refused(0, "070707");
    assert_refused(0, "junk");
    assert_refused(name_size, "00000000");
    assert_refused(name_size, "00001001");
    assert_refused(name_size, "ffffffff");
    assert_refused(mode, "000081ag");
    assert_refused(mode, "-0008 a4");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_members_are_the_same_in_pieces_of_any_size),
        cmocka_unit_test(test_members_with_parent_components_are_left_out),
        cmocka_unit_test(test_reader_stops_behind_the_trailer),
        cmocka_unit_test(test_headers_that_lie_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
