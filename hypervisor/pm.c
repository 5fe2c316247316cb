/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The fixed hardware of ACPI (specification 6.3, section 4.8.3): the PM1a event and control blocks
 * and the PM timer. Of events there is the power button, of sleeping states S5. ACPI is always on:
 * there is no SMI command that would switch.
 *
 *   0x600 status (16 bits)  0x602 enable  0x604 control  0x608 timer (24 bits, 3.579545 MHz)
 */
#include "base/bytes.h"
#include "base/text.h"
#include "hypervisor/layout.h"
#include "hypervisor/platform.h"
#include "hypervisor/ports.h"

#include <stdlib.h>
#include <time.h>

#define PORTS 12
#define TIMER_HZ UINT64_C(3579545)
#define TIMER_MASK 0xffffff
#define PM1_POWER_BUTTON 0x0100 /* in status and in enable */
#define PM1_ENABLE_MASK 0x0721  /* timer, global lock, both buttons, RTC */
#define CONTROL_SCI 0x0001
#define CONTROL_STORED 0x1c02 /* SLP_TYP, BM_RLD */
#define CONTROL_SLEEP_TYPE_SHIFT 10
#define CONTROL_SLEEP 0x2000

struct pm {
    struct device device;
    struct device_host host;
    pthread_mutex_t lock; /* of all below */
    uint16_t status, enable, control;
    bool sci_is_high;
};

static uint32_t timer_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t ticks =
        (uint64_t)now.tv_sec * TIMER_HZ + (uint64_t)now.tv_nsec * TIMER_HZ / UINT64_C(1000000000);
    return ticks & TIMER_MASK;
}

static void update_sci(struct pm *pm)
{
    bool is_high = (pm->status & pm->enable) != 0;
    if (is_high == pm->sci_is_high)
        return;
    pm->sci_is_high = is_high;
    pm->host.interrupts->set_line(pm->host.interrupts->context, LAYOUT_GSI_SCI, is_high);
}

static uint64_t pm_read(void *device, uint64_t offset, unsigned size)
{
    struct pm *pm = device;
    uint8_t registers[PORTS + sizeof(uint64_t)] = {0};
    pthread_mutex_lock(&pm->lock);
    store_le16(registers, pm->status);
    store_le16(registers + 2, pm->enable);
    store_le16(registers + 4, pm->control);
    pthread_mutex_unlock(&pm->lock);
    store_le32(registers + 8, timer_now());
    uint64_t value = load_le64(registers + offset);
    return size < sizeof(value) ? value & ((UINT64_C(1) << (8 * size)) - 1) : value;
}

/* SLP_TYP and SLP_EN come in one byte. */
static void write_control_high(struct pm *pm, uint8_t value)
{
    uint16_t control = (uint16_t)(value << 8);
    pm->control = (pm->control & 0xff) | (control & CONTROL_STORED);
    unsigned type = pm->control >> CONTROL_SLEEP_TYPE_SHIFT & 7;
    if ((control & CONTROL_SLEEP) && type == PM_SLEEP_S5)
        pm->host.event(pm->host.context, MACHINE_POWER_OFF, 0);
}

static void write_register(struct pm *pm, unsigned at, uint8_t value)
{
    switch (at) {
    case 0:
    case 1: /* status: what is written as one is cleared */
        pm->status &= (uint16_t) ~(value << (8 * at));
        break;
    case 2:
        pm->enable = (pm->enable & 0xff00) | (value & PM1_ENABLE_MASK);
        break;
    case 3:
        pm->enable = (uint16_t)((pm->enable & 0xff) | (value << 8 & PM1_ENABLE_MASK));
        break;
    case 4:
        pm->control = (pm->control & 0xff00) | (value & CONTROL_STORED) | CONTROL_SCI;
        break;
    case 5:
        write_control_high(pm, value);
        break;
    }
}

static void write_byte(void *device, unsigned at, uint8_t value)
{
    struct pm *pm = device;
    pthread_mutex_lock(&pm->lock);
    write_register(pm, at, value);
    update_sci(pm);
    pthread_mutex_unlock(&pm->lock);
}

static void pm_write(void *device, uint64_t offset, unsigned size, uint64_t value)
{
    ports_write_bytes(write_byte, device, offset, size, value);
}

static const struct bus_ops pm_ports = {.read = pm_read, .write = pm_write};

void pm_press_power_button(struct device *device)
{
    struct pm *pm = (struct pm *)device;
    pthread_mutex_lock(&pm->lock);
    pm->status |= PM1_POWER_BUTTON;
    update_sci(pm);
    pthread_mutex_unlock(&pm->lock);
}

static void pm_reset(struct device *device)
{
    struct pm *pm = (struct pm *)device;
    pthread_mutex_lock(&pm->lock);
    pm->status = pm->enable = 0;
    pm->control = CONTROL_SCI;
    update_sci(pm);
    pthread_mutex_unlock(&pm->lock);
}

static void pm_close(struct device *device)
{
    struct pm *pm = (struct pm *)device;
    bus_remove(pm->host.ports, LAYOUT_PORT_PM, pm);
    pthread_mutex_destroy(&pm->lock);
    free(pm);
}

static const struct device_ops pm_ops = {.name = "pm", .reset = pm_reset, .close = pm_close};

struct device *pm_new(const struct device_host *host, struct error *err)
{
    struct pm *pm = memory_new(1, sizeof(*pm));
    *pm = (struct pm){.device.ops = &pm_ops, .host = *host, .control = CONTROL_SCI};
    pthread_mutex_init(&pm->lock, NULL);
    if (ports_take(host, LAYOUT_PORT_PM, PORTS, &pm_ports, pm, err) == 0)
        return &pm->device;
    pm_close(&pm->device);
    return NULL;
}
