/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The serial port as a kernel finds and drives it, and as a console that may be slow, shared, ended
 * or not there.
 */
#include "tests/unit/hypervisor/platform_rig.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

#define PORT LAYOUT_PORT_SERIAL
enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCRATCH }; /* FCR is IIR when written */
#define FCR IIR
#define PENDING ((size_t)64 << 10) /* what the device keeps for a slow reader */

static uint8_t get(struct rig *rig, unsigned at)
{
    return in8(rig, PORT + at);
}

static void put(struct rig *rig, unsigned at, uint8_t value)
{
    out8(rig, PORT + at, value);
}

static struct device *serial_on(struct rig *rig, int in, int out)
{
    struct error err = {0};
    struct device *device =
        serial_new(&rig->host, &(struct console_ends){.in = in, .out = out}, &err);
    assert_non_null(device);
    rig_start_loop(rig);
    return device;
}

static void make_pipe(int ends[2])
{
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
}

static bool waits_for_data(struct rig *rig)
{
    for (int64_t end = clock_ms() + RIG_PATIENCE_MS; clock_ms() < end; usleep(500)) {
        if (get(rig, LSR) & 1)
            return true;
    }
    return false;
}

static bool waits_for_queue(int fd, int bytes)
{
    int queued = -1;
    for (int64_t end = clock_ms() + RIG_PATIENCE_MS; clock_ms() < end; usleep(500)) {
        if (ioctl(fd, FIONREAD, &queued) == 0 && queued == bytes)
            return true;
    }
    return false;
}

/* --- as a kernel finds it --- */

static void test_serial_passes_the_probe_of_linux_as_a_16550a(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    struct device *device = serial_on(rig, -1, -1);
    put(rig, IER, 0);
    assert_int_equal(get(rig, IER), 0);
    put(rig, IER, 0x0f);
    assert_int_equal(get(rig, IER) & 0x0f, 0x0f);
    put(rig, IER, 0xff);
    assert_int_equal(get(rig, IER), 0x0f); /* no bits that other chips have */
    put(rig, IER, 0);
    put(rig, MCR, 0x1a); /* loop, OUT2, RTS */
    assert_int_equal(get(rig, MSR) & 0xf0, 0x90);
    put(rig, MCR, 0x0b);
    assert_int_equal(get(rig, MSR) & 0xf0, 0xb0);
    put(rig, LCR, 0xbf);
    put(rig, FCR, 0);
    put(rig, LCR, 0);
    put(rig, FCR, 0x01);
    assert_int_equal(get(rig, IIR) >> 6, 3);
    put(rig, FCR, 0x21);
    assert_int_equal(get(rig, IIR) & 0x20, 0); /* no 16750 */
    put(rig, SCRATCH, 0x5a);
    assert_int_equal(get(rig, SCRATCH), 0x5a);
    rig_free(rig, device);
}

static void test_serial_has_a_divisor_that_is_apart_from_data_and_ier(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    struct device *device = serial_on(rig, -1, -1);
    put(rig, IER, 5);
    put(rig, LCR, 0x83);
    put(rig, DATA, 0x0c);
    put(rig, IER, 0x01);
    assert_int_equal(get(rig, DATA), 0x0c);
    assert_int_equal(get(rig, IER), 0x01);
    put(rig, LCR, 0x03);
    assert_int_equal(get(rig, IER), 5);
    assert_int_equal(get(rig, LCR), 3);
    rig_free(rig, device);
}

static void test_serial_raises_its_line_when_empty_and_lowers_it_when_told(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    struct device *device = serial_on(rig, -1, -1);
    assert_int_equal(get(rig, IIR), 0x01);
    for (int i = 0; i < 2; i++) { /* Linux enables it twice to see whether it comes again */
        put(rig, IER, 0x02);
        assert_true(rig->levels[LAYOUT_GSI_SERIAL]);
        assert_int_equal(get(rig, IIR), 0x02);
        assert_false(rig->levels[LAYOUT_GSI_SERIAL]);
        assert_int_equal(get(rig, IIR), 0x01);
        put(rig, IER, 0);
    }
    put(rig, IER, 0x02);
    get(rig, IIR);
    put(rig, DATA, 'x');
    assert_true(rig->levels[LAYOUT_GSI_SERIAL]);
    assert_int_equal(get(rig, LSR), 0x60);
    put(rig, IER, 0);
    assert_false(rig->levels[LAYOUT_GSI_SERIAL]);
    assert_int_equal(rig->rises[LAYOUT_GSI_SERIAL], 4);
    rig_free(rig, device);
}

