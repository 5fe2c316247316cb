/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * SHA-256 by OpenSSL's EVP. Fetching an algorithm by name takes locks and walks tables, so it is
 * done once; a context by call costs well under a microsecond against some thirty for a chunk.
 */
#include "formats/digest.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>

static pthread_once_t sha256_once = PTHREAD_ONCE_INIT;
static EVP_MD *sha256;

static void sha256_fetch(void)
{
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
}

static void require(int is_good)
{
    if (!is_good)
        abort();
}

void digest_init(struct digest *digest)
{
    require(pthread_once(&sha256_once, sha256_fetch) == 0 && sha256 != NULL);
    digest->context = EVP_MD_CTX_new();
    require(digest->context != NULL);
    require(EVP_DigestInit_ex2(digest->context, sha256, NULL));
}

void digest_fini(struct digest *digest)
{
    EVP_MD_CTX_free(digest->context);
    digest->context = NULL;
}

void digest_add(struct digest *digest, const void *data, size_t length)
{
    require(EVP_DigestUpdate(digest->context, data, length));
}

void digest_finish(struct digest *digest, uint8_t result[DIGEST_SIZE])
{
    unsigned length = 0;

    require(EVP_DigestFinal_ex(digest->context, result, &length) && length == DIGEST_SIZE);
}

void digest_compute(const void *data, size_t length, uint8_t result[DIGEST_SIZE])
{
    struct digest digest;

    digest_init(&digest);
    digest_add(&digest, data, length);
    digest_finish(&digest, result);
    digest_fini(&digest);
}
