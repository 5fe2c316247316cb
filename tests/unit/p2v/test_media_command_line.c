/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What may stand on the boot medium's kernel command line, and in the menus of its boot loaders.
 */
#include "base/own.h"
#include "base/text.h"
#include "p2v/media/boot_menus.h"
#include "p2v/media/media.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char pin[] = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

static void refuses(const struct media_settings *settings, const char *why)
{
    struct error err = {0};
    AUTO_FREE char *line = media_command_line(settings, &err);
    assert_null(line);
    assert_non_null(strstr(err.text, why));
}

static void test_command_line_has_what_was_given_in_order(void **state)
{
    (void)state;
    const struct media_settings settings = {.server = "[2001:db8::7]:7443",
                                            .pin = pin,
                                            .token = "ABCDEFGHIJKLMNOPQRSTUVWXY2",
                                            .extra = " rehost.then=reboot  rehost.net=eno1,dhcp "};
    AUTO_FREE char *line = media_command_line(&settings, NULL);
    AUTO_FREE char *expected = text_format(
        "rehost.server=[2001:db8::7]:7443 rehost.pin=%s rehost.token=ABCDEFGHIJKLMNOPQRSTUVWXY2 "
        "rehost.then=reboot rehost.net=eno1,dhcp",
        pin);
    assert_string_equal(line, expected);
}

static void test_command_line_is_empty_when_nothing_was_given(void **state)
{
    (void)state;
    const struct media_settings settings = {0};
    AUTO_FREE char *line = media_command_line(&settings, NULL);
    assert_string_equal(line, "");
}

static void test_command_line_refuses_blanks_in_values(void **state)
{
    (void)state;
    refuses(&(struct media_settings){.server = "conv rdinit=/bin/sh"}, "rehost.server: ' '");
    refuses(&(struct media_settings){.server = "conv\trdinit=/bin/sh"}, "rehost.server: '\\x09'");
    refuses(&(struct media_settings){.pin = " "}, "rehost.pin: ' '");
    refuses(&(struct media_settings){.server = ""}, "rehost.server: it is empty");
}

/* One of these ends a quote, a line or a command in GRUB's, pxelinux's or iPXE's configuration. */
static void test_command_line_refuses_what_boot_loaders_interpret(void **state)
{
    (void)state;
    static const char bad[] = "'\"\\$`{};&|<>#()\n\r\x7f\x80";
    for (size_t i = 0; bad[i]; i++) {
        const char value[] = {'a', bad[i], 'b', '\0'};
        refuses(&(struct media_settings){.server = value}, "rehost.server: ");
        refuses(&(struct media_settings){.extra = value}, "cannot stand");
    }
}

static void test_command_line_refuses_more_than_a_kernel_takes(void **state)
{
    (void)state;
    char extra[1700];
    memset(extra, 'x', sizeof(extra) - 1);
    extra[sizeof(extra) - 1] = '\0';
    refuses(&(struct media_settings){.extra = extra}, "1699 characters are too many");
}

static void test_command_line_errors_do_not_show_a_token(void **state)
{
    (void)state;
    struct error err = {0};
    const struct media_settings settings = {.token = "SECRET SECRET"};
    assert_null(media_command_line(&settings, &err));
    assert_null(strstr(err.text, "SECRET"));
}

static void test_every_menu_has_the_parameters_and_starts_by_itself(void **state)
{
    (void)state;
    static const char line[] = "rehost.server=conv:7443 rehost.then=wait";
    AUTO(text) grub = {0};
    AUTO(text) net = {0};
    AUTO(text) pxelinux = {0};
    AUTO(text) ipxe = {0};
    boot_menus_add_grub(&grub, line);
    boot_menus_add_grub_net(&net, NULL, line);
    boot_menus_add_pxelinux(&pxelinux, NULL, line);
    boot_menus_add_ipxe(&ipxe, NULL, line);
    assert_non_null(strstr(grub.data, "linux /boot/vmlinuz console="));
    assert_non_null(strstr(grub.data, "set timeout=3\n"));
    assert_non_null(strstr(grub.data, " rehost.server=conv:7443 rehost.then=wait\n"));
    assert_non_null(strstr(grub.data, " rehost.then=wait rehost.confirm\n"));
    assert_non_null(strstr(grub.data, " rehost.then=wait rehost.shell\n"));
    assert_non_null(strstr(net.data, "linux $rehost_folder/vmlinuz "));
    assert_non_null(strstr(pxelinux.data, "DEFAULT rehost\n"));
    assert_non_null(strstr(pxelinux.data, "KERNEL vmlinuz\n    INITRD initrd.img\n    APPEND "));
    assert_true(text_starts_with(ipxe.data, "#!ipxe\nkernel vmlinuz initrd=initrd.img console="));
}

static void test_menus_fetch_from_the_address_that_was_given(void **state)
{
    (void)state;
    AUTO(text) net = {0};
    AUTO(text) pxelinux = {0};
    AUTO(text) ipxe = {0};
    boot_menus_add_grub_net(&net, "http://conv:8080/rehost", "");
    boot_menus_add_pxelinux(&pxelinux, "http://conv:8080/rehost", "");
    boot_menus_add_ipxe(&ipxe, "tftp://192.0.2.1/rehost", "");
    assert_null(strstr(net.data, "rehost_folder"));
    assert_non_null(strstr(net.data, "initrd (http,conv:8080)/rehost/initrd.img\n"));
    assert_non_null(strstr(pxelinux.data, "KERNEL http://conv:8080/rehost/vmlinuz\n"));
    assert_non_null(strstr(ipxe.data, "initrd --name initrd.img tftp://192.0.2.1/rehost/initrd"));
}

static void test_addresses_that_no_boot_loader_takes_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"conv/rehost",        "ftp://conv",      "http://",
                                      "http:///rehost",     "http://conv/",    "http://conv/a b",
                                      "http://conv/${net}", "http://conv/a'b", "http://conv/a\nb"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_int_equal(boot_menus_check_url(bad[i], NULL), -1);
    assert_int_equal(boot_menus_check_url("https://[2001:db8::7]/a/b-c_d", NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_command_line_has_what_was_given_in_order),
        cmocka_unit_test(test_command_line_is_empty_when_nothing_was_given),
        cmocka_unit_test(test_command_line_refuses_blanks_in_values),
        cmocka_unit_test(test_command_line_refuses_what_boot_loaders_interpret),
        cmocka_unit_test(test_command_line_refuses_more_than_a_kernel_takes),
        cmocka_unit_test(test_command_line_errors_do_not_show_a_token),
        cmocka_unit_test(test_every_menu_has_the_parameters_and_starts_by_itself),
        cmocka_unit_test(test_menus_fetch_from_the_address_that_was_given),
        cmocka_unit_test(test_addresses_that_no_boot_loader_takes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