static void test_serial_loop_returns_bytes_and_tells_of_an_overrun(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    int out[2];
    make_pipe(out);
    struct device *device = serial_on(rig, -1, out[1]);
    put(rig, FCR, 0x07);
    put(rig, MCR, 0x10);
    put(rig, IER, 0x05);
    for (uint8_t i = 0; i < 17; i++)
        put(rig, DATA, i);
    assert_false(rig->levels[LAYOUT_GSI_SERIAL]); /* cut off in a loop */
    assert_int_equal(get(rig, IIR), 0xc6);
    assert_int_equal(get(rig, LSR), 0x63);
    assert_int_equal(get(rig, LSR), 0x61);
    for (uint8_t i = 0; i < 16; i++)
        assert_int_equal(get(rig, DATA), i);
    assert_int_equal(get(rig, LSR), 0x60);
    assert_true(waits_for_queue(out[0], 0));
    close(out[0]);
    close(out[1]);
    rig_free(rig, device);
}

static void test_serial_modem_status_tells_what_changed_once(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    struct device *device = serial_on(rig, -1, -1);
    put(rig, IER, 0x08);
    put(rig, MCR, 0x14); /* loop, OUT1: all but RI goes away */
    assert_int_equal(get(rig, MSR), 0x4b);
    assert_int_equal(get(rig, MSR), 0x40);
    put(rig, MCR, 0x00); /* RI ends */
    assert_true(rig->levels[LAYOUT_GSI_SERIAL]);
    assert_int_equal(get(rig, IIR), 0x00);
    assert_int_equal(get(rig, MSR), 0xbf);
    assert_false(rig->levels[LAYOUT_GSI_SERIAL]);
    assert_int_equal(get(rig, MSR), 0xb0);
    rig_free(rig, device);
}

/* --- input --- */

static void test_serial_input_interrupts_until_it_is_read(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    int in[2];
    make_pipe(in);
    struct device *device = serial_on(rig, in[0], -1);
    put(rig, FCR, 0x81); /* trigger: 8 */
    put(rig, IER, 0x01);
    assert_int_equal(write(in[1], "abc", 3), 3);
    assert_true(rig_waits_for_line(rig, LAYOUT_GSI_SERIAL, true));
    assert_int_equal(get(rig, IIR), 0xcc); /* fewer, but they have waited */
    assert_int_equal(get(rig, DATA), 'a');
    assert_int_equal(get(rig, DATA), 'b');
    assert_true(rig->levels[LAYOUT_GSI_SERIAL]);
    assert_int_equal(get(rig, DATA), 'c');
    assert_false(rig->levels[LAYOUT_GSI_SERIAL]);
    assert_int_equal(get(rig, IIR), 0xc1);
    assert_int_equal(write(in[1], "12345678", 8), 8);
    assert_true(rig_waits_for_line(rig, LAYOUT_GSI_SERIAL, true));
    assert_int_equal(get(rig, IIR), 0xc4);
    close(in[1]);
    rig_free(rig, device);
    close(in[0]);
}

static void input_keeps_its_order(unsigned fifo_control, int left)
{
    struct rig *rig = rig_new();
    int in[2];
    char text[100];
    make_pipe(in);
    struct device *device = serial_on(rig, in[0], -1);
    put(rig, FCR, (uint8_t)fifo_control);
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)(' ' + i % 90);
    assert_int_equal(write(in[1], text, sizeof(text)), sizeof(text));
    assert_true(waits_for_queue(in[0], left)); /* what does not fit waits where it was */
    usleep(2000);
    assert_true(waits_for_queue(in[0], left));
    for (size_t i = 0; i < sizeof(text); i++) {
        assert_true(waits_for_data(rig));
        assert_int_equal(get(rig, DATA), text[i]);
    }
    assert_int_equal(get(rig, LSR), 0x60);
    close(in[1]);
    rig_free(rig, device);
    close(in[0]);
}

