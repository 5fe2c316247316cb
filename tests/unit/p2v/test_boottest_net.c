/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The network peer: what counts as proof of an address, what is answered and what must not be, and
 * frames that lie about their lengths.
 */
#include "base/bytes.h"
#include "p2v/boottest_net.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GUEST_MAC "52:54:00:12:34:56"
static const uint8_t guest_mac[6] = {0x52, 0x54, 0, 0x12, 0x34, 0x56};
static const uint8_t other_mac[6] = {0x52, 0x54, 0, 0x99, 0x99, 0x99};

struct fixture {
    struct guest guest;
    struct net_peer peer;
    struct boot_nic_result result;
    uint8_t reply[NET_REPLY_SIZE];
};

/* A machine with one interface and these addresses (separated by spaces). */
static void set_up(struct fixture *fixture, const char *addresses)
{
    static char mac[] = GUEST_MAC, name[] = "enp3s0f0";
    static char words[256];
    struct guest_nic *nic = &fixture->guest.nics[0];
    char *rest = words;
    *fixture = (struct fixture){0};
    nic->mac = mac;
    nic->name = name;
    snprintf(words, sizeof(words), "%s", addresses);
    for (char *word; (word = strsep(&rest, " "));)
        if (word[0])
            nic->addresses[nic->address_count++] = word;
    fixture->guest.nic_count = 1;
    assert_int_equal(net_peer_init(&fixture->peer, &fixture->guest, 0, NULL), 0);
}

static const struct boot_nic_result *report(struct fixture *fixture)
{
    net_peer_report(&fixture->peer, &fixture->result);
    return &fixture->result;
}

/* A frame in memory of exactly its length, so that the sanitizer sees each step beyond it. */
static size_t receive(struct fixture *fixture, const uint8_t *frame, size_t length)
{
    uint8_t *exact = malloc(length ? length : 1);
    assert_non_null(exact);
    memcpy(exact, frame, length);
    size_t answer = net_peer_receive(&fixture->peer, exact, length, fixture->reply);
    free(exact);
    assert_true(answer <= NET_REPLY_SIZE);
    return answer;
}

static void make_arp(uint8_t frame[42], uint16_t operation, const uint8_t mac[6],
                     const char *sender, const char *target)
{
    memset(frame, 0, 42);
    memset(frame, 0xff, 6);
    memcpy(frame + 6, mac, 6);
    memcpy(frame + 12, "\x08\x06\x00\x01\x08\x00\x06\x04", 8);
    store_be16(frame + 20, operation);
    memcpy(frame + 22, mac, 6);
    assert_int_equal(inet_pton(AF_INET, sender, frame + 28), 1);
    assert_int_equal(inet_pton(AF_INET, target, frame + 38), 1);
}

static size_t receive_arp(struct fixture *fixture, uint16_t operation, const uint8_t mac[6],
                          const char *sender, const char *target)
{
    uint8_t frame[42];
    make_arp(frame, operation, mac, sender, target);
    return receive(fixture, frame, sizeof(frame));
}

static void assert_address(const uint8_t *bytes, const char *text)
{
    char buffer[INET_ADDRSTRLEN];
    assert_string_equal(inet_ntop(AF_INET, bytes, buffer, sizeof(buffer)), text);
}

static void test_an_arp_answer_from_the_right_mac_proves_the_address(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up(&fixture, "192.0.2.10/24");
    assert_false(report(&fixture)->is_ok);
    assert_string_equal(fixture.result.missing, "192.0.2.10");
    assert_int_equal(receive_arp(&fixture, 2, guest_mac, "192.0.2.10", "192.0.2.1"), 0);
    assert_true(report(&fixture)->is_ok);
    assert_true(fixture.result.is_seen);
    assert_string_equal(fixture.result.missing, "");
    assert_int_equal(net_peer_ask(&fixture.peer, 0, false, fixture.reply), 0);
}

static void test_an_arp_answer_from_another_mac_proves_nothing_and_is_named(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up(&fixture, "192.0.2.10/24");
    receive_arp(&fixture, 2, other_mac, "192.0.2.10", "192.0.2.1");
    assert_false(report(&fixture)->is_ok);
    assert_false(fixture.result.is_seen);
    assert_string_equal(fixture.result.missing, "192.0.2.10 (only 52:54:00:99:99:99 has it)");
}

