/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The table of guest.json's fields, in the order in which they are written (docs/guest.md).
 */
#include "formats/guest_fields.h"

#include "base/text.h"

#include <stdlib.h>
#include <string.h>

const char *const guest_firmware_names[] = {
    [GUEST_FIRMWARE_BIOS] = "bios",
    [GUEST_FIRMWARE_UEFI] = "uefi",
    NULL,
};
const char *const guest_clock_names[] = {
    [GUEST_CLOCK_UTC] = "utc",
    [GUEST_CLOCK_LOCALTIME] = "localtime",
    NULL,
};
const char *const guest_bus_names[] = {
    [GUEST_BUS_VIRTIO_BLK] = "virtio-blk",
    [GUEST_BUS_VIRTIO_SCSI] = "virtio-scsi",
    [GUEST_BUS_SATA] = "sata",
    [GUEST_BUS_IDE] = "ide",
    NULL,
};
const char *const guest_nic_model_names[] = {
    [GUEST_NIC_VIRTIO] = "virtio",
    [GUEST_NIC_E1000] = "e1000",
    [GUEST_NIC_E1000E] = "e1000e",
    [GUEST_NIC_RTL8139] = "rtl8139",
    NULL,
};
const char *const guest_format_names[] = {"qcow2", "raw", NULL};
const char *const guest_console_names[] = {"serial", "vga", "both", NULL};
const char *const guest_os_type_names[] = {"linux", "windows", "unknown", NULL};
const char *const guest_arch_names[] = {"x86_64", NULL};

#define REQUIRED true
#define OPTIONAL false
#define FIELD(type, member, of_kind, required, ...)                                                \
    .kind = GUEST_KIND_##of_kind, .is_required = (required),                                       \
    .offset = offsetof(struct type, member), __VA_ARGS__
#define ITEMS(type, member, count, limit, of)                                                      \
    .kind = GUEST_KIND_ITEMS, .offset = offsetof(struct type, member),                             \
    .count_offset = offsetof(struct type, count), .item_limit = (limit),                           \
    .item_size = sizeof(((struct type *)0)->member[0]), .fields = (of)

static const struct guest_field firmware_fields[] = {
    {"type", FIELD(guest, firmware, CHOICE, REQUIRED, .choices = guest_firmware_names)},
    {"secure_boot", FIELD(guest, secure_boot, FLAG, OPTIONAL)},
    {"nvram", FIELD(guest, nvram, TEXT, OPTIONAL)},
    {.name = NULL},
};

static const struct guest_field cpu_fields[] = {
    {"sockets", FIELD(guest, sockets, COUNT, REQUIRED)},
    {"cores", FIELD(guest, cores, COUNT, REQUIRED)},
    {"threads", FIELD(guest, threads, COUNT, REQUIRED)},
    {"model", FIELD(guest, cpu_model, TEXT, OPTIONAL)},
    {.name = NULL},
};

static const struct guest_field disk_fields[] = {
    {"path", FIELD(guest_disk, path, TEXT, REQUIRED)},
    {"format", FIELD(guest_disk, format, TEXT, REQUIRED)},
    {"size_bytes", FIELD(guest_disk, size_bytes, BYTES, REQUIRED)},
    {"bus", FIELD(guest_disk, bus, CHOICE, REQUIRED, .choices = guest_bus_names)},
    {"serial", FIELD(guest_disk, serial, TEXT, OPTIONAL)},
    {"boot_order", FIELD(guest_disk, boot_order, COUNT, OPTIONAL)},
    {"backing", FIELD(guest_disk, backing, TEXT, OPTIONAL)},
    {.name = NULL},
};

static const struct guest_field nic_fields[] = {
    {"mac", FIELD(guest_nic, mac, TEXT, REQUIRED)},
    {"model", FIELD(guest_nic, model, CHOICE, REQUIRED, .choices = guest_nic_model_names)},
    {"name", FIELD(guest_nic, name, TEXT, OPTIONAL)},
    {"network", FIELD(guest_nic, network, TEXT, OPTIONAL)},
    {"addresses", ITEMS(guest_nic, addresses, address_count, GUEST_MAX_ADDRESSES, NULL)},
    {.name = NULL},
};

