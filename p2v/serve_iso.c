/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The address is asked of the kernel: a UDP socket that is connected to a far address, one of those
 * reserved for documentation, is given the address that packets would leave by. None are sent.
 */
#include "p2v/serve_iso.h"

#include "base/bytes.h"
#include "base/own.h"
#include "base/text.h"
#include "p2v/media/media.h"
#include "p2v/wire/link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static bool ask_kernel(const char *far, char host[NI_MAXHOST])
{
    const struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICHOST};
    struct addrinfo *list = NULL;
    struct sockaddr_storage own;
    socklen_t length = sizeof(own);
    if (getaddrinfo(far, "9", &hints, &list) != 0)
        return false;
    AUTO_CLOSE int fd = socket(list->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool is_found = fd >= 0 && connect(fd, list->ai_addr, list->ai_addrlen) == 0 &&
                    getsockname(fd, (struct sockaddr *)&own, &length) == 0 &&
                    getnameinfo((struct sockaddr *)&own, length, host, NI_MAXHOST, NULL, 0,
                                NI_NUMERICHOST) == 0;
    freeaddrinfo(list);
    return is_found;
}

static bool is_everywhere(const char *host)
{
    return strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
}

/*
 * "192.0.2.7:7443", "[2001:db8::7]:7443": `host` when that is an address of its own, otherwise that
 * of the interface with the default route. `port` is added unless `named` has one.
 */
static int find_address(const char *named, const char *host, unsigned port, char *text, size_t size,
                        struct error *err)
{
    struct link_address address;
    char own[NI_MAXHOST];
    if (named) {
        if (link_address_parse(named, &address, err) != 0)
            return -1;
        bool has_port = named[0] == '[' ? strstr(named, "]:") != NULL : strchr(named, ':') != NULL;
        if (has_port)
            snprintf(text, size, "%s", named);
        else
            snprintf(text, size, "%s:%u", named, port);
        return 0;
    }
    if (!is_everywhere(host))
        snprintf(own, sizeof(own), "%s", host);
    else if (!ask_kernel("192.0.2.1", own) &&
             (strcmp(host, "::") != 0 || !ask_kernel("2001:db8::1", own)))
        return error_set(err, 0,
                         "there is no default route: name this server's address (--iso-server)");
    snprintf(text, size, strchr(own, ':') ? "[%s]:%u" : "%s:%u", own, port);
    return 0;
}

static char *make_command_line(struct server *server, const char *address, char id[16],
                               struct error *err)
{
    static const struct token_options one_use = {.note = "serve --iso"};
    char token[WIRE_TOKEN_LENGTH + 1], pin[TLS_PIN_SIZE];
    if (token_create(server_database(server), &one_use, token, id, err) != 0)
        return NULL;
    server_pin(server, pin);
    const struct media_settings settings = {.server = address, .pin = pin, .token = token};
    char *line = media_command_line(&settings, err);
    OPENSSL_cleanse(token, sizeof(token));
    return line;
}

int serve_iso_make(struct server *server, const struct serve_iso *wanted, struct error *err)
{
    char address[NI_MAXHOST + 16], id[16], size[32];
    if (find_address(wanted->address, server_host(server), server_port(server), address,
                     sizeof(address), err) != 0)
        return error_wrap(err, "--iso");
    char *line = make_command_line(server, address, id, err);
    if (!line)
        return error_wrap(err, "--iso");
    const struct media_options media = {.output = wanted->output,
                                        .is_forced = wanted->is_forced,
                                        .command_line = line,
                                        .has_secret = true,
                                        .stop = wanted->stop,
                                        .log = wanted->log};
    struct media_result result;
    int code = media_make_iso(&media, &result, err);
    text_wipe(line);
    if (code != 0)
        return error_wrap(err, "--iso");
    printf("iso %s: %s; boots one machine and sends it to %s, with token %s\n", wanted->output,
           bytes_format(result.iso_bytes, size, sizeof(size)), address, id);
    return fflush(stdout) == 0 ? 0 : error_set(err, errno, "write to standard output");
}
