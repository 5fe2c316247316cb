/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Guests in memory for the tests of bootfix/: the configuration files of real generations of
 * Debian, cut to what fixers read, and the description of their disks. Everything is static, so
 * that a test needs to link nothing but the room itself.
 */
#ifndef TESTS_LIB_PHONY_GUEST_H
#define TESTS_LIB_PHONY_GUEST_H

#include "base/text.h"
#include "bootfix/files.h"
#include "bootfix/fixer.h"
#include "bootfix/plan.h"
#include "bootfix/system.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define PHONY_UNUSED __attribute__((unused))
#define PHONY_MAX_NICS 4

struct phony {
    struct files_memory *memory;
    struct system *system;
    struct fix_nic nics[PHONY_MAX_NICS];
    struct plan plan;
    struct fix_context context;
};

struct phony_file {
    const char *path;
    const char *text;
    const char *target; /* instead of text: a symbolic link */
};

PHONY_UNUSED static void phony_add(struct phony *phony, const char *path, const char *text)
{
    files_memory_add(phony->memory, path, S_IFREG | 0644, text, strlen(text));
}

PHONY_UNUSED static void phony_add_files(struct phony *phony, const struct phony_file *files)
{
    for (; files->path; files++) {
        if (files->target)
            files_memory_add_link(phony->memory, files->path, files->target);
        else
            phony_add(phony, files->path, files->text);
    }
}

/* Strings may be NULL. */
PHONY_UNUSED static struct system_volume *phony_add_volume(struct phony *phony, unsigned disk,
                                                           unsigned partition, const char *type,
                                                           const char *uuid, const char *partuuid)
{
    struct system *system = phony->system;
    system->volumes =
        memory_grow(system->volumes, system->volume_count + 1, sizeof(*system->volumes));
    struct system_volume *volume = &system->volumes[system->volume_count++];
    *volume = (struct system_volume){
        .device = disk == UINT_MAX ? text_copy("/dev/vg/root")
                                   : text_format("/dev/sd%c%u", 'a' + (int)disk, partition),
        .disk = disk,
        .partition = partition,
        .type = type ? text_copy(type) : NULL,
        .uuid = uuid ? text_copy(uuid) : NULL,
        .partuuid = partuuid ? text_copy(partuuid) : NULL,
    };
    return volume;
}

PHONY_UNUSED static void phony_add_nic(struct phony *phony, const char *name, const char *mac)
{
    phony->nics[phony->context.nic_count++] = (struct fix_nic){name, mac};
}

/* A Linux with GRUB 2 and systemd, and nothing else yet. */
PHONY_UNUSED static void phony_init(struct phony *phony)
{
    *phony = (struct phony){.memory = files_memory_new()};
    phony->system = memory_new(1, sizeof(*phony->system));
    phony->system->type = text_copy("linux");
    phony->system->distro = text_copy("debian");
    phony->system->has_systemd = true;
    phony->system->initramfs = SYSTEM_INITRAMFS_TOOLS;
    phony->system->loader = SYSTEM_LOADER_GRUB2;
    phony->system->grub_config = text_copy("/boot/grub/grub.cfg");
    plan_init(&phony->plan, files_memory_files(phony->memory));
    phony->context.system = phony->system;
    phony->context.nics = phony->nics;
    phony->context.plan = &phony->plan;
}

PHONY_UNUSED static void phony_fini(struct phony *phony)
{
    plan_fini(&phony->plan);
    system_free(phony->system);
    files_memory_free(phony->memory);
}

/* Makes the planned edits and starts a new plan over the result. */
PHONY_UNUSED static void phony_apply(struct phony *phony)
{
    files_memory_apply(phony->memory, &phony->plan);
    plan_fini(&phony->plan);
    plan_init(&phony->plan, files_memory_files(phony->memory));
}

/* The file as planned; "" when it will not be there. Caller frees. */
PHONY_UNUSED static char *phony_planned(struct phony *phony, const char *path)
{
    char *text = NULL;
    struct error err = {0};
    if (plan_read(&phony->plan, "test", path, &text, &err) != 1)
        return text_copy("");
    return text;
}

PHONY_UNUSED static const struct edit *phony_find_edit(const struct phony *phony, const char *path)
{
    for (size_t i = 0; i < phony->plan.edit_count; i++)
        if (strcmp(phony->plan.edits[i].path, path) == 0)
            return &phony->plan.edits[i];
    return NULL;
}

