/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 *     acpi_tables CPUS FOLDER    writes the tables of our machine to FOLDER/NAME.dat, for iasl
 */
#include "base/own.h"
#include "hypervisor/acpi.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TABLES_AT 0x10000u

static uint64_t number(const char *from, size_t length)
{
    uint64_t value = 0;
    memcpy(&value, from, length);
    return value;
}

static int write_table(const struct acpi_tables *tables, uint64_t address, const char *folder)
{
    const char *table = tables->tables.data + (address - TABLES_AT);
    AUTO_FREE char *path = text_format("%s/%.4s.dat", folder, table);
    FILE *file = fopen(path, "we");
    if (!file)
        return -1;
    size_t length = number(table + 4, 4), written = fwrite(table, 1, length, file);
    return fclose(file) == 0 && written == length ? 0 : -1;
}

int main(int argc, char **argv)
{
    struct acpi_tables tables;
    struct error err = {0};
    if (argc != 3)
        return 2;
    const struct acpi_options options = {.cpus = (unsigned)atoi(argv[1]), .has_pvpanic = true};
    if (acpi_make(&tables, &options, &err) != 0 ||
        acpi_place(&tables, TABLES_AT, 0xf0000, &err) != 0) {
        fprintf(stderr, "acpi_tables: %s\n", err.text);
        return 1;
    }
    uint64_t xsdt = number(tables.rsdp.data + 24, 8), fadt, madt;
    fadt = number(tables.tables.data + (xsdt - TABLES_AT) + 36, 8);
    madt = number(tables.tables.data + (xsdt - TABLES_AT) + 44, 8);
    uint64_t dsdt = number(tables.tables.data + (fadt - TABLES_AT) + 140, 8);
    int result = write_table(&tables, xsdt, argv[2]) | write_table(&tables, fadt, argv[2]) |
                 write_table(&tables, madt, argv[2]) | write_table(&tables, dsdt, argv[2]);
    acpi_tables_fini(&tables);
    return result ? 1 : 0;
}
