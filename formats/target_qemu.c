/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The target 'qemu': a POSIX shell script that starts the guest (docs/guest.md). What comes from
 * the definition reaches QEMU as one word in single quotes, its commas doubled; formats are named,
 * never probed; PCI addresses are given, so that they stay when a disk is added behind the others.
 */
#include "base/text.h"
#include "formats/target.h"

#include <string.h>

/* What QEMU's machines of 7.2 have: 'pc' stops there, and 'q35' needs an IOMMU for more. */
#define MAX_CPUS 255

#define FIRST_SLOT 3 /* 0: host bridge, 1: ISA bridge of pc, 2: VGA */
#define LAST_SLOT 30 /* 31: ISA bridge and SATA of q35 */
#define SATA_PORTS 6 /* of one controller */
#define SERIAL_BYTES 20
#define SCSI_SERIAL_BYTES 36

/* PCI slots are handed out in order: one a device, or one for eight when there are many. */
struct slots {
    unsigned next, functions;
};

/* Adds `text` in single quotes, as one word for the shell. */
static void add_quoted(struct text *out, const char *text)
{
    text_add(out, "'");
    for (; *text != 0; text++) {
        if (*text == '\'')
            text_add(out, "'\\''");
        else
            text_add_bytes(out, text, 1);
    }
    text_add(out, "'");
}

/* `text` as a value inside an option of QEMU's: a comma ends a value unless doubled. */
static void add_value(struct text *out, const char *text)
{
    for (; *text != 0; text++)
        text_add(out, *text == ',' ? ",," : (char[]){*text, 0});
}

/* One more option of the command: `-name 'value'`. */
static void add_option(struct text *out, const char *option, const char *value)
{
    text_addf(out, "    %s ", option);
    add_quoted(out, value);
    text_add(out, " \\\n");
}

static void add_address(struct text *value, struct slots *slots)
{
    unsigned slot = FIRST_SLOT + slots->next / slots->functions;
    unsigned function = slots->next % slots->functions;

    slots->next++;
    text_addf(value, ",addr=0x%x.%u", slot, function);
    if (slots->functions > 1 && function == 0)
        text_add(value, ",multifunction=on");
}

static void add_device(struct text *out, struct slots *slots, const char *device)
{
    AUTO(text) value = {0};

    text_add(&value, device);
    add_address(&value, slots);
    add_option(out, "-device", text_string(&value));
}

static size_t count_bus(const struct guest *guest, enum guest_bus bus, size_t before)
{
    size_t count = 0;

    for (size_t i = 0; i < before; i++)
        count += guest->disks[i].bus == bus;
    return count;
}

/* The q35 machine has one SATA controller of its own, with the bus names ide.0 to ide.5. */
static size_t sata_controllers(const struct guest *guest)
{
    size_t disks = count_bus(guest, GUEST_BUS_SATA, guest->disk_count);
    size_t needed = (disks + SATA_PORTS - 1) / SATA_PORTS;

    return target_is_q35(guest) && needed > 0 ? needed - 1 : needed;
}

static struct slots slots_make(const struct guest *guest)
{
    size_t devices = guest->nic_count + sata_controllers(guest) + 1 /* rng */ +
                     target_has_bus(guest, GUEST_BUS_VIRTIO_SCSI) +
                     count_bus(guest, GUEST_BUS_VIRTIO_BLK, guest->disk_count);

    return (struct slots){.functions = devices <= LAST_SLOT - FIRST_SLOT + 1 ? 1 : 8};
}

/* --- disks --- */

static void add_limits(struct text *value, const struct guest_limits *limits)
{
    if (limits->disk_bytes_per_second != 0)
        text_addf(value, ",throttling.bps-total=%llu",
                  (unsigned long long)limits->disk_bytes_per_second);
    if (limits->disk_operations_per_second != 0)
        text_addf(value, ",throttling.iops-total=%llu",
                  (unsigned long long)limits->disk_operations_per_second);
    if (limits->disk_bytes_per_second != 0 || limits->disk_operations_per_second != 0)
        text_add(value, ",throttling.group=guest"); /* all disks together */
}

