/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The parts of inspection that need no appliance, over a guest in memory.
 */
#include "base/own.h"
#include "base/text.h"
#include "bootfix/inspect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct guest {
    struct files_memory *memory;
    struct system *system;
};

static int setup(void **state)
{
    struct guest *guest = memory_new(1, sizeof(*guest));
    guest->memory = files_memory_new();
    guest->system = memory_new(1, sizeof(*guest->system));
    *state = guest;
    return 0;
}

static int teardown(void **state)
{
    struct guest *guest = *state;
    files_memory_free(guest->memory);
    system_free(guest->system);
    free(guest);
    return 0;
}

static void add(struct guest *guest, const char *path, const char *content)
{
    files_memory_add(guest->memory, path, 0644, content, strlen(content));
}

static void inspect(struct guest *guest)
{
    struct error err = {0};
    assert_int_equal(inspect_os(files_memory_files(guest->memory), guest->system, &err), 0);
    assert_int_equal(inspect_kernels(files_memory_files(guest->memory), guest->system, &err), 0);
}

static void test_a_debian_server_is_recognised(void **state)
{
    struct guest *guest = *state;
    static const char elf[64] = "\x7f"
                                "ELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e";
    add(guest, "/usr/lib/os-release",
        "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nID=debian\n");
    files_memory_add_link(guest->memory, "/etc/os-release", "../usr/lib/os-release");
    files_memory_add_link(guest->memory, "/bin", "usr/bin");
    files_memory_add(guest->memory, "/usr/bin/true", 0755, elf, sizeof(elf));
    add(guest, "/etc/hostname", "\n web01 \n");
    add(guest, "/etc/machine-id", "0123456789abcdef0123456789abcdef\n");
    add(guest, "/etc/adjtime", "0.0 0 0.0\n0\nLOCAL\n");
    add(guest, "/usr/lib/systemd/systemd", "");
    add(guest, "/usr/sbin/mkinitramfs", "");
    add(guest, "/boot/grub/grub.cfg", "");
    inspect(guest);
    const struct system *system = guest->system;
    assert_string_equal(system->type, "linux");
    assert_string_equal(system->distro, "debian");
    assert_string_equal(system->version, "12");
    assert_string_equal(system->product, "Debian GNU/Linux 12 (bookworm)");
    assert_string_equal(system->hostname, "web01");
    assert_string_equal(system->machine_id, "0123456789abcdef0123456789abcdef");
    assert_string_equal(system->arch, "x86_64");
    assert_true(system->is_clock_localtime);
    assert_true(system->has_systemd);
    assert_int_equal(system->initramfs, SYSTEM_INITRAMFS_TOOLS);
    assert_int_equal(system->loader, SYSTEM_LOADER_GRUB2);
    assert_string_equal(system->grub_config, "/boot/grub/grub.cfg");
}

static void test_a_linux_that_says_nothing_is_unknown_and_no_error(void **state)
{
    struct guest *guest = *state;
    inspect(guest);
    assert_string_equal(guest->system->distro, "unknown");
    assert_null(guest->system->arch);
    assert_null(guest->system->hostname);
    assert_false(guest->system->is_clock_localtime);
    assert_int_equal(guest->system->initramfs, SYSTEM_INITRAMFS_UNKNOWN);
    assert_int_equal(guest->system->kernel_count, 0);
}

static void test_dracut_with_an_update_initramfs_of_its_own_is_dracut(void **state)
{
    struct guest *guest = *state;
    add(guest, "/usr/bin/dracut", "");
    add(guest, "/usr/sbin/update-initramfs", "");
    inspect(guest);
    assert_int_equal(guest->system->initramfs, SYSTEM_INITRAMFS_DRACUT);
}

