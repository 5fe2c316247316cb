/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * QEMU's command line for the boot test: the definition's disks, interfaces, firmware and clock,
 * and nothing else that the guest could find by chance.
 */
#include "p2v/boottest_qemu.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/text.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define MEMORY_MOST                                                                                \
    ((uint64_t)1 << 30) /* any system boots in that, and emulation needs no more                   \
                         */
#define MEMORY_LEAST ((uint64_t)256 << 20)
#define SERIAL_LENGTH 20                    /* what every kind of disk can show */
#define VARIABLES_SET (GUEST_MAX_DISKS + 1) /* descriptor set; below are the disks' */
#define SATA_PORTS 6
#define IDE_DISKS 4
#define SLOT_FIRST 2  /* below are the chipset's own devices */
#define SLOT_COUNT 28 /* above too */
#define FUNCTIONS 8

struct builder {
    struct qemu_arguments *arguments;
    const struct qemu_machine *machine;
    const struct guest *guest;
    bool is_crowded; /* more devices than slots: several share one, as its functions */
    unsigned next_place;
};

void qemu_arguments_fini(struct qemu_arguments *arguments)
{
    for (size_t i = 0; i < arguments->count; i++)
        free(arguments->items[i]);
    free(arguments->items);
    *arguments = (struct qemu_arguments){0};
}

static void add(struct qemu_arguments *arguments, char *owned)
{
    arguments->items = memory_grow(arguments->items, arguments->count + 2, sizeof(char *));
    arguments->items[arguments->count++] = owned;
    arguments->items[arguments->count] = NULL;
}

/* An option without a value. */
static void flag(struct builder *builder, const char *name)
{
    add(builder->arguments, text_copy(name));
}

__attribute__((format(printf, 3, 4))) static void option(struct builder *builder, const char *name,
                                                         const char *format, ...)
{
    char *value;
    va_list list;
    va_start(list, format);
    if (vasprintf(&value, format, list) < 0)
        value = text_copy("");
    va_end(list);
    add(builder->arguments, text_copy(name));
    add(builder->arguments, value);
}

/* QEMU splits values at commas; a doubled one stands for itself. */
static char *quoted(const char *value, size_t limit)
{
    AUTO(text) out = {0};
    for (size_t i = 0; value && value[i] && i < limit; i++) {
        if (!isprint((unsigned char)value[i]))
            continue;
        text_add_bytes(&out, &value[i], 1);
        if (value[i] == ',')
            text_add(&out, ",");
    }
    return text_take(&out);
}

/* The next place on the bus, in the order of the definition: ",addr=0x4.0x1". */
static const char *place(struct builder *builder, char buffer[40])
{
    unsigned at = builder->next_place++;
    if (builder->is_crowded)
        snprintf(buffer, 40, ",addr=0x%x.0x%x,multifunction=on", SLOT_FIRST + at / FUNCTIONS,
                 at % FUNCTIONS);
    else
        snprintf(buffer, 40, ",addr=0x%x", SLOT_FIRST + at);
    return buffer;
}

static size_t count_disks(const struct guest *guest, enum guest_bus bus)
{
    size_t count = 0;
    for (size_t i = 0; i < guest->disk_count; i++)
        count += guest->disks[i].bus == bus;
    return count;
}

static void add_machine(struct builder *builder)
{
    const struct qemu_machine *machine = builder->machine;
    const struct guest *guest = builder->guest;
    bool is_kvm = strcmp(machine->accelerator, "kvm") == 0;
    /* q35 has no IDE. graphics=off lets SeaBIOS copy its screen to the serial line. */
    option(builder, "-machine", "%s,graphics=off%s%s",
           count_disks(guest, GUEST_BUS_IDE) ? "pc" : "q35", guest->secure_boot ? ",smm=on" : "",
           machine->firmware_path ? ",pflash0=code,pflash1=variables" : "");
    option(builder, "-accel", "%s", machine->accelerator);
    /*
     * Emulated, the guest's clock counts its own instructions. On a host that has no time for it
     * a clock of its own would let its 90 s device time-outs pass while it hardly ran.
     */
    if (!is_kvm && !machine->run)
        option(builder, "-icount", "shift=2,sleep=on");
    option(builder, "-cpu", "%s", is_kvm ? "host" : "max");
    option(builder, "-smp", "%u", machine->cpus);
    option(builder, "-m", "%" PRIu64 "M", machine->memory_bytes / MIB);
    option(builder, "-rtc", "base=%s", guest->clock == GUEST_CLOCK_LOCALTIME ? "localtime" : "utc");
    if (guest->uuid)
        option(builder, "-uuid", "%s", guest->uuid);
}

