/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A TCP connection outlives its address: nothing reaches it any more, and it takes a minute of
 * silence until somebody gives it up. Who knows that the address is gone ends it, so that the next
 * connection is made at once by the way that there is now.
 */
#include "p2v/boot/network_private.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static bool is_connection(int fd)
{
    int type = 0, is_listening = 0;
    socklen_t size = sizeof(int);
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_STREAM)
        return false;
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &size) == 0 && !is_listening;
}

static bool has_address(int fd, const char *plain)
{
    union address address;
    socklen_t size = sizeof(address);
    char text[INET6_ADDRSTRLEN] = "";
    if (getsockname(fd, &address.any, &size) != 0)
        return false;
    if (address.any.sa_family == AF_INET)
        inet_ntop(AF_INET, &address.v4.sin_addr, text, sizeof(text));
    else if (address.any.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&address.v6.sin6_addr))
        inet_ntop(AF_INET, &address.v6.sin6_addr.s6_addr[12], text, sizeof(text));
    else if (address.any.sa_family == AF_INET6)
        inet_ntop(AF_INET6, &address.v6.sin6_addr, text, sizeof(text));
    return text[0] && strcmp(text, plain) == 0;
}

void network_cut_connections(const char *host_address)
{
    char plain[64];
    snprintf(plain, sizeof(plain), "%.*s", (int)strcspn(host_address, "/"), host_address);
    DIR *folder = opendir("/proc/self/fd");
    if (!folder)
        return;
    for (struct dirent *entry; (entry = readdir(folder));) {
        int fd = atoi(entry->d_name);
        if (fd > 2 && is_connection(fd) && has_address(fd, plain))
            shutdown(fd, SHUT_RDWR);
    }
    closedir(folder);
}
