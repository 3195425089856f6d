/* Rows of numbers: set, copied, summed and gathered. `stride` leads from one row to the next. */
#ifndef GPUBP_ROWS_H
#define GPUBP_ROWS_H

#include <string.h>

#include "elementary.h"

static void set_rows(real* to, integer n_rows, integer n, const real* row) {
    for (integer c = 0; c < n_rows; ++c) {
        for (integer i = 0; i < n; ++i) to[c * n + i] = row[i];
    }
}

static void copy_rows(real* to, integer to_stride, const real* rows, integer stride, integer n_rows, integer n) {
    for (integer c = 0; c < n_rows; ++c) memcpy(to + c * to_stride, rows + c * stride, (size_t)n * sizeof(real));
}

/* Set rows to the sums of parts that are `apart` from each other, and of `row` unless it is NULL. */
static void add_parts(
    real* to, integer n_rows, integer n, const real* parts, integer n_parts, integer apart, integer stride,
    const real* row
) {
    for (integer c = 0; c < n_rows; ++c) {
        real* const sums = to + c * n;
        const real* const first = parts + c * stride;
        if (row) {
            for (integer i = 0; i < n; ++i) sums[i] = row[i] + first[i];
        } else {
            for (integer i = 0; i < n; ++i) sums[i] = first[i];
        }
        for (integer part = 1; part < n_parts; ++part) {
            const real* const other = first + part * apart;
            for (integer i = 0; i < n; ++i) sums[i] += other[i];
        }
    }
}

/* Add the sum of rows; four at a time, since a sum in memory has to wait for itself. */
static void add_rows(real* to, integer n_rows, integer n, const real* rows, integer stride) {
    const integer whole = n_rows - n_rows % 4;
    for (integer c = 0; c < whole; c += 4) {
        const real *const r0 = rows + c * stride, *const r1 = r0 + stride, *const r2 = r1 + stride, *const r3 = r2 + stride;
        for (integer i = 0; i < n; ++i) to[i] += (r0[i] + r1[i]) + (r2[i] + r3[i]);
    }
    for (integer c = whole; c < n_rows; ++c) {
        const real* const r0 = rows + c * stride;
        for (integer i = 0; i < n; ++i) to[i] += r0[i];
    }
}

/* Set rows to those that `chosen` names. */
static void gather(real* to, integer n, const real* rows, const integer* chosen, integer n_rows) {
    for (integer c = 0; c < n_rows; ++c) {
        const real* const row = rows + chosen[c] * n;
        real* const copy = to + c * n;
        for (integer i = 0; i < n; ++i) copy[i] = row[i];
    }
}

/* Multiply rows by rows of factors. */
static void multiply_rows(
    real* rows, integer stride, const real* factors, integer factors_stride, integer n_rows, integer n
) {
    for (integer c = 0; c < n_rows; ++c) {
        for (integer i = 0; i < n; ++i) rows[c * stride + i] *= factors[c * factors_stride + i];
    }
}

/* Mix rows of outputs f(x) with rows of total inputs x: y = x + a (f(x) - x), with one a for each column. */
static void mix_rows(real* y, const real* x, const real* f, const real* a, integer n_rows, integer n) {
    for (integer c = 0; c < n_rows; ++c) {
        for (integer i = 0; i < n; ++i) y[c * n + i] = x[c * n + i] + a[i] * (f[c * n + i] - x[c * n + i]);
    }
}

/* Add the derivatives at the weights a: sums over rows of dE/dy (f(x) - x). */
static void add_mixed_rows(real* to, const real* dE_dy, const real* x, const real* f, integer n_rows, integer n) {
    for (integer c = 0; c < n_rows; ++c) {
        for (integer i = 0; i < n; ++i) to[i] += dE_dy[c * n + i] * (f[c * n + i] - x[c * n + i]);
    }
}

/* Add (1 - a) dE/dy, with one a for each column. */
static void add_unmixed_rows(real* rows, integer stride, const real* dE_dy, const real* a, integer n_rows, integer n) {
    for (integer c = 0; c < n_rows; ++c) {
        for (integer i = 0; i < n; ++i) rows[c * stride + i] += (1 - a[i]) * dE_dy[c * n + i];
    }
}

static integer all_finite(const real* numbers, integer n_rows, integer n, integer stride) {
    integer finite = 1;
    for (integer c = 0; c < n_rows; ++c) {
        const real* const row = numbers + c * stride;
        real zeros = 0; /* NaN if any number is not finite */
        for (integer i = 0; i < n; ++i) zeros += row[i] * 0;
        finite &= zeros == 0;
    }
    return finite;
}

/* Sum the squares, in eight sums at once: the order does not matter to people, who read the result. */
static double sum_of_squares(const real* numbers, integer n_rows, integer n, integer stride) {
    double sums[8] = {0};
    if (stride == n) {
        n *= n_rows;
        n_rows = 1;
    }
    for (integer c = 0; c < n_rows; ++c) {
        const real* const row = numbers + c * stride;
        integer i = 0;
        for (; i + 8 <= n; i += 8) {
            for (integer k = 0; k < 8; ++k) sums[k] += (double)row[i + k] * (double)row[i + k];
        }
        for (; i < n; ++i) sums[0] += (double)row[i] * (double)row[i];
    }
    return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

#endif
