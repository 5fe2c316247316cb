/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The agent's token and key: what is taken for a token, and where keys are kept.
 */
#include "base/own.h"
#include "p2v/send_private.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define TOKEN "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

struct lines {
    struct log log;
    unsigned count;
};

static void count_line(struct log *log, enum log_level level, const char *line)
{
    (void)level, (void)line;
    ((struct lines *)log)->count++;
}

/* NULL: refused; the error never shows what the file has. */
static char *read_token(const char *text)
{
    char path[] = "/tmp/rehost-token.XXXXXX";
    struct error err = {0};
    int fd = mkstemp(path);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    char *token = send_read_token(path, &err);
    unlink(path);
    assert_true(token ? err.text[0] == '\0' : strstr(err.text, path) != NULL);
    assert_true(strlen(text) < 8 || !strstr(err.text, text));
    return token;
}

static void test_send_token_is_taken_with_blanks_and_in_either_case(void **state)
{
    (void)state;
    char *plain = read_token(TOKEN), *spaced = read_token(" \n abcdefghijklm\tNOPQRSTUVWXYZ\r\n\n");
    char *digits = read_token("234567GHIJKLMNOPQRSTUVWXYZ\n");
    assert_string_equal(plain, TOKEN);
    assert_string_equal(spaced, TOKEN);
    assert_string_equal(digits, "234567GHIJKLMNOPQRSTUVWXYZ");
    text_wipe(plain);
    text_wipe(spaced);
    text_wipe(digits);
    text_wipe(NULL);
}

static void test_send_token_refuses_what_is_none(void **state)
{
    static const char *const wrong[] = {"",
                                        "\n",
                                        "ABCDEFGHIJKLMNOPQRSTUVWXY",
                                        TOKEN "A",
                                        "ABCDEFGHIJKLMNOPQRSTUVWXY1",
                                        "ABCDEFGHIJKLMNOPQRSTUVWXY\xc3",
                                        TOKEN "\n" TOKEN};
    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_null(read_token(wrong[i]));
}

static void test_send_token_file_that_is_missing_is_an_error(void **state)
{
    (void)state;
    struct error err = {0};
    assert_null(send_read_token("/nonexistent/token", &err));
    assert_non_null(strstr(err.text, "/nonexistent/token"));
}

static void hash_of(const char *folder, uint8_t pin_byte, const char *image,
                    uint8_t hash[TLS_IDENTITY_SIZE], struct log *log)
{
    struct error err = {0};
    uint8_t pin[TLS_IDENTITY_SIZE];
    memset(pin, pin_byte, sizeof(pin));
    AUTO_PTR(tls_identity) identity = send_identity(folder, pin, image, log, &err);
    assert_string_equal(err.text, "");
    assert_non_null(identity);
    tls_identity_hash(identity, hash);
}