/* -drive and not -blockdev: only the former is turned into an overlay by -snapshot. */
static void add_drive(struct text *out, const struct guest *guest, size_t index)
{
    const struct guest_disk *disk = &guest->disks[index];
    AUTO(text) value = {0};

    text_addf(&value, "if=none,id=disk%zu,discard=unmap,format=%s,file.driver=file", index,
              disk->format);
    add_limits(&value, &guest->limits);
    text_add(&value, ",file.filename=");
    text_add(out, "    -drive ");
    if (disk->path[0] != '/') {
        add_quoted(out, text_string(&value));
        text_add(out, "\"$place\"");
        text_fini(&value);
        text_add(&value, "/");
    }
    add_value(&value, disk->path);
    add_quoted(out, text_string(&value));
    text_add(out, " \\\n");
}

static void add_sata_bus(struct text *value, const struct guest *guest, size_t number)
{
    size_t controller = number / SATA_PORTS;

    if (target_is_q35(guest) && controller == 0)
        text_addf(value, ",bus=ide.%zu", number);
    else
        text_addf(value, ",bus=sata%zu.%zu", controller - target_is_q35(guest),
                  number % SATA_PORTS);
}

static void add_bus(struct text *value, const struct guest *guest, size_t index,
                    struct slots *slots)
{
    enum guest_bus bus = guest->disks[index].bus;
    size_t number = count_bus(guest, bus, index);

    switch (bus) {
    case GUEST_BUS_VIRTIO_BLK:
        text_addf(value, "virtio-blk-pci,drive=disk%zu", index);
        add_address(value, slots);
        break;
    case GUEST_BUS_VIRTIO_SCSI:
        text_addf(value, "scsi-hd,drive=disk%zu,bus=scsi.0,scsi-id=%zu,lun=0", index, number);
        break;
    case GUEST_BUS_SATA:
        text_addf(value, "ide-hd,drive=disk%zu", index);
        add_sata_bus(value, guest, number);
        break;
    case GUEST_BUS_IDE:
        text_addf(value, "ide-hd,drive=disk%zu,bus=ide.%zu,unit=%zu", index, number / 2,
                  number % 2);
        break;
    }
}

static bool has_boot_order(const struct guest *guest)
{
    for (size_t i = 0; i < guest->disk_count; i++) {
        if (guest->disks[i].boot_order != 0)
            return true;
    }
    return false;
}

static void add_disk(struct text *out, const struct guest *guest, size_t index, struct slots *slots)
{
    const struct guest_disk *disk = &guest->disks[index];
    char buffer[SCSI_SERIAL_BYTES + 1];
    const char *serial = target_serial(
        disk, buffer, disk->bus == GUEST_BUS_VIRTIO_SCSI ? SCSI_SERIAL_BYTES : SERIAL_BYTES);
    unsigned order = disk->boot_order;
    AUTO(text) value = {0};

    if (index == 0 && !has_boot_order(guest))
        order = 1;
    add_bus(&value, guest, index, slots);
    if (*serial != 0)
        text_addf(&value, ",serial=%s", serial);
    if (order != 0)
        text_addf(&value, ",bootindex=%u", order);
    add_drive(out, guest, index);
    add_option(out, "-device", text_string(&value));
}

static void add_disks(struct text *out, const struct guest *guest, struct slots *slots)
{
    if (target_has_bus(guest, GUEST_BUS_VIRTIO_SCSI))
        add_device(out, slots, "virtio-scsi-pci,id=scsi");
    for (size_t i = 0; i < sata_controllers(guest); i++) {
        AUTO_FREE char *device = text_format("ich9-ahci,id=sata%zu", i);

        add_device(out, slots, device);
    }
    for (size_t i = 0; i < guest->disk_count; i++)
        add_disk(out, guest, i, slots);
}

/* --- network --- */

static const char *nic_device(enum guest_nic_model model)
{
    switch (model) {
    case GUEST_NIC_VIRTIO:
        return "virtio-net-pci";
    case GUEST_NIC_E1000:
        return "e1000";
    case GUEST_NIC_E1000E:
        return "e1000e";
    case GUEST_NIC_RTL8139:
        return "rtl8139";
    }
    return NULL;
}

