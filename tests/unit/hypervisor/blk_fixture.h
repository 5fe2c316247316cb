/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * For the tests of the virtio disk: a driver that offers requests, and an image in memory that
 * counts what it is asked for and fails or waits on demand.
 */
#ifndef TESTS_UNIT_HYPERVISOR_BLK_FIXTURE_H
#define TESTS_UNIT_HYPERVISOR_BLK_FIXTURE_H

#include "hypervisor/virtio/blk.h"
#include "hypervisor/virtio/blk_request.h"
#include "tests/lib/virtqueue_fixture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define DISK_SECTORS 2048u
#define DISK_BYTES (DISK_SECTORS * 512u)

/* --- an image that is only memory ------------------------------------------------------------ */

struct fake_image {
    struct image image;
    uint8_t bytes[DISK_BYTES];
    atomic_uint reads, writes, zeroes, flushes;
    atomic_uint busy;
    atomic_int fail_write, fail_flush; /* errno */
    atomic_int delay_us;               /* of each read and write */
    atomic_bool *is_closed;            /* of the test */
};

static inline struct fake_image *fake_of(const void *image)
{
    return (struct fake_image *)(uintptr_t)image;
}

static inline void fake_wait(struct fake_image *fake)
{
    int delay = atomic_load(&fake->delay_us);
    if (delay)
        usleep((useconds_t)delay);
}

static inline int fake_read(const struct block_source *source, uint64_t offset, void *buffer,
                            size_t length, struct error *err)
{
    struct fake_image *fake = fake_of(source);
    (void)err;
    fake->busy++;
    fake->reads++;
    fake_wait(fake);
    memcpy(buffer, fake->bytes + offset, length);
    fake->busy--;
    return 0;
}

static inline int fake_write(struct image *image, uint64_t offset, const void *data, size_t length,
                             struct error *err)
{
    struct fake_image *fake = fake_of(image);
    int failure = atomic_load(&fake->fail_write);
    if (failure)
        return error_set(err, failure, "write %zu bytes", length);
    fake->busy++;
    fake->writes++;
    fake_wait(fake);
    memcpy(fake->bytes + offset, data, length);
    fake->busy--;
    return 0;
}

static inline int fake_write_zeroes(struct image *image, uint64_t offset, uint64_t length,
                                    struct error *err)
{
    (void)err;
    fake_of(image)->zeroes++;
    memset(fake_of(image)->bytes + offset, 0, length);
    return 0;
}

static inline int fake_flush(struct image *image, struct error *err)
{
    int failure = atomic_load(&fake_of(image)->fail_flush);
    if (failure)
        return error_set(err, failure, "fsync");
    fake_of(image)->flushes++;
    return 0;
}

static inline void fake_close(struct image *image)
{
    if (fake_of(image)->is_closed)
        atomic_store(fake_of(image)->is_closed, true);
    free(image);
}

static inline void fake_get_info(const struct image *image, struct image_info *info)
{
    (void)image;
    info->cluster_size = 65536;
}

static const struct block_source_ops fake_source_ops = {.read = fake_read};
static const struct image_driver fake_driver = {
    .name = "fake",
    .write = fake_write,
    .write_zeroes = fake_write_zeroes,
    .flush = fake_flush,
    .close = fake_close,
    .get_info = fake_get_info,
};

static inline struct fake_image *fake_new(void)
{
    struct fake_image *fake = calloc(1, sizeof(*fake));
    static char path[] = "fake.img";

    assert_non_null(fake);
    fake->image = (struct image){
        .source = {.ops = &fake_source_ops, .size_bytes = DISK_BYTES},
        .driver = &fake_driver,
        .path = path,
        .is_writable = true,
    };
    for (size_t i = 0; i < DISK_BYTES; i++)
        fake->bytes[i] = (uint8_t)(i / 512 + i);
    return fake;
}

/* --- a log that counts ----------------------------------------------------------------------- */

struct counting_log {
    struct log log;
    atomic_uint lines;
    char last[ERROR_TEXT_SIZE];
};

static inline void counting_emit(struct log *log, enum log_level level, const char *line)
{
    struct counting_log *counting = (struct counting_log *)log;
    (void)level;
    counting->lines++;
    snprintf(counting->last, sizeof(counting->last), "%s", line);
}

/* --- a disk with its driver ------------------------------------------------------------------ */

