/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * SHA-256 over data that comes in pieces. The algorithm is looked up in OpenSSL once a process.
 * Out of memory, or an OpenSSL without SHA-256, ends the program: nothing here can do without.
 */
#ifndef FORMATS_DIGEST_H
#define FORMATS_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#define DIGEST_SIZE 32

struct digest {
    void *context; /* EVP_MD_CTX */
};

void digest_init(struct digest *digest);
void digest_fini(struct digest *digest); /* {0} is fine */

void digest_add(struct digest *digest, const void *data, size_t length);
void digest_finish(struct digest *digest, uint8_t result[DIGEST_SIZE]);

/* All of that in one call. Thread-safe. */
void digest_compute(const void *data, size_t length, uint8_t result[DIGEST_SIZE]);

#endif
