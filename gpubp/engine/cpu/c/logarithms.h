/* Logarithms of which compilers make vector instructions; elementary.h includes this.
 *
 * u is 2**k * (1 + f) with 1 + f between sqrt(1/2) and sqrt(2). With s = f / (2 + f), log(1 + f) is 2 * atanh(s), whose
 * series beyond 2 * s has coefficients near 2/3, 2/5, ...: those of FreeBSD's libm (Sun Microsystems 1993). */
#ifndef GPUBP_LOGARITHMS_H
#define GPUBP_LOGARITHMS_H

#if PRECISION == 32
#define SQRT_HALF 0x3f3504f3u
#define ONE 0x3f800000u
#define WHOLE 0x4b000000u /* the bits of 2**23, into whose last digits a whole number can be put */
#define SMALLEST 1.17549435e-38f
#define LARGEST 3.40282347e38f
#else
#define SQRT_HALF 0x3fe6a09e667f3bcdu
#define ONE 0x3ff0000000000000u
#define WHOLE 0x4330000000000000u
#define SMALLEST 2.2250738585072014e-308
#define LARGEST 1.7976931348623157e308
#endif

/* Return 1 + f and set k, of a number that is positive, finite and not subnormal. */
static inline real without_exponent(real u, real* k) {
    union number n = {u}, whole;
    n.bits += ONE - SQRT_HALF;
    whole.bits = (n.bits >> DIGITS) | WHOLE;
    const union number zero = {.bits = WHOLE | (ONE >> DIGITS)};
    *k = whole.value - zero.value;
    n.bits = (n.bits & (((bits)1 << DIGITS) - 1)) + SQRT_HALF;
    return n.value;
}

/* k * log(2) + log(1 + f) + rest. */
static inline real logarithm_of_parts(real k, real f, real rest) {
    const real s = f / (2 + f), z = s * s, half = (real)0.5 * f * f;
#if PRECISION == 32
    const real series = z * (0.66666662693f + z * (0.40000972152f + z * (0.28498786688f + z * 0.24279078841f)));
#else
    const real w = z * z;
    const real odd = z * (6.666666666666735130e-01 + w * (2.857142874366239149e-01
        + w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01)));
    const real even = w * (3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01));
    const real series = odd + even;
#endif
    return s * (half + series) + (k * LN2_LOW + rest) - half + f + k * LN2_HIGH;
}

static inline real real_log(real a) {
    const bool subnormal = a < SMALLEST;
    real k;
    const real f = without_exponent(subnormal ? a * ((bits)1 << DIGITS) : a, &k) - 1;
    real y = logarithm_of_parts(subnormal ? k - DIGITS : k, f, 0);
    y = a > LARGEST ? a : y;
    y = a > 0 ? y : (real)NAN;
    return a == 0 ? -(real)INFINITY : y;
}

/* log(1 + a), with all digits near 0. */
static inline real real_log1p(real a) {
    const real u = 1 + a;
    real k;
    real f = without_exponent(u, &k) - 1;
    const real lost = a > 1 ? 1 - (u - a) : a - (u - 1); /* by rounding u */
    const bool exact = k == 0, tiny = u == 1;            /* the squares of tiny numbers would be subnormal, and slow */
    f = exact ? a : f;
    f = tiny ? 0 : f;
    real y = logarithm_of_parts(k, f, exact ? 0 : lost / u);
    y = tiny ? a : y;
    y = a > LARGEST ? a : y;
    y = a > -1 ? y : (real)NAN;
    return a == -1 ? -(real)INFINITY : y;
}

#endif
