/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The tables, and the loader's commands that make addresses of what is offsets here (QEMU's
 * table-loader: its commands are 128 bytes, names of files 56).
 */
#include "hypervisor/acpi.h"

#include "base/own.h"
#include "hypervisor/aml.h"
#include "hypervisor/layout.h"
#include "hypervisor/pci.h"
#include "hypervisor/platform.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define TABLES_FILE "etc/acpi/tables"
#define RSDP_FILE "etc/acpi/rsdp"

struct table_header { /* 5.2.6 */
    char signature[4];
    uint32_t length;
    uint8_t revision, checksum;
    char oem[6], oem_table[8];
    uint32_t oem_revision;
    char creator[4];
    uint32_t creator_revision;
} __attribute__((packed));

struct address { /* generic address structure, 5.2.3.2 */
    uint8_t space, bits, offset, access;
    uint64_t address;
} __attribute__((packed));

struct facs { /* 5.2.10 */
    char signature[4];
    uint32_t length, hardware_signature, waking_vector, lock, flags;
    uint64_t x_waking_vector;
    uint8_t version, reserved[31];
} __attribute__((packed));

struct fadt { /* 5.2.9 */
    struct table_header header;
    uint32_t firmware_ctrl, dsdt;
    uint8_t reserved, profile;
    uint16_t sci_interrupt;
    uint32_t smi_command;
    uint8_t acpi_enable, acpi_disable, s4bios, pstate;
    uint32_t pm1a_event, pm1b_event, pm1a_control, pm1b_control, pm2_control, pm_timer, gpe0, gpe1;
    uint8_t pm1_event_length, pm1_control_length, pm2_control_length, pm_timer_length, gpe0_length,
        gpe1_length, gpe1_base, cst;
    uint16_t c2_latency, c3_latency, flush_size, flush_stride;
    uint8_t duty_offset, duty_width, day_alarm, month_alarm, century;
    uint16_t boot_architecture;
    uint8_t reserved2;
    uint32_t flags;
    struct address reset_register;
    uint8_t reset_value;
    uint16_t arm_boot_architecture;
    uint8_t minor_revision;
    uint64_t x_firmware_ctrl, x_dsdt;
    struct address x_pm1a_event, x_pm1b_event, x_pm1a_control, x_pm1b_control, x_pm2_control,
        x_pm_timer, x_gpe0, x_gpe1, sleep_control, sleep_status;
    uint64_t hypervisor;
} __attribute__((packed));
_Static_assert(sizeof(struct fadt) == 276, "FADT of ACPI 6");

enum {
    FADT_WBINVD = 1 << 0,
    FADT_C1 = 1 << 2,
    FADT_NO_SLEEP_BUTTON = 1 << 5,
    FADT_NO_RTC_WAKE = 1 << 6,
    FADT_RESET_REGISTER = 1 << 10,
    BOOT_NO_VGA = 1 << 2,
    PROFILE_ENTERPRISE_SERVER = 4,
    CENTURY_REGISTER = 0x32,
    SPACE_IO = 1,
    NO_C2 = 0xfff, /* latencies above 100 and 1000 us: not there */
    NO_C3 = 0xfff,
    RESET_FULL = 6,
};

struct madt { /* 5.2.12 */
    struct table_header header;
    uint32_t lapic, flags;
} __attribute__((packed));

struct madt_cpu {
    uint8_t type, length, processor, apic;
    uint32_t flags;
} __attribute__((packed));

struct madt_ioapic {
    uint8_t type, length, id, reserved;
    uint32_t address, first_gsi;
} __attribute__((packed));

struct madt_override {
    uint8_t type, length, bus, source;
    uint32_t gsi;
    uint16_t flags;
} __attribute__((packed));

struct madt_nmi {
    uint8_t type, length, processor;
    uint16_t flags;
    uint8_t lint;
} __attribute__((packed));

enum {
    MADT_CPU = 0,
    MADT_IOAPIC = 1,
    MADT_OVERRIDE = 2,
    MADT_NMI = 4,
    MADT_HAS_8259 = 1,
    MADT_ENABLED = 1,
    MADT_LEVEL_HIGH = 0xd, /* level-triggered, active high */
    MADT_EVERY_CPU = 0xff,
};

