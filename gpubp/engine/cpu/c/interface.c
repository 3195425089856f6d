/* What the library exports: the hash of its sources, its variants, and the table of functions of each.
 *
 * cpuid says what the CPU has: __builtin_cpu_supports knows other features in each compiler, and none at all in Zig's. */
#include "engine.h"

#ifdef __clang__
#define COMPILER "Clang " __clang_version__
#else
#define COMPILER "GCC " __VERSION__
#endif

struct variant {
    const char* name;
    int (*is_supported)(void);
    const struct functions* float32;
    const struct functions* float64;
};

static int always(void) { return 1; }

#ifdef __x86_64__
#include <cpuid.h>

/* The levels of x86-64: https://gitlab.com/x86-psABIs/x86-64-ABI */
#define LEVEL_3_LEAF_1_C (1u << 0 | 1u << 9 | 1u << 12 | 1u << 13 | 1u << 19 | 1u << 20 | 1u << 22 | 1u << 23 | 1u << 27 \
                          | 1u << 28 | 1u << 29) /* sse3, ssse3, fma, cx16, sse4.1, sse4.2, movbe, popcnt, osxsave, avx, f16c */
#define LEVEL_3_LEAF_7_B (1u << 3 | 1u << 5 | 1u << 8)                         /* bmi1, avx2, bmi2 */
#define LEVEL_3_EXTENDED_C (1u << 0 | 1u << 5)                                 /* lahf, lzcnt */
#define LEVEL_4_LEAF_7_B (1u << 16 | 1u << 17 | 1u << 28 | 1u << 30 | 1u << 31) /* avx512 f, dq, cd, bw, vl */
#define AVX_REGISTERS 0x06u     /* which the operating system saves, too */
#define AVX512_REGISTERS 0xe6u

static int has(unsigned features, unsigned registers)
{
    unsigned a, b, c, d, low, high;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & LEVEL_3_LEAF_1_C) != LEVEL_3_LEAF_1_C)
        return 0;
    if (!__get_cpuid(0x80000001u, &a, &b, &c, &d) || (c & LEVEL_3_EXTENDED_C) != LEVEL_3_EXTENDED_C)
        return 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (b & features) != features)
        return 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & registers) == registers;
}

static int has_avx2(void) { return has(LEVEL_3_LEAF_7_B, AVX_REGISTERS); }
static int has_avx512(void) { return has(LEVEL_3_LEAF_7_B | LEVEL_4_LEAF_7_B, AVX512_REGISTERS); }

extern const struct functions gpubp_avx512_32, gpubp_avx512_64, gpubp_avx2_32, gpubp_avx2_64;
#endif

extern const struct functions gpubp_baseline_32, gpubp_baseline_64;

static const struct variant variants[] = {  /* the fastest first */
#ifdef __x86_64__
    {"avx512", has_avx512, &gpubp_avx512_32, &gpubp_avx512_64},
    {"avx2", has_avx2, &gpubp_avx2_32, &gpubp_avx2_64},
#endif
    {"baseline", always, &gpubp_baseline_32, &gpubp_baseline_64},
};

EXPORT const char* gpubp_sources(void) { return GPUBP_SOURCES; }
EXPORT const char* gpubp_compiler(void) { return COMPILER; }
EXPORT int gpubp_n_variants(void) { return (int)(sizeof variants / sizeof *variants); }
EXPORT const char* gpubp_variant_name(int variant) { return variants[variant].name; }
EXPORT int gpubp_variant_is_supported(int variant) { return variants[variant].is_supported(); }

EXPORT const void* gpubp_functions(int variant, int precision)
{
    return precision == 32 ? variants[variant].float32 : variants[variant].float64;
}
