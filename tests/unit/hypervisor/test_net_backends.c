/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The other ends of a network card: a socket, a stream of frames that may be anything, passt
 * itself, and the kernel behind a TAP interface, both in a network namespace of this test.
 */
#include "base/bytes.h"
#include "base/child.h"
#include "base/clock.h"
#include "hypervisor/net_backend.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define BIT(bit) (UINT64_C(1) << (bit))
#define GUEST_MAC 0x52, 0x54, 0x00, 0x12, 0x34, 0x56
#define MAX_PAYLOAD (NET_MAX_FRAME - NET_HEADER_SIZE)

static uint8_t buffer[NET_MAX_FRAME], payload[NET_MAX_FRAME];

/* --- frames through the interface --- */

static ssize_t receive(struct net_backend *backend, struct error *err)
{
    struct iovec part = {buffer, sizeof(buffer)};
    memset(buffer, 0xee, sizeof(buffer));
    return backend->ops->receive(backend, &part, 1, err);
}

static int send_with(struct net_backend *backend, const struct virtio_net_hdr_v1 *header,
                     const void *frame, size_t length)
{
    struct iovec parts[2] = {{(void *)(uintptr_t)header, NET_HEADER_SIZE},
                             {(void *)(uintptr_t)frame, length}};
    return backend->ops->send(backend, parts, 2, NULL);
}

static int send_frame(struct net_backend *backend, const void *frame, size_t length)
{
    static const struct virtio_net_hdr_v1 header = {0};
    return send_with(backend, &header, frame, length);
}

/* The next frame of an Ethernet type and IP protocol (or ARP operation), within two seconds. */
static const uint8_t *await(struct net_backend *backend, uint16_t type, uint8_t kind,
                            size_t *length)
{
    for (int64_t end = clock_ms() + 2000; clock_ms() < end;) {
        struct error err = {0};
        struct pollfd pollfd = {backend->fd, POLLIN, 0};
        poll(&pollfd, 1, 100);
        ssize_t got = receive(backend, &err);
        assert_string_equal(err.text, "");
        const uint8_t *frame = buffer + NET_HEADER_SIZE;
        *length = got > NET_HEADER_SIZE ? (size_t)got - NET_HEADER_SIZE : 0;
        if (*length >= 34 && load_be16(frame + 12) == type &&
            frame[type == 0x806 ? 21 : 23] == kind)
            return frame;
    }
    return NULL;
}

/* --- names --- */

static void refuse(const char *spec, int errnum, const char *part)
{
    struct error err = {0};
    assert_null(net_backend_open(spec, NULL, &err));
    assert_int_equal(err.errnum, errnum);
    if (!strstr(err.text, part))
        fail_msg("%s", err.text);
}

static void test_specifications_that_mean_nothing_are_named(void **state)
{
    (void)state;
    const char *specs[] = {"",    "bridge:br0", "USER", "user:", "user:1",
                           "use", "none:",      "tap",  "fd",    "nonesuch"};
    for (size_t i = 0; i < ARRAY_LENGTH(specs); i++) {
        AUTO_FREE char *quoted = text_format("\"%s\"", specs[i]);
        refuse(specs[i], EINVAL, quoted);
    }
    refuse("tap:", EINVAL, "\"tap:\"");
    refuse("tap:a/b", EINVAL, "\"tap:a/b\"");
    refuse("tap:..", EINVAL, "\"tap:..\"");
    refuse("tap:tap%d", EINVAL, "\"tap:tap%d\"");
    refuse("tap:sixteencharacter", EINVAL, "\"tap:sixteencharacter\"");
    refuse("fd:", EINVAL, "\"fd:\"");
    refuse("fd:-1", EINVAL, "\"fd:-1\"");
    refuse("fd:3x", EINVAL, "\"fd:3x\"");
    refuse("fd:99999999999999999999", EINVAL, "fd:9999");
    refuse("fd:54321", EBADF, "\"fd:54321\"");
    refuse("fd:0", ENOTSOCK, "\"fd:0\"");
}

