/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What goes into the initramfs: modules with what they need, libraries with what they need, and an
 * archive that is the same however its files were added.
 */
#include "base/bytes.h"
#include "base/own.h"
#include "base/text.h"
#include "bootfix/cpio.h"
#include "p2v/media/archive_write.h"
#include "p2v/media/contents.h"
#include "p2v/media/kernel.h"

#include <elf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

/* --- modules --- */

static void add_module(struct kernel *kernel, const char *path, const char *needs)
{
    struct kernel_module module = {.path = text_copy(path), .needs = text_copy(needs)};
    assert_true(module_name_of_path(path, strlen(path), module.name));
    kernel->modules = memory_grow(kernel->modules, kernel->count + 1, sizeof(module));
    kernel->modules[kernel->count++] = module;
}

static bool is_chosen(const struct kernel *kernel, const char *name)
{
    for (size_t i = 0; i < kernel->count; i++) {
        if (strcmp(kernel->modules[i].name, name) == 0)
            return kernel->modules[i].is_chosen;
    }
    fail_msg("no module %s", name);
    return false;
}

static void test_modules_are_chosen_with_all_they_need(void **state)
{
    (void)state;
    AUTO(kernel) kernel = {0};
    add_module(&kernel, "kernel/fs/xattr/helper.ko", "");
    add_module(&kernel, "kernel/block/t10-pi.ko", "crc-t10dif,crc64");
    add_module(&kernel, "kernel/lib/crc-t10dif.ko.xz", "");
    add_module(&kernel, "kernel/lib/crc64.ko", "");
    add_module(&kernel, "kernel/drivers/nvme/host/nvme.ko", "nvme-core");
    add_module(&kernel, "kernel/drivers/nvme/host/nvme-core.ko", "t10-pi");
    add_module(&kernel, "kernel/fs/ext4/ext4.ko", "crc64");
    assert_int_equal(kernel_choose(&kernel), 5);
    assert_true(is_chosen(&kernel, "crc_t10dif"));
    assert_true(is_chosen(&kernel, "t10_pi"));
    assert_false(is_chosen(&kernel, "ext4"));
    assert_false(is_chosen(&kernel, "helper"));
}

static void test_modules_that_need_each_other_end_the_search(void **state)
{
    (void)state;
    AUTO(kernel) kernel = {0};
    add_module(&kernel, "kernel/drivers/ata/a.ko", "b,,");
    add_module(&kernel, "kernel/lib/b.ko", "a,b");
    assert_int_equal(kernel_choose(&kernel), 2);
}

static void test_modules_that_cannot_be_loaded_stay_out(void **state)
{
    (void)state;
    AUTO(kernel) kernel = {0};
    add_module(&kernel, "kernel/drivers/hid/hid-top.ko", "middle");
    add_module(&kernel, "kernel/lib/middle.ko", "snd,fine");
    add_module(&kernel, "kernel/lib/fine.ko", "");
    add_module(&kernel, "kernel/drivers/ata/ahci.ko", "fine");
    assert_int_equal(kernel_choose(&kernel), 2);
    assert_true(is_chosen(&kernel, "ahci"));
    assert_true(is_chosen(&kernel, "fine"));
}

