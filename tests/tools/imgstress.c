/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * imgstress IMAGE FORMAT FOLDER RAW THREADS SEED OPERATIONS: writes to an image in place by several
 * threads at once, as a guest with several queues does. RAW is a plain file with what the image
 * shows; it gets the same writes, so that another tool can compare the two.
 */
#include "base/io.h"
#include "tests/lib/image_stress.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

static int run(struct image *image, uint8_t *model, char **argv, struct error *err)
{
    static const unsigned stripes[] = {1, 5, 64, 128, 129, 1000};
    struct image_stress stress = {
        .image = image,
        .model = model,
        .threads = (unsigned)atoi(argv[5]),
        .operations = (unsigned)atoi(argv[7]),
        .may_zero = true,
    };

    if (stress.threads < 1 || stress.threads > STRESS_MAX_THREADS)
        return error_set(err, EINVAL, "%s threads", argv[5]);
    for (unsigned i = 0; i < ARRAY_LENGTH(stripes); i++) {
        stress.stripe_sectors = stripes[i];
        stress.seed = (unsigned)atoi(argv[6]) * 100 + i;
        if (image_stress_run(&stress, err) < 0)
            return error_wrap(err, "stripes of %u sectors", stripes[i]);
    }
    return image_flush(image, err);
}

static int open_and_run(char **argv, struct error *err)
{
    struct image_open_options options = {
        .format = argv[2], .is_writable = true, .backing_folder = argv[3]};
    AUTO_PTR(image) image = image_open(argv[1], &options, err);
    AUTO_CLOSE int fd = open(argv[4], O_RDWR | O_CLOEXEC);
    uint64_t size;
    int result;

    if (!image || fd < 0 || io_size(fd, &size, err) < 0)
        return fd < 0 ? error_set(err, errno, "open %s", argv[4]) : -1;
    if (size != image->source.size_bytes)
        return error_set(err, 0, "%s has another size than the image", argv[4]);
    uint8_t *model = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (model == MAP_FAILED)
        return error_set(err, errno, "map %s", argv[4]);
    result = run(image, model, argv, err);
    munmap(model, (size_t)size);
    return result;
}

int main(int argc, char **argv)
{
    struct error err = {0};

    if (argc != 8) {
        fprintf(stderr, "imgstress IMAGE FORMAT FOLDER RAW THREADS SEED OPERATIONS\n");
        return 2;
    }
    if (open_and_run(argv, &err) == 0)
        return 0;
    fprintf(stderr, "imgstress: %s\n", err.text);
    return 1;
}
