/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A guest's network configuration, the same text as each of its files: read without a fault, every
 * name safe in a file name; and pinning what was found plans nothing the second time.
 */
#include "bootfix/interfaces.h"
#include "tests/lib/phony_guest.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_interfaces(struct phony *phony)
{
    struct error err = {0};
    if (interfaces_read(files_memory_files(phony->memory), phony->system, &err) != 0)
        abort();
    for (size_t i = 0; i < phony->system->interface_count; i++)
        if (!interface_name_is_valid(phony->system->interfaces[i].name))
            abort();
}

static void plan_fix(struct phony *phony)
{
    static const char *const macs[PHONY_MAX_NICS] = {"52:54:00:00:00:01", "52:54:00:00:00:02",
                                                     "52:54:00:00:00:03", "52:54:00:00:00:04"};
    struct error err = {0};
    phony->context.nic_count = 0;
    for (size_t i = 0; i < phony->system->interface_count && i < PHONY_MAX_NICS; i++)
        phony_add_nic(phony, phony->system->interfaces[i].name, macs[i]);
    if (fix_network.plan(&phony->context, &err) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const paths[] = {
        "/etc/network/interfaces",
        "/etc/network/interfaces.d/x",
        "/etc/systemd/network/x.network",
        "/etc/systemd/network/x.netdev",
        "/etc/systemd/network/x.link",
        "/etc/netplan/x.yaml",
        "/etc/NetworkManager/system-connections/x.nmconnection",
        "/etc/udev/rules.d/70-persistent-net.rules",
    };
    struct phony phony;
    phony_init(&phony);
    phony.system->has_systemd = size % 2 == 0;
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        files_memory_add(phony.memory, paths[i], 0644, data, size);
    read_interfaces(&phony);
    plan_fix(&phony);
    phony_apply(&phony);
    plan_fix(&phony);
    if (phony.plan.edit_count)
        abort();
    phony_fini(&phony);
    return 0;
}
