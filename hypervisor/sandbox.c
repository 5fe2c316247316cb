/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The lists of system calls, made into filters by libseccomp, and the way down from root. What the
 * C library does by itself is thought of: memory, locks, a thread's end, signals, clocks where the
 * kernel's own page has none. Memory can never be made executable.
 */
#include "hypervisor/sandbox.h"

#include "base/bytes.h"

#include <asm/ioctls.h>
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <seccomp.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef __has_feature
#define __has_feature(feature) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define HAS_ADDRESS_SANITIZER 1
#define FIRST_CALLS SCMP_SYS(read), SCMP_SYS(sigaltstack), SCMP_SYS(prctl), SCMP_SYS(readlink)
#else
#define HAS_ADDRESS_SANITIZER 0
#define FIRST_CALLS SCMP_SYS(read)
#endif

/* Every thread: locks, clocks, memory (a first allocation counts the CPUs), signals within the
 * process, the end. */
static const int common_calls[] = {FIRST_CALLS,
                                   SCMP_SYS(write),
                                   SCMP_SYS(poll),
                                   SCMP_SYS(futex),
                                   SCMP_SYS(sched_yield),
                                   SCMP_SYS(clock_gettime),
                                   SCMP_SYS(clock_nanosleep),
                                   SCMP_SYS(getrandom),
                                   SCMP_SYS(munmap),
                                   SCMP_SYS(mremap),
                                   SCMP_SYS(madvise),
                                   SCMP_SYS(brk),
                                   SCMP_SYS(sched_getaffinity),
                                   SCMP_SYS(rt_sigprocmask),
                                   SCMP_SYS(rt_sigreturn),
                                   SCMP_SYS(restart_syscall),
                                   SCMP_SYS(getpid),
                                   SCMP_SYS(gettid),
                                   SCMP_SYS(tgkill),
                                   SCMP_SYS(rseq),
                                   SCMP_SYS(exit),
                                   SCMP_SYS(exit_group)};

/* Calls of which only some arguments are allowed; they are in every list. */
#define ARGUMENT_CALLS 3 /* ioctl, mmap, mprotect */

/* A guest's write to a register can start or stop a device. */
static const int vcpu_calls[] = {SCMP_SYS(epoll_ctl), SCMP_SYS(timerfd_settime)};

static const int io_calls[] = {SCMP_SYS(ppoll),           SCMP_SYS(pread64), SCMP_SYS(pwrite64),
                               SCMP_SYS(preadv),          SCMP_SYS(pwritev), SCMP_SYS(fsync),
                               SCMP_SYS(fdatasync),       SCMP_SYS(lseek),   SCMP_SYS(fallocate),
                               SCMP_SYS(sync_file_range), SCMP_SYS(fstat),   SCMP_SYS(newfstatat)};

/* accept4 is of the control socket, which listens already; pread64 of what the machine uses. */
static const int loop_calls[] = {
    SCMP_SYS(epoll_wait),  SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_ctl), SCMP_SYS(timerfd_settime),
    SCMP_SYS(readv),       SCMP_SYS(writev),      SCMP_SYS(recvfrom),  SCMP_SYS(recvmsg),
    SCMP_SYS(sendto),      SCMP_SYS(sendmsg),     SCMP_SYS(accept4),   SCMP_SYS(shutdown),
    SCMP_SYS(fcntl),       SCMP_SYS(close),       SCMP_SYS(pread64),   SCMP_SYS(fsync),
    SCMP_SYS(rt_sigaction)};

/* What running, a reset, an interrupt and a device's registers lead to. */
static const unsigned machine_ioctls[] = {
    KVM_RUN,           KVM_IRQ_LINE,      KVM_SIGNAL_MSI, KVM_IOEVENTFD,
    KVM_SET_IRQCHIP,   KVM_SET_PIT2,      KVM_GET_REGS,   KVM_SET_REGS,
    KVM_GET_SREGS,     KVM_SET_SREGS,     KVM_SET_FPU,    KVM_SET_XCRS,
    KVM_SET_DEBUGREGS, KVM_SET_LAPIC,     KVM_SET_MSRS,   KVM_SET_VCPU_EVENTS,
    KVM_SET_MP_STATE,  KVM_KVMCLOCK_CTRL, TUNSETOFFLOAD};

static const unsigned io_ioctls[] = {KVM_SIGNAL_MSI, KVM_IRQ_LINE};
static const unsigned terminal_ioctls[] = {TCGETS, TCSETS, TCSETSW, TCSETSF, TIOCGWINSZ, FIONREAD};

