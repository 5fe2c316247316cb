/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What every device of a machine is to the machine, and what the machine is to it. Platform devices
 * (serial, RTC, PM, ...) sit on the ports of the bus; virtio devices sit behind a transport
 * (hypervisor/virtio/device.h). Neither knows KVM.
 */
#ifndef HYPERVISOR_DEVICE_H
#define HYPERVISOR_DEVICE_H

#include "base/log.h"
#include "hypervisor/bus.h"
#include "hypervisor/interrupts.h"
#include "hypervisor/loop.h"
#include "hypervisor/memory.h"

enum machine_event {
    MACHINE_RESET,     /* start again from the reset vector */
    MACHINE_POWER_OFF, /* the guest is done */
    MACHINE_PANICKED,  /* its kernel says so; it goes on */
    MACHINE_EXIT,      /* --test-exit: a payload ends with `value` */
};

struct device_host {
    struct bus *ports, *memory_bus;
    const struct guest_memory *memory;
    const struct interrupts *interrupts;
    struct loop *loop;
    struct log *log;
    /* Asks the machine for it, from any thread; returns before it has happened. */
    void (*event)(void *context, enum machine_event event, int value);
    void *context;
};

struct device;

/*
 * Any callback may be NULL: nothing to do. reset, pause, resume and close are called by one thread
 * while no vCPU runs; after pause (and in reset and close) no thread of the device touches guest
 * memory, interrupts, or its backend, until resume. What was begun before is complete.
 */
struct device_ops {
    const char *name;
    void (*reset)(struct device *device);
    void (*pause)(struct device *device);
    void (*resume)(struct device *device);
    void (*close)(struct device *device);
};

/* The first member of each device. */
struct device {
    const struct device_ops *ops;
};

#endif
