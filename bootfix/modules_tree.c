/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The tree holds only folders and regular files that were made here, so no path in it can lead
 * outside. lib is a link to usr/lib, because depmods differ in where they look.
 */
#include "bootfix/modules_tree.h"

#include "base/child.h"
#include "base/io.h"
#include "base/own.h"
#include "base/text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEPMOD_TIMEOUT_MS 120000
#define INDEX_MAX_BYTES ((size_t)64 << 20)

static int make_folders(struct modules_tree *tree, struct error *err)
{
    static const char *const folders[] = {"config", "usr", "usr/lib", "usr/lib/modules"};
    AUTO_CLOSE int base = open(tree->base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (base < 0)
        return error_set(err, errno, "open %s", tree->base);
    for (size_t i = 0; i < sizeof(folders) / sizeof(*folders); i++)
        if (mkdirat(base, folders[i], 0700) < 0)
            return error_set(err, errno, "make %s/%s", tree->base, folders[i]);
    AUTO_FREE char *modules = text_format("usr/lib/modules/%s", tree->version);
    if (symlinkat("usr/lib", base, "lib") < 0 || mkdirat(base, modules, 0700) < 0)
        return error_set(err, errno, "make %s/%s", tree->base, modules);
    tree->folder_fd = openat(base, modules, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (tree->folder_fd < 0)
        return error_set(err, errno, "open %s/%s", tree->base, modules);
    return 0;
}

int modules_tree_open(struct modules_tree *tree, const char *version, struct error *err)
{
    const char *folder = getenv("TMPDIR");
    *tree = (struct modules_tree){.folder_fd = -1};
    AUTO_FREE char *base =
        text_format("%s/rehost-modules-XXXXXX", folder && folder[0] ? folder : "/tmp");
    if (!mkdtemp(base))
        return error_set(err, errno, "make a temporary folder %s", base);
    tree->base = take_ptr(&base);
    tree->version = text_copy(version);
    return make_folders(tree, err);
}

static int remove_one(const char *path, const struct stat *stat, int kind, struct FTW *walk)
{
    (void)stat;
    (void)kind;
    (void)walk;
    remove(path);
    return 0;
}

void modules_tree_close(struct modules_tree *tree)
{
    if (tree->folder_fd >= 0)
        close(take_fd(&tree->folder_fd));
    if (tree->base)
        nftw(tree->base, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
    free(take_ptr(&tree->base));
    free(take_ptr(&tree->version));
}

static int make_parents(struct modules_tree *tree, const char *path, struct error *err)
{
    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        AUTO_FREE char *folder = text_format("%.*s", (int)(slash - path), path);
        if (mkdirat(tree->folder_fd, folder, 0700) < 0 && errno != EEXIST)
            return error_set(err, errno, "make folder %s", folder);
    }
    return 0;
}

int modules_tree_add(struct modules_tree *tree, const char *path, const void *data, size_t length,
                     struct error *err)
{
    if (make_parents(tree, path, err) < 0)
        return -1;
    AUTO_CLOSE int fd =
        openat(tree->folder_fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_set(err, errno, "make %s", path);
    if (io_write(fd, data, length, err) < 0)
        return error_wrap(err, "write %s", path);
    if (close(take_fd(&fd)) < 0)
        return error_set(err, errno, "close %s", path);
    return 0;
}

static int run_depmod(struct modules_tree *tree, const char *program, struct error *err)
{
    AUTO_FREE char *config = text_format("%s/config", tree->base);
    const char *const argv[] = {program, "-b", tree->base, "-C", config, tree->version, NULL};
    const struct child_limits limits = {.timeout_ms = DEPMOD_TIMEOUT_MS};
    AUTO(text) complaints = {0};
    int status = child_run(argv, NULL, NULL, &complaints, &limits, err);
    if (status <= 0)
        return status;
    return error_set(err, 0, "depmod: exit status %d: %.*s", status,
                     (int)strcspn(text_string(&complaints), "\n"), text_string(&complaints));
}

/* Not everybody has the folders of the system's programs in PATH. */
int modules_tree_index(struct modules_tree *tree, struct error *err)
{
    struct error why = {0};
    if (run_depmod(tree, "depmod", &why) == 0)
        return 0;
    if (why.errnum == ENOENT)
        return run_depmod(tree, "/usr/sbin/depmod", err);
    if (err)
        *err = why;
    return -1;
}

static int is_index(const struct dirent *entry)
{
    return text_starts_with(entry->d_name, "modules.");
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int modules_tree_list_indexes(struct modules_tree *tree, char ***names, struct error *err)
{
    struct dirent **entries = NULL;
    int count = scandirat(tree->folder_fd, ".", &entries, is_index, NULL);
    if (count < 0)
        return error_set(err, errno, "list %s", tree->base);
    *names = memory_new((size_t)count + 1, sizeof(**names));
    for (int i = 0; i < count; i++) {
        (*names)[i] = text_copy(entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    if (count > 1)
        qsort(*names, (size_t)count, sizeof(**names), by_name);
    return 0;
}

int modules_tree_read(struct modules_tree *tree, const char *path, char **data, size_t *length,
                      struct error *err)
{
    return io_read_file(tree->folder_fd, path, INDEX_MAX_BYTES, data, length, err);
}
