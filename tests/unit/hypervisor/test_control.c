/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The control socket, with real clients and a machine that only notes what is asked of it.
 */
#include "base/own.h"
#include "base/text.h"
#include "hypervisor/control.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

/* --- a machine that notes (instead of hypervisor/vm.c) --- */

struct vm {
    struct loop *loop;
    char done[256];
    struct guest_limits limits;
    uint64_t balloon;
};

static void note(struct vm *vm, const char *what)
{
    size_t length = strlen(vm->done);
    snprintf(vm->done + length, sizeof(vm->done) - length, "%s ", what);
}

struct loop *vm_loop(struct vm *vm)
{
    return vm->loop;
}

void vm_pause(struct vm *vm)
{
    note(vm, "pause");
}

void vm_resume(struct vm *vm)
{
    note(vm, "resume");
}

void vm_reset(struct vm *vm)
{
    note(vm, "reset");
}

void vm_power_button(struct vm *vm)
{
    note(vm, "powerdown");
}

void vm_stop(struct vm *vm)
{
    note(vm, "stop");
}

void vm_set_limits(struct vm *vm, const struct guest_limits *limits)
{
    vm->limits = *limits;
}

void vm_set_balloon(struct vm *vm, uint64_t bytes)
{
    vm->balloon = bytes;
}

void vm_get_stats(struct vm *vm, struct vm_stats *stats)
{
    (void)vm;
    *stats = (struct vm_stats){.state = VM_PAUSED, .exits = 12345, .disk_count = 1, .nic_count = 1};
    stats->disks[0].read_bytes = 4096;
    stats->nics[0].sent_frames = 7;
}

/* --- the bench --- */

struct bench {
    char folder[64], *path;
    struct vm vm;
    struct control *control;
    struct console_ends console;
    pthread_t thread;
};

static void *run_loop(void *context)
{
    struct bench *bench = context;
    loop_run(bench->vm.loop, NULL);
    return NULL;
}

static int set_up(void **state)
{
    struct bench *bench = memory_new(1, sizeof(*bench));
    const struct guest_limits limits = {.cpu_percent = 80, .net_bytes_per_second = 1000};
    snprintf(bench->folder, sizeof(bench->folder), "/tmp/rehost-control.XXXXXX");
    assert_non_null(mkdtemp(bench->folder));
    bench->path = text_format("%s/web.sock", bench->folder);
    bench->vm.loop = loop_new(NULL);
    bench->control = control_new(bench->path, NULL, NULL);
    assert_non_null(bench->control);
    bench->console = control_console(bench->control);
    assert_int_equal(control_start(bench->control, &bench->vm, &limits, NULL), 0);
    assert_int_equal(pthread_create(&bench->thread, NULL, run_loop, bench), 0);
    *state = bench;
    return 0;
}

static int tear_down(void **state)
{
    struct bench *bench = *state;
    loop_stop(bench->vm.loop);
    pthread_join(bench->thread, NULL);
    control_stop(bench->control);
    loop_free(bench->vm.loop);
    control_free(bench->control);
    unlink(bench->path);
    rmdir(bench->folder);
    free(bench->path);
    free(bench);
    return 0;
}

