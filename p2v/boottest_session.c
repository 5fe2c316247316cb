/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * One start of a machine in QEMU. Everything that is read here is the guest's or QEMU's, bounded,
 * and never waited for: a guest that floods its console or network only loses its own time.
 */
#include "p2v/boottest_session.h"

#include "base/checked.h"
#include "base/clock.h"
#include "p2v/agent/inventory_file.h"
#include "p2v/boottest_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define ERRORS_LIMIT ((size_t)16 << 10) /* of QEMU's stderr */
#define FRAMES_AT_ONCE 64               /* of one interface, before the others have their turn */
#define TICK_MS 200
#define ASK_MS 1000
#define STOPPED_MS 1000   /* for what a machine still says after it stopped */
#define EXIT_MS 5000      /* for QEMU to end after it closed its output */
#define ANONYMOUS_ROUND 3 /* after login every third question is an anonymous one */

static const struct boot_pace kvm_pace = {
    .whole = 180000, .network = 20000, .settle = 2000, .silence = 30000};
static const struct boot_pace tcg_pace = {
    .whole = 600000, .network = 60000, .settle = 5000, .silence = 120000};

static void fill(int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        fds[i] = -1;
}

struct boot_session *boot_session_new(const struct guest *guest, const char *folder,
                                      const struct boot_options *options, bool is_kvm)
{
    struct boot_session *session = memory_new(1, sizeof(*session));
    session->guest = guest;
    session->folder = folder;
    session->options = options;
    session->is_kvm = is_kvm;
    session->pace = is_kvm ? kvm_pace : tcg_pace;
    if (options->timeout_seconds > 0)
        session->pace.whole = (int64_t)options->timeout_seconds * 1000;
    session->console_fd = session->errors_fd = -1;
    session->machine.variables_fd = -1;
    fill(session->machine.disk_fds, GUEST_MAX_DISKS);
    fill(session->machine.network_fds, GUEST_MAX_NICS);
    fill(session->network_fds, GUEST_MAX_NICS);
    return session;
}

static void close_all(int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        own_close(&fds[i]);
        fds[i] = -1;
    }
}

/* What only QEMU needs: from its start on its own copies count, and ours would hide its end. */
static void close_machine(struct qemu_machine *machine)
{
    close_all(machine->disk_fds, GUEST_MAX_DISKS);
    close_all(machine->network_fds, GUEST_MAX_NICS);
    close_all(&machine->variables_fd, 1);
}

void boot_session_free(struct boot_session *session)
{
    if (!session)
        return;
    child_stop(&session->child);
    close_machine(&session->machine);
    close_all(session->network_fds, GUEST_MAX_NICS);
    own_close(&session->console_fd);
    own_close(&session->errors_fd);
    text_fini(&session->errors);
    boot_console_fini(&session->console);
    free(session);
}

double boot_session_seconds(const struct boot_session *session)
{
    return (double)(clock_ms() - session->started_ms) / 1000;
}

/* --- start --------------------------------------------------------------------------------------
 */

/* One processor is emulated: more of them race in emulation, and none of them boots faster. */
static unsigned choose_cpus(const struct boot_session *session)
{
    const struct guest *guest = session->guest;
    uint64_t cpus = (uint64_t)guest->sockets * guest->cores * guest->threads;
    return session->is_kvm && cpus > 1 && sysconf(_SC_NPROCESSORS_ONLN) > 1 ? 2 : 1;
}

static int open_network(struct boot_session *session, struct error *err)
{
    for (size_t i = 0; i < session->guest->nic_count; i++) {
        int pair[2];
        if (net_peer_init(&session->peers[i], session->guest, i, err) != 0)
            return -1;
        if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
            return error_set(err, errno, "socketpair");
        session->network_fds[i] = pair[0];
        session->machine.network_fds[i] = pair[1];
        session->peer_count++;
    }
    return 0;
}