struct rsdp { /* 5.2.5.3 */
    char signature[8];
    uint8_t checksum;
    char oem[6];
    uint8_t revision;
    uint32_t rsdt, length;
    uint64_t xsdt;
    uint8_t extended_checksum, reserved[3];
} __attribute__((packed));
#define RSDP_FIRST_SIZE 20 /* of ACPI 1.0: what `checksum` covers */

/* --- commands of the loader --- */

enum loader_type { LOADER_ALLOCATE = 1, LOADER_POINTER = 2, LOADER_CHECKSUM = 3 };
enum { ZONE_HIGH = 1, ZONE_FSEG = 2 };

struct loader_command {
    uint32_t type;
    char file[56];
    union {
        struct {
            uint32_t alignment;
            uint8_t zone;
        } __attribute__((packed)) allocate;
        struct {
            char target[56]; /* its address is added to what stands in `file` at `offset` */
            uint32_t offset;
            uint8_t size;
        } __attribute__((packed)) pointer;
        struct {
            uint32_t offset, start, length;
        } __attribute__((packed)) checksum;
        uint8_t size[68];
    };
} __attribute__((packed));
_Static_assert(sizeof(struct loader_command) == 128, "a command of the table-loader");

static void set_file(char file[56], const char *name)
{
    snprintf(file, 56, "%s", name);
}

static void add_allocate(struct text *loader, const char *file, uint32_t alignment, uint8_t zone)
{
    struct loader_command command = {.type = htole32(LOADER_ALLOCATE)};
    set_file(command.file, file);
    command.allocate.alignment = htole32(alignment);
    command.allocate.zone = zone;
    text_add_bytes(loader, &command, sizeof(command));
}

/* Every pointer is one into the tables. */
static void add_pointer(struct text *loader, const char *file, size_t offset, uint8_t size)
{
    struct loader_command command = {.type = htole32(LOADER_POINTER)};
    set_file(command.file, file);
    set_file(command.pointer.target, TABLES_FILE);
    command.pointer.offset = htole32((uint32_t)offset);
    command.pointer.size = size;
    text_add_bytes(loader, &command, sizeof(command));
}

static void add_checksum(struct text *loader, const char *file, size_t offset, size_t start,
                         size_t length)
{
    struct loader_command command = {.type = htole32(LOADER_CHECKSUM)};
    set_file(command.file, file);
    command.checksum.offset = htole32((uint32_t)offset);
    command.checksum.start = htole32((uint32_t)start);
    command.checksum.length = htole32((uint32_t)length);
    text_add_bytes(loader, &command, sizeof(command));
}

/* --- tables --- */

static struct table_header header_of(const char *signature, size_t length, uint8_t revision)
{
    struct table_header header = {.length = htole32((uint32_t)length),
                                  .revision = revision,
                                  .oem = "REHOST",
                                  .oem_table = "REHOSTVM",
                                  .oem_revision = htole32(1),
                                  .creator = "RHST",
                                  .creator_revision = htole32(1)};
    memcpy(header.signature, signature, sizeof(header.signature));
    return header;
}

/* A table is complete: its length is known, and the loader sums it up after its pointers. */
static void end_table(struct acpi_tables *tables, size_t at)
{
    uint32_t length = htole32((uint32_t)(tables->tables.length - at));
    memcpy(tables->tables.data + at + offsetof(struct table_header, length), &length,
           sizeof(length));
    add_checksum(&tables->loader, TABLES_FILE, at + offsetof(struct table_header, checksum), at,
                 tables->tables.length - at);
}

static void add_facs(struct acpi_tables *tables)
{
    struct facs facs = {.signature = "FACS", .length = htole32(sizeof(struct facs)), .version = 2};
    text_add_bytes(&tables->tables, &facs, sizeof(facs));
}

