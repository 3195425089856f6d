/* Products of matrices that fit into a core's caches, for which a general BLAS spends too long on copies and checks.
 *
 * b is copied panel by panel, each as wide as a tile, so that its rows lie together; a is read where it is, by any two
 * strides. A tile of c stays in registers while all terms are added to it, in their order: an element's bits depend on
 * the number of terms alone. */
#ifndef GPUBP_TILES_H
#define GPUBP_TILES_H

#include <string.h>

#include "elementary.h"

#if defined(__AVX512F__)
#include <immintrin.h>
enum { VECTOR_BYTES = 64, TILE_ROWS = 12 }; /* so many accumulators leave registers for the rest */
#elif defined(__AVX2__)
#include <immintrin.h>
enum { VECTOR_BYTES = 32, TILE_ROWS = 6 };
#elif defined(__aarch64__)
#include <arm_neon.h>
enum { VECTOR_BYTES = 16, TILE_ROWS = 8 };
#else
enum { VECTOR_BYTES = 16, TILE_ROWS = 6 };
#endif
enum { VECTOR_LENGTH = VECTOR_BYTES / sizeof(real), TILE_COLUMNS = 2 * VECTOR_LENGTH, MOST_TERMS = 256 };

typedef real vector __attribute__((vector_size(VECTOR_BYTES)));

/* a b + c, rounded once where the processor can */
static inline vector multiply_add(vector a, vector b, vector c) {
#if defined(__AVX512F__) && PRECISION == 32
    return (vector)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__AVX512F__)
    return (vector)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#elif defined(__AVX2__) && PRECISION == 32
    return (vector)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__AVX2__)
    return (vector)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#elif defined(__aarch64__) && PRECISION == 32
    return (vector)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#elif defined(__aarch64__)
    return (vector)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
#else
    return a * b + c;
#endif
}

/* A matrix whose element (i, j) is at i * down + j * across. */
struct strided {
    const real* at;
    integer down, across;
};

/* Copy columns of b (n_terms, n) from `first` on, with zeros where there are fewer than a tile has. */
static void copy_panel(struct strided b, integer n_terms, integer first, integer n, real* panel) {
    const real* const from = b.at + first * b.across;
    if (n < TILE_COLUMNS) memset(panel, 0, (size_t)(n_terms * TILE_COLUMNS) * sizeof(real));
    if (b.across == 1 && n == TILE_COLUMNS) {
        for (integer term = 0; term < n_terms; ++term) {
            memcpy(panel + term * TILE_COLUMNS, from + term * b.down, TILE_COLUMNS * sizeof(real));
        }
    } else if (b.across == 1) {
        for (integer term = 0; term < n_terms; ++term) {
            for (integer j = 0; j < n; ++j) panel[term * TILE_COLUMNS + j] = from[term * b.down + j];
        }
    } else {
        for (integer j = 0; j < n; ++j) {
            for (integer term = 0; term < n_terms; ++term) {
                panel[term * TILE_COLUMNS + j] = from[term * b.down + j * b.across];
            }
        }
    }
}

/* Set, or add to, a tile of c: `n_rows` rows of `n_vectors` vectors, constants where this is inlined; n columns count. */
static inline __attribute__((always_inline)) void multiply_tile(
    int n_rows, int n_vectors, struct strided a, const real* panel, integer n_terms, integer n, int adds, real* c,
    integer c_stride
) {
    vector sums[TILE_ROWS][2];
    for (int i = 0; i < n_rows; ++i) {
        for (int part = 0; part < n_vectors; ++part) sums[i][part] = (vector){0};
    }
    for (integer term = 0; term < n_terms; ++term) {
        vector factors[2];
        memcpy(factors, panel + term * TILE_COLUMNS, (size_t)n_vectors * sizeof(vector));
        for (int i = 0; i < n_rows; ++i) {
            const vector factor = a.at[i * a.down + term * a.across] - (vector){0};
            for (int part = 0; part < n_vectors; ++part) {
                sums[i][part] = multiply_add(factor, factors[part], sums[i][part]);
            }
        }
    }
    for (int i = 0; i < n_rows; ++i) {
        real* const row = c + i * c_stride;
        if (n < n_vectors * VECTOR_LENGTH) {
            real all[TILE_COLUMNS];
            memcpy(all, sums[i], (size_t)n_vectors * sizeof(vector));
            for (integer j = 0; j < n; ++j) row[j] = adds ? row[j] + all[j] : all[j];
            continue;
        }
        for (int part = 0; part < n_vectors; ++part) {
            vector before;
            memcpy(&before, row + part * VECTOR_LENGTH, sizeof before);
            before = adds ? before + sums[i][part] : sums[i][part];
            memcpy(row + part * VECTOR_LENGTH, &before, sizeof before);
        }
    }
}

/* c (m, n) = a (m, k) b (k, n), or added to c */
static void multiply_by_tiles(
    integer m, integer n, integer k, struct strided a, struct strided b, int adds, real* c, integer c_stride
) {
    real panel[MOST_TERMS * TILE_COLUMNS] __attribute__((aligned(64)));
    for (integer term = 0; term < k; term += MOST_TERMS) {
        const integer n_terms = k - term < MOST_TERMS ? k - term : MOST_TERMS;
        const struct strided b_terms = {b.at + term * b.down, b.down, b.across};
        for (integer column = 0; column < n; column += TILE_COLUMNS) {
            const integer n_columns = n - column < TILE_COLUMNS ? n - column : TILE_COLUMNS;
            copy_panel(b_terms, n_terms, column, n_columns, panel);
            const int added = adds || term;
            integer row = 0;
#define TILES(n_rows, n_vectors)                                                                                       \
    for (; row + (n_rows) <= m; row += (n_rows)) {                                                                     \
        const struct strided rows = {a.at + row * a.down + term * a.across, a.down, a.across};                         \
        real* const to = c + row * c_stride + column;                                                                  \
        multiply_tile(n_rows, n_vectors, rows, panel, n_terms, n_columns, added, to, c_stride);                         \
    }
            if (n_columns > VECTOR_LENGTH) {
                TILES(TILE_ROWS, 2)
                TILES(4, 2)
                TILES(1, 2)
            } else {
                TILES(TILE_ROWS, 1)
                TILES(4, 1)
                TILES(1, 1)
            }
#undef TILES
        }
    }
}

#endif
