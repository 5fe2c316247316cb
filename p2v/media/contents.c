/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The picks are patterns over the packages' files. Of udev's rules only those that name, identify
 * and load drivers are there; those of mdadm, lvm2 and dmsetup, which assemble and activate, are
 * not.
 */
#include "p2v/media/contents.h"

#include "base/bytes.h"
#include "base/own.h"
#include "base/text.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FIRMWARE_FOLDER "usr/lib/firmware/"

/* fnmatch(3) patterns in which '*' crosses no '/'. Without `is_optional` one must match. */
struct pick {
    const char *package, *pattern;
    bool is_optional;
};

static const struct pick picks[] = {
    {"busybox", "usr/bin/busybox", false},
    {"kmod", "usr/bin/kmod", false},
    {"iproute2", "usr/bin/ip", false},
    {"lvm2", "usr/sbin/lvm", false},
    {"dmsetup", "usr/sbin/dmsetup", false},
    {"mdadm", "usr/sbin/mdadm", false},
    {"cryptsetup-bin", "usr/sbin/cryptsetup", false},
    {"udev", "usr/bin/udevadm", false},
    {"udev", "usr/lib/systemd/systemd-udevd", false},
    {"udev", "usr/lib/systemd/network/99-default.link", false},
    {"udev", "usr/lib/udev/ata_id", false},
    {"udev", "usr/lib/udev/scsi_id", false},
    {"udev", "usr/lib/udev/rules.d/50-udev-default.rules", false},
    {"udev", "usr/lib/udev/rules.d/50-firmware.rules", true},
    {"udev", "usr/lib/udev/rules.d/60-block.rules", false},
    {"udev", "usr/lib/udev/rules.d/60-input-id.rules", false},
    {"udev", "usr/lib/udev/rules.d/60-persistent-input.rules", false},
    {"udev", "usr/lib/udev/rules.d/60-persistent-storage.rules", false},
    {"udev", "usr/lib/udev/rules.d/60-serial.rules", false},
    {"udev", "usr/lib/udev/rules.d/73-special-net-names.rules", true},
    {"udev", "usr/lib/udev/rules.d/75-net-description.rules", false},
    {"udev", "usr/lib/udev/rules.d/80-drivers.rules", false},
    {"udev", "usr/lib/udev/rules.d/80-net-setup-link.rules", false},
    {"ncurses-base", "usr/lib/terminfo/[adlsvx]/ansi", true},
    {"ncurses-base", "usr/*/terminfo/d/dumb", false},
    {"ncurses-base", "usr/*/terminfo/l/linux", false},
    {"ncurses-base", "usr/*/terminfo/v/vt100", false},
    {"ncurses-base", "usr/*/terminfo/v/vt102", false},
    {"ncurses-base", "usr/*/terminfo/v/vt220", false},
    {"ncurses-base", "usr/*/terminfo/x/xterm", false},
};

/* Loaded at run time, so that nobody names them: kmod by later udevs, gcc's by pthread_cancel. */
static const char *const also_libraries[] = {"libkmod.so.2", "libblkid.so.1", "libgcc_s.so.1",
                                             NULL};

static const char libraries_folder[] = "usr/lib/x86_64-linux-gnu/";

/* --- out of the packages --- */

struct picking {
    struct deb_visitor visitor; /* first */
    struct file_tree *tree, *libraries;
    const char *package;
    const struct name_list *firmware;
    bool found[ARRAY_LENGTH(picks)];
};

/* Counts it as found. */
static bool is_picked(struct picking *picking, const char *path)
{
    for (size_t i = 0; i < ARRAY_LENGTH(picks); i++) {
        if (strcmp(picks[i].package, picking->package) == 0 &&
            fnmatch(picks[i].pattern, path, FNM_PATHNAME) == 0)
            return picking->found[i] = true;
    }
    return false;
}

static bool is_library(const char *path)
{
    const char *slash = strrchr(path, '/');
    return text_starts_with(path, libraries_folder) && slash && strstr(slash, ".so");
}

