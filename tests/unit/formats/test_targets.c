/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The renderings for QEMU and libvirt: every enum value has its word there, and no text of a
 * definition can be anything but the value that it is.
 */
#include "base/child.h"
#include "formats/guest.h"

#include <fcntl.h>
#include <libxml/parser.h>
#include <libxml/xpath.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* A path with everything that a shell, QEMU's options and XML treat as special. */
#define HOSTILE "it's $(touch owned) `touch owned`; \"a\",b\\ <&> ]]> *.raw"

static struct guest_disk *add_disk(struct guest *guest, const char *path, enum guest_bus bus)
{
    struct guest_disk *disk = &guest->disks[guest->disk_count++];

    disk->path = text_copy(path);
    disk->format = text_copy(text_ends_with(path, ".raw") ? "raw" : "qcow2");
    disk->size_bytes = 1 << 20;
    disk->bus = bus;
    return disk;
}

static struct guest_nic *add_nic(struct guest *guest, enum guest_nic_model model)
{
    struct guest_nic *nic = &guest->nics[guest->nic_count++];

    nic->mac = text_format("52:54:00:12:34:%02zx", guest->nic_count);
    nic->model = model;
    return nic;
}

static char *rendered(const struct guest *guest, const char *target)
{
    struct error err = {0};
    AUTO(text) out = {0};

    if (guest_target_find(target)->render(guest, "/srv/guests/web01", &out, &err) < 0)
        fail_msg("%s", err.text);
    return text_take(&out);
}

static void assert_contains(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("no \"%s\" in:\n%s", part, text);
}

static void assert_lacks(const char *text, const char *part)
{
    if (strstr(text, part) != NULL)
        fail_msg("\"%s\" in:\n%s", part, text);
}

static void assert_render_fails(const struct guest *guest, const char *target, const char *folder,
                                const char *reason)
{
    struct error err = {0};
    AUTO(text) out = {0};

    assert_int_equal(guest_target_find(target)->render(guest, folder, &out, &err), -1);
    assert_contains(err.text, reason);
    assert_int_equal(out.length, 0);
}

/* What an XPath expression is in a document; caller frees. */
static char *xpath(const char *document, const char *expression)
{
    xmlDoc *doc = xmlReadMemory(document, (int)strlen(document), NULL, NULL, XML_PARSE_NONET);
    xmlXPathContext *context = xmlXPathNewContext(doc);
    xmlXPathObject *object = xmlXPathEvalExpression(BAD_CAST expression, context);
    xmlChar *string = xmlXPathCastToString(object);
    char *result = text_copy((const char *)string);

    assert_non_null(doc);
    xmlFree(string);
    xmlXPathFreeObject(object);
    xmlXPathFreeContext(context);
    xmlFreeDoc(doc);
    return result;
}

static void assert_xpath(const char *document, const char *expression, const char *value)
{
    AUTO_FREE char *found = xpath(document, expression);

    assert_string_equal(found, value);
}

/* --- both --- */

static void test_target_find_knows_its_names_only(void **state)
{
    (void)state;
    assert_string_equal(guest_target_find("qemu")->file_name, "start.sh");
    assert_string_equal(guest_target_find("libvirt")->name, "libvirt");
    assert_null(guest_target_find("vmware"));
}

static void test_targets_refuse_an_invalid_guest(void **state)
{
    AUTO_PTR(guest) guest = guest_new("web01");

    (void)state;
    add_disk(guest, "a\nb", GUEST_BUS_SATA);
    for (size_t i = 0; guest_targets[i] != NULL; i++)
        assert_render_fails(guest, guest_targets[i]->name, "/srv", "disks[0].path");
}

static void test_targets_refuse_secure_boot_with_an_ide_disk(void **state)
{
    AUTO_PTR(guest) guest = guest_new("web01");

    (void)state;
    guest->firmware = GUEST_FIRMWARE_UEFI;
    guest->secure_boot = true;
    add_disk(guest, "disk0.qcow2", GUEST_BUS_IDE);
    for (size_t i = 0; guest_targets[i] != NULL; i++)
        assert_render_fails(guest, guest_targets[i]->name, "/srv", "secure_boot");
}

