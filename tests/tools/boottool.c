/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * boottool GUEST.JSON [ACCELERATOR [CONSOLE-FILE [SECONDS]]]: runs the boot test on a definition
 * and prints its result, one fact a line, for the integration tests. Exit status 0: the machine is
 * up, 4: it is not, 1: it could not be tested.
 */
#include "base/io.h"
#include "formats/guest.h"
#include "p2v/boottest.h"

#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_log(struct log *log, enum log_level level, const char *line)
{
    (void)log;
    (void)level;
    printf("log=%s\n", line);
}

static void print_stage(void *context, enum boot_stage stage)
{
    (void)context;
    printf("reached=%s\n", boot_stage_name(stage));
    fflush(stdout);
}

static void print_result(const struct boot_result *result)
{
    printf("ok=%d\nstage=%s\nemergency=%d\nproblem=%s\n", result->is_ok,
           boot_stage_name(result->stage), result->is_emergency, result->problem);
    printf("accelerator=%s\nseconds=%.1f\nfailed=%zu\n", result->accelerator, result->seconds,
           result->failed_count);
    for (size_t i = 0; i < result->failed_count && i < 8; i++)
        printf("failed-unit=%s\n", result->failed[i]);
    for (size_t i = 0; i < result->nic_count; i++) {
        const struct boot_nic_result *nic = &result->nics[i];
        printf("nic=%s seen=%d dhcp=%d ok=%d missing=%s kernel=%s\n", nic->mac, nic->is_seen,
               nic->is_dhcp_bound, nic->is_ok, nic->missing, nic->kernel_name);
    }
}

static int run(const char *path, const char *accelerator, const char *console, int seconds,
               struct error *err)
{
    char scratch[] = "/var/tmp/boottool.XXXXXX";
    struct log log = {print_log};
    struct boot_result result = {0};
    struct boot_options options = {.timeout_seconds = seconds,
                                   .accelerator = accelerator,
                                   .scratch = scratch,
                                   .progress = print_stage};
    AUTO_FREE char *copy = text_copy(path);
    const char *folder = dirname(copy);
    AUTO_PTR(guest) guest = guest_read(AT_FDCWD, path, true, err);
    if (!guest)
        return -1;
    if (!mkdtemp(scratch))
        return error_set(err, 0, "mkdtemp %s", scratch);
    int status = boottest_run(guest, folder, &options, &result, &log, err);
    /* Only an empty folder can be removed: the test left nothing there. */
    if (remove(scratch) != 0)
        printf("left=%s\n", scratch);
    if (status == 0) {
        print_result(&result);
        status = result.is_ok ? 0 : 4;
        if (console && io_replace_file(AT_FDCWD, console, text_string(&result.console),
                                       result.console.length, 0644, err) != 0)
            status = -1;
    }
    boot_result_fini(&result);
    return status;
}

int main(int argc, char **argv)
{
    struct error err = {0};
    if (argc < 2) {
        fprintf(stderr, "usage: boottool GUEST.JSON [kvm|tcg|auto [CONSOLE-FILE [SECONDS]]]\n");
        return 2;
    }
    bool is_chosen = argc > 2 && strcmp(argv[2], "auto") != 0;
    int status = run(argv[1], is_chosen ? argv[2] : NULL, argc > 3 ? argv[3] : NULL,
                     argc > 4 ? atoi(argv[4]) : 0, &err);
    if (status < 0)
        fprintf(stderr, "boottool: %s\n", err.text);
    return status < 0 ? 1 : status;
}
