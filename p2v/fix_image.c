/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * rehost fix IMAGE: one disk image, on an overlay of it or in place.
 */
#include "base/text.h"
#include "p2v/fix_command.h"
#include "p2v/interrupt.h"
#include "p2v/machine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct image_job {
    char *folder, *name; /* of the image */
    char *output;        /* of the overlay */
    const char *format;
};

static void job_fini(struct image_job *job)
{
    free(job->folder);
    free(job->name);
    free(job->output);
}

static int job_init(struct image_job *job, const struct fix_run *fix, const char *path,
                    struct error *err)
{
    struct stat stat_of;
    *job = (struct image_job){.folder = path_parent(path), .name = path_base(path)};
    job->output = fix->options->output ? text_copy(fix->options->output)
                                       : text_format("%s.fixed.qcow2", path);
    struct image_open_options options = {.format = fix->options->format,
                                         .backing_folder = job->folder};
    AUTO_PTR(image) image = image_open(path, &options, err);
    if (!image)
        return -1;
    if (image->source.size_bytes == 0)
        return error_set(err, 0, "it is empty");
    job->format = image->driver->name;
    bool makes_overlay = !fix->options->is_dry_run && !fix->options->is_in_place;
    if (makes_overlay && lstat(job->output, &stat_of) == 0)
        return error_set(err, EEXIST, "the overlay %s", job->output);
    return 0;
}

static int fix_dry(struct fix_run *fix, const char *path, const struct image_job *job,
                   struct error *err)
{
    struct bootfix_disk disk = {path, job->format};
    return fix_run_fixers(fix, &disk, 1, job->name, err);
}

static int commit_sealed(struct fix_run *fix, struct error *err)
{
    uint64_t changed;
    if (fix_disks_commit(&fix->disks, 0, NULL, &changed, err) != 0)
        return -1;
    fix_disks_finish(&fix->disks);
    fix_disks_fini(&fix->disks);
    return 0;
}

/* What an interrupted run had begun to write into the image is written to its end first. */
static int recover(struct fix_run *fix, const struct image_job *job, struct error *err)
{
    if (!fix_disks_are_sealed(job->folder, job->name))
        return 0;
    if (fix->options->is_dry_run)
        return error_set(err, 0, "an interrupted fix has to be finished first: rehost fix %s",
                         job->name);
    log_info(&fix->cli->console.log, "finishing an interrupted fix");
    if (fix_disks_attach(&fix->disks, job->folder, job->name, job->format, err) < 0)
        return -1;
    return commit_sealed(fix, err);
}

static int fix_on_overlay(struct fix_run *fix, const struct image_job *job, struct error *err)
{
    AUTO_FREE char *output_folder = path_parent(job->output);
    bool is_elsewhere = !fix->options->is_in_place && strcmp(output_folder, job->folder) != 0;
    if (fix_disks_add(&fix->disks, job->folder, job->name, job->format,
                      is_elsewhere ? output_folder : NULL, err) != 0)
        return -1;
    interrupt_set_cleanup(fix_disks_remove, &fix->disks);
    if (fix_run_fixers(fix, fix->disks.disks, 1, job->name, err) != 0)
        return -1;
    if (fix->outcome != FIX_DONE)
        return 0;
    interrupt_set_cleanup(NULL, NULL);
    if (fix->options->is_in_place)
        return fix_disks_seal(&fix->disks, err) == 0 ? commit_sealed(fix, err) : -1;
    snprintf(fix->result, sizeof(fix->result), "%s", job->output);
    return fix_disks_keep(&fix->disks, 0, job->output, err) < 0 ? -1 : 0;
}

int fix_image(struct fix_run *fix, const char *path, struct error *err)
{
    struct image_job job;
    int result = job_init(&job, fix, path, err);
    if (result == 0)
        result = recover(fix, &job, err);
    if (result == 0)
        result = fix->options->is_dry_run ? fix_dry(fix, path, &job, err)
                                          : fix_on_overlay(fix, &job, err);
    job_fini(&job);
    return result;
}