static void add_nics(struct text *out, const struct guest *guest, struct slots *slots)
{
    for (size_t i = 0; i < guest->nic_count; i++) {
        const struct guest_nic *nic = &guest->nics[i];
        AUTO(text) value = {0};

        /* romfile= : nothing boots from the network, and its ROM may not be installed */
        text_addf(&value, "%s,netdev=net%zu,mac=%s,romfile=", nic_device(nic->model), i, nic->mac);
        add_address(&value, slots);
        text_addf(out, "    -netdev \"$net%zu\" \\\n", i);
        add_option(out, "-device", text_string(&value));
    }
}

/* --- the script around it --- */

static const char script_head[] =
    "# Options given to this script go to QEMU, behind its own: -snapshot discards all writes.\n"
    "#   ACCEL=kvm|tcg       how to run it; default: kvm where it really runs a guest, else tcg\n"
    "#   CPU=MODEL           another CPU model\n"
    "#   NET=user            default: outgoing connections only, no privileges needed\n"
    "#   NET=isolated        no way out\n"
    "#   NET=bridge          on BRIDGE (default br0), by QEMU's bridge helper\n"
    "#   NET=tap             on the interfaces TAP0, TAP1, ... (default tap0, tap1, ...), which "
    "exist\n"
    "#   NETDEV0=...         the whole -netdev of the first interface, and so on; its id is net0\n"
    "#   SERIAL=mon:stdio    where the serial port goes; Ctrl-A X ends the guest\n"
    "#   SCREEN=none|gtk|... where the screen goes, as QEMU's -display\n"
    "#   QEMU=PROGRAM        default qemu-system-x86_64\n"
    "set -eu\n"
    "\n"
    "QEMU=${QEMU:-qemu-system-x86_64}\n"
    "folder=$(cd -- \"$(dirname -- \"$0\")\" && pwd -P)\n";

static const char script_checks[] =
    "option_value() { # a comma ends a value in QEMU's options, unless doubled\n"
    "    printf '%s\\n' \"$1\" | sed 's/,/,,/g'\n"
    "}\n"
    "place=$(option_value \"$folder\")\n"
    "\n"
    "# An openable /dev/kvm does not mean that a guest runs: let a firmware boot and reboot on "
    "it.\n"
    "kvm_works() {\n"
    "    [ -r /dev/kvm ] && [ -w /dev/kvm ] || return 1\n"
    "    timeout 5 \"$QEMU\" -accel kvm -cpu host -nodefaults -no-user-config -machine pc -m 32 "
    "\\\n"
    "        -display none -no-reboot -boot reboot-timeout=1 </dev/null\n"
    "}\n"
    "\n"
    "if [ -z \"${ACCEL:-}\" ]; then\n"
    "    ACCEL=tcg # software emulation: works everywhere, slowly\n"
    "    # shellcheck disable=SC3045 # no core file: not POSIX, and no harm where it fails\n"
    "    if (ulimit -c 0 || :; kvm_works) >/dev/null 2>&1; then ACCEL=kvm; fi\n"
    "fi\n";

/* A script that was put elsewhere finds the disks where they were when it was written. */
static void add_folder(struct text *out, const struct guest *guest, const char *folder)
{
    if (guest->disk_count == 0 || guest->disks[0].path[0] == '/')
        return;
    text_add(out, "written_for=");
    add_quoted(out, folder);
    text_add(out, "\nfirst_disk=");
    add_quoted(out, guest->disks[0].path);
    text_add(out,
             "\nif [ ! -e \"$folder/$first_disk\" ] && [ -e \"$written_for/$first_disk\" ]; then\n"
             "    folder=$written_for\nfi\n");
}

static void add_head(struct text *out, const struct guest *guest, const char *folder)
{
    text_addf(out, "#!/bin/sh\n# Starts %s in QEMU. Written by rehost from guest.json.\n#\n",
              guest->name);
    text_add(out, script_head);
    add_folder(out, guest, folder);
    text_add(out, script_checks);
    if (guest->limits.cpu_percent != 0 || guest->limits.net_bytes_per_second != 0)
        text_add(out, "# Limits of CPU and network are not QEMU's to keep: a cgroup and tc are.\n");
}

