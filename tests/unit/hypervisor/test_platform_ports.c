/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Every port of every platform device, at every width, with every value: what comes back fits the
 * width, no event is asked for but by who may, and the other ports are silent. Then the few devices
 * that have only a port.
 */
#include "base/bytes.h"
#include "hypervisor/fwcfg.h"
#include "tests/unit/hypervisor/platform_rig.h"

#define MANY_LONG 50000 /* values of 32 bits, spread over all */
#define SHORT_STEP 7    /* between values of 16 bits: still all of each half */

static struct device *make_serial(const struct device_host *host, struct error *err)
{
    return serial_new(host, &(struct console_ends){.in = -1, .out = -1}, err);
}

static struct device *make_rtc(const struct device_host *host, struct error *err)
{
    return rtc_new(host, &(struct rtc_options){.cpus = 1, .low_bytes = GIB}, err);
}

static struct device *make_fwcfg(const struct device_host *host, struct error *err)
{
    struct fwcfg *fwcfg = fwcfg_new(host, err);
    return fwcfg ? fwcfg_device(fwcfg) : NULL;
}

static const struct kind {
    struct device *(*make)(const struct device_host *host, struct error *err);
    unsigned port, count;
    bool has_event;
    enum machine_event event;
} kinds[] = {
    {.make = make_serial, .port = 0x3f8, .count = 8},
    {.make = make_rtc, .port = 0x70, .count = 2},
    {.make = reset_ports_new, .port = 0x60, .count = 1}, /* only after a command */
    {reset_ports_new, 0x64, 1, true, MACHINE_RESET},
    {reset_ports_new, 0x92, 1, true, MACHINE_RESET},
    {reset_ports_new, 0xcf9, 1, true, MACHINE_RESET},
    {pm_new, 0x600, 12, true, MACHINE_POWER_OFF},
    {.make = debug_port_new, .port = 0x402, .count = 1},
    {pvpanic_new, 0x505, 1, true, MACHINE_PANICKED},
    {test_exit_new, 0xf4, 4, true, MACHINE_EXIT},
    {.make = make_fwcfg, .port = 0x510, .count = 2},
    {.make = make_fwcfg, .port = 0x514, .count = 8},
};

static void touch(struct rig *rig, const struct kind *kind, unsigned port, unsigned size,
                  uint64_t value)
{
    unsigned before = rig->events;
    bus_write(&rig->ports, port, size, value);
    uint64_t read = bus_read(&rig->ports, port, size);
    if (size < 8 && read >> (8 * size) != 0)
        fail_msg("port 0x%x, %u bytes, gave 0x%llx", port, size, (unsigned long long)read);
    if (rig->events != before && (!kind->has_event || rig->event != kind->event))
        fail_msg("port 0x%x, %u bytes of 0x%llx: event %d", port, size, (unsigned long long)value,
                 rig->event);
}

static void test_platform_ports_bear_every_value_at_every_width(void **state)
{
    (void)state;
    for (const struct kind *kind = kinds; kind < kinds + ARRAY_LENGTH(kinds); kind++) {
        struct rig *rig = rig_new();
        struct error err = {0};
        struct device *device = kind->make(&rig->host, &err);
        assert_non_null(device);
        for (unsigned port = kind->port; port < kind->port + kind->count; port++) {
            for (unsigned value = 0; value < 0x100; value++)
                touch(rig, kind, port, 1, value);
            for (unsigned value = 0; value < 0x10000; value += SHORT_STEP)
                touch(rig, kind, port, 2, value);
            for (uint32_t i = 0; i < MANY_LONG / kind->count; i++)
                touch(rig, kind, port, 4, i * UINT32_C(2654435761));
            touch(rig, kind, port, 8, 0x0123456789abcdef);
        }
        assert_true(kind->has_event == (rig->events > 0));
        rig_free(rig, device);
    }
}

/* Together they take what the table says, and no more. */
static void test_platform_ports_do_not_overlap_and_leave_the_others_silent(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    struct error err = {0};
    struct device *devices[ARRAY_LENGTH(kinds)] = {NULL};
    unsigned answering = 0, expected = 0;
    for (size_t i = 0; i < ARRAY_LENGTH(kinds); i++) {
        expected += kinds[i].count;
        if (i > 0 && kinds[i].make == kinds[i - 1].make)
            continue; /* one device of several ranges */
        devices[i] = kinds[i].make(&rig->host, &err);
        assert_non_null(devices[i]);
        assert_null(kinds[i].make(&rig->host, &err)); /* and never twice */
    }
    for (unsigned i = 0; i < rig->ports.count; i++)
        answering += (unsigned)rig->ports.ranges[i].length;
    assert_int_equal(answering, expected);
    for (size_t i = 0; i < ARRAY_LENGTH(kinds); i++) {
        if (devices[i])
            devices[i]->ops->close(devices[i]);
    }
    rig_free(rig, NULL);
}

static void test_debug_port_tells_lines_and_not_without_end(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    struct error err = {0};
    struct device *device = debug_port_new(&rig->host, &err);
    assert_non_null(device);
    assert_int_equal(in8(rig, 0x402), 0xe9);
    for (const char *c = "SeaBIOS (version)\r\n\nb\x1b[2J\nlast"; *c; c++)
        out8(rig, 0x402, (uint8_t)*c);
    assert_string_equal(rig->lines, "firmware: SeaBIOS (version)\nfirmware: b\\x1b[2J\n");
    device->ops->reset(device);
    assert_non_null(strstr(rig->lines, "firmware: last\n"));
    rig->lines[0] = '\0';
    for (unsigned i = 0; i < 3u << 20; i++) {
        if (i == 2u << 20)
            rig->lines[0] = '\0';
        out8(rig, 0x402, i % 80 == 79 ? '\n' : 'x');
    }
    assert_string_equal(rig->lines, "");
    rig_free(rig, device);
}

static void test_pvpanic_tells_the_machine_of_its_two_events(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    struct error err = {0};
    struct device *device = pvpanic_new(&rig->host, &err);
    assert_non_null(device);
    assert_int_equal(in8(rig, 0x505), 3);
    out8(rig, 0x505, 0xfc);
    assert_int_equal(rig->events, 0);
    out8(rig, 0x505, 1);
    assert_int_equal(rig->value, 1);
    out8(rig, 0x505, 2);
    assert_int_equal(rig->value, 2);
    assert_int_equal(rig->events, 2);
    assert_int_equal(rig->event, MACHINE_PANICKED);
    rig_free(rig, device);
}

static void test_test_exit_ends_with_the_value_written(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    struct error err = {0};
    struct device *device = test_exit_new(&rig->host, &err);
    assert_non_null(device);
    bus_write(&rig->ports, 0xf4, 1, 0xffffff2a);
    assert_int_equal(rig->value, 0x2a);
    bus_write(&rig->ports, 0xf4, 4, 0x12345678);
    assert_int_equal(rig->value, 0x78); /* its low byte, once */
    assert_int_equal(rig->events, 2);
    assert_int_equal(rig->event, MACHINE_EXIT);
    out8(rig, 0xf5, 9);
    assert_int_equal(rig->events, 2);
    rig_free(rig, device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_platform_ports_bear_every_value_at_every_width),
        cmocka_unit_test(test_platform_ports_do_not_overlap_and_leave_the_others_silent),
        cmocka_unit_test(test_debug_port_tells_lines_and_not_without_end),
        cmocka_unit_test(test_pvpanic_tells_the_machine_of_its_two_events),
        cmocka_unit_test(test_test_exit_ends_with_the_value_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
