/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The boot test: starts a converted machine on throw-away overlays and watches what it does.
 *
 * Nothing is installed into the guest and nobody logs in. The verdict comes from its serial console
 * and from a private network on which every interface is observed: frames from the expected MAC,
 * DHCP, and ARP answers for the static addresses. The guest cannot reach any real network.
 */
#ifndef P2V_BOOTTEST_H
#define P2V_BOOTTEST_H

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "formats/guest.h"

#include <stdatomic.h>
#include <stdbool.h>

enum boot_stage { /* the furthest that was seen, in this order */
                  BOOT_NOTHING,
                  BOOT_LOADER, /* the boot loader wrote something */
                  BOOT_KERNEL, /* the kernel started */
                  BOOT_ROOT,   /* the root file system is mounted and its init runs */
                  BOOT_LOGIN,  /* a login prompt */
};

struct boot_nic_result {
    const char *name, *mac; /* borrowed from the guest definition */
    bool is_seen;           /* a frame came from that MAC */
    bool is_dhcp_bound;     /* it asked for a lease and took it */
    char missing[128];      /* the first expected address that did not answer; "" when all did */
    char kernel_name[32];   /* as the kernel log renamed it; "" when not seen */
    bool is_ok;             /* everything the definition expects of it was seen */
};

struct boot_result {
    bool is_ok; /* login reached, no emergency, every NIC that has addresses is ok */
    enum boot_stage stage;
    bool is_emergency;   /* an initramfs or emergency shell, or a kernel panic */
    char problem[256];   /* one printable line: what went wrong; "" when is_ok */
    char accelerator[8]; /* "kvm" or "tcg" */
    double seconds;
    size_t failed_count; /* units that the console reported as failed */
    char failed[8][96];  /* the first of them, escaped */
    struct boot_nic_result nics[GUEST_MAX_NICS];
    size_t nic_count;
    struct text console; /* everything the serial console said, at most 4 MiB, not escaped */
};
void boot_result_fini(struct boot_result *result);

struct boot_options {
    int timeout_seconds;     /* 0: 600 with software emulation, 180 with KVM */
    const char *accelerator; /* "kvm", "tcg", or NULL: KVM when a guest really runs under it */
    const char *scratch;     /* folder for the overlays; they are removed before returning */
    void (*progress)(void *context, enum boot_stage stage); /* may be NULL */
    void *context;
    const atomic_bool *interrupt; /* ends the test when it becomes true; may be NULL */
};

/*
 * `folder` is where the definition's paths are relative to. The disks are never written. -1 when
 * the test could not be made at all (no QEMU, no room, interrupted: ECANCELED); a machine that does
 * not boot is a result.
 */
int boottest_run(const struct guest *guest, const char *folder, const struct boot_options *options,
                 struct boot_result *result, struct log *log, struct error *err);

const char *boot_stage_name(enum boot_stage stage); /* "nothing", "loader", "kernel", … */

#endif
