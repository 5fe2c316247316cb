/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A firmware's image is read, refused or placed, the memory map agrees with the layout, and SeaBIOS
 * finds by fw_cfg what it asks for.
 */
#include "base/bytes.h"
#include "base/own.h"
#include "hypervisor/boot.h"
#include "tests/unit/hypervisor/platform_rig.h"

#include <fcntl.h>
#include <sys/mman.h>

/* Its path; the descriptor stays open. */
static void file_of(char path[64], size_t size, uint8_t byte)
{
    int fd = memfd_create("firmware", 0);
    AUTO_FREE uint8_t *bytes = malloc(size + 1);
    assert_true(fd >= 0);
    assert_non_null(bytes);
    memset(bytes, byte, size);
    assert_int_equal(write(fd, bytes, size), size);
    snprintf(path, 64, "/proc/self/fd/%d", fd);
}

static void test_firmware_read_takes_128_and_256_kib_only(void **state)
{
    (void)state;
    static const struct {
        size_t size;
        int result;
    } cases[] = {
        {0, -1},         {1, -1},        {128 << 10, 0},        {(128 << 10) + 1, -1},
        {192 << 10, -1}, {256 << 10, 0}, {(256 << 10) + 1, -1}, {4 << 20, -1},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct firmware firmware;
        struct error err = {0};
        char path[64];
        file_of(path, cases[i].size, 0x5a);
        assert_int_equal(firmware_read(&firmware, path, &err), cases[i].result);
        if (cases[i].result == 0) {
            assert_int_equal(firmware.size, cases[i].size);
            assert_int_equal((uintptr_t)firmware.data % 4096, 0);
            assert_int_equal(firmware.data[firmware.size - 1], 0x5a);
        } else {
            assert_null(firmware.data);
            assert_non_null(strstr(err.text, path));
        }
        firmware_fini(&firmware);
        close(atoi(path + strlen("/proc/self/fd/")));
    }
}

static void test_firmware_place_ends_its_copy_at_1_mib(void **state)
{
    (void)state;
    static const size_t sizes[] = {128 << 10, 256 << 10};
    for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++) {
        struct guest_memory memory = {.count = 0};
        struct error err = {0};
        AUTO_FREE uint8_t *ram = calloc(2, MIB);
        AUTO_FREE uint8_t *image = malloc(sizes[i]);
        assert_non_null(ram);
        assert_non_null(image);
        memset(image, 0xb1, sizes[i]);
        assert_int_equal(guest_memory_add(&memory, 0, 2 * MIB, ram, &err), 0);
        struct firmware firmware = {image, sizes[i]};
        assert_int_equal(firmware_place(&firmware, &memory, &err), 0);
        assert_int_equal(ram[MIB - sizes[i] - 1], 0);
        assert_memory_equal(ram + MIB - sizes[i], image, sizes[i]);
        assert_int_equal(ram[MIB], 0);
    }
}

static void test_firmware_place_needs_ram(void **state)
{
    (void)state;
    struct guest_memory memory = {.count = 0};
    struct error err = {0};
    uint8_t ram[4096], image[1] = {0};
    assert_int_equal(guest_memory_add(&memory, 0, sizeof(ram), ram, &err), 0);
    assert_int_equal(firmware_place(&(struct firmware){image, sizeof(image)}, &memory, &err), -1);
}

static uint64_t ram_in(const struct memory_map_entry *entries, size_t count)
{
    uint64_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += entries[i].type == MEMORY_MAP_RAM ? entries[i].length : 0;
    return total;
}

static void test_memory_map_is_sorted_disjoint_and_has_all_ram_but_its_holes(void **state)
{
    (void)state;
    static const uint64_t sizes[][2] = {
        {64 * MIB, 0}, {128 * MIB, 0}, {LAYOUT_RAM_LOW_MAX, 0}, {LAYOUT_RAM_LOW_MAX, 61 * GIB}};
    for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++) {
        struct memory_map_entry entries[MEMORY_MAP_MAX];
        size_t count = memory_map_make(entries, sizes[i][0], sizes[i][1]);
        assert_in_range(count, 5, MEMORY_MAP_MAX);
        for (size_t j = 1; j < count; j++)
            assert_true(entries[j].start >= entries[j - 1].start + entries[j - 1].length);
        uint64_t hole = MIB - LAYOUT_EBDA;
        assert_int_equal(ram_in(entries, count), sizes[i][0] + sizes[i][1] - hole);
        for (size_t j = 0; j < count; j++) {
            uint64_t end = entries[j].start + entries[j].length;
            assert_true(entries[j].type == MEMORY_MAP_RESERVED || end <= sizes[i][0] ||
                        entries[j].start == LAYOUT_RAM_HIGH);
        }
    }
}

