/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The target 'libvirt': domain XML for `virsh define`, by libxml2's writer, which escapes every
 * value. Addresses of controllers are left to libvirt, except the drives' own, so that their order
 * does not hang on the names that it makes up.
 */
#include "base/text.h"
#include "formats/guest_fields.h"
#include "formats/target.h"

#include <libxml/xmlwriter.h>
#include <stdio.h>
#include <string.h>

#define XML_NAMESPACE "urn:rehost:guest:1"
#define SATA_PORTS 6 /* of one controller */
#define SERIAL_BYTES 36
#define QUOTA_PERIOD_US 100000

/* Writing to memory only fails when memory ends; the document then ends with it, see finish. */
static void start(xmlTextWriter *xml, const char *element)
{
    xmlTextWriterStartElement(xml, BAD_CAST element);
}

static void end(xmlTextWriter *xml)
{
    xmlTextWriterEndElement(xml);
}

static void attribute(xmlTextWriter *xml, const char *name, const char *value)
{
    xmlTextWriterWriteAttribute(xml, BAD_CAST name, BAD_CAST value);
}

static void attribute_number(xmlTextWriter *xml, const char *name, uint64_t value)
{
    char text[24];

    snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
    attribute(xml, name, text);
}

static void element(xmlTextWriter *xml, const char *name, const char *value)
{
    xmlTextWriterWriteElement(xml, BAD_CAST name, BAD_CAST value);
}

static void element_number(xmlTextWriter *xml, const char *name, uint64_t value)
{
    char text[24];

    snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
    element(xml, name, text);
}

/* <name key="value"/> */
static void empty(xmlTextWriter *xml, const char *name, const char *key, const char *value)
{
    start(xml, name);
    if (key != NULL)
        attribute(xml, key, value);
    end(xml);
}

/* A path of the definition as an absolute one; caller frees. */
static char *absolute(const char *folder, const char *path)
{
    if (path[0] == '/')
        return text_copy(path);
    return text_format("%s%s%s", folder, text_ends_with(folder, "/") ? "" : "/", path);
}

static void write_metadata(xmlTextWriter *xml, const struct guest *guest)
{
    start(xml, "metadata");
    start(xml, "rehost:guest");
    attribute(xml, "xmlns:rehost", XML_NAMESPACE);
    start(xml, "rehost:os");
    attribute(xml, "type", guest->os_type != NULL ? guest->os_type : "unknown");
    if (guest->os_distro != NULL)
        attribute(xml, "distro", guest->os_distro);
    if (guest->os_version != NULL)
        attribute(xml, "version", guest->os_version);
    end(xml);
    end(xml);
    end(xml);
}

static void write_cpu_limit(xmlTextWriter *xml, const struct guest *guest)
{
    if (guest->limits.cpu_percent == 0)
        return;
    start(xml, "cputune");
    element_number(xml, "global_period", QUOTA_PERIOD_US);
    element_number(xml, "global_quota",
                   (uint64_t)guest->limits.cpu_percent * (QUOTA_PERIOD_US / 100));
    end(xml);
}

static void write_uefi(xmlTextWriter *xml, const struct guest *guest)
{
    static const char *const features[] = {"secure-boot", "enrolled-keys"};

    start(xml, "firmware");
    for (size_t i = 0; i < 2; i++) {
        start(xml, "feature");
        attribute(xml, "enabled", guest->secure_boot ? "yes" : "no");
        attribute(xml, "name", features[i]);
        end(xml);
    }
    end(xml);
    empty(xml, "loader", "secure", guest->secure_boot ? "yes" : "no");
}

static void write_os(xmlTextWriter *xml, const struct guest *guest, const char *folder)
{
    bool is_uefi = guest->firmware == GUEST_FIRMWARE_UEFI;

    start(xml, "os");
    if (is_uefi)
        attribute(xml, "firmware", "efi");
    start(xml, "type");
    attribute(xml, "arch", guest->arch);
    attribute(xml, "machine", target_is_q35(guest) ? "q35" : "pc");
    xmlTextWriterWriteString(xml, BAD_CAST "hvm");
    end(xml);
    if (is_uefi)
        write_uefi(xml, guest);
    if (guest->nvram != NULL) {
        AUTO_FREE char *path = absolute(folder, guest->nvram);

        element(xml, "nvram", path);
    }
    end(xml);
}

