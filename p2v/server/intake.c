/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Chooses, makes, locks and takes up the folder that a machine is received into. What a killed
 * `rehost finish` had begun to put in its place is put there first.
 */
#include "p2v/server/intake.h"

#include "base/io.h"
#include "base/own.h"
#include "base/text.h"
#include "p2v/definition.h"
#include "p2v/finish_complete.h"
#include "p2v/finish_folder.h"
#include "p2v/machine.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Folders come and go while others finish and publish; more rounds than this nobody needs. */
#define INTAKE_MAX_ROUNDS 5

/* The two places, and what is found out about the machine itself. */
struct places {
    const char *name;
    char *final, *partial, *update;
    int final_fd; /* locked shared; -1: there is no complete machine */
    char state[FINISH_STATE_SIZE];
    bool is_described;
};

static void places_fini(struct places *places)
{
    own_close(&places->final_fd);
    free(places->final);
    free(places->partial);
    free(places->update);
}

static void places_init(struct places *places, const struct pool *pool, const char *name)
{
    *places = (struct places){.name = name, .final_fd = -1};
    places->final = path_join(pool->path, name);
    places->partial = text_format("%s%s", places->final, POOL_PARTIAL_SUFFIX);
    places->update = text_format("%s%s", places->final, POOL_UPDATE_SUFFIX);
}

/* The machine's name when it is such a folder; NULL otherwise. Caller frees. */
static char *name_of(const char *entry)
{
    static const char *const suffixes[] = {POOL_PARTIAL_SUFFIX, POOL_UPDATE_SUFFIX};
    for (size_t i = 0; i < 2; i++) {
        if (!text_ends_with(entry, suffixes[i]))
            continue;
        AUTO_FREE char *name =
            text_format("%.*s", (int)(strlen(entry) - strlen(suffixes[i])), entry);
        return definition_name_is_valid(name) ? take_ptr(&name) : NULL;
    }
    return NULL;
}

static bool is_there(const char *path)
{
    struct stat stat;
    return lstat(path, &stat) == 0;
}

/* The machine that is complete, if there is one: locked, so that nothing else changes it. */
static int look_at_final(struct places *places, struct error *err)
{
    AUTO_CLOSE int fd = -1;
    int found = finish_folder_lock(places->final, false, &fd, err);
    if (found <= 0)
        return found;
    if (!folder_has(fd, MACHINE_GUEST)) {
        error_set(err, 0, "%s holds no converted machine", places->final);
        return -1;
    }
    if (finish_base_state(fd, places->state, &places->is_described, err) != 0)
        return error_wrap(err, "%s", places->final);
    places->final_fd = take_fd(&fd);
    return 0;
}

/* 1: there was something to complete, so that all is to be looked at again. */
static int settle(const char *path, struct log *log, struct error *err)
{
    AUTO_CLOSE int fd = -1;
    int found = finish_folder_lock(path, true, &fd, err);
    if (found <= 0)
        return found;
    if (!folder_has(fd, FINISH_MARK))
        return 0;
    log_info(log, "%s: completing what was interrupted", path);
    return finish_complete(path, take_fd(&fd), log, err) == 0 ? 1 : -1;
}

/*
 * An update goes over the machine's own disks, so these must be what their manifests say: a machine
 * that was run since is received beside and replaced in the end. So is one with other disks; and
 * what was begun so goes on so.
 */
static bool is_update(const struct places *places, bool is_renewed, struct log *log)
{
    if (places->final_fd < 0 || is_renewed || is_there(places->partial))
        return false;
    if (!places->is_described)
        log_warning(log, "%s was changed since it was received: it is received anew", places->name);
    return places->is_described;
}

/* --- the folder --- */

static int make_folder(struct intake *intake, struct error *err)
{
    if (mkdir(intake->folder, 0755) != 0)
        return errno == EEXIST ? 0 : error_set(err, errno, "create %s", intake->folder);
    int found = finish_folder_lock(intake->folder, true, &intake->folder_fd, err);
    if (found <= 0)
        return found;
    return io_replace_file(intake->folder_fd, MACHINE_DRAFT_MARK, "", 0, 0644, err) == 0 ? 1 : -1;
}

