/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A 16550A (National Semiconductor's PC16550D). It sends in no time, so its transmitter is always
 * empty. While its receive FIFO is full nobody reads the console: what is typed waits there.
 *
 *   guest -> THR -> written at once, else `pending` (64 KiB) -> the loop, on EPOLLOUT; else dropped
 *   console -> the loop, on EPOLLIN -> FIFO -> RBR -> guest
 */
#include "base/own.h"
#include "base/text.h"
#include "hypervisor/layout.h"
#include "hypervisor/platform.h"
#include "hypervisor/ports.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/serial_reg.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIFO_SIZE 16
#define PENDING_SIZE ((size_t)64 << 10)
#define DRAIN_STEPS 4096    /* of one call from the loop */
#define CLOSE_PATIENCE 1000 /* milliseconds without progress */

#define REGISTERS 8
#define IIR_HAS_FIFO 0xc0
#define FCR_TRIGGER_SHIFT 6
#define LSR_ALL_SENT (UART_LSR_THRE | UART_LSR_TEMT)

struct serial {
    struct port_device base;  /* its lock is held while the loop is called, and the tap */
    struct console_ends ends; /* its `out` is a duplicate of our own */
    uint8_t ier, fcr, lcr, mcr, scratch, divisor[2];
    uint8_t msr_changes;   /* low half of MSR */
    bool has_overrun;      /* UART_LSR_OE, until it is read */
    bool is_empty_pending; /* UART_IIR_THRI has not been seen yet */
    bool line_is_high;
    uint8_t fifo[FIFO_SIZE];
    unsigned fifo_start, fifo_count;
    struct loop_watch in_watch, out_watch;
    bool has_input, is_paused; /* has_input: not yet at the console's end */
    bool is_in_watched, is_out_watched;
    size_t out_most; /* what a blocking descriptor takes when poll says so; else 0 */
    char *pending;   /* ring */
    size_t pending_start, pending_count;
};

static unsigned fifo_size(const struct serial *serial)
{
    return serial->fcr & UART_FCR_ENABLE_FIFO ? FIFO_SIZE : 1;
}

/* What IIR says: the most urgent source. Waiting bytes below the trigger have always timed out. */
static uint8_t source(const struct serial *serial)
{
    static const uint8_t triggers[] = {1, 4, 8, 14};
    if ((serial->ier & UART_IER_RLSI) && serial->has_overrun)
        return UART_IIR_RLSI;
    if ((serial->ier & UART_IER_RDI) && serial->fifo_count > 0)
        return (serial->fcr & UART_FCR_ENABLE_FIFO) &&
                       serial->fifo_count < triggers[serial->fcr >> FCR_TRIGGER_SHIFT]
                   ? UART_IIR_RX_TIMEOUT
                   : UART_IIR_RDI;
    if ((serial->ier & UART_IER_THRI) && serial->is_empty_pending)
        return UART_IIR_THRI;
    if ((serial->ier & UART_IER_MSI) && serial->msr_changes)
        return UART_IIR_MSI;
    return UART_IIR_NO_INT;
}

/* In a loop the chip is cut off: OUT2, which lets the line through, is too. */
static void update_line(struct serial *serial)
{
    bool is_high = source(serial) != UART_IIR_NO_INT && !(serial->mcr & UART_MCR_LOOP);
    const struct interrupts *interrupts = serial->base.host.interrupts;
    if (is_high != serial->line_is_high)
        interrupts->set_line(interrupts->context, LAYOUT_GSI_SERIAL, is_high);
    serial->line_is_high = is_high;
}

/* --- input ---------------------------------------------------------------------------------- */

static void fifo_push(struct serial *serial, uint8_t byte)
{
    if (serial->fifo_count >= fifo_size(serial)) {
        serial->has_overrun = true;
        return;
    }
    serial->fifo[(serial->fifo_start + serial->fifo_count++) % FIFO_SIZE] = byte;
}

/* Silencing is not enough: a hang-up is reported all the same, again and again. */
static void stop_input(struct serial *serial)
{
    if (serial->is_in_watched)
        loop_remove(serial->base.host.loop, &serial->in_watch);
    serial->is_in_watched = false;
}

static int start_input(struct serial *serial, struct error *err)
{
    if (!serial->has_input || serial->is_paused || serial->is_in_watched)
        return 0;
    if (loop_add(serial->base.host.loop, &serial->in_watch, EPOLLIN, err) < 0)
        return -1;
    serial->is_in_watched = true;
    return 0;
}

static void fifo_clear(struct serial *serial)
{
    serial->fifo_count = 0;
    start_input(serial, NULL);
}

static uint8_t fifo_pop(struct serial *serial)
{
    if (serial->fifo_count == 0)
        return 0;
    uint8_t byte = serial->fifo[serial->fifo_start];
    serial->fifo_start = (serial->fifo_start + 1) % FIFO_SIZE;
    if (--serial->fifo_count == 0)
        start_input(serial, NULL);
    return byte;
}

static void input_ready(void *context, uint32_t events)
{
    (void)events;
    struct serial *serial = context;
    uint8_t bytes[FIFO_SIZE];
    pthread_mutex_lock(&serial->base.lock);
    if (serial->is_in_watched && serial->fifo_count < fifo_size(serial)) {
        size_t room = fifo_size(serial) - serial->fifo_count;
        ssize_t length = read(serial->in_watch.fd, bytes, room);
        for (ssize_t i = 0; i < length; i++)
            fifo_push(serial, bytes[i]);
        if (length == 0 || (length < 0 && errno != EAGAIN && errno != EINTR))
            serial->has_input = false;
    }
    if (!serial->has_input || serial->fifo_count >= fifo_size(serial))
        stop_input(serial);
    update_line(serial);
    pthread_mutex_unlock(&serial->base.lock);
}

/* --- output --------------------------------------------------------------------------------- */

/* How much was taken: 0 when it would block, -1 when it never will. Others share the descriptor, so
 * it stays a blocking one if it is, and is asked first. */
static ssize_t write_some(struct serial *serial, const char *bytes, size_t length)
{
    struct pollfd poll_fd = {.fd = serial->ends.out, .events = POLLOUT};
    if (serial->out_most > 0 && poll(&poll_fd, 1, 0) <= 0)
        return 0;
    if (serial->out_most > 0 && length > serial->out_most)
        length = serial->out_most;
    ssize_t written = write(serial->ends.out, bytes, length);
    if (written < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    return written;
}

static void stop_output(struct serial *serial)
{
    if (serial->is_out_watched)
        loop_remove(serial->base.host.loop, &serial->out_watch);
    serial->is_out_watched = false;
}

static void start_output(struct serial *serial)
{
    if (serial->is_out_watched || serial->is_paused || serial->pending_count == 0)
        return;
    serial->is_out_watched =
        loop_add(serial->base.host.loop, &serial->out_watch, EPOLLOUT, NULL) == 0;
}

/* False: it takes nothing more now. A reader who is gone takes everything. */
static bool drain_some(struct serial *serial)
{
    size_t length = PENDING_SIZE - serial->pending_start;
    if (length > serial->pending_count)
        length = serial->pending_count;
    ssize_t written = write_some(serial, serial->pending + serial->pending_start, length);
    if (written < 0)
        written = (ssize_t)length;
    serial->pending_start = (serial->pending_start + (size_t)written) % PENDING_SIZE;
    serial->pending_count -= (size_t)written;
    return written > 0;
}

static void output_ready(void *context, uint32_t events)
{
    (void)events;
    struct serial *serial = context;
    pthread_mutex_lock(&serial->base.lock);
    for (int i = 0; i < DRAIN_STEPS && serial->is_out_watched && serial->pending_count > 0; i++) {
        if (!drain_some(serial))
            break;
    }
    if (serial->pending_count == 0)
        stop_output(serial);
    pthread_mutex_unlock(&serial->base.lock);
}

static void send(struct serial *serial, char byte)
{
    if (serial->ends.out < 0)
        return;
    if (serial->pending_count == 0 && write_some(serial, &byte, 1) != 0)
        return;
    if (serial->pending_count == PENDING_SIZE)
        return;
    serial->pending[(serial->pending_start + serial->pending_count++) % PENDING_SIZE] = byte;
    start_output(serial);
}

/* --- registers ------------------------------------------------------------------------------ */

static uint8_t modem_status(const struct serial *serial)
{
    if (!(serial->mcr & UART_MCR_LOOP))
        return UART_MSR_CTS | UART_MSR_DSR | UART_MSR_DCD;
    return (uint8_t)((serial->mcr & UART_MCR_RTS ? UART_MSR_CTS : 0) |
                     (serial->mcr & UART_MCR_DTR ? UART_MSR_DSR : 0) |
                     (serial->mcr & UART_MCR_OUT1 ? UART_MSR_RI : 0) |
                     (serial->mcr & UART_MCR_OUT2 ? UART_MSR_DCD : 0));
}

/* RI is reported when it ends. */
static void write_mcr(struct serial *serial, uint8_t value)
{
    uint8_t before = modem_status(serial);
    serial->mcr = value & 0x1f;
    uint8_t after = modem_status(serial);
    uint8_t changes = (uint8_t)((before ^ after) & ~(after & UART_MSR_RI));
    serial->msr_changes |= (uint8_t)(changes >> 4);
}

static void write_fcr(struct serial *serial, uint8_t value)
{
    bool is_switched = (value ^ serial->fcr) & UART_FCR_ENABLE_FIFO;
    serial->fcr =
        value & UART_FCR_ENABLE_FIFO ? value & (3 << FCR_TRIGGER_SHIFT | UART_FCR_ENABLE_FIFO) : 0;
    if (is_switched || (value & UART_FCR_CLEAR_RCVR))
        fifo_clear(serial);
}

static void write_ier(struct serial *serial, uint8_t value)
{
    if ((value & UART_IER_THRI) && !(serial->ier & UART_IER_THRI))
        serial->is_empty_pending = true;
    serial->ier = value & 0x0f;
}

static void write_thr(struct serial *serial, uint8_t value)
{
    char byte = (char)value;
    serial->is_empty_pending = true;
    if (serial->mcr & UART_MCR_LOOP) {
        fifo_push(serial, value);
        return;
    }
    send(serial, byte);
    if (serial->ends.tap)
        serial->ends.tap(serial->ends.context, &byte, 1);
}

static void write_register(struct serial *serial, unsigned at, uint8_t value)
{
    switch (at) {
    case UART_RX:
        write_thr(serial, value);
        break;
    case UART_IER:
        write_ier(serial, value);
        break;
    case UART_FCR:
        write_fcr(serial, value);
        break;
    case UART_LCR:
        serial->lcr = value;
        break;
    case UART_MCR:
        write_mcr(serial, value);
        break;
    case UART_SCR:
        serial->scratch = value;
        break;
    }
}

static bool is_divisor(const struct serial *serial, unsigned at)
{
    return (serial->lcr & UART_LCR_DLAB) && at <= UART_IER;
}

static void write_port(struct port_device *device, unsigned port, uint8_t value)
{
    struct serial *serial = (struct serial *)device;
    unsigned at = port - LAYOUT_PORT_SERIAL;
    if (is_divisor(serial, at))
        serial->divisor[at] = value;
    else
        write_register(serial, at, value);
    update_line(serial);
}

static uint8_t read_iir(struct serial *serial)
{
    uint8_t value = source(serial);
    if (value == UART_IIR_THRI)
        serial->is_empty_pending = false;
    return value | (serial->fcr & UART_FCR_ENABLE_FIFO ? IIR_HAS_FIFO : 0);
}

static uint8_t read_lsr(struct serial *serial)
{
    uint8_t value = LSR_ALL_SENT | (serial->fifo_count > 0 ? UART_LSR_DR : 0) |
                    (serial->has_overrun ? UART_LSR_OE : 0);
    serial->has_overrun = false;
    return value;
}

static uint8_t read_msr(struct serial *serial)
{
    uint8_t value = modem_status(serial) | serial->msr_changes;
    serial->msr_changes = 0;
    return value;
}

static uint8_t read_register(struct serial *serial, unsigned at)
{
    switch (at) {
    case UART_RX:
        return fifo_pop(serial);
    case UART_IER:
        return serial->ier;
    case UART_FCR:
        return read_iir(serial);
    case UART_LCR:
        return serial->lcr;
    case UART_MCR:
        return serial->mcr;
    case UART_LSR:
        return read_lsr(serial);
    case UART_MSR:
        return read_msr(serial);
    default:
        return serial->scratch;
    }
}

static uint8_t read_port(struct port_device *device, unsigned port)
{
    struct serial *serial = (struct serial *)device;
    unsigned at = port - LAYOUT_PORT_SERIAL;
    uint8_t value = is_divisor(serial, at) ? serial->divisor[at] : read_register(serial, at);
    update_line(serial);
    return value;
}

static void reset(struct port_device *device)
{
    struct serial *serial = (struct serial *)device;
    serial->ier = serial->fcr = serial->lcr = serial->mcr = serial->scratch = 0;
    serial->msr_changes = serial->divisor[0] = serial->divisor[1] = 0;
    serial->has_overrun = serial->is_empty_pending = false;
    fifo_clear(serial);
    update_line(serial);
}

static void serial_pause(struct device *device)
{
    struct serial *serial = (struct serial *)device;
    pthread_mutex_lock(&serial->base.lock);
    serial->is_paused = true;
    stop_input(serial);
    stop_output(serial);
    pthread_mutex_unlock(&serial->base.lock);
}

static void serial_resume(struct device *device)
{
    struct serial *serial = (struct serial *)device;
    pthread_mutex_lock(&serial->base.lock);
    serial->is_paused = false;
    if (serial->fifo_count < fifo_size(serial))
        start_input(serial, NULL);
    start_output(serial);
    pthread_mutex_unlock(&serial->base.lock);
}

/* The guest's last words are given to a reader who still reads. */
static void serial_close(struct device *device)
{
    struct serial *serial = (struct serial *)device;
    struct pollfd poll_fd = {.fd = serial->ends.out, .events = POLLOUT};
    serial_pause(device);
    while (serial->pending_count > 0 && poll(&poll_fd, 1, CLOSE_PATIENCE) > 0 && drain_some(serial))
        ;
    own_close(&serial->ends.out);
    free(serial->pending);
    port_device_close(device);
}

static const struct port_kind kind = {
    .ops = {.name = "serial",
            .reset = port_device_reset,
            .pause = serial_pause,
            .resume = serial_resume,
            .close = serial_close},
    .read = read_port,
    .write = write_port,
    .reset = reset,
    .ranges = {{LAYOUT_PORT_SERIAL, REGISTERS}},
};

/* A file cannot be waited for (EPERM), nor is anybody typing in it. */
static int open_input(struct serial *serial, struct error *err)
{
    struct error cause = {0};
    serial->has_input = serial->ends.in >= 0;
    if (start_input(serial, &cause) == 0)
        return 0;
    serial->has_input = false;
    if (cause.errnum == EPERM)
        return 0;
    if (err)
        *err = cause;
    return error_wrap(err, "serial console's input");
}

/* A descriptor of our own: the loop cannot watch one number for two. */
static int open_output(struct serial *serial, const struct console_ends *ends, struct error *err)
{
    serial->ends.out = -1;
    if (ends->out < 0)
        return 0;
    serial->ends.out = fcntl(ends->out, F_DUPFD_CLOEXEC, 3);
    int flags = fcntl(ends->out, F_GETFL);
    struct stat stat;
    if (serial->ends.out < 0 || flags < 0 || fstat(ends->out, &stat) < 0)
        return error_set(err, errno, "serial console's output, descriptor %d", ends->out);
    if (!(flags & O_NONBLOCK))
        serial->out_most = S_ISFIFO(stat.st_mode) || S_ISSOCK(stat.st_mode) ? PIPE_BUF : 1;
    serial->out_watch.fd = serial->ends.out;
    return 0;
}

struct device *serial_new(const struct device_host *host, const struct console_ends *ends,
                          struct error *err)
{
    struct serial *serial = port_device_new(&kind, sizeof(*serial), host, err);
    if (!serial)
        return NULL;
    serial->ends = *ends;
    serial->in_watch = (struct loop_watch){input_ready, serial, ends->in};
    serial->out_watch = (struct loop_watch){output_ready, serial, -1};
    serial->pending = memory_new(1, PENDING_SIZE);
    if (open_output(serial, ends, err) == 0 && open_input(serial, err) == 0)
        return &serial->base.device;
    serial_close(&serial->base.device);
    return NULL;
}