PHONY_UNUSED static bool phony_has_note(const struct phony *phony, bool is_warning,
                                        const char *part)
{
    for (size_t i = 0; i < phony->plan.note_count; i++)
        if (phony->plan.notes[i].is_warning == is_warning &&
            strstr(phony->plan.notes[i].text, part))
            return true;
    return false;
}

/* --- Debian 11: MBR, device names everywhere, DHCP, no serial console ---------------------------
 */

PHONY_UNUSED static const struct phony_file phony_debian11[] = {
    {.path = "/etc/fstab",
     .text = "# /etc/fstab: static file system information.\n"
             "#\n"
             "# <file system> <mount point>   <type>  <options>       <dump>  <pass>\n"
             "# / was on /dev/sda5 during installation\n"
             "/dev/sda5       /               ext4    errors=remount-ro 0       1\n"
             "/dev/sda1       /boot           ext4    defaults        0       2\n"
             "/dev/sda6       none            swap    sw              0       0\n"
             "/dev/sr0        /media/cdrom0   udf,iso9660 user,noauto     0       0\n"},
    {.path = "/etc/initramfs-tools/conf.d/resume", .text = "RESUME=/dev/sda6\n"},
    {.path = "/etc/default/grub",
     .text = "# If you change this file, run 'update-grub' afterwards to update\n"
             "# /boot/grub/grub.cfg.\n"
             "GRUB_DEFAULT=0\n"
             "GRUB_TIMEOUT=5\n"
             "GRUB_DISTRIBUTOR=`lsb_release -i -s 2> /dev/null || echo Debian`\n"
             "GRUB_CMDLINE_LINUX_DEFAULT=\"quiet resume=/dev/sda6\"\n"
             "GRUB_CMDLINE_LINUX=\"\"\n"
             "\n"
             "#GRUB_TERMINAL=console\n"
             "GRUB_DISABLE_LINUX_UUID=true\n"},
    {.path = "/boot/grub/grub.cfg",
     .text = "### BEGIN /etc/grub.d/10_linux ###\n"
             "menuentry 'Debian GNU/Linux' --class debian {\n"
             "\tload_video\n"
             "\tinsmod gzio\n"
             "\tset root='hd0,msdos1'\n"
             "\tsearch --no-floppy --fs-uuid --set=root 11111111-0003-4000-8000-000000000011\n"
             "\techo\t'Loading Linux 5.10.0-32-amd64 ...'\n"
             "\tlinux\t/vmlinuz-5.10.0-32-amd64 root=/dev/sda5 ro  quiet resume=/dev/sda6\n"
             "\techo\t'Loading initial ramdisk ...'\n"
             "\tinitrd\t/initrd.img-5.10.0-32-amd64\n"
             "}\n"
             "submenu 'Advanced options for Debian GNU/Linux' {\n"
             "\tmenuentry 'Debian GNU/Linux, with Linux 5.10.0-32-amd64 (recovery mode)' {\n"
             "\t\tlinux\t/vmlinuz-5.10.0-32-amd64 root=/dev/sda5 ro single \n"
             "\t\tinitrd\t/initrd.img-5.10.0-32-amd64\n"
             "\t}\n"
             "}\n"
             "### END /etc/grub.d/10_linux ###\n"
             "menuentry \"Memory test (memtest86+)\" {\n"
             "\tlinux16\t/memtest86+.bin\n"
             "}\n"},
    {.path = "/boot/grub/device.map", .text = "(hd0)\t/dev/disk/by-id/ata-ST3500418AS_9VM11A00\n"},
    {.path = "/var/cache/debconf/config.dat",
     .text = "Name: grub-pc/chainload_from_menu.lst\n"
             "Template: grub-pc/chainload_from_menu.lst\n"
             "Value: true\n"
             "Owners: grub-pc\n"
             "\n"
             "Name: grub-pc/install_devices\n"
             "Template: grub-pc/install_devices\n"
             "Value: /dev/disk/by-id/ata-ST3500418AS_9VM11A00\n"
             "Owners: grub-pc\n"
             "Flags: seen\n"
             "Variables:\n"
             " CHOICES = /dev/sda (500107 MB; ST3500418AS)\n"
             " RAW_CHOICES = /dev/disk/by-id/ata-ST3500418AS_9VM11A00\n"
             "\n"
             "Name: grub-pc/install_devices_empty\n"
             "Template: grub-pc/install_devices_empty\n"
             "Owners: grub-pc\n"
             "\n"
             "Name: man-db/auto-update\n"
             "Template: man-db/auto-update\n"
             "Value: true\n"
             "Owners: man-db\n"},
    {.path = "/etc/network/interfaces",
     .text = "# The loopback network interface\n"
             "auto lo\n"
             "iface lo inet loopback\n"
             "\n"
             "# The primary network interface\n"
             "allow-hotplug enp3s0f0\n"
             "iface enp3s0f0 inet dhcp\n"},
    {.path = "/lib/systemd/libsystemd-shared-247.so", .text = ""},
    {.path = "/lib/systemd/system/smartmontools.service", .text = "[Unit]\n"},
    {.path = "/etc/systemd/system/smartd.service",
     .target = "/lib/systemd/system/smartmontools.service"},
    {.path = "/etc/systemd/system/multi-user.target.wants/smartmontools.service",
     .target = "/lib/systemd/system/smartmontools.service"},
    {.path = "/etc/systemd/system/multi-user.target.wants/cron.service",
     .target = "/lib/systemd/system/cron.service"},
    {.path = "/etc/init.d/smartmontools", .text = "#!/bin/sh\n"},
    {.path = "/etc/rc2.d/S01smartmontools", .target = "../init.d/smartmontools"},
    {.path = NULL},
};

