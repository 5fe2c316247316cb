/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/bytes.h"
#include "base/own.h"
#include "base/text.h"
#include "bootfix/initramfs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <zstd.h>

#include <cmocka.h>

#define VERSION "6.1.0-50-amd64"
#define MODULES "usr/lib/modules/" VERSION

static struct initramfs_entry folder(const char *path)
{
    return (struct initramfs_entry){.path = (char *)path, .is_folder = true};
}

static struct initramfs_entry file(const char *path, const char *data)
{
    return (struct initramfs_entry){
        .path = (char *)path, .data = (char *)data, .length = strlen(data)};
}

static void build(struct text *out, size_t behind, const struct initramfs_entry *entries,
                  size_t count)
{
    struct error err = {0};
    assert_int_equal(initramfs_build_addition(entries, count, behind, UNPACK_UNKNOWN, out, &err),
                     0);
}

static void add_microcode(struct text *image)
{
    const struct initramfs_entry entries[] = {
        folder("kernel"), file("kernel/x86/microcode/GenuineIntel.bin", "microcode")};
    build(image, 0, entries, ARRAY_LENGTH(entries));
}

static void add_zstd(struct text *image, const struct text *plain)
{
    size_t bound = ZSTD_compressBound(plain->length);
    AUTO_FREE char *packed = memory_new(bound, 1);
    size_t length = ZSTD_compress(packed, bound, plain->data, plain->length, 3);
    assert_false(ZSTD_isError(length));
    text_add_bytes(image, packed, length);
}

static void add_main(struct text *image)
{
    const struct initramfs_entry entries[] = {
        folder("usr"),
        folder("usr/lib"),
        folder(MODULES),
        folder(MODULES "/kernel"),
        file(MODULES "/kernel/ahci.ko", "ahci module"),
        file(MODULES "/modules.dep", "kernel/ahci.ko:\n"),
        file("usr/lib/modules/5.10/kernel/other.ko", "of another kernel"),
        file("scripts/functions", "# initramfs-tools"),
    };
    AUTO(text) plain = {0};
    build(&plain, 0, entries, ARRAY_LENGTH(entries));
    add_zstd(image, &plain);
}

/* As a machine with early microcode has it: a plain archive, a compressed one, and ours. */
static void test_modules_are_found_in_every_archive(void **state)
{
    (void)state;
    AUTO(text) image = {0};
    struct initramfs_modules modules;
    struct error err = {0};
    const struct initramfs_entry added[] = {folder(MODULES "/kernel/new"),
                                            file(MODULES "/kernel/new/virtio-blk.ko", "x")};
    add_microcode(&image);
    add_main(&image);
    assert_int_equal(initramfs_list_modules(image.data, image.length, VERSION, &modules, &err), 0);
    assert_string_equal(modules.folder, MODULES);
    assert_true(modules.is_initramfs_tools);
    assert_int_equal(modules.last, UNPACK_ZSTD);
    assert_true(initramfs_has_module(&modules, "ahci"));
    assert_false(initramfs_has_module(&modules, "other"));
    assert_false(initramfs_has_module(&modules, "virtio_blk"));
    assert_true(initramfs_has_folder(&modules, ""));
    assert_true(initramfs_has_folder(&modules, "kernel"));
    assert_false(initramfs_has_folder(&modules, "kernel/new"));
    initramfs_modules_fini(&modules);

    AUTO(text) addition = {0};
    build(&addition, image.length, added, ARRAY_LENGTH(added));
    text_add_bytes(&image, addition.data, addition.length);
    assert_int_equal(initramfs_list_modules(image.data, image.length, VERSION, &modules, &err), 0);
    assert_true(initramfs_has_module(&modules, "ahci"));
    assert_true(initramfs_has_module(&modules, "virtio_blk"));
    assert_true(initramfs_has_folder(&modules, "kernel/new"));
    initramfs_modules_fini(&modules);
}

static void test_additions_start_at_a_multiple_of_four_and_repeat_byte_for_byte(void **state)
{
    (void)state;
    const struct initramfs_entry entries[] = {file("a", "content")};
    for (size_t behind = 100; behind < 104; behind++) {
        AUTO(text) one = {0}, other = {0};
        build(&one, behind, entries, 1);
        build(&other, behind, entries, 1);
        size_t padding = (4 - behind % 4) % 4;
        assert_true(cpio_detect(one.data + padding, one.length - padding));
        assert_true(bytes_are_zero(one.data, padding));
        assert_int_equal(one.length, other.length);
        assert_memory_equal(one.data, other.data, one.length);
    }
}

static void test_additions_behind_lz4_are_lz4(void **state)
{
    (void)state;
    /* An lz4 stream has no end: a kernel would take a plain archive for one more block. */
    AUTO(text) image = {0};
    AUTO(text) addition = {0};
    struct error err = {0};
    struct initramfs_modules modules;
    AUTO_FREE char *large = memory_new(3 * MIB, 1);
    memset(large, 'x', 3 * MIB - 1);
    const struct initramfs_entry first[] = {file(MODULES "/kernel/a.ko", large)};
    const struct initramfs_entry second[] = {file(MODULES "/kernel/b.ko", "b")};
    assert_int_equal(initramfs_build_addition(first, 1, 0, UNPACK_LZ4, &image, &err), 0);
    assert_int_equal(unpack_detect(image.data, image.length), UNPACK_LZ4);
    assert_int_equal(initramfs_build_addition(second, 1, image.length, UNPACK_LZ4, &addition, &err),
                     0);
    text_add_bytes(&image, addition.data, addition.length);
    assert_int_equal(initramfs_list_modules(image.data, image.length, VERSION, &modules, &err), 0);
    assert_true(initramfs_has_module(&modules, "a"));
    assert_true(initramfs_has_module(&modules, "b"));
    assert_int_equal(modules.last, UNPACK_LZ4);
    initramfs_modules_fini(&modules);
}

