/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * One function per leaf that says where a CPU is, or what this machine does not have.
 */
#include "hypervisor/cpuid.h"

#include "base/bytes.h"
#include "base/checked.h"

#include <string.h>

/* A field of a register. */
static void set_bits(uint32_t *reg, unsigned low, unsigned count, uint32_t value)
{
    uint32_t mask = (uint32_t)((UINT64_C(1) << count) - 1);
    *reg = (*reg & ~(mask << low)) | (value & mask) << low;
}

static void set_bit(uint32_t *reg, unsigned bit, bool is_set)
{
    set_bits(reg, bit, 1, is_set);
}

/* How many bits number so many things. */
static unsigned bits_for(unsigned count)
{
    return count <= 1 ? 0 : 32 - (unsigned)__builtin_clz(count - 1);
}

static unsigned per_socket(const struct cpuid_options *options)
{
    return options->topology.cores * options->topology.threads;
}

struct cpuid_topology cpuid_topology_make(unsigned sockets, unsigned cores, unsigned threads)
{
    unsigned cpus = sockets * cores * threads;
    if (!is_power_of_two(threads))
        return (struct cpuid_topology){cpus, cpus, 1};
    if (sockets > 1 && !is_power_of_two(cores))
        return (struct cpuid_topology){cpus, sockets * cores, threads};
    return (struct cpuid_topology){cpus, cores, threads};
}

static void adapt_features(struct kvm_cpuid_entry2 *entry, const struct cpuid_options *options)
{
    set_bits(&entry->ebx, 16, 8, per_socket(options));
    set_bits(&entry->ebx, 24, 8, options->apic_id);
    set_bit(&entry->ecx, 31, true); /* a hypervisor is there */
    set_bit(&entry->ecx, 24, options->has_tsc_deadline);
    set_bit(&entry->edx, 28, per_socket(options) > 1); /* HTT: ebx counts CPUs */
    if (!options->has_nesting)
        set_bit(&entry->ecx, 5, false); /* VMX */
}

/* Intel's leaf 4 and AMD's 0x8000001d: a cache, and how many CPUs share it. */
static void adapt_cache(struct kvm_cpuid_entry2 *entry, const struct cpuid_options *options)
{
    unsigned type = entry->eax & 0x1f, level = entry->eax >> 5 & 7;
    unsigned sharing = level >= 3 ? per_socket(options) : options->topology.threads;
    if (type == 0)
        return;
    set_bits(&entry->eax, 14, 12, sharing - 1);
    if (entry->function == 4)
        set_bits(&entry->eax, 26, 6, options->topology.cores - 1);
}

static void adapt_amd_features(struct kvm_cpuid_entry2 *entry, const struct cpuid_options *options)
{
    set_bit(&entry->ecx, 1, per_socket(options) > 1); /* CmpLegacy */
    if (!options->has_nesting)
        set_bit(&entry->ecx, 2, false); /* SVM */
}

static void adapt_amd_size(struct kvm_cpuid_entry2 *entry, const struct cpuid_options *options)
{
    set_bits(&entry->ecx, 0, 8, per_socket(options) - 1);
    set_bits(&entry->ecx, 12, 4, bits_for(per_socket(options)));
}

static void adapt_amd_place(struct kvm_cpuid_entry2 *entry, const struct cpuid_options *options)
{
    unsigned threads = options->topology.threads;
    entry->eax = options->apic_id;
    entry->ebx = (threads - 1) << 8 | (options->apic_id % per_socket(options) / threads & 0xff);
    entry->ecx = 0; /* one node a socket, and they are not told apart */
    entry->edx = 0;
}

static void clear_svm(struct kvm_cpuid_entry2 *entry, const struct cpuid_options *options)
{
    if (!options->has_nesting)
        entry->eax = entry->ebx = entry->ecx = entry->edx = 0;
}