static void test_stream_socket_is_refused_as_one_of_frames(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    AUTO_FREE char *spec = text_format("fd:%d", ends[0]);
    refuse(spec, EINVAL, "not a datagram socket");
    assert_int_equal(close(ends[0]), 0); /* still ours */
    close(ends[1]);
}

/* --- a socket of frames --- */

static void test_socket_carries_frames_of_every_size(void **state)
{
    (void)state;
    const size_t sizes[] = {0, 1, 14, 60, 1514, MAX_PAYLOAD};
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends), 0);
    AUTO_FREE char *spec = text_format("fd:%d", ends[0]);
    AUTO_PTR(net_backend) backend = net_backend_open(spec, NULL, NULL);
    assert_non_null(backend);
    assert_int_equal(backend->offload_features, 0);
    assert_int_equal(fcntl(ends[0], F_GETFD), FD_CLOEXEC);
    assert_int_equal(receive(backend, NULL), 0);
    for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++) {
        memset(payload, (int)i + 1, sizeof(payload));
        assert_int_equal(send(ends[1], payload, sizes[i], 0), sizes[i]);
        assert_int_equal(receive(backend, NULL), NET_HEADER_SIZE + sizes[i]);
        assert_memory_equal(buffer, (uint8_t[NET_HEADER_SIZE]){0}, NET_HEADER_SIZE);
        assert_memory_equal(buffer + NET_HEADER_SIZE, payload, sizes[i]);
        assert_int_equal(buffer[NET_HEADER_SIZE + sizes[i] - (i == 5)], i == 5 ? 6 : 0xee);
        assert_int_equal(send_frame(backend, payload, sizes[i]), 1);
        assert_int_equal(recv(ends[1], buffer, sizeof(buffer), MSG_DONTWAIT), sizes[i]);
        assert_memory_equal(buffer, payload, sizes[i]);
    }
    close(ends[1]);
}

static void test_socket_that_was_shut_down_is_gone(void **state)
{
    (void)state;
    int ends[2];
    struct error err = {0};
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends), 0);
    AUTO_FREE char *spec = text_format("fd:%d", ends[0]);
    AUTO_PTR(net_backend) backend = net_backend_open(spec, NULL, NULL);
    shutdown(ends[0], SHUT_RDWR); /* whoever holds it too may do so */
    assert_int_equal(receive(backend, &err), -1);
    assert_string_not_equal(err.text, "");
    assert_int_equal(send_frame(backend, payload, 60), -1);
    close(ends[1]);
}

static void test_no_cable_has_no_descriptor(void **state)
{
    (void)state;
    AUTO_PTR(net_backend) backend = net_backend_open("none", NULL, NULL);
    assert_non_null(backend);
    assert_int_equal(backend->fd, -1);
    assert_int_equal(backend->offload_features, 0);
}

/* --- a stream of frames --- */

static struct net_backend *open_stream(int *peer)
{
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    *peer = ends[1];
    return net_passt_over(ends[0]);
}

static void put_frame(uint8_t *stream, size_t *at, size_t length, uint8_t fill)
{
    store_be32(stream + *at, (uint32_t)length);
    memset(stream + *at + 4, fill, length);
    *at += 4 + length;
}

static void test_stream_gives_frames_however_it_is_cut(void **state)
{
    (void)state;
    static uint8_t stream[3 * NET_MAX_FRAME];
    const size_t cuts[] = {1, 3, 5, 64, 1000, 65536, sizeof(stream)};
    for (size_t cut = 0; cut < ARRAY_LENGTH(cuts); cut++) {
        int peer;
        size_t length = 0, sent = 0;
        uint8_t expected = 1;
        const size_t sizes[] = {60, 0, 1, 1514, cut < 3 ? 2000 : MAX_PAYLOAD, 42};
        AUTO_PTR(net_backend) backend = open_stream(&peer);
        for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++)
            put_frame(stream, &length, sizes[i], (uint8_t)(i + 1));
        while (expected <= ARRAY_LENGTH(sizes)) {
            size_t piece = cuts[cut] < length - sent ? cuts[cut] : length - sent;
            if (piece > 0)
                assert_int_equal(send(peer, stream + sent, piece, 0), piece);
            sent += piece;
            for (ssize_t got; (got = receive(backend, NULL)) != 0; expected++) {
                assert_int_equal(got, NET_HEADER_SIZE + sizes[expected - 1]);
                if (got > NET_HEADER_SIZE)
                    assert_int_equal(buffer[got - 1], expected);
            }
            assert_true(sent < length || expected > ARRAY_LENGTH(sizes));
        }
        close(peer);
    }
}

