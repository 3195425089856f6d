/* Products of matrices: by SciPy's BLAS, by tiles where these are faster, or by plain loops where a call costs more.
 *
 * A matrix may be part of a larger one: a stride leads from one of its rows to the next. Which way a product takes
 * depends on its shape alone, so the same product gives the same bits. */
#ifndef GPUBP_PRODUCTS_H
#define GPUBP_PRODUCTS_H

#include "tiles.h"

typedef void gemm_function(
    char* a_form, char* b_form, int* m, int* n, int* k, real* alpha, real* a, int* a_stride, real* b, int* b_stride,
    real* beta, real* c, int* c_stride
);

enum { SMALL = 256 }; /* multiplications of a product that loops do: beyond, they take longer than a call */

/* Multiplications from which on tiles are faster than BLAS, and to which: OpenBLAS has kernels for small matrices where
 * there is AVX-512, and copies rows of a as well, which pays once they leave the caches. */
#ifdef __AVX512F__
enum { LEAST_OF_TILES = 1000000 };
#else
enum { LEAST_OF_TILES = SMALL };
#endif
enum { MOST_OF_TILES = 1 << 24, NARROWEST_OF_TILES = 16, FARTHEST_OF_TILES = 4096 / sizeof(real) };

/* Rows of a that are a multiple of 4096 bytes apart push each other out of the cache. */
static int suits_tiles(integer m, integer n, integer k, integer a_stride) {
    const integer size = m * n * k;
    return n >= NARROWEST_OF_TILES && size > LEAST_OF_TILES && size <= MOST_OF_TILES && a_stride % FARTHEST_OF_TILES;
}

/* Fortran sees rows as columns, and so computes the transposed product of the transposed matrices. */
static void call_gemm(
    void* gemm, integer m, integer n, integer k, const real* a, char a_form, integer a_stride, const real* b,
    char b_form, integer b_stride, real kept, real* c, integer c_stride
) {
    int rows = (int)m, columns = (int)n, terms = (int)k, a_step = (int)a_stride, b_step = (int)b_stride;
    int c_step = (int)c_stride;
    real one = 1;
    ((gemm_function*)gemm)(
        &b_form, &a_form, &columns, &rows, &terms, &one, (real*)b, &b_step, (real*)a, &a_step, &kept, c, &c_step
    );
}

/* c (m, n) = a (m, k) b (k, n) + kept c, by loops */
static void multiply_by_loops(
    integer m, integer n, integer k, const real* a, integer a_stride, const real* b, integer b_stride, real kept,
    real* c, integer c_stride
) {
    for (integer row = 0; row < m; ++row) {
        real* const sums = c + row * c_stride;
        if (kept == 0) {
            for (integer i = 0; i < n; ++i) sums[i] = 0;
        }
        for (integer term = 0; term < k; ++term) {
            const real factor = a[row * a_stride + term];
            const real* const terms = b + term * b_stride;
            for (integer i = 0; i < n; ++i) sums[i] += factor * terms[i];
        }
    }
}

/* c (m, n) = a (m, k) b (k, n) + kept c */
static void multiply(
    void* gemm, integer m, integer n, integer k, const real* a, integer a_stride, const real* b, integer b_stride,
    real kept, real* c, integer c_stride
) {
    if (m > 1 && suits_tiles(m, n, k, a_stride)) {
        const struct strided a_at = {a, a_stride, 1}, b_at = {b, b_stride, 1};
        multiply_by_tiles(m, n, k, a_at, b_at, kept != 0, c, c_stride);
    } else if (m > 1 && m * n * k > SMALL) {
        call_gemm(gemm, m, n, k, a, 'N', a_stride, b, 'N', b_stride, kept, c, c_stride);
    } else {
        multiply_by_loops(m, n, k, a, a_stride, b, b_stride, kept, c, c_stride);
    }
}

/* c (m, n) = a^T b + kept c with a (k, m) and b (k, n) */
static void multiply_transposed_first(
    void* gemm, integer m, integer n, integer k, const real* a, integer a_stride, const real* b, integer b_stride,
    real kept, real* c, integer c_stride
) {
    if (suits_tiles(m, n, k, a_stride)) {
        const struct strided a_at = {a, 1, a_stride}, b_at = {b, b_stride, 1};
        multiply_by_tiles(m, n, k, a_at, b_at, kept != 0, c, c_stride);
        return;
    }
    if (m * n * k > SMALL) {
        call_gemm(gemm, m, n, k, a, 'T', a_stride, b, 'N', b_stride, kept, c, c_stride);
        return;
    }
    for (integer row = 0; kept == 0 && row < m; ++row) {
        for (integer i = 0; i < n; ++i) c[row * c_stride + i] = 0;
    }
    for (integer term = 0; term < k; ++term) {
        const real* const terms = b + term * b_stride;
        for (integer row = 0; row < m; ++row) {
            const real factor = a[term * a_stride + row];
            real* const sums = c + row * c_stride;
            for (integer i = 0; i < n; ++i) sums[i] += factor * terms[i];
        }
    }
}

/* c (m, n) = a b^T + kept c with a (m, k) and b (n, k) */
static void multiply_transposed_second(
    void* gemm, integer m, integer n, integer k, const real* a, integer a_stride, const real* b, integer b_stride,
    real kept, real* c, integer c_stride
) {
    if (suits_tiles(m, n, k, a_stride)) {
        const struct strided a_at = {a, a_stride, 1}, b_at = {b, 1, b_stride};
        multiply_by_tiles(m, n, k, a_at, b_at, kept != 0, c, c_stride);
        return;
    }
    if (m * n * k > SMALL) {
        call_gemm(gemm, m, n, k, a, 'N', a_stride, b, 'T', b_stride, kept, c, c_stride);
        return;
    }
    for (integer row = 0; row < m; ++row) {
        for (integer i = 0; i < n; ++i) {
            real sum = kept == 0 ? 0 : c[row * c_stride + i];
            for (integer term = 0; term < k; ++term) sum += a[row * a_stride + term] * b[i * b_stride + term];
            c[row * c_stride + i] = sum;
        }
    }
}

#endif