PHONY_UNUSED static void phony_init_debian11(struct phony *phony)
{
    phony_init(phony);
    phony_add_files(phony, phony_debian11);
    phony->system->version = text_copy("11");
    phony_add_volume(phony, 0, 1, "ext4", "11111111-0003-4000-8000-000000000011", "11111111-01");
    phony_add_volume(phony, 0, 5, "ext4", "11111111-0001-4000-8000-000000000011", "11111111-05");
    phony_add_volume(phony, 0, 6, "swap", "11111111-0002-4000-8000-000000000011", "11111111-06");
    phony_add_nic(phony, "enp3s0f0", "52:54:00:00:11:01");
}

/* --- Debian 12: two GPT disks, two cards, serial console, merged /usr ---------------------------
 */

PHONY_UNUSED static const struct phony_file phony_debian12[] = {
    {.path = "/lib", .target = "usr/lib"},
    {.path = "/etc/fstab",
     .text = "# <file system> <mount point> <type> <options> <dump> <pass>\n"
             "/dev/sda2 /         ext4 errors=remount-ro 0 1\n"
             "/dev/sda3 none      swap sw                0 0\n"
             "/dev/sdb1 /srv/data ext4 defaults          0 2\n"
             "//files.example.org/share /mnt/share cifs credentials=/etc/cifs,_netdev 0 0\n"
             "tmpfs\t/tmp\ttmpfs\tdefaults\t0\t0\n"
             "/dev/mapper/vg0-log /var/log ext4 defaults 0 2\n"},
    {.path = "/etc/default/grub",
     .text = "GRUB_DEFAULT=0\n"
             "GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\n"
             "GRUB_CMDLINE_LINUX=\"console=tty0 console=ttyS0,115200\"\n"},
    {.path = "/etc/default/grub.d/init-select.cfg",
     .text = "# Work around a bug in the obsolete init-select package\n"},
    {.path = "/boot/grub/grub.cfg",
     .text = "menuentry 'Debian GNU/Linux' {\n"
             "\tlinux\t/boot/vmlinuz-6.1.0-18-amd64 "
             "root=UUID=12121212-0001-4000-8000-000000000012 ro console=tty0 "
             "console=ttyS0,115200 quiet\n"
             "\tinitrd\t/boot/initrd.img-6.1.0-18-amd64\n"
             "}\n"},
    {.path = "/etc/network/interfaces",
     .text = "source /etc/network/interfaces.d/*\n"
             "\n"
             "auto lo\n"
             "iface lo inet loopback\n"
             "\n"
             "auto enp3s0f0\n"
             "iface enp3s0f0 inet static\n"
             "    address 192.0.2.10/24\n"
             "    gateway 192.0.2.1\n"
             "\n"
             "auto enp3s0f1\n"
             "iface enp3s0f1 inet dhcp\n"
             "    metric 200\n"},
    {.path = "/usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-252.so", .text = ""},
    {.path = "/usr/lib/systemd/system/smartmontools.service", .text = "[Unit]\n"},
    {.path = "/usr/lib/systemd/system/lm-sensors.service", .text = "[Unit]\n"},
    {.path = "/etc/systemd/system/smartd.service",
     .target = "/lib/systemd/system/smartmontools.service"},
    {.path = "/etc/systemd/system/multi-user.target.wants/smartmontools.service",
     .target = "/lib/systemd/system/smartmontools.service"},
    {.path = "/etc/systemd/system/multi-user.target.wants/lm-sensors.service",
     .target = "/lib/systemd/system/lm-sensors.service"},
    {.path = "/etc/systemd/system/sysinit.target.wants/mdadm-shutdown.service",
     .target = "/lib/systemd/system/mdadm-shutdown.service"},
    {.path = "/etc/systemd/system/smartmontools.service.d/metal.conf",
     .text = "[Unit]\nConditionVirtualization=\n"},
    {.path = NULL},
};

