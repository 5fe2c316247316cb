/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/own.h"
#include "bootfix/modules.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char dep[] =
    "kernel/drivers/virtio/virtio.ko.xz:\n"
    "kernel/drivers/virtio/virtio_ring.ko.xz:\n"
    "kernel/drivers/virtio/virtio_pci.ko.xz: kernel/drivers/virtio/virtio.ko.xz "
    "kernel/drivers/virtio/virtio_ring.ko.xz\n"
    "kernel/drivers/block/virtio_blk.ko.xz: kernel/drivers/virtio/virtio_ring.ko.xz "
    "kernel/drivers/virtio/virtio.ko.xz\n"
    "kernel/drivers/char/hw_random/virtio-rng.ko.xz: kernel/drivers/virtio/virtio.ko.xz\n"
    "kernel/block/uses_builtin.ko: kernel/drivers/scsi/sd_mod.ko\n";
static const char builtin[] = "kernel/drivers/scsi/sd_mod.ko\nkernel/fs/ext4/ext4.ko\n";

static void setup(struct modules *modules)
{
    modules_parse(modules, dep, strlen(dep), builtin, strlen(builtin));
}

static void test_modules_are_found_by_name_with_dashes_as_underscores(void **state)
{
    (void)state;
    struct modules modules;
    setup(&modules);
    const struct module *rng = modules_find(&modules, "virtio_rng");
    assert_non_null(rng);
    assert_string_equal(rng->path, "kernel/drivers/char/hw_random/virtio-rng.ko.xz");
    assert_false(rng->is_builtin);
    assert_true(modules_find(&modules, "ext4")->is_builtin);
    assert_null(modules_find(&modules, "virtio_fs"));
    modules_fini(&modules);
}

static void test_closure_puts_what_is_needed_first_and_nothing_twice(void **state)
{
    (void)state;
    struct modules modules;
    const char *paths[8];
    size_t count = 0;
    setup(&modules);
    assert_true(
        modules_add_closure(&modules, modules_find(&modules, "virtio_blk"), paths, 8, &count));
    assert_true(
        modules_add_closure(&modules, modules_find(&modules, "virtio_pci"), paths, 8, &count));
    assert_int_equal(count, 4);
    assert_string_equal(paths[0], "kernel/drivers/virtio/virtio.ko.xz");
    assert_string_equal(paths[1], "kernel/drivers/virtio/virtio_ring.ko.xz");
    assert_string_equal(paths[2], "kernel/drivers/block/virtio_blk.ko.xz");
    assert_string_equal(paths[3], "kernel/drivers/virtio/virtio_pci.ko.xz");
    modules_fini(&modules);
}

static void test_closure_leaves_out_what_is_built_in(void **state)
{
    (void)state;
    struct modules modules;
    const char *paths[8];
    size_t count = 0;
    setup(&modules);
    assert_true(modules_add_closure(&modules, modules_find(&modules, "ext4"), paths, 8, &count));
    assert_int_equal(count, 0);
    assert_true(
        modules_add_closure(&modules, modules_find(&modules, "uses_builtin"), paths, 8, &count));
    assert_int_equal(count, 1);
    modules_fini(&modules);
}

static void test_closure_that_does_not_fit_is_refused(void **state)
{
    (void)state;
    struct modules modules;
    const char *paths[2];
    size_t count = 0;
    setup(&modules);
    assert_false(
        modules_add_closure(&modules, modules_find(&modules, "virtio_blk"), paths, 2, &count));
    modules_fini(&modules);
}

static void test_paths_that_lead_elsewhere_are_dropped(void **state)
{
    (void)state;
    static const char hostile[] = "../../../etc/cron.d/virtio_blk.ko:\n"
                                  "/lib/virtio_net.ko:\n"
                                  "kernel//virtio_pci.ko:\n"
                                  "kernel/./virtio_scsi.ko:\n"
                                  "kernel/a b/virtio_fs.ko:\n"
                                  "kernel/fine.ko: ../../root/evil.ko\n";
    struct modules modules;
    const char *paths[8];
    size_t count = 0;
    modules_parse(&modules, hostile, strlen(hostile), NULL, 0);
    assert_int_equal(modules.count, 1);
    assert_true(modules_add_closure(&modules, modules_find(&modules, "fine"), paths, 8, &count));
    assert_int_equal(count, 1);
    assert_string_equal(paths[0], "kernel/fine.ko");
    modules_fini(&modules);
}

static void test_module_names_come_from_file_names_of_every_compression(void **state)
{
    (void)state;
    static const struct {
        const char *path, *name; /* NULL: not a module */
    } cases[] = {
        {"kernel/fs/ext4.ko", "ext4"},
        {"virtio-rng.ko.zst", "virtio_rng"},
        {"a/b.ko.xz", "b"},
        {"a/b.ko.gz", "b"},
        {"modules.dep", NULL},
        {"a/.ko", NULL},
        {"a/b.ko.exe", NULL},
        {"a/b.kobold", NULL},
        {"a.ko/readme", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char name[MODULES_MAX_NAME];
        bool is_module = module_name_of_path(cases[i].path, strlen(cases[i].path), name);
        assert_int_equal(is_module, cases[i].name != NULL);
        if (is_module)
            assert_string_equal(name, cases[i].name);
    }
}

static void test_kernel_versions_are_one_plain_component(void **state)
{
    (void)state;
    assert_true(kernel_version_is_safe("6.1.0-50-amd64"));
    assert_true(kernel_version_is_safe("6.12.107+deb13-amd64"));
    assert_false(kernel_version_is_safe(".."));
    assert_false(kernel_version_is_safe("-b"));
    assert_false(kernel_version_is_safe("6.1/../../etc"));
    assert_false(kernel_version_is_safe("6.1 evil"));
    assert_false(kernel_version_is_safe(""));
}

static void test_modules_read_finds_both_lists_of_a_folder(void **state)
{
    (void)state;
    struct files_memory *memory = files_memory_new();
    struct modules modules;
    struct error err = {0};
    files_memory_add(memory, "/lib/modules/6.1/modules.dep", 0644, dep, strlen(dep));
    assert_int_equal(modules_read(&modules, files_memory_files(memory), "/lib/modules/6.1", &err),
                     1);
    assert_null(modules_find(&modules, "ext4"));
    modules_fini(&modules);
    files_memory_add(memory, "/lib/modules/6.1/modules.builtin", 0644, builtin, strlen(builtin));
    assert_int_equal(modules_read(&modules, files_memory_files(memory), "/lib/modules/6.1", &err),
                     1);
    assert_non_null(modules_find(&modules, "ext4"));
    modules_fini(&modules);
    assert_int_equal(modules_read(&modules, files_memory_files(memory), "/lib/modules/5.10", &err),
                     0);
    files_memory_free(memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_modules_are_found_by_name_with_dashes_as_underscores),
        cmocka_unit_test(test_closure_puts_what_is_needed_first_and_nothing_twice),
        cmocka_unit_test(test_closure_leaves_out_what_is_built_in),
        cmocka_unit_test(test_closure_that_does_not_fit_is_refused),
        cmocka_unit_test(test_paths_that_lead_elsewhere_are_dropped),
        cmocka_unit_test(test_module_names_come_from_file_names_of_every_compression),
        cmocka_unit_test(test_kernel_versions_are_one_plain_component),
        cmocka_unit_test(test_modules_read_finds_both_lists_of_a_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
