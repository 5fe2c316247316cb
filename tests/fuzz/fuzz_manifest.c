/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A manifest's file from anywhere. The input's closing sum is made right first: without that hardly
 * anything but the sum would be tested. Whatever is taken must keep its promises.
 */
#include "formats/digest.h"
#include "formats/manifest.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool is_true)
{
    if (!is_true)
        abort();
}

/* Few chunks are looked at one by one: a run of a few bytes may be of 64 TiB. */
static void walk(const struct manifest *manifest)
{
    uint64_t step = manifest->chunk_count / 4096 + 1;

    require(manifest->chunk_count > 0 && manifest->size_bytes <= MANIFEST_MAX_SIZE);
    for (uint64_t i = 0; i < manifest->chunk_count; i += step) {
        static const struct chunk_name none;
        bool is_named = memcmp(manifest_name(manifest, i), &none, sizeof(none)) != 0;

        require(manifest_state(manifest, i) <= CHUNK_UNREADABLE);
        require(manifest_state(manifest, i) == CHUNK_DATA || !is_named);
        require(manifest_chunk_length(manifest, i) > 0);
    }
    for (size_t i = 0; i < manifest->change_count; i++) {
        require(manifest->changes[i].index < manifest->chunk_count);
        require(i == 0 || manifest->changes[i].index > manifest->changes[i - 1].index);
    }
    require(memchr(manifest->image, 0, sizeof(manifest->image)) != NULL);
}

static void decode(const uint8_t *data, size_t size)
{
    struct error err = {0};
    struct manifest manifest;

    if (manifest_decode(&manifest, data, size, &err) < 0)
        require(err.text[0] != 0);
    else
        walk(&manifest);
    manifest_fini(&manifest);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *sealed;

    decode(data, size);
    if (size < DIGEST_SIZE)
        return 0;
    sealed = malloc(size);
    require(sealed != NULL);
    memcpy(sealed, data, size);
    digest_compute(sealed, size - DIGEST_SIZE, sealed + size - DIGEST_SIZE);
    decode(sealed, size);
    free(sealed);
    return 0;
}
