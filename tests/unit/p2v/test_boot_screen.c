/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The boot medium's pages as they look (compared with docs/screens/, which
 * `REHOST_WRITE_SCREENS=1 build/unit/p2v/test_boot_screen` writes), what keys do there, and the
 * real thing on a terminal.
 */
#include "base/clock.h"
#include "base/io.h"
#include "base/own.h"
#include "p2v/boot/screen_ui.h"
#include "tests/unit/p2v/boot_model.h"
#include "tests/unit/p2v/boot_terminal.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct pages {
    struct screen_ui ui;
    struct screen_model *model;
    struct screen_grid grid;
    struct screen_answer answer;
};

static struct pages *open_page(struct pages *pages, enum screen_page page)
{
    *pages = (struct pages){.model = boot_model_new(page)};
    pages->grid.rows = 25;
    pages->grid.columns = 80;
    return pages;
}

static void close_page(struct pages *pages)
{
    free(pages->model);
}

static char *draw(struct pages *pages)
{
    AUTO(text) text = {0};
    screen_ui_show(&pages->ui, pages->model);
    screen_ui_draw(&pages->ui, pages->model, &pages->grid);
    screen_grid_dump(&pages->grid, &text);
    return text_take(&text);
}

static enum screen_act key(struct pages *pages, int code)
{
    screen_ui_show(&pages->ui, pages->model);
    return screen_ui_key(&pages->ui, pages->model, code, &pages->answer);
}

static void type(struct pages *pages, const char *text)
{
    for (; *text; text++)
        assert_int_equal(key(pages, *text), SCREEN_NOTHING);
}

static bool is_shown(struct pages *pages, const char *words)
{
    AUTO_FREE char *page = draw(pages);
    return strstr(page, words) != NULL;
}

/* The same as in the documentation. */
static void assert_page(struct pages *pages, const char *name)
{
    AUTO_FREE char *page = draw(pages);
    AUTO_FREE char *path = text_format("docs/screens/%s.txt", name);
    AUTO_FREE char *known = NULL;
    size_t length = 0;
    struct error err = {0};
    if (getenv("REHOST_WRITE_SCREENS")) {
        AUTO_FREE char *file = text_format("%s.txt", name);
        AUTO_CLOSE int folder = open("docs/screens", O_RDONLY | O_DIRECTORY);
        assert_int_equal(io_replace_file(folder, file, page, strlen(page), 0644, &err), 0);
    }
    if (io_read_file(AT_FDCWD, path, 1 << 16, &known, &length, &err) != 0)
        fail_msg("%s", err.text);
    assert_string_equal(page, known);
}

/* --- how they look --- */

static void test_screen_looking_shows_what_is_known_so_far(void **state)
{
    (void)state;
    struct pages pages;
    struct screen_model *model = open_page(&pages, SCREEN_LOOKING)->model;
    snprintf(model->stage, sizeof(model->stage), "Looking at the disks.");
    snprintf(model->problem, sizeof(model->problem),
             "eno2 has no cable, and eno1 got no address: "
             "is there a DHCP server?");
    assert_page(&pages, "looking");
    close_page(&pages);
}

static void test_screen_form_asks_for_the_server_first(void **state)
{
    (void)state;
    struct pages pages;
    open_page(&pages, SCREEN_FORM);
    assert_page(&pages, "form");
    close_page(&pages);
}

static void test_screen_form_by_hand_shows_the_fields_of_an_address(void **state)
{
    (void)state;
    struct pages pages;
    open_page(&pages, SCREEN_FORM);
    type(&pages, "conv");
    key(&pages, SCREEN_KEY_DOWN);
    type(&pages, "web01");
    key(&pages, SCREEN_KEY_DOWN);
    type(&pages, "abcdefghijklmnopqrstuvwxyz");
    key(&pages, SCREEN_KEY_DOWN);
    key(&pages, ' ');
    key(&pages, SCREEN_KEY_DOWN);
    type(&pages, "eno2");
    key(&pages, SCREEN_KEY_ENTER);
    assert_page(&pages, "form-by-hand");
    close_page(&pages);
}

