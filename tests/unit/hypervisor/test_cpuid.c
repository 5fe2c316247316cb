/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What a virtual CPU says of itself: its place, and what this machine does not have.
 */
#include "base/bytes.h"
#include "hypervisor/cpuid.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ROOM 64

struct fixture {
    struct kvm_cpuid2 *cpuid;
};

static void add(struct fixture *fixture, struct kvm_cpuid_entry2 entry)
{
    fixture->cpuid->entries[fixture->cpuid->nent++] = entry;
}

static void add_vendor(struct fixture *fixture, const char *vendor, uint32_t highest)
{
    struct kvm_cpuid_entry2 entry = {.eax = highest};
    memcpy(&entry.ebx, vendor, 4);
    memcpy(&entry.edx, vendor + 4, 4);
    memcpy(&entry.ecx, vendor + 8, 4);
    add(fixture, entry);
}

static int set_up(void **state)
{
    struct fixture *fixture = malloc(sizeof(*fixture));
    fixture->cpuid = calloc(1, sizeof(*fixture->cpuid) + ROOM * sizeof(struct kvm_cpuid_entry2));
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    free(fixture->cpuid);
    free(fixture);
    return 0;
}

static void add_amd(struct fixture *fixture)
{
    add_vendor(fixture, "AuthenticAMD", 0xd);
    add(fixture, (struct kvm_cpuid_entry2){.function = 1, .ebx = 0x77000800, .ecx = 1u << 21});
    add(fixture, (struct kvm_cpuid_entry2){.function = 0xb, .index = 0, .ebx = 99, .flags = 1});
    add(fixture, (struct kvm_cpuid_entry2){.function = 0x40000001, .eax = 0x0100807b});
    add(fixture, (struct kvm_cpuid_entry2){.function = 0x80000001, .ecx = 1u << 2 | 1u << 22});
    add(fixture, (struct kvm_cpuid_entry2){.function = 0x80000008, .eax = 0x3030, .ecx = 0xffff});
    add(fixture, (struct kvm_cpuid_entry2){.function = 0x8000000a, .eax = 1, .ebx = 15, .edx = 9});
    add(fixture,
        (struct kvm_cpuid_entry2){.function = 0x8000001d, .index = 3, .eax = 0x163, .flags = 1});
    add(fixture, (struct kvm_cpuid_entry2){.function = 0x8000001e, .eax = 77, .ebx = 0xffff});
}

static const struct kvm_cpuid_entry2 *leaf(const struct fixture *fixture, uint32_t function,
                                           uint32_t index)
{
    for (unsigned i = 0; i < fixture->cpuid->nent; i++) {
        const struct kvm_cpuid_entry2 *entry = &fixture->cpuid->entries[i];
        if (entry->function == function && entry->index == index)
            return entry;
    }
    return NULL;
}

static void adapt(struct fixture *fixture, struct cpuid_options options)
{
    cpuid_adapt(fixture->cpuid, ROOM, &options);
}

static const struct cpuid_options fifth_of_eight = {.topology = {8, 4, 2}, .apic_id = 5};

static void a_cpu_says_its_number_and_how_many_there_are(void **state)
{
    struct fixture *fixture = *state;
    add_amd(fixture);
    adapt(fixture, fifth_of_eight);
    const struct kvm_cpuid_entry2 *features = leaf(fixture, 1, 0);
    assert_int_equal(features->ebx >> 24, 5);
    assert_int_equal(features->ebx >> 16 & 0xff, 8);
    assert_int_equal(features->ebx & 0xffff, 0x0800); /* the cache line's size stays */
    assert_int_equal(features->edx >> 28 & 1, 1);
    assert_int_equal(features->ecx >> 31, 1);
    assert_int_equal(features->ecx >> 21 & 1, 1);
}

static void amd_leaves_place_a_cpu_among_cores_and_threads(void **state)
{
    struct fixture *fixture = *state;
    add_amd(fixture);
    adapt(fixture, fifth_of_eight);
    assert_int_equal(leaf(fixture, 0x80000008, 0)->ecx, 0x3f07); /* 8 CPUs, ids of 3 bits */
    const struct kvm_cpuid_entry2 *place = leaf(fixture, 0x8000001e, 0);
    assert_int_equal(place->eax, 5);
    assert_int_equal(place->ebx, 0x102); /* core 2, two threads in it */
    assert_int_equal(leaf(fixture, 0x80000001, 0)->ecx >> 1 & 1, 1);
    assert_int_equal(leaf(fixture, 0x8000001d, 3)->eax >> 14 & 0xfff, 7);
}

static void levels_are_made_anew(void **state)
{
    struct fixture *fixture = *state;
    add_amd(fixture);
    adapt(fixture, fifth_of_eight);
    const struct kvm_cpuid_entry2 *threads = leaf(fixture, 0xb, 0), *cores = leaf(fixture, 0xb, 1);
    assert_int_equal(threads->eax, 1);
    assert_int_equal(threads->ebx, 2);
    assert_int_equal(threads->ecx, 0x100);
    assert_int_equal(threads->edx, 5);
    assert_int_equal(cores->eax, 3);
    assert_int_equal(cores->ebx, 8);
    assert_int_equal(cores->ecx, 0x201);
    assert_int_equal(leaf(fixture, 0xb, 2)->ecx, 2);
}

