/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * PCI functions for storage and network that no driver took: named with their id, so that somebody
 * can look them up, and with what to switch in the firmware's setup where that helps. The classes
 * are those of the PCI Code and ID Assignment Specification.
 */
#include "base/bytes.h"
#include "base/own.h"
#include "p2v/agent/inventory_file.h"
#include "p2v/boot/findings_private.h"

#include <stdio.h>
#include <string.h>

#define CLASS_STORAGE 0x01
#define CLASS_NETWORK 0x02
#define SUBCLASS_RAID 0x04
#define VENDOR_INTEL 0x8086

struct function {
    char slot[32]; /* "0000:00:17.0" */
    unsigned vendor, device, class;
    bool has_driver;
};

/* Volume Management Devices: NVMe disks are behind them (Linux' drivers/pci/controller/vmd.c). */
static bool is_vmd(const struct function *function)
{
    static const unsigned devices[] = {0x201d, 0x28c0, 0x467f, 0x4c3d, 0x7d0b,
                                       0x9a0b, 0xa77f, 0xad0b, 0xb06f};
    for (size_t i = 0; function->vendor == VENDOR_INTEL && i < ARRAY_LENGTH(devices); i++) {
        if (function->device == devices[i])
            return true;
    }
    return false;
}

static const char *vendor_name(unsigned vendor)
{
    static const struct {
        unsigned vendor;
        const char *name;
    } names[] = {
        {0x1000, "Broadcom / LSI"}, {0x1002, "AMD"},      {0x1022, "AMD"},
        {0x1028, "Dell"},           {0x103c, "HP"},       {0x1077, "QLogic"},
        {0x10df, "Emulex"},         {0x10ec, "Realtek"},  {0x11ab, "Marvell"},
        {0x1425, "Chelsio"},        {0x14e4, "Broadcom"}, {0x15b3, "Mellanox"},
        {0x1969, "Atheros"},        {0x19a2, "Emulex"},   {0x1af4, "virtio"},
        {0x1b4b, "Marvell"},        {0x1d6a, "Aquantia"}, {0x1d6c, "Solidigm"},
        {VENDOR_INTEL, "Intel"},    {0x9005, "Adaptec"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        if (names[i].vendor == vendor)
            return names[i].name;
    }
    return "vendor unknown";
}

static unsigned read_hex(const char *root, const char *slot, const char *file)
{
    unsigned value = 0;
    AUTO_FREE char *text = inventory_text(root, "/sys/bus/pci/devices/%s/%s", slot, file);
    return sscanf(text, "%x", &value) == 1 ? value : 0;
}

static void tell_missing(const struct function *function, struct boot_findings *findings)
{
    const char *what = function->class >> 16 == CLASS_NETWORK           ? "network card"
                       : (function->class >> 8 & 0xff) == SUBCLASS_RAID ? "RAID controller"
                                                                        : "disk controller";
    if (is_vmd(function))
        findings_notice(findings, BOOT_NOTICE_MISSING,
                        "Intel VMD (PCI %04x:%04x, %s) has no driver here and hides its disks: "
                        "switch VMD off in the BIOS setup, and on again after the copy",
                        function->vendor, function->device, function->slot);
    else if (function->vendor == VENDOR_INTEL && (function->class >> 8) == 0x0104)
        findings_notice(findings, BOOT_NOTICE_MISSING,
                        "Intel RST RAID (PCI %04x:%04x, %s) has no driver here: switch SATA from "
                        "RAID to AHCI in the BIOS setup, and back after the copy",
                        function->vendor, function->device, function->slot);
    else
        findings_notice(findings, BOOT_NOTICE_MISSING,
                        "no driver for a %s: %s, PCI %04x:%04x at %s: %s cannot be used", what,
                        vendor_name(function->vendor), function->vendor, function->device,
                        function->slot,
                        function->class >> 16 == CLASS_NETWORK ? "it" : "its disks");
}

/* The AHCI driver tells how many NVMe disks RST keeps behind itself. */
static void tell_remapped(const char *root, const struct function *function,
                          struct boot_findings *findings)
{
    unsigned long long count =
        inventory_number(root, 0, "/sys/bus/pci/devices/%s/remapped_nvme", function->slot);
    if (count > 0)
        findings_notice(findings, BOOT_NOTICE_MISSING,
                        "Intel RST (PCI %04x:%04x, %s) hides %llu NVMe disk%s: switch SATA from "
                        "RAID/Optane to AHCI in the BIOS setup, and back after the copy",
                        function->vendor, function->device, function->slot, count,
                        count == 1 ? "" : "s");
}

void findings_read_hardware(const char *root, struct boot_findings *findings)
{
    char **slots = inventory_names(root, "/sys/bus/pci/devices");
    for (size_t i = 0; slots[i]; i++) {
        struct function function = {
            .vendor = read_hex(root, slots[i], "vendor"),
            .device = read_hex(root, slots[i], "device"),
            .class = read_hex(root, slots[i], "class"),
            .has_driver = inventory_has(root, "/sys/bus/pci/devices/%s/driver", slots[i])};
        snprintf(function.slot, sizeof(function.slot), "%.31s", slots[i]);
        bool is_of_use =
            function.class >> 16 == CLASS_STORAGE || function.class >> 16 == CLASS_NETWORK;
        if ((is_of_use || is_vmd(&function)) && !function.has_driver)
            tell_missing(&function, findings);
        if (function.class >> 16 == CLASS_STORAGE)
            tell_remapped(root, &function, findings);
    }
    inventory_names_free(slots);
}
