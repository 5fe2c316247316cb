/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Two protocols of JSON lines, one interface.
 */
#include "p2v/vm_socket.h"

#include "base/bytes.h"
#include "p2v/json.h"
#include "p2v/machine.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER_MS 10000
#define ANSWER_MAX ((size_t)1 << 20)

struct vm_driver {
    const char *program, *suffix;
    int (*greet)(struct vm_socket *vm, struct error *err); /* NULL: nothing to do */
    int (*act)(struct vm_socket *vm, enum vm_action action, struct error *err);
    int (*limit)(struct vm_socket *vm, const char *limit, uint64_t value, struct error *err);
    json_t *(*stats)(struct vm_socket *vm, struct error *err);
    int (*console)(struct vm_socket *vm, struct error *err);
};

/* --- the folder --- */

static int make_folder(const char *path, struct error *err)
{
    struct stat status;
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return error_set(err, errno, "make %s", path);
    if (lstat(path, &status) != 0)
        return error_set(err, errno, "%s", path);
    if (!S_ISDIR(status.st_mode) || status.st_uid != geteuid() || (status.st_mode & 022))
        return error_set(err, EPERM, "%s is not a folder that only its user may write to", path);
    return 0;
}

char *vm_folder(struct error *err)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    AUTO_FREE char *path = NULL;
    if (geteuid() == 0)
        path = text_copy("/run/rehost");
    else if (runtime && runtime[0] == '/')
        path = text_format("%s/rehost", runtime);
    if (!path)
        error_set(err, 0, "XDG_RUNTIME_DIR is not set: there is no place for sockets");
    if (!path || make_folder(path, err) != 0)
        return NULL;
    return take_ptr(&path);
}

/* --- lines --- */

static int connect_to(const char *path, struct error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path))
        return error_set(err, ENAMETOOLONG, "%s", path);
    memcpy(address.sun_path, path, strlen(path));
    AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return take_fd(&fd);
    int cause = errno;
    if (cause == ECONNREFUSED)
        unlink(path); /* of a program that ended */
    return error_set(err, cause == ECONNREFUSED ? ENOENT : cause, "%s", path);
}

static int hear(struct vm_socket *vm, struct error *err)
{
    char piece[4096];
    struct pollfd pollfd = {.fd = vm->fd, .events = POLLIN};
    if (poll(&pollfd, 1, ANSWER_MS) <= 0)
        return error_set(err, ETIMEDOUT, "it does not answer");
    ssize_t got = recv(vm->fd, piece, sizeof(piece), 0);
    if (got <= 0)
        return error_set(err, got < 0 ? errno : ECONNRESET, "it hung up");
    if (vm->heard.length + (size_t)got > ANSWER_MAX)
        return error_set(err, EMSGSIZE, "its answer has no end");
    text_add_bytes(&vm->heard, piece, (size_t)got);
    return 0;
}

/* The next line, parsed; NULL with err. Caller drops. */
static json_t *next_line(struct vm_socket *vm, struct error *err)
{
    const char *end;
    while (!(end = vm->heard.length ? memchr(vm->heard.data, '\n', vm->heard.length) : NULL)) {
        if (hear(vm, err) != 0)
            return NULL;
    }
    size_t length = (size_t)(end - vm->heard.data) + 1;
    json_t *json = json_loadb(vm->heard.data, length, 0, NULL);
    vm->heard.length -= length;
    memmove(vm->heard.data, vm->heard.data + length, vm->heard.length);
    if (!json)
        error_set(err, EPROTO, "its answer is not JSON");
    return json;
}

/* Takes the request. */
static int send_line(struct vm_socket *vm, json_t *request, struct error *err)
{
    AUTO_FREE char *line = json_dumps(request, JSON_COMPACT);
    AUTO_FREE char *sent = text_format("%s\n", line ? line : "");
    json_decref(request);
    ssize_t put = send(vm->fd, sent, strlen(sent), MSG_NOSIGNAL);
    return put == (ssize_t)strlen(sent) ? 0 : error_set(err, errno, "ask it");
}