static void test_stream_with_a_length_that_cannot_be_is_gone(void **state)
{
    (void)state;
    const uint32_t lengths[] = {MAX_PAYLOAD + 1, 0x7fffffff, 0x80000000, 0xfffffffc, 0xffffffff};
    for (size_t i = 0; i < ARRAY_LENGTH(lengths); i++) {
        int peer;
        struct error err = {0};
        uint8_t bytes[64] = {0};
        AUTO_PTR(net_backend) backend = open_stream(&peer);
        store_be32(bytes, lengths[i]);
        assert_int_equal(send(peer, bytes, sizeof(bytes), 0), sizeof(bytes));
        assert_int_equal(receive(backend, &err), -1);
        assert_int_equal(err.errnum, EPROTO);
        assert_int_equal(receive(backend, NULL), -1);
        close(peer);
    }
}

static void test_stream_that_ends_in_a_frame_is_gone(void **state)
{
    (void)state;
    int peer;
    AUTO_PTR(net_backend) backend = open_stream(&peer);
    assert_int_equal(send(peer, "\0\0\0\x3cgreat", 9, 0), 9);
    assert_int_equal(receive(backend, NULL), 0);
    close(peer);
    assert_int_equal(receive(backend, NULL), -1);
    assert_int_equal(send_frame(backend, payload, 60), -1);
}

/* A reader that is slow: every frame that was taken arrives, in one piece. */
static void test_stream_keeps_the_rest_of_a_frame_that_went_in_part(void **state)
{
    (void)state;
    int peer;
    unsigned taken = 0, seen = 0;
    uint8_t length[4];
    AUTO_PTR(net_backend) backend = open_stream(&peer);
    setsockopt(backend->fd, SOL_SOCKET, SO_SNDBUF, &(int){100000}, sizeof(int));
    for (int result = 1; result == 1; taken += result == 1) {
        memset(payload, (int)taken, 60000);
        result = send_frame(backend, payload, 60000);
    }
    assert_in_range(taken, 1, 20);
    assert_true(backend->has_unsent);
    assert_int_equal(backend->ops->flush(backend, NULL), 0);
    for (; seen < taken; seen++) {
        assert_int_equal(recv(peer, length, 4, MSG_DONTWAIT), 4);
        assert_int_equal(load_be32(length), 60000);
        size_t got = 0;
        while (got < 60000) {
            backend->ops->flush(backend, NULL);
            ssize_t piece = recv(peer, buffer, 60000 - got, MSG_DONTWAIT);
            assert_true(piece > 0);
            assert_int_equal(buffer[0], (uint8_t)seen);
            assert_int_equal(buffer[piece - 1], (uint8_t)seen);
            got += (size_t)piece;
        }
    }
    assert_false(backend->has_unsent);
    assert_int_equal(send_frame(backend, payload, 65536), 1); /* passt knows none so large */
    assert_int_equal(recv(peer, length, 4, MSG_DONTWAIT), -1);
    close(peer);
}

/* --- IPv4, as far as it is needed --- */

static uint32_t add_words(uint32_t sum, const uint8_t *data, size_t length)
{
    for (size_t i = 0; i + 1 < length; i += 2)
        sum += load_be16(data + i);
    return length % 2 ? sum + ((uint32_t)data[length - 1] << 8) : sum;
}

static uint16_t fold(uint32_t sum)
{
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)(sum + (sum >> 16));
}

static size_t make_ip(uint8_t *frame, const uint8_t *to_mac, uint8_t protocol, uint32_t from,
                      uint32_t to, size_t length)
{
    uint8_t *ip = frame + 14;
    memcpy(frame, to_mac, 6);
    memcpy(frame + 6, (uint8_t[]){GUEST_MAC}, 6);
    store_be16(frame + 12, 0x800);
    memset(ip, 0, 20);
    ip[0] = 0x45;
    store_be16(ip + 2, (uint16_t)(20 + length));
    ip[8] = 64;
    ip[9] = protocol;
    store_be32(ip + 12, from);
    store_be32(ip + 16, to);
    store_be16(ip + 10, (uint16_t)~fold(add_words(0, ip, 20)));
    return 34 + length;
}