/* In the boot test our own pipe; else sockets for whoever comes. */
static void add_console(struct builder *builder)
{
    const struct qemu_run *run = builder->machine->run;
    if (!run) {
        flag(builder, "-no-reboot");
        option(builder, "-chardev", "stdio,id=console,signal=off");
    } else {
        AUTO_FREE char *console = quoted(run->console_path, SIZE_MAX);
        AUTO_FREE char *qmp = quoted(run->qmp_path, SIZE_MAX);
        if (run->console_fd >= 0)
            option(builder, "-chardev", "socket,id=console,fd=%d", run->console_fd);
        else
            option(builder, "-chardev", "socket,id=console,path=%s,server=on,wait=off", console);
        option(builder, "-qmp", "unix:%s,server=on,wait=off", qmp);
    }
    option(builder, "-serial", "chardev:console");
}

static void add_plain_options(struct builder *builder)
{
    flag(builder, "-nodefaults");
    flag(builder, "-no-user-config");
    option(builder, "-display", "none");
    option(builder, "-monitor", "none");
    option(builder, "-boot", "strict=on");
    option(builder, "-sandbox",
           "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
    add_console(builder);
}

static void add_firmware(struct builder *builder)
{
    const struct qemu_machine *machine = builder->machine;
    if (!machine->firmware_path)
        return;
    AUTO_FREE char *code = quoted(machine->firmware_path, SIZE_MAX);
    option(builder, "-blockdev",
           "driver=raw,node-name=code,read-only=on,file.driver=file,file.filename=%s", code);
    option(builder, "-add-fd", "fd=%d,set=%d", machine->variables_fd, VARIABLES_SET);
    option(builder, "-blockdev",
           "driver=raw,node-name=variables,file.driver=file,file.filename=/dev/fdset/%d",
           VARIABLES_SET);
    if (builder->guest->secure_boot)
        option(builder, "-global", "driver=cfi.pflash01,property=secure,value=on");
}

/* The overlays have no names any more: QEMU reaches them through the descriptors it inherits. */
static void add_overlay(struct builder *builder, size_t index)
{
    option(builder, "-add-fd", "fd=%d,set=%zu", builder->machine->disk_fds[index], index + 1);
    option(builder, "-blockdev",
           "driver=qcow2,node-name=disk%zu,discard=unmap,cache.no-flush=on,file.driver=file,"
           "file.cache.no-flush=on,file.filename=/dev/fdset/%zu",
           index, index + 1);
}

/* The disk itself, behind the limits that it has with the others. */
static void add_disk_itself(struct builder *builder, size_t index)
{
    const struct guest_disk *disk = &builder->guest->disks[index];
    AUTO_FREE char *folder = quoted(builder->machine->run->folder, SIZE_MAX);
    AUTO_FREE char *path = quoted(disk->path, SIZE_MAX);
    option(builder, "-blockdev",
           "driver=%s,node-name=image%zu,discard=unmap,file.driver=file,file.filename=%s%s%s",
           disk->format, index, path[0] == '/' ? "" : folder, path[0] == '/' ? "" : "/", path);
    option(builder, "-blockdev",
           "driver=throttle,node-name=disk%zu,throttle-group=limits,file=image%zu", index, index);
}

static void add_limits(struct builder *builder)
{
    const struct guest_limits *limits = &builder->guest->limits;
    option(builder, "-object",
           "throttle-group,id=limits,x-bps-total=%" PRIu64 ",x-iops-total=%" PRIu64,
           limits->disk_bytes_per_second, limits->disk_operations_per_second);
}

/* Adds the controller before the first disk on it; the device's name and bus go into `buffer`. */
static void choose_device(struct builder *builder, enum guest_bus bus, size_t nth, char buffer[80])
{
    char at[40];
    switch (bus) {
    case GUEST_BUS_VIRTIO_BLK:
        snprintf(buffer, 80, "virtio-blk-pci%s", place(builder, at));
        break;
    case GUEST_BUS_VIRTIO_SCSI:
        if (nth == 0)
            option(builder, "-device", "virtio-scsi-pci,id=scsi%s", place(builder, at));
        snprintf(buffer, 80, "scsi-hd,bus=scsi.0,scsi-id=%zu", nth);
        break;
    case GUEST_BUS_SATA:
        if (nth % SATA_PORTS == 0)
            option(builder, "-device", "ich9-ahci,id=sata%zu%s", nth / SATA_PORTS,
                   place(builder, at));
        snprintf(buffer, 80, "ide-hd,bus=sata%zu.%zu", nth / SATA_PORTS, nth % SATA_PORTS);
        break;
    case GUEST_BUS_IDE:
        snprintf(buffer, 80, "ide-hd,bus=ide.%zu,unit=%zu", nth / 2, nth % 2);
        break;
    }
}

/* A definition without any order boots from its first disk. */
static unsigned boot_index(const struct guest *guest, size_t index)
{
    for (size_t i = 0; i < guest->disk_count; i++)
        if (guest->disks[i].boot_order)
            return guest->disks[index].boot_order;
    return index == 0 ? 1 : 0;
}

static void add_disks(struct builder *builder)
{
    size_t counts[GUEST_BUS_IDE + 1] = {0};
    if (builder->machine->run)
        add_limits(builder);
    for (size_t i = 0; i < builder->guest->disk_count; i++) {
        const struct guest_disk *disk = &builder->guest->disks[i];
        char device[80], order[32] = "";
        AUTO_FREE char *serial = quoted(disk->serial, SERIAL_LENGTH);
        unsigned boot = boot_index(builder->guest, i);
        if (builder->machine->disk_fds[i] >= 0)
            add_overlay(builder, i);
        else
            add_disk_itself(builder, i);
        choose_device(builder, disk->bus, counts[disk->bus]++, device);
        if (boot)
            snprintf(order, sizeof(order), ",bootindex=%u", boot);
        option(builder, "-device", "%s,drive=disk%zu%s%s%s", device, i, order,
               serial[0] ? ",serial=" : "", serial);
    }
}

/* What is at the other end of the cable. "none" is a card that nothing comes to. */
static void add_cable(struct builder *builder, size_t index)
{
    const struct qemu_run *run = builder->machine->run;
    const char *network = !run           ? NULL
                          : run->network ? run->network
                                         : builder->guest->nics[index].network;
    if (!run) {
        option(builder, "-netdev", "socket,id=net%zu,fd=%d", index,
               builder->machine->network_fds[index]);
    } else if (network && strncmp(network, "tap:", 4) == 0) {
        AUTO_FREE char *name = quoted(network + 4, SIZE_MAX);
        option(builder, "-netdev", "tap,id=net%zu,ifname=%s,script=no,downscript=no", index, name);
    } else if (network && strcmp(network, "none") == 0) {
        option(builder, "-netdev", "hubport,id=net%zu,hubid=%zu", index, index);
    } else {
        option(builder, "-netdev", "user,id=net%zu", index);
    }
}

/* Without an option ROM: nothing boots from a network. */
static void add_network(struct builder *builder)
{
    static const char *const models[] = {
        [GUEST_NIC_VIRTIO] = "virtio-net-pci",
        [GUEST_NIC_E1000] = "e1000",
        [GUEST_NIC_E1000E] = "e1000e",
        [GUEST_NIC_RTL8139] = "rtl8139",
    };
    for (size_t i = 0; i < builder->guest->nic_count; i++) {
        const struct guest_nic *nic = &builder->guest->nics[i];
        char at[40];
        add_cable(builder, i);
        option(builder, "-device", "%s,netdev=net%zu,mac=%s,romfile=%s", models[nic->model], i,
               nic->mac, place(builder, at));
    }
}

static int check(const struct guest *guest, struct error *err)
{
    if (guest->arch && strcmp(guest->arch, "x86_64") != 0)
        return error_set(err, ENOTSUP, "architecture %s", guest->arch);
    if (count_disks(guest, GUEST_BUS_IDE) > IDE_DISKS)
        return error_set(err, ENOTSUP, "more than %d disks on IDE", IDE_DISKS);
    if (count_disks(guest, GUEST_BUS_IDE) && guest->secure_boot)
        return error_set(err, ENOTSUP, "secure boot with disks on IDE");
    return 0;
}

int qemu_arguments_make(struct qemu_arguments *arguments, const struct qemu_machine *machine,
                        struct error *err)
{
    char at[40];
    struct builder builder = {.arguments = arguments, .machine = machine, .guest = machine->guest};
    *arguments = (struct qemu_arguments){0};
    if (check(machine->guest, err) != 0)
        return -1;
    builder.is_crowded = machine->guest->disk_count + machine->guest->nic_count + 2 > SLOT_COUNT;
    flag(&builder, QEMU_PROGRAM);
    add_plain_options(&builder);
    add_machine(&builder);
    add_firmware(&builder);
    /* The screen first, so that interfaces and disks keep their places whatever comes later. */
    if (!machine->guest->console || strcmp(machine->guest->console, "serial") != 0)
        option(&builder, "-device", "VGA%s", place(&builder, at));
    add_network(&builder);
    add_disks(&builder);
    option(&builder, "-device", "virtio-rng-pci%s", place(&builder, at));
    return 0;
}

uint64_t qemu_choose_memory(uint64_t guest_bytes, uint64_t available_bytes)
{
    uint64_t most = min_u64(MEMORY_MOST, max_u64(MEMORY_LEAST, available_bytes / 2));
    uint64_t chosen = min_u64(guest_bytes, most);
    return max_u64(chosen & ~(MIB - 1), MIB);
}
