/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * SeaBIOS and what it asks for: its image in memory, where RAM is, and the keys and files of fw_cfg
 * by which it finds its console, the CPUs, the ACPI tables and the disk to boot from.
 */
#include "base/bytes.h"
#include "base/checked.h"
#include "base/io.h"
#include "base/own.h"
#include "hypervisor/boot.h"
#include "hypervisor/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define FIRMWARE_DEFAULT "/usr/share/seabios/bios-256k.bin"
#define FIRMWARE_END MIB /* of the copy that runs */
#define PAGE_SIZE 4096
#define LOW_RAM_END UINT64_C(0xa0000)

#define KEY_SIGNATURE 0x00
#define KEY_ID 0x01
#define KEY_NO_GRAPHIC 0x04
#define KEY_CPUS 0x05
#define KEY_MAX_CPUS 0x0f
#define ID_PORTS 0x01
#define ID_DMA 0x02
#define WAIT_FOR_EVER UINT32_MAX /* with nothing to boot: no restart */

/* --- image ---------------------------------------------------------------------------------- */

int firmware_read(struct firmware *firmware, const char *path, struct error *err)
{
    AUTO_FREE char *bytes = NULL;
    size_t size;
    *firmware = (struct firmware){.data = NULL};
    if (!path)
        path = FIRMWARE_DEFAULT;
    if (io_read_file(AT_FDCWD, path, FIRMWARE_MAX_SIZE, &bytes, &size, err) < 0)
        return error_wrap(err, "firmware %s", path);
    if (size != FIRMWARE_MAX_SIZE && size != FIRMWARE_MAX_SIZE / 2)
        return error_set(err, EINVAL, "firmware %s: %zu bytes, neither 128 nor 256 KiB", path,
                         size);
    firmware->data = aligned_alloc(PAGE_SIZE, size);
    if (!firmware->data)
        return error_set(err, errno, "firmware %s", path);
    memcpy(firmware->data, bytes, size);
    firmware->size = size;
    return 0;
}

void firmware_fini(struct firmware *firmware)
{
    free(firmware->data);
    *firmware = (struct firmware){.data = NULL};
}

int firmware_place(const struct firmware *firmware, const struct guest_memory *memory,
                   struct error *err)
{
    if (firmware->size > FIRMWARE_MAX_SIZE ||
        !guest_memory_write(memory, FIRMWARE_END - firmware->size, firmware->data, firmware->size))
        return error_set(err, EINVAL, "no RAM below 1 MiB for a firmware of %zu bytes",
                         firmware->size);
    return 0;
}

/* --- memory map ----------------------------------------------------------------------------- */

size_t memory_map_make(struct memory_map_entry entries[MEMORY_MAP_MAX], uint64_t low_bytes,
                       uint64_t high_bytes)
{
    const struct memory_map_entry all[] = {
        {0, min_u64(low_bytes, LAYOUT_EBDA), MEMORY_MAP_RAM},
        {LAYOUT_EBDA, LOW_RAM_END - LAYOUT_EBDA, MEMORY_MAP_RESERVED},
        {LAYOUT_BIOS, MIB - LAYOUT_BIOS, MEMORY_MAP_RESERVED},
        {MIB, low_bytes > MIB ? low_bytes - MIB : 0, MEMORY_MAP_RAM},
        {LAYOUT_IDENTITY_MAP, 4 * (uint64_t)PAGE_SIZE, MEMORY_MAP_RESERVED},
        {LAYOUT_4G - FIRMWARE_MAX_SIZE, FIRMWARE_MAX_SIZE, MEMORY_MAP_RESERVED},
        {LAYOUT_RAM_HIGH, high_bytes, MEMORY_MAP_RAM},
    };
    _Static_assert(ARRAY_LENGTH(all) <= MEMORY_MAP_MAX, "the map's size");
    size_t count = 0;
    for (size_t i = 0; i < ARRAY_LENGTH(all); i++) {
        if (all[i].length > 0)
            entries[count++] = all[i];
    }
    return count;
}

