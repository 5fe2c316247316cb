/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * modules.dep, then a NUL, then modules.builtin: every module's closure must be made of safe paths,
 * nothing twice.
 */
#include "bootfix/modules.h"

#include <stdlib.h>
#include <string.h>

#define MAX_INPUT_BYTES ((size_t)64 << 10)
#define MAX_PATHS 64
#define MAX_LOOKED_AT 256

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_closure(const struct modules *modules, const struct module *module)
{
    const char *paths[MAX_PATHS];
    size_t count = 0;
    if (!modules_add_closure(modules, module, paths, MAX_PATHS, &count))
        return;
    for (size_t i = 0; i < count; i++) {
        if (!module_path_is_safe(paths[i], strlen(paths[i])))
            abort();
        for (size_t j = 0; j < i; j++)
            if (strcmp(paths[i], paths[j]) == 0)
                abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct modules modules;
    const char *text = (const char *)data;
    if (size > MAX_INPUT_BYTES)
        return 0;
    const char *cut = size ? memchr(text, '\0', size) : NULL;
    size_t dep_length = cut ? (size_t)(cut - text) : size;
    modules_parse(&modules, text, dep_length, cut ? cut + 1 : NULL,
                  cut ? size - dep_length - 1 : 0);
    for (size_t i = 0; i < modules.count && i < MAX_LOOKED_AT; i++) {
        if (!modules_find(&modules, modules.items[i].name))
            abort();
        check_closure(&modules, &modules.items[i]);
    }
    modules_fini(&modules);
    return 0;
}
