/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * From udhcpc to the process that watches: udhcpc starts this program with what
 * the DHCP server said in its environment; the program writes it to a file, the
 * watcher reads and checks it. No shell sees any of it, and nothing is
 * believed.
 */
#include "base/bytes.h"
#include "base/io.h"
#include "base/own.h"
#include "base/text.h"
#include "p2v/agent/inventory_file.h"
#include "p2v/boot/network_private.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_VALUE 256

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

char *network_lease_path(const char *folder, const char *interface)
{
    return text_format("%s/lease.%s", folder, interface);
}

/* --- what udhcpc starts --- */

bool boot_network_is_lease_call(int argc, char *const argv[])
{
    return argc >= 1 && strcmp(base_name(argv[0]), NETWORK_LEASE_NAME) == 0;
}

static void add_variable(struct text *out, const char *name)
{
    const char *value = getenv(name);
    if (!value || strlen(value) > MAX_VALUE)
        return;
    for (const char *at = value; *at; at++) {
        if (!isprint((unsigned char)*at))
            return;
    }
    text_addf(out, "%s=%s\n", name, value);
}

static int write_lease(const char *folder, const char *name)
{
    static const char *const variables[] = {"ip", "mask", "subnet", "router", "dns"};
    AUTO(text) out = {0};
    for (size_t i = 0; i < ARRAY_LENGTH(variables); i++)
        add_variable(&out, variables[i]);
    AUTO_CLOSE int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -1 : io_replace_file(fd, name, text_string(&out), out.length, 0600, NULL);
}

int boot_network_write_lease(char *const argv[])
{
    const char *interface = getenv("interface");
    const char *slash = strrchr(argv[0], '/');
    if (!argv[1] || !slash || !interface || !network_is_interface(interface))
        return EXIT_FAILURE;
    AUTO_FREE char *folder = strndup(argv[0], (size_t)(slash - argv[0]));
    AUTO_FREE char *path = network_lease_path(folder, interface);
    if (strcmp(argv[1], "bound") == 0 || strcmp(argv[1], "renew") == 0)
        return write_lease(folder, base_name(path)) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
    if (strcmp(argv[1], "deconfig") == 0)
        unlink(path);
    return EXIT_SUCCESS;
}

/* --- what is believed of it --- */

/* The first word of a line "name=words"; "" when there is none. */
static void take_word(const char **at, char *word, size_t size)
{
    size_t length = strcspn(*at, " \n");
    snprintf(word, size, "%.*s", length < size ? (int)length : 0, *at);
    *at += length;
    *at += **at == ' ';
}

static const char *find_line(const char *text, const char *name)
{
    size_t length = strlen(name);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, length) == 0 && line[length] == '=')
            return line + length + 1;
    }
    return "";
}

static void parse_dns(const char *words, struct network_lease *lease)
{
    size_t count = 0;
    while (*words && *words != '\n' && count < NETWORK_MAX_DNS) {
        char word[64] = "";
        take_word(&words, word, sizeof(word));
        if (network_is_address(word))
            memcpy(lease->dns[count++], word, sizeof(word));
    }
}

bool network_lease_parse(const char *text, struct network_lease *lease)
{
    char address[40], mask[40], subnet[40], router[40];
    const char *lines[] = {find_line(text, "ip"), find_line(text, "mask"),
                           find_line(text, "subnet"), find_line(text, "router")};
    *lease = (struct network_lease){0};
    take_word(&lines[0], address, sizeof(address));
    take_word(&lines[1], mask, sizeof(mask));
    take_word(&lines[2], subnet, sizeof(subnet));
    take_word(&lines[3], router, sizeof(router));
    int bits = network_mask_bits(subnet);
    if (mask[0] && strlen(mask) <= 2 && strspn(mask, "0123456789") == strlen(mask))
        bits = (int)strtoul(mask, NULL, 10);
    snprintf(lease->address, sizeof(lease->address), "%s/%d", address, bits < 0 ? 24 : bits);
    if (network_is_ipv6(address) || !network_is_host_address(lease->address)) {
        *lease = (struct network_lease){0};
        return false;
    }
    if (network_is_address(router) && !network_is_ipv6(router))
        snprintf(lease->gateway, sizeof(lease->gateway), "%s", router);
    parse_dns(find_line(text, "dns"), lease);
    return true;
}
