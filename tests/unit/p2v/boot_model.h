/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A machine as the boot medium's pages show it, for their tests.
 */
#ifndef TESTS_UNIT_P2V_BOOT_MODEL_H
#define TESTS_UNIT_P2V_BOOT_MODEL_H

#include "base/bytes.h"
#include "p2v/boot/screen.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline void boot_model_disk(struct screen_model *model, const char *name, uint64_t gib,
                                   uint64_t used, const char *product, const char *content)
{
    struct boot_disk *disk = &model->findings.disks[model->findings.disk_count++];
    snprintf(disk->device.name, sizeof(disk->device.name), "%s", name);
    snprintf(disk->device.model, sizeof(disk->device.model), "%s", product);
    snprintf(disk->content, sizeof(disk->content), "%s", content);
    disk->device.size_bytes = gib * GIB;
    disk->used_bytes = used * GIB;
    disk->is_chosen = true;
}

static inline void boot_model_keep(struct screen_model *model, const char *why)
{
    struct boot_disk *disk = &model->findings.disks[model->findings.disk_count - 1];
    snprintf(disk->why_not, sizeof(disk->why_not), "%s", why);
    disk->is_chosen = false;
}

static inline void boot_model_notice(struct screen_model *model, enum boot_notice_kind kind,
                                     const char *text)
{
    struct boot_notice *notice = &model->findings.notices[model->findings.notice_count++];
    notice->kind = kind;
    snprintf(notice->text, sizeof(notice->text), "%s", text);
}

static inline void boot_model_link(struct screen_model *model, const char *name, const char *state,
                                   unsigned megabits)
{
    struct boot_link *link = &model->network.links[model->network.count++];
    snprintf(link->name, sizeof(link->name), "%s", name);
    snprintf(link->state, sizeof(link->state), "%s", state);
    link->megabits = megabits;
}

static inline void boot_model_sent(struct screen_model *model, const char *name,
                                   enum sender_phase phase, uint64_t done_gib)
{
    struct screen_disk *disk = &model->disks[model->disk_count++];
    snprintf(disk->name, sizeof(disk->name), "%s", name);
    disk->progress = (struct sender_progress){.phase = phase,
                                              .size_bytes = 932 * GIB,
                                              .total_bytes = 312 * GIB,
                                              .done_bytes = done_gib * GIB,
                                              .safe_bytes = done_gib * GIB - done_gib * GIB / 16,
                                              .sent_bytes = done_gib * GIB / 2,
                                              .wire_bytes = done_gib * GIB / 4};
    disk->bytes_per_second = 118.25 * (double)MIB;
    disk->seconds_left = 1234;
}

/* Caller frees. */
static inline struct screen_model *boot_model_new(enum screen_page page)
{
    struct screen_model *model = calloc(1, sizeof(*model));
    model->page = page;
    model->seconds_to_then = -1;
    snprintf(model->findings.machine, sizeof(model->findings.machine), "%s",
             "Dell Inc. PowerEdge R720, serial 4XK2, BIOS, 16 CPUs, 32.0 GiB");
    snprintf(model->server, sizeof(model->server), "conv:7443");
    boot_model_disk(model, "sda", 932, 312, "PERC H710", "GPT: ESP, ext4 'boot', LVM (vg0)");
    boot_model_disk(model, "sdb", 932, 12, "PERC H710", "RAID1 'web:data'");
    boot_model_disk(model, "sdc", 29, 1, "Cruzer Blade", "MBR: FAT 'STUFF'");
    boot_model_keep(model, "USB");
    boot_model_disk(model, "sdd", 15, 0, "DataTraveler", "Rehost");
    boot_model_keep(model, "the boot medium");
    boot_model_notice(model, BOOT_NOTICE_INFO, "LVM group vg0: all of it is here (sda3)");
    boot_model_notice(model, BOOT_NOTICE_WARNING,
                      "RAID1 'web:data': 1 of its 2 disks missing; here: sdb");
    boot_model_notice(model, BOOT_NOTICE_MISSING,
                      "no driver for a network card: Broadcom, PCI 14e4:16d8 at 0000:3b:00.0: it "
                      "cannot be used");
    boot_model_link(model, "eno1", "192.0.2.17/24 by DHCP", 1000);
    boot_model_link(model, "eno2", "no cable", 0);
    return model;
}

#endif