static size_t make_arp(uint8_t *frame, uint32_t from, uint32_t to)
{
    static const uint8_t head[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, GUEST_MAC, 8, 6,
                                   0,    1,    8,    0,    6,    4,    0,         1, GUEST_MAC};
    memset(frame, 0, 60);
    memcpy(frame, head, sizeof(head));
    store_be32(frame + 28, from);
    store_be32(frame + 38, to);
    return 60;
}

static size_t make_udp(uint8_t *frame, const uint8_t *to_mac, uint32_t from, uint32_t to,
                       uint16_t ports[2], size_t length)
{
    store_be16(frame + 34, ports[0]);
    store_be16(frame + 36, ports[1]);
    store_be16(frame + 38, (uint16_t)(8 + length));
    store_be16(frame + 40, 0);
    return make_ip(frame, to_mac, 17, from, to, 8 + length);
}

static size_t make_discover(uint8_t *frame)
{
    uint8_t *dhcp = frame + 42;
    memset(frame, 0, 400);
    memcpy(dhcp, (uint8_t[]){1, 1, 6, 0, 'a', 'b', 'c', 'd'}, 8);
    memcpy(dhcp + 28, (uint8_t[]){GUEST_MAC}, 6);
    memcpy(dhcp + 236, (uint8_t[]){0x63, 0x82, 0x53, 0x63, 53, 1, 1, 255}, 8);
    return make_udp(frame, (uint8_t[]){255, 255, 255, 255, 255, 255}, 0, 0xffffffff,
                    (uint16_t[]){68, 67}, 300);
}

/* --- passt itself --- */

/* In another network namespace nobody else's passt can be met. */
static bool enter_own_network(void)
{
    static bool is_inside;
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    if (is_inside)
        return true;
    if (unshare(CLONE_NEWNET) != 0)
        return false;
    AUTO_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    is_inside = fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &request) == 0;
    return is_inside;
}

static bool is_there(const char *program, const char *option)
{
    const char *argv[] = {program, option, NULL};
    return child_run(argv, NULL, NULL, NULL, NULL, NULL) == 0;
}

/* How many processes called passt share our network namespace. */
static unsigned count_passt(void)
{
    unsigned count = 0;
    struct stat own, other;
    DIR *folder = opendir("/proc");
    assert_int_equal(stat("/proc/self/ns/net", &own), 0);
    for (struct dirent *entry; (entry = readdir(folder));) {
        AUTO_FREE char *path = text_format("/proc/%s/ns/net", entry->d_name);
        AUTO_FREE char *name = text_format("/proc/%s/comm", entry->d_name);
        char text[16] = "";
        if (entry->d_name[0] < '1' || entry->d_name[0] > '9' || stat(path, &other) != 0 ||
            other.st_ino != own.st_ino)
            continue;
        AUTO_CLOSE int fd = open(name, O_RDONLY | O_CLOEXEC);
        count += fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 && strncmp(text, "passt", 5) == 0;
    }
    closedir(folder);
    return count;
}

static void assert_passt_count(unsigned expected)
{
    for (int i = 0; i < 200 && count_passt() != expected; i++)
        usleep(10000);
    assert_int_equal(count_passt(), expected);
}

static void test_passt_gives_an_address_where_the_host_has_a_network(void **state)
{
    (void)state;
    size_t length;
    struct error err = {0};
    if (!is_there("passt", "--version"))
        skip();
    AUTO_PTR(net_backend) backend = net_backend_open("user", NULL, &err);
    assert_string_equal(err.text, "");
    assert_int_equal(send_frame(backend, payload, make_discover(payload)), 1);
    const uint8_t *frame = await(backend, 0x800, 17, &length);
    assert_non_null(frame);
    assert_int_equal(load_be16(frame + 36), 68);
    assert_memory_equal(frame + 42 + 4, "abcd", 4);
    assert_int_not_equal(load_be32(frame + 42 + 16), 0);
}

