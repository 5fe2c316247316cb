/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What is wanted of the guest: from the options, or from who calls instead of them.
 */
#include "p2v/send_private.h"

static int take(const struct send_wishes *wanted, struct wishes *wishes, struct error *err)
{
    if (wanted->memory_bytes && wishes_set_memory(wishes, wanted->memory_bytes, err) != 0)
        return error_wrap(err, "--memory");
    if (wanted->vcpus && wishes_set_vcpus(wishes, wanted->vcpus, err) != 0)
        return error_wrap(err, "--vcpus");
    for (size_t i = 0; i < wanted->network_count; i++) {
        if (wishes_add_network(wishes, wanted->networks[i], err) != 0)
            return error_wrap(err, "--network");
    }
    return 0;
}

int send_take_wishes(const struct send_options *options, struct wishes *wishes, struct error *err)
{
    const struct send_wishes given = {.memory_bytes = options->memory_bytes,
                                      .vcpus = options->vcpus,
                                      .networks = options->networks.items,
                                      .network_count = options->networks.count};
    *wishes = (struct wishes){.memory_bytes = 0};
    if (options->name && wishes_set_name(wishes, options->name, err) != 0)
        return error_wrap(err, "--name");
    return take(options->wishes ? options->wishes : &given, wishes, err);
}
