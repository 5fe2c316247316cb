/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Each parameter of the kernel command line, virt-p2v's too: what it sets, and what is refused.
 */
#include "base/bytes.h"
#include "base/own.h"
#include "base/text.h"
#include "p2v/boot/settings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PIN "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define TOKEN "ABCDEFGHIJKLMNOPQRSTUVWXYA"

static struct boot_settings settings;

static int forget(void **state)
{
    (void)state;
    boot_settings_fini(&settings);
    return 0;
}

static void read_line(const char *line)
{
    struct error err = {0};
    boot_settings_fini(&settings);
    int result = boot_settings_parse(line, &settings, &err);
    if (result != 0)
        print_message("%s: %s\n", line, err.text);
    assert_int_equal(result, 0);
}

/* Refused, in a text that begins with the parameter's name. */
static void check_refused(const char *line, const char *name)
{
    struct error err = {0};
    boot_settings_fini(&settings);
    if (boot_settings_parse(line, &settings, &err) != -1)
        fail_msg("taken: %s", line);
    if (!text_starts_with(err.text, name))
        fail_msg("%s: %s", line, err.text);
}

static void check_names(const struct boot_names *names, const char *expected)
{
    AUTO(text) joined = {0};
    for (size_t i = 0; i < names->count; i++)
        text_addf(&joined, "%s%s", i ? " " : "", names->items[i]);
    assert_string_equal(text_string(&joined), expected);
}

static void test_an_ordinary_command_line_says_nothing(void **state)
{
    (void)state;
    read_line("BOOT_IMAGE=/vmlinuz quiet ro root=/dev/sda1 -- splash nomodeset");
    assert_null(settings.server);
    assert_null(settings.pin);
    assert_null(settings.token);
    assert_null(settings.name);
    assert_null(settings.compress);
    assert_int_equal(settings.limit_bytes_per_second, 0);
    assert_int_equal(settings.memory_bytes, 0);
    assert_int_equal(settings.vcpus, 0);
    assert_int_equal(settings.then, BOOT_POWER_OFF);
    assert_false(settings.has_external || settings.must_confirm || settings.has_shell);
    assert_int_equal(settings.unknown.count + settings.not_applied.count, 0);
    assert_false(boot_settings_are_unattended(&settings));
}

static void test_server_is_a_host_with_or_without_a_port(void **state)
{
    (void)state;
    read_line("rehost.server=conv.example:7000");
    assert_string_equal(settings.server, "conv.example:7000");
    read_line("rehost.server=[2001:db8::7]:7443");
    assert_string_equal(settings.server, "[2001:db8::7]:7443");
    check_refused("rehost.server=conv:0", "rehost.server");
    check_refused("rehost.server=conv:70000", "rehost.server");
    check_refused("rehost.server=\"two words\"", "rehost.server");
    check_refused("rehost.server", "rehost.server needs a value");
}

static void test_pin_is_a_hash(void **state)
{
    (void)state;
    read_line("rehost.pin=" PIN);
    assert_string_equal(settings.pin, PIN);
    check_refused("rehost.pin=sha256:12", "rehost.pin");
}

static void test_token_is_one_and_is_never_shown(void **state)
{
    (void)state;
    struct error err = {0};
    read_line("rehost.token=" TOKEN);
    assert_string_equal(settings.token, TOKEN);
    boot_settings_fini(&settings);
    assert_int_equal(boot_settings_parse("rehost.token=SECRETSECRET", &settings, &err), -1);
    assert_null(strstr(err.text, "SECRET"));
    assert_non_null(strstr(err.text, "rehost.token"));
}

static void test_name_is_one_that_a_machine_can_have(void **state)
{
    (void)state;
    read_line("rehost.name=web-01.example");
    assert_string_equal(settings.name, "web-01.example");
    check_refused("rehost.name=../etc", "rehost.name");
    check_refused("rehost.name=\"web 01\"", "rehost.name");
    check_refused("rehost.name=a123456789b123456789c123456789d123456789e123456789f123456789g123",
                  "rehost.name");
}

static void test_compress_is_a_word_of_send(void **state)
{
    (void)state;
    read_line("rehost.compress=none");
    assert_string_equal(settings.compress, "none");
    check_refused("rehost.compress=9", "rehost.compress");
}

