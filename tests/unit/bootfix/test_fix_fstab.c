/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * fstab, crypttab and resume by UUID.
 */
#include "bootfix/fstab.h"
#include "tests/lib/phony_guest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void plan_fix(struct phony *phony)
{
    struct error err = {0};
    assert_int_equal(fix_fstab.plan(&phony->context, &err), 0);
}

static void check_file(struct phony *phony, const char *path, const char *expected)
{
    AUTO_FREE char *text = phony_planned(phony, path);
    assert_string_equal(text, expected);
}

static void test_debian_11_gets_uuids_and_keeps_comments_and_columns(void **state)
{
    (void)state;
    struct phony phony;
    phony_init_debian11(&phony);
    plan_fix(&phony);
    check_file(&phony, "/etc/fstab",
               "# /etc/fstab: static file system information.\n"
               "#\n"
               "# <file system> <mount point>   <type>  <options>       <dump>  <pass>\n"
               "# / was on /dev/sda5 during installation\n"
               "UUID=11111111-0001-4000-8000-000000000011 /               ext4    "
               "errors=remount-ro 0       1\n"
               "UUID=11111111-0003-4000-8000-000000000011 /boot           ext4    "
               "defaults        0       2\n"
               "UUID=11111111-0002-4000-8000-000000000011 none            swap    "
               "sw              0       0\n"
               "/dev/sr0        /media/cdrom0   udf,iso9660 user,noauto     0       0\n");
    check_file(&phony, "/etc/initramfs-tools/conf.d/resume",
               "RESUME=UUID=11111111-0002-4000-8000-000000000011\n");
    assert_int_equal(phony.plan.note_count, 0);
    phony_fini(&phony);
}

static void test_debian_12_keeps_network_mapper_and_memory_file_systems(void **state)
{
    (void)state;
    struct phony phony;
    phony_init_debian12(&phony);
    plan_fix(&phony);
    check_file(&phony, "/etc/fstab",
               "# <file system> <mount point> <type> <options> <dump> <pass>\n"
               "UUID=12121212-0001-4000-8000-000000000012 /         ext4 errors=remount-ro 0 1\n"
               "UUID=12121212-0002-4000-8000-000000000012 none      swap sw                0 0\n"
               "UUID=12121212-0003-4000-8000-000000000012 /srv/data ext4 defaults          0 2\n"
               "//files.example.org/share /mnt/share cifs credentials=/etc/cifs,_netdev 0 0\n"
               "tmpfs\t/tmp\ttmpfs\tdefaults\t0\t0\n"
               "/dev/mapper/vg0-log /var/log ext4 defaults 0 2\n");
    phony_fini(&phony);
}

static void test_debian_13_names_a_swap_with_a_random_key_by_partition(void **state)
{
    (void)state;
    struct phony phony;
    phony_init_debian13(&phony);
    plan_fix(&phony);
    check_file(&phony, "/etc/crypttab",
               "# <target name> <source device> <key file> <options>\n"
               "cryptswap /dev/disk/by-partuuid/13131313-aa04-4000-8000-000000000013 /dev/urandom "
               "swap,cipher=aes-xts-plain64,size=512\n");
    check_file(&phony, "/etc/fstab",
               "UUID=13131313-0001-4000-8000-000000000013 / ext4 errors=remount-ro 0 1\n"
               "UUID=13131313-0002-4000-8000-000000000013 none swap sw,pri=5 0 0\n"
               "/dev/mapper/cryptswap none swap sw,pri=1 0 0\n");
    phony_fini(&phony);
}

static void test_a_random_key_never_gets_the_uuid_that_an_old_life_left(void **state)
{
    (void)state;
    struct phony phony;
    phony_init_debian13(&phony);
    struct system_volume *volume = &phony.system->volumes[2];
    volume->type = text_copy("crypto_LUKS");
    volume->uuid = text_copy("13131313-dead-4000-8000-000000000013");
    plan_fix(&phony);
    AUTO_FREE char *text = phony_planned(&phony, "/etc/crypttab");
    assert_non_null(strstr(text, "/dev/disk/by-partuuid/13131313-aa04"));
    phony_fini(&phony);
}

static void test_luks_is_named_by_its_own_uuid(void **state)
{
    (void)state;
    struct phony phony;
    phony_init(&phony);
    phony_add_volume(&phony, 0, 5, "crypto_LUKS", "aaaaaaaa-0001-4000-8000-000000000001", "1-05");
    phony_add(&phony, "/etc/crypttab", "sda5_crypt\t/dev/sda5\tnone\tluks,discard\n");
    plan_fix(&phony);
    check_file(&phony, "/etc/crypttab",
               "sda5_crypt\tUUID=aaaaaaaa-0001-4000-8000-000000000001\tnone\tluks,discard\n");
    phony_fini(&phony);
}

