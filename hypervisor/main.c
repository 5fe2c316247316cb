/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The program `rehost-vm`: runs the machine of a definition, its console on stdin and stdout.
 *
 * Exit status: 0 the guest powered off; 1 it could not be started or KVM gave up; 2 wrong usage;
 * 130 it was ended from outside (^], SIGINT, SIGTERM, SIGHUP). With --test-exit also what the
 * guest wrote to the test port.
 */
#include "base/bytes.h"
#include "base/checked.h"
#include "base/io.h"
#include "base/own.h"
#include "base/text.h"
#include "hypervisor/control.h"
#include "hypervisor/sandbox.h"
#include "hypervisor/terminal.h"
#include "hypervisor/vm.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_INTERRUPTED = 130 };

struct settings {
    const char *definition, *control;
    struct vm_options vm;
    uint64_t memory_bytes;
    unsigned cpus;
    bool allow_outside, is_snapshot, is_detached, is_verbose, wants_help, wants_version;
};

/* --- options ---------------------------------------------------------------------------------- */

enum kind { FLAG, TEXT, SIZE, COUNT };

#define ROW(kind, name, argument, member, help)                                                    \
    {                                                                                              \
        name, argument, help, kind, offsetof(struct settings, member)                              \
    }

static const struct row {
    const char *name, *argument, *help;
    enum kind kind;
    size_t offset; /* of bool, const char *, uint64_t, unsigned */
} rows[] = {
    ROW(FLAG, "snapshot", "", is_snapshot, "discard every write when the machine ends"),
    ROW(TEXT, "network", " SPEC", vm.network, "of every card: user, tap:NAME, fd:N or none"),
    ROW(SIZE, "memory", " SIZE", memory_bytes, "instead of the definition's (as 512M)"),
    ROW(COUNT, "cpus", " N", cpus, "instead of the definition's"),
    ROW(TEXT, "kernel", " FILE", vm.kernel, "start this Linux kernel (bzImage)"),
    ROW(TEXT, "initrd", " FILE", vm.initrd, "its initial RAM disk"),
    ROW(TEXT, "append", " TEXT", vm.command_line, "its command line"),
    ROW(TEXT, "bios", " FILE", vm.firmware, "instead of the system's SeaBIOS"),
    ROW(FLAG, "nested", "", vm.has_nesting, "the guest may run virtual machines itself"),
    ROW(FLAG, "allow-outside", "", allow_outside, "disks may lie outside of its folder"),
    ROW(TEXT, "control", " PATH", control, "make a socket that rules the machine"),
    ROW(FLAG, "detached", "", is_detached, "the console is that socket's"),
    ROW(FLAG, "test-exit", "", vm.has_test_exit, "the guest may end with a status (port 0xf4)"),
    ROW(FLAG, "verbose", "", is_verbose, "-v: say on stderr what happens"),
    ROW(FLAG, "help", "", wants_help, "show this"),
    ROW(FLAG, "version", "", wants_version, "show the version"),
};

static void format_help(struct text *out)
{
    text_add(out, "Usage: rehost-vm [OPTIONS] GUEST.JSON | DIR\n"
                  "Runs a virtual machine with its console on stdin and stdout; ^] ends it.\n\n");
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        size_t start = out->length;
        text_addf(out, "  --%s%s", rows[i].name, rows[i].argument);
        size_t width = out->length - start;
        text_addf(out, "%*s%s\n", width < 24 ? (int)(24 - width) : 1, "", rows[i].help);
    }
}

/* "2G": with K, M, G or T. */
static bool parse_size(const char *text, uint64_t *bytes)
{
    static const char units[] = "KMGT";
    char *end = NULL;
    errno = 0;
    unsigned long long number = isdigit((unsigned char)text[0]) ? strtoull(text, &end, 10) : 0;
    if (number == 0 || errno != 0)
        return false;
    const char *unit = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
    if (*end && (!unit || end[1]))
        return false;
    return checked_mul(number, unit ? UINT64_C(1024) << 10 * (unit - units) : 1, bytes);
}

static bool parse_count(const char *text, unsigned *count)
{
    char *end = NULL;
    unsigned long number = isdigit((unsigned char)text[0]) ? strtoul(text, &end, 10) : 0;
    *count = (unsigned)number;
    return number > 0 && number <= 4096 && *end == '\0';
}

