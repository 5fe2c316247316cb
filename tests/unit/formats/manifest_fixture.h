/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * For the unit tests of manifests: a folder for their files, and a small one that has every state.
 */
#ifndef TESTS_UNIT_FORMATS_MANIFEST_FIXTURE_H
#define TESTS_UNIT_FORMATS_MANIFEST_FIXTURE_H

#include "base/bytes.h"
#include "base/io.h"
#include "formats/digest.h"
#include "formats/manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define HEADER 80

static char folder[] = "/tmp/test-manifest-XXXXXX";
static int folder_fd = -1;

static inline int make_folder(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return folder_fd < 0 ? -1 : 0;
}

static inline int remove_folder(void **state)
{
    (void)state;
    unlinkat(folder_fd, "disk0.manifest", 0);
    close(folder_fd);
    return rmdir(folder);
}

static inline struct chunk_name name_of(const char *text)
{
    struct chunk_name name;

    chunk_name_compute(text, strlen(text), &name);
    return name;
}

static inline void assert_name(const struct chunk_name *name, const char *text)
{
    struct chunk_name expected = name_of(text);

    assert_memory_equal(name, &expected, sizeof(expected));
}

static inline void set_data(struct manifest *manifest, uint64_t index, const char *text)
{
    struct chunk_name name = name_of(text);

    manifest_set(manifest, index, CHUNK_DATA, &name);
}

/* Ten chunks and one byte: skipped, data, data, zero, unreadable, data, then skipped. */
static inline void make_small(struct manifest *manifest)
{
    assert_int_equal(manifest_init(manifest, 10 * CHUNK_SIZE + 1, NULL), 0);
    snprintf(manifest->image, sizeof(manifest->image), "disk0.qcow2");
    snprintf(manifest->source, sizeof(manifest->source), "server.img");
    set_data(manifest, 1, "one");
    set_data(manifest, 2, "two");
    manifest_set(manifest, 3, CHUNK_ZERO, NULL);
    manifest_set(manifest, 4, CHUNK_UNREADABLE, NULL);
    set_data(manifest, 5, "five");
}

static inline void assert_small(const struct manifest *manifest)
{
    static const enum chunk_state states[11] = {CHUNK_SKIPPED, CHUNK_DATA,       CHUNK_DATA,
                                                CHUNK_ZERO,    CHUNK_UNREADABLE, CHUNK_DATA};

    assert_int_equal(manifest->size_bytes, 10 * CHUNK_SIZE + 1);
    assert_int_equal(manifest->chunk_count, 11);
    for (uint64_t i = 0; i < 11; i++)
        assert_int_equal(manifest_state(manifest, i), states[i]);
    assert_name(manifest_name(manifest, 1), "one");
    assert_name(manifest_name(manifest, 2), "two");
    assert_name(manifest_name(manifest, 5), "five");
    assert_true(bytes_are_zero(manifest_name(manifest, 3), CHUNK_NAME_SIZE));
    assert_string_equal(manifest->image, "disk0.qcow2");
    assert_string_equal(manifest->source, "server.img");
}

/* The file of a manifest; caller frees. */
static inline char *written(const struct manifest *manifest, size_t *length)
{
    struct error err = {0};
    char *data = NULL;

    if (manifest_write(manifest, folder_fd, "disk0.manifest", &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(io_read_file(folder_fd, "disk0.manifest", 512 * MIB, &data, length, &err), 0);
    return data;
}

static inline char *written_small(size_t *length)
{
    AUTO(manifest) manifest;

    make_small(&manifest);
    return written(&manifest, length);
}

#endif