/* Extended destination ids would need an APIC table that tells of them. */
static void adapt_kvm_features(struct kvm_cpuid_entry2 *entry, const struct cpuid_options *options)
{
    (void)options;
    set_bit(&entry->eax, 15, false);
}

static const struct adapter {
    uint32_t function;
    bool is_amd_only;
    void (*adapt)(struct kvm_cpuid_entry2 *entry, const struct cpuid_options *options);
} adapters[] = {
    {0x1, false, adapt_features},
    {0x4, false, adapt_cache},
    {0x40000001, false, adapt_kvm_features},
    {0x80000001, true, adapt_amd_features},
    {0x80000008, true, adapt_amd_size},
    {0x8000000a, true, clear_svm},
    {0x8000001d, true, adapt_cache},
    {0x8000001e, true, adapt_amd_place},
};

static bool is_amd(const struct kvm_cpuid2 *cpuid)
{
    for (unsigned i = 0; i < cpuid->nent; i++) {
        const struct kvm_cpuid_entry2 *entry = &cpuid->entries[i];
        char vendor[12];
        memcpy(vendor, &entry->ebx, 4);
        memcpy(vendor + 4, &entry->edx, 4);
        memcpy(vendor + 8, &entry->ecx, 4);
        if (entry->function == 0)
            return memcmp(vendor, "AuthenticAMD", 12) == 0 ||
                   memcmp(vendor, "HygonGenuine", 12) == 0;
    }
    return false;
}

static uint32_t highest_leaf(const struct kvm_cpuid2 *cpuid)
{
    for (unsigned i = 0; i < cpuid->nent; i++) {
        if (cpuid->entries[i].function == 0)
            return cpuid->entries[i].eax;
    }
    return 0;
}

static void remove_leaf(struct kvm_cpuid2 *cpuid, uint32_t function)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < cpuid->nent; i++) {
        if (cpuid->entries[i].function != function)
            cpuid->entries[kept++] = cpuid->entries[i];
    }
    cpuid->nent = kept;
}

static void add_level(struct kvm_cpuid2 *cpuid, unsigned room, struct kvm_cpuid_entry2 entry)
{
    entry.function = 0xb;
    entry.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
    if (cpuid->nent < room)
        cpuid->entries[cpuid->nent++] = entry;
}

/* Leaf 0xb is made anew: threads of a core, then CPUs of a socket, then the end. 0x1f, which may
 * know more levels, goes. */
static void make_levels(struct kvm_cpuid2 *cpuid, unsigned room,
                        const struct cpuid_options *options)
{
    enum { SMT = 1 << 8, CORE = 2 << 8 };
    unsigned threads = options->topology.threads, id = options->apic_id;
    remove_leaf(cpuid, 0x1f);
    remove_leaf(cpuid, 0xb);
    if (highest_leaf(cpuid) < 0xb)
        return;
    add_level(cpuid, room,
              (struct kvm_cpuid_entry2){
                  .index = 0, .eax = bits_for(threads), .ebx = threads, .ecx = SMT, .edx = id});
    add_level(cpuid, room,
              (struct kvm_cpuid_entry2){.index = 1,
                                        .eax = bits_for(per_socket(options)),
                                        .ebx = per_socket(options),
                                        .ecx = CORE | 1,
                                        .edx = id});
    add_level(cpuid, room, (struct kvm_cpuid_entry2){.index = 2, .ecx = 2, .edx = id});
}

void cpuid_adapt(struct kvm_cpuid2 *cpuid, unsigned room, const struct cpuid_options *options)
{
    bool amd = is_amd(cpuid);
    for (unsigned i = 0; i < cpuid->nent; i++) {
        for (size_t j = 0; j < ARRAY_LENGTH(adapters); j++) {
            if (adapters[j].function == cpuid->entries[i].function &&
                (amd || !adapters[j].is_amd_only))
                adapters[j].adapt(&cpuid->entries[i], options);
        }
    }
    make_levels(cpuid, room, options);
}
