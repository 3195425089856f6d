/* What the generated loops need; `real` and `integer` are defined before.
 *
 * Sums have LANES partial sums, so that compilers can use vector instructions; their order depends on nothing but the
 * number of terms.
 */
#ifndef GPUBP_LOOPS_H
#define GPUBP_LOOPS_H

/* The next loop writes to no element that another of its turns reads. */
#if defined(__clang__)
#define ELEMENTWISE_LOOP _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define ELEMENTWISE_LOOP _Pragma("GCC ivdep")
#else
#define ELEMENTWISE_LOOP
#endif

#define LANES 16

/* Rows of x, y, targets and dE are b samples of j units. They are `stride` apart, those of dE in a derivative dE_stride. */

/* y from x; y may be x. */
typedef void value_function(real parameter, integer b, integer j, integer stride, const real* x, real* y);

/* dE: derivatives by y in, by x out. */
typedef void derivative_function(real parameter, integer b, integer j, integer stride, const real* x, const real* y,
                                 real* dE, integer dE_stride);

/* Return the loss of all samples, weighted if weights is not NULL; set dE to its derivative, at the outputs or at the
 * total inputs. At the outputs x is not read; at the total inputs y is not read, and its contents are lost. workspace is
 * for b * j numbers. */
typedef double loss_function(real parameter, integer b, integer j, integer stride, const real* x, real* y,
                             const real* targets, const real* weights, real* dE, real* workspace);

/* Take a step with g = (gradient + l2 * theta) * scale. Rows of theta, first and second are `stride` apart, those of the
 * gradient have no gaps. first and second are the arrays of the optimizer's state, NULL where it has fewer; the
 * factors are of each parameter's change and of its weight decay, NULL unless the optimizer has them. */
typedef void update_function(integer n_rows, integer n_columns, integer stride, real* theta, const real* gradient,
                             real* first, real* second, const real* rate_factors, const real* decay_factors, real l2,
                             real scale, const real* settings);

/* NaN if any is. */
static inline real largest_of(integer n, const real* a) {
    real largest = a[0];
    int nan = 0;
    integer i = 0;
    if (n >= 2 * LANES) {
        real lanes[LANES];
        int nan_lanes[LANES] = {0};
        for (int k = 0; k < LANES; ++k) lanes[k] = a[k];
        for (; i + LANES <= n; i += LANES) {
            for (int k = 0; k < LANES; ++k) {
                lanes[k] = a[i + k] > lanes[k] ? a[i + k] : lanes[k];
                nan_lanes[k] |= a[i + k] != a[i + k];
            }
        }
        for (int k = 0; k < LANES; ++k) {
            largest = lanes[k] > largest ? lanes[k] : largest;
            nan |= nan_lanes[k];
        }
    }
    for (; i < n; ++i) {
        largest = a[i] > largest ? a[i] : largest;
        nan |= a[i] != a[i];
    }
    return nan ? (real)NAN : largest;
}

static inline real sum_of(integer n, const real* a) {
    real sum = 0;
    integer i = 0;
    if (n >= 2 * LANES) {
        real lanes[LANES] = {0};
        for (; i + LANES <= n; i += LANES) {
            for (int k = 0; k < LANES; ++k) lanes[k] += a[i + k];
        }
        for (int k = 0; k < LANES; ++k) sum += lanes[k];
    }
    for (; i < n; ++i) sum += a[i];
    return sum;
}

static inline double precise_sum_of(integer n, const real* a) {
    double sum = 0;
    integer i = 0;
    if (n >= 2 * LANES) {
        double lanes[LANES] = {0};
        for (; i + LANES <= n; i += LANES) {
            for (int k = 0; k < LANES; ++k) lanes[k] += (double)a[i + k];
        }
        for (int k = 0; k < LANES; ++k) sum += lanes[k];
    }
    for (; i < n; ++i) sum += (double)a[i];
    return sum;
}

/* Add up the losses of b * j outputs, and scale the rows of dE, by the weights of the samples. */
static inline double weighted_loss(integer b, integer j, const real* losses, const real* weights, real* dE,
                                   integer stride) {
    double sum = 0;
    for (integer c = 0; c < b; ++c) {
        double loss = precise_sum_of(j, losses + c * j);
        if (weights) {
            loss *= (double)weights[c];
            ELEMENTWISE_LOOP
            for (integer i = 0; i < j; ++i) dE[c * stride + i] *= weights[c];
        }
        sum += loss;
    }
    return sum;
}

#endif