/* --- rehost-vm --- */

static json_t *ask(struct vm_socket *vm, json_t *request, struct error *err)
{
    json_t *answer = send_line(vm, request, err) == 0 ? next_line(vm, err) : NULL;
    if (answer && json_is_true(json_object_get(answer, "ok")))
        return answer;
    if (answer)
        error_set(err, EINVAL, "%s", json_text_of(answer, "error"));
    json_decref(answer);
    return NULL;
}

static int act(struct vm_socket *vm, enum vm_action action, struct error *err)
{
    static const char *const names[] = {[VM_PAUSE] = "pause",
                                        [VM_RESUME] = "resume",
                                        [VM_POWERDOWN] = "powerdown",
                                        [VM_RESET] = "reset",
                                        [VM_STOP] = "stop"};
    AUTO_JSON answer = ask(vm, json_pack("{ss}", "do", names[action]), err);
    return answer ? 0 : -1;
}

static int set_limit(struct vm_socket *vm, const char *limit, uint64_t value, struct error *err)
{
    AUTO_JSON answer = ask(vm, json_pack("{sssI}", "do", "limits", limit, (json_int_t)value), err);
    return answer ? 0 : -1;
}

static json_t *get_stats(struct vm_socket *vm, struct error *err)
{
    json_t *answer = ask(vm, json_pack("{ss}", "do", "stats"), err);
    json_object_del(answer, "ok");
    return answer;
}

static int open_console(struct vm_socket *vm, struct error *err)
{
    AUTO_JSON answer = ask(vm, json_pack("{ss}", "do", "console"), err);
    return answer ? take_fd(&vm->fd) : -1;
}

/* --- QEMU --- */

/* Events come in between. */
static json_t *qmp_answer(struct vm_socket *vm, struct error *err)
{
    for (;;) {
        json_t *line = next_line(vm, err);
        if (!line || !json_object_get(line, "event"))
            return line;
        json_decref(line);
    }
}

static json_t *qmp(struct vm_socket *vm, const char *command, struct error *err)
{
    if (send_line(vm, json_pack("{ss}", "execute", command), err) != 0)
        return NULL;
    AUTO_JSON answer = qmp_answer(vm, err);
    json_t *result = json_object_get(answer, "return");
    if (answer && !result)
        error_set(err, EINVAL, "%s", json_text_of(json_object_get(answer, "error"), "desc"));
    return json_incref(result);
}

static int qmp_greet(struct vm_socket *vm, struct error *err)
{
    AUTO_JSON greeting = next_line(vm, err);
    AUTO_JSON result = greeting ? qmp(vm, "qmp_capabilities", err) : NULL;
    return result ? 0 : -1;
}

static int qmp_act(struct vm_socket *vm, enum vm_action action, struct error *err)
{
    static const char *const names[] = {[VM_PAUSE] = "stop",
                                        [VM_RESUME] = "cont",
                                        [VM_POWERDOWN] = "system_powerdown",
                                        [VM_RESET] = "system_reset",
                                        [VM_STOP] = "quit"};
    AUTO_JSON result = qmp(vm, names[action], err);
    return result ? 0 : -1;
}

static json_t *qmp_stats(struct vm_socket *vm, struct error *err)
{
    AUTO_JSON status = qmp(vm, "query-status", err);
    if (!status)
        return NULL;
    AUTO_JSON memory = qmp(vm, "query-memory-size-summary", NULL);
    json_t *stats = json_object();
    json_set_text(stats, "state", json_text_of(status, "status"));
    if (memory)
        json_object_set(stats, "memory_bytes", json_object_get(memory, "base-memory"));
    return stats;
}

