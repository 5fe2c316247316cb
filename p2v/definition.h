/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Makes the guest definition of a converted machine from what was found on its disks.
 */
#ifndef P2V_DEFINITION_H
#define P2V_DEFINITION_H

#include "bootfix/system.h"
#include "formats/guest.h"
#include "p2v/nics.h"
#include "p2v/sources.h"

#include <stdbool.h>

/*
 * Hardware that the copy can drive. Virtio where a fixed system has it; what every kernel of the
 * last twenty years knows (SATA, e1000) where that is doubtful.
 */
struct definition_hardware {
    enum guest_bus bus;
    enum guest_nic_model nic_model;
};

/* What a fixed system can drive: virtio where its newest kernel has it. `system` may be NULL. */
struct definition_hardware definition_hardware_for(const struct system *system);

/* What was seen of the machine itself, beyond its disks. {0}: nothing. */
struct definition_hints {
    char uuid[37];                    /* "": not known */
    unsigned sockets, cores, threads; /* 0: not known */
    uint64_t memory_bytes;            /* 0: not known */
    bool is_firmware_known, is_uefi, is_secure_boot;
    bool is_clock_known, is_localtime;
};

struct definition_options {
    const char *name; /* --name, or NULL: the host name, or folder_name */
    const char *folder_name;
    const char *machine_id; /* where the system has none */
    const char *format;     /* of the disks: "qcow2" */
    uint64_t memory_bytes;  /* 0: the default */
    unsigned cpus;          /* 0: the default */
    struct definition_hardware hardware;
    const struct definition_hints *hints; /* NULL: none; the other options go before them */
};

/* The whole definition; the disks are called disk0.FORMAT and so on. NULL-safe on system. */
struct guest *definition_new(const struct sources *sources, const struct system *system,
                             const struct nics *nics, const struct definition_options *options);

/* Replaces the definition's NICs. */
void definition_set_nics(struct guest *guest, const struct nics *nics, enum guest_nic_model model);

/* Firmware, clock and os of a known system. */
void definition_set_system(struct guest *guest, const struct system *system);

/* What identifies the machine when no system tells: its first disk's id. Caller frees. */
char *definition_machine_id(const struct sources *sources);

/* 1 to 63 of [A-Za-z0-9._-], as guest.json wants it. */
bool definition_name_is_valid(const char *name);

/* "disk0.qcow2"; caller frees. */
char *definition_disk_name(size_t index, const char *format);

#endif