static void test_passt_works_with_loopback_alone_and_ends_when_closed(void **state)
{
    (void)state;
    size_t length;
    struct error err = {0};
    if (!is_there("passt", "--version") || !enter_own_network())
        skip();
    struct net_backend *backend = net_backend_open("user", NULL, &err);
    assert_string_equal(err.text, "");
    assert_passt_count(1);
    assert_int_equal(send_frame(backend, payload, make_discover(payload)), 1);
    const uint8_t *frame = await(backend, 0x800, 17, &length);
    assert_non_null(frame);
    assert_int_equal(load_be32(frame + 42 + 16), 0x0a00020f);
    assert_int_equal(send_frame(backend, payload, make_arp(payload, 0x0a00020f, 0x0a000202)), 1);
    frame = await(backend, 0x806, 2, &length);
    assert_non_null(frame);
    assert_memory_equal(frame + 22, ((uint8_t[]){0x52, 0x55, 0x0a, 0, 2, 2}), 6);
    net_backend_close(backend);
    assert_passt_count(0);
}

static void test_passt_ends_with_the_process_that_is_killed(void **state)
{
    (void)state;
    int status;
    if (!is_there("passt", "--version") || !enter_own_network())
        skip();
    pid_t child = fork();
    if (child == 0) {
        net_backend_open("user", NULL, NULL);
        pause();
    }
    assert_passt_count(1);
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    assert_passt_count(0);
}

static void test_passt_works_without_root(void **state)
{
    (void)state;
    int status = -1;
    if (!is_there("passt", "--version") || getuid() != 0 || !enter_own_network())
        skip();
    pid_t child = fork();
    if (child == 0) {
        size_t length;
        if (setgid(65534) != 0 || setuid(65534) != 0)
            _exit(1);
        struct net_backend *backend = net_backend_open("user", NULL, NULL);
        if (!backend || send_frame(backend, payload, make_discover(payload)) != 1)
            _exit(2);
        _exit(await(backend, 0x800, 17, &length) ? 0 : 3);
    }
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
}

static void test_passt_that_is_missing_or_fails_is_told_by_name(void **state)
{
    (void)state;
    AUTO_FREE char *path = text_copy(getenv("PATH"));
    char folder[] = "/tmp/test-net-XXXXXX";
    assert_non_null(mkdtemp(folder));
    AUTO_FREE char *program = text_format("%s/passt", folder);
    setenv("PATH", folder, 1);
    refuse("user", ENOENT, "Debian's package passt");
    FILE *file = fopen(program, "w");
    fputs("#!/bin/sh\necho No way >&2\necho Failed to send 3 bytes to syslog >&2\nexit 3\n", file);
    fclose(file);
    chmod(program, 0755);
    refuse("user", 0, "network user: passt exited with status 3: No way");
    setenv("PATH", path, 1);
    unlink(program);
    rmdir(folder);
}

/* --- TAP --- */

#define HOST_IP 0x0a630001
#define GUEST_IP 0x0a630002

static void set_address(const char *name)
{
    AUTO_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq request = {0};
    struct sockaddr_in *address = (struct sockaddr_in *)(void *)&request.ifr_addr;
    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
    address->sin_family = AF_INET;
    address->sin_addr.s_addr = htonl(HOST_IP);
    assert_int_equal(ioctl(fd, SIOCSIFADDR, &request), 0);
    address->sin_addr.s_addr = htonl(0xffffff00);
    assert_int_equal(ioctl(fd, SIOCSIFNETMASK, &request), 0);
}

static void run_ip(const char *const argv[])
{
    AUTO(text) errors = {0};
    if (child_run(argv, NULL, NULL, &errors, NULL, NULL) != 0)
        fail_msg("ip: %s", text_string(&errors));
}

