/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * bootfix from a script, for the integration tests:
 *
 *     fixtool inspect FORMAT:PATH...    what was found, one "key value" per line
 *     fixtool plan    FORMAT:PATH...    the plan's diff; notes and seconds on standard error
 *     fixtool apply   FORMAT:PATH...    the same, made; the disks had better be overlays
 *
 * with --nic NAME=MAC and --root DEVICE before the disks. Exit status: 0, 1 failed, 3 warnings.
 */
#include "base/own.h"
#include "base/text.h"
#include "bootfix/bootfix.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DISKS 16

struct arguments {
    const char *command;
    struct bootfix_disk disks[MAX_DISKS];
    size_t disk_count;
    struct fix_nic nics[MAX_DISKS];
    size_t nic_count;
    struct bootfix_options options;
};

static void emit(struct log *log, enum log_level level, const char *line)
{
    (void)log;
    if (level != LOG_LEVEL_DETAIL || getenv("FIXTOOL_VERBOSE"))
        fprintf(stderr, "fixtool: %s\n", line);
}

static struct log standard_error = {.emit = emit};

/* Cuts "left<mark>right" in two; false when the mark is not there. */
static bool cut(char *text, char mark, const char **left, const char **right)
{
    char *found = strchr(text, mark);
    if (!found)
        return false;
    *found = '\0';
    *left = text;
    *right = found + 1;
    return true;
}

static bool parse_arguments(struct arguments *arguments, int argc, char **argv)
{
    if (argc < 3)
        return false;
    arguments->command = argv[1];
    arguments->options.is_writable = strcmp(argv[1], "apply") == 0;
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--root") == 0 && i + 1 < argc) {
            arguments->options.root = argv[++i];
        } else if (strcmp(argv[i], "--nic") == 0 && i + 1 < argc &&
                   arguments->nic_count < MAX_DISKS) {
            struct fix_nic *nic = &arguments->nics[arguments->nic_count++];
            if (!cut(argv[++i], '=', &nic->name, &nic->mac))
                return false;
        } else if (arguments->disk_count < MAX_DISKS) {
            struct bootfix_disk *disk = &arguments->disks[arguments->disk_count++];
            if (!cut(argv[i], ':', &disk->format, &disk->path))
                return false;
        }
    }
    return arguments->disk_count > 0;
}

static void print_pair(const char *key, const char *value)
{
    if (value)
        printf("%s %s\n", key, value);
}

static void print_kernel(const struct system_kernel *kernel)
{
    printf("kernel %s %s %s%s%s%s%s\n", kernel->version, kernel->image,
           kernel->initramfs ? kernel->initramfs : "-", kernel->has_virtio_blk ? " blk" : "",
           kernel->has_virtio_net ? " net" : "", kernel->has_virtio_pci ? " pci" : "",
           kernel->has_virtio_scsi ? " scsi" : "");
}

static void print_system(const struct system *system)
{
    print_pair("root", system->root);
    print_pair("type", system->type);
    print_pair("distro", system->distro);
    print_pair("version", system->version);
    print_pair("product", system->product);
    print_pair("hostname", system->hostname);
    print_pair("arch", system->arch);
    print_pair("machine-id", system->machine_id);
    print_pair("grub", system->grub_config);
    print_pair("firmware", system->firmware == SYSTEM_FIRMWARE_UEFI ? "uefi" : "bios");
    print_pair("initramfs", system->initramfs == SYSTEM_INITRAMFS_TOOLS    ? "initramfs-tools"
                            : system->initramfs == SYSTEM_INITRAMFS_DRACUT ? "dracut"
                                                                           : "unknown");
    print_pair("init", system->has_systemd ? "systemd" : "other");
    print_pair("clock", system->is_clock_localtime ? "localtime" : "utc");
    for (size_t i = 0; i < system->volume_count; i++) {
        const struct system_volume *volume = &system->volumes[i];
        printf("volume %s %s %s %s %llu\n", volume->device, volume->type ? volume->type : "-",
               volume->uuid ? volume->uuid : "-", volume->mountpoint ? volume->mountpoint : "-",
               (unsigned long long)volume->size_bytes);
    }
    for (size_t i = 0; i < system->kernel_count; i++)
        print_kernel(&system->kernels[i]);
    for (size_t i = 0; i < system->interface_count; i++)
        printf("interface %s\n", system->interfaces[i].name);
}

static bool print_plan(const struct plan *plan)
{
    bool has_warning = false;
    AUTO(text) diff = {0};
    plan_format_diff(plan, &diff);
    fputs(text_string(&diff), stdout);
    for (size_t i = 0; i < plan->note_count; i++) {
        const struct plan_note *note = &plan->notes[i];
        has_warning |= note->is_warning;
        fprintf(stderr, "fixtool: %s: %s%s\n", note->fixer, note->is_warning ? "warning: " : "",
                note->text);
    }
    return has_warning;
}

static int work(struct bootfix *bootfix, const struct arguments *arguments, struct system **system,
                struct plan *plan, struct error *err)
{
    if (bootfix_inspect(bootfix, system, err) < 0)
        return -1;
    if (strcmp(arguments->command, "inspect") == 0) {
        print_system(*system);
        return 0;
    }
    plan_init(plan, bootfix_files(bootfix));
    struct fix_context context = {
        .system = *system,
        .nics = arguments->nics,
        .nic_count = arguments->nic_count,
        .plan = plan,
        .log = &standard_error,
    };
    if (bootfix_plan(bootfix, &context, err) < 0)
        return -1;
    bool has_warning = print_plan(plan);
    if (arguments->options.is_writable && bootfix_apply(bootfix, plan, err) < 0)
        return -1;
    return has_warning ? 3 : 0;
}

int main(int argc, char **argv)
{
    struct arguments arguments = {0};
    struct error err = {0};
    struct plan plan = {0};
    struct bootfix_times times;
    AUTO_PTR(system) system = NULL;
    if (!parse_arguments(&arguments, argc, argv)) {
        fprintf(stderr, "usage: fixtool inspect|plan|apply [--nic NAME=MAC] [--root DEVICE] "
                        "FORMAT:PATH...\n");
        return 2;
    }
    AUTO_PTR(bootfix)
    bootfix = bootfix_open(arguments.disks, arguments.disk_count, &arguments.options,
                           &standard_error, &err);
    int status = bootfix ? work(bootfix, &arguments, &system, &plan, &err) : -1;
    if (bootfix) {
        bootfix_get_times(bootfix, &times);
        fprintf(stderr, "fixtool: seconds: launch %.2f inspect %.2f plan %.2f apply %.2f\n",
                times.launch, times.inspect, times.plan, times.apply);
    }
    plan_fini(&plan);
    if (status < 0) {
        fprintf(stderr, "fixtool: %s\n", err.text);
        return 1;
    }
    return status;
}
