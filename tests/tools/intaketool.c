/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Receives a machine into a pool without a network, by the same intake and receiver as the server,
 * for the shell tests of `rehost finish`. Not installed.
 *
 *     intaketool POOL NAME renewed|same INVENTORY RAW...
 *
 * prints the folder and how many bytes were sent and were there.
 */
#include "base/bytes.h"
#include "base/checked.h"
#include "base/text.h"
#include "formats/image.h"
#include "p2v/server/intake.h"
#include "p2v/server/receiver.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct error error;

/* The offers are of a few chunks; all zero ones are runs. */
static int send_chunk(struct receiver *receiver, const struct block_source *source, uint64_t index)
{
    uint8_t data[CHUNK_SIZE], wanted[1];
    size_t length = (size_t)min_u64(CHUNK_SIZE, source->size_bytes - index * CHUNK_SIZE);
    struct chunk_name name;
    if (block_source_read(source, index * CHUNK_SIZE, data, length, &error) != 0)
        return -1;
    if (bytes_are_zero(data, length))
        return receiver_run(receiver, index, 1, CHUNK_ZERO, &error);
    chunk_name_compute(data, length, &name);
    if (receiver_offer(receiver, index, 1, &name, wanted, &error) != 0)
        return -1;
    return wanted[0] & 1 ? receiver_store(receiver, index, 1, &name, data, length, &error) : 0;
}

static void take_counts(struct receiver *receiver, struct received_disk *disk)
{
    struct receiver_counts counts;
    struct disksum digest;
    receiver_get_counts(receiver, &counts);
    receiver_digest(receiver, &digest);
    disk->sent_bytes = counts.stored_bytes;
    disk->had_bytes = counts.had_bytes;
    disk->copied_bytes = counts.copied_bytes;
    disk->unreadable_bytes = counts.unreadable_bytes;
    memcpy(disk->digest, digest.bytes, sizeof(disk->digest));
}

static int receive(const struct intake *intake, size_t index, const char *path,
                   struct received_disk *disk)
{
    struct image_open_options raw = {.format = "raw"};
    uint8_t id[32] = {(uint8_t)index};
    AUTO_PTR(image) image = image_open(path, &raw, &error);
    if (!image)
        return -1;
    struct receiver_options options = {.folder = intake->folder,
                                       .base_folder = intake->base,
                                       .disk_index = index,
                                       .format = "qcow2",
                                       .size_bytes = image->source.size_bytes,
                                       .disk_id = id,
                                       .source = path};
    AUTO_PTR(receiver) receiver = receiver_open(&options, &error);
    if (!receiver)
        return -1;
    uint64_t count = div_round_up(image->source.size_bytes, CHUNK_SIZE);
    for (uint64_t i = 0; i < count; i++) {
        if (send_chunk(receiver, &image->source, i) != 0)
            return -1;
    }
    *disk = (struct received_disk){.format = "qcow2", .size_bytes = image->source.size_bytes};
    snprintf(disk->name, sizeof(disk->name), "sd%c", (char)('a' + index));
    take_counts(receiver, disk);
    return receiver_finish(receiver, 1, &error);
}

static int receive_all(struct intake *intake, const char *inventory, char **paths, int count)
{
    struct received received = {.consistency = WIRE_AT_REST, .seconds = 1};
    uint64_t sent = 0, had = 0;
    snprintf(received.machine, sizeof(received.machine), "%s", intake->name);
    if (intake_set_inventory(intake, inventory, strlen(inventory), &error) != 0)
        return -1;
    for (int i = 0; i < count; i++) {
        struct received_disk *disk = &received.disks[received.disk_count++];
        if (receive(intake, (size_t)i, paths[i], disk) != 0)
            return -1;
        sent += disk->sent_bytes;
        had += disk->had_bytes;
    }
    printf("%s %" PRIu64 " %" PRIu64 "\n", intake->folder, sent, had);
    return intake_complete(intake, &received, &error);
}

static int run(int argc, char **argv)
{
    struct pool pool;
    struct intake intake;
    if (pool_open(&pool, argv[1], POOL_SERVE, &error) != 0)
        return -1;
    int result =
        intake_open(&intake, &pool, argv[2], strcmp(argv[3], "renewed") == 0, NULL, &error);
    if (result == 0)
        result = receive_all(&intake, argv[4], argv + 5, argc - 5);
    intake_close(&intake);
    pool_fini(&pool);
    return result;
}

int main(int argc, char **argv)
{
    if (argc < 6 || argc > 5 + WIRE_MAX_DISKS) {
        fprintf(stderr, "usage: intaketool POOL NAME renewed|same INVENTORY RAW...\n");
        return 2;
    }
    if (run(argc, argv) == 0)
        return 0;
    fprintf(stderr, "intaketool: %s\n", error.text);
    return 1;
}