/* QEMU serves one client at a time: others want to come in while this one looks on. */
static int qmp_console(struct vm_socket *vm, struct error *err)
{
    close(take_fd(&vm->fd));
    AUTO_FREE char *path = text_format("%s/%s" VM_CONSOLE, vm->folder, vm->name);
    return connect_to(path, err);
}

/* --- either --- */

static const struct vm_driver drivers[] = {
    {"rehost-vm", VM_SOCKET, NULL, act, set_limit, get_stats, open_console},
    {"qemu", VM_QMP, qmp_greet, qmp_act, NULL, qmp_stats, qmp_console},
};

static int try_driver(struct vm_socket *vm, const struct vm_driver *driver, struct error *err)
{
    AUTO_FREE char *path = text_format("%s/%s%s", vm->folder, vm->name, driver->suffix);
    vm->driver = driver;
    vm->fd = connect_to(path, err);
    return vm->fd < 0 ? -1 : driver->greet ? driver->greet(vm, err) : 0;
}

int vm_socket_open(struct vm_socket *vm, const char *folder, const char *name, struct error *err)
{
    struct error cause = {0};
    *vm = (struct vm_socket){.folder = text_copy(folder), .name = text_copy(name), .fd = -1};
    for (size_t i = 0; i < ARRAY_LENGTH(drivers); i++) {
        if (try_driver(vm, &drivers[i], &cause) == 0)
            return 0;
        if (cause.errnum != ENOENT)
            break;
    }
    vm_socket_fini(vm);
    if (cause.errnum == ENOENT)
        return error_set(err, 0, "no machine of this name runs (see rehost vm list)");
    if (err)
        *err = cause;
    return -1;
}

void vm_socket_fini(struct vm_socket *vm)
{
    own_close(&vm->fd);
    text_fini(&vm->heard);
    free(vm->folder);
    free(vm->name);
    *vm = (struct vm_socket){.fd = -1};
}

int vm_socket_do(struct vm_socket *vm, enum vm_action action, struct error *err)
{
    return vm->driver->act(vm, action, err);
}

int vm_socket_limit(struct vm_socket *vm, const char *limit, uint64_t value, struct error *err)
{
    if (!vm->driver->limit)
        return error_set(err, ENOTSUP, "%s cannot change limits while it runs",
                         vm->driver->program);
    return vm->driver->limit(vm, limit, value, err);
}

json_t *vm_socket_stats(struct vm_socket *vm, struct error *err)
{
    json_t *stats = vm->driver->stats(vm, err);
    json_object_set_new(stats, "program", json_string(vm->driver->program));
    return stats;
}

int vm_socket_console(struct vm_socket *vm, struct error *err)
{
    return vm->driver->console(vm, err);
}

/* --- the list --- */

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The name without the suffix, when a machine answers there. Caller frees. */
static char *living_name(const char *folder, const char *entry)
{
    struct vm_socket vm;
    for (size_t i = 0; i < ARRAY_LENGTH(drivers); i++) {
        if (!text_ends_with(entry, drivers[i].suffix))
            continue;
        size_t length = strlen(entry) - strlen(drivers[i].suffix);
        AUTO_FREE char *name = text_format("%.*s", (int)length, entry);
        if (vm_socket_open(&vm, folder, name, NULL) != 0)
            return NULL;
        vm_socket_fini(&vm);
        return take_ptr(&name);
    }
    return NULL;
}

char **vm_list(const char *folder, size_t *count, struct error *err)
{
    char **names = NULL;
    *count = 0;
    DIR *entries = opendir(folder);
    if (!entries) {
        error_set(err, errno, "%s", folder);
        return NULL;
    }
    for (struct dirent *entry; (entry = readdir(entries));) {
        char *name = living_name(folder, entry->d_name);
        if (!name)
            continue;
        names = memory_grow(names, *count + 1, sizeof(*names));
        names[(*count)++] = name;
    }
    closedir(entries);
    if (*count)
        qsort(names, *count, sizeof(*names), compare);
    return names ? names : memory_new(1, sizeof(*names));
}
