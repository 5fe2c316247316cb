/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A disk's identity. SCSI's vital product data are SPC-4, 7.8: page 0x80 the unit's serial number,
 * page 0x83 its designators. All of it comes from the device and is text of unknown worth.
 */
#include "p2v/agent/disks_identity.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/own.h"
#include "base/text.h"
#include "p2v/agent/inventory_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VPD_HEADER 4
#define DESIGNATOR_HEADER 4
#define DESIGNATOR_NAA 3
#define DESIGNATOR_EUI64 2

/* Cut at the field's size, blanks around it dropped, what does not print replaced. */
static void set_text(char *field, size_t size, const char *text)
{
    if (field[0] != '\0')
        return;
    AUTO_FREE char *stripped = inventory_strip(text_copy(text));
    size_t length = (size_t)min_u64(strlen(stripped), size - 1);
    for (size_t i = 0; i < length; i++)
        field[i] = stripped[i] >= ' ' && stripped[i] < 0x7f ? stripped[i] : '?';
    field[length] = '\0';
}
#define SET_TEXT(field, text) set_text(field, sizeof(field), text)

static void set_from_file(char *field, size_t size, const char *root, const char *folder,
                          const char *name)
{
    AUTO_FREE char *text = inventory_text(root, "%s/%s", folder, name);
    set_text(field, size, text);
}
#define SET_FILE(field, root, folder, name) set_from_file(field, sizeof(field), root, folder, name)

/* --- the bus, by the path that leads to the disk --- */

static void set_bus(const char *root, const char *folder, struct machine_disk *disk)
{
    static const struct {
        const char *part, *bus;
    } known[] = {
        {"/usb", "usb"},         {"/nvme", "nvme"},     {"/mmc_host", "mmc"},  {"/ata", "sata"},
        {"/end_device-", "sas"}, {"/session", "iscsi"}, {"/rport-", "fc"},     {"/vbd-", "xen"},
        {"/cciss", "cciss"},     {"/ide", "ide"},       {"/virtio", "virtio"}, {"/host", "scsi"},
    };
    AUTO_FREE char *target = inventory_link(root, "%s", folder);
    for (size_t i = 0; i < ARRAY_LENGTH(known) && !disk->bus[0]; i++) {
        if (strstr(target, known[i].part))
            SET_TEXT(disk->bus, known[i].bus);
    }
}

static void set_address(const char *root, const char *folder, struct machine_disk *disk)
{
    AUTO_FREE char *name = inventory_link_name(root, "%s/device", folder);
    unsigned *part = disk->address;
    if (sscanf(name, "%u:%u:%u:%u", &part[0], &part[1], &part[2], &part[3]) != 4)
        memset(disk->address, 0, sizeof(disk->address));
}

/* --- serial numbers --- */

/* Page 0x80: 0, page, length (2, big-endian), text. */
static void set_serial_from_page(const char *root, const char *folder, struct machine_disk *disk)
{
    size_t length = 0;
    AUTO_FREE char *path = inventory_path(root, "%s/device/vpd_pg80", folder);
    AUTO_FREE char *page = inventory_read(path, &length);
    if (!page || length <= VPD_HEADER || (uint8_t)page[1] != 0x80)
        return;
    size_t said = load_be16(page + 2);
    page[min_u64(length, VPD_HEADER + said)] = '\0';
    SET_TEXT(disk->serial, page + VPD_HEADER);
}

