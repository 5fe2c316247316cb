/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The sandbox, tried in children: what each kind of thread needs works, what none may have kills,
 * and root does not come back.
 */
#include "base/bytes.h"
#include "hypervisor/sandbox.h"

#include <asm/ioctls.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* What a process has open when it closes the sandbox. */
struct open_files {
    int file, event, timer, loop, listener, client, pair[2];
};

static void open_all(struct open_files *files)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    socklen_t length = sizeof(name);

    files->file = memfd_create("disk", 0);
    files->event = eventfd(0, EFD_NONBLOCK);
    files->timer = timerfd_create(CLOCK_MONOTONIC, 0);
    files->loop = epoll_create1(0);
    files->listener = socket(AF_UNIX, SOCK_STREAM, 0);
    files->client = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, files->pair), 0);
    /* An abstract name of the kernel's choice. */
    assert_int_equal(bind(files->listener, (struct sockaddr *)&name, sizeof(sa_family_t)), 0);
    assert_int_equal(listen(files->listener, 1), 0);
    assert_int_equal(getsockname(files->listener, (struct sockaddr *)&name, &length), 0);
    assert_int_equal(connect(files->client, (struct sockaddr *)&name, length), 0);
    assert_int_equal(ftruncate(files->file, 65536), 0);
}

static void close_all(const struct open_files *files)
{
    const int fds[] = {files->file,     files->event,  files->timer,   files->loop,
                       files->listener, files->client, files->pair[0], files->pair[1]};

    for (size_t i = 0; i < ARRAY_LENGTH(fds); i++)
        close(fds[i]);
}

typedef int action(const struct open_files *files); /* 0: it worked */

/* How a child of this kind ends that does this. */
static int status_of(enum sandbox_kind kind, action *act)
{
    struct open_files files;
    int status;
    pid_t pid;

    open_all(&files);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct error err;

        if (sandbox_close(SANDBOX_UID, SANDBOX_GID, &err) < 0 || sandbox_enter(kind, &err) < 0)
            _exit(99);
        _exit(act(&files));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    close_all(&files);
    return status;
}

static void expect_works(enum sandbox_kind kind, action *act)
{
    int status = status_of(kind, act);

    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("kind %d: wait status 0x%x", kind, status);
}

static void expect_killed(enum sandbox_kind kind, const char *what, action *act)
{
    int status = status_of(kind, act);

    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
        fail_msg("kind %d, %s: wait status 0x%x", kind, what, status);
}

/* --- what works ------------------------------------------------------------------------------ */

static void on_signal(int signal)
{
    (void)signal;
}

static int use_memory_and_signals(const struct open_files *files)
{
    const size_t sizes[] = {1, 1 << 12, 1 << 18, 1 << 24};
    struct timespec time = {.tv_nsec = 1000};
    uint64_t one = 1;

    for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++) {
        char *block = malloc(sizes[i]);

        if (!block)
            return 1;
        memset(block, 1, sizes[i]);
        block = realloc(block, 2 * sizes[i]);
        free(block);
    }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){.tv_nsec = 1000}, NULL);
    if (pthread_kill(pthread_self(), SIGUSR1) != 0)
        return 2;
    if (write(files->event, &one, sizeof(one)) != sizeof(one) ||
        read(files->event, &one, sizeof(one)) != sizeof(one))
        return 3;
    return poll(&(struct pollfd){.fd = files->event, .events = POLLIN}, 1, 0) == 0 ? 0 : 4;
}

/* The call is let through: it fails by itself, on a descriptor that is no KVM's. */
static bool passes(const struct open_files *files, unsigned long request)
{
    return ioctl(files->file, request, 0) == 0 || errno == ENOTTY || errno == EINVAL;
}

static int use_as_vcpu(const struct open_files *files)
{
    struct epoll_event event = {.events = EPOLLIN};
    struct itimerspec time = {.it_value = {.tv_nsec = 1}};

    if (!passes(files, KVM_RUN) || !passes(files, KVM_SIGNAL_MSI) || !passes(files, KVM_IRQ_LINE) ||
        !passes(files, KVM_IOEVENTFD) || !passes(files, KVM_GET_REGS))
        return 10;
    if (epoll_ctl(files->loop, EPOLL_CTL_ADD, files->event, &event) < 0 ||
        timerfd_settime(files->timer, 0, &time, NULL) < 0)
        return 11;
    return use_memory_and_signals(files);
}

static int use_as_io(const struct open_files *files)
{
    char bytes[512] = {1};
    struct iovec part = {bytes, sizeof(bytes)};

    if (!passes(files, KVM_SIGNAL_MSI))
        return 10;
    if (pwrite(files->file, bytes, 512, 0) != 512 || pread(files->file, bytes, 512, 0) != 512 ||
        pwritev(files->file, &part, 1, 512) != 512 || preadv(files->file, &part, 1, 512) != 512)
        return 11;
    if (fsync(files->file) < 0 || fdatasync(files->file) < 0 ||
        fallocate(files->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) < 0)
        return 12;
    if (sync_file_range(files->file, 0, 512, SYNC_FILE_RANGE_WRITE) < 0 && errno != ESPIPE)
        return 13;
    ppoll(&(struct pollfd){.fd = files->event, .events = POLLIN}, 1, &(struct timespec){0}, NULL);
    return use_memory_and_signals(files);
}

