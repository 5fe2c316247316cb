/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The fixed hardware of ACPI (specification 6.3, section 4.8.3): the PM1a event and control blocks
 * and the PM timer. Of events there is the power button, of sleeping states S5. ACPI is always on:
 * there is no SMI command that would switch.
 *
 *   0x600 status (16 bits)  0x602 enable  0x604 control  0x608 timer (24 bits, 3.579545 MHz)
 */
#include "hypervisor/layout.h"
#include "hypervisor/platform.h"
#include "hypervisor/ports.h"

#include <time.h>

#define PORTS 12
#define STATUS 0
#define ENABLE 2
#define CONTROL 4
#define TIMER 8
#define TIMER_HZ UINT64_C(3579545)
#define TIMER_MASK 0xffffff
#define EVENT_POWER_BUTTON 0x01 /* in the high bytes of status and enable */
#define CONTROL_SCI 0x01
#define CONTROL_SLEEP 0x20 /* in the high byte; read as zero */
#define CONTROL_SLEEP_TYPE_SHIFT 2

/* Which bits of a register keep what is written. */
static const uint8_t stored_bits[PORTS] = {[ENABLE] = 0x21, 0x07, [CONTROL] = 0x02, 0x1c};

struct pm {
    struct port_device base;
    uint8_t registers[PORTS];
    bool sci_is_high;
};

/* All bytes of one reading are of one time: that of the lowest. */
static void read_timer(struct pm *pm)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t ticks =
        (uint64_t)now.tv_sec * TIMER_HZ + (uint64_t)now.tv_nsec * TIMER_HZ / UINT64_C(1000000000);
    for (unsigned i = 0; i < 4; i++)
        pm->registers[TIMER + i] = (uint8_t)((ticks & TIMER_MASK) >> (8 * i));
}

static void update_sci(struct pm *pm)
{
    const struct interrupts *interrupts = pm->base.host.interrupts;
    bool is_high = (pm->registers[STATUS] & pm->registers[ENABLE]) ||
                   (pm->registers[STATUS + 1] & pm->registers[ENABLE + 1]);
    if (is_high != pm->sci_is_high)
        interrupts->set_line(interrupts->context, LAYOUT_GSI_SCI, is_high);
    pm->sci_is_high = is_high;
}

static uint8_t read_register(struct port_device *device, unsigned port)
{
    struct pm *pm = (struct pm *)device;
    unsigned at = port - LAYOUT_PORT_PM;
    if (at == TIMER)
        read_timer(pm);
    return pm->registers[at] | (at == CONTROL ? CONTROL_SCI : 0);
}

/* SLP_TYP and SLP_EN come in one byte. Of the status, ones that are written are cleared. */
static void write_register(struct port_device *device, unsigned port, uint8_t value)
{
    struct pm *pm = (struct pm *)device;
    unsigned at = port - LAYOUT_PORT_PM;
    if (at < ENABLE)
        pm->registers[at] &= (uint8_t)~value;
    else if (at < TIMER)
        pm->registers[at] = value & stored_bits[at];
    update_sci(pm);
    if (at == CONTROL + 1 && (value & CONTROL_SLEEP) &&
        pm->registers[at] >> CONTROL_SLEEP_TYPE_SHIFT == PM_SLEEP_S5)
        device->host.event(device->host.context, MACHINE_POWER_OFF, 0);
}

void pm_press_power_button(struct device *device)
{
    struct pm *pm = (struct pm *)device;
    pthread_mutex_lock(&pm->base.lock);
    pm->registers[STATUS + 1] |= EVENT_POWER_BUTTON;
    update_sci(pm);
    pthread_mutex_unlock(&pm->base.lock);
}

static void reset(struct port_device *device)
{
    struct pm *pm = (struct pm *)device;
    for (unsigned at = 0; at < TIMER; at++)
        pm->registers[at] = 0;
    update_sci(pm);
}

static const struct port_kind kind = {
    .ops = {.name = "pm", .reset = port_device_reset, .close = port_device_close},
    .read = read_register,
    .write = write_register,
    .reset = reset,
    .ranges = {{LAYOUT_PORT_PM, PORTS}},
};

struct device *pm_new(const struct device_host *host, struct error *err)
{
    return port_device_new(&kind, sizeof(struct pm), host, err);
}
