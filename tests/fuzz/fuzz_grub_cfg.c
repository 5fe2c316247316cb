/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * GRUB's files of a guest, each with the same text: edited without a fault, and editing the result
 * again changes nothing.
 */
#include "tests/lib/phony_guest.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void plan_fix(struct phony *phony)
{
    struct error err = {0};
    if (fix_grub.plan(&phony->context, &err) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const paths[] = {"/boot/grub/grub.cfg", "/etc/default/grub",
                                        "/etc/default/grub.d/x.cfg", "/boot/grub/device.map",
                                        "/var/cache/debconf/config.dat"};
    struct phony phony;
    AUTO(text) diff = {0};
    phony_init_debian11(&phony);
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        files_memory_add(phony.memory, paths[i], 0644, data, size);
    plan_fix(&phony);
    plan_format_diff(&phony.plan, &diff);
    phony_apply(&phony);
    plan_fix(&phony);
    if (phony.plan.edit_count)
        abort();
    phony_fini(&phony);
    return 0;
}
