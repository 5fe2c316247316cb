/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The control socket: its clients, their lines, and the console that some of them become. A client
 * that does not read misses what does not fit into its socket; nobody waits for it.
 */
#include "hypervisor/control.h"

#include "base/own.h"
#include "base/text.h"
#include "hypervisor/control_commands.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define PIECE 4096

struct client {
    struct control *control;
    struct loop_watch watch; /* its socket, owned */
    bool is_console;
    size_t length;
    char line[CONTROL_MAX_LINE];
};

struct control {
    char *path;
    struct log *log;
    struct vm *vm;
    struct loop *loop;           /* NULL until it serves */
    struct guest_limits limits;  /* in force */
    struct loop_watch listening; /* the socket */
    struct loop_watch spoken;    /* what the guest writes */
    int guest_in, guest_out;     /* the serial port's ends */
    int typed;                   /* what goes to guest_in */
    struct client *clients[CONTROL_MAX_CLIENTS];
    char backlog[CONTROL_BACKLOG]; /* a ring */
    size_t backlog_end, backlog_length;
};

/* --- making it --- */

static int address_of(const char *path, struct sockaddr_un *address, struct error *err)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address->sun_path))
        return error_set(err, ENAMETOOLONG, "%s", path);
    memcpy(address->sun_path, path, strlen(path));
    return 0;
}

/* Left behind by one that ended without a chance to remove it. */
static int remove_dead(const struct sockaddr_un *address, struct error *err)
{
    struct stat status;
    const char *path = address->sun_path;
    if (lstat(path, &status) != 0)
        return 0;
    AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (!S_ISSOCK(status.st_mode) ||
        connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ||
        errno != ECONNREFUSED)
        return error_set(err, EBUSY, "%s is in use", path);
    unlink(path);
    return 0;
}

static int open_socket(struct control *control, const char *path, struct error *err)
{
    struct sockaddr_un address;
    if (address_of(path, &address, err) != 0 || remove_dead(&address, err) != 0)
        return -1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    control->listening.fd = fd;
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        return error_set(err, errno, "listen on %s", path);
    control->path = text_copy(path);
    /* Nobody is let in before the mode is right: it does not listen yet. */
    if (chmod(path, 0600) != 0 || listen(fd, CONTROL_MAX_CLIENTS) != 0)
        return error_set(err, errno, "listen on %s", path);
    return 0;
}

static int open_console(struct control *control, struct error *err)
{
    int typed[2], spoken[2];
    if (pipe2(typed, O_CLOEXEC | O_NONBLOCK) != 0)
        return error_set(err, errno, "make the console");
    control->guest_in = typed[0];
    control->typed = typed[1];
    if (pipe2(spoken, O_CLOEXEC | O_NONBLOCK) != 0)
        return error_set(err, errno, "make the console");
    control->spoken.fd = spoken[0];
    control->guest_out = spoken[1];
    return 0;
}

struct control *control_new(const char *path, struct log *log, struct error *err)
{
    struct control *control = memory_new(1, sizeof(*control));
    control->log = log;
    control->listening.fd = control->spoken.fd = control->typed = -1;
    control->guest_in = control->guest_out = -1;
    json_object_seed(0); /* opens a file, which the sandbox would not have */
    if (open_socket(control, path, err) == 0 && open_console(control, err) == 0)
        return control;
    control_free(control);
    return NULL;
}

struct console_ends control_console(struct control *control)
{
    return (struct console_ends){.in = control->guest_in, .out = control->guest_out};
}

/* --- clients --- */

static void drop_client(struct client *client)
{
    struct control *control = client->control;
    for (size_t i = 0; i < CONTROL_MAX_CLIENTS; i++) {
        if (control->clients[i] == client)
            control->clients[i] = NULL;
    }
    loop_remove(control->loop, &client->watch);
    close(client->watch.fd);
    free(client);
}

static void say(struct client *client, const char *bytes, size_t length)
{
    ssize_t ignored = send(client->watch.fd, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)ignored;
}

static void show_backlog(struct client *client)
{
    const struct control *control = client->control;
    size_t start =
        (control->backlog_end + CONTROL_BACKLOG - control->backlog_length) % CONTROL_BACKLOG;
    size_t first = CONTROL_BACKLOG - start;
    if (first > control->backlog_length)
        first = control->backlog_length;
    say(client, control->backlog + start, first);
    say(client, control->backlog, control->backlog_length - first);
}

