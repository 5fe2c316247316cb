/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A machine's folder while it is being made. kill -9 at any moment leaves either no DIR or a
 * complete one; the left-over DIR.partial is recognised and removed by the next run.
 */
#include "base/io.h"
#include "base/text.h"
#include "p2v/machine.h"
#include "p2v/server/pool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int is_empty(int folder_fd)
{
    AUTO_CLOSE int fd = openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (!folder)
        return false;
    take_fd(&fd);
    struct dirent *entry;
    bool is_found = false;
    while (!is_found && (entry = readdir(folder)) != NULL)
        is_found = strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(folder);
    return !is_found;
}

/* Of a disk that is being received; the first is there from the beginning. */
#define MACHINE_LEDGER "disk0.ledger"

bool machine_folder_is_ours(int folder_fd)
{
    return folder_has(folder_fd, MACHINE_DRAFT_MARK) || folder_has(folder_fd, MACHINE_REPORT) ||
           folder_has(folder_fd, MACHINE_GUEST) || is_empty(folder_fd);
}

static int open_folder(const char *path)
{
    return open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* What stands under the final name: nothing, or something that may be replaced. */
static int check_final(const struct machine_draft *draft, struct error *err)
{
    struct stat stat;
    if (lstat(draft->final, &stat) != 0)
        return errno == ENOENT ? 0 : error_set(err, errno, "%s", draft->final);
    if (!S_ISDIR(stat.st_mode))
        return error_set(err, 0, "%s exists and is not a folder", draft->final);
    if (!draft->is_forced)
        return error_set(err, 0, "%s exists already (--force replaces it)", draft->final);
    AUTO_CLOSE int fd = open_folder(draft->final);
    if (fd < 0)
        return error_set(err, errno, "open %s", draft->final);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        return error_set(err, 0, "%s is in use by another rehost", draft->final);
    if (!machine_folder_is_ours(fd))
        return error_set(err, 0, "%s holds no converted machine and is not replaced", draft->final);
    return 0;
}

bool machine_folder_is_there(int folder_fd, const char *path)
{
    struct stat opened, named;
    return fstat(folder_fd, &opened) == 0 && lstat(path, &named) == 0 &&
           opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

/* A left-over of a killed process is emptied and used; 0 when the caller has to try again. */
static int take_leftover(struct machine_draft *draft, struct log *log, struct error *err)
{
    AUTO_CLOSE int fd = open_folder(draft->partial);
    if (fd < 0)
        return errno == ENOENT ? 0 : error_set(err, errno, "open %s", draft->partial);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        return error_set(err, 0, "%s is being made by another rehost", draft->final);
    if (!machine_folder_is_there(fd, draft->partial))
        return 0;
    if (!machine_folder_is_ours(fd))
        return error_set(err, 0, "%s is in the way and not a left-over of a conversion",
                         draft->partial);
    /* A transfer takes hours, and goes on after a cut. */
    if (folder_has(fd, POOL_RECEIVED) || folder_has(fd, MACHINE_LEDGER))
        return error_set(err, 0, "%s was received by rehost serve and is not a conversion's",
                         draft->partial);
    log_info(log, "removing %s, left over by an interrupted run", draft->partial);
    if (folder_remove(AT_FDCWD, draft->partial, err) != 0)
        return -1;
    return 0;
}

/* 1: made and locked. 0: it exists. */
static int make_folder(struct machine_draft *draft, struct error *err)
{
    if (mkdir(draft->partial, 0755) != 0)
        return errno == EEXIST ? 0 : error_set(err, errno, "create %s", draft->partial);
    AUTO_CLOSE int fd = open_folder(draft->partial);
    if (fd < 0)
        return error_set(err, errno, "open %s", draft->partial);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0 || !machine_folder_is_there(fd, draft->partial))
        return 0; /* another process took it for a left-over */
    draft->folder_fd = take_fd(&fd);
    draft->is_started = true;
    return io_replace_file(draft->folder_fd, MACHINE_DRAFT_MARK, "", 0, 0644, err) != 0 ? -1 : 1;
}

static int start(struct machine_draft *draft, struct log *log, struct error *err)
{
    if (check_final(draft, err) != 0)
        return -1;
    for (int attempt = 0; attempt < 5; attempt++) {
        int result = make_folder(draft, err);
        if (result != 0)
            return result < 0 ? -1 : 0;
        if (take_leftover(draft, log, err) != 0)
            return -1;
    }
    return error_set(err, 0, "%s is being made by another rehost", draft->final);
}

int machine_draft_open(struct machine_draft *draft, const char *path, bool is_forced,
                       struct log *log, struct error *err)
{
    *draft = (struct machine_draft){.folder_fd = -1, .is_forced = is_forced};
    AUTO_FREE char *base = path_base(path);
    AUTO_FREE char *parent = path_parent(path);
    if (base[0] == '\0' || strcmp(base, ".") == 0 || strcmp(base, "..") == 0)
        return error_set(err, 0, "'%s' cannot be the name of a new folder", path);
    draft->final = path_join(parent, base);
    draft->partial = text_format("%s.partial", draft->final);
    if (start(draft, log, err) != 0) {
        machine_draft_fini(draft);
        return -1;
    }
    return 0;
}

static int sync_parent(const struct machine_draft *draft, struct error *err)
{
    AUTO_FREE char *parent = path_parent(draft->final);
    return io_sync_folder(parent, err);
}

static int exchange(struct machine_draft *draft, struct log *log, struct error *err)
{
    if (renameat2(AT_FDCWD, draft->partial, AT_FDCWD, draft->final, RENAME_EXCHANGE) != 0)
        return error_set(err, errno, "exchange %s with %s", draft->partial, draft->final);
    draft->is_started = false;
    struct error ignored = {0};
    /* The new machine stands; failing to remove the old one does not undo that. */
    if (sync_parent(draft, err) != 0)
        return -1;
    if (folder_remove(AT_FDCWD, draft->partial, &ignored) != 0)
        log_warning(log, "the old %s remains as %s: %s", draft->final, draft->partial,
                    ignored.text);
    return 0;
}

/* Some file systems cannot rename without replacing; an empty folder is all that would go. */
static int rename_new(const struct machine_draft *draft)
{
    if (renameat2(AT_FDCWD, draft->partial, AT_FDCWD, draft->final, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -1;
    return rename(draft->partial, draft->final);
}

int machine_draft_publish(struct machine_draft *draft, struct log *log, struct error *err)
{
    if (unlinkat(draft->folder_fd, MACHINE_DRAFT_MARK, 0) != 0 && errno != ENOENT)
        return error_set(err, errno, "remove %s/%s", draft->partial, MACHINE_DRAFT_MARK);
    if (io_sync(draft->folder_fd, err) != 0)
        return error_wrap(err, "%s", draft->partial);
    if (rename_new(draft) == 0) {
        draft->is_started = false;
        return sync_parent(draft, err);
    }
    if (errno != EEXIST && errno != ENOTEMPTY)
        return error_set(err, errno, "rename %s to %s", draft->partial, draft->final);
    if (check_final(draft, err) != 0)
        return -1;
    return exchange(draft, log, err);
}

void machine_draft_remove(void *pointer)
{
    const struct machine_draft *draft = pointer;
    if (draft->is_started)
        folder_remove(AT_FDCWD, draft->partial, NULL);
}

void machine_draft_fini(struct machine_draft *draft)
{
    machine_draft_remove(draft);
    draft->is_started = false;
    own_close(&draft->folder_fd);
    free(draft->final);
    free(draft->partial);
    *draft = (struct machine_draft){.folder_fd = -1};
}