#define BLK_FEATURES                                                                               \
    (UINT64_C(1) << VIRTIO_BLK_F_FLUSH | UINT64_C(1) << VIRTIO_BLK_F_DISCARD |                     \
     UINT64_C(1) << VIRTIO_BLK_F_WRITE_ZEROES | UINT64_C(1) << VIRTIO_F_EVENT_IDX |                \
     UINT64_C(1) << VIRTIO_F_INDIRECT_DESC)

struct disk_test {
    struct driver_ram ram;
    struct driver_plug plug;
    struct driver_ring rings[VIRTIO_MAX_QUEUES];
    struct fake_image *fake;
    struct virtio_device *device;
    struct counting_log log;
    struct error err;
};

static inline int disk_set_up(void **state)
{
    struct disk_test *test = calloc(1, sizeof(*test));

    assert_non_null(test);
    test->log.log.emit = counting_emit;
    test->fake = fake_new();
    driver_ram_init(&test->ram, (size_t)8 << 20);
    *state = test;
    return 0;
}

/* Takes what options leave open; then as a driver with these features. */
static inline void disk_start(struct disk_test *test, struct virtio_blk_options options,
                              uint64_t features)
{
    if (!options.image)
        options.image = &test->fake->image;
    if (!options.queues)
        options.queues = 1;
    options.log = &test->log.log;
    test->device = virtio_blk_new(&options, &test->err);
    assert_non_null(test->device);
    for (unsigned i = 0; i < options.queues; i++)
        driver_ring_init(&test->rings[i], &test->ram, 256);
    driver_plug_in(&test->plug, test->device, &test->ram.memory);
    assert_int_equal(driver_start(&test->plug, test->rings, features, &test->err), 0);
}

static inline int disk_tear_down(void **state)
{
    struct disk_test *test = *state;

    if (test->device)
        driver_unplug(&test->plug);
    else
        image_close(&test->fake->image);
    driver_ram_fini(&test->ram);
    free(test);
    return 0;
}

/* A request: header, data, status, each a buffer of its own. */
struct disk_request {
    uint64_t header, data, status;
    uint32_t length;
    uint16_t head;
};

static inline struct disk_request disk_prepare(struct disk_test *test, uint32_t type,
                                               uint64_t sector, uint32_t length)
{
    struct disk_request request = {
        .header = driver_ram_take(&test->ram, 16, 16),
        .data = driver_ram_take(&test->ram, length ? length : 1, 512),
        .status = driver_ram_take(&test->ram, 1, 1),
        .length = length,
    };
    uint8_t *header = driver_ram_at(&test->ram, request.header);

    store_le32(header, type);
    store_le64(header + 8, sector);
    *driver_ram_at(&test->ram, request.status) = 0xee;
    return request;
}

static inline void disk_offer(struct disk_test *test, unsigned queue, struct disk_request *request)
{
    uint8_t type = *driver_ram_at(&test->ram, request->header);
    bool is_read = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
    struct driver_part parts[3] = {
        {request->header, 16, false},
        {request->data, request->length, is_read},
        {request->status, 1, true},
    };

    if (request->length == 0)
        parts[1] = parts[2];
    request->head = driver_ring_add(&test->rings[queue], parts, request->length ? 3 : 2);
}

static inline uint8_t *disk_data(const struct disk_test *test, const struct disk_request *request)
{
    return driver_ram_at(&test->ram, request->data);
}

static inline uint8_t disk_status(const struct disk_test *test, const struct disk_request *request)
{
    return *driver_ram_at(&test->ram, request->status);
}

static inline uint32_t disk_wait(struct disk_test *test, unsigned queue)
{
    uint32_t head, written = 0;

    assert_true(driver_ring_wait(&test->rings[queue], &head, &written));
    return written;
}

/* Offers it, kicks, waits; its status. */
static inline uint8_t disk_do(struct disk_test *test, struct disk_request *request)
{
    disk_offer(test, 0, request);
    driver_kick(&test->plug, 0);
    disk_wait(test, 0);
    return disk_status(test, request);
}

static inline uint8_t disk_ask(struct disk_test *test, uint32_t type, uint64_t sector,
                               uint32_t length)
{
    struct disk_request request = disk_prepare(test, type, sector, length);

    return disk_do(test, &request);
}

#endif