static void test_kernels_are_those_with_an_image_newest_first(void **state)
{
    struct guest *guest = *state;
    add(guest, "/lib/modules/6.1.0-9-amd64/modules.dep", "kernel/virtio_blk.ko.xz:\n");
    add(guest, "/lib/modules/6.1.0-18-amd64/modules.dep", "");
    add(guest, "/lib/modules/6.1.0-18-amd64/modules.builtin", "kernel/virtio_net.ko\n");
    add(guest, "/lib/modules/5.10.0-1-amd64/modules.dep", "");
    add(guest, "/lib/modules/extra/modules.dep", "");
    add(guest, "/boot/vmlinuz-6.1.0-9-amd64", "");
    add(guest, "/boot/vmlinuz-6.1.0-18-amd64", "");
    add(guest, "/boot/initrd.img-6.1.0-18-amd64", "");
    inspect(guest);
    const struct system *system = guest->system;
    assert_int_equal(system->kernel_count, 2);
    assert_string_equal(system->kernels[0].version, "6.1.0-18-amd64");
    assert_string_equal(system->kernels[0].initramfs, "/boot/initrd.img-6.1.0-18-amd64");
    assert_true(system->kernels[0].has_virtio_net);
    assert_false(system->kernels[0].has_virtio_blk);
    assert_string_equal(system->kernels[1].image, "/boot/vmlinuz-6.1.0-9-amd64");
    assert_string_equal(system->kernels[1].modules, "/lib/modules/6.1.0-9-amd64");
    assert_null(system->kernels[1].initramfs);
    assert_true(system->kernels[1].has_virtio_blk);
}

static void test_kernel_folders_with_hostile_names_are_passed_over(void **state)
{
    struct guest *guest = *state;
    add(guest, "/lib/modules/-b evil/modules.dep", "");
    add(guest, "/boot/vmlinuz--b evil", "");
    inspect(guest);
    assert_int_equal(guest->system->kernel_count, 0);
}

static void add_volume(struct guest *guest, const char *device, unsigned disk, unsigned partition,
                       const char *type, const char *uuid)
{
    struct system *system = guest->system;
    system->volumes =
        memory_grow(system->volumes, system->volume_count + 1, sizeof(*system->volumes));
    system->volumes[system->volume_count++] = (struct system_volume){
        .device = text_copy(device),
        .disk = disk,
        .partition = partition,
        .type = text_copy(type),
        .uuid = text_copy(uuid),
    };
}

static void test_fstab_gives_volumes_their_mountpoints(void **state)
{
    struct guest *guest = *state;
    add_volume(guest, "/dev/sda1", 0, 1, "ext4", "aaaa-1");
    add_volume(guest, "/dev/sda2", 0, 2, "ext4", "aaaa-2");
    add_volume(guest, "/dev/sdb1", 1, 1, "ext4", "aaaa-3");
    add_volume(guest, "/dev/sda3", 0, 3, "swap", "aaaa-4");
    inspect_fstab(guest->system, "# comment\n"
                                 "/dev/sda2 / ext4 defaults 0 1\n"
                                 "UUID=aaaa-1\t/boot ext4 defaults 0 2\r\n"
                                 "/dev/sdb1 /srv/my\\040data ext4 defaults 0 2\n"
                                 "/dev/sdb1 /again ext4 defaults 0 2\n"
                                 "/dev/sda3 none swap sw 0 0\n"
                                 "tmpfs /tmp tmpfs\n/dev/sdz9 /nowhere ext4\nword\n");
    const struct system_volume *volumes = guest->system->volumes;
    assert_string_equal(volumes[0].mountpoint, "/boot");
    assert_string_equal(volumes[1].mountpoint, "/");
    assert_string_equal(volumes[2].mountpoint, "/srv/my data");
    assert_null(volumes[3].mountpoint);
}

static void test_assignments_are_unquoted_as_a_shell_does(void **state)
{
    (void)state;
    static const char text[] = "XID=no\nID='it''s'\nNAME=\"a \\\"b\\\" c\"  \nEMPTY=\nLAST=x";
    static const char *const cases[][2] = {
        {"ID", "its"}, {"NAME", "a \"b\" c"}, {"EMPTY", ""}, {"LAST", "x"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        AUTO_FREE char *value = inspect_assignment(text, cases[i][0]);
        assert_string_equal(value, cases[i][1]);
    }
    assert_null(inspect_assignment(text, "ABSENT"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_debian_server_is_recognised, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_linux_that_says_nothing_is_unknown_and_no_error,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_dracut_with_an_update_initramfs_of_its_own_is_dracut,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_kernels_are_those_with_an_image_newest_first, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_kernel_folders_with_hostile_names_are_passed_over,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_fstab_gives_volumes_their_mountpoints, setup,
                                        teardown),
        cmocka_unit_test(test_assignments_are_unquoted_as_a_shell_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