PHONY_UNUSED static void phony_init_debian12(struct phony *phony)
{
    phony_init(phony);
    phony_add_files(phony, phony_debian12);
    phony->system->version = text_copy("12");
    phony_add_volume(phony, 0, 2, "ext4", "12121212-0001-4000-8000-000000000012",
                     "12121212-aa02-4000-8000-000000000012");
    phony_add_volume(phony, 0, 3, "swap", "12121212-0002-4000-8000-000000000012",
                     "12121212-aa03-4000-8000-000000000012");
    phony_add_volume(phony, 1, 1, "ext4", "12121212-0003-4000-8000-000000000012",
                     "12121212-bb01-4000-8000-000000000012");
    phony_add_nic(phony, "enp3s0f0", "52:54:00:00:12:01");
    phony_add_nic(phony, "enp3s0f1", "52:54:00:00:12:02");
}

/* --- Debian 13: root by UUID, swap with a random key, systemd-networkd --------------------------
 */

PHONY_UNUSED static const struct phony_file phony_debian13[] = {
    {.path = "/lib", .target = "usr/lib"},
    {.path = "/etc/fstab",
     .text = "UUID=13131313-0001-4000-8000-000000000013 / ext4 errors=remount-ro 0 1\n"
             "/dev/sda3 none swap sw,pri=5 0 0\n"
             "/dev/mapper/cryptswap none swap sw,pri=1 0 0\n"},
    {.path = "/etc/crypttab",
     .text = "# <target name> <source device> <key file> <options>\n"
             "cryptswap /dev/sda4 /dev/urandom swap,cipher=aes-xts-plain64,size=512\n"},
    {.path = "/etc/systemd/network/10-lan.network",
     .text = "[Match]\n"
             "Name=enp3s0f0\n"
             "\n"
             "[Network]\n"
             "Address=198.51.100.20/24\n"
             "Gateway=198.51.100.1\n"},
    {.path = "/etc/default/grub",
     .text = "GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\n"
             "GRUB_CMDLINE_LINUX=\"\"\n"},
    {.path = "/boot/grub/grub.cfg",
     .text = "menuentry 'Debian GNU/Linux' {\n"
             "\tlinux\t/boot/vmlinuz-6.12.107+deb13-amd64 "
             "root=UUID=13131313-0001-4000-8000-000000000013 ro  quiet\n"
             "\tinitrd\t/boot/initrd.img-6.12.107+deb13-amd64\n"
             "}\n"},
    {.path = "/usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-257.so", .text = ""},
    {.path = NULL},
};

PHONY_UNUSED static void phony_init_debian13(struct phony *phony)
{
    phony_init(phony);
    phony_add_files(phony, phony_debian13);
    phony->system->version = text_copy("13");
    phony_add_volume(phony, 0, 2, "ext4", "13131313-0001-4000-8000-000000000013",
                     "13131313-aa02-4000-8000-000000000013");
    phony_add_volume(phony, 0, 3, "swap", "13131313-0002-4000-8000-000000000013",
                     "13131313-aa03-4000-8000-000000000013");
    phony_add_volume(phony, 0, 4, NULL, NULL, "13131313-aa04-4000-8000-000000000013");
    phony_add_nic(phony, "enp3s0f0", "52:54:00:00:13:01");
}

/* --- An older server: System V, cciss, eth0 by persistent-net rules, IPMI, everything else -------
 */

