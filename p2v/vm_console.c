/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * This terminal as a machine's console: raw, all keys go through but ^].
 */
#include "base/io.h"
#include "p2v/vm_socket.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define QUIT 0x1d /* ^] */

/* 1: copied; 0: the end. */
static int copy(int from, int to, const char *quit, bool *has_quit)
{
    char piece[4096];
    ssize_t got = read(from, piece, sizeof(piece));
    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return 1;
    const char *found = quit && got > 0 ? memchr(piece, *quit, (size_t)got) : NULL;
    *has_quit = found != NULL;
    size_t length = found ? (size_t)(found - piece) : got > 0 ? (size_t)got : 0;
    return length == 0 || io_write(to, piece, length, NULL) != 0 ? got > 0 : 1;
}

/* 1: ^]; 0: the machine's end. */
static int relay(int fd, bool has_terminal)
{
    struct pollfd fds[] = {{.fd = fd, .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};
    const char quit = QUIT;
    bool has_quit = false;
    for (;;) {
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return 0;
        if (fds[0].revents && copy(fd, STDOUT_FILENO, NULL, &has_quit) == 0)
            return 0;
        if (fds[1].revents && copy(STDIN_FILENO, fd, has_terminal ? &quit : NULL, &has_quit) == 0)
            fds[1].fd = -1; /* nobody types any more */
        if (has_quit)
            return 1;
    }
}

int vm_console(int fd, const struct text *shown, struct error *err)
{
    struct termios before, raw;
    bool has_terminal = tcgetattr(STDIN_FILENO, &before) == 0;
    if (has_terminal) {
        raw = before;
        cfmakeraw(&raw);
        tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
    }
    int result = io_write(STDOUT_FILENO, text_string(shown), shown->length, err);
    if (result == 0)
        result = relay(fd, has_terminal);
    if (has_terminal)
        tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
    return result;
}
