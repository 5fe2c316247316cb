/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What a machine consists of: one row per kind of device, in the order in which they are made,
 * reset and paused; they are closed the other way round.
 */
#include "base/bytes.h"
#include "base/own.h"
#include "hypervisor/layout.h"
#include "hypervisor/net_backend.h"
#include "hypervisor/platform.h"
#include "hypervisor/virtio/blk.h"
#include "hypervisor/virtio/net.h"
#include "hypervisor/virtio/small.h"
#include "hypervisor/virtio/transport.h"
#include "hypervisor/vm_private.h"

#include <stdio.h>
#include <string.h>

#define DISK_MAX_QUEUES 4

static int add(struct vm *vm, struct device *device)
{
    if (!device)
        return -1;
    vm->devices[vm->device_count++] = device;
    return 0;
}

/* --- the platform ----------------------------------------------------------------------------- */

static int make_fwcfg(struct vm *vm, struct error *err)
{
    vm->fwcfg = fwcfg_new(&vm->host, err);
    return vm->fwcfg ? add(vm, fwcfg_device(vm->fwcfg)) : -1;
}

static int make_serial(struct vm *vm, struct error *err)
{
    return add(vm, serial_new(&vm->host, &vm->options.console, err));
}

static int make_rtc(struct vm *vm, struct error *err)
{
    struct rtc_options options = {.is_local_time =
                                      vm->options.guest->clock == GUEST_CLOCK_LOCALTIME,
                                  .cpus = vm->topology.cpus,
                                  .low_bytes = vm->kvm.low_bytes,
                                  .high_bytes = vm->kvm.high_bytes};
    return add(vm, rtc_new(&vm->host, &options, err));
}

static int make_pm(struct vm *vm, struct error *err)
{
    vm->power_button = pm_new(&vm->host, err);
    return add(vm, vm->power_button);
}

static int make_test_exit(struct vm *vm, struct error *err)
{
    return vm->options.has_test_exit ? add(vm, test_exit_new(&vm->host, err)) : 0;
}

static int make_pci(struct vm *vm, struct error *err)
{
    vm->pci = pci_new(&vm->host, err);
    return vm->pci ? add(vm, pci_device(vm->pci)) : -1;
}

/* --- virtio ----------------------------------------------------------------------------------- */

/* Takes the device, into the next slot, whose number is the result; 0 on failure. */
static unsigned plug_in(struct vm *vm, struct virtio_device *device, struct error *err)
{
    if (!device)
        return 0;
    struct virtio_pci *transport =
        virtio_pci_new(vm->pci, 0, &vm->host, &vm->doorbells, device, err);
    return transport && add(vm, virtio_pci_device(transport)) == 0 ? virtio_pci_slot(transport) : 0;
}

static int make_disk(struct vm *vm, const struct guest_disk *disk, struct error *err)
{
    struct image *image = vm_open_disk(&vm->options, disk, err);
    if (!image)
        return -1;
    struct virtio_blk_options options = {
        .image = image,
        .serial = disk->serial,
        .queues = vm->topology.cpus < DISK_MAX_QUEUES ? vm->topology.cpus : DISK_MAX_QUEUES,
        .throttle = &vm->disk_throttle,
        .log = vm->options.log};
    struct virtio_device *device = virtio_blk_new(&options, err);
    unsigned slot = plug_in(vm, device, err);
    if (slot == 0)
        return -1;
    vm->disk_slots[vm->disk_count] = slot;
    vm->disks[vm->disk_count++] = device;
    return 0;
}

static int make_disks(struct vm *vm, struct error *err)
{
    const struct guest *guest = vm->options.guest;
    if (guest->disk_count >= PCI_SLOTS)
        return error_set(err, 0, "%zu disks are more than there are slots", guest->disk_count);
    for (size_t i = 0; i < guest->disk_count; i++) {
        if (guest->disks[i].bus != GUEST_BUS_VIRTIO_BLK)
            log_warning(vm->options.log, "%s: is offered as virtio-blk, not as %s",
                        guest->disks[i].path, guest_bus_name(guest->disks[i].bus));
        if (make_disk(vm, &guest->disks[i], err) != 0)
            return error_wrap(err, "disk %zu", i);
    }
    return 0;
}

static void parse_mac(const char *text, uint8_t mac[6])
{
    sscanf(text, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4],
           &mac[5]);
}

