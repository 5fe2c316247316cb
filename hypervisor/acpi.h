/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The ACPI tables of our machine (ACPI 6.3: RSDP 5.2.5, XSDT 5.2.8, FADT 5.2.9, FACS 5.2.10, MADT
 * 5.2.12; AML chapter 20): CPUs, interrupt controllers, PCI with its routing, serial port, RTC,
 * power button, S5. One blob with zero for its base, and what has to be added where; either the
 * firmware does that (table-loader) or acpi_place.
 */
#ifndef HYPERVISOR_ACPI_H
#define HYPERVISOR_ACPI_H

#include "base/error.h"
#include "base/text.h"

#include <stddef.h>
#include <stdint.h>

struct acpi_options {
    unsigned cpus; /* at most LAYOUT_MAX_CPUS */
    bool has_pvpanic;
};

struct acpi_tables {
    struct text tables; /* etc/acpi/tables: FACS first (64-byte aligned), DSDT, FADT, MADT, XSDT */
    struct text rsdp;   /* etc/acpi/rsdp */
    struct text loader; /* etc/table-loader: 128-byte commands */
};

int acpi_make(struct acpi_tables *tables, const struct acpi_options *options, struct error *err);
void acpi_tables_fini(struct acpi_tables *tables);

/* Carries the loader's commands out: both files as they are in memory at these addresses. */
int acpi_place(struct acpi_tables *tables, uint64_t tables_at, uint64_t rsdp_at, struct error *err);

#endif