static void add_cpu(struct text *out, const struct guest *guest)
{
    if (guest->cpu_model != NULL) {
        text_add(out, "CPU=${CPU:-");
        text_add(out, guest->cpu_model); /* letters, digits, '.', '_' and '-' */
        text_add(out, "}\n");
        return;
    }
    text_add(out, "case $ACCEL in\n"
                  "kvm*) CPU=${CPU:-host} ;;\n"
                  "*) CPU=${CPU:-max} ;;\n"
                  "esac\n");
}

static void add_screen(struct text *out, const struct guest *guest)
{
    if (target_has_serial(guest)) {
        text_add(out, "SERIAL=${SERIAL:-mon:stdio}\nSCREEN=${SCREEN:-none}\n");
        return;
    }
    text_add(out, "# The screen is all there is: a window, or a socket that only the owner opens.\n"
                  "if [ -n \"${DISPLAY:-}${WAYLAND_DISPLAY:-}\" ]; then\n"
                  "    SCREEN=${SCREEN:-gtk}\n"
                  "else\n"
                  "    SCREEN=${SCREEN:-vnc=unix:$place/screen.sock}\n"
                  "fi\n");
}

static const char script_network[] =
    "netdev() { # ID, TAP: what an interface is connected to\n"
    "    case ${NET:-user} in\n"
    "    user) echo \"user,id=$1\" ;;\n"
    "    isolated) echo \"user,id=$1,restrict=on\" ;;\n"
    "    bridge) echo \"bridge,id=$1,br=${BRIDGE:-br0}\" ;;\n"
    "    tap) echo \"tap,id=$1,ifname=$2,script=no,downscript=no\" ;;\n"
    "    *)\n"
    "        echo \"$0: NET=$NET: must be user, isolated, bridge or tap\" >&2\n"
    "        exit 2\n"
    "        ;;\n"
    "    esac\n"
    "}\n";

/* A NIC's own network is named in a comment: its text may be anything but a new line. */
static void add_network(struct text *out, const struct guest *guest)
{
    text_add(out, "forks=deny # but for the bridge helper, and to go into the background\n"
                  "[ \"${NET:-user}\" != bridge ] || forks=allow\n"
                  "for option in \"$@\"; do\n"
                  "    [ \"$option\" != -daemonize ] || forks=allow\n"
                  "done\n");
    if (guest->nic_count > 0)
        text_add(out, script_network);
    for (size_t i = 0; i < guest->nic_count; i++) {
        const struct guest_nic *nic = &guest->nics[i];

        text_addf(out, "net%zu=${NETDEV%zu:-}\n", i, i);
        text_addf(out, "[ -n \"$net%zu\" ] || net%zu=$(netdev net%zu \"${TAP%zu:-tap%zu}\")", i, i,
                  i, i, i);
        if (nic->name != NULL || nic->network != NULL)
            text_add(out, " #");
        if (nic->name != NULL)
            text_addf(out, " %s", nic->name);
        if (nic->network != NULL)
            text_addf(out, " on %s", nic->network);
        text_add(out, "\n");
    }
}

/* Finds OVMF and gives the guest a variable store of its own. */
static void add_uefi(struct text *out, const struct guest *guest)
{
    const char *kind = guest->secure_boot ? ".ms" : "";
    AUTO_FREE char *nvram = NULL;

    nvram = guest->nvram != NULL ? text_copy(guest->nvram) : text_format("%s.nvram", guest->name);
    text_addf(out,
              "# Debian's package ovmf; elsewhere set OVMF_CODE and OVMF_VARS (the template).\n"
              "OVMF_CODE=${OVMF_CODE:-/usr/share/OVMF/OVMF_CODE_4M%s.fd}\n"
              "OVMF_VARS=${OVMF_VARS:-/usr/share/OVMF/OVMF_VARS_4M%s.fd}\n"
              "[ -r \"$OVMF_CODE\" ] || {\n"
              "    echo \"$0: $OVMF_CODE: no UEFI firmware there; install the package ovmf\" >&2\n"
              "    exit 1\n"
              "}\n"
              "nvram=%s",
              kind, kind, nvram[0] == '/' ? "" : "\"$folder\"/");
    add_quoted(out, nvram);
    text_add(out, "\n"
                  "if [ ! -e \"$nvram\" ]; then\n"
                  "    cp -- \"$OVMF_VARS\" \"$nvram.new\"\n"
                  "    mv -- \"$nvram.new\" \"$nvram\"\n"
                  "fi\n"
                  "OVMF_CODE=$(option_value \"$OVMF_CODE\")\n"
                  "nvram=$(option_value \"$nvram\")\n");
}

