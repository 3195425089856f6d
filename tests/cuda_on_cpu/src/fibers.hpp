// The threads of a block, on one thread of the CPU: each has its own stack, and runs until it waits for the others.
#pragma once
#include <setjmp.h>
#include <stdlib.h>
#include <ucontext.h>

#include "limits.hpp"

namespace gpu {

struct Dimensions {
    unsigned x, y, z;
};

enum State { READY, AT_BLOCK_BARRIER, AT_WARP_BARRIER, ENDED };

const unsigned STACK_BYTES = 1 << 16, ALL_LANES = 0xffffffff;

struct Fiber {
    jmp_buf place;  // where it continues
    State state;
    int line;       // of the barrier that it waits at,
    unsigned mask;  // and the lanes that have to come there
    bool begun;
    unsigned long long sent;  // to the other threads of its warp
};

static Fiber fibers[MOST_THREADS];
static jmp_buf scheduler;
static unsigned present;              // the thread that runs
static void (*body)(const void*);     // of all threads,
static const void* body_argument;     // and its argument

}  // namespace gpu

static gpu::Dimensions blockIdx, threadIdx, blockDim, gridDim;
static const int warpSize = gpu::WARP;

namespace gpu {

static void wait(State state, int line, unsigned mask = ALL_LANES) {
    Fiber& fiber = fibers[present];
    fiber.state = state;
    fiber.line = line;
    fiber.mask = mask;
    if (!_setjmp(fiber.place)) _longjmp(scheduler, 1);
}

// A fiber lives as long as the library, and does the work of one thread after the other: a new context for each thread
// of each block would cost system calls.
static void live() {
    for (;;) {
        body(body_argument);
        wait(ENDED, 0);
    }
}

static void become(unsigned thread) {
    present = thread;
    threadIdx = {thread % blockDim.x, thread / blockDim.x % blockDim.y, thread / blockDim.x / blockDim.y};
}

static void resume(unsigned thread) {
    static char* stacks = (char*)malloc((size_t)MOST_THREADS * STACK_BYTES);
    become(thread);
    Fiber& fiber = fibers[thread];
    if (_setjmp(scheduler)) return;
    if (fiber.begun) _longjmp(fiber.place, 1);
    fiber.begun = true;
    ucontext_t context;
    getcontext(&context);
    context.uc_stack.ss_sp = stacks + (size_t)thread * STACK_BYTES;
    context.uc_stack.ss_size = STACK_BYTES;
    makecontext(&context, live, 0);
    setcontext(&context);
}

// Let the threads of a warp go on that wait for one another; say whether there were any.
static bool release_warp(unsigned first, unsigned end, const char** wrong) {
    unsigned waiting = 0, living = 0;
    for (unsigned t = first; t < end; ++t) {
        living |= (unsigned)(fibers[t].state != ENDED) << (t - first);
        waiting |= (unsigned)(fibers[t].state == AT_WARP_BARRIER) << (t - first);
    }
    for (unsigned t = first; t < end; ++t) {
        Fiber& fiber = fibers[t];
        if (fiber.state != AT_WARP_BARRIER) continue;
        unsigned awaited = fiber.mask & living;
        if (!(awaited >> (t - first) & 1)) {
            *wrong = "a thread is not in the mask that it waits for";
            break;
        }
        const Fiber& other = fibers[first + __builtin_ctz(awaited)];
        if (awaited & ~waiting || fiber.line != other.line || fiber.mask != other.mask)
            *wrong = "threads of a warp wait at different barriers";
    }
    for (unsigned t = first; t < end; ++t)
        if (fibers[t].state == AT_WARP_BARRIER) fibers[t].state = READY;
    return waiting != 0;
}

// Run the threads of one block; return what went wrong, or null.
static const char* run_block(unsigned n_threads, bool backwards) {
    for (unsigned t = 0; t < n_threads; ++t) fibers[t].state = READY;
    for (;;) {
        for (unsigned i = 0; i < n_threads; ++i) {
            unsigned t = backwards ? n_threads - 1 - i : i;
            if (fibers[t].state == READY) resume(t);
        }
        const char* wrong = nullptr;
        bool released = false;
        for (unsigned first = 0; first < n_threads; first += WARP)
            released |= release_warp(first, first + WARP < n_threads ? first + WARP : n_threads, &wrong);
        if (wrong) return wrong;
        if (released) continue;
        int line = 0;
        for (unsigned t = 0; t < n_threads; ++t) {
            if (fibers[t].state == ENDED) continue;
            if (line && line != fibers[t].line) return "threads of a block wait at different barriers";
            line = fibers[t].line;
            fibers[t].state = READY;
        }
        if (!line) return nullptr;
    }
}

// The value of another lane; of one that is not in the mask, or has ended, it is not defined.
template <class T>
T exchange(T value, unsigned lane, unsigned mask, int line) {
    static_assert(sizeof(T) <= sizeof fibers[0].sent, "a larger value than a shuffle takes");
    __builtin_memcpy(&fibers[present].sent, &value, sizeof value);
    unsigned thread = present;
    wait(AT_WARP_BARRIER, line, mask);
    unsigned source = thread / WARP * WARP + lane % WARP, n_threads = blockDim.x * blockDim.y * blockDim.z;
    bool is_defined = mask >> lane % WARP & 1 && source < n_threads && fibers[source].state != ENDED;
    if (is_defined) __builtin_memcpy(&value, &fibers[source].sent, sizeof value);
    else __builtin_memset(&value, POISON, sizeof value);
    wait(AT_WARP_BARRIER, line, mask);
    return value;
}

inline unsigned lane() { return present % WARP; }
inline unsigned lanes(unsigned mask = ALL_LANES) { return mask; }

// The votes of the threads of a warp, one bit each.
inline unsigned vote(bool mine, unsigned mask, int line) {
    unsigned votes = 0, first = present / WARP * WARP, n_threads = blockDim.x * blockDim.y * blockDim.z;
    for (unsigned other = 0; other < WARP; ++other) {
        bool theirs = exchange<unsigned char>(mine, other, mask, line) == 1;
        if (first + other < n_threads) votes |= (unsigned)theirs << other;
    }
    return votes;
}

}  // namespace gpu

// The line tells apart the barriers of a kernel: all threads have to wait at the same one.
#define __syncthreads() gpu::wait(gpu::AT_BLOCK_BARRIER, __LINE__)
#define __syncwarp(...) gpu::wait(gpu::AT_WARP_BARRIER, __LINE__, gpu::lanes(__VA_ARGS__))
#define __shfl_sync(mask, value, source) gpu::exchange(value, source, mask, __LINE__)
#define __shfl_xor_sync(mask, value, bits) gpu::exchange(value, gpu::lane() ^ (bits), mask, __LINE__)
#define __shfl_down_sync(mask, value, by) \
    gpu::exchange(value, gpu::lane() + (by) < gpu::WARP ? gpu::lane() + (by) : gpu::lane(), mask, __LINE__)
#define __shfl_up_sync(mask, value, by) \
    gpu::exchange(value, gpu::lane() >= (by) ? gpu::lane() - (by) : gpu::lane(), mask, __LINE__)
#define __ballot_sync(mask, mine) gpu::vote(mine, mask, __LINE__)
#define __any_sync(mask, mine) (gpu::vote(mine, mask, __LINE__) != 0)
#define __all_sync(mask, mine) (gpu::vote(!(mine), mask, __LINE__) == 0)
