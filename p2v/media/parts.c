/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Kernel and initramfs out of the packages. Everything that is of this machine or this moment stays
 * out, so that the same packages and the same agent give the same bytes.
 */
#include "p2v/media/parts.h"

#include "base/bytes.h"
#include "base/io.h"
#include "base/own.h"
#include "p2v/media/archive_write.h"
#include "p2v/media/contents.h"
#include "p2v/media/elf_file.h"
#include "p2v/media/kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define AGENT_MAX_BYTES ((size_t)256 << 20)

void media_parts_fini(struct media_parts *parts)
{
    packages_fini(&parts->packages);
    text_fini(&parts->initramfs);
    free(take_ptr(&parts->kernel));
}

/* --- where things are --- */

static char *default_packages(struct error *err)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (cache && *cache == '/')
        return text_format("%s/rehost/packages", cache);
    if (home && *home == '/')
        return text_format("%s/.cache/rehost/packages", home);
    error_set(err, 0, "neither XDG_CACHE_HOME nor HOME is set: name a folder for the packages");
    return NULL;
}

/* Beside this program, as the build and an installation have it. */
static char *default_agent(struct error *err)
{
    char self[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (length < 0) {
        error_set(err, errno, "find this program's folder");
        return NULL;
    }
    self[length] = '\0';
    char *slash = strrchr(self, '/');
    return text_format("%.*s/rehost-agent", (int)(slash ? slash - self : 0), self);
}

static int add_agent(struct file_tree *tree, const char *named, struct error *err)
{
    AUTO_FREE char *path = named ? text_copy(named) : default_agent(err);
    AUTO_FREE char *data = NULL;
    size_t length = 0;
    if (!path)
        return -1;
    if (io_read_file(AT_FDCWD, path, AGENT_MAX_BYTES, &data, &length, err) != 0)
        return error_wrap(err, "the agent, %s", path);
    if (!elf_detect(data, length))
        return error_set(err, 0, "the agent, %s: not a program for this kind of machine", path);
    file_tree_add(tree, "init", 0755, take_ptr(&data), length);
    return 0;
}

static int find_date(const struct packages *packages, uint64_t *date, struct error *err)
{
    const char *text = getenv("SOURCE_DATE_EPOCH");
    *date = packages_date(packages);
    if (!text || !*text)
        return 0;
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    /* A cpio header has 32 bits for it. */
    if (errno || *end || text[0] < '0' || text[0] > '9' || value > UINT32_MAX)
        return error_set(err, 0, "SOURCE_DATE_EPOCH: '%s' is no number of seconds", text);
    *date = value;
    return 0;
}

/* --- the initramfs --- */

static int build_tree(struct file_tree *tree, struct kernel *kernel,
                      const struct packages *packages, const struct media_options *options,
                      struct error *err)
{
    if (add_agent(tree, options->agent, err) != 0)
        return -1;
    log_info(options->log, "kernel %s: compressing its modules", kernel->version);
    if (kernel_add_modules(kernel, tree, options->stop, err) != 0)
        return -1;
    return contents_add(tree, packages, &kernel->firmware, err);
}

static uint64_t sum_sizes(const struct file_tree *tree)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < tree->count; i++)
        sum += (tree->entries[i].length + 4095) / 4096 * 4096;
    return sum;
}

static int build_initramfs(struct media_parts *parts, struct kernel *kernel,
                           const struct media_options *options, struct media_result *result,
                           struct error *err)
{
    AUTO(file_tree) tree = {0};
    AUTO(text) cpio = {0};
    if (build_tree(&tree, kernel, &parts->packages, options, err) != 0 ||
        archive_write_cpio(&tree, parts->date, &cpio, err) != 0)
        return -1;
    result->unpacked_bytes = sum_sizes(&tree);
    file_tree_fini(&tree);
    log_info(options->log, "compressing the initramfs");
    if (archive_compress(&cpio, &parts->initramfs, options->stop, err) != 0)
        return -1;
    result->initramfs_bytes = parts->initramfs.length;
    return 0;
}

static int find_kernel(struct kernel *kernel, const struct packages *packages,
                       const atomic_bool *stop, struct error *err)
{
    AUTO(name_list) names = {0};
    const struct deb *meta = packages_find(packages, "linux-image-amd64");
    if (meta)
        packages_parse_depends(meta->depends, &names);
    const struct deb *deb = names.count ? packages_find(packages, names.items[0]) : NULL;
    if (!deb)
        return error_set(err, 0, "the package of the kernel, %s, is missing",
                         names.count ? names.items[0] : "linux-image-amd64");
    return kernel_read(kernel, deb, stop, err);
}

int media_parts_make(struct media_parts *parts, const struct media_options *options,
                     struct media_result *result, struct error *err)
{
    AUTO(kernel) kernel = {0};
    AUTO_FREE char *folder =
        options->packages ? text_copy(options->packages) : default_packages(err);
    *result = (struct media_result){0};
    if (!folder ||
        packages_open(&parts->packages, folder, !options->packages, options->log, err) != 0 ||
        find_date(&parts->packages, &parts->date, err) != 0 ||
        find_kernel(&kernel, &parts->packages, options->stop, err) != 0 ||
        build_initramfs(parts, &kernel, options, result, err) != 0)
        return -1;
    parts->kernel = take_ptr(&kernel.image);
    parts->kernel_length = kernel.image_length;
    result->kernel_bytes = kernel.image_length;
    memcpy(result->kernel, kernel.version, sizeof(result->kernel));
    return 0;
}