static void test_a_kernel_without_a_disk_driver_is_refused_by_name(void **state)
{
    (void)state;
    static const char *const names[] = {"drivers/ata/ahci",
                                        "drivers/nvme/host/nvme",
                                        "drivers/block/virtio_blk",
                                        "drivers/usb/storage/usb-storage",
                                        "drivers/hid/usbhid/usbhid",
                                        "drivers/hid/hid-generic",
                                        "drivers/usb/host/xhci-pci",
                                        "drivers/net/virtio_net",
                                        "drivers/net/bonding/bonding",
                                        "net/8021q/8021q"};
    AUTO(kernel) kernel = {0};
    struct error err = {0};
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        AUTO_FREE char *path = text_format("kernel/%s.ko", names[i]);
        add_module(&kernel, path, "");
    }
    add_module(&kernel, "kernel/drivers/scsi/sd_mod.ko", "t10-pi");
    file_tree_add_text(&kernel.lists, "modules.builtin",
                       "kernel/drivers/net/ethernet/intel/e1000e/e1000e.ko\n");
    kernel_choose(&kernel);
    assert_int_equal(kernel_check(&kernel, &err), -1);
    assert_non_null(strstr(err.text, "sd_mod"));
    add_module(&kernel, "kernel/block/t10-pi.ko", "");
    for (size_t i = 0; i < kernel.count; i++)
        kernel.modules[i].is_chosen = kernel.modules[i].is_unusable = false;
    kernel_choose(&kernel);
    assert_int_equal(kernel_check(&kernel, &err), 0);
}

static void test_wanted_modules_are_storage_wired_network_and_usb(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        enum kernel_want want;
    } cases[] = {
        {"kernel/drivers/ata/ahci.ko", KERNEL_ALWAYS},
        {"kernel/drivers/scsi/megaraid/megaraid_sas.ko.xz", KERNEL_ALWAYS},
        {"kernel/drivers/block/virtio_blk.ko", KERNEL_ALWAYS},
        {"kernel/drivers/block/virtio_blkx.ko", KERNEL_WHEN_NEEDED},
        {"kernel/drivers/pci/controller/vmd.ko", KERNEL_ALWAYS},
        {"kernel/drivers/net/ethernet/intel/igb/igb.ko.zst", KERNEL_ALWAYS},
        {"kernel/crypto/crc32c_generic.ko", KERNEL_ALWAYS},
        {"kernel/crypto/aes_ti.ko", KERNEL_WHEN_NEEDED},
        {"kernel/drivers/md/raid1.ko", KERNEL_ALWAYS},
        /* These write to disks by themselves, or are no disks. */
        {"kernel/drivers/md/bcache/bcache.ko", KERNEL_WHEN_NEEDED},
        {"kernel/drivers/scsi/scsi_debug.ko", KERNEL_WHEN_NEEDED},
        {"kernel/drivers/gpu/drm/drm.ko", KERNEL_NEVER},
        {"kernel/drivers/net/wireless/ath/ath.ko", KERNEL_NEVER},
        {"extra/evil.ko", KERNEL_NEVER},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        if (kernel_wants(cases[i].path) != cases[i].want)
            fail_msg("%s: %d", cases[i].path, kernel_wants(cases[i].path));
    }
}

/* --- libraries --- */

struct program {
    Elf64_Ehdr header;
    Elf64_Phdr segments[2];
    Elf64_Dyn dynamic[3];
    char strings[32];
};

/* A file that needs one library; "" none. */
static void add_program(struct file_tree *tree, const char *path, const char *needs)
{
    struct program *program = memory_new(1, sizeof(*program));
    memcpy(program->header.e_ident, ELFMAG "\2\1", SELFMAG + 2);
    program->header.e_phoff = offsetof(struct program, segments);
    program->header.e_phnum = 2;
    program->segments[0] = (Elf64_Phdr){.p_type = PT_LOAD, .p_filesz = sizeof(*program)};
    program->segments[1] = (Elf64_Phdr){.p_type = *needs ? PT_DYNAMIC : PT_NOTE,
                                        .p_offset = offsetof(struct program, dynamic),
                                        .p_filesz = sizeof(program->dynamic)};
    program->dynamic[0] = (Elf64_Dyn){DT_NEEDED, {1}};
    program->dynamic[1] = (Elf64_Dyn){DT_STRTAB, {offsetof(struct program, strings)}};
    snprintf(program->strings + 1, sizeof(program->strings) - 1, "%s", needs);
    file_tree_add(tree, path, 0755, (char *)program, sizeof(*program));
}

