/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The manifest as a file (docs/manifest.md): what its reader and its writer share. Private to them.
 *
 *     header 80 | image, source | runs: 4 each, then 32 for each name | changes, 48 each | SHA-256
 */
#ifndef FORMATS_MANIFEST_FILE_H
#define FORMATS_MANIFEST_FILE_H

#include "base/error.h"
#include "formats/manifest.h"

#include <stdbool.h>
#include <stdint.h>

#define MANIFEST_MAGIC "REHOSTMF"
#define MANIFEST_VERSION 1
#define MANIFEST_NAME_SHA256 1
#define MANIFEST_HEADER_SIZE 80
#define MANIFEST_RUN_SIZE 4
#define MANIFEST_CHANGE_SIZE 48
#define MANIFEST_BUFFER_SIZE 65536

/* A run is a state in the top two bits and its length less one in the others. */
#define MANIFEST_RUN_STATE_SHIFT 30
#define MANIFEST_RUN_LENGTH_MASK ((UINT32_C(1) << MANIFEST_RUN_STATE_SHIFT) - 1)

_Static_assert(MANIFEST_MAX_SIZE / CHUNK_SIZE <= (uint64_t)MANIFEST_RUN_LENGTH_MASK + 1,
               "the longest run fits");

/* What stands in the header besides the two texts. */
struct manifest_header {
    uint64_t file_bytes;
    uint64_t size_bytes;
    uint64_t run_count, name_count, change_count;
    uint32_t image_length, source_length;
};

/* Size of a file with these counts; false when no file can have it. */
bool manifest_header_file_bytes(const struct manifest_header *header, uint64_t *bytes);

/* The image is a plain file name, and neither text has control characters. */
int manifest_texts_validate(const struct manifest *manifest, struct error *err);

#endif
