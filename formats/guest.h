/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The neutral guest definition, guest.json version 1 (docs/guest.md), and its rendering for the
 * platforms people run: one writer per target in formats/target_NAME.c, in guest_targets[].
 */
#ifndef FORMATS_GUEST_H
#define FORMATS_GUEST_H

#include "base/error.h"
#include "base/own.h"
#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GUEST_MAX_DISKS 64
#define GUEST_MAX_NICS 64
#define GUEST_MAX_ADDRESSES 32
#define GUEST_MAX_CPUS 4096u                     /* sockets * cores * threads */
#define GUEST_MAX_MEMORY ((uint64_t)16 << 40)    /* 16 TiB */
#define GUEST_MAX_DISK_SIZE ((uint64_t)64 << 40) /* 64 TiB, as IMAGE_MAX_SIZE */
#define GUEST_MAX_RATE ((uint64_t)1 << 40)       /* of each of the limits a second */
#define GUEST_MAX_PATH 1024                      /* bytes */
#define GUEST_MAX_TEXT 255                       /* bytes, of a text with no limit of its own */
#define GUEST_MAX_SERIAL 64                      /* bytes */
#define GUEST_MAX_FILE ((size_t)1 << 20)         /* bytes of a guest.json */

enum guest_firmware { GUEST_FIRMWARE_BIOS, GUEST_FIRMWARE_UEFI };
enum guest_clock { GUEST_CLOCK_UTC, GUEST_CLOCK_LOCALTIME };
enum guest_bus { GUEST_BUS_VIRTIO_BLK, GUEST_BUS_VIRTIO_SCSI, GUEST_BUS_SATA, GUEST_BUS_IDE };
enum guest_nic_model { GUEST_NIC_VIRTIO, GUEST_NIC_E1000, GUEST_NIC_E1000E, GUEST_NIC_RTL8139 };

/* All strings are owned by the guest, UTF-8, NULL when absent. */
struct guest_disk {
    char *path;          /* relative to the definition's folder */
    char *format;        /* "qcow2", "raw" */
    uint64_t size_bytes; /* virtual size */
    enum guest_bus bus;
    char *serial;        /* at most 20 bytes reach a virtio-blk guest */
    unsigned boot_order; /* 1 is first; 0: not booted from */
    char *backing;       /* the backing file's path, relative too */
};

struct guest_nic {
    char *mac; /* "52:54:00:12:34:56", lower case */
    enum guest_nic_model model;
    char *name;                           /* the interface's name inside the guest: "enp3s0f0" */
    char *network;                        /* what it is connected to; NULL: the target's default */
    char *addresses[GUEST_MAX_ADDRESSES]; /* "192.0.2.10/24", "dhcp" */
    size_t address_count; /* "auto" is an address too: from IPv6 router advertisements */
};

struct guest {
    char *name; /* 1 to 63 of [A-Za-z0-9._-] */
    char *uuid; /* lower case */
    char *arch; /* "x86_64" */
    enum guest_firmware firmware;
    bool secure_boot;
    char *nvram;                      /* path of a variable store, relative; NULL: none */
    unsigned sockets, cores, threads; /* each 1 to 512 */
    char *cpu_model;                  /* NULL: the host's */
    uint64_t memory_bytes;            /* multiple of 1 MiB */
    enum guest_clock clock;
    struct guest_disk disks[GUEST_MAX_DISKS];
    size_t disk_count;
    struct guest_nic nics[GUEST_MAX_NICS];
    size_t nic_count;
    char *console;            /* "serial", "vga", "both" */
    char *os_type;            /* "linux", "windows", "unknown" */
    char *os_distro;          /* "debian" */
    char *os_version;         /* "12" */
    struct guest_limits {     /* 0: none */
        unsigned cpu_percent; /* of one CPU: 150 is one and a half */
        uint64_t net_bytes_per_second;
        uint64_t disk_bytes_per_second;
        uint64_t disk_operations_per_second;
    } limits;
};

/*
 * Defaults: a uuid made from the name, x86_64, bios, 1 socket 2 cores 1 thread, 2 GiB, utc, console
 * both, os unknown. NULL-safe free.
 */
struct guest *guest_new(const char *name);
void guest_free(struct guest *guest);
OWN_DEFINE_PTR(guest, guest_free)

/*
 * Parses and validates. Unknown fields are refused by name; a path that is absolute or leaves the
 * folder ("..") is refused unless allow_outside.
 */
struct guest *guest_parse(const char *json, size_t length, bool allow_outside, struct error *err);
struct guest *guest_read(int folder_fd, const char *name, bool allow_outside, struct error *err);

/* The same checks on a definition built in memory. */
int guest_validate(const struct guest *guest, bool allow_outside, struct error *err);

/*
 * Canonical JSON, two-space indent, newline at the end; caller frees. An invalid guest is refused,
 * but for its paths, which may lie outside.
 */
char *guest_format(const struct guest *guest, struct error *err);
int guest_write(const struct guest *guest, int folder_fd, const char *name, struct error *err);

/*
 * A MAC for an interface that nobody knows the MAC of: locally administered, unicast, derived from
 * SHA-256 over machine and interface, so a second run gives the same.
 */
void guest_make_mac(const char *machine_id, const char *interface, char mac[18]);
bool guest_mac_is_valid(const char *mac); /* six pairs of hex digits, unicast */

/* A UUID (version 8 layout) derived from a seed, so a second run gives the same. */
void guest_make_uuid(const char *seed, char uuid[37]);

const char *guest_bus_name(enum guest_bus bus); /* "virtio-blk", … as in guest.json */
const char *guest_nic_model_name(enum guest_nic_model model); /* "virtio", "e1000", … */

/* A platform that a definition can be rendered for. */
struct guest_target {
    const char *name; /* `rehost define --for NAME` */
    const char *description;
    const char *file_name; /* what `define` calls the file by default: "start.sh" */
    bool is_executable;
    /* Adds the rendering to `out`. `folder` is the absolute folder of the definition. */
    int (*render)(const struct guest *guest, const char *folder, struct text *out,
                  struct error *err);
};

/* Ends with NULL. */
extern const struct guest_target *const guest_targets[];
const struct guest_target *guest_target_find(const char *name);

#endif