static int open_files(struct boot_session *session, struct error *err)
{
    const struct guest *guest = session->guest;
    struct qemu_machine *machine = &session->machine;
    const char *scratch = session->options->scratch;
    for (size_t i = 0; i < guest->disk_count; i++) {
        machine->disk_fds[i] = boot_overlay_open(&guest->disks[i], session->folder, scratch, err);
        if (machine->disk_fds[i] < 0)
            return -1;
    }
    if (guest->firmware != GUEST_FIRMWARE_UEFI)
        return 0;
    machine->variables_fd =
        boot_variables_open(guest, session->folder, scratch, &machine->firmware_path, err);
    return machine->variables_fd < 0 ? -1 : 0;
}

static int open_all(struct boot_session *session, struct error *err)
{
    struct qemu_machine *machine = &session->machine;
    machine->guest = session->guest;
    machine->accelerator = session->is_kvm ? "kvm" : "tcg";
    machine->memory_bytes =
        qemu_choose_memory(session->guest->memory_bytes, inventory_memory("", 0, "MemAvailable"));
    machine->cpus = choose_cpus(session);
    return open_files(session, err) != 0 ? -1 : open_network(session, err);
}

static size_t gather_fds(const struct boot_session *session, int *fds)
{
    const struct qemu_machine *machine = &session->machine;
    size_t count = 0;
    for (size_t i = 0; i < session->guest->disk_count; i++)
        fds[count++] = machine->disk_fds[i];
    for (size_t i = 0; i < session->guest->nic_count; i++)
        fds[count++] = machine->network_fds[i];
    if (machine->variables_fd >= 0)
        fds[count++] = machine->variables_fd;
    return count;
}

static int start_child(struct boot_session *session, char **argv, struct error *err)
{
    int out[2], errors[2], fds[GUEST_MAX_DISKS + GUEST_MAX_NICS + 1];
    if (pipe2(out, O_CLOEXEC) != 0)
        return error_set(err, errno, "pipe");
    session->console_fd = out[0];
    AUTO_CLOSE int console = out[1];
    if (pipe2(errors, O_CLOEXEC) != 0)
        return error_set(err, errno, "pipe");
    session->errors_fd = errors[0];
    AUTO_CLOSE int diagnosis = errors[1];
    fcntl(session->console_fd, F_SETFL, O_NONBLOCK);
    fcntl(session->errors_fd, F_SETFL, O_NONBLOCK);
    struct child_stdio stdio = {.in = -1, .out = console, .err = diagnosis, .keep_fds = fds};
    stdio.keep_count = gather_fds(session, fds);
    return child_start(&session->child, (const char *const *)argv, &stdio, err);
}

int boot_session_start(struct boot_session *session, struct error *err)
{
    struct qemu_arguments arguments = {0};
    int result = open_all(session, err);
    if (result == 0)
        result = qemu_arguments_make(&arguments, &session->machine, err);
    session->started_ms = session->heard_ms = clock_ms();
    if (result == 0)
        result = start_child(session, arguments.items, err);
    qemu_arguments_fini(&arguments);
    close_machine(&session->machine);
    return result;
}

/* --- listening ----------------------------------------------------------------------------------
 */

/* 1: read something; 0: nothing there; -1: the other end is closed. */
static int read_some(int fd, char *buffer, size_t size, size_t *length)
{
    ssize_t got = read(fd, buffer, size);
    *length = got > 0 ? (size_t)got : 0;
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    return got > 0 ? 1 : -1;
}

/* False once QEMU closed its output: it ends. */
static bool hear_console(struct boot_session *session)
{
    char buffer[16384];
    size_t length;
    int state = read_some(session->console_fd, buffer, sizeof(buffer), &length);
    if (state <= 0)
        return state == 0;
    enum boot_stage before = session->console.stage;
    boot_console_feed(&session->console, buffer, length);
    session->heard_ms = clock_ms();
    if (session->console.stage > before && session->options->progress)
        session->options->progress(session->options->context, session->console.stage);
    return true;
}

