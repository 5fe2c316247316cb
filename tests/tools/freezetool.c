/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * freezetool DEVICE SECONDS: freezes what is mounted on the device, prints what the disk's map says
 * then, and waits for the end of standard input; then thaws and tells whether the freeze held.
 */
#include "base/own.h"
#include "disk/device.h"
#include "disk/layout.h"
#include "p2v/agent/freeze.h"
#include "p2v/agent/live_source.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static void emit(struct log *log, enum log_level level, const char *line)
{
    (void)log, (void)level;
    printf("log %s\n", line);
}

static struct log out = {emit};

static int print_map(const char *path, struct error *err)
{
    struct layout layout = {0};
    AUTO_PTR(device) device = device_open(path, err);
    AUTO_PTR(live_source) live = device ? live_source_open(path, device_source(device), err) : NULL;
    if (!live)
        return -1;
    live_source_drop(live);
    live_source_set_direct(live, true);
    int result = layout_read(live_source_block(live), &layout, &out, err);
    for (size_t i = 0; result == 0 && i < layout.count; i++)
        printf("volume %s certain=%d used=%" PRIu64 "\n", layout.volumes[i].probe.type,
               layout.volumes[i].map.is_certain, extents_total(&layout.volumes[i].map.used));
    layout_fini(&layout);
    return result;
}

static void wait_for_input(void)
{
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0)
        continue;
}

static int run(const char *path, unsigned seconds, struct error *err)
{
    struct stat status;
    struct live live;
    AUTO(live_mounts) mounts = {0};
    if (stat(path, &status) != 0 ||
        live_read("", major(status.st_rdev), minor(status.st_rdev), &live, &mounts, err) != 0)
        return -1;
    printf("live=%d unknown=%d what=%s mounts=%zu\n", live.is_live, live.is_unknown, live.what,
           mounts.count);
    AUTO_PTR(freezer) freezer = freezer_start(&mounts, err);
    int frozen = freezer ? freezer_freeze(freezer, seconds, &out, err) : -1;
    if (frozen < 0)
        return -1;
    int result = print_map(path, err);
    printf("frozen=%d\n", frozen);
    fflush(stdout);
    wait_for_input();
    printf("intact=%d\n", freezer_thaw(freezer, &out));
    return result;
}

int main(int argc, char *argv[])
{
    struct error err = {0};
    if (argc != 3) {
        fprintf(stderr, "freezetool DEVICE SECONDS\n");
        return 2;
    }
    if (run(argv[1], (unsigned)atoi(argv[2]), &err) == 0)
        return 0;
    fprintf(stderr, "freezetool: %s\n", err.text);
    return 1;
}
