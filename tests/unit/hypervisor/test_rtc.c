/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The clock as guests read and set it, in each of its ways to write a number, and CMOS memory.
 */
#include "base/bytes.h"
#include "tests/unit/hypervisor/platform_rig.h"

#include <time.h>

#define INDEX LAYOUT_PORT_RTC
#define DATA (LAYOUT_PORT_RTC + 1)
#define NOON INT64_C(1709208005) /* 2024-02-29 12:00:05 UTC, a Thursday */

static _Atomic int64_t host_time; /* read in the loop's thread */

static int64_t now(void *context)
{
    (void)context;
    return host_time;
}

static uint8_t get(struct rig *rig, uint8_t at)
{
    out8(rig, INDEX, at);
    return in8(rig, DATA);
}

static void put(struct rig *rig, uint8_t at, uint8_t value)
{
    out8(rig, INDEX, at);
    out8(rig, DATA, value);
}

static struct device *rtc_on(struct rig *rig)
{
    struct error err = {0};
    struct rtc_options options = {
        .cpus = 3, .low_bytes = 0xc0000000, .high_bytes = 5 * GIB, .now = now};
    struct device *device = rtc_new(&rig->host, &options, &err);
    assert_non_null(device);
    host_time = NOON;
    return device;
}

static const uint8_t time_registers[] = {0x32, 9, 8, 7, 6, 4, 2, 0};

/* As a string of hexadecimal digits: century, year, month, day, weekday, hour, minute, second. */
static void time_is(struct rig *rig, const char *expected)
{
    uint8_t bytes[sizeof(time_registers)];
    char text[2 * sizeof(bytes) + 1];
    assert_int_equal(get(rig, 0x0a) & 0x80, 0);
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = get(rig, time_registers[i]);
    bytes_format_hex(bytes, sizeof(bytes), text);
    assert_string_equal(text, expected);
}

static void test_rtc_tells_the_time_as_register_b_says(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    struct device *device = rtc_on(rig);
    assert_int_equal(get(rig, 0x0a), 0x26);
    assert_int_equal(get(rig, 0x0b), 0x02);
    assert_int_equal(get(rig, 0x0c), 0x00);
    assert_int_equal(get(rig, 0x0d), 0x80);
    time_is(rig, "2024022905120005");
    put(rig, 0x0b, 0x06);
    time_is(rig, "1418021d050c0005");
    put(rig, 0x0b, 0x00);
    time_is(rig, "2024022905920005"); /* 12 pm */
    host_time += 3600;
    time_is(rig, "2024022905810005"); /* 1 pm */
    host_time -= 13 * 3600;
    time_is(rig, "2024022905120005"); /* midnight is 12 am */
    rig_free(rig, device);
}

static void test_rtc_set_time_runs_on_from_there_and_survives_a_reset(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    struct device *device = rtc_on(rig);
    const uint8_t new_time[] = {0x19, 0x99, 0x12, 0x31, 0x06, 0x23, 0x59, 0x58};
    put(rig, 0x0b, 0x82);
    for (size_t i = 0; i < sizeof(new_time); i++)
        put(rig, time_registers[i], new_time[i]);
    host_time += 100; /* it stands still meanwhile */
    time_is(rig, "1999123106235958");
    put(rig, 0x0b, 0x02);
    time_is(rig, "1999123106235958");
    host_time += 3;
    time_is(rig, "2000010107000001");
    device->ops->reset(device);
    time_is(rig, "2000010107000001");
    rig_free(rig, device);
}

static void test_rtc_takes_a_single_register_while_it_runs(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    struct device *device = rtc_on(rig);
    put(rig, 4, 0x23);
    time_is(rig, "2024022905230005");
    host_time += 3600;
    time_is(rig, "2024030106000005");
    rig_free(rig, device);
}

