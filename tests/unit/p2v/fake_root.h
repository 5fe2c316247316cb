/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A machine's /sys, /proc and /etc in a temporary folder, for the tests of what reads them.
 */
#ifndef TESTS_UNIT_P2V_FAKE_ROOT_H
#define TESTS_UNIT_P2V_FAKE_ROOT_H

#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct fake_machine {
    char root[64];
};

static inline void fake_format(char *out, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static inline void fake_format(char *out, size_t size, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(out, size, format, arguments);
    va_end(arguments);
    assert_in_range(length, 0, size - 1);
}

static inline void fake_folder(const struct fake_machine *machine, const char *path)
{
    char whole[PATH_MAX];
    fake_format(whole, sizeof(whole), "%s/%s", machine->root, path);
    for (char *slash = whole + strlen(machine->root) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        mkdir(whole, 0755);
        *slash = '/';
    }
    mkdir(whole, 0755);
}

static inline void fake_parent(const struct fake_machine *machine, const char *path)
{
    char folder[PATH_MAX];
    fake_format(folder, sizeof(folder), "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash) {
        *slash = '\0';
        fake_folder(machine, folder);
    }
}

static inline void fake_bytes(const struct fake_machine *machine, const char *path,
                              const void *data, size_t length)
{
    char whole[PATH_MAX];
    fake_parent(machine, path);
    fake_format(whole, sizeof(whole), "%s/%s", machine->root, path);
    FILE *file = fopen(whole, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}

static inline void fake_file(const struct fake_machine *machine, const char *path, const char *text)
{
    fake_bytes(machine, path, text, strlen(text));
}

/* `target` as the machine sees it: "/sys/devices/…". */
static inline void fake_link(const struct fake_machine *machine, const char *path,
                             const char *target)
{
    char whole[PATH_MAX], inside[PATH_MAX];
    fake_parent(machine, path);
    fake_format(whole, sizeof(whole), "%s/%s", machine->root, path);
    fake_format(inside, sizeof(inside), "%s%s", machine->root, target);
    unlink(whole);
    assert_int_equal(symlink(inside, whole), 0);
}

/* A block device in the folder `device` of /sys, with the links that lead to it. */
static inline void fake_block(const struct fake_machine *machine, const char *device,
                              const char *name, const char *number)
{
    char path[PATH_MAX], link[PATH_MAX], text[64];
    fake_format(path, sizeof(path), "sys/devices/%s/dev", device);
    fake_format(text, sizeof(text), "%s\n", number);
    fake_file(machine, path, text);
    fake_format(path, sizeof(path), "sys/devices/%s/size", device);
    fake_file(machine, path, "2097152\n");
    fake_format(path, sizeof(path), "/sys/devices/%s", device);
    fake_format(link, sizeof(link), "sys/dev/block/%s", number);
    fake_link(machine, link, path);
    fake_format(link, sizeof(link), "sys/class/block/%s", name);
    fake_link(machine, link, path);
}

/* A disk of 1 GiB whose device stands at `place`; `place` ends with the SCSI address, if any. */
static inline void fake_disk(const struct fake_machine *machine, const char *name,
                             const char *number, const char *place)
{
    char path[PATH_MAX], link[PATH_MAX];
    fake_format(path, sizeof(path), "%s/block/%s", place, name);
    fake_block(machine, path, name, number);
    fake_format(path, sizeof(path), "/sys/devices/%s/block/%s", place, name);
    fake_format(link, sizeof(link), "sys/block/%s", name);
    fake_link(machine, link, path);
    fake_format(path, sizeof(path), "/sys/devices/%s", place);
    fake_format(link, sizeof(link), "sys/devices/%s/block/%s/device", place, name);
    fake_link(machine, link, path);
}

static inline void fake_virtual(const struct fake_machine *machine, const char *name,
                                const char *number)
{
    char path[PATH_MAX], link[PATH_MAX];
    fake_format(path, sizeof(path), "virtual/block/%s", name);
    fake_block(machine, path, name, number);
    fake_format(path, sizeof(path), "/sys/devices/virtual/block/%s", name);
    fake_format(link, sizeof(link), "sys/block/%s", name);
    fake_link(machine, link, path);
}

static inline void fake_in_block(const struct fake_machine *machine, const char *name,
                                 const char *file, const char *text)
{
    char path[PATH_MAX];
    fake_format(path, sizeof(path), "sys/class/block/%s/%s", name, file);
    fake_file(machine, path, text);
}

static inline void fake_partition(const struct fake_machine *machine, const char *disk,
                                  const char *name, const char *number)
{
    char real[PATH_MAX], path[PATH_MAX];
    fake_format(path, sizeof(path), "%s/sys/block/%s", machine->root, disk);
    assert_non_null(realpath(path, real));
    fake_format(path, sizeof(path), "%s/%s", real + strlen(machine->root) + strlen("/sys/devices/"),
                name);
    fake_block(machine, path, name, number);
    fake_in_block(machine, name, "partition", "1\n");
}

static inline void fake_holder(const struct fake_machine *machine, const char *name,
                               const char *holder)
{
    char path[PATH_MAX], target[PATH_MAX];
    fake_format(path, sizeof(path), "sys/class/block/%s/holders/%s", name, holder);
    fake_format(target, sizeof(target), "/sys/devices/virtual/block/%s", holder);
    fake_link(machine, path, target);
}

static inline int fake_machine_new(void **state)
{
    struct fake_machine *machine = calloc(1, sizeof(*machine));
    fake_format(machine->root, sizeof(machine->root), "/tmp/rehost-machine.XXXXXX");
    if (!mkdtemp(machine->root))
        return -1;
    fake_folder(machine, "sys/block");
    *state = machine;
    return 0;
}

static inline int fake_remove(const char *path, const struct stat *status, int type,
                              struct FTW *place)
{
    (void)status, (void)type, (void)place;
    return remove(path);
}

static inline int fake_machine_free(void **state)
{
    struct fake_machine *machine = *state;
    int result = nftw(machine->root, fake_remove, 16, FTW_DEPTH | FTW_PHYS);
    free(machine);
    return result;
}

#endif