static void test_limit_is_bytes_a_second(void **state)
{
    (void)state;
    read_line("rehost.limit=20M");
    assert_int_equal(settings.limit_bytes_per_second, 20 * MIB);
    check_refused("rehost.limit=fast", "rehost.limit");
}

static void test_disks_are_a_list_of_names(void **state)
{
    (void)state;
    read_line("rehost.disks=sda,/dev/nvme0n1,cciss/c0d0,disk/by-id/ata-X_1:2");
    check_names(&settings.disks, "sda /dev/nvme0n1 cciss/c0d0 disk/by-id/ata-X_1:2");
    read_line("rehost.disks=sda rehost.disks=sdb,sdc");
    check_names(&settings.disks, "sdb sdc");
    read_line("rehost.disks=");
    assert_int_equal(settings.disks.count, 0);
    check_refused("rehost.disks=sda,,sdb", "rehost.disks");
    check_refused("rehost.disks=sda,", "rehost.disks");
    check_refused("rehost.disks=../mem", "rehost.disks");
    check_refused("rehost.disks=\"sda sdb\"", "rehost.disks");
}

static void test_external_confirm_and_shell_are_off_until_named(void **state)
{
    (void)state;
    read_line("rehost.external rehost.confirm=1 rehost.shell=yes");
    assert_true(settings.has_external && settings.must_confirm && settings.has_shell);
    read_line("rehost.external=no rehost.confirm=0 rehost.shell=");
    assert_false(settings.has_external || settings.must_confirm || settings.has_shell);
    check_refused("rehost.external=some", "rehost.external");
    check_refused("rehost.confirm=2", "rehost.confirm");
    check_refused("rehost.shell=bash", "rehost.shell");
}

static void test_networks_name_an_interface_or_all(void **state)
{
    (void)state;
    read_line("rehost.networks=eth0:wired,other");
    check_names(&settings.networks, "eth0:wired other");
    check_refused("rehost.networks=eth0:", "rehost.networks");
    check_refused("rehost.networks=:wired", "rehost.networks");
    check_refused("rehost.networks=an-interface-too-long:wired", "rehost.networks");
    check_refused("rehost.networks=eth0:a/b", "rehost.networks");
    check_refused("rehost.networks=eth0:wired,eth0:other", "rehost.networks");
}

static void test_memory_is_a_size_in_whole_mebibytes(void **state)
{
    (void)state;
    read_line("rehost.memory=2048M");
    assert_int_equal(settings.memory_bytes, 2 * GIB);
    read_line("rehost.memory=3G");
    assert_int_equal(settings.memory_bytes, 3 * GIB);
    check_refused("rehost.memory=2048", "rehost.memory");
    check_refused("rehost.memory=1000000001", "rehost.memory");
    check_refused("rehost.memory=99999T", "rehost.memory");
    check_refused("rehost.memory=lots", "rehost.memory");
}

static void test_vcpus_are_a_number(void **state)
{
    (void)state;
    read_line("rehost.vcpus=12");
    assert_int_equal(settings.vcpus, 12);
    check_refused("rehost.vcpus=0", "rehost.vcpus");
    check_refused("rehost.vcpus=-1", "rehost.vcpus");
    check_refused("rehost.vcpus=513", "rehost.vcpus");
    check_refused("rehost.vcpus=99999999999999999999", "rehost.vcpus");
}

static void test_net_and_ip_are_kept_in_order(void **state)
{
    (void)state;
    read_line(
        "rehost.net=eno1,dhcp ip=dhcp rehost.net=eno2,192.0.2.5/24,gw=192.0.2.1 ip=:::::eth0");
    check_names(&settings.net, "eno1,dhcp eno2,192.0.2.5/24,gw=192.0.2.1");
    check_names(&settings.ip, "dhcp :::::eth0");
}

static void test_consoles_are_the_kernels_affair(void **state)
{
    (void)state;
    read_line("console=tty0 console=ttyS0,115200n8 console=/dev/ttyS0 console rehost.name=web");
    assert_string_equal(settings.name, "web");
    assert_int_equal(settings.unknown.count + settings.not_applied.count, 0);
}

static void test_then_is_one_of_three_words(void **state)
{
    (void)state;
    read_line("rehost.then=reboot");
    assert_int_equal(settings.then, BOOT_REBOOT);
    read_line("rehost.then=wait");
    assert_int_equal(settings.then, BOOT_WAIT);
    read_line("rehost.then=wait rehost.then=poweroff");
    assert_int_equal(settings.then, BOOT_POWER_OFF);
    check_refused("rehost.then=explode", "rehost.then");
}