/* INTA of every slot is a line of the I/O APIC. */
static void add_routing(struct text *aml)
{
    aml_name(aml, "_PRT");
    size_t routing = aml_begin_package(aml, PCI_SLOTS - 1);
    for (unsigned slot = 1; slot < PCI_SLOTS; slot++) {
        size_t entry = aml_begin_package(aml, 4);
        aml_integer(aml, slot << 16 | 0xffff); /* every function */
        aml_integer(aml, 0);                   /* INTA */
        aml_integer(aml, 0);                   /* a GSI, not a link device */
        aml_integer(aml, LAYOUT_GSI_PCI + slot % LAYOUT_GSI_PCI_COUNT);
        aml_end(aml, entry);
    }
    aml_end(aml, routing);
}

static void add_pci(struct text *aml)
{
    AUTO(text) resources = {0};
    size_t device = aml_begin_device(aml, "PCI0");
    aml_name(aml, "_HID");
    aml_eisa_id(aml, "PNP0A03");
    aml_name(aml, "_UID");
    aml_integer(aml, 0);
    aml_bus_range(&resources, 0, 0);
    aml_io(&resources, LAYOUT_PORT_PCI, 8);
    aml_io_window(&resources, 0, LAYOUT_PORT_PCI - 1);
    aml_io_window(&resources, LAYOUT_PORT_PCI + 8, 0xffff);
    aml_memory_window(&resources, LAYOUT_PCI_WINDOW, LAYOUT_PCI_WINDOW_END - 1);
    aml_resources(aml, &resources);
    add_routing(aml);
    aml_end(aml, device);
}

struct isa_device {
    const char *name, *id; /* an EISA id, or a text */
    uint16_t port;
    uint8_t length;
    int irq; /* -1: none */
};

static void add_isa(struct text *aml, const struct isa_device *isa)
{
    AUTO(text) resources = {0};
    size_t device = aml_begin_device(aml, isa->name);
    aml_name(aml, "_HID");
    if (text_starts_with(isa->id, "PNP"))
        aml_eisa_id(aml, isa->id);
    else
        aml_string(aml, isa->id);
    aml_name(aml, "_UID");
    aml_integer(aml, 1);
    aml_name(aml, "_STA");
    aml_integer(aml, 0xf); /* present, enabled, shown, working */
    aml_io(&resources, isa->port, isa->length);
    if (isa->irq >= 0)
        aml_irq(&resources, (unsigned)isa->irq);
    aml_resources(aml, &resources);
    aml_end(aml, device);
}

static void add_sleep(struct text *aml)
{
    aml_name(aml, "_S5_");
    size_t package = aml_begin_package(aml, 4);
    aml_integer(aml, PM_SLEEP_S5);
    aml_integer(aml, PM_SLEEP_S5);
    aml_integer(aml, 0);
    aml_integer(aml, 0);
    aml_end(aml, package);
}

static size_t add_dsdt(struct acpi_tables *tables, const struct acpi_options *options)
{
    static const struct isa_device serial = {"COM1", "PNP0501", LAYOUT_PORT_SERIAL, 8,
                                             LAYOUT_GSI_SERIAL},
                                   rtc = {"RTC_", "PNP0B00", LAYOUT_PORT_RTC, 2, -1},
                                   panic = {"PEVT", "QEMU0001", LAYOUT_PORT_PVPANIC, 1, -1};
    struct text *aml = &tables->tables;
    size_t at = aml->length;
    struct table_header header = header_of("DSDT", 0, 2);
    text_add_bytes(aml, &header, sizeof(header));
    size_t scope = aml_begin_scope(aml, "\\_SB_");
    add_pci(aml);
    add_isa(aml, &serial);
    add_isa(aml, &rtc);
    if (options->has_pvpanic)
        add_isa(aml, &panic);
    aml_end(aml, scope);
    add_sleep(aml);
    end_table(tables, at);
    return at;
}

static struct address io_address(uint16_t port, uint8_t bits, uint8_t access)
{
    return (struct address){
        .space = SPACE_IO, .bits = bits, .access = access, .address = htole64(port)};
}