static void test_screen_pin_shows_all_digits_in_groups(void **state)
{
    (void)state;
    struct pages pages;
    struct screen_model *model = open_page(&pages, SCREEN_PIN)->model;
    snprintf(model->pin, sizeof(model->pin), "sha256:%s%s", "0123456789abcdef0123456789abcdef",
             "fedcba9876543210fedcba9876543210");
    assert_page(&pages, "pin");
    close_page(&pages);
}

static void test_screen_review_shows_disks_and_what_to_know(void **state)
{
    (void)state;
    struct pages pages;
    open_page(&pages, SCREEN_REVIEW);
    assert_page(&pages, "review");
    close_page(&pages);
}

static void test_screen_sending_shows_each_disk_and_the_safe_point(void **state)
{
    (void)state;
    struct pages pages;
    struct screen_model *model = open_page(&pages, SCREEN_SENDING)->model;
    boot_model_sent(model, "sda", SENDER_SENDING, 128);
    boot_model_sent(model, "sdb", SENDER_DISK_DONE, 312);
    boot_model_sent(model, "nvme0n1", SENDER_SENDING, 16);
    model->disks[2].progress.unreadable_bytes = 12 * KIB;
    model->warning_count = 1;
    snprintf(model->warnings[0], sizeof(model->warnings[0]),
             "nvme0n1: 12 KiB at 0x1f400 cannot be read (tried twice)");
    assert_page(&pages, "sending");
    close_page(&pages);
}

static void test_screen_sending_shows_what_the_server_does_after(void **state)
{
    (void)state;
    struct pages pages;
    struct screen_model *model = open_page(&pages, SCREEN_SENDING)->model;
    boot_model_sent(model, "sda", SENDER_DISK_DONE, 312);
    snprintf(model->stage, sizeof(model->stage), "tests whether the copy boots");
    assert_page(&pages, "sending-tested");
    key(&pages, SCREEN_KEY_ENTER);
    assert_true(is_shown(&pages, "The server has everything"));
    close_page(&pages);
}

static void test_screen_sending_shows_the_approval_and_a_lost_connection(void **state)
{
    (void)state;
    struct pages pages;
    struct screen_model *model = open_page(&pages, SCREEN_SENDING)->model;
    boot_model_sent(model, "sda", SENDER_WAITING, 0);
    boot_model_sent(model, "sdb", SENDER_CONNECTING, 100);
    snprintf(model->code, sizeof(model->code), "ABCD-EFGH");
    snprintf(model->problem, sizeof(model->problem), "eno1: no cable");
    assert_page(&pages, "sending-trouble");
    close_page(&pages);
}

static void test_screen_asks_before_power_off_while_sending(void **state)
{
    (void)state;
    struct pages pages;
    boot_model_sent(open_page(&pages, SCREEN_SENDING)->model, "sda", SENDER_SENDING, 128);
    assert_int_equal(key(&pages, SCREEN_KEY_ENTER), SCREEN_NOTHING);
    assert_page(&pages, "sending-power-off");
    assert_int_equal(key(&pages, SCREEN_KEY_ENTER), SCREEN_NOTHING); /* "No" */
    assert_false(is_shown(&pages, "Power this machine off?"));
    assert_int_equal(key(&pages, SCREEN_KEY_ENTER), SCREEN_NOTHING);
    assert_int_equal(key(&pages, SCREEN_KEY_RIGHT), SCREEN_NOTHING);
    assert_int_equal(key(&pages, SCREEN_KEY_ENTER), SCREEN_POWER_OFF);
    close_page(&pages);
}

static void test_screen_done_counts_down_until_a_key_stops_it(void **state)
{
    (void)state;
    struct pages pages;
    struct screen_model *model = open_page(&pages, SCREEN_DONE)->model;
    boot_model_sent(model, "sda", SENDER_DISK_DONE, 312);
    model->is_good = true;
    snprintf(model->result, sizeof(model->result),
             "web01: converted, with 3 unreadable ranges; booted, network up");
    snprintf(model->then, sizeof(model->then), "powers off");
    model->seconds_to_then = 23;
    assert_page(&pages, "done");
    assert_int_equal(key(&pages, SCREEN_KEY_ENTER), SCREEN_STAY);
    model->seconds_to_then = -1;
    assert_false(is_shown(&pages, "Press any key"));
    assert_int_equal(key(&pages, SCREEN_KEY_ENTER), SCREEN_NOTHING); /* now it is a button */
    assert_true(is_shown(&pages, "Power this machine off?"));
    close_page(&pages);
}