static const struct guest_field os_fields[] = {
    {"type", FIELD(guest, os_type, TEXT, OPTIONAL)},
    {"distro", FIELD(guest, os_distro, TEXT, OPTIONAL)},
    {"version", FIELD(guest, os_version, TEXT, OPTIONAL)},
    {.name = NULL},
};

static const struct guest_field limit_fields[] = {
    {"cpu_percent", FIELD(guest, limits.cpu_percent, COUNT, OPTIONAL)},
    {"net_bytes_per_second", FIELD(guest, limits.net_bytes_per_second, BYTES, OPTIONAL)},
    {"disk_bytes_per_second", FIELD(guest, limits.disk_bytes_per_second, BYTES, OPTIONAL)},
    {"disk_operations_per_second",
     FIELD(guest, limits.disk_operations_per_second, BYTES, OPTIONAL)},
    {.name = NULL},
};

const struct guest_field guest_fields[] = {
    {"rehost_guest", .kind = GUEST_KIND_VERSION, .is_required = REQUIRED},
    {"name", FIELD(guest, name, TEXT, REQUIRED)},
    {"uuid", FIELD(guest, uuid, TEXT, REQUIRED)},
    {"arch", FIELD(guest, arch, TEXT, REQUIRED)},
    {"firmware", .kind = GUEST_KIND_OBJECT, .is_required = REQUIRED, .fields = firmware_fields},
    {"cpu", .kind = GUEST_KIND_OBJECT, .is_required = REQUIRED, .fields = cpu_fields},
    {"memory_bytes", FIELD(guest, memory_bytes, BYTES, REQUIRED)},
    {"clock", FIELD(guest, clock, CHOICE, OPTIONAL, .choices = guest_clock_names)},
    {"disks", ITEMS(guest, disks, disk_count, GUEST_MAX_DISKS, disk_fields),
     .is_required = REQUIRED},
    {"nics", ITEMS(guest, nics, nic_count, GUEST_MAX_NICS, nic_fields)},
    {"console", FIELD(guest, console, TEXT, OPTIONAL)},
    {"os", .kind = GUEST_KIND_OBJECT, .fields = os_fields},
    {"limits", .kind = GUEST_KIND_OBJECT, .fields = limit_fields},
    {.name = NULL},
};

int guest_choice_find(const char *const *choices, const char *text)
{
    for (int i = 0; choices[i] != NULL; i++) {
        if (strcmp(choices[i], text) == 0)
            return i;
    }
    return -1;
}

int guest_choice_error(const char *const *choices, const char *where, const char *value,
                       struct error *err)
{
    AUTO(text) list = {0};

    for (int i = 0; choices[i] != NULL; i++)
        text_addf(&list, "%s%s", i == 0 ? "" : ", ", choices[i]);
    return error_set(err, 0, "%s: \"%s\": must be %s%s", where, value,
                     choices[1] == NULL ? "" : "one of ", text_string(&list));
}

static void items_free(const struct guest_field *field, void *base)
{
    size_t count = *(size_t *)guest_field_at(base, field->count_offset);

    for (size_t i = 0; i < count; i++) {
        void *item = guest_field_at(base, field->offset + i * field->item_size);

        if (field->fields != NULL)
            guest_fields_free(field->fields, item);
        else
            free(*(char **)item);
    }
}

void guest_fields_free(const struct guest_field *fields, void *base)
{
    for (const struct guest_field *field = fields; field->name != NULL; field++) {
        if (field->kind == GUEST_KIND_TEXT)
            free(*(char **)guest_field_at(base, field->offset));
        else if (field->kind == GUEST_KIND_OBJECT)
            guest_fields_free(field->fields, base);
        else if (field->kind == GUEST_KIND_ITEMS)
            items_free(field, base);
    }
}
