/* How threads that the caller has started get requests and wait for each other.
 *
 * A mailbox is memory that they share, each number in two cache lines of its own. A thread waits by looking again and
 * again, for about ten microseconds without giving its core away: to be woken by the system takes longer than a step of
 * a small network. */
#ifndef GPUBP_THREADS_H
#define GPUBP_THREADS_H

#include <time.h>

#include "engine.h"

#ifdef _WIN32
#include <windows.h>
#define give_core_away() SwitchToThread()
#else
#include <sched.h>
#define give_core_away() sched_yield()
#endif

#if defined(__x86_64__) || defined(_M_X64)
#define relax() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define relax() __asm__ volatile("yield")
#else
#define relax() ((void)0)
#endif

enum { SPINS = 400, LOOKS = 2000 }; /* LOOKS for another request, after SPINS: about a millisecond */
#define GONE (-1)
#define ABANDONED ((integer)1 << 60) /* what the barrier is set to when a thread never comes */

struct place {
    _Atomic integer number;
    _Atomic integer waited; /* in `requested`: nanoseconds that the thread has waited for others, without its SPINS */
    char rest[112];
};

struct mailbox {
    struct place barrier;   /* how often a thread has come to it */
    struct place taken;     /* turns that threads have taken at the networks of a stack */
    struct place n_threads; /* that do the present request */
    struct place begun;     /* the barrier's number when the present request began */
    struct place requested[];   /* for each thread the number of its last request, or GONE */
};

static integer read_place(struct place* place) { return atomic_load_explicit(&place->number, memory_order_acquire); }

/* Ask a thread that has had `requested` requests; 0 where it has left and must be started. */
static integer ask(struct mailbox* mailbox, integer thread, integer requested) {
    integer expected = requested;
    if (atomic_compare_exchange_strong(&mailbox->requested[thread].number, &expected, requested + 1)) return 1;
    atomic_store(&mailbox->requested[thread].number, requested + 1);
    return 0;
}

/* Wait for the request after number `served`; 0 where none comes for a while, and the thread is to leave. */
static integer next_request(struct mailbox* mailbox, integer thread, integer served) {
    struct place* place = &mailbox->requested[thread];
    for (integer look = 0; look < SPINS + LOOKS; ++look) {
        if (read_place(place) != served) return 1;
        if (look < SPINS) relax();
        else give_core_away();
    }
    integer expected = served;
    return !atomic_compare_exchange_strong(&place->number, &expected, GONE);
}

static integer nanoseconds(void) {
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    return (integer)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Wait until all threads have come here for the `time`-th time in a request, counted from 1; 0 where they never will. */
static integer wait_for_all(struct mailbox* mailbox, integer thread, integer n_threads, integer time) {
    if (n_threads == 1) return 1;
    const integer last = read_place(&mailbox->begun) + n_threads * time, all = last < ABANDONED ? last : ABANDONED;
    atomic_fetch_add_explicit(&mailbox->barrier.number, 1, memory_order_acq_rel);
    integer spins = 0, began = 0, now;
    while ((now = read_place(&mailbox->barrier)) < all) {
        if (++spins < SPINS) {
            relax();
        } else {
            if (spins == SPINS) began = nanoseconds();
            give_core_away();
        }
    }
    if (began) {
        atomic_fetch_add_explicit(&mailbox->requested[thread].waited, nanoseconds() - began, memory_order_relaxed);
    }
    return now < ABANDONED;
}

#endif
