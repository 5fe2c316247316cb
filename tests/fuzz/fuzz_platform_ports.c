/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Any program of port accesses over all platform devices at once: five bytes each, the first for
 * the kind and the width, the second for the port, then the value. What is read fits its width, and
 * a line is high or low, never told so twice.
 */
#include "base/bytes.h"
#include "hypervisor/layout.h"
#include "hypervisor/platform.h"

#include <stdlib.h>

#define STEP 5
#define MAX_STEPS 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint16_t ports[] = {
    0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x3fe, 0x3ff, 0x70,  0x71,  0x60,  0x64,
    0x92,  0xcf9, 0x600, 0x601, 0x602, 0x603, 0x604, 0x605, 0x606, 0x608, 0x60b, 0x402,
    0x505, 0xf4,  0xf5,  0xf7,  0x6f,  0x72,  0x3f7, 0x400, 0x5ff, 0x60c, 0x0,   0xffff,
};

static bool levels[LAYOUT_GSI_COUNT];

static void set_line(void *context, unsigned gsi, bool is_high)
{
    (void)context;
    if (gsi >= LAYOUT_GSI_COUNT || levels[gsi] == is_high)
        abort();
    levels[gsi] = is_high;
}

static void on_event(void *context, enum machine_event event, int value)
{
    (void)context;
    (void)value;
    if (event > MACHINE_EXIT)
        abort();
}

static void on_tap(void *context, const char *bytes, size_t length)
{
    (void)context;
    (void)bytes;
    if (length != 1)
        abort();
}

static int64_t fixed_time(void *context)
{
    (void)context;
    return 1700000000;
}

enum { SERIAL, RTC, RESET_PORTS, PM, DEBUG_PORT, PVPANIC, TEST_EXIT, DEVICES };

static void make_devices(const struct device_host *host, struct device *devices[DEVICES])
{
    devices[SERIAL] = serial_new(host, &(struct console_ends){-1, -1, on_tap, NULL}, NULL);
    devices[RTC] =
        rtc_new(host, &(struct rtc_options){.cpus = 2, .low_bytes = GIB, .now = fixed_time}, NULL);
    devices[RESET_PORTS] = reset_ports_new(host, NULL);
    devices[PM] = pm_new(host, NULL);
    devices[DEBUG_PORT] = debug_port_new(host, NULL);
    devices[PVPANIC] = pvpanic_new(host, NULL);
    devices[TEST_EXIT] = test_exit_new(host, NULL);
}

static void each(struct device *devices[DEVICES], size_t callback)
{
    for (size_t i = 0; i < DEVICES; i++) {
        const struct device_ops *ops = devices[i]->ops;
        void (*calls[])(struct device *) = {ops->reset, ops->pause, ops->resume, ops->close};
        if (calls[callback])
            calls[callback](devices[i]);
    }
}

static void take_step(struct bus *bus, struct device *devices[DEVICES], const uint8_t *step)
{
    unsigned size = 1u << (step[0] >> 3 & 3);
    unsigned port = ports[step[1] % ARRAY_LENGTH(ports)];
    switch (step[0] & 7) {
    case 0:
        if (step[1] < 8)
            each(devices, step[1] % 3);
        else
            pm_press_power_button(devices[PM]);
        break;
    case 1:
    case 2:
    case 3:
        if (size < 8 && bus_read(bus, port, size) >> (8 * size) != 0)
            abort();
        break;
    default:
        bus_write(bus, port, size,
                  (uint64_t)(step[0] >> 5) << 32 | step[2] | (uint64_t)step[3] << 8 |
                      (uint64_t)step[4] << 16);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bus bus;
    struct device *devices[DEVICES];
    const struct interrupts interrupts = {.set_line = set_line};
    static struct loop *loop; /* does not run */
    if (!loop && !(loop = loop_new(NULL)))
        abort();
    const struct device_host host = {
        .ports = &bus, .interrupts = &interrupts, .loop = loop, .event = on_event};

    bus_init(&bus);
    make_devices(&host, devices);
    for (size_t i = 0; i < MAX_STEPS && (i + 1) * STEP <= size; i++)
        take_step(&bus, devices, data + i * STEP);
    each(devices, 0);
    for (unsigned gsi = 0; gsi < LAYOUT_GSI_COUNT; gsi++) {
        if (levels[gsi])
            abort(); /* after a reset every line is low */
    }
    each(devices, 3);
    if (bus.count != 0)
        abort();
    bus_fini(&bus);
    return 0;
}