static void test_screen_done_badly_offers_to_try_again(void **state)
{
    (void)state;
    struct pages pages;
    struct screen_model *model = open_page(&pages, SCREEN_DONE)->model;
    boot_model_sent(model, "sda", SENDER_DISK_FAILED, 100);
    snprintf(model->result, sizeof(model->result),
             "conv:7443: not authorised: the token was used, has expired or was revoked");
    model->can_go_back = true;
    assert_page(&pages, "done-badly");
    assert_int_equal(key(&pages, SCREEN_KEY_ENTER), SCREEN_SUBMIT);
    close_page(&pages);
}

/* --- what keys do --- */

static void test_screen_form_hands_over_what_was_typed(void **state)
{
    (void)state;
    struct pages pages;
    open_page(&pages, SCREEN_FORM);
    type(&pages, "10.0.0.5:7443x");
    key(&pages, SCREEN_KEY_ERASE);
    for (int i = 0; i < 4; i++)
        assert_int_equal(key(&pages, SCREEN_KEY_TAB), SCREEN_NOTHING);
    assert_int_equal(key(&pages, SCREEN_KEY_ENTER), SCREEN_SUBMIT);
    assert_string_equal(pages.answer.form.server, "10.0.0.5:7443");
    assert_string_equal(pages.answer.form.name, "");
    assert_string_equal(pages.answer.form.network, "");
    close_page(&pages);
}

static void test_screen_form_writes_an_address_as_the_parameter_has_it(void **state)
{
    (void)state;
    struct pages pages;
    static const char *const values[] = {"eno1", "192.0.2.5/24", "192.0.2.1", "192.0.2.53"};
    open_page(&pages, SCREEN_FORM);
    type(&pages, "conv");
    for (int i = 0; i < 3; i++)
        key(&pages, SCREEN_KEY_ENTER);
    key(&pages, SCREEN_KEY_RIGHT);
    for (size_t i = 0; i < ARRAY_LENGTH(values); i++) {
        key(&pages, SCREEN_KEY_ENTER);
        type(&pages, values[i]);
    }
    key(&pages, SCREEN_KEY_ENTER);
    assert_int_equal(key(&pages, SCREEN_KEY_ENTER), SCREEN_SUBMIT);
    assert_string_equal(pages.answer.form.network, "eno1,192.0.2.5/24,gw=192.0.2.1,dns=192.0.2.53");
    close_page(&pages);
}

static void test_screen_form_does_not_go_on_without_a_server_or_with_half_a_token(void **state)
{
    (void)state;
    struct pages pages;
    open_page(&pages, SCREEN_FORM);
    key(&pages, SCREEN_KEY_UP);
    key(&pages, SCREEN_KEY_UP); /* round the end: to "Go on" */
    assert_int_equal(key(&pages, SCREEN_KEY_ENTER), SCREEN_NOTHING);
    assert_true(is_shown(&pages, "! Type the server's name or address first."));
    type(&pages, "conv");
    key(&pages, SCREEN_KEY_DOWN);
    type(&pages, "web/01");
    for (int i = 0; i < 3; i++)
        key(&pages, SCREEN_KEY_DOWN);
    assert_int_equal(key(&pages, SCREEN_KEY_ENTER), SCREEN_NOTHING);
    assert_true(is_shown(&pages, "! A name has letters"));
    key(&pages, SCREEN_KEY_CLEAR);
    key(&pages, SCREEN_KEY_DOWN);
    type(&pages, "abc");
    key(&pages, SCREEN_KEY_DOWN);
    key(&pages, SCREEN_KEY_DOWN);
    assert_int_equal(key(&pages, SCREEN_KEY_ENTER), SCREEN_NOTHING);
    assert_true(is_shown(&pages, "! A token is 26 of"));
    close_page(&pages);
}

