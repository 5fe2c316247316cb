/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The power button's way to the guest, the guest's way out, and a timer that goes on.
 */
#include "tests/unit/hypervisor/platform_rig.h"

#include <time.h>

#define STATUS LAYOUT_PORT_PM
#define ENABLE (LAYOUT_PORT_PM + 2)
#define CONTROL (LAYOUT_PORT_PM + 4)
#define TIMER (LAYOUT_PORT_PM + 8)
#define BUTTON 0x100

static unsigned get(struct rig *rig, unsigned port, unsigned size)
{
    return (unsigned)bus_read(&rig->ports, port, size);
}

static void put(struct rig *rig, unsigned port, unsigned value)
{
    bus_write(&rig->ports, port, 2, value);
}

static struct device *pm_on(struct rig *rig)
{
    struct error err = {0};
    struct device *device = pm_new(&rig->host, &err);
    assert_non_null(device);
    return device;
}

static void test_pm_button_holds_the_sci_until_its_status_is_cleared(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    struct device *device = pm_on(rig);
    pm_press_power_button(device);
    assert_false(rig->levels[LAYOUT_GSI_SCI]); /* not enabled yet, but not forgotten */
    put(rig, ENABLE, BUTTON);
    assert_true(rig->levels[LAYOUT_GSI_SCI]);
    assert_int_equal(get(rig, STATUS, 2), BUTTON);
    put(rig, STATUS, 0xffff & ~BUTTON); /* only ones clear */
    assert_true(rig->levels[LAYOUT_GSI_SCI]);
    put(rig, STATUS, BUTTON);
    assert_false(rig->levels[LAYOUT_GSI_SCI]);
    assert_int_equal(get(rig, STATUS, 2), 0);
    pm_press_power_button(device);
    assert_true(rig->levels[LAYOUT_GSI_SCI]);
    out8(rig, STATUS + 1, BUTTON >> 8); /* by bytes, too */
    assert_false(rig->levels[LAYOUT_GSI_SCI]);
    assert_int_equal(rig->rises[LAYOUT_GSI_SCI], 2);
    rig_free(rig, device);
}

static void test_pm_reset_forgets_the_button_and_what_was_enabled(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    struct device *device = pm_on(rig);
    put(rig, ENABLE, 0xffff);
    assert_int_equal(get(rig, ENABLE, 2), 0x0721);
    pm_press_power_button(device);
    device->ops->reset(device);
    assert_false(rig->levels[LAYOUT_GSI_SCI]);
    assert_int_equal(get(rig, STATUS, 4), 0);
    assert_int_equal(get(rig, CONTROL, 2), 1);
    rig_free(rig, device);
}

static void test_pm_only_s5_powers_off(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    struct device *device = pm_on(rig);
    for (unsigned type = 0; type < 8; type++) {
        put(rig, CONTROL, type << 10);
        assert_int_equal(rig->events, 0); /* the type alone is nothing yet */
        if (type != PM_SLEEP_S5)
            put(rig, CONTROL, type << 10 | 0x2000);
        assert_int_equal(rig->events, 0);
    }
    put(rig, CONTROL, PM_SLEEP_S5 << 10 | 0x2001);
    assert_int_equal(rig->events, 1);
    assert_int_equal(rig->event, MACHINE_POWER_OFF);
    assert_int_equal(get(rig, CONTROL, 2), PM_SLEEP_S5 << 10 | 1); /* SLP_EN reads as zero */
    rig_free(rig, device);
}

static void test_pm_acpi_is_on_whatever_is_written(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    struct device *device = pm_on(rig);
    assert_int_equal(get(rig, CONTROL, 2), 1);
    put(rig, CONTROL, 0);
    assert_int_equal(get(rig, CONTROL, 2), 1);
    rig_free(rig, device);
}

static void test_pm_timer_counts_24_bits_at_its_frequency(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    struct device *device = pm_on(rig);
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    unsigned first = get(rig, TIMER, 4);
    usleep(50000);
    unsigned second = get(rig, TIMER, 4);
    clock_gettime(CLOCK_MONOTONIC, &end);
    double seconds =
        (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9;
    double ticks = (second - first) & 0xffffff;
    assert_true(first <= 0xffffff && second <= 0xffffff);
    assert_true(ticks >= 0.05 * 3579545 - 2);
    assert_true(ticks <= seconds * 3579545 + 2);
    put(rig, TIMER, 0); /* nothing can be written there */
    assert_true(((get(rig, TIMER, 4) - second) & 0xffffff) < 0x800000);
    rig_free(rig, device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pm_button_holds_the_sci_until_its_status_is_cleared),
        cmocka_unit_test(test_pm_reset_forgets_the_button_and_what_was_enabled),
        cmocka_unit_test(test_pm_only_s5_powers_off),
        cmocka_unit_test(test_pm_acpi_is_on_whatever_is_written),
        cmocka_unit_test(test_pm_timer_counts_24_bits_at_its_frequency),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