static void test_server_and_pin_need_no_hand_unless_it_is_asked_for(void **state)
{
    (void)state;
    read_line("rehost.server=conv rehost.pin=" PIN);
    assert_true(boot_settings_are_unattended(&settings));
    read_line("rehost.server=conv rehost.pin=" PIN " rehost.confirm");
    assert_false(boot_settings_are_unattended(&settings));
    read_line("rehost.server=conv");
    assert_false(boot_settings_are_unattended(&settings));
    read_line("rehost.pin=" PIN);
    assert_false(boot_settings_are_unattended(&settings));
}

static void test_what_nobody_knows_is_named_once_and_escaped(void **state)
{
    (void)state;
    read_line("rehost.sever=conv p2v.serverr=x rehost.sever=conv rehost.\033[2J");
    check_names(&settings.unknown, "p2v.serverr rehost.sever rehost.\\x1b[2J");
}

static void test_quotes_keep_blanks_together_as_in_the_kernel(void **state)
{
    (void)state;
    read_line("\"rehost.name=web\" rehost.server=\"conv\"\trehost.disks=\"sda,sdb\"\n");
    assert_string_equal(settings.name, "web");
    assert_string_equal(settings.server, "conv");
    check_names(&settings.disks, "sda sdb");
    read_line("other=\"x rehost.server=evil y\"");
    assert_null(settings.server);
    read_line("rehost.server=\"conv");
    assert_string_equal(settings.server, "conv");
}

static void test_an_empty_value_is_none(void **state)
{
    (void)state;
    read_line("rehost.server= rehost.pin= rehost.token= rehost.name= rehost.compress= "
              "rehost.limit= rehost.memory= rehost.vcpus= rehost.then= rehost.net= ip= "
              "rehost.networks= console=");
    assert_null(settings.server);
    assert_null(settings.token);
    assert_int_equal(settings.net.count + settings.ip.count, 0);
}

static void test_too_many_of_one_kind_are_refused(void **state)
{
    (void)state;
    AUTO(text) line = {0};
    for (int i = 0; i <= BOOT_MAX_NAMES; i++)
        text_add(&line, "rehost.net=eno1,dhcp ");
    check_refused(text_string(&line), "rehost.net");
}

/* --- virt-p2v --- */

static void test_p2v_server_and_port_go_together(void **state)
{
    (void)state;
    read_line("p2v.port=7000 p2v.server=conv");
    assert_string_equal(settings.server, "conv:7000");
    read_line("p2v.remote.server=2001:db8::7 p2v.remote.port=7000");
    assert_string_equal(settings.server, "[2001:db8::7]:7000");
    read_line("p2v.server=conv p2v.port=22");
    assert_string_equal(settings.server, "conv");
    check_names(&settings.not_applied, "p2v.port");
    check_refused("p2v.port=x", "p2v.port");
}

static void test_p2v_name_and_guestname_are_the_name(void **state)
{
    (void)state;
    read_line("p2v.name=web");
    assert_string_equal(settings.name, "web");
    read_line("p2v.guestname=db");
    assert_string_equal(settings.name, "db");
}

static void test_p2v_vcpus_have_three_names(void **state)
{
    (void)state;
    read_line("p2v.vcpus=3");
    assert_int_equal(settings.vcpus, 3);
    read_line("p2v.vcpu.cores=4");
    assert_int_equal(settings.vcpus, 4);
    read_line("p2v.vcpu.phys_topo p2v.vcpu.cores=4");
    assert_int_equal(settings.vcpus, 0);
    read_line("p2v.vcpu.phys_topo=0 p2v.vcpu.cores=4");
    assert_int_equal(settings.vcpus, 4);
}

static void test_p2v_memory_disks_and_network_mean_the_same(void **state)
{
    (void)state;
    read_line("p2v.memory=1024M p2v.disks=sda,sdc p2v.network=em1:ovirtmgmt,em2:management,other");
    assert_int_equal(settings.memory_bytes, GIB);
    check_names(&settings.disks, "sda sdc");
    check_names(&settings.networks, "em1:ovirtmgmt em2:management other");
    read_line("p2v.network_map=em1:br0");
    check_names(&settings.networks, "em1:br0");
}

