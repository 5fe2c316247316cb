/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the boot medium was told: the kernel command line's `rehost.` parameters, and virt-p2v's
 * `p2v.` names where the meaning is the same (docs/boot-media.md lists them all). Pure: text in,
 * settings out.
 */
#ifndef P2V_BOOT_SETTINGS_H
#define P2V_BOOT_SETTINGS_H

#include "base/error.h"
#include "base/own.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BOOT_MAX_NAMES 64

/* Owned copies, in the order given. */
struct boot_names {
    char *items[BOOT_MAX_NAMES];
    size_t count;
};

enum boot_then { BOOT_POWER_OFF, BOOT_REBOOT, BOOT_WAIT };

struct boot_settings {
    char *server;                    /* HOST[:PORT]; NULL: to be asked for */
    char *pin;                       /* "sha256:…"; NULL: a person compares it */
    char *token;                     /* NULL: the server's operator approves */
    char *name;                      /* of the machine; NULL: the server chooses */
    char *compress;                  /* a word of --compress; NULL: auto */
    uint64_t limit_bytes_per_second; /* 0: none */

    struct boot_names disks;    /* "sda", "/dev/sda", a by-id name; none: all that are built in */
    bool has_external;          /* USB disks too (never the boot medium) */
    struct boot_names networks; /* "eth0:wired" or "wired": the guest's networks */
    uint64_t memory_bytes;      /* of the guest; 0: as the machine */
    unsigned vcpus;             /* of the guest; 0: as the machine */

    struct boot_names net; /* rehost.net=, in order; see network.h */
    struct boot_names ip;  /* the kernel's own ip= */

    bool must_confirm;   /* rehost.confirm: ask although everything is known */
    bool has_shell;      /* rehost.shell */
    enum boot_then then; /* when all went well */

    struct boot_names unknown;     /* `rehost.` and `p2v.` parameters that mean nothing here */
    struct boot_names not_applied; /* virt-p2v's that have no meaning here: "p2v.username" */
};

/*
 * Reads a kernel command line (quotes as the kernel has them). A value that cannot be is an error
 * that names the parameter; the last of two of the same name counts, except for lists that may be
 * repeated (rehost.net, ip). `rehost.` goes before `p2v.`; an empty value is none. Values
 * of what is not applied or unknown (passwords) are kept nowhere. After -1 it is to be freed too.
 */
int boot_settings_parse(const char *command_line, struct boot_settings *settings,
                        struct error *err);
void boot_settings_fini(struct boot_settings *settings);

/* Server and pin are known and nobody asked to be asked: no hand is needed. */
bool boot_settings_are_unattended(const struct boot_settings *settings);

#endif
