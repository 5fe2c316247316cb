/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What apt-cache and apt-get print, a control file, and two versions: names that come out become
 * part of an argv, so none may look like an option or a path; the order of versions must be one.
 */
#include "p2v/media/packages.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define MAX_INPUT_BYTES ((size_t)64 << 10)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int sign(int value)
{
    return (value > 0) - (value < 0);
}

static void check_names(const struct name_list *names)
{
    for (size_t i = 0; i < names->count; i++) {
        const char *name = names->items[i];
        if (!packages_follows(name) || strlen(name) >= DEB_MAX_NAME || strpbrk(name, "/ \n:="))
            abort();
    }
}

static void check_files(const struct name_list *files)
{
    for (size_t i = 0; i < files->count; i++) {
        if (strpbrk(files->items[i], "/ \n") || files->items[i][0] == '-' ||
            !strchr(files->items[i], '_'))
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    struct name_list names = {0}, files = {0};
    struct deb deb = {0};
    if (size > MAX_INPUT_BYTES)
        return 0;
    name_list_add(&names, "libc6");
    packages_parse_apt(text, size, &names);
    deb_parse_control(&deb, text, size);
    packages_parse_depends(deb.depends, &names);
    check_names(&names);
    packages_parse_uris(text, size, &files);
    check_files(&files);
    if (deb_compare_versions(deb.version, deb.version) != 0 ||
        sign(deb_compare_versions(deb.name, deb.version)) !=
            -sign(deb_compare_versions(deb.version, deb.name)))
        abort();
    name_list_fini(&names);
    name_list_fini(&files);
    deb_fini(&deb);
    return 0;
}
