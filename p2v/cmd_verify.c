/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * rehost verify: every chunk of a machine's disks against their manifests.
 */
#include "base/bytes.h"
#include "base/text.h"
#include "formats/image.h"
#include "p2v/commands.h"
#include "p2v/fix_disks.h"
#include "p2v/interrupt.h"
#include "p2v/json.h"
#include "p2v/machine.h"
#include "p2v/verify.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct verify_options {
    bool is_json;
    const char *progress;
};

static const struct option_spec verify_options[] = {
    CLI_OPTION_JSON(struct verify_options),
    CLI_OPTION_PROGRESS(struct verify_options),
    CLI_OPTION_END,
};

struct verification {
    struct cli *cli;
    const struct machine *machine;
    json_t *disks; /* one object per disk */
    bool is_json;
    bool is_different;
    struct error first; /* the first difference in words */
};

static void show_progress(void *context, uint64_t checked_bytes)
{
    console_progress(context, checked_bytes, 0, 0);
}

static void digest_text(const struct manifest *manifest, char text[2 * CHUNK_NAME_SIZE + 1])
{
    struct chunk_name digest;
    manifest_digest(manifest, &digest);
    bytes_format_hex(digest.bytes, sizeof(digest.bytes), text);
}

static void print_disk(const struct verification *verification, const struct manifest *manifest,
                       const struct verify_result *result, const char *digest)
{
    char size[32];
    if (verification->is_json)
        return;
    for (size_t i = 0; i < result->difference_count && i < VERIFY_MAX_KEPT; i++)
        printf("%s: chunk at 0x%" PRIx64 " %s\n", manifest->image, result->differences[i].offset,
               verify_fault_text(result->differences[i].fault));
    if (result->difference_count > VERIFY_MAX_KEPT)
        printf("%s: and %" PRIu64 " more\n", manifest->image,
               result->difference_count - VERIFY_MAX_KEPT);
    if (result->difference_count == 0)
        printf("%s: verified, %s compared, digest sha256:%s\n", manifest->image,
               bytes_format(result->hashed_bytes, size, sizeof(size)), digest);
}

static void add_disk(struct verification *verification, const struct manifest *manifest,
                     const struct verify_result *result, const char *digest)
{
    json_t *disk = json_object();
    json_t *differences = json_array();
    json_set_text(disk, "image", manifest->image);
    json_set_text(disk, "source", manifest->source);
    json_set_bytes(disk, "size_bytes", manifest->size_bytes);
    json_set_bytes(disk, "compared_bytes", result->hashed_bytes);
    json_set_text(disk, "digest", digest);
    json_set_bool(disk, "is_verified", result->difference_count == 0);
    json_set_bytes(disk, "changed_by_fix", manifest->change_count);
    json_set_bytes(disk, "difference_count", result->difference_count);
    for (size_t i = 0; i < result->difference_count && i < VERIFY_MAX_KEPT; i++) {
        json_t *difference = json_object();
        json_set_bytes(difference, "offset", result->differences[i].offset);
        json_set_text(difference, "fault", verify_fault_text(result->differences[i].fault));
        json_array_append_new(differences, difference);
    }
    json_object_set_new(disk, "differences", differences);
    json_array_append_new(verification->disks, disk);
}

static int compare(struct verification *verification, const struct manifest *manifest,
                   const struct image *image, struct verify_result *result, struct error *err)
{
    struct console *console = &verification->cli->console;
    struct verify_job job = {.image = &image->source,
                             .manifest = manifest,
                             .stop = interrupt_flag(),
                             .progress = show_progress,
                             .context = console};
    if (image->source.size_bytes != manifest->size_bytes) {
        verification->is_different = true;
        return error_set(err, 0, "%s has %" PRIu64 " bytes, its manifest says %" PRIu64,
                         manifest->image, image->source.size_bytes, manifest->size_bytes);
    }
    progress_start(&console->progress, "verify", manifest->image, manifest->size_bytes,
                   manifest->size_bytes);
    int status = verify_image(&job, result, err);
    console_progress_end(console);
    return status;
}

static int verify_disk(struct verification *verification, const struct manifest *manifest,
                       struct error *err)
{
    char digest[2 * CHUNK_NAME_SIZE + 1];
    struct verify_result result;
    AUTO_FREE char *path = path_join(verification->machine->path, manifest->image);
    struct image_open_options options = {
        .format = text_ends_with(manifest->image, ".qcow2") ? "qcow2" : "raw"};
    AUTO_PTR(image) image = image_open(path, &options, err);
    if (!image || compare(verification, manifest, image, &result, err) != 0)
        return -1;
    if (result.difference_count > 0 && !verification->is_different) {
        verification->is_different = true;
        error_set(&verification->first, 0, "%s: chunk at 0x%" PRIx64 " %s (%" PRIu64 " in all)",
                  manifest->image, result.differences[0].offset,
                  verify_fault_text(result.differences[0].fault), result.difference_count);
    }
    digest_text(manifest, digest);
    print_disk(verification, manifest, &result, digest);
    add_disk(verification, manifest, &result, digest);
    return 0;
}

static int verify_disks(struct verification *verification, struct error *err)
{
    const struct machine *machine = verification->machine;
    size_t count = machine->guest->disk_count;
    if (count > 0 && fix_disks_are_sealed(machine->path, machine->guest->disks[0].path))
        return error_set(err, 0, "an interrupted fix has to be finished first: rehost fix %s",
                         machine->path);
    for (size_t i = 0; i < count; i++) {
        AUTO(manifest) manifest = {0};
        int found = machine_read_manifest(machine, i, &manifest, err);
        if (found == 0)
            return error_set(err, 0, "disk %zu has no manifest", i);
        if (found < 0 || verify_disk(verification, &manifest, err) != 0)
            return -1;
    }
    return 0;
}

static int run(struct cli *cli, const void *values, const struct option_list *operands,
               struct error *err)
{
    const struct verify_options *options = values;
    struct machine machine;
    if (machine_open(&machine, operands->items[0], MACHINE_READ, err) != 0)
        return -1;
    AUTO_JSON disks = json_array();
    struct verification verification = {
        .cli = cli, .machine = &machine, .disks = disks, .is_json = options->is_json};
    cli->console.progress.mode = progress_mode_for(options->progress, STDERR_FILENO);
    int result = verify_disks(&verification, err);
    machine_fini(&machine);
    if (result != 0)
        return verification.is_different ? CLI_TEST_FAILED : -1;
    if (options->is_json) {
        AUTO_FREE char *text = json_format(disks);
        fputs(text, stdout);
    }
    if (verification.is_different)
        *err = verification.first;
    return verification.is_different ? CLI_TEST_FAILED : CLI_DONE;
}

const struct command command_verify = {
    .name = "verify",
    .arguments = "DIR",
    .summary = "check every chunk of the machine's disks against the manifests",
    .description = "Exit code 4 when something differs.\n",
    .options = verify_options,
    .options_size = sizeof(struct verify_options),
    .min_operands = 1,
    .max_operands = 1,
    .run = run,
};
