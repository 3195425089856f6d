/* The type of numbers, and elementary functions of which compilers make vector instructions: no branches, no calls.
 *
 * exp(a) is 2**n * exp(r) with a = n * log(2) + r and r at most half of log(2), where a few terms of the power series
 * give all digits. Adding TO_WHOLE rounds to n and leaves it in the number's last bits, from where it is shifted to be
 * an exponent. Results below four times the smallest normal number are 0. */
#ifndef GPUBP_ELEMENTARY_H
#define GPUBP_ELEMENTARY_H

#include <float.h>
#include <math.h>
#include <stdbool.h>

#include "engine.h"

#if PRECISION == 32
typedef float real;
typedef uint32_t bits;
#define DIGITS 23
#define EXPONENT 126 /* the bias less 1: half of the power */
#define TO_WHOLE 12582912.0f
#define LOG2_E 1.44269504088896340736f
#define LN2_HIGH 0.693359375f
#define LN2_LOW -2.12194440e-4f
#define LOWEST -85.95025f  /* log of four times the smallest normal number */
#define HIGHEST 88.72284f
#define SMALLEST_NORMAL FLT_MIN
#define real_log logf
#define real_log1p log1pf
#define real_cos cosf
#define real_sin sinf
#define real_sqrt sqrtf
#define real_abs fabsf
#define copy_sign copysignf
#else
typedef double real;
typedef uint64_t bits;
#define DIGITS 52
#define EXPONENT 1022
#define TO_WHOLE 6755399441055744.0
#define LOG2_E 1.44269504088896340736
#define LN2_HIGH 0.693147182464599609375
#define LN2_LOW -1.904654299957768878541e-09
#define LOWEST -707.0101241711442
#define HIGHEST 709.782712893384
#define SMALLEST_NORMAL DBL_MIN
#define real_log log
#define real_log1p log1p
#define real_cos cos
#define real_sin sin
#define real_sqrt sqrt
#define real_abs fabs
#define copy_sign copysign
#endif

union number {
    real value;
    bits bits;
};

/* exp(r) - 1 by the series, and half of 2**n. */
static inline real exponential_parts(real a, real* half) {
    real bounded = a < LOWEST ? LOWEST : a;
    bounded = bounded > HIGHEST ? HIGHEST : bounded;
    union number shifted = {bounded * LOG2_E + TO_WHOLE};
    const real n = shifted.value - TO_WHOLE;
    const real r = (bounded - n * LN2_HIGH) - n * LN2_LOW;
#if PRECISION == 32
    real p = 1.0f / 5040.0f;
    p = p * r + 1.0f / 720.0f;
#else
    real p = 1.0 / 6227020800.0;
    p = p * r + 1.0 / 479001600.0;
    p = p * r + 1.0 / 39916800.0;
    p = p * r + 1.0 / 3628800.0;
    p = p * r + 1.0 / 362880.0;
    p = p * r + 1.0 / 40320.0;
    p = p * r + 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
#endif
    p = p * r + (real)(1.0 / 120.0);
    p = p * r + (real)(1.0 / 24.0);
    p = p * r + (real)(1.0 / 6.0);
    p = p * r + (real)0.5;
    p = p * r + (real)1.0;
    shifted.bits = (shifted.bits + EXPONENT) << DIGITS;
    *half = shifted.value;
    return p * r;
}

static inline real real_exp(real a) {
    real half;
    const real rest = exponential_parts(a, &half);
    real y = (rest * half + half) * 2;
    y = a > HIGHEST ? (real)INFINITY : y;
    y = a < LOWEST ? 0 : y;
    return a != a ? a : y;
}

/* Round a number below 2**22 to a whole one. */
static inline real real_round(real a) { return (a + TO_WHOLE) - TO_WHOLE; }

/* exp(a) - 1, with all digits near 0. */
static inline real real_expm1(real a) {
    real half;
    const real rest = exponential_parts(a, &half);
    real y = (rest * half + (half - (real)0.5)) * 2;
    y = a > HIGHEST ? (real)INFINITY : y;
    return a != a ? a : y;
}

static inline real real_tanh(real a) {
    const real e = real_expm1(-2 * real_abs(a));
    return copy_sign(-e / (e + 2), a);
}

#endif
