/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Which driver a network specification means, and what drivers without a virtio header share.
 */
#include "hypervisor/net_backend.h"

#include "base/bytes.h"

#include <errno.h>
#include <string.h>

static const struct net_driver {
    const char *name;
    bool has_argument;
    struct net_backend *(*open)(const char *argument, struct log *log, struct error *err);
} drivers[] = {
    {"user", false, net_passt_open},
    {"tap", true, net_tap_open},
    {"fd", true, net_fd_open},
    {"none", false, net_none_open},
};

struct net_backend *net_backend_open(const char *spec, struct log *log, struct error *err)
{
    size_t length = strcspn(spec, ":");
    for (size_t i = 0; i < ARRAY_LENGTH(drivers); i++) {
        const struct net_driver *driver = &drivers[i];
        if (strlen(driver->name) == length && memcmp(driver->name, spec, length) == 0 &&
            driver->has_argument == (spec[length] == ':'))
            return driver->open(spec + length + driver->has_argument, log, err);
    }
    error_set(err, EINVAL, "network \"%s\": must be user, tap:NAME, fd:N or none", spec);
    return NULL;
}

void net_backend_close(struct net_backend *backend)
{
    if (backend)
        backend->ops->close(backend);
}

size_t net_parts_behind_header(const struct iovec *parts, size_t count, bool clear,
                               struct iovec behind[NET_MAX_PARTS])
{
    size_t header = NET_HEADER_SIZE, result = 0;
    for (size_t i = 0; i < count; i++) {
        uint8_t *data = parts[i].iov_base;
        size_t taken = parts[i].iov_len < header ? parts[i].iov_len : header;
        if (clear && taken > 0)
            memset(data, 0, taken);
        header -= taken;
        if (parts[i].iov_len > taken)
            behind[result++] = (struct iovec){data + taken, parts[i].iov_len - taken};
    }
    return result;
}