static void test_another_address_of_the_right_mac_proves_nothing(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up(&fixture, "192.0.2.10/24 198.51.100.7/24");
    receive_arp(&fixture, 2, guest_mac, "192.0.2.11", "192.0.2.1");
    receive_arp(&fixture, 2, guest_mac, "192.0.2.10", "192.0.2.1");
    assert_false(report(&fixture)->is_ok);
    assert_true(fixture.result.is_seen);
    assert_string_equal(fixture.result.missing, "198.51.100.7");
}

static void test_a_question_comes_from_a_neighbour_that_is_not_the_guest(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up(&fixture, "192.0.2.10/24 192.0.2.1/24 203.0.113.4/31 203.0.113.9/32");
    assert_int_equal(net_peer_ask(&fixture.peer, 0, false, fixture.reply), 60);
    assert_address(fixture.reply + 28, "192.0.2.2");
    assert_address(fixture.reply + 38, "192.0.2.10");
    assert_true(net_peer_ask(&fixture.peer, 2, false, fixture.reply) > 0);
    assert_address(fixture.reply + 28, "203.0.113.5");
    assert_true(net_peer_ask(&fixture.peer, 3, false, fixture.reply) > 0);
    assert_true(net_peer_ask(&fixture.peer, 0, true, fixture.reply) > 0);
    assert_address(fixture.reply + 28, "0.0.0.0");
    assert_memory_not_equal(fixture.reply + 6, guest_mac, 6);
}

static void test_a_neighbour_is_answered_for_and_the_rest_is_not(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up(&fixture, "192.0.2.10/24");
    assert_int_equal(receive_arp(&fixture, 1, guest_mac, "192.0.2.10", "192.0.2.1"), 60);
    assert_int_equal(load_be16(fixture.reply + 20), 2);
    assert_memory_equal(fixture.reply, guest_mac, 6);
    assert_address(fixture.reply + 28, "192.0.2.1");
    assert_address(fixture.reply + 38, "192.0.2.10");
    assert_true(report(&fixture)->is_ok); /* it asked from its own address */
    assert_int_equal(receive_arp(&fixture, 1, guest_mac, "192.0.2.10", "203.0.113.1"), 0);
    assert_int_equal(receive_arp(&fixture, 3, guest_mac, "192.0.2.10", "192.0.2.1"), 0);
}

static void test_a_host_that_looks_for_conflicts_finds_none(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up(&fixture, "192.0.2.10/24");
    assert_int_equal(receive_arp(&fixture, 1, guest_mac, "0.0.0.0", "192.0.2.10"), 0);
    assert_int_equal(receive_arp(&fixture, 1, guest_mac, "0.0.0.0", "192.0.2.44"), 0);
    assert_false(report(&fixture)->is_ok);
    assert_int_equal(receive_arp(&fixture, 1, guest_mac, "192.0.2.10", "192.0.2.10"), 0);
    assert_true(report(&fixture)->is_ok);
}

/* --- DHCP ---------------------------------------------------------------------------------------
 */

#define DHCP_FRAME (14 + 20 + 8 + 240 + 20)

/* type 1: discover, 3: request; wanted, chosen: options 50 and 54, NULL: none. */
static void make_dhcp(uint8_t frame[DHCP_FRAME], uint8_t type, const char *wanted,
                      const char *chosen)
{
    memset(frame, 0, DHCP_FRAME);
    memset(frame, 0xff, 6);
    memcpy(frame + 6, guest_mac, 6);
    store_be16(frame + 12, 0x0800);
    uint8_t *ip = frame + 14, *udp = ip + 20, *bootp = udp + 8, *option = bootp + 240;
    ip[0] = 0x45;
    store_be16(ip + 2, DHCP_FRAME - 14);
    ip[9] = 17;
    store_be16(udp, 68);
    store_be16(udp + 2, 67);
    store_be16(udp + 4, DHCP_FRAME - 34);
    memcpy(bootp,
           "\x01\x01\x06\x00"
           "ABCD",
           8);
    memcpy(bootp + 28, guest_mac, 6);
    memcpy(bootp + 236, "\x63\x82\x53\x63", 4);
    memcpy(option, (uint8_t[]){53, 1, type}, 3);
    option += 3;
    if (wanted) {
        memcpy(option, (uint8_t[]){50, 4}, 2);
        assert_int_equal(inet_pton(AF_INET, wanted, option + 2), 1);
        option += 6;
    }
    if (chosen) {
        memcpy(option, (uint8_t[]){54, 4}, 2);
        assert_int_equal(inet_pton(AF_INET, chosen, option + 2), 1);
        option += 6;
    }
    *option = 255;
}