static void set_power_management(struct fadt *fadt)
{
    fadt->sci_interrupt = htole16(LAYOUT_GSI_SCI);
    fadt->pm1a_event = htole32(LAYOUT_PORT_PM);
    fadt->pm1a_control = htole32(LAYOUT_PORT_PM + 4);
    fadt->pm_timer = htole32(LAYOUT_PORT_PM + 8);
    fadt->pm1_event_length = 4;
    fadt->pm1_control_length = 2;
    fadt->pm_timer_length = 4;
    fadt->x_pm1a_event = io_address(LAYOUT_PORT_PM, 32, 2);
    fadt->x_pm1a_control = io_address(LAYOUT_PORT_PM + 4, 16, 2);
    fadt->x_pm_timer = io_address(LAYOUT_PORT_PM + 8, 32, 3);
    fadt->reset_register = io_address(LAYOUT_PORT_RESET, 8, 1);
    fadt->reset_value = RESET_FULL;
}

static size_t add_fadt(struct acpi_tables *tables, size_t facs_at, size_t dsdt_at)
{
    size_t at = tables->tables.length;
    struct fadt fadt = {
        .header = header_of("FACP", sizeof(fadt), 6),
        .minor_revision = 3,
        .firmware_ctrl = htole32((uint32_t)facs_at),
        .dsdt = htole32((uint32_t)dsdt_at),
        .x_dsdt = htole64(dsdt_at),
        .profile = PROFILE_ENTERPRISE_SERVER,
        .c2_latency = htole16(NO_C2),
        .c3_latency = htole16(NO_C3),
        .century = CENTURY_REGISTER,
        .boot_architecture = htole16(BOOT_NO_VGA),
        .flags = htole32(FADT_WBINVD | FADT_C1 | FADT_NO_SLEEP_BUTTON | FADT_NO_RTC_WAKE |
                         FADT_RESET_REGISTER),
        .hypervisor = htole64(UINT64_C(0x54534f48455200)) /* "\0REHOST" */,
    };
    set_power_management(&fadt);
    text_add_bytes(&tables->tables, &fadt, sizeof(fadt));
    add_pointer(&tables->loader, TABLES_FILE, at + offsetof(struct fadt, firmware_ctrl), 4);
    add_pointer(&tables->loader, TABLES_FILE, at + offsetof(struct fadt, dsdt), 4);
    add_pointer(&tables->loader, TABLES_FILE, at + offsetof(struct fadt, x_dsdt), 8);
    end_table(tables, at);
    return at;
}

static size_t add_madt(struct acpi_tables *tables, unsigned cpus)
{
    struct text *out = &tables->tables;
    size_t at = out->length;
    struct madt madt = {.header = header_of("APIC", 0, 5),
                        .lapic = htole32(LAYOUT_LAPIC),
                        .flags = htole32(MADT_HAS_8259)};
    text_add_bytes(out, &madt, sizeof(madt));
    for (unsigned i = 0; i < cpus; i++) {
        struct madt_cpu cpu = {MADT_CPU, sizeof(cpu), (uint8_t)i, (uint8_t)i,
                               htole32(MADT_ENABLED)};
        text_add_bytes(out, &cpu, sizeof(cpu));
    }
    struct madt_ioapic ioapic = {MADT_IOAPIC, sizeof(ioapic),         LAYOUT_IOAPIC_ID,
                                 0,           htole32(LAYOUT_IOAPIC), 0};
    struct madt_override sci = {
        MADT_OVERRIDE,           sizeof(sci), 0, LAYOUT_GSI_SCI, htole32(LAYOUT_GSI_SCI),
        htole16(MADT_LEVEL_HIGH)};
    struct madt_nmi nmi = {MADT_NMI, sizeof(nmi), MADT_EVERY_CPU, 0, 1};
    text_add_bytes(out, &ioapic, sizeof(ioapic));
    text_add_bytes(out, &sci, sizeof(sci));
    text_add_bytes(out, &nmi, sizeof(nmi));
    end_table(tables, at);
    return at;
}