static void test_send_key_is_kept_and_is_another_for_another_server(void **state)
{
    (void)state;
    char folder[] = "/tmp/rehost-state.XXXXXX";
    struct lines lines = {.log = {count_line}};
    struct stat status;
    uint8_t first[TLS_IDENTITY_SIZE], again[TLS_IDENTITY_SIZE], other[TLS_IDENTITY_SIZE];
    assert_non_null(mkdtemp(folder));
    AUTO_FREE char *state_folder = text_format("%s/a/b", folder);
    hash_of(state_folder, 0x11, NULL, first, &lines.log);
    hash_of(state_folder, 0x11, NULL, again, &lines.log);
    hash_of(state_folder, 0x22, NULL, other, &lines.log);
    assert_memory_equal(first, again, sizeof(first));
    assert_memory_not_equal(first, other, sizeof(first));
    assert_int_equal(lines.count, 0);
    AUTO_FREE char *key = text_format("%s/agent-1111111111111111.pem", state_folder);
    assert_int_equal(stat(key, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(stat(state_folder, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);

    /* What is no key is not silently replaced: it would be another machine to the server. */
    struct error err = {0};
    uint8_t pin[TLS_IDENTITY_SIZE];
    memset(pin, 0x11, sizeof(pin));
    assert_int_equal(truncate(key, 10), 0);
    assert_null(send_identity(state_folder, pin, NULL, &lines.log, &err));
    assert_non_null(strstr(err.text, state_folder));

    AUTO_FREE char *other_key = text_format("%s/agent-2222222222222222.pem", state_folder);
    unlink(key);
    unlink(other_key);
    rmdir(state_folder);
    AUTO_FREE char *middle = text_format("%s/a", folder);
    rmdir(middle);
    assert_int_equal(rmdir(folder), 0);
}

/* The server takes the same key for the same machine, and would replace the one by the other. */
static void test_send_key_is_another_for_images_of_another_machine(void **state)
{
    (void)state;
    char folder[] = "/tmp/rehost-state.XXXXXX";
    uint8_t first[TLS_IDENTITY_SIZE], again[TLS_IDENTITY_SIZE], other[TLS_IDENTITY_SIZE];
    assert_non_null(mkdtemp(folder));
    hash_of(folder, 0x11, "/srv/web.img", first, NULL);
    hash_of(folder, 0x11, "/srv/web.img", again, NULL);
    hash_of(folder, 0x11, "/srv/db.img", other, NULL);
    assert_memory_equal(first, again, sizeof(first));
    assert_memory_not_equal(first, other, sizeof(first));
    /* SHA-256 of the path */
    AUTO_FREE char *first_key =
        text_format("%s/agent-1111111111111111-c19c324df07c2dd4.pem", folder);
    AUTO_FREE char *other_key =
        text_format("%s/agent-1111111111111111-a5ae0d74bac315ca.pem", folder);
    assert_int_equal(unlink(first_key), 0);
    assert_int_equal(unlink(other_key), 0);
    assert_int_equal(rmdir(folder), 0);
}

/* Clones and the converted copy carry the key's file with them. */
static void test_send_key_is_another_for_a_clone_on_other_hardware(void **state)
{
    (void)state;
    char root[] = "/tmp/rehost-test-XXXXXX";
    assert_non_null(mkdtemp(root));
    AUTO_FREE char *etc = text_format("%s/etc", root);
    assert_int_equal(mkdir(etc, 0755), 0);
    AUTO_FREE char *before = send_this_machine(root);
    AUTO_FREE char *path = text_format("%s/etc/machine-id", root);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("0123456789abcdef0123456789abcdef\n", file);
    fclose(file);
    AUTO_FREE char *after = send_this_machine(root);
    AUTO_FREE char *again = send_this_machine(root);
    assert_string_not_equal(before, after);
    assert_string_equal(after, again);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(etc), 0);
    assert_int_equal(rmdir(root), 0);
}

static void test_send_key_stays_in_memory_where_it_cannot_be_kept(void **state)
{
    (void)state;
    struct lines lines = {.log = {count_line}};
    uint8_t first[TLS_IDENTITY_SIZE], again[TLS_IDENTITY_SIZE];
    hash_of("/dev/null/state", 0x11, NULL, first, &lines.log);
    hash_of("/dev/null/state", 0x11, NULL, again, &lines.log);
    assert_memory_not_equal(first, again, sizeof(first));
    assert_int_equal(lines.count, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_send_token_is_taken_with_blanks_and_in_either_case),
        cmocka_unit_test(test_send_token_refuses_what_is_none),
        cmocka_unit_test(test_send_token_file_that_is_missing_is_an_error),
        cmocka_unit_test(test_send_key_is_kept_and_is_another_for_another_server),
        cmocka_unit_test(test_send_key_is_another_for_images_of_another_machine),
        cmocka_unit_test(test_send_key_is_another_for_a_clone_on_other_hardware),
        cmocka_unit_test(test_send_key_stays_in_memory_where_it_cannot_be_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
