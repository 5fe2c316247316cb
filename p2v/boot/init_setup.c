/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A system out of an initramfs: file systems of the kernel, udev with the drivers, nothing else.
 * Disks are made read-only in the kernel as they appear, besides being opened for reading only.
 */
#include "base/bytes.h"
#include "base/child.h"
#include "base/clock.h"
#include "base/own.h"
#include "base/text.h"
#include "p2v/agent/inventory.h"
#include "p2v/agent/inventory_file.h"
#include "p2v/boot/init_private.h"
#include "p2v/boot/session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define KLOG_CONSOLE_LEVEL 8 /* syslog(2) */
#define UDEV_START_MS 20000
#define UDEV_TRIGGER_MS 60000
#define UDEV_SETTLE_MS 130000
#define UDEV_SETTLE "--timeout=120"
#define DISKS_QUIET_MS 1000 /* no other came for so long */
#define DISKS_NONE_MS 10000 /* not a single one */
#define DISKS_ALL_MS 30000
#define DISKS_LOOK_US 100000

static const char udev_rules[] =
    "# Nothing may write to a disk of the machine that is looked at.\n"
    "ACTION!=\"remove\", SUBSYSTEM==\"block\", ENV{DEVTYPE}==\"disk\", "
    "KERNEL!=\"loop*|ram*|zram*|sr*|fd*\", RUN+=\"/bin/busybox blockdev --setro $devnode\"\n";

static const char module_options[] =
    "options bonding max_bonds=0\n" /* none that nobody asked for */
    "options md_mod start_ro=1\n"   /* never written to */
    "options scsi_mod scan=sync\n"  /* found when modprobe ends */
    "blacklist pcspkr\n";           /* no beeps in the rack */

/* --- file systems --- */

struct place {
    const char *type, *path, *options;
    unsigned long flags;
};

static const struct place places[] = {
    {"proc", "/proc", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC},
    {"sysfs", "/sys", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC},
    {"devtmpfs", "/dev", "mode=0755", MS_NOSUID},
    {"devpts", "/dev/pts", "mode=0620,ptmxmode=0666", MS_NOSUID | MS_NOEXEC},
    {"tmpfs", "/run", "mode=0755,size=64m", MS_NOSUID | MS_NODEV},
    {"tmpfs", "/tmp", "mode=1777,size=64m", MS_NOSUID | MS_NODEV},
};

static void mount_all(void)
{
    for (size_t i = 0; i < ARRAY_LENGTH(places); i++) {
        const struct place *place = &places[i];
        mkdir(place->path, 0755);
        if (mount(place->type, place->path, place->type, place->flags, place->options) != 0 &&
            errno != EBUSY)
            init_say("mount %s: %s", place->path, strerror(errno));
    }
    /* Whether the firmware demands signatures is told there. */
    if (access("/sys/firmware/efi/efivars", F_OK) == 0)
        mount("efivarfs", "/sys/firmware/efi/efivars", "efivarfs",
              MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
}

static void make_folders(void)
{
    static const char *const folders[] = {"/run/udev",
                                          "/run/udev/rules.d",
                                          "/run/modprobe.d",
                                          "/run/rehost",
                                          "/etc",
                                          "/var",
                                          "/var/lib",
                                          "/root"};
    for (size_t i = 0; i < ARRAY_LENGTH(folders); i++)
        mkdir(folders[i], 0755);
}

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        init_say("write %s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
}

/* --- programs --- */

static void run(int timeout_ms, const char *const argv[])
{
    struct child_limits limits = {.timeout_ms = timeout_ms, .output_bytes = MIB};
    struct error err = {0};
    int status = child_run(argv, NULL, NULL, NULL, &limits, &err);
    if (status < 0)
        init_say("%s", err.text);
    else if (status > 0)
        init_say("%s ended with status %d", argv[0], status);
}

#define RUN(timeout_ms, ...) run(timeout_ms, (const char *const[]){__VA_ARGS__, NULL})

/*
 * Drivers are loaded by what the buses say; then the devices are there, under their last names.
 * What no driver and no name hangs on is left out: it would be most of the work.
 */
static void start_udev(void)
{
    static const char *const dull[] = {
        "acpi",     "clockevents",  "clocksource", "cpu",    "event_source",   "graphics",
        "leds",     "machinecheck", "mem",         "memory", "memory_tiering", "misc",
        "node",     "thermal",      "tty",         "vc",     "vtconsole",      "wakeup",
        "workqueue"};
    const char *trigger[ARRAY_LENGTH(dull) * 2 + 4] = {"udevadm", "trigger", "--action=add"};
    for (size_t i = 0; i < ARRAY_LENGTH(dull); i++) {
        trigger[3 + 2 * i] = "--subsystem-nomatch";
        trigger[4 + 2 * i] = dull[i];
    }
    RUN(UDEV_START_MS, "/usr/lib/systemd/systemd-udevd", "--daemon");
    run(UDEV_TRIGGER_MS, trigger);
    RUN(UDEV_SETTLE_MS, "udevadm", "settle", UDEV_SETTLE);
}

/* --- disks --- */

/* The names of what may be a disk. Caller frees. */
static char *disk_names(void)
{
    static const char *const others[] = {"loop", "ram", "zram", "sr", "fd", "dm-", "md"};
    AUTO(text) joined = {0};
    char **names = inventory_names("", "/sys/block");
    for (size_t i = 0; names && names[i]; i++) {
        bool is_disk = true;
        for (size_t k = 0; k < ARRAY_LENGTH(others); k++)
            is_disk = is_disk && !text_starts_with(names[i], others[k]);
        if (is_disk)
            text_addf(&joined, "%s ", names[i]);
    }
    inventory_names_free(names);
    return text_take(&joined);
}

/* NVMe and others look for their disks after udev is through: until no more come. */
static void wait_for_disks(void)
{
    int64_t start_ms = clock_ms(), change_ms = start_ms;
    char *before = disk_names();
    for (;;) {
        int64_t limit_ms = before[0] ? DISKS_QUIET_MS : DISKS_NONE_MS;
        if (clock_ms() - change_ms >= limit_ms || clock_ms() - start_ms >= DISKS_ALL_MS)
            break;
        usleep(DISKS_LOOK_US);
        char *now = disk_names();
        if (strcmp(now, before) != 0)
            change_ms = clock_ms();
        free(before);
        before = now;
    }
    free(before);
    RUN(UDEV_SETTLE_MS, "udevadm", "settle", UDEV_SETTLE);
}

static void take_over_console(void)
{
    int fd = open("/dev/console", O_RDWR | O_NOCTTY);
    for (int i = 0; fd >= 0 && i < 3; i++)
        dup2(fd, i);
    if (fd > 2)
        close(fd);
    klogctl(KLOG_CONSOLE_LEVEL, NULL, 1); /* the kernel's words stay in its own log */
}

int init_set_up(void)
{
    int64_t start_ms = clock_ms();
    mount_all();
    make_folders();
    take_over_console();
    write_file(INIT_LOG, "");
    write_file(INVENTORY_MEDIUM_MARK, "");
    write_file("/run/udev/rules.d/10-rehost.rules", udev_rules);
    write_file("/run/modprobe.d/rehost.conf", module_options);
    write_file("/proc/sys/kernel/hostname", "rehost");
    init_say("looking at this machine's hardware");
    RUN(UDEV_START_MS, "ip", "link", "set", "lo", "up");
    start_udev();
    wait_for_disks();
    init_say("hardware found after %.1f s", (double)(clock_ms() - start_ms) / 1000);
    return 0;
}
