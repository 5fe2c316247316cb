/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The boot test: chooses the accelerator by trying it, and makes a verdict of what one start of
 * the machine showed.
 */
#include "p2v/boottest.h"

#include "base/bytes.h"
#include "p2v/boottest_session.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * A quiet kernel may say nothing before its initramfs gives up on the root file system, which takes
 * initramfs-tools 30 s.
 */
#define KVM_START_MS 45000

/* Beyond this a failure may be the host's. */
#define STARVED_PERCENT 50

/* Whether a guest really runs under KVM here; found out once per process. */
enum kvm_verdict { KVM_UNKNOWN, KVM_RUNS, KVM_USELESS };
static _Atomic enum kvm_verdict kvm_verdict;

const char *boot_stage_name(enum boot_stage stage)
{
    static const char *const names[] = {
        [BOOT_NOTHING] = "nothing", [BOOT_LOADER] = "loader", [BOOT_KERNEL] = "kernel",
        [BOOT_ROOT] = "root",       [BOOT_LOGIN] = "login",
    };
    return (size_t)stage < ARRAY_LENGTH(names) ? names[stage] : "unknown";
}

void boot_result_fini(struct boot_result *result)
{
    text_fini(&result->console);
}

/* --- the verdict --------------------------------------------------------------------------------
 */

/* Everything that goes in here is printable already; what is too long is cut at a character. */
__attribute__((format(printf, 2, 3))) static void problem(struct boot_result *result,
                                                          const char *format, ...)
{
    char *text = result->problem;
    const size_t size = sizeof(result->problem);
    va_list list;
    va_start(list, format);
    int length = vsnprintf(text, size, format, list);
    va_end(list);
    if (length < (int)size)
        return;
    size_t end = size - 1;
    while (end > 0 && ((unsigned char)text[end - 1] & 0xc0) == 0x80)
        end--;
    if (end > 0 && (unsigned char)text[end - 1] >= 0xc0)
        text[end - 1] = '\0';
}

static const char *nic_label(const struct boot_nic_result *nic)
{
    return nic->name ? nic->name : nic->mac;
}

/* The first interface that is not as it should be. */
static void judge_network(struct boot_result *result)
{
    for (size_t i = 0; i < result->nic_count; i++) {
        const struct boot_nic_result *nic = &result->nics[i];
        if (nic->is_ok)
            continue;
        if (nic->missing[0])
            problem(result, "login reached, but %s (%s) did not answer", nic->missing,
                    nic_label(nic));
        else if (!nic->is_seen)
            problem(result, "login reached, but %s (%s) sent nothing", nic_label(nic), nic->mac);
        else
            problem(result, "login reached, but %s got no address by DHCP", nic_label(nic));
        return;
    }
    result->is_ok = true;
}

/* How far a machine came that neither reached its login prompt nor said what stopped it. */
static const char *progress_text(const struct boot_result *result)
{
    switch (result->stage) {
    case BOOT_NOTHING:
        return result->console.length ? "only the firmware's output on the serial console"
                                      : "no output on the serial console";
    case BOOT_LOADER:
        return "no output on the serial console after the boot loader's";
    case BOOT_KERNEL:
        return "the kernel started, but its root file system was not mounted";
    default:
        return "the system started, but no login prompt came";
    }
}

static void judge_unfinished(struct boot_result *result, const struct boot_session *session,
                             const char *why)
{
    const char *last = session->console.last_line;
    const char *cause = session->console.cause;
    problem(result, "%s%s%s%s%s", progress_text(result), why,
            cause[0]  ? ": "
            : last[0] ? "; the last line: "
                      : "",
            cause[0] ? cause : last, "");
}