/* An old machine that was replaced has no mark any more; a left-over of a transfer has it. */
static int take_folder(struct intake *intake, struct log *log, struct error *err)
{
    int found = finish_folder_lock(intake->folder, true, &intake->folder_fd, err);
    if (found <= 0)
        return found;
    if (folder_has(intake->folder_fd, MACHINE_DRAFT_MARK)) {
        intake->is_resumed = true;
        return 1;
    }
    if (!machine_folder_is_ours(intake->folder_fd))
        return error_set(err, 0, "%s is in the way and was not made by rehost", intake->folder);
    log_info(log, "removing %s, which was replaced", intake->folder);
    int result = finish_folder_remove(intake->folder, err);
    own_close(&intake->folder_fd);
    intake->folder_fd = -1;
    return result;
}

/* 1, 0: another process was quicker, -1. */
static int hold_folder(struct intake *intake, struct log *log, struct error *err)
{
    int result = take_folder(intake, log, err);
    return result == 0 ? make_folder(intake, err) : result;
}

/* What only a complete transfer has, and what looked at it. The images are received into again. */
static int reopen(int folder_fd, struct error *err)
{
    const char *const first[] = {POOL_RECEIVED, NULL};
    const char *const rest[] = {MACHINE_GUEST, MACHINE_REPORT, MACHINE_BOOT_LOG, NULL};
    /* Gone for certain before anything of what it claims changes. */
    if (finish_folder_drop(folder_fd, first, err) != 0 || io_sync(folder_fd, err) != 0)
        return -1;
    return finish_folder_drop(folder_fd, rest, err) != 0
               ? -1
               : finish_folder_drop_disks(folder_fd, ".manifest", err);
}

static int empty(struct intake *intake, struct error *err)
{
    const char *const first[] = {POOL_RECEIVED, NULL};
    intake->is_resumed = false;
    if (finish_folder_drop(intake->folder_fd, first, err) != 0 ||
        io_sync(intake->folder_fd, err) != 0)
        return -1;
    return finish_folder_empty(intake->folder_fd, err);
}

/* An update that was begun over another state of the machine is of no use. */
static bool is_of_state(int folder_fd, const char *state)
{
    AUTO_FREE char *text = NULL;
    size_t length;
    return io_read_file(folder_fd, FINISH_BASE, FINISH_STATE_SIZE, &text, &length, NULL) == 0 &&
           strcmp(text, state) == 0;
}

static int prepare_update(struct intake *intake, const struct places *places, struct log *log,
                          struct error *err)
{
    if (is_of_state(intake->folder_fd, places->state))
        return 0;
    if (intake->is_resumed)
        log_info(log, "%s was begun over another state of the machine: beginning anew",
                 intake->folder);
    if (empty(intake, err) != 0)
        return -1;
    return io_replace_file(intake->folder_fd, FINISH_BASE, places->state, strlen(places->state),
                           0644, err);
}

/* A renewed transfer may meet an update of the machine that it is going to replace. */
static int drop_update(const struct places *places, struct log *log, struct error *err)
{
    AUTO_CLOSE int fd = -1;
    int found = finish_folder_lock(places->update, true, &fd, err);
    if (found <= 0)
        return found;
    log_info(log, "removing %s: the machine is received anew", places->update);
    return finish_folder_remove(places->update, err);
}

static int prepare(struct intake *intake, const struct places *places, bool is_renewed,
                   struct log *log, struct error *err)
{
    finish_folder_sweep(places->final);
    if (!intake->base && drop_update(places, log, err) != 0)
        return -1;
    if (is_renewed && !intake->base)
        return empty(intake, err);
    if (intake->is_resumed && reopen(intake->folder_fd, err) != 0)
        return -1;
    return intake->base ? prepare_update(intake, places, log, err) : 0;
}

/* --- */