static void take_line(struct client *client, const char *line, size_t length)
{
    struct control *control = client->control;
    bool is_console = false;
    AUTO_FREE char *answer =
        control_answer(control->vm, &control->limits, line, length, &is_console);
    say(client, answer, strlen(answer));
    client->is_console = is_console;
    if (is_console)
        show_backlog(client);
}

/* What the guest does not take in time is lost, as on a serial line. */
static void type(const struct client *client, const char *bytes, size_t length)
{
    ssize_t ignored = write(client->control->typed, bytes, length);
    (void)ignored;
}

/* Whole lines, until it becomes a console. False: more than a line without an end. */
static bool take_input(struct client *client)
{
    size_t at = 0;
    while (!client->is_console) {
        const char *end = memchr(client->line + at, '\n', client->length - at);
        if (!end)
            break;
        take_line(client, client->line + at, (size_t)(end - client->line) - at);
        at = (size_t)(end - client->line) + 1;
    }
    if (client->is_console) {
        type(client, client->line + at, client->length - at);
        at = client->length;
    }
    client->length -= at;
    memmove(client->line, client->line + at, client->length);
    return client->length < sizeof(client->line);
}

static void hear_client(void *context, uint32_t events)
{
    struct client *client = context;
    (void)events;
    ssize_t got = recv(client->watch.fd, client->line + client->length,
                       sizeof(client->line) - client->length, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got > 0)
        client->length += (size_t)got;
    if (got <= 0 || !take_input(client))
        drop_client(client);
}

static void accept_client(void *context, uint32_t events)
{
    struct control *control = context;
    size_t place = 0;
    (void)events;
    int fd = accept4(control->listening.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    while (place < CONTROL_MAX_CLIENTS && control->clients[place])
        place++;
    if (fd < 0 || place == CONTROL_MAX_CLIENTS) {
        own_close(&fd);
        return;
    }
    struct client *client = memory_new(1, sizeof(*client));
    client->control = control;
    client->watch = (struct loop_watch){.ready = hear_client, .context = client, .fd = fd};
    control->clients[place] = client;
    if (loop_add(control->loop, &client->watch, EPOLLIN, NULL) != 0)
        drop_client(client);
}

/* --- the console --- */

static void keep(struct control *control, const char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        control->backlog[control->backlog_end] = bytes[i];
        control->backlog_end = (control->backlog_end + 1) % CONTROL_BACKLOG;
    }
    control->backlog_length += length;
    if (control->backlog_length > CONTROL_BACKLOG)
        control->backlog_length = CONTROL_BACKLOG;
}

static void hear_guest(void *context, uint32_t events)
{
    struct control *control = context;
    char piece[PIECE];
    (void)events;
    ssize_t got = read(control->spoken.fd, piece, sizeof(piece));
    if (got <= 0)
        return;
    keep(control, piece, (size_t)got);
    for (size_t i = 0; i < CONTROL_MAX_CLIENTS; i++) {
        if (control->clients[i] && control->clients[i]->is_console)
            say(control->clients[i], piece, (size_t)got);
    }
}

/* --- its life --- */

int control_start(struct control *control, struct vm *vm, const struct guest_limits *limits,
                  struct error *err)
{
    control->vm = vm;
    control->loop = vm_loop(vm);
    control->limits = *limits;
    control->listening.ready = accept_client;
    control->spoken.ready = hear_guest;
    control->listening.context = control->spoken.context = control;
    return loop_add(control->loop, &control->listening, EPOLLIN, err) != 0
               ? -1
               : loop_add(control->loop, &control->spoken, EPOLLIN, err);
}

void control_stop(struct control *control)
{
    if (!control || !control->loop)
        return;
    for (size_t i = 0; i < CONTROL_MAX_CLIENTS; i++) {
        if (control->clients[i])
            drop_client(control->clients[i]);
    }
    loop_remove(control->loop, &control->listening);
    loop_remove(control->loop, &control->spoken);
    control->loop = NULL;
}

void control_free(struct control *control)
{
    if (!control)
        return;
    own_close(&control->listening.fd);
    own_close(&control->spoken.fd);
    own_close(&control->typed);
    own_close(&control->guest_in);
    own_close(&control->guest_out);
    free(control->path);
    free(control);
}
