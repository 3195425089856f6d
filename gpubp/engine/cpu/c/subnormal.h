/* Numbers below the smallest normal one are 0 while steps are taken, as XLA has it. An instruction that meets one takes
 * some hundred cycles, and when a network has learned its samples, the squares of its gradient are full of them. */
#ifndef GPUBP_SUBNORMAL_H
#define GPUBP_SUBNORMAL_H

#include "engine.h"

#if defined(__x86_64__) || defined(_M_X64)
#include <xmmintrin.h>
#define ZERO_FOR_SUBNORMAL 0x8040u /* of results, and of operands */
static uint64_t arithmetic_mode(void) { return _mm_getcsr(); }
static void set_arithmetic_mode(uint64_t mode) { _mm_setcsr((unsigned)mode); }
#elif defined(__aarch64__)
#define ZERO_FOR_SUBNORMAL (1u << 24)
static uint64_t arithmetic_mode(void) {
    uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
}
static void set_arithmetic_mode(uint64_t mode) { __asm__ volatile("msr fpcr, %0" : : "r"(mode) : "memory"); }
#else
#define ZERO_FOR_SUBNORMAL 0
static uint64_t arithmetic_mode(void) { return 0; }
static void set_arithmetic_mode(uint64_t mode) { (void)mode; }
#endif

#endif