static void hear_errors(struct boot_session *session)
{
    char buffer[4096];
    size_t length;
    int state = read_some(session->errors_fd, buffer, sizeof(buffer), &length);
    size_t room = ERRORS_LIMIT - session->errors.length;
    if (state > 0)
        text_add_bytes(&session->errors, buffer, min_u64(length, room));
    if (state < 0)
        close_all(&session->errors_fd, 1);
}

/* What cannot be sent at once is not sent: a guest that does not read must not hold us up. */
static void send_frame(int fd, const uint8_t *frame, size_t length)
{
    if (length > 0 && send(fd, frame, length, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        return;
}

static void hear_network(struct boot_session *session, size_t index)
{
    uint8_t frame[NET_FRAME_LIMIT];
    uint8_t reply[NET_REPLY_SIZE];
    for (int i = 0; i < FRAMES_AT_ONCE; i++) {
        ssize_t got = recv(session->network_fds[index], frame, sizeof(frame), MSG_DONTWAIT);
        if (got <= 0)
            return;
        send_frame(session->network_fds[index], reply,
                   net_peer_receive(&session->peers[index], frame, (size_t)got, reply));
    }
}

static void ask(struct boot_session *session, int64_t now)
{
    uint8_t question[NET_REPLY_SIZE];
    if (now - session->asked_ms < ASK_MS)
        return;
    session->asked_ms = now;
    session->rounds++;
    bool is_anonymous =
        session->console.stage == BOOT_LOGIN && session->rounds % ANONYMOUS_ROUND == 0;
    for (size_t i = 0; i < session->peer_count; i++)
        for (size_t j = 0; j < net_peer_questions(&session->peers[i]); j++)
            send_frame(session->network_fds[i], question,
                       net_peer_ask(&session->peers[i], j, is_anonymous, question));
}

/* --- deciding when it is over -------------------------------------------------------------------
 */

/* Also true for a machine without addresses; then *expects is false. */
static bool network_is_up(const struct boot_session *session, bool *expects)
{
    bool is_up = true;
    *expects = false;
    for (size_t i = 0; i < session->peer_count; i++) {
        struct boot_nic_result result;
        net_peer_report(&session->peers[i], &result);
        is_up = is_up && result.is_ok;
        *expects = *expects || session->peers[i].nic->address_count > 0;
    }
    return is_up;
}

static bool has_sign_of_life(const struct boot_session *session)
{
    bool has = session->console.stage >= BOOT_KERNEL;
    for (size_t i = 0; i < session->peer_count; i++)
        has = has || session->peers[i].is_seen;
    return has;
}

static void note_times(struct boot_session *session, bool is_network_up, int64_t now)
{
    if (!session->login_ms && session->console.stage == BOOT_LOGIN)
        session->login_ms = now;
    if (!session->stopped_ms && session->console.stop != BOOT_STOP_NONE)
        session->stopped_ms = now;
    if (!session->network_ms && is_network_up)
        session->network_ms = now;
}

static bool is_settled(const struct boot_session *session, bool is_network_up, int64_t now)
{
    const struct boot_pace *pace = &session->pace;
    if (!session->login_ms)
        return false;
    return now - session->login_ms >= (is_network_up ? pace->settle : pace->network);
}

static enum boot_end decide(struct boot_session *session, int64_t now)
{
    const struct boot_pace *pace = &session->pace;
    bool expects, is_up = network_is_up(session, &expects);
    int64_t age = now - session->started_ms;
    note_times(session, is_up && expects, now);
    if (session->options->interrupt && atomic_load(session->options->interrupt))
        return BOOT_END_INTERRUPTED;
    if (session->stopped_ms)
        return now - session->stopped_ms >= STOPPED_MS ? BOOT_END_STOPPED : BOOT_END_NONE;
    if (is_settled(session, is_up, now))
        return BOOT_END_LOGIN;
    if (session->login_ms)
        return BOOT_END_NONE;
    int64_t quiet =
        now - (session->heard_ms > session->network_ms ? session->heard_ms : session->network_ms);
    if (session->network_ms && quiet >= pace->silence)
        return BOOT_END_SILENT;
    if (pace->start && age >= pace->start && !has_sign_of_life(session))
        return BOOT_END_NO_START;
    return age >= pace->whole ? BOOT_END_TIMEOUT : BOOT_END_NONE;
}

static size_t gather_polls(const struct boot_session *session, struct pollfd *polls)
{
    polls[0] = (struct pollfd){session->console_fd, POLLIN, 0};
    polls[1] = (struct pollfd){session->errors_fd, POLLIN, 0};
    for (size_t i = 0; i < session->peer_count; i++)
        polls[2 + i] = (struct pollfd){session->network_fds[i], POLLIN, 0};
    return 2 + session->peer_count;
}

/* One round of listening; false once QEMU ends. */
static bool listen_once(struct boot_session *session)
{
    struct pollfd polls[2 + GUEST_MAX_NICS];
    bool is_alive = true;
    size_t count = gather_polls(session, polls);
    if (poll(polls, count, TICK_MS) > 0) {
        for (size_t i = 0; i < session->peer_count; i++)
            if (polls[2 + i].revents)
                hear_network(session, i);
        if (polls[1].revents)
            hear_errors(session);
        if (polls[0].revents)
            is_alive = hear_console(session);
    }
    if (session->console.stage >= BOOT_ROOT || has_sign_of_life(session))
        ask(session, clock_ms());
    return is_alive;
}

/* What is still in the pipes of a QEMU that ended. */
static int finish_exited(struct boot_session *session, struct error *err)
{
    int ended = child_wait(&session->child, EXIT_MS, &session->exit_status, err);
    if (ended == 0)
        return error_set(err, ETIMEDOUT, QEMU_PROGRAM " closed its output and did not end");
    for (int i = 0; session->errors_fd >= 0 && i < 16; i++)
        hear_errors(session);
    return ended < 0 ? -1 : 0;
}

/* One thread's time on a processor and its time of waiting for one, in nanoseconds. */
static void add_schedule(pid_t pid, const char *thread, uint64_t *ran, uint64_t *waited)
{
    unsigned long long numbers[2];
    AUTO_FREE char *path = text_format("/proc/%d/task/%s/schedstat", (int)pid, thread);
    FILE *file = fopen(path, "re");
    if (!file)
        return;
    if (fscanf(file, "%llu %llu", &numbers[0], &numbers[1]) == 2) {
        *ran += numbers[0];
        *waited += numbers[1];
    }
    fclose(file);
}

/* A machine that is given too little time fails by its own time-outs, and not for its own fault. */
static unsigned measure_starved(pid_t pid)
{
    uint64_t ran = 0, waited = 0;
    AUTO_FREE char *path = text_format("/proc/%d/task", (int)pid);
    DIR *folder = opendir(path);
    if (!folder)
        return 0;
    for (struct dirent *entry; (entry = readdir(folder));)
        if (entry->d_name[0] != '.')
            add_schedule(pid, entry->d_name, &ran, &waited);
    closedir(folder);
    return ran + waited ? (unsigned)(waited * 100 / (ran + waited)) : 0;
}

int boot_session_watch(struct boot_session *session, enum boot_end *end, struct error *err)
{
    *end = BOOT_END_NONE;
    while (*end == BOOT_END_NONE) {
        if (listen_once(session))
            *end = decide(session, clock_ms());
        else
            *end = BOOT_END_EXITED;
    }
    if (*end == BOOT_END_EXITED && finish_exited(session, err) != 0)
        return -1;
    if (*end != BOOT_END_EXITED)
        session->starved = measure_starved(session->child.pid);
    child_stop(&session->child);
    return 0;
}