static void test_rtc_bytes_read_after_register_a_are_of_one_second(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    struct device *device = rtc_on(rig);
    host_time = NOON + 54; /* 12:00:59 */
    get(rig, 0x0a);
    assert_int_equal(get(rig, 2), 0x00);
    host_time++;
    assert_int_equal(get(rig, 0), 0x59);
    host_time++;
    assert_int_equal(get(rig, 0), 0x01); /* who does not look at A sees the time go on */
    host_time--;
    get(rig, 0x0a);
    assert_int_equal(get(rig, 0), 0x00);
    rig_free(rig, device);
}

static void test_rtc_any_bytes_are_a_time(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    struct device *device = rtc_on(rig);
    static const uint8_t modes[] = {0x00, 0x02, 0x04, 0x06};
    for (size_t mode = 0; mode < sizeof(modes); mode++) {
        for (unsigned value = 0; value < 256; value++) {
            put(rig, 0x0b, 0x80 | modes[mode]);
            for (size_t i = 0; i < sizeof(time_registers); i++)
                put(rig, time_registers[i], (uint8_t)value);
            put(rig, 0x0b, modes[mode]);
            put(rig, 0x0b, 0x06);
            get(rig, 0x0a);
            assert_in_range(get(rig, 8), 1, 12);
            assert_in_range(get(rig, 7), 1, 31);
            assert_in_range(get(rig, 4), 0, 23);
            assert_in_range(get(rig, 0), 0, 59);
        }
    }
    rig_free(rig, device);
}

static void test_rtc_local_time_is_that_of_the_hosts_zone(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    struct error err = {0};
    setenv("TZ", "XXX-5:30", 1);
    struct device *device = rtc_new(
        &rig->host, &(struct rtc_options){.is_local_time = true, .cpus = 1, .now = now}, &err);
    assert_non_null(device);
    host_time = NOON;
    time_is(rig, "2024022905173005");
    unsetenv("TZ");
    tzset();
    rig_free(rig, device);
}

static void test_rtc_update_interrupts_each_second_until_it_is_seen(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    struct device *device = rtc_on(rig);
    rig_start_loop(rig);
    put(rig, 0x0b, 0x12);
    usleep(10000);
    assert_false(rig->levels[LAYOUT_GSI_RTC]); /* the time is still the same */
    atomic_fetch_add(&host_time, 1);
    assert_true(rig_waits_for_line(rig, LAYOUT_GSI_RTC, true));
    assert_int_equal(get(rig, 0x0c), 0x90);
    assert_false(rig->levels[LAYOUT_GSI_RTC]);
    assert_int_equal(get(rig, 0x0c), 0);
    put(rig, 0x0b, 0x02);
    rig_free(rig, device);
}

static void test_rtc_alarm_interrupts_at_its_time_and_not_in_a_pause(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    struct device *device = rtc_on(rig);
    rig_start_loop(rig);
    put(rig, 1, 0x09); /* every hour, at :00:09 */
    put(rig, 3, 0x00);
    put(rig, 5, 0xff);
    put(rig, 0x0b, 0x22);
    device->ops->pause(device);
    atomic_fetch_add(&host_time, 3600);
    usleep(10000);
    device->ops->resume(device);
    atomic_fetch_add(&host_time, 6); /* to :00:11: noticed late, but noticed */
    assert_true(rig_waits_for_line(rig, LAYOUT_GSI_RTC, true));
    assert_int_equal(get(rig, 0x0c), 0xb0);
    assert_int_equal(rig->rises[LAYOUT_GSI_RTC], 1);
    atomic_fetch_add(&host_time, 58); /* to :01:09: not at this minute */
    put(rig, 0x0b, 0x32);
    atomic_fetch_add(&host_time, 1);
    assert_true(rig_waits_for_line(rig, LAYOUT_GSI_RTC, true));
    assert_int_equal(get(rig, 0x0c), 0x90);
    device->ops->reset(device);
    assert_int_equal(get(rig, 0x0b), 0x02);
    assert_false(rig->levels[LAYOUT_GSI_RTC]);
    rig_free(rig, device);
}

