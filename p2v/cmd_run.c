/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * rehost run: starts a machine of its definition in rehost-vm, or in QEMU where that cannot.
 */
#include "base/child.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/text.h"
#include "hypervisor/vm.h"
#include "p2v/commands.h"
#include "p2v/machine.h"
#include "p2v/run_qemu.h"
#include "p2v/vm_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_MS 60000 /* for a detached machine to answer */
#define LOOK_MS 50
#define LOG_MAX ((size_t)64 << 10)
#define EXEC_FAILED 127

struct run_options {
    bool is_snapshot, is_detached;
    const char *network, *hypervisor;
};

static const char *const hypervisors[] = {"auto", "rehost-vm", "qemu", NULL};

static const struct option_spec run_options[] = {
    {"snapshot", 0, OPTION_FLAG, NULL, NULL, offsetof(struct run_options, is_snapshot),
     "discard every write when the machine ends"},
    {"detach", 0, OPTION_FLAG, NULL, NULL, offsetof(struct run_options, is_detached),
     "return when it runs; rehost vm rules it"},
    {"network", 0, OPTION_TEXT, "SPEC", NULL, offsetof(struct run_options, network),
     "of every card: user, tap:NAME or none"},
    {"hypervisor", 0, OPTION_TEXT, "NAME", hypervisors, offsetof(struct run_options, hypervisor),
     "auto, rehost-vm or qemu"},
    CLI_OPTION_END,
};

/* What is to be run, and with what. */
struct start {
    const struct run_options *options;
    struct cli *cli;
    struct guest *guest;
    char *definition, *folder; /* the file, and the folder that it is in; absolute */
    char *sockets;
    bool is_kvm;
};

static void start_fini(struct start *start)
{
    guest_free(start->guest);
    free(start->definition);
    free(start->folder);
    free(start->sockets);
}

/* --- the definition --- */

/* DIR, or the file itself. */
static int load(struct start *start, const char *operand, struct error *err)
{
    char real[PATH_MAX];
    struct stat status;
    AUTO_FREE char *inside = path_join(operand, MACHINE_GUEST);
    bool is_folder = stat(operand, &status) == 0 && S_ISDIR(status.st_mode);
    if (!realpath(is_folder ? inside : operand, real))
        return error_set(err, errno, "%s", is_folder ? inside : operand);
    start->definition = text_copy(real);
    start->folder = path_parent(real);
    AUTO_FREE char *name = path_base(real);
    AUTO_CLOSE int folder_fd = open(start->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder_fd < 0)
        return error_set(err, errno, "%s", start->folder);
    start->guest = guest_read(folder_fd, name, false, err);
    start->sockets = start->guest ? vm_folder(err) : NULL;
    return start->sockets ? 0 : -1;
}

/* --- which program --- */

/* Why rehost-vm has no such hardware; NULL when it has. Static. */
static const char *why_not(const struct guest *guest)
{
    if (guest->arch && strcmp(guest->arch, "x86_64") != 0)
        return "its architecture is not x86_64";
    if (guest->firmware != GUEST_FIRMWARE_BIOS)
        return "it starts by UEFI";
    for (size_t i = 0; i < guest->disk_count; i++) {
        if (guest->disks[i].bus != GUEST_BUS_VIRTIO_BLK)
            return "it has a disk that is not virtio-blk";
    }
    for (size_t i = 0; i < guest->nic_count; i++) {
        if (guest->nics[i].model != GUEST_NIC_VIRTIO)
            return "it has a network card that is not virtio";
    }
    return NULL;
}

/* 1: rehost-vm; 0: QEMU, and the reason is said; -1: what was asked for cannot be. */
static int choose(struct start *start, struct error *err)
{
    const char *wanted = start->options->hypervisor ? start->options->hypervisor : "auto";
    const char *reason = why_not(start->guest);
    struct error cause = {0};
    struct log *log = &start->cli->console.log;
    start->is_kvm = kvm_probe(&cause) == 0;
    if (strcmp(wanted, "rehost-vm") == 0 && (reason || !start->is_kvm))
        return error_set(err, ENOTSUP, "rehost-vm cannot run it: %s", reason ? reason : cause.text);
    if (strcmp(wanted, "qemu") == 0)
        return 0;
    if (!start->is_kvm)
        log_warning(log, "%s: QEMU emulates the machine instead, slowly", cause.text);
    else if (reason)
        log_info(log, "QEMU runs it: %s", reason);
    return start->is_kvm && !reason;
}