static void test_p2v_post_is_then_where_we_do_the_same(void **state)
{
    (void)state;
    read_line("p2v.post=reboot");
    assert_int_equal(settings.then, BOOT_REBOOT);
    read_line("p2v.post=\"/sbin/reboot -f\"");
    assert_int_equal(settings.then, BOOT_REBOOT);
    read_line("p2v.post=poweroff");
    assert_int_equal(settings.then, BOOT_POWER_OFF);
    read_line("p2v.post=");
    assert_int_equal(settings.then, BOOT_WAIT);
    assert_int_equal(settings.not_applied.count, 0);
    read_line("p2v.post=\"rm -rf /\"");
    assert_int_equal(settings.then, BOOT_POWER_OFF);
    check_names(&settings.not_applied, "p2v.post");
}

static void test_p2v_names_without_a_meaning_here_are_told_without_their_values(void **state)
{
    (void)state;
    static const char *const names[] = {
        "p2v.username",
        "p2v.password",
        "p2v.identity",
        "p2v.sudo",
        "p2v.removable",
        "p2v.interfaces",
        "p2v.o",
        "p2v.oa",
        "p2v.oc",
        "p2v.of",
        "p2v.oo",
        "p2v.os",
        "p2v.pre",
        "p2v.fail",
        "p2v.debug",
        "p2v.cpu.model",
        "p2v.cpu.acpi",
        "p2v.rtc.basis",
        "p2v.rtc.offset",
        "p2v.auth.sudo",
        "p2v.auth.identity.url",
        "p2v.output.type",
        "p2v.output.storage",
        "p2v.skip_test_connection",
        "p2v.dump_config_and_exit",
    };
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        AUTO_FREE char *line = text_format("%s=hunter2 %s", names[i], names[i]);
        read_line(line);
        check_names(&settings.not_applied, names[i]);
        assert_int_equal(settings.unknown.count, 0);
    }
}

static void test_rehost_goes_before_p2v_in_either_order(void **state)
{
    (void)state;
    read_line("rehost.server=ours p2v.server=theirs p2v.port=7000 rehost.memory=1G p2v.memory=2G");
    assert_string_equal(settings.server, "ours");
    assert_int_equal(settings.memory_bytes, GIB);
    read_line("p2v.disks=sda rehost.disks=sdb");
    check_names(&settings.disks, "sdb");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_ordinary_command_line_says_nothing),
        cmocka_unit_test(test_server_is_a_host_with_or_without_a_port),
        cmocka_unit_test(test_pin_is_a_hash),
        cmocka_unit_test(test_token_is_one_and_is_never_shown),
        cmocka_unit_test(test_name_is_one_that_a_machine_can_have),
        cmocka_unit_test(test_compress_is_a_word_of_send),
        cmocka_unit_test(test_limit_is_bytes_a_second),
        cmocka_unit_test(test_disks_are_a_list_of_names),
        cmocka_unit_test(test_external_confirm_and_shell_are_off_until_named),
        cmocka_unit_test(test_networks_name_an_interface_or_all),
        cmocka_unit_test(test_memory_is_a_size_in_whole_mebibytes),
        cmocka_unit_test(test_vcpus_are_a_number),
        cmocka_unit_test(test_net_and_ip_are_kept_in_order),
        cmocka_unit_test(test_consoles_are_the_kernels_affair),
        cmocka_unit_test(test_then_is_one_of_three_words),
        cmocka_unit_test(test_server_and_pin_need_no_hand_unless_it_is_asked_for),
        cmocka_unit_test(test_what_nobody_knows_is_named_once_and_escaped),
        cmocka_unit_test(test_quotes_keep_blanks_together_as_in_the_kernel),
        cmocka_unit_test(test_an_empty_value_is_none),
        cmocka_unit_test(test_too_many_of_one_kind_are_refused),
        cmocka_unit_test(test_p2v_server_and_port_go_together),
        cmocka_unit_test(test_p2v_name_and_guestname_are_the_name),
        cmocka_unit_test(test_p2v_vcpus_have_three_names),
        cmocka_unit_test(test_p2v_memory_disks_and_network_mean_the_same),
        cmocka_unit_test(test_p2v_post_is_then_where_we_do_the_same),
        cmocka_unit_test(test_p2v_names_without_a_meaning_here_are_told_without_their_values),
        cmocka_unit_test(test_rehost_goes_before_p2v_in_either_order),
    };
    return cmocka_run_group_tests(tests, NULL, forget);
}
