/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Programs and modules of any content: names must be short, end inside the file and be no paths.
 */
#include "p2v/media/elf_file.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct bounds {
    const char *start, *end;
};

static void check(const struct bounds *bounds, const char *text)
{
    if (text < bounds->start || text >= bounds->end ||
        !memchr(text, '\0', (size_t)(bounds->end - text)))
        abort();
}

static void check_entry(void *context, const char *text)
{
    check(context, text);
    if (!*text)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bounds bounds = {(const char *)data, (const char *)data + size};
    struct elf_needed needed;
    if (elf_read_needed(data, size, &needed)) {
        for (size_t i = 0; i < needed.count; i++) {
            check(&bounds, needed.names[i]);
            if (strlen(needed.names[i]) >= ELF_MAX_NAME || strchr(needed.names[i], '/'))
                abort();
        }
    }
    elf_read_modinfo(data, size, check_entry, &bounds);
    return 0;
}