/* --- detached --- */

/* In the child, on its way to another program: no way back. */
__attribute__((noreturn)) static void exec_detached(const char *const *argv, int log_fd,
                                                    const int *fds, size_t count)
{
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    setsid();
    if (fork() != 0)
        _exit(0);
    dup2(null_fd, STDIN_FILENO);
    dup2(log_fd, STDOUT_FILENO);
    dup2(log_fd, STDERR_FILENO);
    for (size_t i = 0; i < count; i++) {
        if (fds[i] >= 0)
            fcntl(fds[i], F_SETFD, 0);
    }
    execvp(argv[0], (char *const *)(uintptr_t)argv);
    dprintf(STDERR_FILENO, "start %s: %s\n", argv[0], strerror(errno));
    _exit(EXEC_FAILED);
}

/* Its last words. */
static int tell_failure(const char *log_path, struct error *err)
{
    AUTO_FREE char *data = NULL;
    size_t length = 0;
    AUTO(text) said = {0};
    if (io_read_file(AT_FDCWD, log_path, LOG_MAX, &data, &length, NULL) == 0)
        text_add_bytes(&said, data, length);
    AUTO(text) line = {0};
    const char *last = text_last_line(&said);
    text_add_escaped(&line, last, strlen(last));
    return error_set(err, 0, "it did not start: %s (the log is %s)", text_string(&line), log_path);
}

/* Until it answers. It holds its log open, so a lock on that tells whether it lives. */
static int wait_for_it(const struct start *start, int alive_fd, const char *log_path,
                       struct error *err)
{
    int64_t end_ms = clock_ms() + START_MS;
    char end;
    while (clock_ms() < end_ms) {
        struct vm_socket vm;
        if (vm_socket_open(&vm, start->sockets, start->guest->name, NULL) == 0) {
            vm_socket_fini(&vm);
            return 0;
        }
        /* The pipe's other end is the program's alone. */
        if (read(alive_fd, &end, 1) == 0)
            return tell_failure(log_path, err);
        usleep(LOOK_MS * 1000);
    }
    return tell_failure(log_path, err);
}