static void judge(struct boot_result *result, const struct boot_session *session, enum boot_end end)
{
    char text[sizeof(result->problem)];
    switch (end) {
    case BOOT_END_LOGIN:
        judge_network(result);
        break;
    case BOOT_END_STOPPED:
        result->is_emergency = session->console.stop >= BOOT_STOP_INITRAMFS;
        boot_console_describe_stop(&session->console, text, sizeof(text));
        problem(result, "%s", text);
        break;
    case BOOT_END_EXITED:
        judge_unfinished(result, session, "; the machine powered off or restarted");
        break;
    case BOOT_END_SILENT:
        judge_unfinished(result, session, ", though the network is up");
        break;
    default:
        snprintf(text, sizeof(text), " within %d s", (int)(session->pace.whole / 1000));
        judge_unfinished(result, session, text);
        break;
    }
}

/* --- the rest of the result ---------------------------------------------------------------------
 */

static void report_kernel_name(struct boot_result *result, const struct boot_session *session,
                               size_t index)
{
    static const char *const drivers[] = {
        [GUEST_NIC_VIRTIO] = "virtio_net",
        [GUEST_NIC_E1000] = "e1000",
        [GUEST_NIC_E1000E] = "e1000e",
        [GUEST_NIC_RTL8139] = "8139cp",
    };
    const struct guest *guest = session->guest;
    enum guest_nic_model model = guest->nics[index].model;
    size_t before = 0, count = 0;
    for (size_t i = 0; i < guest->nic_count; i++) {
        before += guest->nics[i].model == model && i < index;
        count += guest->nics[i].model == model;
    }
    const char *name =
        boot_console_interface_name(&session->console, drivers[model], before, count);
    if (name)
        boot_console_copy_line(result->nics[index].kernel_name,
                               sizeof(result->nics[index].kernel_name), name, strlen(name));
}

static void report(struct boot_result *result, struct boot_session *session)
{
    result->stage = session->console.stage;
    result->seconds = boot_session_seconds(session);
    result->failed_count = session->console.failed_count;
    memcpy(result->failed, session->console.failed, sizeof(result->failed));
    result->nic_count = session->peer_count;
    for (size_t i = 0; i < session->peer_count; i++) {
        net_peer_report(&session->peers[i], &result->nics[i]);
        report_kernel_name(result, session, i);
    }
    result->console = session->console.text;
    session->console.text = (struct text){0};
}

/* --- the accelerator ----------------------------------------------------------------------------
 */

/* What QEMU complained about first, for the user: "error: failed to set MSR 0x10a to 0x69". */
static void first_error_line(const struct boot_session *session, char *buffer, size_t size)
{
    static const char program[] = QEMU_PROGRAM ": ";
    const char *line = text_string(&session->errors);
    size_t length = strcspn(line, "\r\n");
    while (line[length] && memmem(line, length, "warning: ", 9)) {
        line += length + 1;
        length = strcspn(line, "\r\n");
    }
    if (text_starts_with(line, program)) {
        line += sizeof(program) - 1;
        length -= sizeof(program) - 1;
    }
    boot_console_copy_line(buffer, size, line, length);
}

/* QEMU ended in a way that a guest cannot bring about. */
static bool is_qemu_fault(const struct boot_session *session, enum boot_end end)
{
    return end == BOOT_END_EXITED &&
           !(WIFEXITED(session->exit_status) && WEXITSTATUS(session->exit_status) == 0);
}

static int qemu_fault(const struct boot_session *session, struct error *err)
{
    char status[64], line[256];
    first_error_line(session, line, sizeof(line));
    return error_set(err, 0, QEMU_PROGRAM " %s%s%s",
                     child_status_text(session->exit_status, status, sizeof(status)),
                     line[0] ? ": " : "", line);
}

/* True when the same start is worth an attempt in emulation. */
static bool is_kvm_suspect(const struct boot_session *session, enum boot_end end)
{
    if (session->console.stage >= BOOT_ROOT || atomic_load(&kvm_verdict) == KVM_RUNS)
        return false;
    return end == BOOT_END_EXITED || end == BOOT_END_TIMEOUT || end == BOOT_END_NO_START;
}

