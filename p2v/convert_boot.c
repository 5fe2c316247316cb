/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A conversion's last step: the finished machine is started on throw-away overlays, and what it did
 * goes into its report.
 */
#include "base/io.h"
#include "base/text.h"
#include "p2v/convert.h"
#include "p2v/interrupt.h"
#include "p2v/report.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define BOOT_SCRATCH ".boottest"

static void show_stage(void *context, enum boot_stage stage)
{
    log_info(context, "boot test: %s", boot_stage_name(stage));
}

static void remove_scratch(void *path)
{
    folder_remove(AT_FDCWD, path, NULL);
}

static int run_test(struct convert *convert, const struct guest *guest, const char *folder,
                    char *scratch, struct error *err)
{
    struct boot_options options = {.timeout_seconds = (int)convert->options->timeout_seconds,
                                   .scratch = scratch,
                                   .interrupt = interrupt_flag(),
                                   .progress = show_stage,
                                   .context = convert->log};
    if (mkdir(scratch, 0700) != 0 && errno != EEXIST)
        return error_set(err, errno, "create %s", scratch);
    interrupt_set_cleanup(remove_scratch, scratch);
    int result = boottest_run(guest, folder, &options, &convert->boot, convert->log, err);
    interrupt_set_cleanup(NULL, NULL);
    remove_scratch(scratch);
    return result;
}

static int write_results(struct convert *convert, struct error *err)
{
    const struct boot_result *boot = &convert->boot;
    if (!boot->is_ok && boot->console.length &&
        io_replace_file(convert->draft.folder_fd, MACHINE_BOOT_LOG, boot->console.data,
                        boot->console.length, 0644, err) != 0)
        return -1;
    json_set_text(convert->report, "boot_test", boot->is_ok ? "passed" : "failed");
    json_object_set_new(convert->report, "boot", report_boot(boot));
    report_add_step(convert->report, "boot test", boot->seconds, 0);
    report_set_warnings(convert->report, &convert->cli->console);
    return json_write(convert->report, convert->draft.folder_fd, MACHINE_REPORT, err);
}

int convert_boot(struct convert *convert, const struct guest *guest, const char *folder,
                 const char *scratch_folder, struct error *err)
{
    AUTO_FREE char *scratch = path_join(scratch_folder, BOOT_SCRATCH);
    struct error cause = {0};
    log_info(convert->log, "starting the copy for its boot test");
    if (run_test(convert, guest, folder, scratch, &cause) != 0) {
        if (interrupt_is_requested())
            return error_set(err, ECANCELED, "the boot test was stopped");
        convert->has_warnings = true;
        log_warning(convert->log, "not tested: %s", cause.text);
        report_set_warnings(convert->report, &convert->cli->console);
        return json_write(convert->report, convert->draft.folder_fd, MACHINE_REPORT, err);
    }
    convert->is_boot_tested = true;
    return write_results(convert, err);
}

int convert_boot_test(struct convert *convert, struct error *err)
{
    if (convert_boot(convert, convert->guest, convert->draft.final, convert->draft.final, err) == 0)
        return 0;
    if (interrupt_is_requested())
        return error_set(err, ECANCELED, "the boot test was stopped; %s is complete",
                         convert->draft.final);
    return -1;
}

bool convert_is_test_wanted(const struct convert *convert)
{
    bool is_unknown = !convert->options->is_fix_skipped && !fixing_knows_system(&convert->fixing);
    return !convert->options->is_boot_test_skipped && !is_unknown;
}
