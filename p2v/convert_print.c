/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The last words of `rehost convert` and `rehost finish`, on stdout.
 */
#include "base/text.h"
#include "p2v/convert.h"

#include <stdio.h>
#include <string.h>

void convert_print_fixed(const struct convert *convert)
{
    AUTO(text) product = {0};
    const struct system *system = convert->fixing.system;
    const char *name = system && system->product ? system->product : "unknown system";
    text_add_escaped(&product, name, strlen(name));
    switch (convert->fix) {
    case CONVERT_FIXED:
        printf("fixed    %s: %zu changes in %.1f s\n", text_string(&product),
               convert->fixing.plan.edit_count, convert->fix_seconds);
        return;
    case CONVERT_NOTHING_TO_FIX:
        printf("fixed    %s: nothing to change\n", text_string(&product));
        return;
    case CONVERT_NOT_FIXED:
        printf("not fixed: %s\n", convert->fix_reason);
        return;
    }
}

void convert_print_tested(const struct convert *convert)
{
    const struct boot_result *boot = &convert->boot;
    if (!convert->is_boot_tested) {
        printf("not tested\n");
        return;
    }
    if (!boot->is_ok) {
        printf("boot test failed: %s\n", boot->problem);
        return;
    }
    printf("tested   booted to %s in %.0f s (%s)", boot_stage_name(boot->stage), boot->seconds,
           boot->accelerator);
    for (size_t i = 0; i < boot->nic_count; i++) {
        const struct boot_nic_result *nic = &boot->nics[i];
        if (nic->name)
            printf(", %s %s", nic->name, nic->is_ok ? "up" : "not seen");
    }
    if (boot->failed_count)
        printf(", %zu failed units", boot->failed_count);
    printf("\n");
}