static int attach(const struct bench *bench)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, bench->path, strlen(bench->path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval patience = {.tv_sec = 10};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void put(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Up to and with the newline, or as much as there is before the end. */
static char *get_line(int fd, char line[2048])
{
    size_t length = 0;
    while (length < 2047 && recv(fd, line + length, 1, 0) == 1 && line[length++] != '\n')
        continue;
    line[length] = '\0';
    return line;
}

static void expect(int fd, const char *text, const char *part)
{
    char line[2048];
    put(fd, text);
    if (!strstr(get_line(fd, line), part))
        fail_msg("'%s' was answered with '%s'", text, line);
}

/* --- */

static void each_command_does_its_work(void **state)
{
    struct bench *bench = *state;
    AUTO_CLOSE int fd = attach(bench);
    expect(fd, "{\"do\": \"pause\"}\n", "\"ok\":true");
    expect(fd, "{\"do\": \"resume\"}\n", "\"ok\":true");
    expect(fd, "{\"do\": \"powerdown\"}\n", "\"ok\":true");
    expect(fd, "{\"do\": \"reset\"}\n", "\"ok\":true");
    expect(fd, "{\"do\": \"stop\"}\n", "\"ok\":true");
    assert_string_equal(bench->vm.done, "pause resume powerdown reset stop ");
    expect(fd, "{\"do\": \"balloon\", \"bytes\": 1048576}\n", "\"ok\":true");
    assert_int_equal(bench->vm.balloon, 1048576);
}

static void stats_tell_the_state_and_the_counters(void **state)
{
    AUTO_CLOSE int fd = attach(*state);
    expect(fd, "{\"do\": \"stats\"}\n", "\"state\":\"paused\"");
    expect(fd, "{\"do\": \"stats\"}\n", "\"exits\":12345");
    expect(fd, "{\"do\": \"stats\"}\n", "\"read_bytes\":4096");
    expect(fd, "{\"do\": \"stats\"}\n", "\"sent_frames\":7");
}

static void a_limit_changes_and_the_others_stay(void **state)
{
    struct bench *bench = *state;
    AUTO_CLOSE int fd = attach(bench);
    expect(fd, "{\"do\": \"limits\", \"cpu_percent\": 25}\n", "\"ok\":true");
    assert_int_equal(bench->vm.limits.cpu_percent, 25);
    assert_int_equal(bench->vm.limits.net_bytes_per_second, 1000);
    expect(fd, "{\"do\": \"limits\", \"net_bytes_per_second\": 0}\n", "\"ok\":true");
    assert_int_equal(bench->vm.limits.cpu_percent, 25);
    assert_int_equal(bench->vm.limits.net_bytes_per_second, 0);
}

static void a_wrong_limit_changes_none(void **state)
{
    struct bench *bench = *state;
    AUTO_CLOSE int fd = attach(bench);
    expect(fd, "{\"do\": \"limits\", \"cpu_percent\": 10}\n", "\"ok\":true");
    expect(fd, "{\"do\": \"limits\", \"cpu_percent\": 99, \"cpu_precent\": 1}\n", "\"ok\":false");
    expect(fd, "{\"do\": \"limits\", \"cpu_percent\": -1}\n", "\"ok\":false");
    expect(fd, "{\"do\": \"limits\", \"cpu_percent\": \"all\"}\n", "\"ok\":false");
    expect(fd, "{\"do\": \"limits\", \"disk_bytes_per_second\": 1e30}\n", "\"ok\":false");
    assert_int_equal(bench->vm.limits.cpu_percent, 10);
}

static void what_is_not_understood_is_told_and_the_connection_goes_on(void **state)
{
    AUTO_CLOSE int fd = attach(*state);
    expect(fd, "\n", "\"ok\":false");
    expect(fd, "pause\n", "not a JSON object");
    expect(fd, "[1, 2]\n", "not a JSON object");
    expect(fd, "{\"do\": \"explode\"}\n", "no command of that name");
    expect(fd, "{\"do\": 1}\n", "no command of that name");
    expect(fd, "{\"do\": \"pause\", \"now\": true}\n", "too many fields");
    expect(fd, "{\"do\": \"pause\", \"do\": \"stop\"}\n", "\"ok\":false");
    expect(fd, "{\"do\": \"stats\"}\n", "\"ok\":true");
}

static void several_lines_in_one_piece_are_several_commands(void **state)
{
    struct bench *bench = *state;
    char line[2048];
    AUTO_CLOSE int fd = attach(bench);
    put(fd, "{\"do\": \"pause\"}\n{\"do\": \"resume\"}\n{\"do\": ");
    get_line(fd, line);
    get_line(fd, line);
    expect(fd, "\"reset\"}\n", "\"ok\":true");
    assert_string_equal(bench->vm.done, "pause resume reset ");
}

static void a_line_without_an_end_closes_the_connection(void **state)
{
    char much[CONTROL_MAX_LINE + 1], line[2048];
    AUTO_CLOSE int fd = attach(*state);
    memset(much, 'x', sizeof(much));
    much[sizeof(much) - 1] = '\0';
    put(fd, much);
    assert_string_equal(get_line(fd, line), "");
    AUTO_CLOSE int other = attach(*state);
    expect(other, "{\"do\": \"stats\"}\n", "\"ok\":true");
}

static void a_console_shows_what_was_said_before_and_takes_what_is_typed(void **state)
{
    struct bench *bench = *state;
    char text[64] = "";
    assert_int_equal(write(bench->console.out, "login: ", 7), 7);
    usleep(100000); /* it is in the backlog; if it were not, it would come live */
    AUTO_CLOSE int fd = attach(bench);
    expect(fd, "{\"do\": \"console\"}\nroot\n", "\"ok\":true");
    assert_int_equal(recv(fd, text, 7, MSG_WAITALL), 7);
    assert_string_equal(text, "login: ");
    assert_int_equal(write(bench->console.out, "more", 4), 4);
    assert_int_equal(recv(fd, text, 4, MSG_WAITALL), 4);
    assert_memory_equal(text, "more", 4);
    struct pollfd typed = {.fd = bench->console.in, .events = POLLIN};
    assert_int_equal(poll(&typed, 1, 5000), 1);
    assert_int_equal(read(bench->console.in, text, sizeof(text)), 5);
    assert_memory_equal(text, "root\n", 5);
}

/* Its text is lost then; the guest goes on, and so do others. */
static void a_client_that_does_not_read_holds_up_nobody(void **state)
{
    struct bench *bench = *state;
    char piece[4096];
    AUTO_CLOSE int lazy = attach(bench);
    expect(lazy, "{\"do\": \"console\"}\n", "\"ok\":true");
    memset(piece, 'y', sizeof(piece));
    for (int i = 0; i < 1000; i++) {
        struct pollfd room = {.fd = bench->console.out, .events = POLLOUT};
        assert_int_equal(poll(&room, 1, 5000), 1);
        assert_true(write(bench->console.out, piece, sizeof(piece)) > 0);
    }
    AUTO_CLOSE int other = attach(bench);
    expect(other, "{\"do\": \"stats\"}\n", "\"ok\":true");
}

static void clients_beyond_the_limit_are_closed(void **state)
{
    int fds[CONTROL_MAX_CLIENTS + 1];
    char line[2048];
    for (size_t i = 0; i < CONTROL_MAX_CLIENTS; i++) {
        fds[i] = attach(*state);
        expect(fds[i], "{\"do\": \"stats\"}\n", "\"ok\":true");
    }
    fds[CONTROL_MAX_CLIENTS] = attach(*state);
    assert_string_equal(get_line(fds[CONTROL_MAX_CLIENTS], line), "");
    for (size_t i = 0; i <= CONTROL_MAX_CLIENTS; i++)
        close(fds[i]);
}

static void a_socket_in_use_is_refused_and_a_dead_one_replaced(void **state)
{
    struct bench *bench = *state;
    struct error err = {0};
    struct stat status;
    assert_int_equal(stat(bench->path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_null(control_new(bench->path, NULL, &err));
    assert_int_equal(err.errnum, EBUSY);
    AUTO_FREE char *other = text_format("%s/dead.sock", bench->folder);
    for (int i = 0; i < 2; i++) {
        struct control *control = control_new(other, NULL, &err);
        assert_non_null(control);
        control_free(control); /* the name stays */
        assert_int_equal(access(other, F_OK), 0);
    }
    unlink(other);
    assert_int_equal(access(bench->path, F_OK), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_command_does_its_work),
        TEST(stats_tell_the_state_and_the_counters),
        TEST(a_limit_changes_and_the_others_stay),
        TEST(a_wrong_limit_changes_none),
        TEST(what_is_not_understood_is_told_and_the_connection_goes_on),
        TEST(several_lines_in_one_piece_are_several_commands),
        TEST(a_line_without_an_end_closes_the_connection),
        TEST(a_console_shows_what_was_said_before_and_takes_what_is_typed),
        TEST(a_client_that_does_not_read_holds_up_nobody),
        TEST(clients_beyond_the_limit_are_closed),
        TEST(a_socket_in_use_is_refused_and_a_dead_one_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
