/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Renders a guest definition for the tests: `definetool TARGET FOLDER/guest.json` prints what the
 * target's writer makes of it, `definetool json FILE` the definition in its canonical form.
 */
#include "formats/guest.h"

#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int render(const struct guest *guest, const char *target_name, const char *path,
                  struct text *out, struct error *err)
{
    const struct guest_target *target = guest_target_find(target_name);
    AUTO_FREE char *real = realpath(path, NULL);

    if (target == NULL || real == NULL)
        return error_set(err, 0, "%s for %s: no such target or file", path, target_name);
    return target->render(guest, dirname(real), out, err);
}

static int run(const char *target, const char *path, struct error *err)
{
    AUTO_PTR(guest) guest = guest_read(AT_FDCWD, path, false, err);
    AUTO_FREE char *json = NULL;
    AUTO(text) out = {0};

    if (guest == NULL)
        return -1;
    if (strcmp(target, "json") == 0) {
        json = guest_format(guest, err);
        return json != NULL && fputs(json, stdout) >= 0 ? 0 : -1;
    }
    if (render(guest, target, path, &out, err) < 0)
        return -1;
    return fputs(text_string(&out), stdout) >= 0 ? 0 : -1;
}

int main(int argc, char **argv)
{
    struct error err = {0};

    if (argc != 3) {
        fprintf(stderr, "usage: definetool json|TARGET GUEST.JSON\n");
        return 2;
    }
    if (run(argv[1], argv[2], &err) < 0) {
        fprintf(stderr, "definetool: %s\n", err.text);
        return 1;
    }
    return fflush(stdout) == 0 ? 0 : 1;
}