static void write_features(xmlTextWriter *xml, const struct guest *guest)
{
    start(xml, "features");
    empty(xml, "acpi", NULL, NULL);
    empty(xml, "apic", NULL, NULL);
    if (guest->secure_boot)
        empty(xml, "smm", "state", "on");
    end(xml);
}

static void write_cpu(xmlTextWriter *xml, const struct guest *guest)
{
    start(xml, "cpu");
    attribute(xml, "mode", guest->cpu_model != NULL ? "custom" : "host-model");
    if (guest->cpu_model != NULL) {
        attribute(xml, "match", "exact");
        start(xml, "model");
        attribute(xml, "fallback", "allow");
        xmlTextWriterWriteString(xml, BAD_CAST guest->cpu_model);
        end(xml);
    }
    start(xml, "topology");
    attribute_number(xml, "sockets", guest->sockets);
    attribute_number(xml, "cores", guest->cores);
    attribute_number(xml, "threads", guest->threads);
    end(xml);
    end(xml);
}

/* --- disks --- */

static const char *disk_prefix(enum guest_bus bus)
{
    return bus == GUEST_BUS_VIRTIO_BLK ? "vd" : bus == GUEST_BUS_IDE ? "hd" : "sd";
}

/* Adds a, b … z, aa, ab …: the name of the disk in the XML, not in the guest. */
static void add_letters(struct text *name, size_t number)
{
    if (number >= 26)
        add_letters(name, number / 26 - 1);
    text_addf(name, "%c", (int)('a' + number % 26));
}

static void write_disk_target(xmlTextWriter *xml, const struct guest *guest, size_t index)
{
    const struct guest_disk *disk = &guest->disks[index];
    const char *prefix = disk_prefix(disk->bus);
    static const char *const buses[] = {
        [GUEST_BUS_VIRTIO_BLK] = "virtio",
        [GUEST_BUS_VIRTIO_SCSI] = "scsi",
        [GUEST_BUS_SATA] = "sata",
        [GUEST_BUS_IDE] = "ide",
    };
    AUTO(text) name = {0};
    size_t number = 0;

    for (size_t i = 0; i < index; i++)
        number += strcmp(disk_prefix(guest->disks[i].bus), prefix) == 0;
    text_add(&name, prefix);
    add_letters(&name, number);
    start(xml, "target");
    attribute(xml, "dev", text_string(&name));
    attribute(xml, "bus", buses[disk->bus]);
    end(xml);
}

static void write_drive_address(xmlTextWriter *xml, size_t controller, size_t bus, size_t target,
                                size_t unit)
{
    start(xml, "address");
    attribute(xml, "type", "drive");
    attribute_number(xml, "controller", controller);
    attribute_number(xml, "bus", bus);
    attribute_number(xml, "target", target);
    attribute_number(xml, "unit", unit);
    end(xml);
}

static void write_disk_address(xmlTextWriter *xml, const struct guest *guest, size_t index)
{
    enum guest_bus bus = guest->disks[index].bus;
    size_t number = 0;

    for (size_t i = 0; i < index; i++)
        number += guest->disks[i].bus == bus;
    if (bus == GUEST_BUS_VIRTIO_SCSI)
        write_drive_address(xml, 0, 0, number, 0);
    else if (bus == GUEST_BUS_SATA)
        write_drive_address(xml, number / SATA_PORTS, 0, 0, number % SATA_PORTS);
    else if (bus == GUEST_BUS_IDE)
        write_drive_address(xml, 0, number / 2, 0, number % 2);
}

