/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The verification: threads take stretches of the disk, skip what is a hole in the image and not
 * data in the manifest, and compare the rest.
 */
#include "p2v/verify.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/extents.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VERIFY_STRETCH (64 * MIB) /* what a thread takes at once */
#define VERIFY_READ (1 * MIB)     /* what it reads at once */
#define VERIFY_MAX_THREADS 16

struct verifier {
    const struct verify_job *job;
    pthread_mutex_t lock; /* guards what follows */
    uint64_t next;        /* offset of the next stretch */
    struct verify_result *result;
    bool has_failed;
    struct error error;
};

struct checker {
    pthread_t thread;
    struct verifier *verifier;
    uint8_t *buffer; /* VERIFY_READ */
    uint64_t hashed_bytes;
};

const char *verify_fault_text(enum verify_fault fault)
{
    static const char *const texts[] = {
        [VERIFY_CHANGED] = "differs from the manifest",
        [VERIFY_NOT_ZERO] = "is not zero as in the manifest",
        [VERIFY_UNREADABLE] = "cannot be read",
    };
    return texts[fault];
}

static int compare_differences(const void *left, const void *right)
{
    uint64_t a = ((const struct verify_difference *)left)->offset;
    uint64_t b = ((const struct verify_difference *)right)->offset;
    return (a > b) - (a < b);
}

static void report(struct verifier *verifier, uint64_t offset, enum verify_fault fault)
{
    struct verify_result *result = verifier->result;
    pthread_mutex_lock(&verifier->lock);
    size_t kept = (size_t)min_u64(result->difference_count, VERIFY_MAX_KEPT);
    struct verify_difference *place = NULL;
    if (kept < VERIFY_MAX_KEPT)
        place = &result->differences[kept++];
    else if (offset < result->differences[kept - 1].offset)
        place = &result->differences[kept - 1];
    if (place) {
        *place = (struct verify_difference){offset, fault};
        qsort(result->differences, kept, sizeof(*place), compare_differences);
    }
    result->difference_count++;
    pthread_mutex_unlock(&verifier->lock);
}

static void check_chunk(struct checker *checker, uint64_t index, const uint8_t *data)
{
    const struct manifest *manifest = checker->verifier->job->manifest;
    size_t length = manifest_chunk_length(manifest, index);
    checker->hashed_bytes += length;
    if (manifest_state(manifest, index) != CHUNK_DATA) {
        if (!bytes_are_zero(data, length))
            report(checker->verifier, index * CHUNK_SIZE, VERIFY_NOT_ZERO);
        return;
    }
    struct chunk_name name;
    chunk_name_compute(data, length, &name);
    if (memcmp(&name, manifest_name(manifest, index), sizeof(name)) != 0)
        report(checker->verifier, index * CHUNK_SIZE, VERIFY_CHANGED);
}

static bool has_data_chunk(const struct manifest *manifest, uint64_t offset, uint64_t length)
{
    for (uint64_t at = offset; at < offset + length; at += CHUNK_SIZE) {
        if (manifest_state(manifest, at / CHUNK_SIZE) == CHUNK_DATA)
            return true;
    }
    return false;
}

/* One chunk alone, where a larger read failed. */
static void check_alone(struct checker *checker, uint64_t offset)
{
    const struct verify_job *job = checker->verifier->job;
    size_t length = manifest_chunk_length(job->manifest, offset / CHUNK_SIZE);
    if (block_source_read(job->image, offset, checker->buffer, length, NULL) != 0)
        report(checker->verifier, offset, VERIFY_UNREADABLE);
    else
        check_chunk(checker, offset / CHUNK_SIZE, checker->buffer);
}

static void check_piece(struct checker *checker, uint64_t offset, uint64_t length)
{
    const struct verify_job *job = checker->verifier->job;
    bool is_read =
        block_source_read(job->image, offset, checker->buffer, (size_t)length, NULL) == 0;
    for (uint64_t at = 0; at < length; at += CHUNK_SIZE) {
        if (is_read)
            check_chunk(checker, (offset + at) / CHUNK_SIZE, checker->buffer + at);
        else
            check_alone(checker, offset + at);
    }
}

