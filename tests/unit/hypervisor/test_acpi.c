/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The ACPI tables as a reader finds them: checksums, pointers, what they say of the machine. That
 * the AML is right is iasl's to say (tests/integration/vm-acpi.sh).
 */
#include "base/own.h"
#include "base/text.h"
#include "hypervisor/acpi.h"
#include "hypervisor/aml.h"
#include "hypervisor/layout.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define TABLES_AT 0x10000u
#define RSDP_AT 0xf0000u

static uint64_t number(const void *from, size_t length)
{
    uint64_t value = 0;
    memcpy(&value, from, length);
    return value;
}

static uint8_t sum(const char *from, size_t length)
{
    uint8_t result = 0;
    while (length-- > 0)
        result = (uint8_t)(result + (uint8_t)*from++);
    return result;
}

static void make_placed(struct acpi_tables *tables, unsigned cpus)
{
    struct error err = {0};
    const struct acpi_options options = {.cpus = cpus, .has_pvpanic = true};
    assert_int_equal(acpi_make(tables, &options, &err), 0);
    assert_int_equal(acpi_place(tables, TABLES_AT, RSDP_AT, &err), 0);
}

/* A table by its address, inside of what there is, and with a right sum. */
static const char *table_at(const struct acpi_tables *tables, uint64_t address,
                            const char *signature)
{
    assert_in_range(address, TABLES_AT, TABLES_AT + tables->tables.length - 8);
    const char *table = tables->tables.data + (address - TABLES_AT);
    uint64_t length = number(table + 4, 4);
    assert_memory_equal(table, signature, 4);
    assert_true(length <= tables->tables.length - (address - TABLES_AT));
    if (strcmp(signature, "FACS") != 0)
        assert_int_equal(sum(table, length), 0);
    return table;
}

static const char *xsdt_of(const struct acpi_tables *tables)
{
    return table_at(tables, number(tables->rsdp.data + 24, 8), "XSDT");
}

static void the_root_pointer_has_both_of_its_sums(void **state)
{
    (void)state;
    struct acpi_tables tables;
    make_placed(&tables, 2);
    assert_int_equal(tables.rsdp.length, 36);
    assert_memory_equal(tables.rsdp.data, "RSD PTR ", 8);
    assert_int_equal(sum(tables.rsdp.data, 20), 0);
    assert_int_equal(sum(tables.rsdp.data, 36), 0);
    assert_int_equal(number(tables.rsdp.data + 15, 1), 2);
    acpi_tables_fini(&tables);
}

static void the_fixed_table_leads_to_the_others_and_to_the_ports(void **state)
{
    (void)state;
    struct acpi_tables tables;
    make_placed(&tables, 1);
    const char *fadt = table_at(&tables, number(xsdt_of(&tables) + 36, 8), "FACP");
    assert_int_equal(number(fadt + 4, 4), 276);
    assert_int_equal(number(fadt + 36, 4) % 64, 0); /* the FACS is aligned */
    table_at(&tables, number(fadt + 36, 4), "FACS");
    table_at(&tables, number(fadt + 40, 4), "DSDT");
    assert_int_equal(number(fadt + 140, 8), number(fadt + 40, 4));
    assert_int_equal(number(fadt + 46, 2), LAYOUT_GSI_SCI);
    assert_int_equal(number(fadt + 56, 4), LAYOUT_PORT_PM);
    assert_int_equal(number(fadt + 64, 4), LAYOUT_PORT_PM + 4);
    assert_int_equal(number(fadt + 76, 4), LAYOUT_PORT_PM + 8);
    assert_int_equal(number(fadt + 120, 8), LAYOUT_PORT_RESET);
    assert_int_equal(number(fadt + 128, 1), 6);
    assert_true(number(fadt + 112, 4) & 1 << 10);
    acpi_tables_fini(&tables);
}

/* Entries of one type in the MADT. */
static unsigned count_entries(const char *madt, unsigned type)
{
    unsigned count = 0;
    for (size_t at = 44; at < number(madt + 4, 4); at += (uint8_t)madt[at + 1]) {
        assert_true(madt[at + 1] > 2);
        count += (uint8_t)madt[at] == type;
    }
    return count;
}