/* --- fw_cfg -------------------------------------------------------------------------------------
 */

static int add_keys(struct fwcfg *fwcfg, const struct firmware_options *options, struct error *err)
{
    uint8_t id[4], one[2], cpus[2];
    store_le32(id, ID_PORTS | ID_DMA);
    store_le16(one, 1);
    store_le16(cpus, (uint16_t)options->cpus);
    if (fwcfg_add_key(fwcfg, KEY_SIGNATURE, "QEMU", 4, err) < 0 ||
        fwcfg_add_key(fwcfg, KEY_ID, id, sizeof(id), err) < 0 ||
        fwcfg_add_key(fwcfg, KEY_NO_GRAPHIC, one, sizeof(one), err) < 0 ||
        fwcfg_add_key(fwcfg, KEY_CPUS, cpus, sizeof(cpus), err) < 0)
        return -1;
    return fwcfg_add_key(fwcfg, KEY_MAX_CPUS, cpus, sizeof(cpus), err);
}

static int add_number(struct fwcfg *fwcfg, const char *name, uint64_t value, struct error *err)
{
    uint8_t bytes[8];
    store_le64(bytes, value);
    return fwcfg_add_file(fwcfg, name, bytes, sizeof(bytes), err);
}

static int add_memory_map(struct fwcfg *fwcfg, const struct firmware_options *options,
                          struct error *err)
{
    struct memory_map_entry entries[MEMORY_MAP_MAX];
    size_t count = memory_map_make(entries, options->low_bytes, options->high_bytes);
    return fwcfg_add_file(fwcfg, "etc/e820", entries, count * sizeof(entries[0]), err);
}

/* A device path of Open Firmware, as SeaBIOS makes them: any kind of device in that slot. */
static int add_boot_order(struct fwcfg *fwcfg, const struct firmware_options *options,
                          struct error *err)
{
    AUTO(text) order = {0};
    for (size_t i = 0; i < options->boot_slot_count; i++)
        text_addf(&order, "/pci@i0cf8/*@%x\n", options->boot_slots[i]);
    if (order.length == 0)
        return 0;
    return fwcfg_add_file(fwcfg, "bootorder", order.data, order.length + 1, err);
}

static int add_tables(struct fwcfg *fwcfg, const struct acpi_tables *tables, struct error *err)
{
    if (fwcfg_add_file(fwcfg, "etc/acpi/tables", tables->tables.data, tables->tables.length, err) ||
        fwcfg_add_file(fwcfg, "etc/acpi/rsdp", tables->rsdp.data, tables->rsdp.length, err))
        return -1;
    return fwcfg_add_file(fwcfg, "etc/table-loader", tables->loader.data, tables->loader.length,
                          err);
}

static int add_acpi(struct fwcfg *fwcfg, const struct firmware_options *options, struct error *err)
{
    AUTO(acpi_tables) tables = {.rsdp = {0}};
    const struct acpi_options acpi = {.cpus = options->cpus, .has_pvpanic = true};
    return acpi_make(&tables, &acpi, err) < 0 ? -1 : add_tables(fwcfg, &tables, err);
}

int firmware_configure(struct fwcfg *fwcfg, const struct firmware_options *options,
                       struct error *err)
{
    if (add_keys(fwcfg, options, err) < 0 || add_memory_map(fwcfg, options, err) < 0 ||
        add_acpi(fwcfg, options, err) < 0 ||
        add_number(fwcfg, "etc/sercon-port", LAYOUT_PORT_SERIAL, err) < 0 ||
        add_number(fwcfg, "etc/show-boot-menu", 0, err) < 0 ||
        add_number(fwcfg, "etc/boot-fail-wait", WAIT_FOR_EVER, err) < 0)
        return -1;
    return add_boot_order(fwcfg, options, err);
}
