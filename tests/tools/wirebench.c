/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * How fast the wire is: DATA frames over TLS on loopback, from one process to another.
 *
 *     wirebench [GIB]      prints MB/s, and CPU seconds a GB for the sender and the receiver
 */
#include "base/bytes.h"
#include "base/clock.h"
#include "p2v/wire/link.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define FRAME_BYTES ((uint64_t)WIRE_MAX_DATA * CHUNK_SIZE)

static void give_up(const struct error *err)
{
    fprintf(stderr, "wirebench: %s\n", err->text);
    exit(1);
}

static double cpu_seconds(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static int listen_on(struct sockaddr_in *address)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    socklen_t size = sizeof(*address);

    *address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0 || bind(fd, (struct sockaddr *)address, size) != 0 || listen(fd, 1) != 0 ||
        getsockname(fd, (struct sockaddr *)address, &size) != 0) {
        perror("wirebench");
        exit(1);
    }
    return fd;
}

static void send_all(const struct sockaddr_in *where, const uint8_t *pin, uint64_t frames)
{
    struct error err = {0};
    AUTO_PTR(tls_identity) identity = tls_identity_new(&err);
    struct link_address address = {.host = "127.0.0.1"};
    static uint8_t chunks[4][FRAME_BYTES];
    struct wire_data data = {.count = WIRE_MAX_DATA};
    uint8_t head[WIRE_DATA_HEAD_SIZE];
    struct iovec parts[1 + WIRE_MAX_DATA];

    snprintf(address.port, sizeof(address.port), "%u", ntohs(where->sin_port));
    AUTO_PTR(link) link = identity ? link_connect(&address, identity, pin, 5000, &err) : NULL;
    if (!link)
        give_up(&err);
    memset(chunks, 0x5a, sizeof(chunks));
    double began = cpu_seconds();
    for (uint64_t i = 0; i < frames; i++) {
        for (unsigned k = 0; k < WIRE_MAX_DATA; k++) {
            data.parts[k].length = CHUNK_SIZE;
            parts[1 + k] = (struct iovec){chunks[i % 4] + (size_t)k * CHUNK_SIZE, CHUNK_SIZE};
        }
        parts[0] = (struct iovec){head, wire_data_encode_head(&data, head)};
        if (link_send_parts(link, parts, ARRAY_LENGTH(parts), &err) != 0)
            give_up(&err);
    }
    printf("sender   %.3f CPU s/GB\n",
           (cpu_seconds() - began) * 1e9 / (double)(frames * FRAME_BYTES));
    fflush(stdout);
}

static void receive_all(int fd, struct tls_identity *identity, uint64_t frames)
{
    struct error err = {0};
    struct link_frame frame;
    struct wire_data data;
    uint64_t got = 0;
    AUTO_PTR(link) link = link_accept(accept(fd, NULL, NULL), identity, 5000, &err);

    if (!link)
        give_up(&err);
    link_set_max_payload(link, WIRE_MAX_PAYLOAD);
    double began = cpu_seconds(), start = clock_seconds();
    int status;
    while ((status = link_receive(link, &frame, 5000, NULL, &err)) == 1) {
        if (wire_data_decode(frame.payload, frame.length, &data, &err) != 0)
            give_up(&err);
        got++;
    }
    if (status != 0 || got != frames)
        give_up(&err);
    double bytes = (double)(frames * FRAME_BYTES);
    printf("receiver %.3f CPU s/GB\n", (cpu_seconds() - began) * 1e9 / bytes);
    printf("%.0f MB/s\n", bytes / 1e6 / (clock_seconds() - start));
}

int main(int argc, char **argv)
{
    double gib = argc > 1 ? strtod(argv[1], NULL) : 3;
    uint64_t frames = (uint64_t)(gib * (double)GIB) / FRAME_BYTES;
    struct error err = {0};
    struct sockaddr_in where;
    uint8_t pin[TLS_IDENTITY_SIZE];
    AUTO_PTR(tls_identity) identity = tls_identity_new(&err);

    if (!identity)
        give_up(&err);
    tls_identity_hash(identity, pin);
    int fd = listen_on(&where), status = 0;
    pid_t child = fork();
    if (child == 0) {
        send_all(&where, pin, frames);
        return 0;
    }
    receive_all(fd, identity, frames);
    return waitpid(child, &status, 0) == child && status == 0 ? 0 : 1;
}