enum attempt { ATTEMPT_FAILED = -1, ATTEMPT_DONE, ATTEMPT_KVM_USELESS };

static enum attempt give_up_kvm(const struct boot_session *session, enum boot_end end,
                                struct log *log)
{
    char line[256] = "the guest did not start";
    if (is_qemu_fault(session, end))
        first_error_line(session, line, sizeof(line));
    atomic_store(&kvm_verdict, KVM_USELESS);
    log_info(log, "boot test: KVM cannot run a guest here (%s); using software emulation", line);
    return ATTEMPT_KVM_USELESS;
}

static enum attempt attempt(const struct guest *guest, const char *folder,
                            const struct boot_options *options, bool is_kvm, bool is_trial,
                            struct boot_result *result, struct log *log, struct error *err)
{
    enum boot_end end;
    AUTO_PTR(boot_session) session = boot_session_new(guest, folder, options, is_kvm);
    session->pace.start = is_trial ? KVM_START_MS : 0;
    log_detail(log, "boot test: starting with %s", is_kvm ? "KVM" : "software emulation");
    if (boot_session_start(session, err) != 0 || boot_session_watch(session, &end, err) != 0)
        return ATTEMPT_FAILED;
    if (end == BOOT_END_INTERRUPTED) {
        error_set(err, ECANCELED, "boot test");
        return ATTEMPT_FAILED;
    }
    if (is_trial && is_kvm_suspect(session, end))
        return give_up_kvm(session, end, log);
    if (is_qemu_fault(session, end)) {
        qemu_fault(session, err);
        return ATTEMPT_FAILED;
    }
    if (is_kvm && session->console.stage >= BOOT_ROOT)
        atomic_store(&kvm_verdict, KVM_RUNS);
    snprintf(result->accelerator, sizeof(result->accelerator), "%s", is_kvm ? "kvm" : "tcg");
    report(result, session);
    judge(result, session, end);
    if (!result->is_ok && session->starved > STARVED_PERCENT)
        log_warning(log,
                    "boot test: this host is too busy for a fair test: the machine waited %u %% of "
                    "its time for a processor",
                    session->starved);
    return ATTEMPT_DONE;
}

static int run_chosen(const struct guest *guest, const char *folder,
                      const struct boot_options *options, struct boot_result *result,
                      struct log *log, struct error *err)
{
    bool is_open = !options->accelerator;
    bool is_kvm =
        is_open ? atomic_load(&kvm_verdict) != KVM_USELESS && access("/dev/kvm", R_OK | W_OK) == 0
                : strcmp(options->accelerator, "kvm") == 0;
    bool is_trial = is_open && is_kvm && atomic_load(&kvm_verdict) == KVM_UNKNOWN;
    enum attempt done = attempt(guest, folder, options, is_kvm, is_trial, result, log, err);
    if (done == ATTEMPT_KVM_USELESS)
        done = attempt(guest, folder, options, false, false, result, log, err);
    return done == ATTEMPT_DONE ? 0 : -1;
}

int boottest_run(const struct guest *guest, const char *folder, const struct boot_options *options,
                 struct boot_result *result, struct log *log, struct error *err)
{
    char place[PATH_MAX], scratch[PATH_MAX];
    struct boot_options absolute = *options;
    *result = (struct boot_result){0};
    if (options->accelerator && strcmp(options->accelerator, "kvm") != 0 &&
        strcmp(options->accelerator, "tcg") != 0)
        return error_set(err, EINVAL, "accelerator \"%s\"", options->accelerator);
    if (guest_validate(guest, true, err) != 0)
        return -1;
    if (!realpath(folder, place))
        return error_set(err, errno, "folder %s", folder);
    if (!realpath(options->scratch, scratch))
        return error_set(err, errno, "folder %s", options->scratch);
    absolute.scratch = scratch;
    return run_chosen(guest, place, &absolute, result, log, err);
}