/* NULL: this test may not make interfaces. */
static struct net_backend *open_tap(uint8_t host_mac[6])
{
    size_t length;
    struct error err = {0};
    if (!enter_own_network() || access("/dev/net/tun", R_OK | W_OK) != 0)
        return NULL;
    struct net_backend *backend = net_backend_open("tap:rehosttest0", NULL, &err);
    assert_string_equal(err.text, "");
    set_address("rehosttest0");
    assert_int_equal(send_frame(backend, payload, make_arp(payload, GUEST_IP, HOST_IP)), 1);
    const uint8_t *frame = await(backend, 0x806, 2, &length);
    assert_non_null(frame);
    memcpy(host_mac, frame + 22, 6);
    return backend;
}

static void test_kernel_answers_a_ping_over_tap(void **state)
{
    (void)state;
    size_t length;
    uint8_t mac[6];
    AUTO_PTR(net_backend) backend = open_tap(mac);
    if (!backend)
        skip();
    uint8_t *icmp = payload + 34;
    memset(icmp, 'x', 64);
    memcpy(icmp, (uint8_t[]){8, 0, 0, 0, 0x12, 0x34, 0, 1}, 8);
    store_be16(icmp + 2, (uint16_t)~fold(add_words(0, icmp, 64)));
    assert_int_equal(send_frame(backend, payload, make_ip(payload, mac, 1, GUEST_IP, HOST_IP, 64)),
                     1);
    const uint8_t *frame = await(backend, 0x800, 1, &length);
    assert_non_null(frame);
    assert_int_equal(length, 34 + 64);
    assert_int_equal(frame[34], 0); /* echo reply */
    assert_int_equal(load_be32(frame + 38), 0x12340001);
    assert_int_equal(fold(add_words(0, frame + 34, 64)), 0xffff);
}

/* The kernel fills in what the guest left out, and leaves out what the guest said it may. */
static void test_checksums_are_left_to_the_other_end_over_tap(void **state)
{
    (void)state;
    size_t length;
    uint8_t mac[6];
    char text[16];
    AUTO_PTR(net_backend) backend = open_tap(mac);
    if (!backend)
        skip();
    assert_true(backend->offload_features & BIT(VIRTIO_NET_F_CSUM));
    AUTO_CLOSE int server = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(7777)};
    struct sockaddr_in guest = {
        .sin_family = AF_INET, .sin_port = htons(9999), .sin_addr.s_addr = htonl(GUEST_IP)};
    struct timeval patience = {.tv_usec = 300000};
    setsockopt(server, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    assert_int_equal(bind(server, (struct sockaddr *)&own, sizeof(own)), 0);

    memcpy(payload + 42, "hello", 5);
    length = make_udp(payload, mac, GUEST_IP, HOST_IP, (uint16_t[]){9999, 7777}, 5);
    uint32_t pseudo = add_words(17 + 13, payload + 26, 8);
    store_be16(payload + 40, fold(pseudo));
    struct virtio_net_hdr_v1 header = {.csum_start = 34, .csum_offset = 6};
    assert_int_equal(send_with(backend, &header, payload, length), 1);
    assert_int_equal(recv(server, text, sizeof(text), 0), -1); /* a wrong checksum */
    header.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
    assert_int_equal(send_with(backend, &header, payload, length), 1);
    assert_int_equal(recv(server, text, sizeof(text), 0), 5);

    const uint64_t features[] = {BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4), 0,
                                 BIT(VIRTIO_NET_F_GUEST_TSO4)};
    for (size_t i = 0; i < ARRAY_LENGTH(features); i++) {
        assert_int_equal(backend->set_offload(backend, features[i], NULL), 0);
        assert_int_equal(sendto(server, "answer", 6, 0, (struct sockaddr *)&guest, sizeof(guest)),
                         6);
        const uint8_t *frame = await(backend, 0x800, 17, &length);
        assert_non_null(frame);
        assert_int_equal(buffer[0], i == 0 ? VIRTIO_NET_HDR_F_NEEDS_CSUM : 0);
        uint32_t sum = add_words(add_words(17 + 14, frame + 26, 8), frame + 34, 14);
        assert_int_equal(fold(sum) == 0xffff, i > 0);
    }
}