static void test_libraries_come_with_what_they_need_under_their_loaded_names(void **state)
{
    (void)state;
    static const char *const also[] = {"libextra.so.1", NULL};
    AUTO(file_tree) tree = {0};
    AUTO(file_tree) available = {0};
    add_program(&tree, "usr/bin/tool", "liba.so.1");
    file_tree_add_text(&tree, "usr/bin/script", "#!/bin/sh\n");
    file_tree_add_link(&available, "usr/lib/x86_64-linux-gnu/liba.so.1", "liba.so.1.2.3");
    add_program(&available, "usr/lib/x86_64-linux-gnu/liba.so.1.2.3", "libb.so.2");
    add_program(&available, "usr/lib/x86_64-linux-gnu/private/libb.so.2", "liba.so.1");
    add_program(&available, "usr/lib/x86_64-linux-gnu/libextra.so.1", "");
    add_program(&available, "usr/lib/x86_64-linux-gnu/libunused.so.1", "");
    struct error err = {0};
    assert_int_equal(libraries_add(&tree, &available, also, &err), 0);
    const struct file_entry *first = file_tree_find(&tree, "usr/lib/x86_64-linux-gnu/liba.so.1");
    assert_non_null(first);
    assert_true(S_ISREG(first->mode));
    assert_int_equal(first->length, sizeof(struct program));
    assert_non_null(file_tree_find(&tree, "usr/lib/x86_64-linux-gnu/private/libb.so.2"));
    assert_non_null(file_tree_find(&tree, "usr/lib/x86_64-linux-gnu/libextra.so.1"));
    assert_null(file_tree_find(&tree, "usr/lib/x86_64-linux-gnu/libunused.so.1"));
}

static void test_a_library_that_is_nowhere_is_named_with_who_needs_it(void **state)
{
    (void)state;
    AUTO(file_tree) tree = {0};
    AUTO(file_tree) available = {0};
    struct error err = {0};
    add_program(&tree, "init", "libasan.so.8");
    assert_int_equal(libraries_add(&tree, &available, NULL, &err), -1);
    assert_string_equal(err.text, "init needs libasan.so.8, which is in none of the packages");
}

static void test_links_in_a_circle_are_no_library(void **state)
{
    (void)state;
    AUTO(file_tree) tree = {0};
    AUTO(file_tree) available = {0};
    add_program(&tree, "init", "liba.so");
    file_tree_add_link(&available, "usr/lib/x86_64-linux-gnu/liba.so", "libb.so");
    file_tree_add_link(&available, "usr/lib/x86_64-linux-gnu/libb.so", "liba.so");
    assert_int_equal(libraries_add(&tree, &available, NULL, NULL), -1);
}

/* --- the archive --- */

static void test_a_tree_is_sorted_and_has_every_folder_once(void **state)
{
    (void)state;
    static const char *const expected[] = {"a", "a/b", "a/b/c", "a/b/d", "a-file", "init"};
    AUTO(file_tree) tree = {0};
    file_tree_add_text(&tree, "init", "1");
    file_tree_add_text(&tree, "a/b/d", "1");
    file_tree_add_text(&tree, "a-file", "");
    file_tree_add_link(&tree, "a/b/c", "d");
    file_tree_add_text(&tree, "init", "2");
    assert_int_equal(tree.count, ARRAY_LENGTH(expected));
    for (size_t i = 0; i < ARRAY_LENGTH(expected); i++)
        assert_non_null(file_tree_find(&tree, expected[i]));
    assert_string_equal(file_tree_find(&tree, "init")->data, "2");
    for (size_t i = 1; i < tree.count; i++)
        assert_true(strcmp(tree.entries[i - 1].path, tree.entries[i].path) < 0);
}

struct listing {
    struct cpio_visitor visitor; /* first */
    struct text text;
};