static void test_serial_input_beyond_the_fifo_waits_in_the_console(void **state)
{
    (void)state;
    input_keeps_its_order(0x01, 100 - 16);
    input_keeps_its_order(0x00, 100 - 1);
}

static double cpu_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void test_serial_input_that_ends_is_read_to_its_end_and_left_alone(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    int in[2], out[2];
    char byte;
    make_pipe(in);
    make_pipe(out);
    struct device *device = serial_on(rig, in[0], out[1]);
    assert_int_equal(write(in[1], "xyz", 3), 3);
    close(in[1]); /* a hang-up, while the FIFO of one byte is full */
    assert_true(waits_for_data(rig));
    double before = cpu_seconds();
    usleep(80000);
    assert_true(cpu_seconds() - before < 0.04);
    for (const char *c = "xyz"; *c; c++) {
        assert_true(waits_for_data(rig));
        assert_int_equal(get(rig, DATA), *c);
    }
    usleep(2000);
    before = cpu_seconds();
    usleep(80000);
    assert_true(cpu_seconds() - before < 0.04);
    put(rig, DATA, '!');
    assert_int_equal(read(out[0], &byte, 1), 1);
    assert_int_equal(byte, '!');
    rig_free(rig, device);
    close(in[0]);
    close(out[0]);
    close(out[1]);
}

static void test_serial_takes_a_file_for_a_console_where_nobody_types(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    struct device *device = serial_on(rig, null, null);
    for (int i = 0; i < 1000; i++)
        put(rig, DATA, 'x');
    assert_int_equal(get(rig, LSR), 0x60);
    rig_free(rig, device);
    close(null);
}

static void test_serial_rests_while_it_is_paused(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    int in[2];
    make_pipe(in);
    struct device *device = serial_on(rig, in[0], -1);
    put(rig, IER, 0x01);
    device->ops->pause(device);
    assert_int_equal(write(in[1], "q", 1), 1);
    usleep(20000);
    assert_false(rig->levels[LAYOUT_GSI_SERIAL]);
    assert_true(waits_for_queue(in[0], 1));
    device->ops->resume(device);
    assert_true(rig_waits_for_line(rig, LAYOUT_GSI_SERIAL, true));
    device->ops->reset(device);
    assert_false(rig->levels[LAYOUT_GSI_SERIAL]);
    assert_int_equal(get(rig, IER), 0);
    assert_int_equal(get(rig, LSR), 0x60);
    close(in[1]);
    rig_free(rig, device);
    close(in[0]);
}

/* --- output --- */

/* Until nothing more comes, or `most` bytes. */
static size_t reads_text(int fd, size_t most)
{
    char buffer[4096];
    size_t at = 0;
    while (at < most && poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 100) == 1) {
        ssize_t part = read(fd, buffer, most - at < sizeof(buffer) ? most - at : sizeof(buffer));
        if (part <= 0)
            break;
        for (ssize_t i = 0; i < part; i++, at++)
            assert_int_equal(buffer[i], (char)('a' + at % 23));
    }
    return at;
}

/* A reader that does not read: the guest goes on; what fits comes in order, later text again. */
static void output_does_not_block(int flags)
{
    struct rig *rig = rig_new();
    int out[2];
    char byte;
    make_pipe(out);
    fcntl(out[1], F_SETFL, flags);
    fcntl(out[1], F_SETPIPE_SZ, 4096);
    size_t room = (size_t)fcntl(out[1], F_GETPIPE_SZ);
    struct device *device = serial_on(rig, -1, out[1]);
    for (size_t i = 0; i < room + 2 * PENDING; i++)
        put(rig, DATA, (uint8_t)('a' + i % 23));
    size_t kept = reads_text(out[0], SIZE_MAX);
    assert_true(kept > PENDING && kept <= room + PENDING);
    put(rig, DATA, '!');
    assert_int_equal(read(out[0], &byte, 1), 1);
    assert_int_equal(byte, '!');
    assert_int_equal(fcntl(out[1], F_GETFL) & O_NONBLOCK, flags); /* others write there too */
    rig_free(rig, device);
    close(out[0]);
    close(out[1]);
}

