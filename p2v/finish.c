/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A finish's frame: which folder is meant, who holds it, and its way into its place.
 */
#include "p2v/finish.h"

#include "base/io.h"
#include "base/text.h"
#include "p2v/finish_folder.h"
#include "p2v/finish_merge.h"
#include "p2v/interrupt.h"
#include "p2v/server/pool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- which folder --- */

static bool path_has(const char *folder, const char *name)
{
    AUTO_FREE char *path = path_join(folder, name);
    return access(path, F_OK) == 0;
}

static bool is_complete(const char *folder)
{
    return path_has(folder, POOL_RECEIVED) || path_has(folder, FINISH_MARK);
}

/* NAME of NAME.partial and NAME.update; caller frees. */
static char *machine_path(const char *path)
{
    AUTO_FREE char *parent = path_parent(path);
    AUTO_FREE char *base = path_base(path);
    size_t length = strlen(base);
    if (text_ends_with(base, POOL_PARTIAL_SUFFIX))
        length -= strlen(POOL_PARTIAL_SUFFIX);
    else if (text_ends_with(base, POOL_UPDATE_SUFFIX))
        length -= strlen(POOL_UPDATE_SUFFIX);
    AUTO_FREE char *name = text_format("%.*s", (int)length, base);
    return name[0] ? path_join(parent, name) : text_copy(path);
}

/* NULL: nothing is complete there. Caller frees. */
static char *choose_folder(const char *path, const char *final)
{
    AUTO_FREE char *partial = text_format("%s%s", final, POOL_PARTIAL_SUFFIX);
    AUTO_FREE char *update = text_format("%s%s", final, POOL_UPDATE_SUFFIX);
    bool is_final =
        !text_ends_with(path, POOL_PARTIAL_SUFFIX) && !text_ends_with(path, POOL_UPDATE_SUFFIX);
    if ((is_final || text_ends_with(path, POOL_PARTIAL_SUFFIX)) && is_complete(partial))
        return take_ptr(&partial);
    if ((is_final || text_ends_with(path, POOL_UPDATE_SUFFIX)) && is_complete(update))
        return take_ptr(&update);
    return NULL;
}

/* --- opening --- */

static void lend_place(struct finish *finish)
{
    struct machine_draft *draft = &finish->convert.draft;
    draft->final = finish->place.final;
    draft->partial = finish->place.folder;
    draft->folder_fd = finish->place.folder_fd;
}

static int lock(const char *path, int *fd, struct error *err)
{
    int found = finish_folder_lock(path, true, fd, err);
    return found == 0 ? error_set(err, ENOENT, "%s", path) : found < 0 ? -1 : 0;
}

/* Everything was done but the boot test. */
static int open_machine(struct finish *finish, const char *final, struct error *err)
{
    if (!path_has(final, FINISH_UNTESTED))
        return error_set(err, 0, "there is no transfer that is complete, in %s%s or %s%s", final,
                         POOL_PARTIAL_SUFFIX, final, POOL_UPDATE_SUFFIX);
    AUTO_FREE char *partial = text_format("%s%s", final, POOL_PARTIAL_SUFFIX);
    if (finish_place_init(&finish->place, partial, err) != 0 ||
        lock(finish->place.final, &finish->place.folder_fd, err) != 0)
        return -1;
    finish->is_only_tested = true;
    lend_place(finish);
    return 0;
}

static int lock_both(struct finish *finish, struct error *err)
{
    struct finish_place *place = &finish->place;
    if (lock(place->folder, &place->folder_fd, err) != 0)
        return -1;
    return place->is_update ? lock(place->final, &place->base_fd, err) : 0;
}

static int complete(struct finish *finish, struct error *err)
{
    int result = finish_complete_place(&finish->place, finish->convert.log, err);
    lend_place(finish);
    return result;
}

int finish_open(struct finish *finish, const char *path, struct error *err)
{
    finish->place = (struct finish_place){.folder_fd = -1, .base_fd = -1};
    AUTO_FREE char *final = machine_path(path);
    finish_folder_sweep(final);
    AUTO_FREE char *folder = choose_folder(path, final);
    if (!folder)
        return open_machine(finish, final, err);
    if (finish_place_init(&finish->place, folder, err) != 0 || lock_both(finish, err) != 0)
        return -1;
    lend_place(finish);
    if (!folder_has(finish->place.folder_fd, FINISH_MARK))
        return 0;
    log_info(finish->convert.log, "completing what an earlier run began");
    finish->is_only_tested = true;
    return complete(finish, err);
}

/* --- into its place --- */

static int mark(const struct finish *finish, const char *name, struct error *err)
{
    return io_replace_file(finish->place.folder_fd, name, "", 0, 0644, err);
}

/* From the mark on nothing is begun anew. */
int finish_put_in_place(struct finish *finish, struct error *err)
{
    struct convert *convert = &finish->convert;
    bool is_test_due = !finish->place.is_update && convert_is_test_wanted(convert);
    if (interrupt_is_requested())
        return error_set(err, ECANCELED, "stopped");
    if (finish->place.is_update &&
        finish_merge_check_space(&finish->place, convert->disk_count, err) != 0)
        return -1;
    if (convert->fix == CONVERT_FIXED && fix_disks_seal(convert->fix_disks, err) != 0)
        return -1;
    if ((is_test_due && mark(finish, FINISH_UNTESTED, err) != 0) ||
        mark(finish, FINISH_MARK, err) != 0)
        return -1;
    return complete(finish, err);
}

void finish_tell_stage(const struct finish *finish, const char *stage)
{
    if (!finish->options->has_stages)
        return;
    AUTO_JSON json = json_object();
    json_set_text(json, "stage", stage);
    AUTO_FREE char *line = json_dumps(json, JSON_COMPACT);
    if (line)
        console_event(&finish->convert.cli->console, line);
}

void finish_fini(struct finish *finish)
{
    /* They are the place's. */
    finish->convert.draft = (struct machine_draft){.folder_fd = -1};
    convert_fini(&finish->convert);
    guest_free(finish->before);
    guest_free(finish->tested);
    received_fini(&finish->received);
    for (size_t i = 0; i < WIRE_MAX_DISKS; i++)
        free(finish->paths[i]);
    finish_place_fini(&finish->place);
}