static int use_as_loop(const struct open_files *files)
{
    struct epoll_event event = {.events = EPOLLIN};
    struct msghdr message = {0};
    char byte = 1;
    struct iovec part = {&byte, 1};
    int peer = accept4(files->listener, NULL, NULL, SOCK_CLOEXEC);

    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (peer < 0 || sendmsg(files->pair[0], &message, 0) != 1 ||
        recvmsg(files->pair[1], &message, 0) != 1 || send(files->pair[0], &byte, 1, 0) != 1 ||
        recv(files->pair[1], &byte, 1, 0) != 1 || writev(files->pair[0], &part, 1) != 1 ||
        readv(files->pair[1], &part, 1) != 1)
        return 10;
    if (epoll_ctl(files->loop, EPOLL_CTL_ADD, files->event, &event) < 0 ||
        epoll_wait(files->loop, &event, 1, 0) != 0 || fcntl(peer, F_SETFL, O_NONBLOCK) < 0)
        return 11;
    if (!passes(files, TCGETS) || !passes(files, KVM_SET_REGS))
        return 12;
    close(peer);
    return use_memory_and_signals(files);
}

static void test_each_kind_can_do_its_work(void **state)
{
    (void)state;
    signal(SIGUSR1, on_signal);
    expect_works(SANDBOX_VCPU, use_as_vcpu);
    expect_works(SANDBOX_IO, use_as_io);
    expect_works(SANDBOX_LOOP, use_as_loop);
}

/* Threads are made before, and enter and end after. */
static void *enter_and_allocate(void *context)
{
    struct error err;

    while (!atomic_load((atomic_bool *)context))
        usleep(1000);
    if (sandbox_enter(SANDBOX_IO, &err) < 0)
        _exit(98);
    for (size_t size = 1; size < 1 << 22; size *= 4)
        free(malloc(size));
    return NULL;
}

static int run_threads(void)
{
    atomic_bool go = false;
    pthread_t threads[3];
    struct error err;

    for (size_t i = 0; i < ARRAY_LENGTH(threads); i++)
        pthread_create(&threads[i], NULL, enter_and_allocate, &go);
    if (sandbox_close(SANDBOX_UID, SANDBOX_GID, &err) < 0 ||
        sandbox_enter(SANDBOX_LOOP, &err) < 0 || sandbox_enter(SANDBOX_LOOP, &err) < 0)
        return 99;
    go = true;
    for (size_t i = 0; i < ARRAY_LENGTH(threads); i++)
        pthread_join(threads[i], NULL);
    return 0;
}

