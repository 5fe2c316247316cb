/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A long cable, for the benchmark: two TUN interfaces in two network namespaces, and every packet
 * that enters one leaves the other a while later. For kernels without netem.
 *
 *     delaywire NAMESPACE INTERFACE NAMESPACE INTERFACE MILLISECONDS
 *
 * A namespace is a name of `ip netns`, or '-' for this one. Prints "ready" when both interfaces are
 * there; ends with its standard input. Large segments cross whole (TUN's offloads), so that the
 * cable costs little CPU.
 */
#include "base/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define MAX_PACKET (65536 + 512)
#define MAX_QUEUED 8192 /* packets in the cable */

struct packet {
    uint64_t due_ns;
    size_t length;
    uint8_t *data;
};

struct way {
    int from, to;
    uint64_t delay_ns;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct packet packets[MAX_QUEUED];
    size_t head, count;
};

static void die(const char *what)
{
    fprintf(stderr, "delaywire: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void enter(const char *name)
{
    char path[256];

    if (strcmp(name, "-") == 0)
        return;
    snprintf(path, sizeof(path), "/run/netns/%s", name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
        die(path);
    close(fd);
}

static int open_tun(const char *interface)
{
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR};
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

    strncpy(request.ifr_name, interface, IFNAMSIZ - 1);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0 ||
        ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4) < 0)
        die(interface);
    return fd;
}

static void *take_in(void *argument)
{
    struct way *way = argument;

    for (;;) {
        struct packet packet = {.data = malloc(MAX_PACKET)};
        ssize_t got = packet.data ? read(way->from, packet.data, MAX_PACKET) : -1;

        if (got < 0 && errno != EINTR && errno != EIO)
            die("read");
        packet.length = got > 0 ? (size_t)got : 0;
        packet.due_ns = now_ns() + way->delay_ns;
        pthread_mutex_lock(&way->lock);
        if (got <= 0 || way->count == MAX_QUEUED) { /* a full cable loses packets, as any other */
            free(packet.data);
        } else {
            way->packets[(way->head + way->count++) % MAX_QUEUED] = packet;
            pthread_cond_signal(&way->changed);
        }
        pthread_mutex_unlock(&way->lock);
    }
    return NULL;
}

static void *give_out(void *argument)
{
    struct way *way = argument;

    for (;;) {
        pthread_mutex_lock(&way->lock);
        while (way->count == 0)
            pthread_cond_wait(&way->changed, &way->lock);
        struct packet packet = way->packets[way->head];
        way->head = (way->head + 1) % MAX_QUEUED;
        way->count--;
        pthread_mutex_unlock(&way->lock);
        struct timespec due = {.tv_sec = (time_t)(packet.due_ns / 1000000000u),
                               .tv_nsec = (long)(packet.due_ns % 1000000000u)};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
        /* An interface that is down takes nothing: lost. */
        if (write(way->to, packet.data, packet.length) < 0 && errno != EIO && errno != EINVAL)
            die("write");
        free(packet.data);
    }
    return NULL;
}

static void start(struct way *way, int from, int to, uint64_t delay_ns)
{
    pthread_t thread;

    way->from = from;
    way->to = to;
    way->delay_ns = delay_ns;
    pthread_mutex_init(&way->lock, NULL);
    pthread_cond_init(&way->changed, NULL);
    if (pthread_create(&thread, NULL, take_in, way) != 0 ||
        pthread_create(&thread, NULL, give_out, way) != 0)
        die("pthread_create");
}

int main(int argc, char **argv)
{
    static struct way ways[2];
    int fds[2];
    char byte;

    if (argc != 6) {
        fprintf(stderr, "usage: delaywire NAMESPACE INTERFACE NAMESPACE INTERFACE MILLISECONDS\n");
        return 2;
    }
    int here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    for (size_t i = 0; i < ARRAY_LENGTH(fds); i++) {
        enter(argv[1 + 2 * i]);
        fds[i] = open_tun(argv[2 + 2 * i]);
        if (here < 0 || setns(here, CLONE_NEWNET) < 0)
            die("setns");
    }
    uint64_t delay_ns = (uint64_t)(strtod(argv[5], NULL) * 1e6);
    start(&ways[0], fds[0], fds[1], delay_ns);
    start(&ways[1], fds[1], fds[0], delay_ns);
    puts("ready");
    fflush(stdout);
    while (read(STDIN_FILENO, &byte, 1) > 0)
        ;
    return 0;
}