static void nesting_is_hidden_unless_asked_for(void **state)
{
    struct fixture *fixture = *state;
    add_amd(fixture);
    adapt(fixture, fifth_of_eight);
    assert_int_equal(leaf(fixture, 0x80000001, 0)->ecx >> 2 & 1, 0);
    assert_int_equal(leaf(fixture, 0x8000000a, 0)->ebx, 0);
    assert_int_equal(leaf(fixture, 0x8000000a, 0)->edx, 0);
}

static void nesting_is_shown_when_asked_for(void **state)
{
    struct fixture *fixture = *state;
    add_amd(fixture);
    struct cpuid_options options = fifth_of_eight;
    options.has_nesting = true;
    adapt(fixture, options);
    assert_int_equal(leaf(fixture, 0x80000001, 0)->ecx >> 2 & 1, 1);
    assert_int_equal(leaf(fixture, 0x8000000a, 0)->ebx, 15);
}

static void intel_caches_are_shared_as_the_topology_says(void **state)
{
    struct fixture *fixture = *state;
    add_vendor(fixture, "GenuineIntel", 0xd);
    add(fixture, (struct kvm_cpuid_entry2){.function = 1, .ecx = 1u << 5});
    add(fixture, (struct kvm_cpuid_entry2){.function = 4, .index = 0, .eax = 0x121});
    add(fixture, (struct kvm_cpuid_entry2){.function = 4, .index = 3, .eax = 0xfc000163});
    add(fixture, (struct kvm_cpuid_entry2){.function = 4, .index = 4, .eax = 0});
    add(fixture, (struct kvm_cpuid_entry2){.function = 0x80000008, .eax = 0x3030, .ecx = 0});
    adapt(fixture, fifth_of_eight);
    assert_int_equal(leaf(fixture, 1, 0)->ecx >> 5 & 1, 0);
    assert_int_equal(leaf(fixture, 4, 0)->eax >> 14 & 0xfff, 1);
    assert_int_equal(leaf(fixture, 4, 3)->eax >> 14 & 0xfff, 7);
    assert_int_equal(leaf(fixture, 4, 3)->eax >> 26, 3);
    assert_int_equal(leaf(fixture, 4, 4)->eax, 0);
    assert_int_equal(leaf(fixture, 0x80000008, 0)->ecx, 0); /* reserved there */
}

static void the_apic_timer_by_clock_is_said_when_kvm_has_it(void **state)
{
    struct fixture *fixture = *state;
    add_amd(fixture);
    struct cpuid_options options = fifth_of_eight;
    options.has_tsc_deadline = true;
    adapt(fixture, options);
    assert_int_equal(leaf(fixture, 1, 0)->ecx >> 24 & 1, 1);
    options.has_tsc_deadline = false;
    adapt(fixture, options);
    assert_int_equal(leaf(fixture, 1, 0)->ecx >> 24 & 1, 0);
}

static void kvms_leaf_stays_but_for_what_needs_more_of_us(void **state)
{
    struct fixture *fixture = *state;
    add_amd(fixture);
    adapt(fixture, fifth_of_eight);
    assert_int_equal(leaf(fixture, 0x40000001, 0)->eax, 0x0100007b);
}

static void one_cpu_alone_has_no_siblings(void **state)
{
    struct fixture *fixture = *state;
    add_amd(fixture);
    adapt(fixture, (struct cpuid_options){.topology = {1, 1, 1}});
    assert_int_equal(leaf(fixture, 1, 0)->edx >> 28 & 1, 0);
    assert_int_equal(leaf(fixture, 0x80000008, 0)->ecx & 0xf0ff, 0);
    assert_int_equal(leaf(fixture, 0xb, 1)->eax, 0);
}

static void a_full_list_is_not_overrun(void **state)
{
    struct fixture *fixture = *state;
    add_amd(fixture);
    unsigned room = fixture->cpuid->nent;
    cpuid_adapt(fixture->cpuid, room, &fifth_of_eight);
    assert_true(fixture->cpuid->nent <= room);
    assert_non_null(leaf(fixture, 0xb, 0));
    assert_null(leaf(fixture, 0xb, 1));
}

static void odd_topologies_become_one_socket(void **state)
{
    (void)state;
    struct cpuid_topology even = cpuid_topology_make(2, 4, 2);
    struct cpuid_topology odd = cpuid_topology_make(2, 3, 2);
    struct cpuid_topology strange = cpuid_topology_make(1, 2, 3);
    assert_true(even.cpus == 16 && even.cores == 4 && even.threads == 2);
    assert_true(odd.cpus == 12 && odd.cores == 6 && odd.threads == 2);
    assert_true(strange.cpus == 6 && strange.cores == 6 && strange.threads == 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_cpu_says_its_number_and_how_many_there_are),
        TEST(amd_leaves_place_a_cpu_among_cores_and_threads),
        TEST(levels_are_made_anew),
        TEST(nesting_is_hidden_unless_asked_for),
        TEST(nesting_is_shown_when_asked_for),
        TEST(intel_caches_are_shared_as_the_topology_says),
        TEST(the_apic_timer_by_clock_is_said_when_kvm_has_it),
        TEST(kvms_leaf_stays_but_for_what_needs_more_of_us),
        TEST(one_cpu_alone_has_no_siblings),
        TEST(a_full_list_is_not_overrun),
        TEST(odd_topologies_become_one_socket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
