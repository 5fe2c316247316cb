/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The terminals: curses puts the pages on each of them and takes keys from any.
 */
#include "p2v/boot/screen.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "p2v/boot/screen_ui.h"

#include <curses.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define MAX_TERMINALS 8

/* How long after Esc the rest of a key's sequence may come: serial lines are slow. */
#define ESCAPE_MS 100

struct terminal {
    char path[64];
    FILE *file;
    SCREEN *screen;
};

struct screens {
    struct terminal terminals[MAX_TERMINALS];
    size_t count, last; /* `last`: where the last key came from */
    struct screen_ui ui;
    struct screen_model model;
    bool is_dirty;
    struct log *log;
};

/* --- opening --- */

/*
 * A serial line may have nothing at its other end: no waiting for a carrier, and none for a
 * terminal that never says that it is ready.
 */
static int open_path(const char *path, struct error *err)
{
    struct termios settings;
    int fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || tcgetattr(fd, &settings) != 0) {
        error_set(err, errno, "open %s", path);
        if (fd >= 0)
            close(fd);
        return -1;
    }
    settings.c_cflag |= CLOCAL | CREAD;
    settings.c_cflag &= ~(tcflag_t)CRTSCTS;
    settings.c_iflag &= ~(tcflag_t)(IXON | IXOFF);
    tcsetattr(fd, TCSANOW, &settings);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
    return fd;
}

/* "/dev/tty1" is the kernel's own; everything else is some terminal that does what a VT220 does. */
static bool is_virtual_console(const char *path)
{
    const char *name = "/dev/tty";
    return text_starts_with(path, name) && strspn(path + strlen(name), "0123456789") > 0;
}

static SCREEN *new_screen(const char *path, FILE *file)
{
    static const char *const serial[] = {"vt220", "vt102", "vt100", "ansi"};
    if (is_virtual_console(path))
        return newterm("linux", file, file);
    SCREEN *screen = NULL;
    for (size_t i = 0; i < ARRAY_LENGTH(serial) && !screen; i++)
        screen = newterm(serial[i], file, file);
    return screen;
}

static int open_terminal(struct terminal *terminal, const char *path, struct error *err)
{
    int fd = open_path(path, err);
    if (fd < 0)
        return -1;
    snprintf(terminal->path, sizeof(terminal->path), "%.63s", path);
    terminal->file = fdopen(fd, "r+");
    if (!terminal->file) {
        close(fd);
        return error_set(err, errno, "%s", path);
    }
    terminal->screen = new_screen(path, terminal->file);
    if (!terminal->screen) {
        fclose(terminal->file);
        return error_set(err, 0, "%s: no description of such a terminal (terminfo)", path);
    }
    set_term(terminal->screen);
    cbreak();
    noecho();
    nonl();
    keypad(stdscr, TRUE);
    nodelay(stdscr, TRUE);
    set_escdelay(ESCAPE_MS);
    curs_set(0);
    return 0;
}

struct screens *screens_start(const char *const paths[], size_t count, bool has_shell,
                              struct log *log, struct error *err)
{
    struct screens *screens = memory_new(1, sizeof(*screens));
    struct error cause = {0};
    screens->ui.has_shell = has_shell;
    screens->log = log;
    for (size_t i = 0; i < count && screens->count < MAX_TERMINALS; i++) {
        if (open_terminal(&screens->terminals[screens->count], paths[i], &cause) == 0)
            screens->count++;
        else
            log_warning(log, "no screen there: %s", cause.text);
    }
    if (screens->count > 0)
        return screens;
    free(screens);
    error_set(err, 0, "no screen: %s", count ? cause.text : "there is no console");
    return NULL;
}

static void leave(struct terminal *terminal)
{
    set_term(terminal->screen);
    curs_set(1);
    endwin();
}

void screens_stop(struct screens *screens)
{
    for (size_t i = 0; screens && i < screens->count; i++) {
        leave(&screens->terminals[i]);
        delscreen(screens->terminals[i].screen);
        fclose(screens->terminals[i].file);
    }
    free(screens);
}

/* --- drawing --- */

void screens_show(struct screens *screens, const struct screen_model *model)
{
    screens->model = *model;
    screens->is_dirty = true;
}

/* Lines are drawn as such only where they are for sure: many a serial console shows letters. */
static chtype look(const struct screen_grid *grid, bool has_lines, int row, int column)
{
    chtype character = (unsigned char)grid->text[row][column];
    switch ((enum screen_style)grid->style[row][column]) {
    case SCREEN_BOLD:
        return character | A_BOLD;
    case SCREEN_REVERSE:
        return character | A_REVERSE;
    case SCREEN_RULE:
        return has_lines ? ACS_HLINE : character;
    case SCREEN_PLAIN:
        break;
    }
    return character;
}

static void draw(struct screens *screens, struct terminal *terminal)
{
    struct screen_grid grid;
    bool has_lines = is_virtual_console(terminal->path);
    set_term(terminal->screen);
    getmaxyx(stdscr, grid.rows, grid.columns);
    screen_ui_draw(&screens->ui, &screens->model, &grid);
    for (int row = 0; row < grid.rows; row++) {
        for (int column = 0; column < grid.columns; column++)
            mvaddch(row, column, look(&grid, has_lines, row, column));
    }
    refresh();
}

