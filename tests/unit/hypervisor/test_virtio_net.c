/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The network card against a driver that may do anything and a cable that may end.
 */
#include "tests/unit/hypervisor/card_fixture.h"

#include <errno.h>
#include <fcntl.h>

#define LINK_UP 1

static uint8_t frame[70000];

static void peer_send(struct card *card, size_t length, uint8_t fill)
{
    memset(frame, fill, length);
    assert_int_equal(send(card->peer, frame, length, 0), (ssize_t)length);
}

/* Waits for a frame on the cable at most two seconds. */
static ssize_t peer_receive(struct card *card)
{
    struct timeval patience = {.tv_sec = 2};
    setsockopt(card->peer, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    return recv(card->peer, frame, sizeof(frame), 0);
}

static uint32_t wait_used(struct card *card, unsigned queue)
{
    uint32_t head, written = 0;
    assert_true(driver_ring_wait(&card->rings[queue], &head, &written));
    return written;
}

static void rest(long milliseconds)
{
    nanosleep(&(struct timespec){.tv_nsec = milliseconds * 1000000}, NULL);
}

/* How long the loop's thread computed in 40 ms: far less than these when it sleeps. */
static void assert_loop_sleeps(struct card *card)
{
    clockid_t clock;
    struct timespec before, after;
    rest(5);
    assert_int_equal(pthread_getcpuclockid(card->thread, &clock), 0);
    clock_gettime(clock, &before);
    rest(40);
    clock_gettime(clock, &after);
    long spent = (after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec;
    assert_true(spent < 10000000);
}

static uint16_t link_status(struct card *card)
{
    uint8_t status[2];
    card->device->ops->read_config(card->device, 6, status, sizeof(status));
    return load_le16(status);
}

static void wait_for(atomic_uint *counter, unsigned value)
{
    for (int i = 0; i < 2000 && *counter < value; i++)
        rest(1);
    assert_int_equal(*counter, value);
}

static void test_config_tells_mac_and_link_and_zeroes_behind(void **state)
{
    (void)state;
    struct card card;
    uint8_t config[64];
    card_make(&card, NULL, NULL);
    card.device->ops->read_config(card.device, 0, config, sizeof(config));
    assert_memory_equal(config, ((uint8_t[]){0x52, 0x54, 0, 1, 2, 3, LINK_UP, 0}), 8);
    for (size_t i = 8; i < sizeof(config); i++)
        assert_int_equal(config[i], 0);
    card.device->ops->read_config(card.device, 255, config, 1);
    assert_int_equal(config[0], 0);
    card_end(&card);
}

static void test_frame_reaches_the_guest_behind_a_header(void **state)
{
    (void)state;
    struct card card;
    card_make(&card, NULL, NULL);
    uint64_t at = card_give(&card, 2000);
    memset(driver_ram_at(&card.ram, at), 0xee, 2000);
    card_start(&card, CARD_MERGEABLE);
    peer_send(&card, 60, 0x11);
    assert_int_equal(wait_used(&card, CARD_RX), NET_HEADER_SIZE + 60);
    const uint8_t *got = driver_ram_at(&card.ram, at);
    assert_memory_equal(got, ((uint8_t[12]){[10] = 1}), 12);
    assert_int_equal(got[12], 0x11);
    assert_int_equal(got[71], 0x11);
    assert_int_equal(got[72], 0xee);
    wait_for(&card.plug.interrupts[CARD_RX], 1);
    assert_int_equal(card_stats(&card).received_bytes, 60);
    card_end(&card);
}

static void test_frame_of_the_guest_goes_out_without_header(void **state)
{
    (void)state;
    struct card card;
    card_make(&card, NULL, NULL);
    card_start(&card, 0);
    card_transmit(&card, 60, 0x22);
    driver_kick(&card.plug, CARD_TX);
    assert_int_equal(peer_receive(&card), 60);
    assert_int_equal(frame[0], 0x22);
    assert_int_equal(wait_used(&card, CARD_TX), 0);
    assert_int_equal(card_stats(&card).sent_frames, 1);
    assert_int_equal(card_stats(&card).sent_bytes, 60);
    card_end(&card);
}

static void test_header_and_frame_may_be_cut_anywhere(void **state)
{
    (void)state;
    struct card card;
    struct driver_part parts[40];
    card_make(&card, NULL, NULL);
    card_rings(&card, 64);
    for (unsigned i = 0; i < 40; i++) {
        parts[i] = (struct driver_part){driver_ram_take(&card.ram, 1, 1), 1, false};
        *driver_ram_at(&card.ram, parts[i].address) = i < 12 ? 0 : (uint8_t)i;
    }
    driver_ring_add(&card.rings[CARD_TX], parts, 40);
    for (unsigned i = 0; i < 40; i++)
        parts[i] = (struct driver_part){driver_ram_take(&card.ram, 1, 1), 1, true};
    driver_ring_add(&card.rings[CARD_RX], parts, 40);
    card_start(&card, 0);
    assert_int_equal(peer_receive(&card), 28);
    for (unsigned i = 0; i < 28; i++)
        assert_int_equal(frame[i], 12 + i);
    peer_send(&card, 28, 0x33);
    assert_int_equal(wait_used(&card, CARD_RX), 40);
    assert_int_equal(*driver_ram_at(&card.ram, parts[10].address), 1); /* num_buffers */
    assert_int_equal(*driver_ram_at(&card.ram, parts[12].address), 0x33);
    assert_int_equal(*driver_ram_at(&card.ram, parts[39].address), 0x33);
    card_end(&card);
}

static void test_large_frame_spreads_over_mergeable_buffers_that_come_late(void **state)
{
    (void)state;
    struct card card;
    uint64_t at[4];
    uint32_t head, written;
    card_make(&card, NULL, NULL);
    at[0] = card_give(&card, 1000);
    card_start(&card, CARD_MERGEABLE);
    peer_send(&card, 3000, 0x44);
    rest(10);
    assert_false(driver_ring_take(&card.rings[CARD_RX], &head, &written));
    for (int i = 1; i < 4; i++) {
        at[i] = card_give(&card, 1000);
        driver_kick(&card.plug, CARD_RX);
        if (i < 3)
            rest(5);
    }
    assert_int_equal(wait_used(&card, CARD_RX), 1000);
    /* the others are there at the same time */
    for (int i = 1; i < 4; i++) {
        assert_true(driver_ring_take(&card.rings[CARD_RX], &head, &written));
        assert_int_equal(written, i < 3 ? 1000 : 12);
    }
    assert_int_equal(load_le16(driver_ram_at(&card.ram, at[0]) + 10), 4);
    assert_int_equal(*driver_ram_at(&card.ram, at[3] + 11), 0x44);
    assert_int_equal(*driver_ram_at(&card.ram, at[3] + 12), 0);
    card_end(&card);
}

static void test_largest_frame_arrives_whole(void **state)
{
    (void)state;
    struct card card;
    card_make(&card, NULL, NULL);
    uint64_t at = card_give(&card, NET_MAX_FRAME);
    card_start(&card, 0);
    peer_send(&card, NET_MAX_FRAME - NET_HEADER_SIZE, 0x55);
    assert_int_equal(wait_used(&card, CARD_RX), NET_MAX_FRAME);
    assert_int_equal(*driver_ram_at(&card.ram, at + NET_MAX_FRAME - 1), 0x55);
    card_end(&card);
}

static void test_frames_that_do_not_fit_are_dropped_and_counted(void **state)
{
    (void)state;
    struct card card;
    card_make(&card, NULL, NULL);
    card_give(&card, 1000);
    card_start(&card, 0);
    peer_send(&card, 989, 0x66); /* one byte too many for the buffer */
    peer_send(&card, 65562, 0x66);
    peer_send(&card, 65563, 0x66); /* beyond any frame */
    peer_send(&card, 69000, 0x66);
    peer_send(&card, 0, 0x66);
    peer_send(&card, 1, 0x66);
    peer_send(&card, 13, 0x66);
    peer_send(&card, 988, 0x77);
    assert_int_equal(wait_used(&card, CARD_RX), 1000);
    assert_int_equal(card_stats(&card).dropped_frames, 7);
    assert_int_equal(card_stats(&card).received_frames, 1);
    card_end(&card);
}

static void test_chains_that_are_no_frame_are_dropped_and_counted(void **state)
{
    (void)state;
    struct card card;
    card_make(&card, NULL, NULL);
    struct driver_part part = {driver_ram_take(&card.ram, 80000, 1), 5, false};
    driver_ring_add(&card.rings[CARD_TX], &part, 1); /* no header */
    part.length = NET_HEADER_SIZE;
    driver_ring_add(&card.rings[CARD_TX], &part, 1); /* nothing else */
    part.length = NET_HEADER_SIZE + 13;
    driver_ring_add(&card.rings[CARD_TX], &part, 1);
    part.length = NET_MAX_FRAME + 1;
    driver_ring_add(&card.rings[CARD_TX], &part, 1);
    part = (struct driver_part){part.address, 2000, true};
    driver_ring_add(&card.rings[CARD_TX], &part, 1); /* nothing to read */
    card_transmit(&card, 14, 0x12);
    card_start(&card, 0);
    assert_int_equal(peer_receive(&card), 14);
    for (int i = 0; i < 6; i++)
        assert_int_equal(wait_used(&card, CARD_TX), 0);
    assert_int_equal(card_stats(&card).dropped_frames, 5);
    assert_int_equal(card_stats(&card).sent_frames, 1);
    card_end(&card);
}

static void test_buffer_without_room_for_a_header_goes_back_empty(void **state)
{
    (void)state;
    struct card card;
    card_make(&card, NULL, NULL);
    card_give(&card, 11);
    struct driver_part part = {driver_ram_take(&card.ram, 2000, 1), 2000, false};
    driver_ring_add(&card.rings[CARD_RX], &part, 1); /* only for reading */
    card_give(&card, 100);
    card_start(&card, CARD_MERGEABLE);
    peer_send(&card, 60, 0x12);
    assert_int_equal(wait_used(&card, CARD_RX), 0);
    assert_int_equal(wait_used(&card, CARD_RX), 0);
    assert_int_equal(wait_used(&card, CARD_RX), 72);
    card_end(&card);
}

static void test_guest_that_gives_no_buffers_costs_nothing(void **state)
{
    (void)state;
    struct card card;
    card_make(&card, NULL, NULL);
    card_start(&card, CARD_MERGEABLE);
    int sent = 0;
    while (sent < 5000 && send(card.peer, frame, 60, MSG_DONTWAIT) == 60)
        sent++;
    assert_in_range(sent, 1, 4999); /* the socket is full */
    assert_loop_sleeps(&card);
    card_give(&card, 100);
    driver_kick(&card.plug, CARD_RX);
    assert_int_equal(wait_used(&card, CARD_RX), 72);
    assert_loop_sleeps(&card);
    card_end(&card);
}

static void test_cable_that_takes_nothing_holds_the_frames_back(void **state)
{
    (void)state;
    struct card card;
    card_make(&card, NULL, NULL);
    card_rings(&card, 256);
    for (int i = 0; i < 256; i++)
        card_transmit(&card, 8000, (uint8_t)i);
    card_start(&card, 0);
    for (int i = 0; i < 2000 && card_stats(&card).sent_frames == 0; i++)
        rest(1);
    rest(20);
    assert_in_range(card_stats(&card).sent_frames, 1, 255);
    assert_loop_sleeps(&card);
    for (int i = 0; i < 256; i++) {
        assert_int_equal(peer_receive(&card), 8000);
        assert_int_equal(frame[7999], (uint8_t)i);
        wait_used(&card, CARD_TX);
    }
    assert_int_equal(card_stats(&card).dropped_frames, 0);
    card_end(&card);
}

static void test_reset_with_full_rings_touches_them_no_more(void **state)
{
    (void)state;
    struct card card;
    uint32_t head, written;
    card_make(&card, NULL, NULL);
    for (int i = 0; i < 16; i++)
        card_give(&card, 100);
    card_start(&card, CARD_MERGEABLE);
    peer_send(&card, 500, 0x99); /* over six of them */
    wait_used(&card, CARD_RX);
    driver_stop(&card.plug);
    memset(card.ram.bytes, 0xcc, card.ram.size);
    peer_send(&card, 60, 0x99);
    driver_kick(&card.plug, CARD_RX);
    driver_kick(&card.plug, CARD_TX);
    assert_loop_sleeps(&card);
    for (size_t i = 0; i < card.ram.size; i++)
        assert_int_equal(card.ram.bytes[i], 0xcc);
    memset(card.ram.bytes, 0, card.ram.size);
    card_rings(&card, 16);
    card_give(&card, 100);
    card_start(&card, 0);
    assert_int_equal(wait_used(&card, CARD_RX), 72);
    assert_false(driver_ring_take(&card.rings[CARD_RX], &head, &written));
    card_end(&card);
}

static void test_half_spread_frame_is_forgotten_by_a_reset(void **state)
{
    (void)state;
    struct card card;
    card_make(&card, NULL, NULL);
    card_give(&card, 100);
    card_start(&card, CARD_MERGEABLE);
    peer_send(&card, 3000, 0x44);
    rest(10);
    driver_stop(&card.plug);
    card_rings(&card, 16);
    memset(card.ram.bytes, 0, card.ram.size);
    uint64_t at = card_give(&card, 100);
    card_start(&card, CARD_MERGEABLE);
    peer_send(&card, 60, 0x45);
    assert_int_equal(wait_used(&card, CARD_RX), 72);
    assert_int_equal(*driver_ram_at(&card.ram, at + 12), 0x45);
    card_end(&card);
}

static void test_paused_card_rests_and_loses_no_kick(void **state)
{
    (void)state;
    struct card card;
    uint32_t head, written;
    card_make(&card, NULL, NULL);
    card_give(&card, 100);
    card_start(&card, 0);
    rest(5);
    card.device->ops->pause(card.device);
    card_transmit(&card, 60, 0x11);
    driver_kick(&card.plug, CARD_TX);
    peer_send(&card, 60, 0x12);
    assert_loop_sleeps(&card);
    assert_false(driver_ring_take(&card.rings[CARD_RX], &head, &written));
    assert_false(driver_ring_take(&card.rings[CARD_TX], &head, &written));
    card.device->ops->resume(card.device);
    assert_int_equal(wait_used(&card, CARD_RX), 72);
    assert_int_equal(peer_receive(&card), 60);
    wait_used(&card, CARD_TX);
    card_end(&card);
}

static void test_cut_cable_is_a_link_that_is_down(void **state)
{
    (void)state;
    struct card card;
    card_make(&card, NULL, NULL);
    card_give(&card, 100);
    card_start(&card, 0);
    assert_int_equal(link_status(&card), LINK_UP);
    close(take_fd(&card.peer));
    /* a socket of datagrams says it when one is sent for the second time */
    for (int i = 0; i < 3; i++) {
        card_transmit(&card, 60, 0x11);
        driver_kick(&card.plug, CARD_TX);
        wait_used(&card, CARD_TX);
    }
    wait_for(&card.plug.config_changes, 1);
    assert_int_equal(link_status(&card), 0);
    assert_in_range(card_stats(&card).dropped_frames, 2, 3);
    assert_loop_sleeps(&card);
    driver_stop(&card.plug);
    card_rings(&card, 16);
    memset(card.ram.bytes, 0, card.ram.size);
    card_start(&card, 0);
    assert_int_equal(link_status(&card), 0);
    card_end(&card);
}

static void test_broken_ring_asks_for_a_reset_and_works_after_it(void **state)
{
    (void)state;
    struct card card;
    card_make(&card, NULL, NULL);
    struct driver_part beyond = {DRIVER_RAM_START + CARD_RAM - 10, 100, false};
    driver_ring_add(&card.rings[CARD_TX], &beyond, 1);
    card_give(&card, 100);
    card_start(&card, 0);
    wait_for(&card.plug.resets_needed, 1);
    peer_send(&card, 60, 0x12);
    driver_kick(&card.plug, CARD_TX);
    assert_loop_sleeps(&card);
    assert_int_equal(card.plug.resets_needed, 1);
    driver_stop(&card.plug);
    card_rings(&card, 16);
    memset(card.ram.bytes, 0, card.ram.size);
    card_transmit(&card, 60, 0x23);
    card_start(&card, 0);
    assert_int_equal(peer_receive(&card), 60);
    card_end(&card);
}

static void test_queue_that_is_not_enabled_is_left_alone(void **state)
{
    (void)state;
    struct card card;
    card_make(&card, NULL, NULL);
    card.rings[CARD_RX].setup.size = 0;
    card_transmit(&card, 60, 0x23);
    card_start(&card, 0);
    peer_send(&card, 60, 0x12);
    driver_kick(&card.plug, CARD_RX);
    assert_int_equal(peer_receive(&card), 60);
    assert_loop_sleeps(&card);
    card_end(&card);
}

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* 200 kB at 1 MB/s with 50 ms for nothing. */
static void test_transmit_keeps_its_rate(void **state)
{
    (void)state;
    struct card card;
    struct throttle throttle;
    throttle_init(&throttle, &(struct throttle_rates){.bytes_per_second = 1000000}, now_ns());
    card_make(&card, NULL, &throttle);
    card_rings(&card, 256);
    for (int i = 0; i < 200; i++)
        card_transmit(&card, 1000, 0x10);
    int64_t begin = now_ns();
    card_start(&card, 0);
    for (int i = 0; i < 200; i++)
        assert_int_equal(peer_receive(&card), 1000);
    int64_t took = now_ns() - begin;
    assert_in_range(took, 140000000, 400000000);
    card_end(&card);
    throttle_fini(&throttle);
}

static void test_receive_keeps_its_rate_and_a_lifted_limit_works_at_once(void **state)
{
    (void)state;
    struct card card;
    struct throttle throttle;
    throttle_init(&throttle, &(struct throttle_rates){.bytes_per_second = 10}, now_ns());
    card_make(&card, &throttle, NULL);
    for (int i = 0; i < 4; i++)
        card_give(&card, 1100);
    card_start(&card, 0);
    for (int i = 0; i < 4; i++)
        peer_send(&card, 1000, 0x10);
    wait_used(&card, CARD_RX); /* one into debt, for 100 s */
    assert_loop_sleeps(&card);
    assert_int_equal(card_stats(&card).received_frames, 1);
    throttle_set(&throttle, &(struct throttle_rates){0}, now_ns());
    for (int i = 0; i < 3; i++)
        wait_used(&card, CARD_RX);
    card_end(&card);
    throttle_fini(&throttle);
}

/* What TSan and ASan are to look at: the driver resets and pauses while frames come and go. */
static void test_resets_and_pauses_race_with_traffic(void **state)
{
    (void)state;
    struct card card;
    card_make(&card, NULL, NULL);
    fcntl(card.peer, F_SETFL, O_NONBLOCK);
    for (int i = 0; i < 150; i++) {
        card_rings(&card, 16);
        for (int k = 0; k < 8; k++) {
            card_give(&card, 100);
            card_transmit(&card, 60, 0x11);
        }
        card_start(&card, i % 2 ? CARD_MERGEABLE : 0);
        for (int k = 0; k < 8; k++)
            send(card.peer, frame, k % 2 ? 60 : 300, 0);
        driver_kick(&card.plug, CARD_TX);
        if (i % 3 == 0) {
            card.device->ops->pause(card.device);
            card.device->ops->resume(card.device);
        }
        if (i % 5 == 0)
            wait_used(&card, CARD_TX);
        while (recv(card.peer, frame, sizeof(frame), 0) > 0)
            continue;
        driver_stop(&card.plug);
    }
    assert_true(card_stats(&card).sent_frames > 0);
    card_end(&card);
}

static void test_card_without_cable_drops_what_is_sent(void **state)
{
    (void)state;
    struct card card;
    card_make(&card, NULL, NULL);
    struct virtio_net_options options = {.backend = net_backend_open("none", NULL, NULL),
                                         .loop = card.loop};
    struct virtio_device *device = virtio_net_new(&options, NULL);
    struct driver_plug plug;
    driver_plug_in(&plug, device, &card.ram.memory);
    card_transmit(&card, 60, 0x11);
    assert_int_equal(driver_start(&plug, card.rings, 0, NULL), 0);
    wait_used(&card, CARD_TX);
    uint8_t status[2];
    device->ops->read_config(device, 6, status, 2);
    assert_int_equal(load_le16(status), 0);
    driver_stop(&plug);
    loop_stop(card.loop);
    pthread_join(card.thread, NULL);
    driver_unplug(&plug);
    driver_unplug(&card.plug);
    loop_free(card.loop);
    driver_ram_fini(&card.ram);
    close(card.peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config_tells_mac_and_link_and_zeroes_behind),
        cmocka_unit_test(test_frame_reaches_the_guest_behind_a_header),
        cmocka_unit_test(test_frame_of_the_guest_goes_out_without_header),
        cmocka_unit_test(test_header_and_frame_may_be_cut_anywhere),
        cmocka_unit_test(test_large_frame_spreads_over_mergeable_buffers_that_come_late),
        cmocka_unit_test(test_largest_frame_arrives_whole),
        cmocka_unit_test(test_frames_that_do_not_fit_are_dropped_and_counted),
        cmocka_unit_test(test_chains_that_are_no_frame_are_dropped_and_counted),
        cmocka_unit_test(test_buffer_without_room_for_a_header_goes_back_empty),
        cmocka_unit_test(test_guest_that_gives_no_buffers_costs_nothing),
        cmocka_unit_test(test_cable_that_takes_nothing_holds_the_frames_back),
        cmocka_unit_test(test_reset_with_full_rings_touches_them_no_more),
        cmocka_unit_test(test_half_spread_frame_is_forgotten_by_a_reset),
        cmocka_unit_test(test_paused_card_rests_and_loses_no_kick),
        cmocka_unit_test(test_cut_cable_is_a_link_that_is_down),
        cmocka_unit_test(test_broken_ring_asks_for_a_reset_and_works_after_it),
        cmocka_unit_test(test_queue_that_is_not_enabled_is_left_alone),
        cmocka_unit_test(test_transmit_keeps_its_rate),
        cmocka_unit_test(test_receive_keeps_its_rate_and_a_lifted_limit_works_at_once),
        cmocka_unit_test(test_resets_and_pauses_race_with_traffic),
        cmocka_unit_test(test_card_without_cable_drops_what_is_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
