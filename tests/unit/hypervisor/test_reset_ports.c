/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Every way to reset the machine resets it, nothing beside them does, and nobody who polls the
 * keyboard controller waits.
 */
#include "tests/unit/hypervisor/platform_rig.h"

#define DATA 0x60
#define COMMAND 0x64
#define SYSTEM LAYOUT_PORT_SYSTEM
#define RESET LAYOUT_PORT_RESET

static struct device *ports_on(struct rig *rig)
{
    struct error err = {0};
    struct device *device = reset_ports_new(&rig->host, &err);
    assert_non_null(device);
    return device;
}

static void test_reset_ports_keyboard_controller_pulses_the_reset_line(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    struct device *device = ports_on(rig);
    for (unsigned command = 0; command < 256; command++) {
        unsigned before = rig->events;
        bool is_reset = command >= 0xf0 && command % 2 == 0;
        out8(rig, COMMAND, (uint8_t)command);
        assert_int_equal(rig->events - before, is_reset);
    }
    assert_int_equal(rig->event, MACHINE_RESET);
    rig_free(rig, device);
}

static void test_reset_ports_output_port_resets_only_when_it_is_addressed(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    struct device *device = ports_on(rig);
    out8(rig, DATA, 0x00);
    out8(rig, COMMAND, 0xd1);
    out8(rig, DATA, 0xdf); /* A20 on, running */
    out8(rig, DATA, 0x00);
    out8(rig, COMMAND, 0xd1);
    out8(rig, COMMAND, 0xff); /* another command takes it back */
    out8(rig, DATA, 0x00);
    assert_int_equal(rig->events, 0);
    out8(rig, COMMAND, 0xd1);
    out8(rig, DATA, 0x02);
    assert_int_equal(rig->events, 1);
    rig_free(rig, device);
}

static void test_reset_ports_keyboard_controller_is_never_busy(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    struct device *device = ports_on(rig);
    for (unsigned command = 0; command < 256; command++) {
        out8(rig, COMMAND, (uint8_t)command);
        assert_int_equal(in8(rig, COMMAND) & 3, 0); /* takes the next, has nothing to say */
        in8(rig, DATA);
    }
    rig_free(rig, device);
}

static void test_reset_ports_port_92_resets_when_its_bit_rises(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    struct device *device = ports_on(rig);
    assert_int_equal(in8(rig, SYSTEM), 0x02);
    out8(rig, SYSTEM, 0x02);
    out8(rig, SYSTEM, 0x00);
    assert_int_equal(rig->events, 0);
    out8(rig, SYSTEM, 0x01);
    out8(rig, SYSTEM, 0x03);
    assert_int_equal(rig->events, 1);
    device->ops->reset(device);
    assert_int_equal(in8(rig, SYSTEM), 0x02);
    out8(rig, SYSTEM, 0x03);
    assert_int_equal(rig->events, 2);
    rig_free(rig, device);
}

static void test_reset_ports_register_cf9_resets_with_6_after_2(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    struct device *device = ports_on(rig);
    assert_int_equal(in8(rig, RESET), 0);
    out8(rig, RESET, 0x02);
    assert_int_equal(rig->events, 0);
    assert_int_equal(in8(rig, RESET), 0x02);
    out8(rig, RESET, 0x06);
    assert_int_equal(rig->events, 1);
    assert_int_equal(rig->event, MACHINE_RESET);
    assert_int_equal(in8(rig, RESET), 0x02); /* the start is not seen again */
    out8(rig, RESET, 0x0e);
    assert_int_equal(rig->events, 2);
    device->ops->reset(device);
    assert_int_equal(in8(rig, RESET), 0);
    rig_free(rig, device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reset_ports_keyboard_controller_pulses_the_reset_line),
        cmocka_unit_test(test_reset_ports_output_port_resets_only_when_it_is_addressed),
        cmocka_unit_test(test_reset_ports_keyboard_controller_is_never_busy),
        cmocka_unit_test(test_reset_ports_port_92_resets_when_its_bit_rises),
        cmocka_unit_test(test_reset_ports_register_cf9_resets_with_6_after_2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