static void check_stretch(struct checker *checker, uint64_t offset, uint64_t length)
{
    const struct verify_job *job = checker->verifier->job;
    struct extents data = {0};
    /* A map that cannot be read hides nothing: then everything is looked at. */
    bool is_mapped = block_source_map(job->image, offset, length, &data, NULL) == 0;
    for (uint64_t at = offset; at < offset + length; at += VERIFY_READ) {
        uint64_t piece = min_u64(VERIFY_READ, offset + length - at);
        if (!is_mapped || extents_touch(&data, at, piece) ||
            has_data_chunk(job->manifest, at, piece))
            check_piece(checker, at, piece);
    }
    extents_fini(&data);
}

static bool take_stretch(struct checker *checker, uint64_t done, uint64_t *offset, uint64_t *length)
{
    struct verifier *verifier = checker->verifier;
    const struct verify_job *job = verifier->job;
    pthread_mutex_lock(&verifier->lock);
    verifier->result->checked_bytes += done;
    verifier->result->hashed_bytes += checker->hashed_bytes;
    checker->hashed_bytes = 0;
    if (done && job->progress)
        job->progress(job->context, verifier->result->checked_bytes);
    if (job->stop && atomic_load(job->stop) && !verifier->has_failed) {
        verifier->has_failed = true;
        error_set(&verifier->error, ECANCELED, "stopped");
    }
    *offset = verifier->next;
    *length = min_u64(VERIFY_STRETCH, job->manifest->size_bytes - verifier->next);
    bool is_more = !verifier->has_failed && *length > 0;
    verifier->next += *length;
    pthread_mutex_unlock(&verifier->lock);
    return is_more;
}

static void *check(void *argument)
{
    struct checker *checker = argument;
    uint64_t offset, length = 0;
    while (take_stretch(checker, length, &offset, &length))
        check_stretch(checker, offset, length);
    return NULL;
}

static int start_checker(struct checker *checker, struct verifier *verifier, struct error *err)
{
    checker->verifier = verifier;
    checker->buffer = malloc(VERIFY_READ);
    if (!checker->buffer)
        return error_set(err, ENOMEM, "buffers for verifying");
    int result = pthread_create(&checker->thread, NULL, check, checker);
    if (result == 0)
        return 0;
    free(checker->buffer);
    return error_set(err, result, "start a thread");
}

static unsigned thread_count(unsigned wanted)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (wanted == 0)
        wanted = cores > 0 ? (unsigned)cores : 1;
    return wanted < VERIFY_MAX_THREADS ? wanted : VERIFY_MAX_THREADS;
}

static void fail(struct verifier *verifier, const struct error *error)
{
    pthread_mutex_lock(&verifier->lock);
    if (!verifier->has_failed)
        verifier->error = *error;
    verifier->has_failed = true;
    pthread_mutex_unlock(&verifier->lock);
}

int verify_image(const struct verify_job *job, struct verify_result *result, struct error *err)
{
    struct verifier verifier = {.job = job, .result = result};
    struct checker checkers[VERIFY_MAX_THREADS] = {0};
    unsigned wanted = thread_count(job->threads), started = 0;
    *result = (struct verify_result){0};
    pthread_mutex_init(&verifier.lock, NULL);
    for (; started < wanted; started++) {
        struct error error = {0};
        if (start_checker(&checkers[started], &verifier, &error) != 0) {
            fail(&verifier, &error);
            break;
        }
    }
    for (unsigned i = 0; i < started; i++) {
        pthread_join(checkers[i].thread, NULL);
        free(checkers[i].buffer);
    }
    pthread_mutex_destroy(&verifier.lock);
    if (verifier.has_failed && err)
        *err = verifier.error;
    return verifier.has_failed ? -1 : 0;
}