static int set_option(struct settings *settings, const struct row *row, const char *argument,
                      struct error *err)
{
    void *value = (char *)settings + row->offset;
    switch (row->kind) {
    case FLAG:
        *(bool *)value = true;
        return 0;
    case TEXT:
        *(const char **)value = argument;
        return 0;
    case SIZE:
        return parse_size(argument, value)
                   ? 0
                   : error_set(err, 0, "--%s: '%s' is not a size (as 512M)", row->name, argument);
    case COUNT:
        return parse_count(argument, value)
                   ? 0
                   : error_set(err, 0, "--%s: '%s' is not a number from 1", row->name, argument);
    }
    return -1;
}

static int check_settings(const struct settings *settings, struct error *err)
{
    if (settings->wants_help || settings->wants_version)
        return 0;
    if ((settings->vm.initrd || settings->vm.command_line) && !settings->vm.kernel)
        return error_set(err, 0, "--initrd and --append belong to --kernel");
    if (settings->vm.kernel && settings->vm.firmware)
        return error_set(err, 0, "--kernel and --bios exclude each other");
    if (settings->is_detached && !settings->control)
        return error_set(err, 0, "--detached needs --control");
    if (!settings->definition && !settings->vm.kernel && !settings->vm.firmware)
        return error_set(err, 0, "name a machine's definition, guest.json");
    return 0;
}

/* getopt_long has told of its own errors; others are in err. */
static int parse(struct settings *settings, int argc, char *argv[], struct error *err)
{
    struct option options[ARRAY_LENGTH(rows) + 1] = {0};
    int found, index = 0;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
        options[i] = (struct option){.name = rows[i].name, .has_arg = rows[i].kind != FLAG};
    while ((found = getopt_long(argc, argv, "v", options, &index)) != -1) {
        if (found == 'v')
            settings->is_verbose = true;
        else if (found != 0 || set_option(settings, &rows[index], optarg, err) != 0)
            return -1;
    }
    if (argc - optind > 1)
        return error_set(err, 0, "one machine at a time: '%s' is too much", argv[optind + 1]);
    settings->definition = argv[optind];
    return check_settings(settings, err);
}

/* --- the definition --------------------------------------------------------------------------- */

struct source {
    char *folder, *name; /* owned */
};

static void source_fini(struct source *source)
{
    free(source->folder);
    free(source->name);
}

static void find_definition(const char *path, struct source *source)
{
    struct stat status;
    const char *slash = strrchr(path, '/');
    if (stat(path, &status) == 0 && S_ISDIR(status.st_mode)) {
        source->folder = text_copy(path);
        source->name = text_copy("guest.json");
    } else {
        source->folder = !slash          ? text_copy(".")
                         : slash == path ? text_copy("/")
                                         : text_format("%.*s", (int)(slash - path), path);
        source->name = text_copy(slash ? slash + 1 : path);
    }
}

/* A machine without disks, for a kernel or a firmware alone. */
static struct guest *read_guest(const struct settings *settings, struct source *source,
                                struct error *err)
{
    if (!settings->definition) {
        source->folder = text_copy(".");
        return guest_new("rehost-vm");
    }
    find_definition(settings->definition, source);
    AUTO_CLOSE int fd = open(source->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        error_set(err, errno, "open %s", source->folder);
        return NULL;
    }
    struct guest *guest = guest_read(fd, source->name, settings->allow_outside, err);
    if (!guest)
        error_wrap(err, "%s", settings->definition);
    return guest;
}

static int change_guest(const struct settings *settings, struct guest *guest, struct error *err)
{
    if (settings->memory_bytes)
        guest->memory_bytes = settings->memory_bytes;
    if (settings->cpus) {
        guest->sockets = guest->threads = 1;
        guest->cores = settings->cpus;
    }
    return guest_validate(guest, settings->allow_outside, err);
}

/* --- running ---------------------------------------------------------------------------------- */

static struct vm *volatile signalled_vm;

static void on_signal(int number)
{
    (void)number;
    if (signalled_vm)
        vm_stop(signalled_vm);
}

static void handle_signals(struct vm *vm)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    signalled_vm = vm;
    for (size_t i = 0; i < ARRAY_LENGTH(numbers); i++)
        sigaction(numbers[i], &action, NULL);
    signal(SIGPIPE, SIG_IGN); /* a console that nobody reads any more is no reason to end */
}

static bool is_verbose, has_terminal; /* looked at once: a vCPU's thread may not ask */

