/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Keys and files as a firmware reads them, by bytes and by DMA, and commands that lie.
 */
#include "base/bytes.h"
#include "hypervisor/fwcfg.h"
#include "tests/unit/hypervisor/platform_rig.h"

#define SELECTOR LAYOUT_PORT_FWCFG
#define DATA (LAYOUT_PORT_FWCFG + 1)
#define DMA (LAYOUT_PORT_FWCFG + 4)
#define COMMAND 0x100 /* where commands are in RAM, and their data */
#define BUFFER 0x1000
#define READ 2
#define SKIP 4
#define SELECT 8
#define WRITE 16

static struct fwcfg *fwcfg_on(struct rig *rig)
{
    struct error err = {0};
    struct fwcfg *fwcfg = fwcfg_new(&rig->host, &err);
    assert_non_null(fwcfg);
    assert_int_equal(fwcfg_add_key(fwcfg, 0, "QEMU", 4, &err), 0);
    assert_int_equal(fwcfg_add_file(fwcfg, "etc/e820", "memory", 6, &err), 0);
    assert_int_equal(fwcfg_add_file(fwcfg, "bootorder", "disk\n", 6, &err), 0);
    assert_int_equal(fwcfg_add_file(fwcfg, "etc/acpi/tables", "tables", 6, &err), 0);
    return fwcfg;
}

static void reads(struct rig *rig, const void *expected, size_t length)
{
    for (size_t i = 0; i < length; i++)
        assert_int_equal(in8(rig, DATA), ((const uint8_t *)expected)[i]);
}

static void selects(struct rig *rig, uint16_t key)
{
    bus_write(&rig->ports, SELECTOR, 2, key);
}

/* Returns the control word that the device leaves. */
static uint32_t runs(struct rig *rig, uint32_t control, uint32_t length, uint64_t address)
{
    store_be32(rig->ram + COMMAND, control);
    store_be32(rig->ram + COMMAND + 4, length);
    store_be64(rig->ram + COMMAND + 8, address);
    bus_write(&rig->ports, DMA, 4, 0);
    bus_write(&rig->ports, DMA + 4, 4, htobe32(COMMAND));
    return load_be32(rig->ram + COMMAND);
}

static void test_fwcfg_gives_a_keys_bytes_then_zeroes(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    struct fwcfg *fwcfg = fwcfg_on(rig);
    selects(rig, 0);
    reads(rig, "QEMU\0\0", 6);
    selects(rig, 0x4000); /* the bit for writing is of no meaning */
    reads(rig, "QE", 2);
    selects(rig, 0);
    reads(rig, "QE", 2);
    rig_free(rig, fwcfg_device(fwcfg));
}

static void test_fwcfg_unknown_keys_read_as_zero(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    struct fwcfg *fwcfg = fwcfg_on(rig);
    for (unsigned key = 0; key <= UINT16_MAX; key++) {
        unsigned known = key & 0xbfff;
        selects(rig, (uint16_t)key);
        if (known != 0 && known != 0x19 && (known < 0x20 || known >= 0x23))
            assert_int_equal(in8(rig, DATA), 0);
    }
    rig_free(rig, fwcfg_device(fwcfg));
}

static void test_fwcfg_directory_is_sorted_and_leads_to_the_files(void **state)
{
    (void)state;
    static const char *const names[] = {"bootorder", "etc/acpi/tables", "etc/e820"};
    static const char *const contents[] = {"disk\n", "tables", "memory"};
    struct rig *rig = rig_new();
    struct fwcfg *fwcfg = fwcfg_on(rig);
    uint8_t directory[4 + 3 * 64];
    selects(rig, 0x19);
    for (size_t i = 0; i < sizeof(directory); i++)
        directory[i] = in8(rig, DATA);
    assert_int_equal(load_be32(directory), 3);
    for (unsigned i = 0; i < 3; i++) {
        const uint8_t *entry = directory + 4 + (size_t)i * 64;
        assert_int_equal(load_be32(entry), 6);
        assert_int_equal(load_be16(entry + 4), 0x20 + i);
        assert_string_equal((const char *)entry + 8, names[i]);
        selects(rig, load_be16(entry + 4));
        reads(rig, contents[i], strlen(contents[i]));
    }
    rig_free(rig, fwcfg_device(fwcfg));
}

static void test_fwcfg_refuses_what_it_could_not_tell(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    struct fwcfg *fwcfg = fwcfg_on(rig);
    struct error err = {0};
    char name[58];
    memset(name, 'n', sizeof(name));
    name[56] = '\0';
    assert_int_equal(fwcfg_add_file(fwcfg, name, "", 0, &err), -1);
    name[55] = '\0';
    assert_int_equal(fwcfg_add_file(fwcfg, name, NULL, 0, &err), 0);
    assert_int_equal(fwcfg_add_file(fwcfg, "etc/e820", "", 0, &err), -1);
    assert_int_equal(fwcfg_add_file(fwcfg, "", "", 0, &err), -1);
    assert_int_equal(fwcfg_add_key(fwcfg, 0x20, "", 0, &err), -1);
    assert_int_equal(fwcfg_add_key(fwcfg, 0x19, "", 0, &err), -1);
    for (int i = 0; i < FWCFG_MAX_FILES - 4; i++) {
        snprintf(name, sizeof(name), "file%d", i);
        assert_int_equal(fwcfg_add_file(fwcfg, name, name, 4, &err), 0);
    }
    assert_int_equal(fwcfg_add_file(fwcfg, "one more", "", 0, &err), -1);
    rig_free(rig, fwcfg_device(fwcfg));
}