static void add_machine(struct text *out, const struct guest *guest)
{
    text_addf(out, "    -machine %s%s -accel \"$ACCEL\" -cpu \"$CPU\" \\\n",
              target_is_q35(guest) ? "q35" : "pc", guest->secure_boot ? ",smm=on" : "");
    text_addf(out, "    -smp cpus=%u,sockets=%u,cores=%u,threads=%u -m %lluM \\\n",
              guest->sockets * guest->cores * guest->threads, guest->sockets, guest->cores,
              guest->threads, (unsigned long long)(guest->memory_bytes >> 20));
    text_addf(out, "    -rtc base=%s -boot menu=off,strict=on \\\n",
              guest->clock == GUEST_CLOCK_LOCALTIME ? "localtime" : "utc");
    if (guest->firmware != GUEST_FIRMWARE_UEFI)
        return;
    if (guest->secure_boot)
        text_add(out, "    -global driver=cfi.pflash01,property=secure,value=on \\\n"
                      "    -global ICH9-LPC.disable_s3=1 \\\n");
    text_add(out, "    -drive \"if=pflash,unit=0,format=raw,readonly=on,file.driver=file,"
                  "file.filename=$OVMF_CODE\" \\\n"
                  "    -drive \"if=pflash,unit=1,format=raw,file.driver=file,"
                  "file.filename=$nvram\" \\\n");
}

static void add_consoles(struct text *out, const struct guest *guest)
{
    if (target_has_serial(guest))
        text_add(out, "    -serial \"$SERIAL\" \\\n");
    if (target_has_vga(guest))
        text_add(out, "    -device VGA,addr=0x2.0 \\\n");
    text_add(out, "    -display \"$SCREEN\" \\\n");
}

static void add_command(struct text *out, const struct guest *guest)
{
    struct slots slots = slots_make(guest);

    text_addf(out,
              "\nexec \"$QEMU\" -nodefaults -no-user-config -name guest=%s -uuid %s \\\n"
              "    -sandbox \"on,obsolete=deny,elevateprivileges=$forks,spawn=$forks,"
              "resourcecontrol=deny\" \\\n",
              guest->name, guest->uuid);
    add_machine(out, guest);
    add_consoles(out, guest);
    add_option(out, "-object", "rng-random,id=random,filename=/dev/urandom");
    add_device(out, &slots, "virtio-rng-pci,rng=random");
    add_disks(out, guest, &slots);
    add_nics(out, guest, &slots);
    text_add(out, "    \"$@\"\n");
}

static int qemu_render(const struct guest *guest, const char *folder, struct text *out,
                       struct error *err)
{
    unsigned cpus = guest->sockets * guest->cores * guest->threads;

    if (target_check(guest, err) < 0)
        return -1;
    if (cpus > MAX_CPUS)
        return error_set(err, 0, "cpu: %u CPUs: QEMU's machines have at most %d", cpus, MAX_CPUS);
    add_head(out, guest, folder);
    add_cpu(out, guest);
    add_screen(out, guest);
    add_network(out, guest);
    if (guest->firmware == GUEST_FIRMWARE_UEFI)
        add_uefi(out, guest);
    add_command(out, guest);
    return 0;
}

const struct guest_target guest_target_qemu = {
    .name = "qemu",
    .description = "a shell script that starts the guest in QEMU",
    .file_name = "start.sh",
    .is_executable = true,
    .render = qemu_render,
};