/* A whole line in one write, from any thread; the terminal may be raw. */
static void print_line(const char *line)
{
    char text[1200];
    int length = snprintf(text, sizeof(text), "rehost-vm: %s%s\n", line, has_terminal ? "\r" : "");
    if (length >= (int)sizeof(text))
        length = (int)sizeof(text) - 1;
    ssize_t ignored = write(STDERR_FILENO, text, (size_t)length);
    (void)ignored;
}

static void emit(struct log *log, enum log_level level, const char *line)
{
    (void)log;
    if (level == LOG_LEVEL_WARNING || is_verbose)
        print_line(line);
}

static void on_quit(void *context)
{
    print_line("ended by ^]");
    vm_stop(context);
}

static int exit_status(const struct vm_result *result)
{
    switch (result->end) {
    case VM_END_POWER_OFF:
        return EXIT_DONE;
    case VM_END_STOPPED:
        return EXIT_INTERRUPTED;
    case VM_END_EXIT:
        return result->value & 0xff;
    case VM_END_FAILED:
        print_line(result->error.text);
        return EXIT_FAILED;
    }
    return EXIT_FAILED;
}

/* What a machine has beside itself; the pointers are owned. */
struct machine {
    struct control *control;
    struct vm *vm;
    struct terminal terminal;
};

static void machine_fini(struct machine *machine)
{
    control_stop(machine->control);
    vm_free(machine->vm);
    control_free(machine->control);
    terminal_close(&machine->terminal);
}

static int make_machine(struct machine *machine, struct settings *settings, struct error *err)
{
    struct vm_options *vm = &settings->vm;
    if (settings->control) {
        machine->control = control_new(settings->control, vm->log, err);
        if (!machine->control)
            return -1;
    }
    if (settings->is_detached)
        vm->console = control_console(machine->control);
    else if (terminal_open(&machine->terminal, err) == 0)
        vm->console = (struct console_ends){.in = machine->terminal.in, .out = STDOUT_FILENO};
    else
        return -1;
    machine->vm = vm_new(vm, err);
    if (!machine->vm)
        return -1;
    return machine->control ? control_start(machine->control, machine->vm, &vm->guest->limits, err)
                            : 0;
}

static int run_machine(struct machine *machine, struct error *err)
{
    struct vm_result result;
    int status = -1;
    handle_signals(machine->vm);
    if (terminal_start(&machine->terminal, vm_loop(machine->vm), on_quit, machine->vm, err) == 0 &&
        sandbox_close(SANDBOX_UID, SANDBOX_GID, err) == 0 &&
        sandbox_enter(SANDBOX_LOOP, err) == 0 && vm_run(machine->vm, &result, err) == 0)
        status = exit_status(&result);
    signalled_vm = NULL;
    return status;
}

static int run(struct settings *settings, struct error *err)
{
    static struct log log = {emit};
    AUTO(source) source = {0};
    AUTO_PTR(guest) guest = read_guest(settings, &source, err);
    AUTO(machine) machine = {.terminal = {.in = -1, .feed = -1}};
    const char *temporary = getenv("TMPDIR");
    settings->vm.guest = guest;
    settings->vm.folder = source.folder;
    settings->vm.log = &log;
    is_verbose = settings->is_verbose;
    if (settings->is_snapshot)
        settings->vm.snapshot_folder = temporary && temporary[0] ? temporary : "/var/tmp";
    if (!guest || change_guest(settings, guest, err) != 0 ||
        make_machine(&machine, settings, err) != 0)
        return -1;
    return run_machine(&machine, err);
}

static int print_facts(const struct settings *settings, struct error *err)
{
    AUTO(text) out = {0};
    if (settings->wants_help)
        format_help(&out);
    else
        text_add(&out, "rehost-vm " REHOST_VERSION "\n");
    if (io_write(STDOUT_FILENO, out.data, out.length, err) == 0)
        return EXIT_DONE;
    print_line(err->text);
    return EXIT_FAILED;
}

int main(int argc, char *argv[])
{
    struct settings settings = {0};
    struct error err = {0};
    has_terminal = isatty(STDERR_FILENO);
    if (parse(&settings, argc, argv, &err) != 0) {
        if (err.text[0])
            print_line(err.text);
        fprintf(stderr, "Try 'rehost-vm --help'.\n");
        return EXIT_USAGE;
    }
    if (settings.wants_help || settings.wants_version)
        return print_facts(&settings, &err);
    int status = run(&settings, &err);
    if (status >= 0)
        return status;
    print_line(err.text);
    return EXIT_FAILED;
}
