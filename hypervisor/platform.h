/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The few PC devices that a firmware and a kernel want, each in a file of its own. Each takes its
 * ports on host->ports (layout.h) and is freed by its ops->close.
 */
#ifndef HYPERVISOR_PLATFORM_H
#define HYPERVISOR_PLATFORM_H

#include "hypervisor/device.h"

/* Where a guest's text goes and comes from. */
struct console_ends {
    int in, out; /* borrowed; in -1: nobody types */
    /* Sees every byte that the guest writes, in a vCPU's thread, with the device's lock held; may
     * be NULL. */
    void (*tap)(void *context, const char *bytes, size_t length);
    void *context;
};

/* A 16550A at COM1. What the reader does not take is dropped, after a bounded buffer: a console
 * that nobody reads does not stop the guest. The process ignores SIGPIPE. */
struct device *serial_new(const struct device_host *host, const struct console_ends *ends,
                          struct error *err);

/* CMOS and RTC (MC146818). The clock follows the host's, or its local time; alarms and updates
 * interrupt. */
struct rtc_options {
    bool is_local_time;
    unsigned cpus;                  /* register 0x5f: SeaBIOS counts the others */
    uint64_t low_bytes, high_bytes; /* RAM below and above 4 GiB, for old registers */
    int64_t (*now)(void *context);  /* seconds since 1970; NULL: the host's clock */
    void *context;
};
struct device *rtc_new(const struct device_host *host, const struct rtc_options *options,
                       struct error *err);

/* i8042 as far as its reset line, port 0x92, and the reset register 0xcf9. */
struct device *reset_ports_new(const struct device_host *host, struct error *err);

/*
 * ACPI PM1a event and control, the PM timer. Writing S5 to the control register powers off. The
 * power button raises the SCI; any thread. Its lines are level-triggered.
 */
struct device *pm_new(const struct device_host *host, struct error *err);
void pm_press_power_button(struct device *pm);
#define PM_SLEEP_S5 5 /* SLP_TYP of S5; the DSDT says the same */

/* Port 0x402: what the firmware says of itself, as lines of the log (detail). */
struct device *debug_port_new(const struct device_host *host, struct error *err);

/* Port 0x505: the guest's kernel tells that it panicked. */
struct device *pvpanic_new(const struct device_host *host, struct error *err);

/* Port 0xf4: a test's payload ends the machine with the byte that it writes. */
struct device *test_exit_new(const struct device_host *host, struct error *err);

#endif
