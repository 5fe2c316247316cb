/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The agent's boot media, made from Debian's packages: a kernel, an initramfs with rehost-agent as
 * /init, and around them a hybrid ISO (BIOS and UEFI, CD and USB stick) or files for PXE. The same
 * inputs give the same bytes.
 */
#ifndef P2V_MEDIA_MEDIA_H
#define P2V_MEDIA_MEDIA_H

#include "base/error.h"
#include "base/log.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The ISO's volume id, by which the agent knows the medium that it came from. */
#define MEDIA_VOLUME_ID "REHOST_AGENT"

struct media_options {
    const char *output;       /* the ISO's file, or the folder for PXE */
    bool is_forced;           /* what is there is replaced; otherwise it is an error */
    const char *agent;        /* rehost-agent; NULL: the one beside this program */
    const char *packages;     /* folder of .deb files; those missing are fetched with apt. NULL:
                                 ${XDG_CACHE_HOME:-~/.cache}/rehost/packages, which is kept as new
                                 as apt's lists are */
    const char *command_line; /* what the kernel is given: "rehost.server=… rehost.pin=…"; may be
                                 a secret: the output is readable by its owner only then */
    bool has_secret;
    const char *base_url;    /* PXE: where kernel and initramfs are fetched from in the snippets;
                                NULL: relative to the snippet */
    const atomic_bool *stop; /* may be NULL */
    struct log *log;
};

struct media_result {
    uint64_t iso_bytes, kernel_bytes, initramfs_bytes;
    uint64_t unpacked_bytes; /* of the initramfs: what it takes of the machine's memory */
    char kernel[80];         /* "6.1.0-44-amd64" */
};

int media_make_iso(const struct media_options *options, struct media_result *result,
                   struct error *err);
int media_make_pxe(const struct media_options *options, struct media_result *result,
                   struct error *err);

/*
 * The kernel command line for what was asked for; refuses what cannot stand there (spaces,
 * quotes, control characters). Each may be NULL; `extra` is whole parameters
 * ("rehost.then=reboot …"). Caller frees; wipe it when it has a token.
 */
struct media_settings {
    const char *server, *pin, *token, *extra;
};
char *media_command_line(const struct media_settings *settings, struct error *err);

#endif
