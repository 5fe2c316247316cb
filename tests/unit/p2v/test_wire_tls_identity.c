/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The file of a key: made once, for its owner alone, refused when it is anything else. And pins.
 */
#include "base/bytes.h"
#include "p2v/wire/tls_internal.h"
#include "tests/lib/wire_fixture.h"

#include <fcntl.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static char folder[] = "/tmp/test-wire-tls-XXXXXX";

static int write_file(int folder_fd, const char *name, const char *data, mode_t mode)
{
    int fd = openat(folder_fd, name, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, mode);

    assert_true(fd >= 0 && write(fd, data, strlen(data)) == (ssize_t)strlen(data));
    assert_int_equal(fchmod(fd, mode), 0);
    return close(fd);
}

static void assert_not_loaded(int folder_fd, const char *name, const char *says)
{
    struct error err = {0};

    assert_null(tls_identity_load(folder_fd, name, &err));
    if (!strstr(err.text, says) || !strstr(err.text, name))
        fail_msg("'%s' does not say %s, %s", err.text, name, says);
}

static void test_an_identity_is_made_once_and_only_its_owner_may_read_it(void **state)
{
    uint8_t first[TLS_IDENTITY_SIZE], second[TLS_IDENTITY_SIZE];
    struct stat stat;

    (void)state;
    assert_non_null(mkdtemp(folder));
    int folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (unsigned i = 0; i < 2; i++) {
        struct error err = {0};
        struct tls_identity *identity = tls_identity_load(folder_fd, "key.pem", &err);
        if (!identity)
            fail_msg("%s", err.text);
        tls_identity_hash(identity, i ? second : first);
        tls_identity_free(identity);
    }
    assert_memory_equal(first, second, sizeof(first));
    assert_int_equal(fstatat(folder_fd, "key.pem", &stat, 0), 0);
    assert_int_equal(stat.st_mode & 07777, 0600);

    assert_int_equal(fchmodat(folder_fd, "key.pem", 0640, 0), 0);
    assert_not_loaded(folder_fd, "key.pem", "640");
    write_file(folder_fd, "bad.pem", "-----BEGIN PRIVATE KEY-----\nMC4=\n", 0600);
    assert_not_loaded(folder_fd, "bad.pem", "no private key");
    write_file(folder_fd, "empty.pem", "", 0600);
    assert_not_loaded(folder_fd, "empty.pem", "no private key");
    assert_int_equal(symlinkat("key.pem", folder_fd, "link.pem"), 0);
    assert_not_loaded(folder_fd, "link.pem", "symbolic links");
    const char *names[] = {"key.pem", "bad.pem", "empty.pem", "link.pem"};
    for (unsigned i = 0; i < ARRAY_LENGTH(names); i++)
        assert_int_equal(unlinkat(folder_fd, names[i], 0), 0);
    close(folder_fd);
    assert_int_equal(rmdir(folder), 0); /* nothing else was left in it */
}

static void test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked(void **state)
{
    char name[] = "/tmp/test-wire-key-XXXXXX";
    struct error err = {0};
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    int fd = mkstemp(name);
    FILE *file = fdopen(fd, "w");

    (void)state;
    assert_int_equal(
        PEM_write_PKCS8PrivateKey(file, key, EVP_aes_256_cbc(), "secret", 6, NULL, NULL), 1);
    fclose(file);
    EVP_PKEY_free(key);
    assert_null(tls_identity_load(AT_FDCWD, name, &err));
    assert_non_null(strstr(err.text, name));
    assert_int_equal(unlink(name), 0);
}

static void test_pins_are_written_and_read(void **state)
{
    char text[TLS_PIN_SIZE];
    uint8_t pin[TLS_IDENTITY_SIZE], hash[TLS_IDENTITY_SIZE];
    struct error err = {0};

    (void)state;
    for (unsigned i = 0; i < sizeof(pin); i++)
        pin[i] = (uint8_t)(i * 9);
    tls_pin_format(pin, text);
    assert_int_equal(strlen(text), TLS_PIN_SIZE - 1);
    assert_int_equal(tls_pin_parse(text, hash, &err), 0);
    assert_memory_equal(hash, pin, sizeof(hash));
    text[70] = 'g';
    assert_int_equal(tls_pin_parse(text, hash, &err), -1);
    text[70] = '\0';
    assert_int_equal(tls_pin_parse(text, hash, &err), -1);
    assert_int_equal(tls_pin_parse("sha1:0123", hash, &err), -1);
    assert_int_equal(tls_pin_parse("", hash, &err), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_identity_is_made_once_and_only_its_owner_may_read_it),
        cmocka_unit_test(test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked),
        cmocka_unit_test(test_pins_are_written_and_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