static void test_a_disk_that_was_not_converted_is_left_with_a_warning(void **state)
{
    (void)state;
    struct phony phony;
    phony_init_debian11(&phony);
    phony_add(&phony, "/etc/fstab",
              "/dev/sdb1 /backup ext4 defaults 0 2\n"
              "/dev/sdc1 /usb vfat noauto,user 0 0\n"
              "UUID=99999999-0001-4000-8000-000000000011 /old ext4 defaults 0 2\n"
              "UUID=99999999-0002-4000-8000-000000000011 /off ext4 nofail 0 2\n");
    plan_fix(&phony);
    assert_null(phony_find_edit(&phony, "/etc/fstab"));
    assert_true(phony_has_note(&phony, true, "/dev/sdb1 is on none"));
    assert_true(phony_has_note(&phony, false, "/dev/sdc1 is on none"));
    assert_false(phony_has_note(&phony, true, "/dev/sdc1"));
    assert_true(phony_has_note(&phony, true, "UUID=99999999-0001"));
    assert_false(phony_has_note(&phony, true, "UUID=99999999-0002"));
    phony_fini(&phony);
}

static void test_a_line_whose_type_does_not_fit_is_left_alone(void **state)
{
    (void)state;
    struct phony phony;
    phony_init_debian11(&phony);
    phony_add(&phony, "/etc/fstab", "/dev/sda6 /data xfs defaults 0 2\n");
    plan_fix(&phony);
    assert_null(phony_find_edit(&phony, "/etc/fstab"));
    assert_true(phony_has_note(&phony, true, "holds something else"));
    phony_fini(&phony);
}

static void test_drives_with_discs_and_lists_of_types_are_understood(void **state)
{
    (void)state;
    struct phony phony;
    phony_init_debian11(&phony);
    phony_add(
        &phony, "/etc/fstab",
        "/dev/hdc /media/cdrom udf,iso9660 user 0 0\n/dev/sda1 /boot xfs,ext4 defaults 0 2\n");
    plan_fix(&phony);
    check_file(&phony, "/etc/fstab",
               "/dev/hdc /media/cdrom udf,iso9660 user 0 0\n"
               "UUID=11111111-0003-4000-8000-000000000011 /boot xfs,ext4 defaults 0 2\n");
    assert_int_equal(phony.plan.note_count, 0);
    phony_fini(&phony);
}

static void test_other_ways_to_resume_stay(void **state)
{
    (void)state;
    static const char *const texts[] = {"RESUME=none\n", "RESUME=auto\n",
                                        "RESUME=/dev/mapper/vg-swap\n", "# RESUME=/dev/sda6\n"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct phony phony;
        phony_init_debian11(&phony);
        phony_add(&phony, "/etc/initramfs-tools/conf.d/resume", texts[i]);
        plan_fix(&phony);
        assert_null(phony_find_edit(&phony, "/etc/initramfs-tools/conf.d/resume"));
        phony_fini(&phony);
    }
}

static void test_a_file_without_a_last_newline_stays_without(void **state)
{
    (void)state;
    struct phony phony;
    phony_init_debian11(&phony);
    phony_add(&phony, "/etc/fstab", "/dev/sda5 / ext4 defaults 0 1");
    plan_fix(&phony);
    check_file(&phony, "/etc/fstab",
               "UUID=11111111-0001-4000-8000-000000000011 / ext4 defaults 0 1");
    phony_fini(&phony);
}

static void replaced(const char *line, const char *value, const char *expected)
{
    struct fstab_line parsed;
    AUTO(text) out = {0};
    fstab_parse_line((struct span){line, strlen(line)}, &parsed);
    fstab_add_replaced(&parsed, FSTAB_SPEC, value, &out);
    assert_string_equal(text_string(&out), expected);
}

static void test_replacing_a_field_keeps_the_next_column_where_it_fits(void **state)
{
    (void)state;
    replaced("/dev/sda1          / ext4", "UUID=1", "UUID=1             / ext4");
    replaced("/dev/sda1 / ext4", "UUID=1234567890", "UUID=1234567890 / ext4");
    replaced("/dev/sda1 / ext4", "UUID=1", "UUID=1    / ext4");
    replaced("  /dev/sda1\t/\text4", "UUID=1", "  UUID=1\t/\text4");
    replaced("/dev/sda1", "UUID=1", "UUID=1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_debian_11_gets_uuids_and_keeps_comments_and_columns),
        cmocka_unit_test(test_debian_12_keeps_network_mapper_and_memory_file_systems),
        cmocka_unit_test(test_debian_13_names_a_swap_with_a_random_key_by_partition),
        cmocka_unit_test(test_a_random_key_never_gets_the_uuid_that_an_old_life_left),
        cmocka_unit_test(test_luks_is_named_by_its_own_uuid),
        cmocka_unit_test(test_a_disk_that_was_not_converted_is_left_with_a_warning),
        cmocka_unit_test(test_a_line_whose_type_does_not_fit_is_left_alone),
        cmocka_unit_test(test_drives_with_discs_and_lists_of_types_are_understood),
        cmocka_unit_test(test_other_ways_to_resume_stay),
        cmocka_unit_test(test_a_file_without_a_last_newline_stays_without),
        cmocka_unit_test(test_replacing_a_field_keeps_the_next_column_where_it_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