static void test_fwcfg_dma_selects_skips_and_reads(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    struct fwcfg *fwcfg = fwcfg_on(rig);
    memset(rig->ram + BUFFER, 0xee, 16);
    assert_int_equal(bus_read(&rig->ports, DMA, 4), load_le32("QEMU"));
    assert_int_equal(bus_read(&rig->ports, DMA + 4, 4), load_le32(" CFG"));
    assert_int_equal(bus_read(&rig->ports, DMA, 8), load_le64("QEMU CFG"));
    assert_int_equal(runs(rig, 0x22u << 16 | SELECT | READ, 4, BUFFER), 0);
    assert_memory_equal(rig->ram + BUFFER, "memo\xee", 5);
    assert_int_equal(runs(rig, READ, 4, BUFFER), 0);
    assert_memory_equal(rig->ram + BUFFER, "ry\0\0\xee", 5);
    assert_int_equal(runs(rig, 0x22u << 16 | SELECT | SKIP, 3, 0), 0);
    reads(rig, "ory", 3); /* both ways share one position */
    assert_int_equal(runs(rig, 0x21u << 16 | SELECT, 0, 0), 0);
    reads(rig, "tables", 6);
    store_be32(rig->ram + COMMAND, 0x21u << 16 | SELECT);
    bus_write(&rig->ports, DMA, 8, htobe64(COMMAND)); /* both halves at once */
    reads(rig, "tables", 6);
    rig_free(rig, fwcfg_device(fwcfg));
}

static void test_fwcfg_dma_refuses_ranges_that_are_not_ram(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    struct fwcfg *fwcfg = fwcfg_on(rig);
    static const struct {
        uint32_t length;
        uint64_t address;
    } bad[] = {
        {1, 65536},          {2, 65535},
        {65537, 0},          {UINT32_MAX, 0},
        {16, UINT64_MAX},    {UINT32_MAX, UINT64_MAX - 100},
        {1, 1ull << 63},     {64u << 20, BUFFER},
        {1, 0x100000000ull}, {0x80000000, 0x80000000},
    };
    uint8_t before[256];
    memset(rig->ram, 0x77, sizeof(rig->ram));
    memcpy(before, rig->ram + BUFFER, sizeof(before));
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
        assert_int_equal(runs(rig, 0x22u << 16 | SELECT | READ, bad[i].length, bad[i].address), 1);
        assert_memory_equal(rig->ram + BUFFER, before, sizeof(before));
        assert_int_equal(rig->ram[65535], 0x77);
    }
    assert_int_equal(runs(rig, WRITE | SELECT, 4, BUFFER), 1);
    selects(rig, 0);
    reads(rig, "QEMU", 4); /* and nothing was written */
    rig_free(rig, fwcfg_device(fwcfg));
}

static void test_fwcfg_dma_skips_any_length_and_commands_outside_of_ram_are_nothing(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    struct fwcfg *fwcfg = fwcfg_on(rig);
    assert_int_equal(runs(rig, 0x22u << 16 | SELECT | SKIP, UINT32_MAX, 0), 0);
    assert_int_equal(runs(rig, SKIP, UINT32_MAX, 0), 0);
    reads(rig, "\0\0", 2);
    selects(rig, 0);
    static const uint64_t nowhere[] = {65536, 65536 - 15, UINT64_MAX, UINT64_MAX - 15, 1ull << 32};
    for (size_t i = 0; i < ARRAY_LENGTH(nowhere); i++) {
        bus_write(&rig->ports, DMA, 4, htobe32((uint32_t)(nowhere[i] >> 32)));
        bus_write(&rig->ports, DMA + 4, 4, htobe32((uint32_t)nowhere[i]));
    }
    reads(rig, "QEMU", 4);
    rig_free(rig, fwcfg_device(fwcfg));
}

/* A command that lies in its own data: the answer comes last, and nothing is read twice. */
static void test_fwcfg_dma_may_overwrite_its_own_command(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    struct fwcfg *fwcfg = fwcfg_on(rig);
    assert_int_equal(runs(rig, 0x22u << 16 | SELECT | READ, 16, COMMAND), 0);
    assert_memory_equal(rig->ram + COMMAND, "\0\0\0\0ry\0", 7);
    rig_free(rig, fwcfg_device(fwcfg));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fwcfg_gives_a_keys_bytes_then_zeroes),
        cmocka_unit_test(test_fwcfg_unknown_keys_read_as_zero),
        cmocka_unit_test(test_fwcfg_directory_is_sorted_and_leads_to_the_files),
        cmocka_unit_test(test_fwcfg_refuses_what_it_could_not_tell),
        cmocka_unit_test(test_fwcfg_dma_selects_skips_and_reads),
        cmocka_unit_test(test_fwcfg_dma_refuses_ranges_that_are_not_ram),
        cmocka_unit_test(test_fwcfg_dma_skips_any_length_and_commands_outside_of_ram_are_nothing),
        cmocka_unit_test(test_fwcfg_dma_may_overwrite_its_own_command),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