static void test_screen_form_keeps_the_network_that_it_was_booted_with(void **state)
{
    (void)state;
    struct pages pages;
    struct screen_model *model = open_page(&pages, SCREEN_FORM)->model;
    snprintf(model->form.network, sizeof(model->form.network), "eno1.42,dhcp");
    snprintf(model->form.server, sizeof(model->form.server), "conv");
    assert_true(is_shown(&pages, "(*) as booted: eno1.42,dhcp"));
    for (int i = 0; i < 4; i++)
        key(&pages, SCREEN_KEY_ENTER);
    assert_int_equal(key(&pages, SCREEN_KEY_ENTER), SCREEN_SUBMIT);
    assert_string_equal(pages.answer.form.network, "eno1.42,dhcp");
    close_page(&pages);
}

static void test_screen_form_shows_a_token_only_where_it_is_typed(void **state)
{
    (void)state;
    struct pages pages;
    open_page(&pages, SCREEN_FORM);
    key(&pages, SCREEN_KEY_DOWN);
    key(&pages, SCREEN_KEY_DOWN);
    type(&pages, "SECRET");
    assert_true(is_shown(&pages, "SECRET"));
    key(&pages, SCREEN_KEY_DOWN);
    assert_false(is_shown(&pages, "SECRET"));
    assert_true(is_shown(&pages, "[******"));
    close_page(&pages);
}

static void test_screen_form_takes_no_more_than_a_field_holds(void **state)
{
    (void)state;
    struct pages pages;
    open_page(&pages, SCREEN_FORM);
    key(&pages, SCREEN_KEY_DOWN);
    for (int i = 0; i < 500; i++)
        key(&pages, 'a');
    assert_int_equal(strlen(pages.ui.name), sizeof(pages.ui.name) - 1);
    assert_true(is_shown(&pages, "aaa_]"));
    key(&pages, SCREEN_KEY_CLEAR);
    assert_string_equal(pages.ui.name, "");
    close_page(&pages);
}

static void test_screen_pin_is_not_accepted_by_enter_alone(void **state)
{
    (void)state;
    struct pages pages;
    open_page(&pages, SCREEN_PIN);
    assert_int_equal(key(&pages, SCREEN_KEY_ENTER), SCREEN_BACK);
    assert_int_equal(key(&pages, SCREEN_KEY_RIGHT), SCREEN_NOTHING);
    assert_int_equal(key(&pages, SCREEN_KEY_ENTER), SCREEN_SUBMIT);
    assert_int_equal(key(&pages, SCREEN_KEY_ESCAPE), SCREEN_BACK);
    close_page(&pages);
}

static void test_screen_review_ticks_disks_but_never_the_boot_medium(void **state)
{
    (void)state;
    struct pages pages;
    open_page(&pages, SCREEN_REVIEW);
    for (int i = 0; i < 3; i++)
        key(&pages, SCREEN_KEY_UP); /* from "Start copying" over sdc and sdb to sda */
    key(&pages, ' ');
    assert_true(is_shown(&pages, "> [ ] sda"));
    key(&pages, SCREEN_KEY_DOWN);
    key(&pages, SCREEN_KEY_DOWN);
    key(&pages, ' ');
    assert_true(is_shown(&pages, "> [x] sdc"));
    key(&pages, SCREEN_KEY_DOWN);
    assert_true(is_shown(&pages, "[-] sdd"));
    assert_int_equal(key(&pages, SCREEN_KEY_ENTER), SCREEN_SUBMIT);
    assert_false(pages.answer.is_chosen[0]);
    assert_true(pages.answer.is_chosen[1]);
    assert_true(pages.answer.is_chosen[2]);
    assert_false(pages.answer.is_chosen[3]);
    close_page(&pages);
}

static void test_screen_review_does_not_start_without_a_disk(void **state)
{
    (void)state;
    struct pages pages;
    open_page(&pages, SCREEN_REVIEW);
    for (int i = 0; i < 2; i++) {
        pages.model->findings.disks[i].is_chosen = false;
    }
    assert_int_equal(key(&pages, SCREEN_KEY_ENTER), SCREEN_NOTHING);
    assert_true(is_shown(&pages, "! Tick at least one disk"));
    close_page(&pages);
}

