/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Reads small files of /sys, /proc and /etc below a root folder.
 */
#include "p2v/agent/inventory_file.h"

#include "base/bytes.h"
#include "base/io.h"
#include "base/own.h"
#include "base/text.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* More entries than this in one folder are none of a machine's. */
#define MAX_NAMES 65536u
/* A host of thousands of containers has a long mountinfo, of which no line may be missed. */
#define MAX_FILE ((size_t)64 << 20)

static char *path_of(const char *root, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));

static char *path_of(const char *root, const char *format, va_list arguments)
{
    char path[PATH_MAX];
    vsnprintf(path, sizeof(path), format, arguments);
    return text_format("%s%s", root, path);
}

#define PATH_OF(path, root, format)                                                                \
    do {                                                                                           \
        va_list arguments;                                                                         \
        va_start(arguments, format);                                                               \
        path = path_of(root, format, arguments);                                                   \
        va_end(arguments);                                                                         \
    } while (0)

char *inventory_path(const char *root, const char *format, ...)
{
    char *path;
    PATH_OF(path, root, format);
    return path;
}

/* Files of /sys and /proc have no size and end where a read gives nothing. */
char *inventory_read(const char *path, size_t *length)
{
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    AUTO(text) out = {0};
    char buffer[4096];
    ssize_t got;
    if (fd < 0)
        return NULL;
    while (out.length < MAX_FILE) {
        got = read(fd, buffer, sizeof(buffer));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return NULL;
        if (got == 0)
            break;
        text_add_bytes(&out, buffer, (size_t)got);
    }
    if (length)
        *length = out.length;
    return text_take(&out);
}

char *inventory_strip(char *text)
{
    size_t skip = strspn(text, " \t\r\n");
    memmove(text, text + skip, strlen(text + skip) + 1);
    size_t length = strlen(text);
    while (length && isspace((unsigned char)text[length - 1]))
        text[--length] = '\0';
    return text;
}

static char *read_text(const char *path)
{
    char *text = inventory_read(path, NULL);
    return text ? inventory_strip(text) : text_copy("");
}

char *inventory_text(const char *root, const char *format, ...)
{
    AUTO_FREE char *path = NULL;
    PATH_OF(path, root, format);
    return read_text(path);
}

uint64_t inventory_number(const char *root, uint64_t otherwise, const char *format, ...)
{
    AUTO_FREE char *path = NULL;
    PATH_OF(path, root, format);
    AUTO_FREE char *text = read_text(path);
    char *end;
    if (!isdigit((unsigned char)text[0]))
        return otherwise;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    return errno || *end ? otherwise : number;
}

uint64_t inventory_memory(const char *root, uint64_t otherwise, const char *name)
{
    uint64_t kib;
    AUTO_FREE char *text = inventory_text(root, "/proc/meminfo");
    AUTO_FREE char *key = text_format("%s:", name);
    const char *line = strstr(text, key);
    return line && sscanf(line + strlen(key), "%" SCNu64, &kib) == 1 && kib < UINT64_MAX / KIB
               ? kib * KIB
               : otherwise;
}

static char *resolve(const char *root, const char *path)
{
    char target[PATH_MAX], top[PATH_MAX];
    if (!realpath(path, target))
        return text_copy("");
    if (!root[0] || !realpath(root, top))
        return text_copy(target);
    size_t length = strlen(top);
    return text_copy(strncmp(target, top, length) == 0 ? target + length : target);
}

char *inventory_link(const char *root, const char *format, ...)
{
    AUTO_FREE char *path = NULL;
    PATH_OF(path, root, format);
    return resolve(root, path);
}

char *inventory_link_name(const char *root, const char *format, ...)
{
    AUTO_FREE char *path = NULL;
    PATH_OF(path, root, format);
    AUTO_FREE char *target = resolve(root, path);
    const char *slash = strrchr(target, '/');
    return text_copy(slash ? slash + 1 : target);
}

bool inventory_has(const char *root, const char *format, ...)
{
    AUTO_FREE char *path = NULL;
    PATH_OF(path, root, format);
    return access(path, F_OK) == 0;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

char **inventory_names(const char *root, const char *format, ...)
{
    AUTO_FREE char *path = NULL;
    PATH_OF(path, root, format);
    char **names = memory_new(1, sizeof(*names));
    size_t count = 0;
    DIR *folder = opendir(path);
    if (!folder)
        return names;
    struct dirent *entry;
    while ((entry = readdir(folder)) && count < MAX_NAMES) {
        if (entry->d_name[0] == '.')
            continue;
        names = memory_grow(names, count + 2, sizeof(*names));
        names[count++] = text_copy(entry->d_name);
        names[count] = NULL;
    }
    closedir(folder);
    qsort(names, count, sizeof(*names), compare_names);
    return names;
}

void inventory_names_free(char **names)
{
    for (size_t i = 0; names && names[i]; i++)
        free(names[i]);
    free(names);
}