static void test_serial_output_does_not_wait_for_its_reader(void **state)
{
    (void)state;
    output_does_not_block(O_NONBLOCK);
    output_does_not_block(0);
}

struct reader {
    int fd;
    size_t length;
};

static void *read_to_the_end(void *context)
{
    struct reader *reader = context;
    char buffer[512];
    for (ssize_t part; (part = read(reader->fd, buffer, sizeof(buffer))) > 0;)
        reader->length += (size_t)part;
    return NULL;
}

static void test_serial_close_gives_the_last_words_to_who_reads(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    int out[2];
    make_pipe(out);
    fcntl(out[1], F_SETPIPE_SZ, 4096);
    struct device *device = serial_on(rig, -1, out[1]);
    size_t room = (size_t)fcntl(out[1], F_GETPIPE_SZ);
    device->ops->pause(device);
    for (size_t i = 0; i < room + 3000; i++)
        put(rig, DATA, (uint8_t)('a' + i % 23));
    struct reader reader = {.fd = out[0]};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, read_to_the_end, &reader), 0);
    rig_free(rig, device);
    close(out[1]);
    pthread_join(thread, NULL);
    assert_int_equal(reader.length, room + 3000);
    close(out[0]);
}

struct tapped {
    char text[64];
    size_t length;
};

static void tap(void *context, const char *bytes, size_t length)
{
    struct tapped *tapped = context;
    memcpy(tapped->text + tapped->length, bytes, length);
    tapped->length += length;
}

static void test_serial_tap_sees_what_the_guest_says_and_no_more(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    struct tapped tapped = {.length = 0};
    struct error err = {0};
    struct console_ends ends = {.in = -1, .out = -1, .tap = tap, .context = &tapped};
    struct device *device = serial_new(&rig->host, &ends, &err);
    assert_non_null(device);
    put(rig, LCR, 0x80);
    put(rig, DATA, 'D');
    put(rig, LCR, 0x03);
    put(rig, DATA, 'h');
    put(rig, MCR, 0x10);
    put(rig, DATA, 'L');
    put(rig, MCR, 0);
    put(rig, DATA, 'i');
    put(rig, SCRATCH, 'S');
    assert_int_equal(tapped.length, 2);
    assert_memory_equal(tapped.text, "hi", 2);
    rig_free(rig, device);
}

static void test_serial_uses_one_socket_for_both_directions(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    struct device *device = serial_on(rig, ends[0], ends[0]);
    size_t sent = 0;
    for (; sent < 400000; sent++)
        put(rig, DATA, (uint8_t)('a' + sent % 23));
    assert_int_equal(write(ends[1], "k", 1), 1);
    assert_true(waits_for_data(rig));
    assert_int_equal(get(rig, DATA), 'k');
    assert_int_equal(reads_text(ends[1], PENDING), PENDING);
    assert_int_equal(write(ends[1], "l", 1), 1);
    assert_true(waits_for_data(rig));
    assert_int_equal(get(rig, DATA), 'l');
    close(ends[1]);
    rig_free(rig, device);
    close(ends[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_serial_passes_the_probe_of_linux_as_a_16550a),
        cmocka_unit_test(test_serial_has_a_divisor_that_is_apart_from_data_and_ier),
        cmocka_unit_test(test_serial_raises_its_line_when_empty_and_lowers_it_when_told),
        cmocka_unit_test(test_serial_loop_returns_bytes_and_tells_of_an_overrun),
        cmocka_unit_test(test_serial_modem_status_tells_what_changed_once),
        cmocka_unit_test(test_serial_input_interrupts_until_it_is_read),
        cmocka_unit_test(test_serial_input_beyond_the_fifo_waits_in_the_console),
        cmocka_unit_test(test_serial_input_that_ends_is_read_to_its_end_and_left_alone),
        cmocka_unit_test(test_serial_takes_a_file_for_a_console_where_nobody_types),
        cmocka_unit_test(test_serial_rests_while_it_is_paused),
        cmocka_unit_test(test_serial_output_does_not_wait_for_its_reader),
        cmocka_unit_test(test_serial_close_gives_the_last_words_to_who_reads),
        cmocka_unit_test(test_serial_tap_sees_what_the_guest_says_and_no_more),
        cmocka_unit_test(test_serial_uses_one_socket_for_both_directions),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
