/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Drives the image drivers from shell tests: reads an image into a raw file, makes images, writes
 * patterns in place. Not installed. Run it without arguments for its verbs.
 */
#include "base/bytes.h"
#include "base/checked.h"
#include "formats/image.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#define STEP ((size_t)2 << 20)
#define CLUSTER 65536u

static struct error error;

static struct image *open_named(const char *path, const char *format, bool is_writable,
                                const char *folder)
{
    struct image_open_options options = {.format = strcmp(format, "-") ? format : NULL,
                                         .is_writable = is_writable,
                                         .backing_folder = folder};

    return image_open(path, &options, &error);
}

/* read IMAGE FORMAT FOLDER OUT: every byte, plain reads. */
static int verb_read(char **argv)
{
    AUTO_PTR(image) from = open_named(argv[0], argv[1], false, argv[2]);
    struct image_create_options options = {.format = "raw"};
    AUTO_FREE char *buffer = malloc(STEP);

    if (!from)
        return -1;
    options.size_bytes = from->source.size_bytes;
    AUTO_PTR(image) to = image_create(argv[3], &options, &error);

    if (!to)
        return -1;
    /* 65537 bytes first: later steps are not aligned to clusters. */
    for (uint64_t at = 0, step = 65537; at < options.size_bytes; at += step, step = STEP) {
        step = min_u64(step, options.size_bytes - at);
        if (block_source_read(&from->source, at, buffer, step, &error) < 0 ||
            image_write(to, at, buffer, step, &error) < 0)
            return -1;
    }
    return image_finish(to, &error);
}

static int copy_frame(struct image *to, uint64_t at, const char *data, size_t length, int level)
{
    char cluster[CLUSTER] = {0}, frame[CLUSTER];
    size_t got;

    memcpy(cluster, data, length);
    if (level < 0) { /* zlib */
        z_stream stream = {.next_in = (Bytef *)cluster,
                           .avail_in = CLUSTER,
                           .next_out = (Bytef *)frame,
                           .avail_out = CLUSTER - 1};

        deflateInit2(&stream, 1, Z_DEFLATED, -12, 9, Z_DEFAULT_STRATEGY);
        got = deflate(&stream, Z_FINISH) == Z_STREAM_END ? stream.total_out : 0;
        deflateEnd(&stream);
    } else {
        got = ZSTD_compress(frame, CLUSTER - 1, cluster, CLUSTER, level);
        if (ZSTD_isError(got))
            got = 0;
    }
    if (got == 0)
        return image_write(to, at, data, length, &error);
    return image_write_frame(to, at, frame, got, &error);
}

static int copy_range(const struct image *from, struct image *to, const struct extent *range,
                      const char *how, char *buffer)
{
    size_t unit = strcmp(how, "none") ? CLUSTER : STEP;

    for (uint64_t at = range->offset, end = at + range->length; at < end;) {
        size_t step = (size_t)min_u64(unit, end - at);
        int result;

        if (block_source_read(&from->source, at, buffer, step, &error) < 0)
            return -1;
        if (strcmp(how, "none") == 0)
            result = image_write(to, at, buffer, step, &error);
        else
            result = copy_frame(to, at, buffer, step, strcmp(how, "zlib") ? 1 : -1);
        if (result < 0)
            return -1;
        at += step;
    }
    return 0;
}

/* convert IMAGE FORMAT FOLDER OUT OUTFORMAT none|zlib|zstd: what the map says is data. */
static int verb_convert(char **argv)
{
    AUTO_PTR(image) from = open_named(argv[0], argv[1], false, argv[2]);
    AUTO_FREE char *buffer = malloc(STEP);
    AUTO(extents) data = {0};
    struct image_create_options options = {.format = argv[4]};

    if (!from)
        return -1;
    options.size_bytes = from->source.size_bytes;
    if (strcmp(argv[5], "none") != 0)
        options.compression =
            strcmp(argv[5], "zlib") ? IMAGE_COMPRESSION_ZSTD : IMAGE_COMPRESSION_ZLIB;
    if (block_source_map(&from->source, 0, options.size_bytes, &data, &error) < 0 ||
        extents_align(&data, CLUSTER, options.size_bytes, &error) < 0)
        return -1;
    AUTO_PTR(image) to = image_create(argv[3], &options, &error);

    if (!to)
        return -1;
    for (size_t i = 0; i < data.count; i++) {
        if (copy_range(from, to, &data.items[i], argv[5], buffer) < 0)
            return -1;
    }
    return image_finish(to, &error);
}

