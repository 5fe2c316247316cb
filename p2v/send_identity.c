/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Who the agent is: its key, one for each server, kept so that the same command tomorrow needs no
 * token; and the token, which is read from a file or standard input and shown nowhere.
 */
#include "base/bytes.h"
#include "base/io.h"
#include "base/own.h"
#include "formats/digest.h"
#include "p2v/agent/inventory_file.h"
#include "p2v/machine.h"
#include "p2v/send_private.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_TOKEN_FILE 4096u
#define KEY_NAME_BYTES 8

/* --- the key --- */

/* NULL: there is no home to put it in. Caller frees. */
static char *default_state(void)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    if (geteuid() == 0)
        return text_copy("/var/lib/rehost");
    if (state && state[0] == '/')
        return path_join(state, "rehost");
    return home && home[0] == '/' ? path_join(home, ".local/state/rehost") : NULL;
}

/* The folder and what leads to it. */
static int open_state(const char *path, struct error *err)
{
    AUTO_FREE char *part = text_copy(path);
    for (char *slash = part + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        mkdir(part, 0755);
        *slash = '/';
    }
    mkdir(path, 0700);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        error_set(err, errno, "%s", path);
    return fd;
}

/* The place is at fault, and not what lies in it. */
static bool is_place_unusable(const struct error *err)
{
    return err->errnum == EROFS || err->errnum == EACCES || err->errnum == EPERM ||
           err->errnum == ENOENT || err->errnum == ENOSPC || err->errnum == ENOTDIR;
}

static void add_hex(const uint8_t *bytes, struct text *out)
{
    char digits[2 * KEY_NAME_BYTES + 1];
    bytes_format_hex(bytes, KEY_NAME_BYTES, digits);
    text_add(out, digits);
}

/* "agent-PIN-HASH.pem", or "agent-PIN.pem" for what nothing is known of; caller frees. */
static char *key_name(const uint8_t pin[TLS_IDENTITY_SIZE], const char *subject)
{
    AUTO(text) name = {0};
    uint8_t hash[DIGEST_SIZE];
    text_add(&name, "agent-");
    add_hex(pin, &name);
    if (subject) {
        digest_compute(subject, strlen(subject), hash);
        text_add(&name, "-");
        add_hex(hash, &name);
    }
    text_add(&name, ".pem");
    return text_take(&name);
}

char *send_this_machine(const char *root)
{
    static const char *const files[] = {
        "/sys/class/dmi/id/sys_vendor",
        "/sys/class/dmi/id/product_name",
        "/sys/class/dmi/id/product_serial",
        "/sys/class/dmi/id/product_uuid",
        "/etc/machine-id",
    };
    AUTO(text) subject = {0};
    for (size_t i = 0; i < ARRAY_LENGTH(files); i++) {
        AUTO_FREE char *part = inventory_text(root, "%s", files[i]);
        text_addf(&subject, "%s\n", part);
    }
    return text_take(&subject);
}

struct tls_identity *send_identity(const char *state, const uint8_t pin[TLS_IDENTITY_SIZE],
                                   const char *subject, struct log *log, struct error *err)
{
    struct error cause = {0};
    struct tls_identity *identity = NULL;
    AUTO_FREE char *path = state ? text_copy(state) : default_state();
    AUTO_FREE char *name = key_name(pin, subject);

    AUTO_CLOSE int fd = path ? open_state(path, &cause) : -1;
    if (!path)
        error_set(&cause, ENOENT, "no home folder");
    if (fd >= 0)
        identity = tls_identity_load(fd, name, &cause);
    if (identity)
        return identity;
    if (!is_place_unusable(&cause)) {
        *err = cause;
        error_wrap(err, "%s", path ? path : name);
        return NULL;
    }
    log_info(log, "the key is kept in memory only (%s): another run needs another token",
             cause.text);
    return tls_identity_new(err);
}

/* --- the token --- */

static ssize_t read_all(int fd, char *buffer, size_t size)
{
    size_t length = 0;
    while (length < size) {
        ssize_t got = read(fd, buffer + length, size - length);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        length += (size_t)got;
    }
    return (ssize_t)length;
}

/* Blanks out; what remains has to be one token. */
static char *take_token(const char *data, size_t length)
{
    char token[WIRE_TOKEN_LENGTH + 1];
    size_t count = 0;
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)data[i];
        if (isspace(byte))
            continue;
        bool is_digit = isalpha(byte) || (byte >= '2' && byte <= '7');
        if (!is_digit || count == WIRE_TOKEN_LENGTH)
            return NULL;
        token[count++] = (char)toupper(byte);
    }
    token[count] = '\0';
    char *copy = count == WIRE_TOKEN_LENGTH ? text_copy(token) : NULL;
    explicit_bzero(token, sizeof(token));
    return copy;
}

/* The errors never show what was read. */
char *send_read_token(const char *path, struct error *err)
{
    char data[MAX_TOKEN_FILE];
    bool is_input = strcmp(path, "-") == 0;
    AUTO_CLOSE int fd = is_input ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read_all(fd, data, sizeof(data));
    const char *name = is_input ? "standard input" : path;
    if (length < 0) {
        error_set(err, errno, "token file %s", name);
        return NULL;
    }
    char *token = take_token(data, (size_t)length);
    explicit_bzero(data, sizeof(data));
    if (!token)
        error_set(err, 0, "token file %s: it holds no token (%d letters and digits)", name,
                  WIRE_TOKEN_LENGTH);
    return token;
}

int send_take_token(const struct send_options *options, char **token, struct error *err)
{
    *token = NULL;
    if (options->token) {
        *token = take_token(options->token, strlen(options->token));
        return *token ? 0
                      : error_set(err, EINVAL, "the token is not %d letters and digits",
                                  WIRE_TOKEN_LENGTH);
    }
    if (options->token_file)
        *token = send_read_token(options->token_file, err);
    return options->token_file && !*token ? -1 : 0;
}