static bool is_firmware(const struct picking *picking, const char *path)
{
    if (!text_starts_with(path, FIRMWARE_FOLDER))
        return false;
    AUTO_FREE char *name = text_copy(path + strlen(FIRMWARE_FOLDER));
    for (size_t i = strlen(name); text_ends_with(name, ".xz") || text_ends_with(name, ".zst");
         i = strlen(name))
        name[i - (name[i - 1] == 't' ? 4 : 3)] = '\0';
    return name_list_has(picking->firmware, name);
}

static bool wants(struct deb_visitor *visitor, const char *path)
{
    struct picking *picking = (struct picking *)visitor;
    return is_picked(picking, path) || is_library(path) || is_firmware(picking, path);
}

static int take(struct deb_visitor *visitor, const char *path, mode_t mode, char **data,
                size_t length, struct error *err)
{
    struct picking *picking = (struct picking *)visitor;
    struct file_tree *tree =
        text_starts_with(path, libraries_folder) ? picking->libraries : picking->tree;
    (void)err;
    if (S_ISLNK(mode)) {
        /* From before the folders were merged: /bin/x is the same as /usr/bin/x. */
        file_tree_add_link(tree, path, *data);
    } else {
        file_tree_add(tree, path, mode & 0111 ? 0755 : 0644, *data, length);
        *data = NULL;
    }
    return 0;
}

static int add_packages(struct file_tree *tree, const struct packages *packages,
                        const struct name_list *firmware, struct error *err)
{
    AUTO(file_tree) libraries = {0};
    struct picking picking = {.visitor = {.wants = wants, .take = take},
                              .tree = tree,
                              .libraries = &libraries,
                              .firmware = firmware};
    for (size_t i = 0; i < packages->count; i++) {
        picking.package = packages->items[i].name;
        if (!text_starts_with(picking.package, "linux-image-") &&
            deb_visit(&packages->items[i], &picking.visitor, err) != 0)
            return -1;
    }
    for (size_t i = 0; i < ARRAY_LENGTH(picks); i++) {
        if (!picking.found[i] && !picks[i].is_optional)
            return error_set(err, 0, "package %s has no %s", picks[i].package, picks[i].pattern);
    }
    return libraries_add(tree, &libraries, also_libraries, err);
}

/* --- what is written here --- */

static const struct {
    const char *path, *target;
} links[] = {
    {"bin", "usr/bin"},
    {"sbin", "usr/sbin"},
    {"lib", "usr/lib"},
    {"lib64", "usr/lib64"},
    {"usr/lib64/ld-linux-x86-64.so.2", "../lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"},
    {"var/run", "../run"},
    {"etc/mtab", "../proc/self/mounts"},
    {"etc/resolv.conf", "../run/resolv.conf"},
    {"usr/bin/rehost-agent", "../../init"},
    {"usr/sbin/ip", "../bin/ip"},
    {"usr/sbin/modprobe", "../bin/kmod"},
    {"usr/sbin/insmod", "../bin/kmod"},
    {"usr/sbin/rmmod", "../bin/kmod"},
    {"usr/sbin/lsmod", "../bin/kmod"},
    {"usr/sbin/modinfo", "../bin/kmod"},
    {"usr/sbin/pvs", "lvm"},
    {"usr/sbin/vgs", "lvm"},
    {"usr/sbin/lvs", "lvm"},
};

/* What a person at the shell, and the agent, may want; nothing that makes file systems. */
static const char *const applets[] = {
    "[",      "ash",        "awk",      "base64",  "basename", "blockdev",  "cat",
    "chmod",  "chown",      "chvt",     "clear",   "cp",       "cut",       "date",
    "dd",     "deallocvt",  "df",       "dirname", "dmesg",    "du",        "echo",
    "env",    "expr",       "false",    "find",    "free",     "getty",     "grep",
    "gunzip", "gzip",       "halt",     "head",    "hexdump",  "hostname",  "hwclock",
    "id",     "ifconfig",   "kill",     "killall", "less",     "ln",        "loadkmap",
    "ls",     "lsscsi",     "md5sum",   "mkdir",   "mknod",    "mktemp",    "more",
    "mount",  "mv",         "nc",       "netstat", "nproc",    "nslookup",  "od",
    "openvt", "pidof",      "ping",     "ping6",   "poweroff", "printf",    "ps",
    "pwd",    "readlink",   "realpath", "reboot",  "reset",    "rm",        "rmdir",
    "route",  "sed",        "seq",      "setsid",  "sh",       "sha256sum", "sleep",
    "sort",   "stat",       "strings",  "stty",    "sync",     "sysctl",    "tail",
    "tee",    "telnet",     "test",     "tftp",    "timeout",  "top",       "touch",
    "tr",     "traceroute", "true",     "tty",     "udhcpc",   "umount",    "uname",
    "uniq",   "uptime",     "vi",       "watch",   "wc",       "wget",      "which",
    "xargs",  "xxd",        "yes",      "zcat",
};

