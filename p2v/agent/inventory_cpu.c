/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * CPUs and memory: the topology of sysfs (Linux' Documentation/admin-guide/cputopology.rst), the
 * model of /proc/cpuinfo, the memory of /proc/meminfo.
 */
#include "base/bytes.h"
#include "base/checked.h"
#include "base/own.h"
#include "base/text.h"
#include "p2v/agent/inventory.h"
#include "p2v/agent/inventory_file.h"
#include "p2v/json.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_CPUS 8192u

struct cpu {
    uint64_t package, die, core;
};

struct topology {
    struct cpu *cpus;
    size_t count, packages, cores;
};

static int compare_cpus(const void *left, const void *right)
{
    const struct cpu *a = left, *b = right;
    if (a->package != b->package)
        return a->package < b->package ? -1 : 1;
    if (a->die != b->die)
        return a->die < b->die ? -1 : 1;
    return a->core < b->core ? -1 : a->core > b->core;
}

/* CPUs that are switched off have no topology and are not counted. */
static void read_cpus(const char *root, struct topology *topology)
{
    const char *folder = "/sys/devices/system/cpu";
    char **names = inventory_names(root, "%s", folder);
    for (size_t i = 0; names[i] && topology->count < MAX_CPUS; i++) {
        if (strncmp(names[i], "cpu", 3) != 0 || !isdigit((unsigned char)names[i][3]) ||
            !inventory_has(root, "%s/%s/topology/core_id", folder, names[i]))
            continue;
        topology->cpus = memory_grow(topology->cpus, topology->count + 1, sizeof(struct cpu));
        topology->cpus[topology->count++] = (struct cpu){
            inventory_number(root, 0, "%s/%s/topology/physical_package_id", folder, names[i]),
            inventory_number(root, 0, "%s/%s/topology/die_id", folder, names[i]),
            inventory_number(root, 0, "%s/%s/topology/core_id", folder, names[i])};
    }
    inventory_names_free(names);
}

static void count_topology(struct topology *topology)
{
    if (topology->count)
        qsort(topology->cpus, topology->count, sizeof(struct cpu), compare_cpus);
    for (size_t i = 0; i < topology->count; i++) {
        const struct cpu *cpu = &topology->cpus[i];
        topology->packages += i == 0 || cpu->package != cpu[-1].package;
        topology->cores += i == 0 || compare_cpus(cpu, cpu - 1) != 0;
    }
}

/* "model name	: Intel(R) …": the value of the first line with that key; "" when there is none. */
static char *cpuinfo_value(const char *cpuinfo, const char *key)
{
    for (const char *line = cpuinfo; line; line = strchr(line, '\n')) {
        line += line[0] == '\n';
        size_t length = strlen(key);
        if (strncmp(line, key, length) != 0 || !strchr("\t :", line[length]))
            continue;
        const char *colon = strchr(line, ':');
        if (!colon)
            break;
        char *value = text_copy(colon + 1);
        value[strcspn(value, "\n")] = '\0';
        return inventory_strip(value);
    }
    return text_copy("");
}

static size_t count_processors(const char *cpuinfo)
{
    size_t count = 0;
    for (const char *at = cpuinfo; (at = strstr(at, "processor\t")); at++)
        count++;
    return count ? count : 1;
}

static json_t *cpu_json(const char *root)
{
    struct topology topology = {0};
    AUTO_FREE char *cpuinfo = inventory_text(root, "/proc/cpuinfo");
    AUTO_FREE char *model = cpuinfo_value(cpuinfo, "model name");
    AUTO_FREE char *vendor = cpuinfo_value(cpuinfo, "vendor_id");
    read_cpus(root, &topology);
    count_topology(&topology);
    size_t count = topology.count ? topology.count : count_processors(cpuinfo);
    size_t sockets = topology.count ? topology.packages : 1;
    size_t cores = topology.count ? div_round_up(topology.cores, sockets) : count;
    json_t *json = json_object();
    json_set_bytes(json, "sockets", sockets);
    json_set_bytes(json, "cores", cores);
    json_set_bytes(json, "threads", topology.count ? div_round_up(count, topology.cores) : 1);
    json_set_bytes(json, "count", count);
    json_set_text(json, "model", model[0] ? model : NULL);
    json_set_text(json, "vendor", vendor[0] ? vendor : NULL);
    free(topology.cpus);
    return json;
}

/* --- memory --- */

/* What is built in, by the kernel's memory blocks; 0 when it does not tell. */
static uint64_t installed_bytes(const char *root)
{
    const char *folder = "/sys/devices/system/memory";
    uint64_t size = 0, total = 0;
    AUTO_FREE char *hex = inventory_text(root, "%s/block_size_bytes", folder);
    if (sscanf(hex, "%" SCNx64, &size) != 1)
        return 0;
    char **names = inventory_names(root, "%s", folder);
    for (size_t i = 0; names[i]; i++) {
        AUTO_FREE char *state = inventory_text(root, "%s/%s/state", folder, names[i]);
        if (strncmp(names[i], "memory", 6) == 0 && strcmp(state, "online") == 0 &&
            !checked_add(total, size, &total))
            total = 0;
    }
    inventory_names_free(names);
    return total;
}

/*
 * The kernel takes a part for itself before it counts MemTotal; the blocks have holes in them. They
 * are believed where the two are not far apart.
 */
static uint64_t memory_bytes(const char *root, uint64_t usable)
{
    uint64_t installed = installed_bytes(root);
    bool is_near = installed >= usable && installed - usable <= usable / 8 + 512 * MIB;
    return is_near ? installed : usable;
}

void inventory_add_processors(const char *root, json_t *inventory)
{
    uint64_t usable = inventory_memory(root, 0, "MemTotal");
    json_object_set_new(inventory, "cpu", cpu_json(root));
    json_set_bytes(inventory, "memory_bytes", memory_bytes(root, usable));
    json_set_bytes(inventory, "memory_usable_bytes", usable);
}