static void test_screen_review_of_many_disks_moves_with_the_focus(void **state)
{
    (void)state;
    struct pages pages;
    struct screen_model *model = open_page(&pages, SCREEN_REVIEW)->model;
    for (int i = 0; i < 20; i++) {
        char name[16];
        snprintf(name, sizeof(name), "sd%c", 'e' + i);
        boot_model_disk(model, name, 100, 10, "Many", "nothing");
    }
    assert_true(is_shown(&pages, "more below: PgUp, PgDn"));
    assert_false(is_shown(&pages, "sdx"));
    key(&pages, SCREEN_KEY_UP);
    assert_true(is_shown(&pages, "> [x] sdx"));
    assert_true(is_shown(&pages, "more above and below"));
    for (int i = 0; i < 20; i++)
        key(&pages, SCREEN_KEY_PAGE_DOWN);
    assert_true(is_shown(&pages, "LVM group vg0"));
    assert_true(is_shown(&pages, "more above: PgUp, PgDn"));
    close_page(&pages);
}

static void test_screen_pages_stay_inside_any_size(void **state)
{
    (void)state;
    static const int sizes[][2] = {{24, 80}, {25, 80}, {60, 132}, {200, 300}, {5, 20}, {1, 1}};
    for (int page = SCREEN_LOOKING; page <= SCREEN_DONE; page++) {
        for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++) {
            struct pages pages;
            struct screen_model *model = open_page(&pages, (enum screen_page)page)->model;
            boot_model_sent(model, "sda", SENDER_SENDING, 128);
            memset(model->result, 'x', sizeof(model->result) - 1);
            pages.grid.rows = sizes[i][0];
            pages.grid.columns = sizes[i][1];
            pages.ui.asking = SCREEN_NOTHING;
            AUTO_FREE char *text = draw(&pages);
            assert_true(strlen(text) <= (size_t)SCREEN_MAX_ROWS * (SCREEN_MAX_COLUMNS + 1));
            close_page(&pages);
        }
    }
}

static void test_screen_shows_no_control_characters(void **state)
{
    (void)state;
    struct pages pages;
    struct screen_model *model = open_page(&pages, SCREEN_REVIEW)->model;
    snprintf(model->findings.disks[0].content, sizeof(model->findings.disks[0].content), "%s",
             "ext4 '\x1b[2J\xc3\xa9'");
    AUTO_FREE char *page = draw(&pages);
    assert_non_null(strstr(page, "ext4 '?[2J?'"));
    assert_null(strchr(page, '\x1b'));
    close_page(&pages);
}

/* --- on a terminal --- */

struct on_terminal {
    struct boot_terminal *terminal;
    struct screens *screens;
};

static int open_terminal(void **state)
{
    struct on_terminal *on = calloc(1, sizeof(*on));
    struct error err = {0};
    on->terminal = boot_terminal_open();
    if (!on->terminal)
        return -1;
    const char *paths[] = {"/nonexistent", on->terminal->path};
    on->screens = screens_start(paths, 2, false, NULL, &err);
    *state = on;
    return on->screens ? 0 : -1;
}

static int close_terminal(void **state)
{
    struct on_terminal *on = *state;
    screens_stop(on->screens);
    boot_terminal_close(on->terminal);
    free(on);
    return 0;
}

static void show(struct on_terminal *on, enum screen_page page)
{
    struct screen_model *model = boot_model_new(page);
    struct screen_answer answer;
    snprintf(model->pin, sizeof(model->pin), "sha256:%s", "0123456789abcdef");
    screens_show(on->screens, model);
    assert_int_equal(screens_wait(on->screens, 0, &answer), SCREEN_NOTHING);
    free(model);
}

/* What comes back for keys typed on the terminal. */
static enum screen_act typed(struct on_terminal *on, const char *keys, struct screen_answer *answer)
{
    boot_terminal_type(on->terminal, keys);
    return screens_wait(on->screens, 2000, answer);
}