static uint8_t ask_dhcp(struct fixture *fixture, uint8_t type, const char *wanted,
                        const char *chosen)
{
    uint8_t frame[DHCP_FRAME];
    make_dhcp(frame, type, wanted, chosen);
    size_t length = receive(fixture, frame, sizeof(frame));
    return length ? fixture->reply[14 + 20 + 8 + 240 + 2] : 0;
}

/* The ones' complement sum of RFC 1071 over bytes that include their checksum. */
static uint16_t sum_of(const uint8_t *bytes, size_t length, uint32_t sum)
{
    for (size_t i = 0; i < length; i += 2)
        sum += (uint32_t)bytes[i] << 8 | (i + 1 < length ? bytes[i + 1] : 0);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

static void test_a_lease_is_offered_taken_and_proved_by_arp(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up(&fixture, "dhcp");
    assert_int_equal(ask_dhcp(&fixture, 1, NULL, NULL), 2);
    assert_address(fixture.reply + 14 + 20 + 8 + 16, "198.18.0.10");
    assert_memory_equal(fixture.reply + 14 + 20 + 8 + 4, "ABCD", 4);
    assert_int_equal(net_peer_ask(&fixture.peer, 0, false, fixture.reply), 0);
    assert_int_equal(ask_dhcp(&fixture, 3, "198.18.0.10", "198.18.0.1"), 5);
    assert_false(report(&fixture)->is_dhcp_bound);
    assert_int_equal(net_peer_ask(&fixture.peer, 0, false, fixture.reply), 60);
    assert_address(fixture.reply + 38, "198.18.0.10");
    receive_arp(&fixture, 2, guest_mac, "198.18.0.10", "198.18.0.1");
    assert_true(report(&fixture)->is_dhcp_bound);
    assert_true(fixture.result.is_ok);
}

static void test_dhcp_answers_carry_right_checksums_and_lengths(void **state)
{
    (void)state;
    struct fixture fixture;
    uint8_t frame[DHCP_FRAME];
    set_up(&fixture, "dhcp");
    make_dhcp(frame, 1, NULL, NULL);
    size_t length = receive(&fixture, frame, sizeof(frame));
    const uint8_t *ip = fixture.reply + 14;
    assert_int_equal(length, 14 + load_be16(ip + 2));
    assert_int_equal(sum_of(ip, 20, 0), 0xffff);
    assert_int_equal(sum_of(ip + 20, length - 34, sum_of(ip + 12, 8, 17 + (uint32_t)length - 34)),
                     0xffff);
}

static void test_a_lease_from_the_former_life_is_refused_at_once(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up(&fixture, "dhcp");
    assert_int_equal(ask_dhcp(&fixture, 3, "10.0.2.15", NULL), 6);
    assert_address(fixture.reply + 14 + 20 + 8 + 16, "0.0.0.0");
    assert_int_equal(ask_dhcp(&fixture, 3, "198.18.0.10", "10.0.2.2"), 0);
    assert_int_equal(ask_dhcp(&fixture, 8, NULL, NULL), 0);
    assert_false(fixture.peer.is_leased);
}

static void test_the_lease_keeps_away_from_the_guests_own_addresses(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up(&fixture, "dhcp 198.18.0.33/24");
    assert_int_equal(ask_dhcp(&fixture, 1, NULL, NULL), 2);
    assert_address(fixture.reply + 14 + 20 + 8 + 16, "198.19.0.10");
}

static void test_dhcp_for_another_mac_or_with_a_cut_option_is_ignored(void **state)
{
    (void)state;
    struct fixture fixture;
    uint8_t frame[DHCP_FRAME];
    set_up(&fixture, "dhcp");
    make_dhcp(frame, 1, NULL, NULL);
    frame[14 + 20 + 8 + 28] ^= 2;
    assert_int_equal(receive(&fixture, frame, sizeof(frame)), 0);
    make_dhcp(frame, 1, NULL, NULL);
    memset(frame + 14 + 20 + 8 + 243, 0, 17);
    memcpy(frame + DHCP_FRAME - 2, "\x0c\xff", 2);
    assert_int_equal(receive(&fixture, frame, sizeof(frame)), 0);
    make_dhcp(frame, 1, NULL, NULL);
    frame[14 + 20 + 8 + 24] = 10; /* through a relay */
    assert_int_equal(receive(&fixture, frame, sizeof(frame)), 0);
}

/* --- IPv6 ---------------------------------------------------------------------------------------
 */

static void test_an_ipv6_address_is_asked_for_and_proved_by_an_advertisement(void **state)
{
    (void)state;
    struct fixture fixture;
    uint8_t frame[14 + 40 + 24] = {0};
    set_up(&fixture, "2001:db8::10/64");
    size_t length = net_peer_ask(&fixture.peer, 0, false, fixture.reply);
    const uint8_t *ip = fixture.reply + 14;
    assert_int_equal(length, 14 + 40 + 32);
    assert_memory_equal(fixture.reply, "\x33\x33\xff\x00\x00\x10", 6);
    assert_int_equal(sum_of(ip + 40, 32, sum_of(ip + 8, 32, 32 + 58)), 0xffff);

    memcpy(frame + 6, guest_mac, 6);
    store_be16(frame + 12, 0x86dd);
    frame[14] = 0x60;
    frame[14 + 6] = 58;
    frame[14 + 7] = 255;
    frame[14 + 40] = 136;
    assert_int_equal(inet_pton(AF_INET6, "2001:db8::10", frame + 14 + 48), 1);
    frame[14 + 7] = 64; /* from beyond a router */
    receive(&fixture, frame, sizeof(frame));
    assert_false(report(&fixture)->is_ok);
    frame[14 + 7] = 255;
    receive(&fixture, frame, sizeof(frame));
    assert_true(report(&fixture)->is_ok);
}

/* --- the rest -----------------------------------------------------------------------------------
 */

static void test_every_cut_and_every_lying_length_is_survived(void **state)
{
    (void)state;
    struct fixture fixture;
    uint8_t frame[DHCP_FRAME], arp[42];
    set_up(&fixture, "dhcp 192.0.2.10/24");
    make_dhcp(frame, 1, "198.18.0.10", "198.18.0.1");
    make_arp(arp, 1, guest_mac, "192.0.2.10", "192.0.2.1");
    for (size_t length = 0; length < sizeof(frame); length++)
        assert_int_equal(receive(&fixture, frame, length), 0);
    for (size_t length = 0; length < sizeof(arp); length++)
        assert_int_equal(receive(&fixture, arp, length), 0);
    static const size_t lengths[] = {14, 16, 17, 38, 39};
    for (size_t i = 0; i < ARRAY_LENGTH(lengths); i++) {
        for (unsigned value = 0; value < 256; value++) {
            make_dhcp(frame, 1, "198.18.0.10", "198.18.0.1");
            frame[lengths[i]] = (uint8_t)value;
            receive(&fixture, frame, sizeof(frame));
        }
    }
    assert_false(report(&fixture)->is_ok);
}

static void test_an_interface_without_addresses_is_ok_unless_it_makes_them_up(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up(&fixture, "");
    assert_true(report(&fixture)->is_ok);
    set_up(&fixture, "auto");
    assert_false(report(&fixture)->is_ok);
    receive_arp(&fixture, 1, guest_mac, "192.0.2.10", "192.0.2.1");
    assert_true(report(&fixture)->is_ok);
}

static void test_a_broken_mac_is_refused(void **state)
{
    (void)state;
    struct error err = {0};
    struct fixture fixture;
    set_up(&fixture, "");
    static char mac[] = "52:54:00:12:34";
    fixture.guest.nics[0].mac = mac;
    assert_int_equal(net_peer_init(&fixture.peer, &fixture.guest, 0, &err), -1);
    assert_non_null(strstr(err.text, "52:54:00:12:34"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_arp_answer_from_the_right_mac_proves_the_address),
        cmocka_unit_test(test_an_arp_answer_from_another_mac_proves_nothing_and_is_named),
        cmocka_unit_test(test_another_address_of_the_right_mac_proves_nothing),
        cmocka_unit_test(test_a_question_comes_from_a_neighbour_that_is_not_the_guest),
        cmocka_unit_test(test_a_neighbour_is_answered_for_and_the_rest_is_not),
        cmocka_unit_test(test_a_host_that_looks_for_conflicts_finds_none),
        cmocka_unit_test(test_a_lease_is_offered_taken_and_proved_by_arp),
        cmocka_unit_test(test_dhcp_answers_carry_right_checksums_and_lengths),
        cmocka_unit_test(test_a_lease_from_the_former_life_is_refused_at_once),
        cmocka_unit_test(test_the_lease_keeps_away_from_the_guests_own_addresses),
        cmocka_unit_test(test_dhcp_for_another_mac_or_with_a_cut_option_is_ignored),
        cmocka_unit_test(test_an_ipv6_address_is_asked_for_and_proved_by_an_advertisement),
        cmocka_unit_test(test_every_cut_and_every_lying_length_is_survived),
        cmocka_unit_test(test_an_interface_without_addresses_is_ok_unless_it_makes_them_up),
        cmocka_unit_test(test_a_broken_mac_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