static int list(struct cpio_visitor *visitor, const struct cpio_member *member, bool *is_wanted,
                struct error *err)
{
    (void)err;
    *is_wanted = true;
    text_addf(&((struct listing *)visitor)->text, "%o %s:", member->mode, member->path);
    return 0;
}

static int list_data(struct cpio_visitor *visitor, const void *data, size_t length,
                     struct error *err)
{
    (void)err;
    text_add_bytes(&((struct listing *)visitor)->text, data, length);
    return 0;
}

static int list_end(struct cpio_visitor *visitor, struct error *err)
{
    (void)err;
    text_add(&((struct listing *)visitor)->text, "\n");
    return 0;
}

static void test_an_archive_is_what_our_own_reader_reads(void **state)
{
    (void)state;
    AUTO(file_tree) tree = {0};
    AUTO(text) out = {0};
    struct listing listing = {.visitor = {list, list_data, list_end}};
    struct cpio_reader reader;
    struct error err = {0};
    size_t consumed;
    file_tree_add(&tree, "init", 0755, text_copy("agent"), 5);
    file_tree_add_link(&tree, "usr/bin/agent", "../../init");
    assert_int_equal(archive_write_cpio(&tree, 1700000000, &out, &err), 0);
    cpio_reader_init(&reader, &listing.visitor);
    assert_int_equal(cpio_reader_feed(&reader, out.data, out.length, &consumed, &err), 0);
    assert_string_equal(listing.text.data, "100755 init:agent\n40755 usr:\n40755 usr/bin:\n"
                                           "120777 usr/bin/agent:../../init\n");
    text_fini(&listing.text);
}

static void test_an_archive_does_not_depend_on_the_order_of_adding(void **state)
{
    (void)state;
    AUTO(file_tree) one = {0};
    AUTO(file_tree) two = {0};
    AUTO(text) first = {0};
    AUTO(text) second = {0};
    file_tree_add_text(&one, "a/x", "1");
    file_tree_add_text(&one, "b", "2");
    file_tree_add_text(&two, "b", "2");
    file_tree_add_text(&two, "a/x", "1");
    assert_int_equal(archive_write_cpio(&one, 1, &first, NULL), 0);
    assert_int_equal(archive_write_cpio(&two, 1, &second, NULL), 0);
    assert_int_equal(first.length, second.length);
    assert_memory_equal(first.data, second.data, first.length);
}

static void test_a_compressed_archive_ends_at_a_multiple_of_four(void **state)
{
    (void)state;
    for (size_t length = 0; length < 64; length += 7) {
        AUTO(text) in = {0};
        AUTO(text) out = {0};
        for (size_t i = 0; i < length; i++)
            text_addf(&in, "%zu", i * 7919 % 97);
        text_add(&in, "x");
        assert_int_equal(archive_compress(&in, &out, NULL, NULL), 0);
        assert_int_equal(out.length % 4, 0);
        assert_int_equal(load_le32(out.data), 0xfd2fb528); /* zstd's magic number */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_modules_are_chosen_with_all_they_need),
        cmocka_unit_test(test_modules_that_need_each_other_end_the_search),
        cmocka_unit_test(test_modules_that_cannot_be_loaded_stay_out),
        cmocka_unit_test(test_a_kernel_without_a_disk_driver_is_refused_by_name),
        cmocka_unit_test(test_wanted_modules_are_storage_wired_network_and_usb),
        cmocka_unit_test(test_libraries_come_with_what_they_need_under_their_loaded_names),
        cmocka_unit_test(test_a_library_that_is_nowhere_is_named_with_who_needs_it),
        cmocka_unit_test(test_links_in_a_circle_are_no_library),
        cmocka_unit_test(test_a_tree_is_sorted_and_has_every_folder_once),
        cmocka_unit_test(test_an_archive_is_what_our_own_reader_reads),
        cmocka_unit_test(test_an_archive_does_not_depend_on_the_order_of_adding),
        cmocka_unit_test(test_a_compressed_archive_ends_at_a_multiple_of_four),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