static void test_screen_leads_from_the_form_to_the_start_on_a_terminal(void **state)
{
    struct on_terminal *on = *state;
    struct screen_answer answer;
    show(on, SCREEN_FORM);
    boot_terminal_await(on->terminal, "Where is this machine");
    assert_int_equal(typed(on, "convx\x7f\tweb01\x1b[B\x1b[B\x1b[B\r", &answer), SCREEN_SUBMIT);
    assert_string_equal(answer.form.server, "conv");
    assert_string_equal(answer.form.name, "web01");
    show(on, SCREEN_PIN);
    boot_terminal_await(on->terminal, "0123");
    assert_int_equal(typed(on, "\x1b[C\r", &answer), SCREEN_SUBMIT);
    show(on, SCREEN_REVIEW);
    boot_terminal_await(on->terminal, "PowerEdge R720");
    assert_int_equal(typed(on, "\x1b[A \x1b[B\r", &answer), SCREEN_SUBMIT);
    assert_true(answer.is_chosen[0]);
    assert_true(answer.is_chosen[2]);
    assert_false(answer.is_chosen[3]);
}

static void test_screen_escape_alone_goes_back(void **state)
{
    struct on_terminal *on = *state;
    struct screen_answer answer;
    show(on, SCREEN_REVIEW);
    assert_int_equal(typed(on, "\x1b", &answer), SCREEN_BACK);
}

static void test_screen_waits_no_longer_than_it_was_told(void **state)
{
    struct on_terminal *on = *state;
    struct screen_answer answer;
    show(on, SCREEN_LOOKING);
    int64_t before = clock_ms();
    assert_int_equal(screens_wait(on->screens, 50, &answer), SCREEN_NOTHING);
    assert_in_range(clock_ms() - before, 45, 1000);
}

static void test_screen_without_any_terminal_is_an_error(void **state)
{
    (void)state;
    static const char *const paths[] = {"/nonexistent/tty", "/dev/null"};
    struct error err = {0};
    assert_null(screens_start(paths, 2, false, NULL, &err));
    assert_non_null(strstr(err.text, "/dev/null"));
}

int main(void)
{
#define ON_TERMINAL(name) cmocka_unit_test_setup_teardown(name, open_terminal, close_terminal)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_screen_looking_shows_what_is_known_so_far),
        cmocka_unit_test(test_screen_form_asks_for_the_server_first),
        cmocka_unit_test(test_screen_form_by_hand_shows_the_fields_of_an_address),
        cmocka_unit_test(test_screen_pin_shows_all_digits_in_groups),
        cmocka_unit_test(test_screen_review_shows_disks_and_what_to_know),
        cmocka_unit_test(test_screen_sending_shows_each_disk_and_the_safe_point),
        cmocka_unit_test(test_screen_sending_shows_what_the_server_does_after),
        cmocka_unit_test(test_screen_sending_shows_the_approval_and_a_lost_connection),
        cmocka_unit_test(test_screen_asks_before_power_off_while_sending),
        cmocka_unit_test(test_screen_done_counts_down_until_a_key_stops_it),
        cmocka_unit_test(test_screen_done_badly_offers_to_try_again),
        cmocka_unit_test(test_screen_form_hands_over_what_was_typed),
        cmocka_unit_test(test_screen_form_writes_an_address_as_the_parameter_has_it),
        cmocka_unit_test(test_screen_form_does_not_go_on_without_a_server_or_with_half_a_token),
        cmocka_unit_test(test_screen_form_keeps_the_network_that_it_was_booted_with),
        cmocka_unit_test(test_screen_form_shows_a_token_only_where_it_is_typed),
        cmocka_unit_test(test_screen_form_takes_no_more_than_a_field_holds),
        cmocka_unit_test(test_screen_pin_is_not_accepted_by_enter_alone),
        cmocka_unit_test(test_screen_review_ticks_disks_but_never_the_boot_medium),
        cmocka_unit_test(test_screen_review_does_not_start_without_a_disk),
        cmocka_unit_test(test_screen_review_of_many_disks_moves_with_the_focus),
        cmocka_unit_test(test_screen_pages_stay_inside_any_size),
        cmocka_unit_test(test_screen_shows_no_control_characters),
        ON_TERMINAL(test_screen_leads_from_the_form_to_the_start_on_a_terminal),
        ON_TERMINAL(test_screen_escape_alone_goes_back),
        ON_TERMINAL(test_screen_waits_no_longer_than_it_was_told),
        cmocka_unit_test(test_screen_without_any_terminal_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