static void every_cpu_is_listed_once(void **state)
{
    (void)state;
    for (unsigned cpus = 1; cpus <= LAYOUT_MAX_CPUS; cpus += 21) {
        struct acpi_tables tables;
        make_placed(&tables, cpus);
        const char *madt = table_at(&tables, number(xsdt_of(&tables) + 44, 8), "APIC");
        assert_int_equal(count_entries(madt, 0), cpus);
        assert_int_equal(count_entries(madt, 1), 1);
        for (unsigned i = 0; i < cpus; i++)
            assert_int_equal(number(madt + 44 + i * 8 + 3, 1), i);
        acpi_tables_fini(&tables);
    }
}

static void the_loader_never_reaches_beyond_its_files(void **state)
{
    (void)state;
    struct acpi_tables tables;
    struct error err = {0};
    const struct acpi_options options = {.cpus = LAYOUT_MAX_CPUS};
    assert_int_equal(acpi_make(&tables, &options, &err), 0);
    assert_int_equal(tables.loader.length % 128, 0);
    unsigned pointers = 0;
    for (size_t at = 0; at < tables.loader.length; at += 128) {
        const char *command = tables.loader.data + at;
        const struct text *file =
            strcmp(command + 4, "etc/acpi/rsdp") == 0 ? &tables.rsdp : &tables.tables;
        if (number(command, 4) == 2) {
            pointers++;
            assert_string_equal(command + 60, "etc/acpi/tables");
            assert_true(number(command + 116, 4) + number(command + 120, 1) <= file->length);
        } else if (number(command, 4) == 3) {
            assert_true(number(command + 64, 4) + number(command + 68, 4) <= file->length);
        } else {
            assert_int_equal(number(command, 4), 1);
            assert_true(at < 256); /* memory first */
        }
    }
    assert_int_equal(pointers, 6);
    acpi_tables_fini(&tables);
}

static void no_cpu_or_too_many_are_refused(void **state)
{
    (void)state;
    struct acpi_tables tables;
    struct error err = {0};
    assert_int_equal(acpi_make(&tables, &(struct acpi_options){.cpus = 0}, &err), -1);
    assert_int_equal(acpi_make(&tables, &(struct acpi_options){.cpus = LAYOUT_MAX_CPUS + 1}, &err),
                     -1);
}

/* The length counts its own bytes, whose number depends on it. */
static void a_package_length_counts_itself(void **state)
{
    (void)state;
    static const size_t insides[] = {5, 62, 63, 64, 4093, 4094, 4095, 70000};
    for (size_t i = 0; i < sizeof(insides) / sizeof(insides[0]); i++) {
        AUTO(text) aml = {0};
        size_t begun = aml_begin_scope(&aml, "\\_SB_");
        while (aml.length - begun < insides[i])
            text_add_bytes(&aml, "", 1);
        aml_end(&aml, begun);
        const uint8_t *at = (const uint8_t *)aml.data + begun;
        unsigned more = at[0] >> 6;
        size_t length = more ? at[0] & 0xf : at[0] & 0x3f;
        for (unsigned j = 1; j <= more; j++)
            length |= (size_t)at[j] << (8 * j - 4);
        assert_int_equal(length, aml.length - begun);
        assert_int_equal(aml.length - begun, insides[i] + more + 1);
        assert_int_equal(at[more + 1], '\\');
    }
}

static void an_eisa_id_is_packed_as_plug_and_play_does(void **state)
{
    (void)state;
    AUTO(text) aml = {0};
    aml_eisa_id(&aml, "PNP0A03");
    assert_int_equal(aml.length, 5);
    assert_memory_equal(aml.data, "\x0c\x41\xd0\x0a\x03", 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_root_pointer_has_both_of_its_sums),
        cmocka_unit_test(the_fixed_table_leads_to_the_others_and_to_the_ports),
        cmocka_unit_test(every_cpu_is_listed_once),
        cmocka_unit_test(the_loader_never_reaches_beyond_its_files),
        cmocka_unit_test(no_cpu_or_too_many_are_refused),
        cmocka_unit_test(a_package_length_counts_itself),
        cmocka_unit_test(an_eisa_id_is_packed_as_plug_and_play_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
