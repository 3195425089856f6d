/* Masks of dropout: the numbers of gpubp/engine/plain/dropout.py, which says what the words of the counters are, by
 * Philox 4x32-10 (Salmon et al. 2011; gpubp/engine/plain/philox.py).
 *
 * A vector's lanes have 64 bits, of which the lower 32 are a word: products of words are what the instruction for it
 * gives, their upper halves are a shift away, and the upper bits of a lane need not be cleared. Compilers do not find
 * this form by themselves. */
#ifndef GPUBP_PHILOX_H
#define GPUBP_PHILOX_H

#include <string.h>

#include "elementary.h"

#if defined(__AVX512F__)
#include <immintrin.h>
typedef uint64_t lanes __attribute__((vector_size(64)));
#define multiply_words(a, b) ((lanes)_mm512_mul_epu32((__m512i)(a), (__m512i)(b)))
#elif defined(__AVX2__)
#include <immintrin.h>
typedef uint64_t lanes __attribute__((vector_size(32)));
#define multiply_words(a, b) ((lanes)_mm256_mul_epu32((__m256i)(a), (__m256i)(b)))
#elif defined(__SSE2__)
#include <emmintrin.h>
typedef uint64_t lanes __attribute__((vector_size(16)));
#define multiply_words(a, b) ((lanes)_mm_mul_epu32((__m128i)(a), (__m128i)(b)))
#else
typedef uint64_t lanes __attribute__((vector_size(16)));
#define multiply_words(a, b) (((a) & 0xFFFFFFFFu) * ((b) & 0xFFFFFFFFu))
#endif

/* What the words of all units of a layer have in common in a step. */
struct philox_place {
    uint32_t key[2];             /* of the network: its low and its high half */
    integer epoch, first, layer; /* first: the position in the epoch of the batch's first sample */
};

enum { COUNTERS_AT_ONCE = 64, WORDS_OF_LANES = sizeof(lanes) / sizeof(uint64_t) };

/* Compute random words, the lower halves of what is returned, of counters whose first two words are given. */
static void philox(uint64_t words[4][COUNTERS_AT_ONCE], const struct philox_place* place) {
    const lanes factor_0 = (lanes){0} + 0xD2511F53u, factor_1 = (lanes){0} + 0xCD9E8D57u;
    for (int at = 0; at < COUNTERS_AT_ONCE; at += WORDS_OF_LANES) {
        lanes c0, c1, c2 = (lanes){0} + (uint64_t)place->epoch, c3 = (lanes){0} + (uint64_t)place->layer;
        memcpy(&c0, words[0] + at, sizeof(lanes));
        memcpy(&c1, words[1] + at, sizeof(lanes));
        uint32_t key_0 = place->key[0], key_1 = place->key[1];
        for (int round = 0; round < 10; ++round) {
            const lanes p0 = multiply_words(c0, factor_0), p1 = multiply_words(c2, factor_1);
            c0 = (p1 >> 32) ^ c1 ^ key_0;
            c1 = p1;
            c2 = (p0 >> 32) ^ c3 ^ key_1;
            c3 = p0;
            key_0 += 0x9E3779B9u;
            key_1 += 0xBB67AE85u;
        }
        memcpy(words[0] + at, &c0, sizeof(lanes));
        memcpy(words[1] + at, &c1, sizeof(lanes));
        memcpy(words[2] + at, &c2, sizeof(lanes));
        memcpy(words[3] + at, &c3, sizeof(lanes));
    }
}

/* The mask of `units` units of a layer from `low` on, for n consecutive samples: rows without gaps. */
static void philox_mask(
    real* mask, integer n, integer low, integer units, const struct philox_place* place, double rate
) {
    const double scaled = rint(rate * 4294967296.0);
    const uint32_t threshold = scaled < 4294967295.0 ? (uint32_t)scaled : 0xFFFFFFFFu;
    const real factor = (real)(1 / (1 - rate));
    const integer first_group = low / 4, n_groups = (low + units + 3) / 4 - first_group, total = n * n_groups;
    const integer skipped = low - 4 * first_group; /* units of the first group that are not wanted */
    integer row = 0, group = 0;                    /* of the next counter */
    for (integer done = 0; done < total; done += COUNTERS_AT_ONCE) {
        uint64_t words[4][COUNTERS_AT_ONCE];
        real factors[4 * COUNTERS_AT_ONCE];
        integer r = row, g = group;
        for (int i = 0; i < COUNTERS_AT_ONCE; ++i) {
            words[0][i] = (uint64_t)(first_group + group);
            words[1][i] = (uint64_t)(place->first + row);
            const integer ends = ++group == n_groups;
            row += ends;
            group = ends ? 0 : group;
        }
        philox(words, place);
        for (int i = 0; i < COUNTERS_AT_ONCE; ++i) {
            for (int k = 0; k < 4; ++k) factors[4 * i + k] = (uint32_t)words[k][i] < threshold ? 0 : factor;
        }
        const integer n_counters = total - done < COUNTERS_AT_ONCE ? total - done : COUNTERS_AT_ONCE;
        if (!skipped && units % 4 == 0) {
            memcpy(mask + 4 * done, factors, (size_t)(4 * n_counters) * sizeof(real));
            continue;
        }
        for (integer i = 0; i < n_counters; ++r) { /* the groups of a row that are among these */
            const integer n_here = n_groups - g < n_counters - i ? n_groups - g : n_counters - i;
            const integer from = g ? 4 * g - skipped : 0;
            const integer to = 4 * (g + n_here) - skipped < units ? 4 * (g + n_here) - skipped : units;
            memcpy(mask + r * units + from, factors + 4 * i + (g ? 0 : skipped), (size_t)(to - from) * sizeof(real));
            i += n_here;
            g = 0;
        }
    }
}

#endif