static void test_headers_that_make_no_sense_are_lost_frames(void **state)
{
    (void)state;
    size_t length;
    uint8_t mac[6];
    AUTO_PTR(net_backend) backend = open_tap(mac);
    if (!backend)
        skip();
    struct virtio_net_hdr_v1 header;
    for (unsigned i = 0; i < 256; i++) {
        memset(&header, (int)i, sizeof(header));
        assert_int_equal(send_with(backend, &header, payload, 60), 1);
    }
    assert_int_equal(send_frame(backend, payload, 0), 1);
    assert_int_equal(send_frame(backend, payload, 1), 1);
    assert_int_equal(send_frame(backend, payload, MAX_PAYLOAD), 1);
    assert_int_equal(send_frame(backend, payload, make_arp(payload, GUEST_IP, HOST_IP)), 1);
    assert_non_null(await(backend, 0x806, 2, &length));
}

static void test_tap_that_exists_is_used_and_brought_up(void **state)
{
    (void)state;
    if (!enter_own_network() || access("/dev/net/tun", R_OK | W_OK) != 0 || !is_there("ip", "-V"))
        skip();
    run_ip((const char *[]){"ip", "tuntap", "add", "dev", "rehosttest1", "mode", "tap", NULL});
    struct net_backend *backend = net_backend_open("tap:rehosttest1", NULL, NULL);
    assert_non_null(backend);
    AUTO_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq request = {.ifr_name = "rehosttest1"};
    assert_int_equal(ioctl(fd, SIOCGIFFLAGS, &request), 0);
    assert_true(request.ifr_flags & IFF_UP);
    refuse("tap:rehosttest1", EBUSY, "tap:rehosttest1: another has it");
    net_backend_close(backend);
    assert_int_not_equal(if_nametoindex("rehosttest1"), 0);
    run_ip((const char *[]){"ip", "link", "delete", "rehosttest1", NULL});
    refuse("tap:lo", EINVAL, "tap:lo");
}

static void test_tap_that_is_down_loses_frames_and_one_deleted_is_gone(void **state)
{
    (void)state;
    uint8_t mac[6];
    struct error err = {0};
    AUTO_PTR(net_backend) backend = open_tap(mac);
    if (!backend || !is_there("ip", "-V"))
        skip();
    run_ip((const char *[]){"ip", "link", "set", "rehosttest0", "down", NULL});
    while (receive(backend, NULL) > 0)
        continue;
    assert_int_equal(send_frame(backend, payload, 60), 1);
    assert_int_equal(receive(backend, NULL), 0);
    run_ip((const char *[]){"ip", "link", "delete", "rehosttest0", NULL});
    assert_int_equal(receive(backend, &err), -1);
    assert_string_not_equal(err.text, "");
    assert_int_equal(send_frame(backend, payload, 60), -1);
}

int main(void)
{
    /* In this order: from some test on we are in a network of our own. */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_specifications_that_mean_nothing_are_named),
        cmocka_unit_test(test_stream_socket_is_refused_as_one_of_frames),
        cmocka_unit_test(test_socket_carries_frames_of_every_size),
        cmocka_unit_test(test_socket_that_was_shut_down_is_gone),
        cmocka_unit_test(test_no_cable_has_no_descriptor),
        cmocka_unit_test(test_stream_gives_frames_however_it_is_cut),
        cmocka_unit_test(test_stream_with_a_length_that_cannot_be_is_gone),
        cmocka_unit_test(test_stream_that_ends_in_a_frame_is_gone),
        cmocka_unit_test(test_stream_keeps_the_rest_of_a_frame_that_went_in_part),
        cmocka_unit_test(test_passt_that_is_missing_or_fails_is_told_by_name),
        cmocka_unit_test(test_passt_gives_an_address_where_the_host_has_a_network),
        cmocka_unit_test(test_passt_works_with_loopback_alone_and_ends_when_closed),
        cmocka_unit_test(test_passt_ends_with_the_process_that_is_killed),
        cmocka_unit_test(test_passt_works_without_root),
        cmocka_unit_test(test_kernel_answers_a_ping_over_tap),
        cmocka_unit_test(test_checksums_are_left_to_the_other_end_over_tap),
        cmocka_unit_test(test_headers_that_make_no_sense_are_lost_frames),
        cmocka_unit_test(test_tap_that_exists_is_used_and_brought_up),
        cmocka_unit_test(test_tap_that_is_down_loses_frames_and_one_deleted_is_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
