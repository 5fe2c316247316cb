/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Services for hardware that stays behind.
 */
#include "bootfix/hardware_services.h"
#include "tests/lib/phony_guest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define UNITS "/etc/systemd/system"

static void plan_fix(struct phony *phony)
{
    struct error err = {0};
    assert_int_equal(fix_services.plan(&phony->context, &err), 0);
}

static bool is_removed(const struct phony *phony, const char *path)
{
    const struct edit *edit = phony_find_edit(phony, path);
    return edit && edit->kind == EDIT_REMOVE;
}

static void test_enabled_units_lose_their_links_and_aliases(void **state)
{
    (void)state;
    struct phony phony;
    phony_init_debian12(&phony);
    plan_fix(&phony);
    assert_true(is_removed(&phony, UNITS "/smartd.service"));
    assert_true(is_removed(&phony, UNITS "/multi-user.target.wants/smartmontools.service"));
    assert_true(is_removed(&phony, UNITS "/multi-user.target.wants/lm-sensors.service"));
    assert_int_equal(phony.plan.edit_count, 3);
    assert_string_equal(phony_find_edit(&phony, UNITS "/smartd.service")->reason,
                        "virtual disks have no S.M.A.R.T. data: smartd.service is disabled");
    phony_fini(&phony);
}

static void test_scripts_beside_a_unit_of_their_name_stay(void **state)
{
    (void)state;
    struct phony phony;
    phony_init_debian11(&phony);
    plan_fix(&phony);
    assert_null(phony_find_edit(&phony, "/etc/rc2.d/S01smartmontools"));
    assert_true(is_removed(&phony, UNITS "/multi-user.target.wants/smartmontools.service"));
    assert_null(phony_find_edit(&phony, UNITS "/multi-user.target.wants/cron.service"));
    phony_fini(&phony);
}

static void test_scripts_without_a_unit_are_stopped_in_each_level(void **state)
{
    (void)state;
    struct phony phony;
    phony_init_sysv(&phony);
    plan_fix(&phony);
    assert_true(is_removed(&phony, "/etc/rc2.d/S20hp-health"));
    assert_true(is_removed(&phony, "/etc/rc3.d/S20hp-health"));
    const struct edit *edit = phony_find_edit(&phony, "/etc/rc2.d/K80hp-health");
    assert_int_equal(edit->kind, EDIT_SYMLINK);
    assert_string_equal(edit->after, "../init.d/hp-health");
    assert_null(phony_find_edit(&phony, "/etc/rc2.d/S20ssh"));
    assert_int_equal(phony.plan.edit_count, 4);
    phony_fini(&phony);
}

static void test_a_unit_that_its_package_starts_is_masked(void **state)
{
    (void)state;
    struct phony phony;
    phony_init(&phony);
    phony_add(&phony, "/usr/lib/systemd/system/ras-mc-ctl.service", "[Unit]\n");
    files_memory_add_link(phony.memory,
                          "/usr/lib/systemd/system/multi-user.target.wants/ras-mc-ctl.service",
                          "../ras-mc-ctl.service");
    plan_fix(&phony);
    const struct edit *edit = phony_find_edit(&phony, UNITS "/ras-mc-ctl.service");
    assert_int_equal(edit->kind, EDIT_SYMLINK);
    assert_string_equal(edit->after, "/dev/null");
    assert_int_equal(phony.plan.edit_count, 1);
    phony_apply(&phony);
    plan_fix(&phony);
    assert_int_equal(phony.plan.edit_count, 0);
    phony_fini(&phony);
}

static void test_a_masked_unit_stays_masked(void **state)
{
    (void)state;
    struct phony phony;
    phony_init(&phony);
    files_memory_add_link(phony.memory, UNITS "/smartd.service", "/dev/null");
    plan_fix(&phony);
    assert_int_equal(phony.plan.edit_count, 0);
    phony_fini(&phony);
}

static void test_software_raid_and_ordinary_services_stay(void **state)
{
    (void)state;
    static const char *const names[] = {"mdadm", "mdmonitor", "multipathd", "irqbalance",
                                        "ssh",   "cron",      "smart",      ""};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        assert_null(hardware_service_find((struct span){names[i], strlen(names[i])}));
}

static void test_every_entry_has_a_name_of_its_own_and_a_reason(void **state)
{
    (void)state;
    for (const struct hardware_service *one = hardware_services; one->name; one++) {
        assert_true(strlen(one->why) > 10);
        assert_ptr_equal(hardware_service_find((struct span){one->name, strlen(one->name)}), one);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_enabled_units_lose_their_links_and_aliases),
        cmocka_unit_test(test_scripts_beside_a_unit_of_their_name_stay),
        cmocka_unit_test(test_scripts_without_a_unit_are_stopped_in_each_level),
        cmocka_unit_test(test_a_unit_that_its_package_starts_is_masked),
        cmocka_unit_test(test_a_masked_unit_stays_masked),
        cmocka_unit_test(test_software_raid_and_ordinary_services_stay),
        cmocka_unit_test(test_every_entry_has_a_name_of_its_own_and_a_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
