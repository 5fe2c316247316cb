/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A TCP proxy that cuts, for the tests of the wire: it forwards bytes and knows nothing of them.
 *
 *     cutproxy HOST PORT [--at N,N,… | --between MIN-MAX] [--cuts N] [--seed N]
 *              [--how rst|fin|hole|mix] [--rate BYTES]
 *
 * --at cuts every connection when so many bytes have passed in all; --between cuts each connection
 * after a random number of bytes, at most --cuts times. A cut is a reset, an end without the
 * protocol's own end, or a hole: the connection stays, and nothing passes any more. --rate limits
 * the bytes a second, in each direction.
 *
 * It listens on a port of the kernel's choice on 127.0.0.1 and prints "port N". Commands on
 * standard input, each answered with one line of JSON: "cut" (all connections, now), "stats". It
 * ends with its standard input.
 */
#include "base/bytes.h"
#include "base/checked.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netdb.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_PAIRS 256
#define MAX_CUTS 4096
#define BUFFER 65536

enum how { HOW_RST, HOW_FIN, HOW_HOLE, HOW_MIX };

/* One direction of one connection: bytes read from `from` and not yet written to `to`. */
struct pipe {
    int from, to;
    size_t start, end;
    bool is_ended;
    uint64_t *total;
    double *budget; /* bytes that may pass now, when there is a rate */
    char buffer[BUFFER];
};

struct pair {
    int fds[2]; /* client, server; -1: unused */
    struct pipe pipes[2];
    uint64_t left; /* until it is cut; UINT64_MAX: never */
    bool is_hole;
};

static struct pair *pairs[MAX_PAIRS];
static uint64_t cut_at[MAX_CUTS];
static size_t cut_at_count, cut_at_next;
static uint64_t between_min, between_max;
static uint64_t cuts_left = UINT64_MAX, cuts, connections, totals[2];
static enum how how = HOW_RST;
static double rate, budgets[2];