static const char *const folders[] = {
    "dev", "etc/udev/rules.d", "mnt",     "proc",   "root", "run", "sys",
    "tmp", "usr/sbin",         "var/lib", "var/log"};

static const struct {
    const char *path, *text;
} texts[] = {
    {"etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"},
    /* The groups that udev's rules give devices to. */
    {"etc/group",
     "root:x:0:\ntty:x:5:\ndisk:x:6:\nlp:x:7:\nkmem:x:15:\ndialout:x:20:\ncdrom:x:24:\n"
     "tape:x:26:\naudio:x:29:\nvideo:x:44:\nplugdev:x:46:\ninput:x:101:\nsgx:x:102:\nkvm:x:103:\n"
     "render:x:104:\nclock:x:105:\n"},
    {"etc/hostname", "rehost\n"},
    {"etc/hosts", "127.0.0.1 localhost rehost\n::1 localhost\n"},
    {"etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"},
    {"etc/shells", "/bin/sh\n"},
    {"etc/os-release",
     "ID=rehost\nNAME=\"Rehost agent\"\nPRETTY_NAME=\"Rehost agent " REHOST_VERSION "\"\n"},
    {"etc/initrd-release", "ID=rehost\nNAME=\"Rehost agent\"\n"},
    {"etc/udev/udev.conf", "udev_log=err\n"},
    /* Nothing is taken together or started without being asked for, and if, then read-only. */
    {"etc/mdadm/mdadm.conf", "AUTO -all\nDEVICE partitions\n"},
    {"etc/lvm/lvm.conf",
     "devices {\n\tdir = \"/dev\"\n\tscan = [ \"/dev\" ]\n\tuse_devicesfile = 0\n"
     "\tobtain_device_list_from_udev = 0\n}\n"
     "global {\n\tmetadata_read_only = 1\n\tevent_activation = 0\n"
     "\tlocking_dir = \"/run/lock/lvm\"\n\tuse_lvmpolld = 0\n}\n"
     "activation {\n\tauto_activation_volume_list = [ ]\n\tudev_sync = 0\n\tudev_rules = 0\n"
     "\tmonitoring = 0\n}\n"
     "backup {\n\tbackup = 0\n\tarchive = 0\n}\n"},
    {"etc/modprobe.d/rehost.conf",
     "# A set that somebody assembles stays as it is until it is written to, and nobody writes.\n"
     "options md_mod start_ro=1\n"
     "blacklist floppy\n"
     "blacklist pcspkr\n"},
};

static void add_own(struct file_tree *tree)
{
    for (size_t i = 0; i < ARRAY_LENGTH(folders); i++)
        file_tree_add_folder(tree, folders[i]);
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++)
        file_tree_add_text(tree, texts[i].path, texts[i].text);
    for (size_t i = 0; i < ARRAY_LENGTH(links); i++)
        file_tree_add_link(tree, links[i].path, links[i].target);
    for (size_t i = 0; i < ARRAY_LENGTH(applets); i++) {
        AUTO_FREE char *path = text_format("usr/bin/%s", applets[i]);
        if (!file_tree_find(tree, path))
            file_tree_add_link(tree, path, "busybox");
    }
}

int contents_add(struct file_tree *tree, const struct packages *packages,
                 const struct name_list *firmware, struct error *err)
{
    if (add_packages(tree, packages, firmware, err) != 0)
        return -1;
    add_own(tree);
    return 0;
}