static int run_detached(const struct start *start, const char *const *argv, const int *fds,
                        size_t count, struct error *err)
{
    int alive[2], status;
    AUTO_FREE char *log_path = text_format("%s/%s" VM_LOG, start->sockets, start->guest->name);
    AUTO_CLOSE int log_fd =
        open(log_path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (log_fd < 0 || pipe2(alive, O_CLOEXEC | O_NONBLOCK) != 0)
        return error_set(err, errno, "%s", log_path);
    pid_t pid = fork();
    if (pid == 0) {
        fcntl(alive[1], F_SETFD, 0);
        exec_detached(argv, log_fd, fds, count);
    }
    close(alive[1]);
    AUTO_CLOSE int alive_fd = alive[0];
    if (pid < 0)
        return error_set(err, errno, "start a process");
    waitpid(pid, &status, 0);
    if (wait_for_it(start, alive_fd, log_path, err) != 0)
        return -1;
    if (!start->cli->console.is_quiet)
        printf("%s runs; rehost vm console %s\n", start->guest->name, start->guest->name);
    return CLI_DONE;
}

/* --- rehost-vm --- */

/* Beside this program, as the build and an installation have it; else in PATH. Caller frees. */
static char *find_rehost_vm(void)
{
    char self[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[length > 0 ? length : 0] = '\0';
    AUTO_FREE char *folder = path_parent(self);
    AUTO_FREE char *path = path_join(folder, "rehost-vm");
    return access(path, X_OK) == 0 ? take_ptr(&path) : text_copy("rehost-vm");
}

static int run_rehost_vm(const struct start *start, struct error *err)
{
    const struct run_options *options = start->options;
    AUTO_FREE char *program = find_rehost_vm();
    AUTO_FREE char *socket = text_format("%s/%s" VM_SOCKET, start->sockets, start->guest->name);
    const char *argv[12] = {program, "--control", socket};
    size_t count = 3;
    if (options->is_detached)
        argv[count++] = "--detached";
    if (options->is_snapshot)
        argv[count++] = "--snapshot";
    if (options->network) {
        argv[count++] = "--network";
        argv[count++] = options->network;
    }
    argv[count++] = "--";
    argv[count] = start->definition;
    if (options->is_detached)
        return run_detached(start, argv, NULL, 0, err);
    /* It takes this process's place: the terminal, the signals and the exit status are its own. */
    fflush(NULL);
    execvp(program, (char *const *)(uintptr_t)argv);
    return error_set(err, errno, "start %s", program);
}

/* --- QEMU --- */

static int run_in_foreground(const char *const *argv, int console, const int *fds, size_t count,
                             struct error *err)
{
    struct child child = {0};
    const struct text nothing = {0};
    const struct child_stdio stdio = {
        .in = -1, .out = -1, .err = STDERR_FILENO, .keep_fds = fds, .keep_count = count};
    int status = 0;
    if (child_start(&child, argv, &stdio, err) != 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        close(fds[i]); /* QEMU's end of the console must be the only one */
    int result = vm_console(console, &nothing, err);
    if (result != 0)
        child_stop(&child);
    if (result != 0)
        return result < 0 ? -1 : CLI_INTERRUPTED;
    if (child_wait(&child, -1, &status, err) < 0)
        return -1;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? CLI_DONE
                                                         : error_set(err, 0, "QEMU failed");
}

static size_t gather(const struct qemu_machine *machine, int *fds)
{
    size_t count = 0;
    for (size_t i = 0; i < GUEST_MAX_DISKS; i++) {
        if (machine->disk_fds[i] >= 0)
            fds[count++] = machine->disk_fds[i];
    }
    if (machine->variables_fd >= 0)
        fds[count++] = machine->variables_fd;
    return count;
}

/* The descriptors are QEMU's from here on. */
static int start_qemu(const struct start *start, const struct qemu_machine *machine,
                      const struct qemu_arguments *arguments, int ours, int theirs,
                      struct error *err)
{
    const char *const *argv = (const char *const *)(uintptr_t)arguments->items;
    int fds[GUEST_MAX_DISKS + 2];
    size_t count = gather(machine, fds);
    if (start->options->is_detached)
        return run_detached(start, argv, fds, count, err);
    fds[count++] = theirs;
    return run_in_foreground(argv, ours, fds, count, err);
}

static int run_qemu(const struct start *start, struct error *err)
{
    const struct run_options *options = start->options;
    int console[2] = {-1, -1};
    if (!options->is_detached && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, console) != 0)
        return error_set(err, errno, "make the console");
    AUTO_CLOSE int ours = console[0];
    const struct run_qemu run = {.guest = start->guest,
                                 .folder = start->folder,
                                 .sockets = start->sockets,
                                 .network = options->network,
                                 .is_kvm = start->is_kvm,
                                 .is_snapshot = options->is_snapshot,
                                 .console_fd = console[1]};
    struct qemu_machine machine;
    struct qemu_arguments arguments = {0};
    int result = run_qemu_open(&run, &machine, &arguments, err);
    if (*run_qemu_misses(start->guest))
        log_warning(&start->cli->console.log, "QEMU does not hold %s",
                    run_qemu_misses(start->guest));
    if (result == 0)
        result = start_qemu(start, &machine, &arguments, ours, console[1], err);
    else
        run_qemu_close(&machine);
    qemu_arguments_fini(&arguments);
    return result;
}

/* --- */

static int check_not_running(const struct start *start, struct error *err)
{
    struct vm_socket vm;
    if (vm_socket_open(&vm, start->sockets, start->guest->name, NULL) != 0)
        return 0;
    vm_socket_fini(&vm);
    return error_set(err, EBUSY, "a machine of the name %s runs already", start->guest->name);
}

static int run(struct cli *cli, const void *values, const struct option_list *operands,
               struct error *err)
{
    struct start start = {.options = values, .cli = cli};
    int result = load(&start, operands->items[0], err);
    if (result == 0)
        result = check_not_running(&start, err);
    int choice = result == 0 ? choose(&start, err) : -1;
    if (choice >= 0)
        result = choice ? run_rehost_vm(&start, err) : run_qemu(&start, err);
    start_fini(&start);
    return choice < 0 ? -1 : result;
}

const struct command command_run = {
    .name = "run",
    .arguments = "DIR | GUEST.JSON",
    .summary = "start a machine, its console on this terminal",
    .description =
        "^] ends it, as if the power was cut; powering off inside ends it too. It runs in\n"
        "rehost-vm where KVM can run a guest, else in QEMU, which says why.\n",
    .options = run_options,
    .options_size = sizeof(struct run_options),
    .min_operands = 1,
    .max_operands = 1,
    .run = run,
};