/* The file's content as the guest reads it; its length. */
static size_t guest_reads(struct rig *rig, const char *name, uint8_t *to, size_t room)
{
    uint8_t head[4], entry[64];
    bus_write(&rig->ports, LAYOUT_PORT_FWCFG, 2, 0x19);
    for (size_t i = 0; i < sizeof(head); i++)
        head[i] = in8(rig, LAYOUT_PORT_FWCFG + 1);
    for (uint32_t left = load_be32(head); left > 0; left--) {
        for (size_t i = 0; i < sizeof(entry); i++)
            entry[i] = in8(rig, LAYOUT_PORT_FWCFG + 1);
        size_t size = load_be32(entry);
        if (strcmp((const char *)entry + 8, name) != 0)
            continue;
        assert_true(size <= room);
        bus_write(&rig->ports, LAYOUT_PORT_FWCFG, 2, load_be16(entry + 4));
        for (size_t i = 0; i < size; i++)
            to[i] = in8(rig, LAYOUT_PORT_FWCFG + 1);
        return size;
    }
    fail_msg("no file %s", name);
    return 0;
}

static unsigned key16(struct rig *rig, uint16_t key)
{
    bus_write(&rig->ports, LAYOUT_PORT_FWCFG, 2, key);
    unsigned low = in8(rig, LAYOUT_PORT_FWCFG + 1);
    return low | (unsigned)in8(rig, LAYOUT_PORT_FWCFG + 1) << 8;
}

static void test_firmware_configure_tells_seabios_all_it_asks_for(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    struct error err = {0};
    struct fwcfg *fwcfg = fwcfg_new(&rig->host, &err);
    const unsigned slots[] = {3, 17};
    const struct firmware_options options = {
        .cpus = 4,
        .low_bytes = LAYOUT_RAM_LOW_MAX,
        .high_bytes = GIB,
        .boot_slots = slots,
        .boot_slot_count = 2,
    };
    uint8_t bytes[8192];
    assert_non_null(fwcfg);
    assert_int_equal(firmware_configure(fwcfg, &options, &err), 0);
    assert_int_equal(key16(rig, 0), 'Q' | 'E' << 8);
    assert_int_equal(key16(rig, 1), 3);
    assert_int_equal(key16(rig, 4), 1);
    assert_int_equal(key16(rig, 5), 4);
    assert_int_equal(key16(rig, 0x0f), 4);
    assert_int_equal(guest_reads(rig, "bootorder", bytes, sizeof(bytes)), 32);
    assert_string_equal((const char *)bytes, "/pci@i0cf8/*@3\n/pci@i0cf8/*@11\n");
    assert_int_equal(guest_reads(rig, "etc/sercon-port", bytes, sizeof(bytes)), 8);
    assert_int_equal(load_le64(bytes), 0x3f8);
    guest_reads(rig, "etc/show-boot-menu", bytes, sizeof(bytes));
    assert_int_equal(load_le64(bytes), 0);
    size_t length = guest_reads(rig, "etc/e820", bytes, sizeof(bytes));
    struct memory_map_entry entries[MEMORY_MAP_MAX];
    size_t count = memory_map_make(entries, options.low_bytes, options.high_bytes);
    assert_int_equal(length, count * 20);
    assert_memory_equal(bytes, entries, length);
    assert_int_equal(guest_reads(rig, "etc/acpi/rsdp", bytes, sizeof(bytes)), 36);
    assert_memory_equal(bytes, "RSD PTR ", 8);
    assert_true(guest_reads(rig, "etc/acpi/tables", bytes, sizeof(bytes)) > 256);
    assert_memory_equal(bytes, "FACS", 4);
    assert_int_equal(guest_reads(rig, "etc/table-loader", bytes, sizeof(bytes)) % 128, 0);
    assert_int_equal(load_le32(bytes), 1); /* which begins with a place for a file */
    rig_free(rig, fwcfg_device(fwcfg));
}

static void test_firmware_configure_without_disks_has_no_boot_order(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    struct error err = {0};
    struct fwcfg *fwcfg = fwcfg_new(&rig->host, &err);
    assert_non_null(fwcfg);
    const struct firmware_options options = {.cpus = 1, .low_bytes = 64 * MIB};
    assert_int_equal(firmware_configure(fwcfg, &options, &err), 0);
    assert_int_equal(fwcfg_add_file(fwcfg, "bootorder", "", 0, &err), 0);
    rig_free(rig, fwcfg_device(fwcfg));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_firmware_read_takes_128_and_256_kib_only),
        cmocka_unit_test(test_firmware_place_ends_its_copy_at_1_mib),
        cmocka_unit_test(test_firmware_place_needs_ram),
        cmocka_unit_test(test_memory_map_is_sorted_disjoint_and_has_all_ram_but_its_holes),
        cmocka_unit_test(test_firmware_configure_tells_seabios_all_it_asks_for),
        cmocka_unit_test(test_firmware_configure_without_disks_has_no_boot_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
