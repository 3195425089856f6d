// What stands before the source of each kernel: CUDA C's words in C++, and the calls of kernels by the driver.
#pragma once
#include <cuda_runtime.h>
#include <string.h>
#include <xmmintrin.h>

#include <cmath>
#include <cstdint>
#include <tuple>
#include <utility>

#include "fibers.hpp"
#include "kernel_call.hpp"

#undef __global__
#undef __shared__
#undef __launch_bounds__
#define __global__
// in a section of their own, so that they can be poisoned before each block
#define __shared__ static __attribute__((section("gpu_shared")))
#define __launch_bounds__(...)

using std::ceil, std::copysign, std::exp, std::expm1, std::floor, std::fmod, std::isfinite, std::isinf, std::isnan;
using std::log, std::log1p, std::pow, std::rint, std::signbit, std::sqrt, std::tanh;

template <class A, class B>
auto max(A a, B b) -> decltype(a + b) { return a < b ? b : a; }
template <class A, class B>
auto min(A a, B b) -> decltype(a + b) { return b < a ? b : a; }

namespace gpu {

template <class To, class From>
To bits(From from) {
    static_assert(sizeof(To) == sizeof from, "of one size");
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}

}  // namespace gpu

static int __float_as_int(float x) { return gpu::bits<int>(x); }
static unsigned __float_as_uint(float x) { return gpu::bits<unsigned>(x); }
static float __int_as_float(int x) { return gpu::bits<float>(x); }
static float __uint_as_float(unsigned x) { return gpu::bits<float>(x); }
static long long __double_as_longlong(double x) { return gpu::bits<long long>(x); }
static double __longlong_as_double(long long x) { return gpu::bits<double>(x); }
static int __popc(unsigned x) { return __builtin_popcount(x); }
static int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
static int __clz(int x) { return x ? __builtin_clz(x) : 32; }
static unsigned __umulhi(unsigned a, unsigned b) { return (unsigned long long)a * b >> 32; }
static void __threadfence() {}
static void __threadfence_block() {}

// Threads take turns only where they wait, so that nothing comes between.
template <class T>
T atomicAdd(T* p, T value) { T old = *p; *p += value; return old; }
template <class T>
T atomicMax(T* p, T value) { T old = *p; if (old < value) *p = value; return old; }
template <class T>
T atomicMin(T* p, T value) { T old = *p; if (value < old) *p = value; return old; }
template <class T>
T atomicExch(T* p, T value) { T old = *p; *p = value; return old; }
template <class T>
T atomicCAS(T* p, T expected, T value) { T old = *p; if (old == expected) *p = value; return old; }

template <typename T, int, bool, bool>
class CArray;  // of CuPy: it begins with a pointer

namespace gpu {

alignas(64) static char dynamic_shared[MOST_SHARED];
extern "C" __attribute__((weak, visibility("hidden"))) char __start_gpu_shared[], __stop_gpu_shared[];

// The pointer in an argument of a kernel, if it has one.
template <class A>
struct PointerIn { static const void* of(const A&) { return nullptr; } };
template <class T>
struct PointerIn<T*> { static const void* of(T* argument) { return (const void*)argument; } };
template <class T, int n, bool c, bool i>
struct PointerIn<CArray<T, n, c, i>> {
    static const void* of(const CArray<T, n, c, i>& argument) { return *(const void* const*)&argument; }
};

// The offset of each argument, and their size.
template <class... A>
size_t offsets_of(size_t* offsets) {
    size_t at = 0, k = 0;
    ((at = (at + alignof(A) - 1) / alignof(A) * alignof(A), offsets[k++] = at, at += sizeof(A)), ...);
    return at;
}

template <class... A>
size_t pack(void (*)(A...), void** arguments, void* buffer) {
    size_t offsets[sizeof...(A) + 1], sizes[] = {sizeof(A)..., 0}, total = offsets_of<A...>(offsets);
    for (size_t k = 0; buffer && k < sizeof...(A); ++k) memcpy((char*)buffer + offsets[k], arguments[k], sizes[k]);
    return total;
}

template <class... A>
struct Bound {
    void (*kernel)(A...);
    char* buffer;
    size_t offsets[sizeof...(A) + 1];

    template <size_t... I>
    void call(std::index_sequence<I...>) const { kernel(*(A*)(buffer + offsets[I])...); }
    static void run(const void* bound) { ((const Bound*)bound)->call(std::index_sequence_for<A...>()); }
    template <size_t... I>
    bool has_bad_pointer(bool (*is_accessible)(const void*), std::index_sequence<I...>) const {
        return !(is_accessible(PointerIn<A>::of(*(A*)(buffer + offsets[I]))) && ...);
    }
};

// As CuPy has kernels compiled: float32 numbers below the normal ones are zero, in operands and results.
struct FlushToZero {
    unsigned before = _mm_getcsr();
    explicit FlushToZero(bool on) { if (on) _mm_setcsr(before | 0x8040); }
    ~FlushToZero() { _mm_setcsr(before); }
};

template <class... A>
const char* run(void (*kernel)(A...), const KernelCall* call, bool has_barriers, bool flushes) {
    Bound<A...> bound = {kernel, (char*)call->arguments, {}};
    offsets_of<A...>(bound.offsets);
    if (bound.has_bad_pointer(call->is_accessible, std::index_sequence_for<A...>()))
        return "an argument is not an address of this device";
    FlushToZero flushing(flushes);
    body = bound.run;
    body_argument = &bound;
    const unsigned *g = call->grid, *b = call->block;
    gridDim = {g[0], g[1], g[2]};
    blockDim = {b[0], b[1], b[2]};
    size_t n_blocks = (size_t)g[0] * g[1] * g[2];
    unsigned n_threads = b[0] * b[1] * b[2];
    for (size_t i = 0; i < n_blocks; ++i) {
        size_t at = call->backwards ? n_blocks - 1 - i : i;
        blockIdx = {(unsigned)(at % g[0]), (unsigned)(at / g[0] % g[1]), (unsigned)(at / g[0] / g[1])};
        memset(dynamic_shared, POISON, call->shared_bytes);
        if (__start_gpu_shared) memset(__start_gpu_shared, POISON, __stop_gpu_shared - __start_gpu_shared);
        if (has_barriers) {
            if (const char* wrong = run_block(n_threads, call->backwards)) {
                for (unsigned t = 0; t < n_threads; ++t) fibers[t].begun = false;  // they stand in the midst of it
                return wrong;
            }
            continue;
        }
        for (unsigned k = 0; k < n_threads; ++k) {
            become(call->backwards ? n_threads - 1 - k : k);
            body(body_argument);
        }
    }
    return nullptr;
}

}  // namespace gpu

#define GPU_EXPORT(name, has_barriers, flushes)                                                              \
    extern "C" __attribute__((visibility("default"))) const char* gpu_run_##name(const gpu::KernelCall* call) { \
        return gpu::run(name, call, has_barriers, flushes);                                                  \
    }                                                                                                        \
    extern "C" __attribute__((visibility("default"))) size_t gpu_pack_##name(void** arguments, void* buffer) {  \
        return gpu::pack(name, arguments, buffer);                                                           \
    }
