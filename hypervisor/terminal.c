/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * termios(3), and a pipe between the keys and the guest.
 */
#include "hypervisor/terminal.h"

#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

/* What can be waited for: not a file, and not /dev/null. */
static bool can_be_watched(int fd)
{
    struct stat status;
    return fstat(fd, &status) == 0 && (S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode));
}

int terminal_open(struct terminal *terminal, struct error *err)
{
    int ends[2];
    *terminal = (struct terminal){.in = -1, .feed = -1};
    if (tcgetattr(STDIN_FILENO, &terminal->before) != 0) {
        terminal->in = can_be_watched(STDIN_FILENO) ? STDIN_FILENO : -1;
        return 0;
    }
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
        return error_set(err, errno, "make a pipe");
    terminal->in = ends[0];
    terminal->feed = ends[1];
    return 0;
}

/* Keys that a guest does not take are lost, as on a serial line. */
static void on_keys(void *context, uint32_t events)
{
    struct terminal *terminal = context;
    char keys[256];
    (void)events;
    ssize_t length = read(STDIN_FILENO, keys, sizeof(keys));
    if (length < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (length <= 0 || memchr(keys, TERMINAL_QUIT, (size_t)length)) {
        terminal->quit(terminal->context);
        return;
    }
    ssize_t ignored = write(terminal->feed, keys, (size_t)length);
    (void)ignored;
}

int terminal_start(struct terminal *terminal, struct loop *loop, void (*quit)(void *context),
                   void *context, struct error *err)
{
    if (terminal->feed < 0)
        return 0;
    struct termios raw = terminal->before;
    cfmakeraw(&raw);
    terminal->quit = quit;
    terminal->context = context;
    terminal->watch = (struct loop_watch){on_keys, terminal, STDIN_FILENO};
    if (loop_add(loop, &terminal->watch, EPOLLIN, err) != 0)
        return -1;
    if (tcsetattr(STDIN_FILENO, TCSANOW, &raw) != 0)
        return error_set(err, errno, "make the terminal raw");
    terminal->is_raw = true;
    return 0;
}

void terminal_close(struct terminal *terminal)
{
    if (terminal->is_raw)
        tcsetattr(STDIN_FILENO, TCSANOW, &terminal->before);
    if (terminal->feed >= 0) {
        own_close(&terminal->feed);
        own_close(&terminal->in);
    }
    *terminal = (struct terminal){.in = -1, .feed = -1};
}