/* A name from another platform ("VM Network") is nothing that this one knows. */
static const char *network_of(struct vm *vm, const struct guest_nic *nic)
{
    if (vm->options.network)
        return vm->options.network;
    if (!nic->network)
        return "user";
    if (strncmp(nic->network, "tap:", 4) == 0 || strcmp(nic->network, "none") == 0 ||
        strcmp(nic->network, "user") == 0)
        return nic->network;
    log_warning(vm->options.log, "card %s: the network '%s' is not known here, it gets 'user'",
                nic->mac, nic->network);
    return "user";
}

static int make_nic(struct vm *vm, const struct guest_nic *nic, struct error *err)
{
    struct virtio_net_options options = {.receive = &vm->throttles[vm->nic_count][0],
                                         .transmit = &vm->throttles[vm->nic_count][1],
                                         .loop = vm->loop,
                                         .log = vm->options.log};
    parse_mac(nic->mac, options.mac);
    options.backend = net_backend_open(network_of(vm, nic), vm->options.log, err);
    if (!options.backend)
        return -1;
    struct virtio_device *device = virtio_net_new(&options, err);
    if (plug_in(vm, device, err) == 0)
        return -1;
    vm->nics[vm->nic_count++] = device;
    return 0;
}

static int make_nics(struct vm *vm, struct error *err)
{
    const struct guest *guest = vm->options.guest;
    if (guest->nic_count >= PCI_SLOTS)
        return error_set(err, 0, "%zu network cards are more than there are slots",
                         guest->nic_count);
    if (guest->nic_count > 1 && vm->options.network && strncmp(vm->options.network, "fd:", 3) == 0)
        return error_set(err, 0, "one descriptor, %s, for %zu network cards", vm->options.network,
                         guest->nic_count);
    for (size_t i = 0; i < guest->nic_count; i++) {
        if (make_nic(vm, &guest->nics[i], err) != 0)
            return error_wrap(err, "network card %zu", i);
    }
    return 0;
}

static int make_rng(struct vm *vm, struct error *err)
{
    return plug_in(vm, virtio_rng_new(vm->loop, err), err) ? 0 : -1;
}

static int make_balloon(struct vm *vm, struct error *err)
{
    vm->balloon = virtio_balloon_new(vm->loop, err);
    if (plug_in(vm, vm->balloon, err) != 0)
        return 0;
    vm->balloon = NULL;
    return -1;
}

/* --- all of it -------------------------------------------------------------------------------- */

struct firmware_options vm_firmware_options(const struct vm *vm, unsigned slots[PCI_SLOTS])
{
    size_t count = 0;
    for (unsigned order = 1; order <= GUEST_MAX_DISKS; order++) {
        for (size_t i = 0; i < vm->disk_count; i++) {
            if (vm->options.guest->disks[i].boot_order == order && count < PCI_SLOTS)
                slots[count++] = vm->disk_slots[i];
        }
    }
    return (struct firmware_options){.cpus = vm->topology.cpus,
                                     .low_bytes = vm->kvm.low_bytes,
                                     .high_bytes = vm->kvm.high_bytes,
                                     .boot_slots = slots,
                                     .boot_slot_count = count};
}

static int configure_firmware(struct vm *vm, struct error *err)
{
    unsigned slots[PCI_SLOTS];
    struct firmware_options options = vm_firmware_options(vm, slots);
    return firmware_configure(vm->fwcfg, &options, err);
}

static const struct part {
    const char *name;
    int (*make)(struct vm *vm, struct error *err);
    struct device *(*simple)(const struct device_host *host, struct error *err); /* or this */
} parts[] = {
    {"firmware configuration", .make = make_fwcfg},
    {"serial port", .make = make_serial},
    {"clock", .make = make_rtc},
    {"reset ports", .simple = reset_ports_new},
    {"power management", .make = make_pm},
    {"debug port", .simple = debug_port_new},
    {"panic port", .simple = pvpanic_new},
    {"test port", .make = make_test_exit},
    {"PCI", .make = make_pci},
    {"disks", .make = make_disks},
    {"network", .make = make_nics},
    {"entropy", .make = make_rng},
    {"balloon", .make = make_balloon},
    {"firmware's files", .make = configure_firmware},
};

int vm_make_devices(struct vm *vm, struct error *err)
{
    for (size_t i = 0; i < ARRAY_LENGTH(parts); i++) {
        if ((parts[i].simple ? add(vm, parts[i].simple(&vm->host, err)) : parts[i].make(vm, err)) !=
            0)
            return error_wrap(err, "%s", parts[i].name);
    }
    return 0;
}

void vm_close_devices(struct vm *vm)
{
    while (vm->device_count > 0) {
        struct device *device = vm->devices[--vm->device_count];
        if (device->ops->close)
            device->ops->close(device);
    }
    pci_free(vm->pci);
    vm->pci = NULL;
}