/* overlay OUT BACKING BACKINGFORMAT SIZE */
static int verb_overlay(char **argv)
{
    struct image_create_options options = {.format = "qcow2",
                                           .backing_path = argv[1],
                                           .backing_format = argv[2],
                                           .size_bytes = strtoull(argv[3], NULL, 0)};
    AUTO_PTR(image) image = image_create(argv[0], &options, &error);

    return image ? image_finish(image, &error) : -1;
}

static int write_random(struct image *image, uint64_t offset, uint64_t length)
{
    AUTO_FREE unsigned char *data = malloc(length);

    if (random() % 4 == 0)
        return image_write_zeroes(image, offset, length, &error);
    for (uint64_t i = 0; i < length; i++)
        data[i] = (unsigned char)random();
    return image_write(image, offset, data, length, &error);
}

/* scribble IMAGE FORMAT FOLDER SEED COUNT: random writes in place; the same on every image. */
static int verb_scribble(char **argv)
{
    AUTO_PTR(image) image = open_named(argv[0], argv[1], true, argv[2]);
    long count = atol(argv[4]);

    if (!image)
        return -1;
    srandom((unsigned)atol(argv[3]));
    for (long i = 0; i < count; i++) {
        uint64_t unit = random() % 2 ? 512 : CLUSTER;
        uint64_t units = image->source.size_bytes / unit;
        uint64_t offset = ((uint64_t)random() << 20 ^ (uint64_t)random()) % units * unit;
        uint64_t length = ((uint64_t)random() % (random() % 8 ? 8 : 40) + 1) * unit;

        if (write_random(image, offset, min_u64(length, image->source.size_bytes - offset)) < 0)
            return -1;
    }
    return image_finish(image, &error);
}

/* info IMAGE FORMAT FOLDER */
static int verb_info(char **argv)
{
    AUTO_PTR(image) image = open_named(argv[0], argv[1], false, argv[2]);
    struct image_info info;

    if (!image)
        return -1;
    image_get_info(image, &info);
    printf("format %s size %llu cluster %u version %u snapshots %u backing %s %s\n",
           image->driver->name, (unsigned long long)image->source.size_bytes, info.cluster_size,
           info.version, info.snapshots, info.backing_file ? info.backing_file : "-",
           info.backing_format ? info.backing_format : "-");
    return 0;
}

/* map IMAGE FORMAT FOLDER: the ranges that may hold data, and how many bytes of it the file stores.
 */
static int verb_map(char **argv)
{
    AUTO_PTR(image) image = open_named(argv[0], argv[1], false, argv[2]);
    AUTO(extents) data = {0};

    if (!image || block_source_map(&image->source, 0, image->source.size_bytes, &data, &error) < 0)
        return -1;
    for (size_t i = 0; i < data.count; i++)
        printf("%llu %llu\n", (unsigned long long)data.items[i].offset,
               (unsigned long long)data.items[i].length);
    return 0;
}

/* hold IMAGE FORMAT FOLDER r|w SECONDS: keeps it open (and locked). */
static int verb_hold(char **argv)
{
    AUTO_PTR(image) image = open_named(argv[0], argv[1], argv[3][0] == 'w', argv[2]);

    if (!image)
        return -1;
    puts("open");
    fflush(stdout);
    sleep((unsigned)atoi(argv[4]));
    return 0;
}

static const struct verb {
    const char *name;
    int arguments;
    int (*run)(char **argv);
    const char *usage;
} verbs[] = {
    {"read", 4, verb_read, "IMAGE FORMAT FOLDER OUT"},
    {"convert", 6, verb_convert, "IMAGE FORMAT FOLDER OUT OUTFORMAT none|zlib|zstd"},
    {"overlay", 4, verb_overlay, "OUT BACKING BACKINGFORMAT SIZE"},
    {"scribble", 5, verb_scribble, "IMAGE FORMAT FOLDER SEED COUNT"},
    {"info", 3, verb_info, "IMAGE FORMAT FOLDER"},
    {"map", 3, verb_map, "IMAGE FORMAT FOLDER"},
    {"hold", 5, verb_hold, "IMAGE FORMAT FOLDER r|w SECONDS"},
};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < ARRAY_LENGTH(verbs); i++) {
        if (strcmp(argv[1], verbs[i].name) != 0 || argc != 2 + verbs[i].arguments)
            continue;
        if (verbs[i].run(argv + 2) == 0)
            return 0;
        fprintf(stderr, "imgtool: %s\n", error.text);
        return 1;
    }
    for (size_t i = 0; i < ARRAY_LENGTH(verbs); i++)
        fprintf(stderr, "imgtool %s %s\n", verbs[i].name, verbs[i].usage);
    return 2;
}
