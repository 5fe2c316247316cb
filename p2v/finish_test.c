/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The boot test of a received machine, with no more memory and CPUs than this host can lend: the
 * machine's own may be many times what stands here.
 */
#include "base/bytes.h"
#include "base/checked.h"
#include "base/text.h"
#include "p2v/agent/inventory_file.h"
#include "p2v/finish.h"
#include "p2v/finish_folder.h"
#include "p2v/report.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEST_MIN_MEMORY (512 * MIB)
#define TEST_MAX_CPUS 8u

static void limit_hardware(struct guest *guest)
{
    uint64_t available = inventory_memory("", UINT64_MAX, "MemAvailable");
    uint64_t lend = max_u64(available / 2 / MIB * MIB, TEST_MIN_MEMORY);
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned cpus = online > 0 ? (unsigned)min_u64((uint64_t)online, TEST_MAX_CPUS) : 1;
    guest->memory_bytes = min_u64(guest->memory_bytes, lend);
    if (guest->sockets * guest->cores * guest->threads <= cpus)
        return;
    guest->sockets = guest->threads = 1;
    guest->cores = cpus;
}

/* A definition of its own for the test, finish->tested. */
static int make_tested(struct finish *finish, struct error *err)
{
    AUTO_FREE char *text = guest_format(finish->convert.guest, err);
    finish->tested = text ? guest_parse(text, strlen(text), true, err) : NULL;
    if (!finish->tested)
        return -1;
    limit_hardware(finish->tested);
    return 0;
}

/* --- an update: the fixers' overlays over the update's over the machine's own disks --- */

static void name_overlays(const struct finish *finish, struct guest *guest)
{
    const struct convert *convert = &finish->convert;
    AUTO_FREE char *folder = path_base(finish->place.folder);
    for (size_t i = 0; i < guest->disk_count; i++) {
        bool is_fixed = convert->fix == CONVERT_FIXED;
        AUTO_FREE char *name = is_fixed ? path_base(convert->fix_disks->items[i].overlay_path)
                                        : text_copy(convert->disks[i].name);
        free(guest->disks[i].path);
        guest->disks[i].path = path_join(folder, name);
        free(guest->disks[i].format);
        guest->disks[i].format = text_copy("qcow2");
    }
}

/* The variable store is the machine's, which lies beside. */
static void name_variables(const struct finish *finish, struct guest *guest)
{
    if (!guest->nvram)
        return;
    AUTO_FREE char *folder = path_base(finish->place.final);
    AUTO_FREE char *path = path_join(folder, guest->nvram);
    free(guest->nvram);
    guest->nvram = take_ptr(&path);
}

int finish_test_update(struct finish *finish, struct error *err)
{
    struct convert *convert = &finish->convert;
    if (!convert_is_test_wanted(convert))
        return CLI_DONE;
    if (make_tested(finish, err) != 0)
        return -1;
    finish_tell_stage(finish, "testing");
    name_overlays(finish, finish->tested);
    name_variables(finish, finish->tested);
    if (convert_boot(convert, finish->tested, finish->place.parent, finish->place.folder, err) != 0)
        return -1;
    if (!convert->is_boot_tested || convert->boot.is_ok)
        return CLI_DONE;
    return CLI_TEST_FAILED;
}

/* --- a machine that was put in its place --- */

/* What was warned of by then is to stay in the report. */
static void recall_warnings(struct finish *finish)
{
    struct convert *convert = &finish->convert;
    const json_t *warnings = json_object_get(convert->report, "warnings");
    for (size_t i = 0; i < json_array_size(warnings); i++) {
        const char *text = json_string_value(json_array_get(warnings, i));
        if (text && convert->cli->console.warning_count <= i)
            log_warning(convert->log, "%s", text);
    }
}

static int recall(struct finish *finish, struct error *err)
{
    struct convert *convert = &finish->convert;
    json_decref(convert->report);
    convert->report = json_read(finish->place.folder_fd, MACHINE_REPORT, err);
    guest_free(convert->guest);
    convert->guest =
        convert->report ? guest_read(finish->place.folder_fd, MACHINE_GUEST, false, err) : NULL;
    if (!convert->guest)
        return -1;
    convert->draft.folder_fd = finish->place.folder_fd;
    convert->has_warnings |= json_is_true(json_object_get(convert->report, "has_warnings"));
    recall_warnings(finish);
    return 0;
}

static int run_test(struct finish *finish, struct error *err)
{
    static const char *const mark[] = {FINISH_UNTESTED, NULL};
    struct convert *convert = &finish->convert;
    if (make_tested(finish, err) != 0)
        return -1;
    finish_tell_stage(finish, "testing");
    if (convert_boot(convert, finish->tested, finish->place.final, finish->place.final, err) != 0)
        return -1;
    return finish_folder_drop(finish->place.folder_fd, mark, err);
}

int finish_test_machine(struct finish *finish, struct error *err)
{
    static const char *const mark[] = {FINISH_UNTESTED, NULL};
    if (recall(finish, err) != 0)
        return -1;
    if (!folder_has(finish->place.folder_fd, FINISH_UNTESTED))
        return 0;
    if (finish->options->convert.is_boot_test_skipped)
        return finish_folder_drop(finish->place.folder_fd, mark, err);
    return run_test(finish, err);
}