static void test_threads_enter_lists_of_their_own_allocate_and_end(void **state)
{
    int status;
    pid_t pid = fork();

    (void)state;
    if (pid == 0)
        _exit(run_threads());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* --- what kills ------------------------------------------------------------------------------ */

static int do_open(const struct open_files *files)
{
    (void)files;
    return open("/dev/null", O_RDONLY);
}

static int do_execute(const struct open_files *files)
{
    char *argv[] = {NULL};

    (void)files;
    return execve("/bin/true", argv, argv);
}

static int do_socket(const struct open_files *files)
{
    (void)files;
    return socket(AF_INET, SOCK_STREAM, 0);
}

static int do_fork(const struct open_files *files)
{
    (void)files;
    return (int)syscall(SYS_fork);
}

static int do_ptrace(const struct open_files *files)
{
    (void)files;
    return (int)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static int do_executable_memory(const struct open_files *files)
{
    (void)files;
    return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == NULL;
}

static int do_make_executable(const struct open_files *files)
{
    (void)files;
    return mprotect((void *)((uintptr_t)&do_fork & ~(uintptr_t)4095), 4096,
                    PROT_READ | PROT_WRITE | PROT_EXEC);
}

static int do_new_vcpu(const struct open_files *files)
{
    return ioctl(files->file, KVM_CREATE_VCPU, 0);
}

/* The upper half of a request means nothing to the kernel, and must not to the filter. */
static int do_new_machine_with_high_bits(const struct open_files *files)
{
    return (int)syscall(SYS_ioctl, files->file, UINT64_C(0xdead00000000) | KVM_CREATE_VM, 0);
}

static int do_32_bit_call(const struct open_files *files)
{
    int result = 20; /* getpid there, writev here */

    (void)files;
    __asm__ volatile("int $0x80" : "+a"(result) : : "memory");
    return result != 0;
}

static void test_what_no_thread_needs_kills_each_kind(void **state)
{
    static const struct {
        const char *name;
        action *act;
    } forbidden[] = {
        {"open", do_open},
        {"execve", do_execute},
        {"socket", do_socket},
        {"fork", do_fork},
        {"ptrace", do_ptrace},
        {"executable memory", do_executable_memory},
        {"making memory executable", do_make_executable},
        {"KVM_CREATE_VCPU", do_new_vcpu},
        {"KVM_CREATE_VM", do_new_machine_with_high_bits},
        {"a 32-bit call", do_32_bit_call},
    };

    (void)state;
    for (int kind = 0; kind < SANDBOX_KINDS; kind++) {
        for (size_t i = 0; i < ARRAY_LENGTH(forbidden); i++)
            expect_killed((enum sandbox_kind)kind, forbidden[i].name, forbidden[i].act);
    }
}

static int do_run(const struct open_files *files)
{
    return ioctl(files->file, KVM_RUN, 0);
}

static int do_write_file(const struct open_files *files)
{
    return pwrite(files->file, "x", 1, 0) == 1;
}

static int do_accept(const struct open_files *files)
{
    return accept4(files->listener, NULL, NULL, 0);
}

/* Types into the terminal that the machine was started from. */
static int do_type(const struct open_files *files)
{
    return ioctl(files->file, TIOCSTI, "x");
}

static void test_kinds_cannot_do_each_others_work(void **state)
{
    (void)state;
    expect_killed(SANDBOX_IO, "KVM_RUN", do_run);
    expect_killed(SANDBOX_IO, "accept4", do_accept);
    expect_killed(SANDBOX_VCPU, "pwrite64", do_write_file);
    expect_killed(SANDBOX_VCPU, "accept4", do_accept);
    expect_killed(SANDBOX_LOOP, "pwrite64", do_write_file);
    expect_killed(SANDBOX_LOOP, "TIOCSTI", do_type);
}

/* --- privileges ------------------------------------------------------------------------------ */

/* Waits to be looked at. */
static int wait_for_reader(const struct open_files *files)
{
    char byte = 1;

    return write(files->pair[0], &byte, 1) != 1 || read(files->pair[0], &byte, 1) != 1;
}

static void read_status(pid_t pid, char *text, size_t size)
{
    char path[64];
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/status", pid);
    file = fopen(path, "r");
    assert_non_null(file);
    text[fread(text, 1, size - 1, file)] = '\0';
    fclose(file);
}

static void test_nothing_of_root_is_left(void **state)
{
    struct open_files files;
    char text[4096], byte = 1;
    int status;

    (void)state;
    open_all(&files);
    pid_t pid = fork();
    if (pid == 0) {
        struct error err;

        if (sandbox_close(SANDBOX_UID, SANDBOX_GID, &err) < 0 ||
            sandbox_enter(SANDBOX_LOOP, &err) < 0)
            _exit(99);
        _exit(wait_for_reader(&files));
    }
    assert_int_equal(read(files.pair[1], &byte, 1), 1);
    read_status(pid, text, sizeof(text));
    assert_int_equal(write(files.pair[1], &byte, 1), 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    close_all(&files);
    assert_non_null(strstr(text, "NoNewPrivs:\t1"));
    assert_non_null(strstr(text, "Seccomp:\t2"));
    assert_non_null(strstr(text, "CapPrm:\t0000000000000000"));
    assert_non_null(strstr(text, "CapEff:\t0000000000000000"));
    if (getuid() == 0) {
        assert_non_null(strstr(text, "Uid:\t65534\t65534\t65534\t65534"));
        assert_non_null(strstr(text, "Gid:\t65534\t65534\t65534\t65534"));
        assert_non_null(strstr(text, "Groups:\t \n"));
    }
}

static void test_root_is_not_dropped_to_root(void **state)
{
    struct error err;

    (void)state;
    if (getuid() != 0)
        skip();
    assert_int_equal(sandbox_close(0, 0, &err), -1);
    assert_int_equal(err.errnum, EINVAL);
}

static void test_entering_before_closing_changes_nothing(void **state)
{
    struct error err;

    (void)state;
    assert_int_equal(sandbox_enter(SANDBOX_IO, &err), 0);
    assert_int_equal(prctl(PR_GET_SECCOMP, 0, 0, 0, 0), 0);
}

static void test_no_list_has_more_than_50_calls(void **state)
{
    (void)state;
    for (int kind = 0; kind < SANDBOX_KINDS; kind++)
        assert_in_range(sandbox_count((enum sandbox_kind)kind), 20, SANDBOX_MAX_CALLS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_kind_can_do_its_work),
        cmocka_unit_test(test_threads_enter_lists_of_their_own_allocate_and_end),
        cmocka_unit_test(test_what_no_thread_needs_kills_each_kind),
        cmocka_unit_test(test_kinds_cannot_do_each_others_work),
        cmocka_unit_test(test_nothing_of_root_is_left),
        cmocka_unit_test(test_root_is_not_dropped_to_root),
        cmocka_unit_test(test_entering_before_closing_changes_nothing),
        cmocka_unit_test(test_no_list_has_more_than_50_calls),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
