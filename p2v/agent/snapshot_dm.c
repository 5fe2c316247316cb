/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A snapshot begins anew by way of another table: the kernel hands what a snapshot has kept over
 * to a second one with the same room, so the first one must be gone, and the room's header with it,
 * before the second is loaded. (Linux' Documentation/admin-guide/device-mapper/snapshot.rst)
 */
#include "p2v/agent/snapshot_dm.h"

#include "base/io.h"
#include "base/own.h"
#include "base/text.h"
#include "p2v/agent/inventory_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/dm-ioctl.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#define CONTROL "/dev/" DM_DIR "/" DM_CONTROL_NODE
#define PARAMETERS_SIZE 1024
#define HEADER_BYTES 4096u /* of the room: the smallest chunk holds it */

/* Version 4.0.0 has all of what is used here. */
struct request {
    struct dm_ioctl head;
    struct dm_target_spec target;
    char parameters[PARAMETERS_SIZE];
} __attribute__((aligned(8)));

/* A device number as the kernel passes it (huge_encode_dev of linux/kdev_t.h). */
static uint64_t encode(const struct snapshot_dm *device)
{
    uint64_t minor = device->minor;
    return (minor & 0xff) | (uint64_t)device->major << 8 | (minor & ~(uint64_t)0xff) << 12;
}

static void prepare(struct request *request, const struct snapshot_dm *device, uint32_t flags)
{
    memset(request, 0, sizeof(*request));
    request->head.version[0] = 4;
    request->head.data_size = sizeof(*request);
    request->head.data_start = offsetof(struct request, target);
    request->head.flags = flags;
    request->head.dev = encode(device);
}

static int call(const struct snapshot_dm *device, unsigned long what, const char *name,
                struct request *request, struct error *err)
{
    AUTO_CLOSE int fd = open(CONTROL, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return error_set(err, errno, "open %s", CONTROL);
    if (ioctl(fd, what, request) != 0)
        return error_set(err, errno, "device mapper: %s %u:%u", name, device->major, device->minor);
    return 0;
}

/* The one target of the active table, or its status. */
static int read_target(const struct snapshot_dm *device, uint32_t flags, struct request *request,
                       struct error *err)
{
    prepare(request, device, flags);
    if (call(device, DM_TABLE_STATUS, "read the table of", request, err) != 0)
        return -1;
    if (request->head.target_count != 1 || (request->head.flags & DM_BUFFER_FULL_FLAG))
        return error_set(err, 0, "device mapper: %u:%u has %u targets", device->major,
                         device->minor, request->head.target_count);
    request->parameters[PARAMETERS_SIZE - 1] = '\0';
    request->target.target_type[DM_MAX_TYPE_NAME - 1] = '\0';
    return 0;
}

static int load(const struct snapshot_dm *device, const char *type, uint64_t sectors,
                const char *parameters, struct error *err)
{
    struct request request;
    prepare(&request, device, 0);
    request.head.target_count = 1;
    request.target.length = sectors;
    request.target.next = sizeof(request.target) + PARAMETERS_SIZE;
    snprintf(request.target.target_type, sizeof(request.target.target_type), "%s", type);
    snprintf(request.parameters, sizeof(request.parameters), "%s", parameters);
    return call(device, DM_TABLE_LOAD, "load a table for", &request, err);
}

/* Takes the loaded table into use, if there is one. File systems are none of its business. */
static int resume(const struct snapshot_dm *device, struct error *err)
{
    struct request request;
    prepare(&request, device, DM_SKIP_LOCKFS_FLAG);
    return call(device, DM_DEV_SUSPEND, "resume", &request, err);
}

char *snapshot_dm_path(unsigned major, unsigned minor)
{
    AUTO_FREE char *name = inventory_link_name("", "/sys/dev/block/%u:%u", major, minor);
    return text_format("/dev/%s", name);
}

/* The room's device is the second word: "254:2 254:3 P 8". */
static int clear_room(const char *parameters, struct error *err)
{
    unsigned major, minor;
    void *zeroes = NULL;
    if (sscanf(parameters, "%*s %u:%u ", &major, &minor) != 2)
        return error_set(err, 0, "a snapshot with the parameters '%s'", parameters);
    AUTO_FREE char *path = snapshot_dm_path(major, minor);
    AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC | O_DIRECT | O_DSYNC);
    if (fd < 0)
        return error_set(err, errno, "open %s", path);
    if (posix_memalign(&zeroes, HEADER_BYTES, HEADER_BYTES) != 0)
        return error_set(err, ENOMEM, "%s", path);
    memset(zeroes, 0, HEADER_BYTES);
    int result = io_write_at(fd, zeroes, HEADER_BYTES, 0, err);
    free(zeroes);
    return result == 0 ? 0 : error_wrap(err, "%s", path);
}

int snapshot_dm_reset(const struct snapshot_dm *device, struct error *err)
{
    struct request request;
    if (read_target(device, DM_STATUS_TABLE_FLAG, &request, err) != 0)
        return -1;
    if (strcmp(request.target.target_type, "snapshot") != 0)
        return error_set(err, 0, "device mapper: %u:%u is no snapshot but '%s'", device->major,
                         device->minor, request.target.target_type);
    uint64_t sectors = request.target.length;
    /* udev looks at what changes: zeroes rather than errors, where the kernel has that target. */
    if (load(device, "zero", sectors, "", NULL) != 0 &&
        load(device, "error", sectors, "", err) != 0)
        return -1;
    if (resume(device, err) != 0 || clear_room(request.parameters, err) != 0)
        return -1;
    return load(device, "snapshot", sectors, request.parameters, err);
}

int snapshot_dm_start(const struct snapshot_dm *device, struct error *err)
{
    return resume(device, err);
}

void snapshot_dm_resume(const struct snapshot_dm *device)
{
    struct request request;
    prepare(&request, device, 0);
    if (call(device, DM_DEV_STATUS, "look at", &request, NULL) == 0 &&
        (request.head.flags & DM_SUSPEND_FLAG))
        resume(device, NULL);
}

struct snapshot_dm_state snapshot_dm_parse(const char *status)
{
    struct snapshot_dm_state state = {0};
    uint64_t used, total;
    if (sscanf(status, "%" SCNu64 "/%" SCNu64, &used, &total) != 2 || total == 0 || used > total)
        return state;
    state.is_valid = true;
    state.used_percent = 100.0 * (double)used / (double)total;
    return state;
}

int snapshot_dm_look(const struct snapshot_dm *device, struct snapshot_dm_state *state,
                     struct error *err)
{
    struct request request;
    *state = (struct snapshot_dm_state){0};
    if (read_target(device, 0, &request, err) != 0)
        return -1;
    if (strcmp(request.target.target_type, "snapshot") == 0)
        *state = snapshot_dm_parse(request.parameters);
    return 0;
}