static void draw_all(struct screens *screens)
{
    screen_ui_show(&screens->ui, &screens->model);
    for (size_t i = 0; i < screens->count; i++)
        draw(screens, &screens->terminals[i]);
    screens->is_dirty = false;
}

/* --- keys --- */

static int translate(int code)
{
    static const struct {
        int code, key;
    } keys[] = {
        {KEY_UP, SCREEN_KEY_UP},
        {KEY_DOWN, SCREEN_KEY_DOWN},
        {KEY_LEFT, SCREEN_KEY_LEFT},
        {KEY_RIGHT, SCREEN_KEY_RIGHT},
        {KEY_PPAGE, SCREEN_KEY_PAGE_UP},
        {KEY_NPAGE, SCREEN_KEY_PAGE_DOWN},
        {'\t', SCREEN_KEY_TAB},
        {KEY_BTAB, SCREEN_KEY_BACK_TAB},
        {'\r', SCREEN_KEY_ENTER},
        {'\n', SCREEN_KEY_ENTER},
        {KEY_ENTER, SCREEN_KEY_ENTER},
        {'\x1b', SCREEN_KEY_ESCAPE},
        {KEY_BACKSPACE, SCREEN_KEY_ERASE},
        {'\b', SCREEN_KEY_ERASE},
        {'\x7f', SCREEN_KEY_ERASE},
        {KEY_DC, SCREEN_KEY_ERASE},
        {'\x15', SCREEN_KEY_CLEAR},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(keys); i++) {
        if (keys[i].code == code)
            return keys[i].key;
    }
    return code >= ' ' && code <= '~' ? code : SCREEN_KEY_NONE;
}

#define REDRAW '\x0c' /* Ctrl-L: something else has written there */

/* Everything that was typed on that terminal, until it leads to something. */
static enum screen_act take_keys(struct screens *screens, struct screen_answer *answer)
{
    int code;
    set_term(screens->terminals[screens->last].screen);
    while ((code = getch()) != ERR) {
        screens->is_dirty = true;
        if (code == REDRAW)
            clearok(curscr, TRUE);
        int key = translate(code);
        enum screen_act act =
            key ? screen_ui_key(&screens->ui, &screens->model, key, answer) : SCREEN_NOTHING;
        if (act != SCREEN_NOTHING)
            return act;
    }
    return SCREEN_NOTHING;
}

/* True when there is something; `last` is where. */
static bool wait_for_key(struct screens *screens, int timeout_ms)
{
    struct pollfd fds[MAX_TERMINALS];
    for (size_t i = 0; i < screens->count; i++)
        fds[i] = (struct pollfd){.fd = fileno(screens->terminals[i].file), .events = POLLIN};
    if (poll(fds, screens->count, timeout_ms) <= 0)
        return false;
    for (size_t i = 0; i < screens->count; i++) {
        if (fds[i].revents & POLLIN) {
            screens->last = i;
            return true;
        }
    }
    usleep(1000 * (timeout_ms < 50 ? (unsigned)timeout_ms : 50)); /* a line that hung up */
    return false;
}

enum screen_act screens_wait(struct screens *screens, int timeout_ms, struct screen_answer *answer)
{
    int64_t end = clock_ms() + timeout_ms;
    *answer = (struct screen_answer){0};
    do {
        if (screens->is_dirty)
            draw_all(screens);
        int64_t left = end - clock_ms();
        if (!wait_for_key(screens, left > 0 ? (int)left : 0))
            continue;
        enum screen_act act = take_keys(screens, answer);
        if (act != SCREEN_NOTHING)
            return act;
    } while (clock_ms() < end);
    if (screens->is_dirty)
        draw_all(screens);
    return SCREEN_NOTHING;
}

/* --- a shell --- */

/* After fork, with other threads around: nothing here allocates. */
static void run_shell(const struct terminal *terminal)
{
    static char name[] = "sh", path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin", home[] = "HOME=/";
    static char linux_type[] = "TERM=linux", serial_type[] = "TERM=vt220";
    char *arguments[] = {name, NULL};
    char *type = is_virtual_console(terminal->path) ? linux_type : serial_type;
    char *environment[] = {type, path, home, NULL};
    setsid();
    int fd = open(terminal->path, O_RDWR); /* becomes the controlling one */
    for (int i = 0; fd >= 0 && i <= 2; i++)
        dup2(fd, i);
    if (fd > 2)
        close(fd);
    execve("/bin/sh", arguments, environment);
    _exit(127);
}

void screens_shell(struct screens *screens)
{
    struct terminal *terminal = &screens->terminals[screens->last];
    int status;
    leave(terminal);
    pid_t child = fork();
    if (child == 0)
        run_shell(terminal);
    if (child < 0)
        log_warning(screens->log, "start a shell: %s", strerror(errno));
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    set_term(terminal->screen);
    curs_set(0);
    clearok(curscr, TRUE);
    screens->is_dirty = true;
}