PHONY_UNUSED static const struct phony_file phony_sysv[] = {
    {.path = "/etc/fstab",
     .text = "/dev/cciss/c0d0p1 / ext3 errors=remount-ro 0 1\n"
             "/dev/cciss/c0d0p5\tnone\tswap\tsw\t0\t0\n"},
    {.path = "/etc/default/grub", .text = "GRUB_CMDLINE_LINUX_DEFAULT='quiet'\n"},
    {.path = "/boot/grub/grub.cfg",
     .text = "menuentry 'Debian GNU/Linux, with Linux 3.2.0-4-amd64' {\n"
             "\tlinux /boot/vmlinuz-3.2.0-4-amd64 root=/dev/cciss/c0d0p1 ro quiet\n"
             "\tinitrd /boot/initrd.img-3.2.0-4-amd64\n"
             "}\n"},
    {.path = "/boot/grub/device.map", .text = "(fd0)\t/dev/fd0\n(hd0)\t/dev/cciss/c0d0\n"},
    {.path = "/etc/network/interfaces",
     .text = "auto eth0\niface eth0 inet static\n\taddress 192.0.2.20\n\tnetmask "
             "255.255.255.0\n\tgateway 192.0.2.1\n"},
    {.path = "/etc/udev/rules.d/70-persistent-net.rules",
     .text = "# PCI device 0x14e4:0x164c (bnx2)\n"
             "SUBSYSTEM==\"net\", ACTION==\"add\", DRIVERS==\"?*\", "
             "ATTR{address}==\"00:1e:0b:aa:bb:cc\", ATTR{dev_id}==\"0x0\", ATTR{type}==\"1\", "
             "KERNEL==\"eth*\", NAME=\"eth0\"\n"},
    {.path = "/etc/init.d/hp-health", .text = "#!/bin/sh\n"},
    {.path = "/etc/rc2.d/S20hp-health", .target = "../init.d/hp-health"},
    {.path = "/etc/rc3.d/S20hp-health", .target = "../init.d/hp-health"},
    {.path = "/etc/rc2.d/S20ssh", .target = "../init.d/ssh"},
    {.path = NULL},
};

PHONY_UNUSED static void phony_init_sysv(struct phony *phony)
{
    phony_init(phony);
    phony_add_files(phony, phony_sysv);
    phony->system->has_systemd = false;
    phony->system->version = text_copy("7");
    phony_add_volume(phony, 0, 1, "ext3", "07070707-0001-4000-8000-000000000007", NULL);
    phony_add_volume(phony, 0, 5, "swap", "07070707-0002-4000-8000-000000000007", NULL);
    phony_add_nic(phony, "eth0", "52:54:00:00:07:01");
}

/* --- Debian 12 by UEFI: its boot entry was in the firmware, and the ESP holds EFI/debian alone --
 */

PHONY_UNUSED static const struct phony_file phony_uefi[] = {
    {.path = "/etc/fstab",
     .text = "UUID=12121212-0011-4000-8000-000000000012 / ext4 errors=remount-ro 0 1\n"
             "/dev/sda1 /boot/efi vfat umask=0077 0 1\n"},
    {.path = "/boot/grub/grub.cfg",
     .text = "linux /boot/vmlinuz-6.1.0-18-amd64 root=/dev/sda2 ro quiet\n"},
    {.path = "/etc/default/grub", .text = "GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\n"},
    {.path = "/boot/efi/EFI/debian/shimx64.efi", .text = "MZ shim"},
    {.path = "/boot/efi/EFI/debian/grubx64.efi", .text = "MZ grub"},
    {.path = "/boot/efi/EFI/debian/mmx64.efi", .text = "MZ mok manager"},
    {.path = "/boot/efi/EFI/debian/fbx64.efi", .text = "MZ fallback"},
    {.path = "/boot/efi/EFI/debian/BOOTX64.CSV", .text = "shimx64.efi,debian,,"},
    {.path = "/boot/efi/EFI/debian/grub.cfg", .text = "configfile $prefix/grub.cfg\n"},
    {.path = "/var/cache/debconf/config.dat",
     .text = "Name: grub2/force_efi_extra_removable\n"
             "Template: grub2/force_efi_extra_removable\n"
             "Value: false\n"
             "Owners: grub-common, grub-efi-amd64\n"},
    {.path = NULL},
};

PHONY_UNUSED static void phony_init_uefi(struct phony *phony)
{
    phony_init(phony);
    phony_add_files(phony, phony_uefi);
    phony->system->version = text_copy("12");
    phony->system->arch = text_copy("x86_64");
    phony->system->firmware = SYSTEM_FIRMWARE_UEFI;
    phony_add_volume(phony, 0, 1, "vfat", "1212-E5D0", "12121212-cc01-4000-8000-000000000012")
        ->mountpoint = text_copy("/boot/efi");
    phony_add_volume(phony, 0, 2, "ext4", "12121212-0011-4000-8000-000000000012",
                     "12121212-cc02-4000-8000-000000000012")
        ->mountpoint = text_copy("/");
    phony_add_nic(phony, "enp3s0f0", "52:54:00:00:12:01");
}

#endif