struct list {
    const int *calls;
    size_t count;
    const unsigned *ioctls;
    size_t ioctl_count;
};

static const struct list lists[SANDBOX_KINDS] = {
    [SANDBOX_VCPU] = {vcpu_calls, ARRAY_LENGTH(vcpu_calls), NULL, 0},
    [SANDBOX_IO] = {io_calls, ARRAY_LENGTH(io_calls), io_ioctls, ARRAY_LENGTH(io_ioctls)},
    [SANDBOX_LOOP] = {loop_calls, ARRAY_LENGTH(loop_calls), terminal_ioctls,
                      ARRAY_LENGTH(terminal_ioctls)},
};

static _Atomic bool is_process_closed;
static _Thread_local bool is_thread_entered;

#if HAS_ADDRESS_SANITIZER
/* Asked before leaks are looked for at the end, which takes a thread that traces this one. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
    return atomic_load(&is_process_closed);
}
#endif

size_t sandbox_count(enum sandbox_kind kind)
{
    return ARRAY_LENGTH(common_calls) + ARGUMENT_CALLS + lists[kind].count;
}

/* --- the process ----------------------------------------------------------------------------- */

static int drop_root(uid_t uid, gid_t gid, struct error *err)
{
    if (geteuid() != 0 && getuid() != 0)
        return 0;
    if (uid == 0 || gid == 0)
        return error_set(err, EINVAL, "sandbox: user %u, group %u", uid, gid);
    if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
        return error_set(err, errno, "sandbox: become user %u, group %u", uid, gid);
    if (setuid(0) == 0 || geteuid() == 0)
        return error_set(err, EPERM, "sandbox: root came back");
    return 0;
}

int sandbox_close(uid_t uid, gid_t gid, struct error *err)
{
    const struct rlimit none = {0, 0};

    if (drop_root(uid, gid, err) < 0)
        return -1;
    /* A core would be the guest's memory. */
    if (setrlimit(RLIMIT_CORE, &none) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return error_set(err, errno, "sandbox: no core dumps");
    atomic_store(&is_process_closed, true);
    return 0;
}

/* --- a thread -------------------------------------------------------------------------------- */

/* Capabilities of who is not root (ambient, of the file) are the thread's own to give up. */
static int drop_capabilities(struct error *err)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};

    if (syscall(SYS_capset, &header, none) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return error_set(err, errno, "sandbox: give up capabilities");
    return 0;
}

static int add_calls(scmp_filter_ctx filter, const int *calls, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);

        if (result < 0)
            return result;
    }
    return 0;
}

/* The kernel looks at 32 bits of a request, whatever the C library puts above them. */
static int add_ioctls(scmp_filter_ctx filter, const unsigned *requests, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
                                      SCMP_A1(SCMP_CMP_MASKED_EQ, UINT32_MAX, requests[i]));

        if (result < 0)
            return result;
    }
    return 0;
}

static int add_rules(scmp_filter_ctx filter, enum sandbox_kind kind)
{
    const struct scmp_arg_cmp no_code = SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0);
    int result = add_calls(filter, common_calls, ARRAY_LENGTH(common_calls));

    if (result == 0)
        result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, no_code);
    if (result == 0)
        result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, no_code);
    if (result == 0)
        result = add_calls(filter, lists[kind].calls, lists[kind].count);
    if (result == 0)
        result = add_ioctls(filter, lists[kind].ioctls, lists[kind].ioctl_count);
    if (result == 0 && kind != SANDBOX_IO)
        result = add_ioctls(filter, machine_ioctls, ARRAY_LENGTH(machine_ioctls));
    return result;
}

/* Sorted as a tree: some calls are made very often, and no one of them is to pay for its place. */
static int load_filter(enum sandbox_kind kind)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    int result;

    if (!filter)
        return -ENOMEM;
    result = add_rules(filter, kind);
    if (result == 0)
        result = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (result == 0)
        result = seccomp_load(filter);
    seccomp_release(filter);
    return result;
}

int sandbox_enter(enum sandbox_kind kind, struct error *err)
{
    /* The library does not promise that threads may make filters at once. */
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    int result;

    if (is_thread_entered || !atomic_load(&is_process_closed))
        return 0;
    if (drop_capabilities(err) < 0)
        return -1;
    pthread_mutex_lock(&lock);
    result = load_filter(kind);
    pthread_mutex_unlock(&lock);
    if (result < 0)
        return error_set(err, -result, "sandbox: load the list of system calls");
    is_thread_entered = true;
    return 0;
}