static void test_rtc_follows_the_hosts_clock(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    struct error err = {0};
    struct device *device = rtc_new(&rig->host, &(struct rtc_options){.cpus = 1}, &err);
    struct tm before, after;
    time_t time_before = time(NULL);
    get(rig, 0x0a);
    put(rig, 0x0b, 0x06);
    int minute = get(rig, 2), hour = get(rig, 4);
    time_t time_after = time(NULL);
    gmtime_r(&time_before, &before);
    gmtime_r(&time_after, &after);
    assert_true(minute == before.tm_min || minute == after.tm_min);
    assert_true(hour == before.tm_hour || hour == after.tm_hour);
    rig_free(rig, device);
}

static unsigned get16(struct rig *rig, uint8_t at)
{
    return get(rig, at) | (unsigned)get(rig, at + 1) << 8;
}

static void test_rtc_cmos_tells_firmware_of_memory_cpus_and_boot_order(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    struct device *device = rtc_on(rig);
    assert_int_equal(get16(rig, 0x15), 640);
    assert_int_equal(get16(rig, 0x30), 0xffff);
    assert_int_equal(get16(rig, 0x34), (0xc0000000 - 16 * MIB) / 65536);
    assert_int_equal(get16(rig, 0x5b) | get(rig, 0x5d) << 16, 5 * GIB / 65536);
    assert_int_equal(get(rig, 0x5f), 2);
    assert_int_equal(get(rig, 0x3d) & 15, 2);
    assert_int_equal(get(rig, 0x38) & 1, 1);
    assert_int_equal(get(rig, 0x0f), 0);
    put(rig, 0x0f, 0x0a);
    put(rig, 0x5f, 77);
    assert_int_equal(get(rig, 0x0f), 0x0a);
    device->ops->reset(device);
    assert_int_equal(get(rig, 0x0f), 0);
    assert_int_equal(get(rig, 0x5f), 2); /* SeaBIOS would wait for ever for a CPU too many */
    rig_free(rig, device);
}

static void test_rtc_index_ignores_the_nmi_bit_and_alarms_are_stored(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    struct device *device = rtc_on(rig);
    assert_int_equal(get(rig, 0x8d), 0x80);
    put(rig, 0x80 | 0x7f, 0x42);
    assert_int_equal(get(rig, 0x7f), 0x42);
    assert_int_equal(in8(rig, INDEX), 0xff);
    for (uint8_t at = 1; at <= 5; at += 2) {
        put(rig, at, (uint8_t)(0xc0 + at));
        assert_int_equal(get(rig, at), 0xc0 + at);
    }
    put(rig, 0x0c, 0xff);
    put(rig, 0x0d, 0x00);
    put(rig, 0x0a, 0xff);
    assert_int_equal(get(rig, 0x0c), 0x00);
    assert_int_equal(get(rig, 0x0d), 0x80);
    assert_int_equal(get(rig, 0x0a), 0x7f);
    bus_write(&rig->ports, INDEX, 2, 0x5500 | 0x7e); /* both ports at once */
    assert_int_equal(get(rig, 0x7e), 0x55);
    rig_free(rig, device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rtc_tells_the_time_as_register_b_says),
        cmocka_unit_test(test_rtc_set_time_runs_on_from_there_and_survives_a_reset),
        cmocka_unit_test(test_rtc_takes_a_single_register_while_it_runs),
        cmocka_unit_test(test_rtc_bytes_read_after_register_a_are_of_one_second),
        cmocka_unit_test(test_rtc_any_bytes_are_a_time),
        cmocka_unit_test(test_rtc_local_time_is_that_of_the_hosts_zone),
        cmocka_unit_test(test_rtc_update_interrupts_each_second_until_it_is_seen),
        cmocka_unit_test(test_rtc_alarm_interrupts_at_its_time_and_not_in_a_pause),
        cmocka_unit_test(test_rtc_follows_the_hosts_clock),
        cmocka_unit_test(test_rtc_cmos_tells_firmware_of_memory_cpus_and_boot_order),
        cmocka_unit_test(test_rtc_index_ignores_the_nmi_bit_and_alarms_are_stored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
