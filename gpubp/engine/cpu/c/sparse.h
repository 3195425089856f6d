/* Sparse samples: their products with the columns that a share has of the first layer's weights. */
#ifndef GPUBP_SPARSE_H
#define GPUBP_SPARSE_H

#include "rows.h"

/* Rows of a sparse matrix (CSR): the present batch's, in their order. */
struct sparse_rows {
    const real* values;
    const void* columns;
    const void* starts;
    integer bits;          /* of columns and starts: 32 or 64 */
    const integer* order;  /* NULL: consecutive rows from `first` on */
    integer first, n;
};

static integer sparse_number(const void* numbers, integer bits, integer k) {
    return bits == 32 ? ((const int32_t*)numbers)[k] : ((const int64_t*)numbers)[k];
}

/* Where a row's values begin, and in `end` where they end. */
static integer sparse_row(const struct sparse_rows* x, integer c, integer* end) {
    const integer row = x->order ? x->order[c] : x->first + c;
    *end = sparse_number(x->starts, x->bits, row + 1);
    return sparse_number(x->starts, x->bits, row);
}

/* total (b, n) += x w */
static void add_sparse_product(const struct sparse_rows* x, const real* w, integer stride, real* total, integer n) {
    for (integer c = 0; c < x->n; ++c) {
        integer end;
        for (integer k = sparse_row(x, c, &end); k < end; ++k) {
            const real* const weights = w + sparse_number(x->columns, x->bits, k) * stride;
            for (integer i = 0; i < n; ++i) total[c * n + i] += x->values[k] * weights[i];
        }
    }
}

/* gradient += x^T signals */
static void add_sparse_gradient(
    const struct sparse_rows* x, const real* signals, integer signals_stride, real* gradient, integer stride, integer n
) {
    for (integer c = 0; c < x->n; ++c) {
        integer end;
        for (integer k = sparse_row(x, c, &end); k < end; ++k) {
            real* const sums = gradient + sparse_number(x->columns, x->bits, k) * stride;
            for (integer i = 0; i < n; ++i) sums[i] += x->values[k] * signals[c * signals_stride + i];
        }
    }
}

/* Set the rows of a gradient that a batch has changed to 0 again. */
static void clear_sparse_gradient(const struct sparse_rows* x, real* gradient, integer stride, integer n) {
    for (integer c = 0; c < x->n; ++c) {
        integer end;
        for (integer k = sparse_row(x, c, &end); k < end; ++k) {
            memset(gradient + sparse_number(x->columns, x->bits, k) * stride, 0, (size_t)n * sizeof(real));
        }
    }
}

#endif