static void test_without_modules_the_folder_follows_the_link_of_lib(void **state)
{
    (void)state;
    struct initramfs_modules modules;
    struct error err = {0};
    AUTO(text) merged = {0}, plain = {0};
    const struct initramfs_entry entries[] = {folder("usr"), folder("usr/lib")};
    build(&merged, 0, entries, 2);
    assert_int_equal(initramfs_list_modules(merged.data, merged.length, VERSION, &modules, &err),
                     0);
    assert_string_equal(modules.folder, "lib/modules/" VERSION);
    assert_false(modules.is_initramfs_tools);
    initramfs_modules_fini(&modules);

    /* The same with "lib" as a link: the member's mode is made one by hand. */
    const struct initramfs_entry linked[] = {folder("usr"), folder("usr/lib"),
                                             file("lib", "usr/lib")};
    build(&plain, 0, linked, 3);
    char *mode = memmem(plain.data, plain.length, "000081a4", 8);
    assert_non_null(mode);
    memcpy(mode, "0000a1ff", 8);
    assert_int_equal(initramfs_list_modules(plain.data, plain.length, VERSION, &modules, &err), 0);
    assert_string_equal(modules.folder, MODULES);
    initramfs_modules_fini(&modules);
}

static void assert_refused(const struct text *image, const char *expected)
{
    struct initramfs_modules modules;
    struct error err = {0};
    assert_int_equal(initramfs_list_modules(image->data, image->length, VERSION, &modules, &err),
                     -1);
    if (!strstr(err.text, expected))
        fail_msg("\"%s\" does not say \"%s\"", err.text, expected);
}

static void test_what_the_kernel_would_stumble_over_is_refused(void **state)
{
    (void)state;
    AUTO(text) image = {0};
    add_main(&image);
    size_t length = image.length;
    text_add(&image, "junk");
    assert_refused(&image, "neither a cpio archive nor a known compression");

    image.length = length / 2;
    assert_refused(&image, "damaged zstd data");

    image.length = 0;
    add_microcode(&image);
    text_add_bytes(&image, "\0", 1);
    add_microcode(&image);
    assert_refused(&image, "not at a multiple of 4");

    image.length = 0;
    add_microcode(&image);
    image.length -= 200;
    assert_refused(&image, "without its end");
}

struct receiver {
    struct initramfs_receiver receiver;
    struct text text;
};

static int receive(struct initramfs_receiver *receiver, const char *path, const void *data,
                   size_t length, struct error *err)
{
    (void)err;
    text_addf(&((struct receiver *)receiver)->text, "%s=%.*s;", path, (int)length,
              (const char *)data);
    return 0;
}

static void test_only_modules_and_their_indexes_are_taken_out(void **state)
{
    (void)state;
    AUTO(text) image = {0};
    struct initramfs_modules modules;
    struct receiver receiver = {.receiver.file = receive};
    struct error err = {0};
    const struct initramfs_entry hostile[] = {
        file(MODULES "/kernel/evil name.ko", "1"),     file(MODULES "/kernel/x.sh", "2"),
        file(MODULES "/../../../../etc/x.ko", "3"),    file(MODULES "/kernel//y.ko", "4"),
        file(MODULES "/kernel/modules.dep", "5"),      file(MODULES "-other/kernel/z.ko", "6"),
        file("/" MODULES "/kernel/rooted.ko", "kept"),
    };
    add_main(&image);
    AUTO(text) addition = {0};
    build(&addition, image.length, hostile, ARRAY_LENGTH(hostile));
    text_add_bytes(&image, addition.data, addition.length);
    assert_int_equal(initramfs_list_modules(image.data, image.length, VERSION, &modules, &err), 0);
    assert_int_equal(
        initramfs_extract_modules(image.data, image.length, &modules, &receiver.receiver, &err), 0);
    assert_string_equal(text_string(&receiver.text),
                        "kernel/ahci.ko=ahci module;modules.dep=kernel/ahci.ko:\n;"
                        "kernel/rooted.ko=kept;");
    text_fini(&receiver.text);
    initramfs_modules_fini(&modules);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_modules_are_found_in_every_archive),
        cmocka_unit_test(test_additions_start_at_a_multiple_of_four_and_repeat_byte_for_byte),
        cmocka_unit_test(test_additions_behind_lz4_are_lz4),
        cmocka_unit_test(test_without_modules_the_folder_follows_the_link_of_lib),
        cmocka_unit_test(test_what_the_kernel_would_stumble_over_is_refused),
        cmocka_unit_test(test_only_modules_and_their_indexes_are_taken_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