static void die(const char *what)
{
    fprintf(stderr, "cutproxy: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void pair_free(size_t slot)
{
    close(pairs[slot]->fds[0]);
    close(pairs[slot]->fds[1]);
    free(pairs[slot]);
    pairs[slot] = NULL;
}

static void pair_cut(size_t slot)
{
    struct pair *pair = pairs[slot];
    enum how now = how == HOW_MIX ? (enum how)(random() % 2) : how;
    struct linger at_once = {.l_onoff = 1};

    cuts++;
    for (int i = 0; i < 2; i++) {
        if (now == HOW_RST)
            setsockopt(pair->fds[i], SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
        else if (now == HOW_FIN) /* closing with unread bytes would send a reset */
            shutdown(pair->fds[i], SHUT_WR);
    }
    if (now == HOW_RST)
        pair_free(slot);
    else
        pair->is_hole = true;
}

static void cut_all(void)
{
    for (size_t slot = 0; slot < MAX_PAIRS; slot++) {
        if (pairs[slot] && !pairs[slot]->is_hole)
            pair_cut(slot);
    }
}

static void print_stats(void)
{
    printf("{\"connections\": %" PRIu64 ", \"cuts\": %" PRIu64 ", \"up\": %" PRIu64
           ", \"down\": %" PRIu64 "}\n",
           connections, cuts, totals[0], totals[1]);
    fflush(stdout);
}

/* An unused slot, or that of a connection that was cut. */
static size_t find_slot(void)
{
    size_t slot = 0, hole = MAX_PAIRS;

    for (; slot < MAX_PAIRS && pairs[slot]; slot++) {
        if (pairs[slot]->is_hole)
            hole = slot;
    }
    if (slot == MAX_PAIRS && hole < MAX_PAIRS)
        pair_free(slot = hole);
    return slot;
}

static void pair_new(int client, const struct addrinfo *target)
{
    size_t slot = find_slot();
    int server = socket(target->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (slot == MAX_PAIRS || server < 0 ||
        connect(server, target->ai_addr, target->ai_addrlen) < 0) {
        close(server);
        close(client);
        return;
    }
    struct pair *pair = calloc(1, sizeof(*pair));
    if (!pair)
        die("calloc");
    pair->fds[0] = client;
    pair->fds[1] = server;
    fcntl(client, F_SETFL, O_NONBLOCK);
    fcntl(server, F_SETFL, O_NONBLOCK);
    for (int i = 0; i < 2; i++) {
        pair->pipes[i].from = pair->fds[i];
        pair->pipes[i].to = pair->fds[!i];
        pair->pipes[i].total = &totals[i];
        pair->pipes[i].budget = &budgets[i];
    }
    pair->left = UINT64_MAX;
    if (between_max > 0 && cuts_left > 0) {
        cuts_left--;
        pair->left = between_min + (uint64_t)random() % (between_max - between_min + 1);
    }
    pairs[slot] = pair;
    connections++;
}

/* How much of what was read may be written before a cut or the rate says no. */
static size_t allowance(const struct pair *pair, const struct pipe *pipe)
{
    uint64_t most = min_u64(pipe->end - pipe->start, pair->left);

    if (cut_at_next < cut_at_count)
        most = min_u64(most, cut_at[cut_at_next] - totals[0] - totals[1]);
    if (rate > 0)
        most = min_u64(most, *pipe->budget > 0 ? (uint64_t)*pipe->budget + 1 : 0);
    return (size_t)most;
}

static void count_bytes(struct pair *pair, struct pipe *pipe, size_t bytes)
{
    pipe->start += bytes;
    *pipe->total += bytes;
    *pipe->budget -= (double)bytes;
    if (pair->left != UINT64_MAX)
        pair->left -= bytes;
}

/* False when the pair is gone. */
static bool pump(size_t slot, struct pipe *pipe)
{
    struct pair *pair = pairs[slot];

    if (pipe->start == pipe->end && !pipe->is_ended) {
        ssize_t got = read(pipe->from, pipe->buffer, BUFFER);

        if (got < 0 && errno != EAGAIN) {
            pair_free(slot);
            return false;
        }
        pipe->is_ended = got == 0;
        pipe->start = 0;
        pipe->end = got > 0 ? (size_t)got : 0;
        if (pipe->is_ended)
            shutdown(pipe->to, SHUT_WR);
    }
    size_t most = allowance(pair, pipe);
    ssize_t put = most > 0 ? send(pipe->to, pipe->buffer + pipe->start, most, MSG_NOSIGNAL) : 0;

    if (put < 0 && errno != EAGAIN) {
        pair_free(slot);
        return false;
    }
    count_bytes(pair, pipe, put > 0 ? (size_t)put : 0);
    if (cut_at_next < cut_at_count && totals[0] + totals[1] >= cut_at[cut_at_next]) {
        cut_at_next++;
        cut_all();
        return pairs[slot] == pair;
    }
    if (pair->left == 0) {
        pair_cut(slot);
        return pairs[slot] == pair;
    }
    if (pair->pipes[0].is_ended && pair->pipes[1].is_ended) {
        pair_free(slot);
        return false;
    }
    return true;
}

static short wanted_events(const struct pair *pair, int side)
{
    const struct pipe *out = &pair->pipes[!side], *in = &pair->pipes[side];
    short events = 0;

    if (in->start == in->end && !in->is_ended)
        events |= POLLIN;
    if (allowance(pair, out) > 0)
        events |= POLLOUT;
    return events;
}

static void refill(void)
{
    static double before;
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    double seconds = (double)now.tv_sec + (double)now.tv_nsec / 1e9;
    for (int i = 0; before > 0 && i < 2; i++) {
        budgets[i] += rate * (seconds - before);
        if (budgets[i] > rate / 50 + BUFFER)
            budgets[i] = rate / 50 + BUFFER;
    }
    before = seconds;
}

/* False at the end of standard input. */
static bool obey(void)
{
    char line[64];
    ssize_t got = read(STDIN_FILENO, line, sizeof(line) - 1);

    if (got <= 0)
        return false;
    line[got] = '\0';
    if (strncmp(line, "cut", 3) == 0)
        cut_all();
    print_stats();
    return true;
}

static void forward(const struct pollfd *polls, const size_t *slots, size_t count)
{
    for (size_t i = 0; i < count; i += 2) {
        short happened = polls[i].revents | polls[i + 1].revents;
        struct pair *pair = pairs[slots[i]];

        if (happened == 0 || !pair || pair->is_hole)
            continue;
        if (pump(slots[i], &pair->pipes[0]) && !pair->is_hole)
            pump(slots[i], &pair->pipes[1]);
    }
}

static void serve(int listener, const struct addrinfo *target)
{
    struct pollfd polls[2 + 2 * MAX_PAIRS];
    size_t slots[2 * MAX_PAIRS];

    for (;;) {
        size_t count = 0;

        refill();
        polls[0] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
        polls[1] = (struct pollfd){.fd = listener, .events = POLLIN};
        for (size_t slot = 0; slot < MAX_PAIRS; slot++) {
            for (int side = 0; pairs[slot] && !pairs[slot]->is_hole && side < 2; side++) {
                slots[count] = slot;
                polls[2 + count++] = (struct pollfd){.fd = pairs[slot]->fds[side],
                                                     .events = wanted_events(pairs[slot], side)};
            }
        }
        poll(polls, 2 + count, rate > 0 ? 2 : -1);
        if (polls[0].revents && !obey())
            return;
        forward(polls + 2, slots, count);
        if (polls[1].revents) {
            int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

            if (client >= 0)
                pair_new(client, target);
        }
    }
}

static void parse_at(char *list)
{
    for (char *item = strtok(list, ","); item && cut_at_count < MAX_CUTS; item = strtok(NULL, ","))
        cut_at[cut_at_count++] = strtoull(item, NULL, 10);
}

static void parse_option(const char *name, char *value)
{
    static const char *const hows[] = {"rst", "fin", "hole", "mix"};

    if (strcmp(name, "--at") == 0)
        parse_at(value);
    else if (strcmp(name, "--between") == 0)
        sscanf(value, "%" SCNu64 "-%" SCNu64, &between_min, &between_max);
    else if (strcmp(name, "--cuts") == 0)
        cuts_left = strtoull(value, NULL, 10);
    else if (strcmp(name, "--seed") == 0)
        srandom((unsigned)strtoul(value, NULL, 10));
    else if (strcmp(name, "--rate") == 0)
        rate = strtod(value, NULL);
    else if (strcmp(name, "--how") == 0)
        for (size_t i = 0; i < ARRAY_LENGTH(hows); i++)
            how = strcmp(value, hows[i]) == 0 ? (enum how)i : how;
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *target;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (argc < 3 || argc % 2 == 0) {
        fprintf(stderr, "usage: cutproxy HOST PORT [--OPTION VALUE]...\n");
        return 2;
    }
    for (int i = 3; i + 1 < argc; i += 2)
        parse_option(argv[i], argv[i + 1]);
    if (getaddrinfo(argv[1], argv[2], &hints, &target) != 0)
        die(argv[1]);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(listener, 128) < 0 ||
        getsockname(listener, (struct sockaddr *)&address, &length) < 0)
        die("listen");
    printf("port %u\n", ntohs(address.sin_port));
    fflush(stdout);
    serve(listener, target);
    freeaddrinfo(target);
    return 0;
}
