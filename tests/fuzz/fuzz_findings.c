/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The input is a volume as the boot medium looks at it: headers of LUKS, Linux RAID and LVM, and as
 * much of NTFS as finding a file in its root folder takes. What is said of it is printable.
 */
#include "base/own.h"
#include "p2v/boot/findings_private.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void add_raid(struct findings_groups *groups, const struct block_source *volume,
                     const char *version)
{
    struct probe probe = {.type = "linux_raid_member"};
    AUTO(text) words = {0};
    snprintf(probe.version, sizeof(probe.version), "%s", version);
    findings_add_raid(groups, volume, &probe, "sda1", &words);
}

static void check_notices(const struct boot_findings *findings)
{
    for (size_t i = 0; i < findings->notice_count; i++) {
        for (const char *at = findings->notices[i].text; *at; at++) {
            if ((unsigned char)*at < ' ' || *at == 0x7f)
                abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const versions[] = {"0.90.0", "1.0", "1.1", "1.2"};
    struct findings_groups *groups = memory_new(1, sizeof(*groups));
    struct boot_findings *findings = memory_new(1, sizeof(*findings));
    struct probe lvm = {.type = "LVM2_member", .uuid = "pv0pv0-0000-0000-0000-0000-0000-000000"};
    struct block_memory volume;
    AUTO(text) words = {0};
    block_memory_init(&volume, data, size);
    for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++)
        add_raid(groups, &volume.source, versions[i]);
    findings_add_lvm(groups, &volume.source, &lvm, "sda2", &words);
    findings_tell_groups(groups, findings);
    check_notices(findings);
    findings_luks(&volume.source);
    findings_is_ntfs_hibernated(&volume.source);
    free(findings);
    free(groups);
    return 0;
}