/* Page 0x83: the first NAA designator, else an EUI-64, of the unit itself. */
static void set_wwn_from_page(const char *root, const char *folder, struct machine_disk *disk)
{
    size_t length = 0, at = VPD_HEADER;
    AUTO_FREE char *path = inventory_path(root, "%s/device/vpd_pg83", folder);
    AUTO_FREE char *page = inventory_read(path, &length);
    while (page && at + DESIGNATOR_HEADER <= length) {
        const uint8_t *head = (const uint8_t *)page + at;
        size_t size = head[3];
        unsigned type = head[1] & 0xf, association = head[1] >> 4 & 3;
        at += DESIGNATOR_HEADER + size;
        if (at > length)
            return;
        if (association != 0 || (type != DESIGNATOR_NAA && type != DESIGNATOR_EUI64))
            continue;
        AUTO(text) name = {0};
        text_add(&name, type == DESIGNATOR_NAA ? "naa." : "eui.");
        for (size_t i = 0; i < size; i++)
            text_addf(&name, "%02x", head[DESIGNATOR_HEADER + i]);
        SET_TEXT(disk->wwn, text_string(&name));
        return;
    }
}

static void set_wwn(const char *root, const char *folder, struct machine_disk *disk)
{
    static const char *const files[] = {"wwid", "device/wwid"};
    set_wwn_from_page(root, folder, disk);
    for (size_t i = 0; i < ARRAY_LENGTH(files); i++) {
        AUTO_FREE char *text = inventory_text(root, "%s/%s", folder, files[i]);
        /* "t10.ATA MODEL SERIAL" is not world-wide: the rest is. */
        if (text_starts_with(text, "naa.") || text_starts_with(text, "eui.") ||
            text_starts_with(text, "uuid.") || text_starts_with(text, "nvme."))
            SET_TEXT(disk->wwn, text);
    }
}

/* --- what udev found out by asking the disk --- */

/* "ID_MODEL_ENC=a\x20b" */
static void decode_udev(char *text)
{
    char *to = text;
    for (const char *from = text; *from; to++) {
        unsigned byte;
        if (from[0] == '\\' && from[1] == 'x' && sscanf(from + 2, "%2x", &byte) == 1 && from[3]) {
            *to = (char)byte;
            from += 4;
        } else {
            *to = *from++;
        }
    }
    *to = '\0';
}

static void take_udev_line(char *line, struct machine_disk *disk)
{
    const struct {
        const char *key;
        char *field;
        size_t size;
    } keys[] = {
        {"E:ID_SERIAL_SHORT=", disk->serial, sizeof(disk->serial)},
        {"E:ID_WWN_WITH_EXTENSION=", disk->wwn, sizeof(disk->wwn)},
        {"E:ID_MODEL_ENC=", disk->model, sizeof(disk->model)},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(keys); i++) {
        if (!text_starts_with(line, keys[i].key))
            continue;
        char *value = line + strlen(keys[i].key);
        decode_udev(value);
        set_text(keys[i].field, keys[i].size, value);
    }
}

static void read_udev(const char *root, struct machine_disk *disk)
{
    AUTO_FREE char *data = inventory_text(root, "/run/udev/data/b%u:%u", disk->major, disk->minor);
    char *place = NULL;
    for (char *line = strtok_r(data, "\n", &place); line; line = strtok_r(NULL, "\n", &place))
        take_udev_line(line, disk);
}

void disks_read_identity(const char *root, const char *folder, struct machine_disk *disk)
{
    set_bus(root, folder, disk);
    set_address(root, folder, disk);
    SET_FILE(disk->vendor, root, folder, "device/vendor");
    SET_FILE(disk->model, root, folder, "device/model");
    if (!disk->model[0])
        SET_FILE(disk->model, root, folder, "device/name"); /* MMC */
    /* virtio and PCI write their vendor's number there; libata writes its own name. */
    if (text_starts_with(disk->vendor, "0x") || strcmp(disk->vendor, "ATA") == 0)
        memset(disk->vendor, 0, sizeof(disk->vendor));
    SET_FILE(disk->serial, root, folder, "serial"); /* virtio */
    set_serial_from_page(root, folder, disk);
    SET_FILE(disk->serial, root, folder, "device/serial"); /* NVMe, MMC */
    set_wwn(root, folder, disk);
    read_udev(root, disk);
}
