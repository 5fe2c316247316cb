/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What QEMU is given for `rehost run`; its command line is p2v/boottest_qemu.c's.
 */
#include "p2v/run_qemu.h"

#include "p2v/boottest_files.h"
#include "p2v/machine.h"
#include "p2v/vm_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

const char *run_qemu_misses(const struct guest *guest)
{
    const struct guest_limits *limits = &guest->limits;
    if (limits->cpu_percent && limits->net_bytes_per_second)
        return "the limits of CPU and network";
    return limits->cpu_percent            ? "the limit of CPU"
           : limits->net_bytes_per_second ? "the limit of the network"
                                          : "";
}

static const char *scratch(void)
{
    const char *temporary = getenv("TMPDIR");
    return temporary && temporary[0] ? temporary : "/var/tmp";
}

/* Variables that the guest changes last only where the definition names a file for them. */
static int open_variables(const struct run_qemu *run, struct qemu_machine *machine,
                          struct error *err)
{
    const struct guest *guest = run->guest;
    machine->variables_fd =
        boot_variables_open(guest, run->folder, scratch(), &machine->firmware_path, err);
    if (machine->variables_fd < 0 || !guest->nvram || run->is_snapshot)
        return machine->variables_fd < 0 ? -1 : 0;
    AUTO_FREE char *path = path_join(run->folder, guest->nvram);
    close(machine->variables_fd);
    machine->variables_fd = open(path, O_RDWR | O_CLOEXEC);
    return machine->variables_fd < 0 ? error_set(err, errno, "open %s", path) : 0;
}

static int open_files(const struct run_qemu *run, struct qemu_machine *machine, struct error *err)
{
    const struct guest *guest = run->guest;
    for (size_t i = 0; run->is_snapshot && i < guest->disk_count; i++) {
        machine->disk_fds[i] = boot_overlay_open(&guest->disks[i], run->folder, scratch(), err);
        if (machine->disk_fds[i] < 0)
            return -1;
    }
    return guest->firmware == GUEST_FIRMWARE_UEFI ? open_variables(run, machine, err) : 0;
}

int run_qemu_open(const struct run_qemu *run, struct qemu_machine *machine,
                  struct qemu_arguments *arguments, struct error *err)
{
    const struct guest *guest = run->guest;
    AUTO_FREE char *qmp = text_format("%s/%s" VM_QMP, run->sockets, guest->name);
    AUTO_FREE char *console = text_format("%s/%s" VM_CONSOLE, run->sockets, guest->name);
    const struct qemu_run for_good = {.folder = run->folder,
                                      .network = run->network,
                                      .qmp_path = qmp,
                                      .console_path = console,
                                      .console_fd = run->console_fd};
    *machine = (struct qemu_machine){.guest = guest,
                                     .accelerator = run->is_kvm ? "kvm" : "tcg",
                                     .memory_bytes = guest->memory_bytes,
                                     .cpus = guest->sockets * guest->cores * guest->threads,
                                     .variables_fd = -1,
                                     .run = &for_good};
    for (size_t i = 0; i < GUEST_MAX_DISKS; i++)
        machine->disk_fds[i] = -1;
    int result = open_files(run, machine, err);
    if (result == 0)
        result = qemu_arguments_make(arguments, machine, err);
    machine->run = NULL;
    return result;
}

void run_qemu_close(struct qemu_machine *machine)
{
    for (size_t i = 0; i < GUEST_MAX_DISKS; i++)
        own_close(&machine->disk_fds[i]);
    own_close(&machine->variables_fd);
}