static void write_disk_limits(xmlTextWriter *xml, const struct guest_limits *limits)
{
    if (limits->disk_bytes_per_second == 0 && limits->disk_operations_per_second == 0)
        return;
    start(xml, "iotune");
    if (limits->disk_bytes_per_second != 0)
        element_number(xml, "total_bytes_sec", limits->disk_bytes_per_second);
    if (limits->disk_operations_per_second != 0)
        element_number(xml, "total_iops_sec", limits->disk_operations_per_second);
    element(xml, "group_name", "guest"); /* all disks together */
    end(xml);
}

static void write_disk_source(xmlTextWriter *xml, const struct guest_disk *disk, const char *folder)
{
    AUTO_FREE char *path = absolute(folder, disk->path);

    start(xml, "driver");
    attribute(xml, "name", "qemu");
    attribute(xml, "type", disk->format);
    attribute(xml, "discard", "unmap");
    end(xml);
    empty(xml, "source", "file", path);
    /*
     * An empty one says that there is none. Where there is one, its format stands in the image's
     * header and not in the definition: libvirt reads it there.
     */
    if (disk->backing == NULL)
        empty(xml, "backingStore", NULL, NULL);
}

static unsigned boot_order(const struct guest *guest, size_t index)
{
    for (size_t i = 0; i < guest->disk_count; i++) {
        if (guest->disks[i].boot_order != 0)
            return guest->disks[index].boot_order;
    }
    return index == 0; /* nobody has one: the first disk it is */
}

static void write_disk(xmlTextWriter *xml, const struct guest *guest, size_t index,
                       const char *folder)
{
    const struct guest_disk *disk = &guest->disks[index];
    char buffer[SERIAL_BYTES + 1];
    const char *serial = target_serial(disk, buffer, SERIAL_BYTES);

    start(xml, "disk");
    attribute(xml, "type", "file");
    attribute(xml, "device", "disk");
    write_disk_source(xml, disk, folder);
    write_disk_target(xml, guest, index);
    write_disk_limits(xml, &guest->limits);
    if (*serial != 0)
        element(xml, "serial", serial);
    if (boot_order(guest, index) != 0) {
        start(xml, "boot");
        attribute_number(xml, "order", boot_order(guest, index));
        end(xml);
    }
    write_disk_address(xml, guest, index);
    end(xml);
}

static void write_controllers(xmlTextWriter *xml, const struct guest *guest)
{
    if (!target_has_bus(guest, GUEST_BUS_VIRTIO_SCSI))
        return;
    start(xml, "controller"); /* libvirt's default is a model that guests of today have lost */
    attribute(xml, "type", "scsi");
    attribute(xml, "index", "0");
    attribute(xml, "model", "virtio-scsi");
    end(xml);
}

/* --- the other devices --- */

static void write_bandwidth(xmlTextWriter *xml, const struct guest_limits *limits)
{
    static const char *const ways[] = {"inbound", "outbound"};
    uint64_t kilobytes = (limits->net_bytes_per_second + 999) / 1000;

    if (limits->net_bytes_per_second == 0)
        return;
    start(xml, "bandwidth");
    for (size_t i = 0; i < 2; i++) {
        start(xml, ways[i]);
        attribute_number(xml, "average", kilobytes);
        end(xml);
    }
    end(xml);
}

static void write_nic(xmlTextWriter *xml, const struct guest *guest, const struct guest_nic *nic)
{
    start(xml, "interface");
    attribute(xml, "type", "network");
    empty(xml, "mac", "address", nic->mac);
    empty(xml, "source", "network", nic->network != NULL ? nic->network : "default");
    empty(xml, "model", "type", guest_nic_model_name(nic->model));
    write_bandwidth(xml, &guest->limits);
    end(xml);
}

static void write_serial(xmlTextWriter *xml)
{
    start(xml, "serial");
    attribute(xml, "type", "pty");
    empty(xml, "target", "port", "0");
    end(xml);
    start(xml, "console");
    attribute(xml, "type", "pty");
    start(xml, "target");
    attribute(xml, "type", "serial");
    attribute(xml, "port", "0");
    end(xml);
    end(xml);
}

static void write_screen(xmlTextWriter *xml)
{
    start(xml, "graphics");
    attribute(xml, "type", "vnc");
    attribute(xml, "port", "-1");
    attribute(xml, "autoport", "yes");
    attribute(xml, "listen", "127.0.0.1");
    end(xml);
    start(xml, "video");
    empty(xml, "model", "type", "vga");
    end(xml);
}

