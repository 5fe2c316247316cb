/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Which terminals: the screen, and each serial line that the kernel was given.
 */
#include "p2v/boot/init_consoles.h"

#include "base/own.h"
#include "p2v/agent/inventory_file.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define SCREEN "/dev/tty1"
#define NAME_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

/* Of "tty0" and "tty5" the first terminal; a serial line is what it is called. */
static bool path_of(const char *name, char path[64])
{
    bool is_screen =
        strncmp(name, "tty", 3) == 0 && strspn(name + 3, "0123456789") == strlen(name + 3);
    size_t length = strlen(name);
    if (length == 0 || length > 32 || strspn(name, NAME_CHARACTERS) != length)
        return false;
    snprintf(path, 64, is_screen ? SCREEN : "/dev/%.32s", name);
    return true;
}

static bool is_listed(char paths[][64], size_t count, const char *path)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(paths[i], path) == 0)
            return true;
    }
    return false;
}

size_t boot_consoles_list(const char *root, char paths[][64], size_t max)
{
    AUTO_FREE char *active = inventory_text(root, "/sys/class/tty/console/active");
    char *rest = active, path[64];
    size_t count = 0;
    while (rest && count < max) {
        const char *name = strsep(&rest, " \n");
        if (path_of(name, path) && !is_listed(paths, count, path))
            memcpy(paths[count++], path, sizeof(path));
    }
    if (count == 0 && max > 0)
        snprintf(paths[count++], 64, SCREEN);
    return count;
}