static size_t add_xsdt(struct acpi_tables *tables, const size_t *entries, size_t count)
{
    size_t at = tables->tables.length;
    struct table_header header = header_of("XSDT", 0, 1);
    text_add_bytes(&tables->tables, &header, sizeof(header));
    for (size_t i = 0; i < count; i++) {
        uint64_t offset = htole64(entries[i]);
        add_pointer(&tables->loader, TABLES_FILE, tables->tables.length, sizeof(offset));
        text_add_bytes(&tables->tables, &offset, sizeof(offset));
    }
    end_table(tables, at);
    return at;
}

static void add_rsdp(struct acpi_tables *tables, size_t xsdt_at)
{
    struct rsdp rsdp = {.signature = "RSD PTR ",
                        .oem = "REHOST",
                        .revision = 2,
                        .length = htole32(sizeof(rsdp)),
                        .xsdt = htole64(xsdt_at)};
    memcpy(rsdp.signature, "RSD PTR ", sizeof(rsdp.signature));
    text_add_bytes(&tables->rsdp, &rsdp, sizeof(rsdp));
    add_pointer(&tables->loader, RSDP_FILE, offsetof(struct rsdp, xsdt), sizeof(rsdp.xsdt));
    add_checksum(&tables->loader, RSDP_FILE, offsetof(struct rsdp, checksum), 0, RSDP_FIRST_SIZE);
    add_checksum(&tables->loader, RSDP_FILE, offsetof(struct rsdp, extended_checksum), 0,
                 sizeof(rsdp));
}

int acpi_make(struct acpi_tables *tables, const struct acpi_options *options, struct error *err)
{
    if (options->cpus == 0 || options->cpus > LAYOUT_MAX_CPUS)
        return error_set(err, EINVAL, "ACPI tables for %u CPUs", options->cpus);
    *tables = (struct acpi_tables){0};
    add_allocate(&tables->loader, TABLES_FILE, 64, ZONE_HIGH);
    add_allocate(&tables->loader, RSDP_FILE, 16, ZONE_FSEG);
    size_t facs_at = 0;
    add_facs(tables);
    size_t dsdt_at = add_dsdt(tables, options);
    const size_t listed[] = {add_fadt(tables, facs_at, dsdt_at), add_madt(tables, options->cpus)};
    add_rsdp(tables, add_xsdt(tables, listed, sizeof(listed) / sizeof(listed[0])));
    return 0;
}

void acpi_tables_fini(struct acpi_tables *tables)
{
    text_fini(&tables->tables);
    text_fini(&tables->rsdp);
    text_fini(&tables->loader);
}

/* --- without a firmware --- */

static void place_pointer(struct text *file, const struct loader_command *command, uint64_t base)
{
    uint64_t value = 0;
    char *place = file->data + le32toh(command->pointer.offset);
    memcpy(&value, place, command->pointer.size);
    value = htole64(le64toh(value) + base);
    memcpy(place, &value, command->pointer.size);
}

static void place_checksum(struct text *file, const struct loader_command *command)
{
    uint8_t sum = 0;
    const char *start = file->data + le32toh(command->checksum.start);
    for (size_t i = 0; i < le32toh(command->checksum.length); i++)
        sum = (uint8_t)(sum + (uint8_t)start[i]);
    file->data[le32toh(command->checksum.offset)] -= (char)sum;
}

int acpi_place(struct acpi_tables *tables, uint64_t tables_at, uint64_t rsdp_at, struct error *err)
{
    if (tables_at % 64 || rsdp_at % 16 || tables_at + tables->tables.length > UINT32_MAX)
        return error_set(err, EINVAL, "ACPI tables cannot be at 0x%llx",
                         (unsigned long long)tables_at);
    for (size_t at = 0; at < tables->loader.length; at += sizeof(struct loader_command)) {
        struct loader_command command;
        memcpy(&command, tables->loader.data + at, sizeof(command));
        struct text *file = strcmp(command.file, RSDP_FILE) == 0 ? &tables->rsdp : &tables->tables;
        if (le32toh(command.type) == LOADER_POINTER)
            place_pointer(file, &command, tables_at);
        else if (le32toh(command.type) == LOADER_CHECKSUM)
            place_checksum(file, &command);
    }
    return 0;
}