static void write_devices(xmlTextWriter *xml, const struct guest *guest, const char *folder)
{
    start(xml, "devices");
    for (size_t i = 0; i < guest->disk_count; i++)
        write_disk(xml, guest, i, folder);
    write_controllers(xml, guest);
    for (size_t i = 0; i < guest->nic_count; i++)
        write_nic(xml, guest, &guest->nics[i]);
    if (target_has_serial(guest))
        write_serial(xml);
    if (target_has_vga(guest))
        write_screen(xml);
    empty(xml, "memballoon", "model", "virtio");
    start(xml, "rng");
    attribute(xml, "model", "virtio");
    start(xml, "backend");
    attribute(xml, "model", "random");
    xmlTextWriterWriteString(xml, BAD_CAST "/dev/urandom");
    end(xml);
    end(xml);
    end(xml);
}

static void write_domain(xmlTextWriter *xml, const struct guest *guest, const char *folder)
{
    start(xml, "domain");
    attribute(xml, "type", "kvm");
    element(xml, "name", guest->name);
    element(xml, "uuid", guest->uuid);
    write_metadata(xml, guest);
    start(xml, "memory");
    attribute(xml, "unit", "MiB");
    xmlTextWriterWriteFormatString(xml, "%llu", (unsigned long long)(guest->memory_bytes >> 20));
    end(xml);
    element_number(xml, "vcpu", (uint64_t)guest->sockets * guest->cores * guest->threads);
    write_cpu_limit(xml, guest);
    write_os(xml, guest, folder);
    write_features(xml, guest);
    write_cpu(xml, guest);
    empty(xml, "clock", "offset", guest->clock == GUEST_CLOCK_LOCALTIME ? "localtime" : "utc");
    element(xml, "on_poweroff", "destroy");
    element(xml, "on_reboot", "restart");
    element(xml, "on_crash", "restart");
    write_devices(xml, guest, folder);
    end(xml);
}

/* libxml2 has no writer that tells every failure: what it wrote is whole when its end is there. */
static int finish(xmlBuffer *buffer, struct text *out, struct error *err)
{
    const char *document = (const char *)xmlBufferContent(buffer);

    if (document == NULL || !text_ends_with(document, "</domain>\n"))
        return error_set(err, 0, "libvirt: the XML could not be written");
    text_add(out, document);
    return 0;
}

static int check_folder(const char *folder, struct error *err)
{
    if (folder[0] != '/')
        return error_set(err, 0, "folder \"%s\": must be absolute", folder);
    if (!guest_text_is_printable(folder))
        return error_set(err, 0, "folder \"%s\": has characters that XML cannot have", folder);
    return 0;
}

static int libvirt_render(const struct guest *guest, const char *folder, struct text *out,
                          struct error *err)
{
    xmlBuffer *buffer;
    xmlTextWriter *xml;
    int result;

    if (target_check(guest, err) < 0 || check_folder(folder, err) < 0)
        return -1;
    buffer = xmlBufferCreate();
    xml = buffer == NULL ? NULL : xmlNewTextWriterMemory(buffer, 0);
    if (xml == NULL) {
        xmlBufferFree(buffer);
        return error_set(err, 0, "libvirt: out of memory");
    }
    xmlTextWriterSetIndent(xml, 1);
    xmlTextWriterSetIndentString(xml, BAD_CAST "  ");
    xmlTextWriterStartDocument(xml, NULL, "UTF-8", NULL);
    write_domain(xml, guest, folder);
    xmlTextWriterEndDocument(xml);
    xmlFreeTextWriter(xml); /* which flushes */
    result = finish(buffer, out, err);
    xmlBufferFree(buffer);
    return result;
}

const struct guest_target guest_target_libvirt = {
    .name = "libvirt",
    .description = "domain XML for virsh define",
    .file_name = "libvirt.xml",
    .is_executable = false,
    .render = libvirt_render,
};