/* 1: open. 0: look again. */
static int try_open(struct intake *intake, struct places *places, bool is_renewed, struct log *log,
                    struct error *err)
{
    const char *const both[] = {places->partial, places->update};
    for (size_t i = 0; i < 2; i++) {
        int settled = settle(both[i], log, err);
        if (settled != 0)
            return settled < 0 ? -1 : 0;
    }
    if (look_at_final(places, err) != 0)
        return -1;
    bool updates = is_update(places, is_renewed, log);
    intake->folder = text_copy(updates ? places->update : places->partial);
    intake->base = updates ? text_copy(places->final) : NULL;
    int held = hold_folder(intake, log, err);
    if (held <= 0)
        return held;
    if (prepare(intake, places, is_renewed, log, err) != 0)
        return -1;
    if (updates)
        intake->base_fd = take_fd(&places->final_fd);
    return 1;
}

static int open_round(struct intake *intake, const struct pool *pool, const char *name,
                      bool is_renewed, struct log *log, struct error *err)
{
    struct places places;
    places_init(&places, pool, name);
    *intake = (struct intake){.name = text_copy(name), .folder_fd = -1, .base_fd = -1};
    int result = try_open(intake, &places, is_renewed, log, err);
    places_fini(&places);
    if (result != 1)
        intake_close(intake);
    return result;
}

int intake_open(struct intake *intake, const struct pool *pool, const char *name, bool is_renewed,
                struct log *log, struct error *err)
{
    *intake = (struct intake){.folder_fd = -1, .base_fd = -1};
    AUTO_FREE char *ambiguous = name_of(name);
    if (!definition_name_is_valid(name) || ambiguous)
        return error_set(err, EINVAL, "'%s' is no name of a machine", name);
    for (int round = 0; round < INTAKE_MAX_ROUNDS; round++) {
        int result = open_round(intake, pool, name, is_renewed, log, err);
        if (result != 0)
            return result < 0 ? -1 : 0;
    }
    return error_set(err, EBUSY, "%s", name);
}

int intake_set_inventory(struct intake *intake, const char *json, size_t length, struct error *err)
{
    return io_replace_file(intake->folder_fd, POOL_INVENTORY, json, length, 0644, err);
}

int intake_complete(struct intake *intake, const struct received *received, struct error *err)
{
    if (io_sync(intake->folder_fd, err) != 0 ||
        received_write(received, intake->folder_fd, err) != 0)
        return error_wrap(err, "%s", intake->folder);
    return 0;
}

void intake_close(struct intake *intake)
{
    own_close(&intake->folder_fd);
    own_close(&intake->base_fd);
    free(intake->name);
    free(intake->folder);
    free(intake->base);
    *intake = (struct intake){.folder_fd = -1, .base_fd = -1};
}

/* --- what is complete --- */

static bool has_any(int pool_fd, const char *entry, const char *const *names)
{
    AUTO_CLOSE int fd = openat(pool_fd, entry, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    for (size_t i = 0; fd >= 0 && names[i]; i++) {
        if (folder_has(fd, names[i]))
            return true;
    }
    return false;
}

int intake_list_complete(const struct pool *pool, void (*found)(void *context, const char *name),
                         void *context, struct error *err)
{
    AUTO_CLOSE int fd = openat(pool->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (!folder)
        return error_set(err, errno, "list %s", pool->path);
    take_fd(&fd);
    struct dirent *entry;
    while ((entry = readdir(folder)) != NULL) {
        AUTO_FREE char *name = name_of(entry->d_name);
        const char *const transfer[] = {POOL_RECEIVED, FINISH_MARK, NULL};
        const char *const machine[] = {FINISH_UNTESTED, NULL};
        if (name && has_any(pool->fd, entry->d_name, transfer))
            found(context, name);
        else if (!name && definition_name_is_valid(entry->d_name) &&
                 has_any(pool->fd, entry->d_name, machine))
            found(context, entry->d_name);
    }
    closedir(folder);
    return 0;
}