/* --- qemu --- */

/*
 * Runs a script with `printf` in place of QEMU: what it prints is the words that QEMU would be
 * given, one a line. The script lies in a folder of its own, with that name below a new one.
 */
static char *words_of(const char *script, const char *folder_name)
{
    char base[] = "/tmp/test-targets-XXXXXX";
    AUTO(text) out = {0};
    struct error err = {0};

    assert_non_null(mkdtemp(base));
    AUTO_FREE char *folder = text_format("%s/%s", base, folder_name);
    AUTO_FREE char *start = text_format("%s/start.sh", folder);
    AUTO_FREE char *fake = text_format("%s/qemu", base);
    assert_int_equal(mkdir(folder, 0700), 0);
    {
        AUTO_CLOSE int fd = open(start, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        assert_int_equal(write(fd, script, strlen(script)), strlen(script));
    }
    {
        static const char program[] = "#!/bin/sh\nprintf '%s\\n' \"$@\"\n";
        AUTO_CLOSE int fd = open(fake, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
        assert_int_equal(write(fd, program, sizeof(program) - 1), sizeof(program) - 1);
    }
    AUTO_FREE char *setting = text_format("QEMU=%s", fake);
    const char *const argv[] = {"env", setting,     "ACCEL=tcg", "sh",
                                start, "-snapshot", "a  b",      NULL};
    int status =
        child_run(argv, NULL, &out, NULL, &(struct child_limits){.timeout_ms = 10000}, &err);
    AUTO_FREE char *owned = text_format("%s/owned", folder);
    int is_owned = access(owned, F_OK) == 0 || access("owned", F_OK) == 0;
    unlink(start);
    unlink(fake);
    rmdir(folder);
    rmdir(base);
    if (status != 0)
        fail_msg("status %d %s", status, err.text);
    assert_false(is_owned);
    return text_take(&out);
}

static void test_qemu_names_every_bus(void **state)
{
    AUTO_PTR(guest) guest = guest_new("web01");

    (void)state;
    add_disk(guest, "a.qcow2", GUEST_BUS_VIRTIO_BLK)->serial = text_copy("S1");
    add_disk(guest, "b.raw", GUEST_BUS_VIRTIO_SCSI);
    add_disk(guest, "c.raw", GUEST_BUS_SATA)->boot_order = 7;
    AUTO_FREE char *script = rendered(guest, "qemu");
    assert_contains(script, "-machine q35");
    assert_contains(script, "'virtio-blk-pci,drive=disk0,addr=0x5.0,serial=S1'");
    assert_contains(script, "'scsi-hd,drive=disk1,bus=scsi.0,scsi-id=0,lun=0'");
    assert_contains(script, "'ide-hd,drive=disk2,bus=ide.0,bootindex=7'");
    assert_contains(script, "format=qcow2,file.driver=file,file.filename=");
}

static void test_qemu_cuts_a_serial_where_the_bus_does(void **state)
{
    static const char serial[] = "0123456789012345678901234567890123456789012345";
    AUTO_PTR(guest) guest = guest_new("web01");

    (void)state;
    add_disk(guest, "a.raw", GUEST_BUS_VIRTIO_BLK)->serial = text_copy(serial);
    add_disk(guest, "b.raw", GUEST_BUS_VIRTIO_SCSI)->serial = text_copy(serial);
    AUTO_FREE char *script = rendered(guest, "qemu");
    assert_contains(script, ",serial=01234567890123456789,bootindex=1'");
    assert_contains(script, ",serial=012345678901234567890123456789012345'");
}

static void test_qemu_uses_the_older_machine_for_ide(void **state)
{
    AUTO_PTR(guest) guest = guest_new("web01");

    (void)state;
    add_disk(guest, "a.raw", GUEST_BUS_IDE);
    add_disk(guest, "b.raw", GUEST_BUS_SATA);
    add_disk(guest, "c.raw", GUEST_BUS_IDE);
    AUTO_FREE char *script = rendered(guest, "qemu");
    assert_contains(script, "-machine pc");
    assert_contains(script, "'ide-hd,drive=disk0,bus=ide.0,unit=0,bootindex=1'");
    assert_contains(script, "'ide-hd,drive=disk2,bus=ide.0,unit=1'");
    assert_contains(script, "'ich9-ahci,id=sata0,addr=");
    assert_contains(script, "'ide-hd,drive=disk1,bus=sata0.0'");
}

static void test_qemu_names_every_nic_model_with_its_mac(void **state)
{
    AUTO_PTR(guest) guest = guest_new("web01");

    (void)state;
    add_nic(guest, GUEST_NIC_VIRTIO);
    add_nic(guest, GUEST_NIC_E1000);
    add_nic(guest, GUEST_NIC_E1000E);
    add_nic(guest, GUEST_NIC_RTL8139);
    AUTO_FREE char *script = rendered(guest, "qemu");
    assert_contains(script, "'virtio-net-pci,netdev=net0,mac=52:54:00:12:34:01,");
    assert_contains(script, "'e1000,netdev=net1,mac=52:54:00:12:34:02,");
    assert_contains(script, "'e1000e,netdev=net2,mac=52:54:00:12:34:03,");
    assert_contains(script, "'rtl8139,netdev=net3,mac=52:54:00:12:34:04,");
}

static void test_qemu_gives_a_uefi_guest_its_own_variables(void **state)
{
    AUTO_PTR(guest) guest = guest_new("web01");

    (void)state;
    AUTO_FREE char *bios = rendered(guest, "qemu");
    assert_lacks(bios, "pflash");
    guest->firmware = GUEST_FIRMWARE_UEFI;
    AUTO_FREE char *uefi = rendered(guest, "qemu");
    assert_contains(uefi, "OVMF_CODE_4M.fd");
    assert_contains(uefi, "nvram=\"$folder\"/'web01.nvram'");
    assert_lacks(uefi, "smm=on");
    guest->secure_boot = true;
    guest->nvram = text_copy("it's.fd");
    AUTO_FREE char *secure = rendered(guest, "qemu");
    assert_contains(secure, "OVMF_VARS_4M.ms.fd");
    assert_contains(secure, "-machine q35,smm=on");
    assert_contains(secure, "nvram=\"$folder\"/'it'\\''s.fd'");
}

static void test_qemu_keeps_the_limits_on_disks_for_all_together(void **state)
{
    AUTO_PTR(guest) guest = guest_new("web01");

    (void)state;
    add_disk(guest, "a.raw", GUEST_BUS_SATA);
    guest->limits.disk_operations_per_second = 500;
    AUTO_FREE char *script = rendered(guest, "qemu");
    assert_contains(script, ",throttling.iops-total=500,throttling.group=guest,");
    assert_lacks(script, "bps-total");
    assert_lacks(script, "Limits of CPU");
}

static void test_qemu_console_is_what_was_asked_for(void **state)
{
    AUTO_PTR(guest) guest = guest_new("web01");
    AUTO_FREE char *both = rendered(guest, "qemu");

    (void)state;
    assert_contains(both, "-serial \"$SERIAL\"");
    assert_contains(both, "-device VGA");
    free(guest->console);
    guest->console = text_copy("vga");
    AUTO_FREE char *vga = rendered(guest, "qemu");
    assert_lacks(vga, "-serial");
    assert_contains(vga, "-device VGA");
    free(guest->console);
    guest->console = text_copy("serial");
    AUTO_FREE char *serial = rendered(guest, "qemu");
    assert_lacks(serial, "-device VGA");
}

static void test_qemu_gets_hostile_text_as_one_value(void **state)
{
    AUTO_PTR(guest) guest = guest_new("web01");

    (void)state;
    add_disk(guest, HOSTILE, GUEST_BUS_SATA)->serial = text_copy("$(touch owned),bus=x");
    add_nic(guest, GUEST_NIC_VIRTIO)->name = text_copy("$(touch owned)");
    guest->nics[0].network = text_copy("`touch owned`; touch owned");
    AUTO_FREE char *script = rendered(guest, "qemu");
    AUTO_FREE char *words = words_of(script, "a, b 'c' $d");
    assert_contains(words,
                    "/a,, b 'c' $d/it's $(touch owned) `touch owned`; \"a\",,b\\ <&> ]]> *.raw\n");
    assert_contains(words,
                    "\nide-hd,drive=disk0,bus=ide.0,serial=__touch owned__bus_x,bootindex=1\n");
    assert_contains(words, "\n-netdev\nuser,id=net0\n");
}

static void test_qemu_gets_the_options_of_the_user_last_and_whole(void **state)
{
    AUTO_PTR(guest) guest = guest_new("web01");

    (void)state;
    add_disk(guest, "a.raw", GUEST_BUS_SATA);
    AUTO_FREE char *script = rendered(guest, "qemu");
    AUTO_FREE char *words = words_of(script, "plain");
    assert_true(text_ends_with(words, "\n-snapshot\na  b\n"));
    assert_contains(words, "\n-accel\ntcg\n-cpu\nmax\n");
}

static void test_qemu_refuses_more_cpus_than_it_has(void **state)
{
    AUTO_PTR(guest) guest = guest_new("web01");

    (void)state;
    guest->sockets = 16;
    guest->cores = 16;
    assert_render_fails(guest, "qemu", "/srv", "256 CPUs");
}

static void test_qemu_fits_as_many_devices_as_a_definition_may_have(void **state)
{
    AUTO_PTR(guest) guest = guest_new("web01");

    (void)state;
    for (size_t i = 0; i < GUEST_MAX_DISKS; i++) {
        AUTO_FREE char *path = text_format("disk%zu.raw", i);
        add_disk(guest, path, GUEST_BUS_VIRTIO_BLK);
    }
    for (size_t i = 0; i < GUEST_MAX_NICS; i++)
        add_nic(guest, GUEST_NIC_E1000);
    AUTO_FREE char *script = rendered(guest, "qemu");
    assert_contains(script, "'virtio-blk-pci,drive=disk6,addr=0x3.7'");
    assert_contains(script, "'virtio-blk-pci,drive=disk7,addr=0x4.0,multifunction=on'");
    assert_contains(script, "'e1000,netdev=net63,mac=52:54:00:12:34:40,romfile=,addr=0x13.0,");
}

/* --- libvirt --- */

static void test_libvirt_says_what_the_definition_says(void **state)
{
    AUTO_PTR(guest) guest = guest_new("web01");

    (void)state;
    add_disk(guest, "a.qcow2", GUEST_BUS_VIRTIO_BLK)->serial = text_copy("S1");
    add_nic(guest, GUEST_NIC_E1000E)->network = text_copy("lan");
    guest->clock = GUEST_CLOCK_LOCALTIME;
    guest->threads = 2;
    AUTO_FREE char *xml = rendered(guest, "libvirt");
    assert_xpath(xml, "/domain/name", "web01");
    assert_xpath(xml, "/domain/uuid", guest->uuid);
    assert_xpath(xml, "/domain/memory[@unit='MiB']", "2048");
    assert_xpath(xml, "/domain/vcpu", "4");
    assert_xpath(xml, "/domain/cpu/topology/@threads", "2");
    assert_xpath(xml, "/domain/cpu/@mode", "host-model");
    assert_xpath(xml, "/domain/clock/@offset", "localtime");
    assert_xpath(xml, "/domain/os/type/@machine", "q35");
    assert_xpath(xml, "//disk/source/@file", "/srv/guests/web01/a.qcow2");
    assert_xpath(xml, "//disk/driver/@type", "qcow2");
    assert_xpath(xml, "//disk/serial", "S1");
    assert_xpath(xml, "//disk/boot/@order", "1");
    assert_xpath(xml, "count(//disk/backingStore/*)", "0");
    assert_xpath(xml, "//interface/mac/@address", "52:54:00:12:34:01");
    assert_xpath(xml, "//interface/model/@type", "e1000e");
    assert_xpath(xml, "//interface/source/@network", "lan");
}

static void test_libvirt_names_every_bus_and_its_disks_in_order(void **state)
{
    AUTO_PTR(guest) guest = guest_new("web01");

    (void)state;
    add_disk(guest, "a.raw", GUEST_BUS_SATA);
    add_disk(guest, "b.raw", GUEST_BUS_VIRTIO_SCSI);
    add_disk(guest, "c.raw", GUEST_BUS_VIRTIO_BLK);
    add_disk(guest, "d.raw", GUEST_BUS_IDE)->boot_order = 3;
    add_disk(guest, "e.raw", GUEST_BUS_VIRTIO_SCSI);
    AUTO_FREE char *xml = rendered(guest, "libvirt");
    assert_xpath(xml, "/domain/os/type/@machine", "pc");
    assert_xpath(xml, "//disk[1]/target[@bus='sata']/@dev", "sda");
    assert_xpath(xml, "//disk[2]/target[@bus='scsi']/@dev", "sdb");
    assert_xpath(xml, "//disk[3]/target[@bus='virtio']/@dev", "vda");
    assert_xpath(xml, "//disk[4]/target[@bus='ide']/@dev", "hda");
    assert_xpath(xml, "//disk[5]/address/@target", "1");
    assert_xpath(xml, "count(//disk/boot)", "1");
    assert_xpath(xml, "//disk[4]/boot/@order", "3");
    assert_xpath(xml, "//controller[@type='scsi']/@model", "virtio-scsi");
}

static void test_libvirt_goes_on_behind_z(void **state)
{
    AUTO_PTR(guest) guest = guest_new("web01");

    (void)state;
    for (size_t i = 0; i < GUEST_MAX_DISKS; i++) {
        AUTO_FREE char *path = text_format("disk%zu.raw", i);
        add_disk(guest, path, GUEST_BUS_VIRTIO_BLK);
    }
    AUTO_FREE char *xml = rendered(guest, "libvirt");
    assert_xpath(xml, "//disk[26]/target/@dev", "vdz");
    assert_xpath(xml, "//disk[27]/target/@dev", "vdaa");
    assert_xpath(xml, "//disk[64]/target/@dev", "vdbl");
}

static void test_libvirt_leaves_a_backing_file_to_the_header(void **state)
{
    AUTO_PTR(guest) guest = guest_new("web01");

    (void)state;
    add_disk(guest, "a.qcow2", GUEST_BUS_VIRTIO_BLK)->backing = text_copy("base.qcow2");
    AUTO_FREE char *xml = rendered(guest, "libvirt");
    assert_xpath(xml, "count(//backingStore)", "0");
}

static void test_libvirt_uefi_has_its_firmware_features_and_nvram(void **state)
{
    AUTO_PTR(guest) guest = guest_new("web01");

    (void)state;
    guest->firmware = GUEST_FIRMWARE_UEFI;
    guest->nvram = text_copy("vars.fd");
    AUTO_FREE char *plain = rendered(guest, "libvirt");
    assert_xpath(plain, "/domain/os/@firmware", "efi");
    assert_xpath(plain, "//feature[@name='secure-boot']/@enabled", "no");
    assert_xpath(plain, "/domain/os/nvram", "/srv/guests/web01/vars.fd");
    assert_xpath(plain, "count(/domain/features/smm)", "0");
    guest->secure_boot = true;
    AUTO_FREE char *secure = rendered(guest, "libvirt");
    assert_xpath(secure, "/domain/os/loader/@secure", "yes");
    assert_xpath(secure, "/domain/features/smm/@state", "on");
}

static void test_libvirt_keeps_every_limit(void **state)
{
    AUTO_PTR(guest) guest = guest_new("web01");

    (void)state;
    add_disk(guest, "a.raw", GUEST_BUS_SATA);
    add_nic(guest, GUEST_NIC_VIRTIO);
    guest->limits = (struct guest_limits){150, 1500, 1000000, 500};
    AUTO_FREE char *xml = rendered(guest, "libvirt");
    assert_xpath(xml, "/domain/cputune/global_quota", "150000");
    assert_xpath(xml, "/domain/cputune/global_period", "100000");
    assert_xpath(xml, "//iotune/total_bytes_sec", "1000000");
    assert_xpath(xml, "//iotune/total_iops_sec", "500");
    assert_xpath(xml, "//bandwidth/inbound/@average", "2"); /* never slower than asked */
    assert_xpath(xml, "//bandwidth/outbound/@average", "2");
}

static void test_libvirt_gets_hostile_text_as_one_value(void **state)
{
    AUTO_PTR(guest) guest = guest_new("web01");

    (void)state;
    add_disk(guest, HOSTILE, GUEST_BUS_SATA);
    add_nic(guest, GUEST_NIC_VIRTIO)->network = text_copy("a'><x y=\"&lt;");
    guest->os_distro = text_copy("\"><owned/>");
    AUTO_FREE char *xml = rendered(guest, "libvirt");
    assert_xpath(xml, "//disk/source/@file", "/srv/guests/web01/" HOSTILE);
    assert_xpath(xml, "//interface/source/@network", "a'><x y=\"&lt;");
    assert_xpath(xml, "count(//owned)", "0");
    assert_xpath(xml, "//*[local-name()='os']/@distro", "\"><owned/>");
}

static void test_libvirt_refuses_a_folder_that_xml_cannot_hold(void **state)
{
    AUTO_PTR(guest) guest = guest_new("web01");

    (void)state;
    assert_render_fails(guest, "libvirt", "/srv/a\nb", "characters that XML cannot have");
    assert_render_fails(guest, "libvirt", "/srv/\xff", "characters that XML cannot have");
    assert_render_fails(guest, "libvirt", "srv", "must be absolute");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_target_find_knows_its_names_only),
        cmocka_unit_test(test_targets_refuse_an_invalid_guest),
        cmocka_unit_test(test_targets_refuse_secure_boot_with_an_ide_disk),
        cmocka_unit_test(test_qemu_names_every_bus),
        cmocka_unit_test(test_qemu_cuts_a_serial_where_the_bus_does),
        cmocka_unit_test(test_qemu_uses_the_older_machine_for_ide),
        cmocka_unit_test(test_qemu_names_every_nic_model_with_its_mac),
        cmocka_unit_test(test_qemu_gives_a_uefi_guest_its_own_variables),
        cmocka_unit_test(test_qemu_keeps_the_limits_on_disks_for_all_together),
        cmocka_unit_test(test_qemu_console_is_what_was_asked_for),
        cmocka_unit_test(test_qemu_gets_hostile_text_as_one_value),
        cmocka_unit_test(test_qemu_gets_the_options_of_the_user_last_and_whole),
        cmocka_unit_test(test_qemu_refuses_more_cpus_than_it_has),
        cmocka_unit_test(test_qemu_fits_as_many_devices_as_a_definition_may_have),
        cmocka_unit_test(test_libvirt_says_what_the_definition_says),
        cmocka_unit_test(test_libvirt_names_every_bus_and_its_disks_in_order),
        cmocka_unit_test(test_libvirt_goes_on_behind_z),
        cmocka_unit_test(test_libvirt_leaves_a_backing_file_to_the_header),
        cmocka_unit_test(test_libvirt_uefi_has_its_firmware_features_and_nvram),
        cmocka_unit_test(test_libvirt_keeps_every_limit),
        cmocka_unit_test(test_libvirt_gets_hostile_text_as_one_value),
        cmocka_unit_test(test_libvirt_refuses_a_folder_that_xml_cannot_hold),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
