/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Two SHA-256 side by side with x86's SHA extensions: FIPS 180-4, 6.2; Intel's manual has what the
 * instructions take: the state as ABEF and CDGH, four words of the message at a time.
 */
#include "formats/digest_pair.h"

#include "base/bytes.h"

#include <string.h>

static void compute_by_turns(const void *const data[2], size_t length,
                             uint8_t results[2][DIGEST_SIZE])
{
    for (size_t i = 0; i < 2; i++)
        digest_compute(data[i], length, results[i]);
}

#if !defined(__x86_64__)

void digest_compute_pair(const void *const data[2], size_t length, uint8_t results[2][DIGEST_SIZE])
{
    compute_by_turns(data, length, results);
}

#else

#include <cpuid.h>
#include <immintrin.h>
#include <pthread.h>
#include <stdbool.h>

#define WITH_SHA __attribute__((target("sha,sse4.1")))
#define INLINE_WITH_SHA __attribute__((target("sha,sse4.1"), always_inline)) static inline

#define BLOCK 64u
#define STEPS 16u     /* of four rounds */
#define LAST_STEP 12u /* that still makes words for one behind it */

struct state {
    __m128i abef, cdgh;
};

static const uint32_t rounds[4 * STEPS] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

/* Sixteen words, big-endian, as four vectors. */
INLINE_WITH_SHA void load_words(__m128i words[4], const uint8_t *block)
{
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);

    for (size_t i = 0; i < 4; i++)
        words[i] = _mm_shuffle_epi8(
            _mm_loadu_si128((const __m128i_u *)(const void *)(block + 16 * i)), swap);
}

INLINE_WITH_SHA void four_rounds(struct state *state, __m128i words, size_t step)
{
    __m128i sum =
        _mm_add_epi32(words, _mm_load_si128((const __m128i *)(const void *)(rounds + 4 * step)));

    state->cdgh = _mm_sha256rnds2_epu32(state->cdgh, state->abef, sum);
    state->abef = _mm_sha256rnds2_epu32(state->abef, state->cdgh, _mm_shuffle_epi32(sum, 0x0e));
}

/* The words of the fourth step behind this one take the place of this one's. */
INLINE_WITH_SHA void make_words(__m128i words[4], size_t step)
{
    __m128i *first = &words[step % 4], second = words[(step + 1) % 4],
            third = words[(step + 2) % 4], fourth = words[(step + 3) % 4];
    __m128i sum =
        _mm_add_epi32(_mm_sha256msg1_epu32(*first, second), _mm_alignr_epi8(fourth, third, 4));

    *first = _mm_sha256msg2_epu32(sum, fourth);
}

INLINE_WITH_SHA void add_state(struct state *state, const struct state *other)
{
    state->abef = _mm_add_epi32(state->abef, other->abef);
    state->cdgh = _mm_add_epi32(state->cdgh, other->cdgh);
}

/* The steps of both alternate: while one's result is awaited the other's instructions run. */
WITH_SHA static void add_blocks(struct state states[2], const uint8_t *const data[2], size_t count)
{
    struct state a = states[0], b = states[1];

    for (size_t at = 0; at < count * BLOCK; at += BLOCK) {
        const struct state old_a = a, old_b = b;
        __m128i words_a[4], words_b[4];

        load_words(words_a, data[0] + at);
        load_words(words_b, data[1] + at);
#pragma GCC unroll 16
        for (size_t step = 0; step < STEPS; step++) {
            four_rounds(&a, words_a[step % 4], step);
            four_rounds(&b, words_b[step % 4], step);
            if (step < LAST_STEP) {
                make_words(words_a, step);
                make_words(words_b, step);
            }
        }
        add_state(&a, &old_a);
        add_state(&b, &old_b);
    }
    states[0] = a;
    states[1] = b;
}

/* What is left of the data, and the padding: one block or two. */
static size_t make_end(uint8_t end[2 * BLOCK], const uint8_t *rest, size_t rest_length,
                       uint64_t length)
{
    size_t count = rest_length + 1 + 8 > BLOCK ? 2 : 1;

    memset(end, 0, 2 * BLOCK);
    if (rest_length > 0)
        memcpy(end, rest, rest_length);
    end[rest_length] = 0x80;
    store_be64(end + count * BLOCK - 8, length * 8);
    return count;
}

WITH_SHA static void store_result(const struct state *state, uint8_t result[DIGEST_SIZE])
{
    uint32_t abef[4], cdgh[4];

    _mm_storeu_si128((__m128i_u *)(void *)abef, state->abef);
    _mm_storeu_si128((__m128i_u *)(void *)cdgh, state->cdgh);
    const uint32_t words[] = {abef[3], abef[2], cdgh[3], cdgh[2],
                              abef[1], abef[0], cdgh[1], cdgh[0]};
    for (size_t i = 0; i < 8; i++)
        store_be32(result + 4 * i, words[i]);
}

WITH_SHA static void compute_at_once(const void *const data[2], size_t length,
                                     uint8_t results[2][DIGEST_SIZE])
{
    const struct state begin = {
        .abef = _mm_set_epi32(0x6a09e667, (int)0xbb67ae85, 0x510e527f, (int)0x9b05688c),
        .cdgh = _mm_set_epi32(0x3c6ef372, (int)0xa54ff53a, 0x1f83d9ab, 0x5be0cd19)};
    const uint8_t *both[2] = {data[0], data[1]};
    struct state states[2] = {begin, begin};
    uint8_t ends[2][2 * BLOCK];
    size_t whole = length / BLOCK * BLOCK, count = 0;

    add_blocks(states, both, length / BLOCK);
    for (size_t i = 0; i < 2; i++) {
        count = make_end(ends[i], both[i] + whole, length - whole, length);
        both[i] = ends[i];
    }
    add_blocks(states, both, count);
    for (size_t i = 0; i < 2; i++)
        store_result(&states[i], results[i]);
}

static pthread_once_t looked = PTHREAD_ONCE_INIT;
static bool has_instructions;

static void look(void)
{
    unsigned a, b, c, d;

    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_SSE4_1) || !(c & bit_SSSE3))
        return;
    has_instructions = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA);
}

void digest_compute_pair(const void *const data[2], size_t length, uint8_t results[2][DIGEST_SIZE])
{
    pthread_once(&looked, look);
    if (has_instructions)
        compute_at_once(data, length, results);
    else
        compute_by_turns(data, length, results);
}

#endif
