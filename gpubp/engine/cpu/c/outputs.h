/* Outputs of many samples: each thread passes parts of them forward, layer after layer. */
#ifndef GPUBP_OUTPUTS_H
#define GPUBP_OUTPUTS_H

#include "steps.h"

enum { PART = 256 }; /* samples that pass forward together: what they leave behind stays in the cache */

/* A thread's workspace for the outputs of the hidden layers. */
static real* workspace_for_outputs(const struct plan* plan, integer thread) {
    integer n = 0;
    for (integer k = 1; k < plan->n_layers; ++k) n += plan->sizes[k];
    return (real*)((char*)plan->workspace + (size_t)thread * lines((size_t)(plan->batch * n) * sizeof(real)));
}

enum { ROW_PIECE = 64 }; /* numbers of a row whose activation and total input are mixed at once */

/* Turn total inputs into outputs of a parametric activation, in place: piece after piece of each row. */
static void activate_mixed(const struct plan* plan, integer k, integer b, integer n, real* y, const real* a) {
    real f[ROW_PIECE];
    for (integer c = 0; c < b; ++c) {
        for (integer i = 0; i < n; i += ROW_PIECE) {
            const integer some = n - i < ROW_PIECE ? n - i : ROW_PIECE;
            real* const x = y + c * n + i;
            ((value_function*)plan->values[k])((real)plan->parameters[k], 1, some, some, x, f);
            mix_rows(x, x, f, a + i, 1, some);
        }
    }
}

/* Pass some samples forward: eq. (1) and (2), layer after layer. */
static void pass_part(
    const struct plan* plan, const real* theta, const real* x, integer b, real* below_outputs, real* outputs
) {
    const real* w = theta;
    for (integer k = 0, at = 0; k < plan->n_layers; ++k) {
        const integer n = plan->sizes[k + 1];
        real* const y = k == plan->n_layers - 1 ? outputs : below_outputs + at;
        integer rows = 0;
        for (integer part = plan->parts_at[k]; part < plan->parts_at[k + 1]; ++part) {
            rows += plan->sizes[plan->part_from[part]];
        }
        if (plan->bias) set_rows(y, b, n, w + rows * n);
        real kept = plan->bias ? 1 : 0;
        for (integer part = plan->parts_at[k]; part < plan->parts_at[k + 1]; ++part) {
            const integer from = plan->part_from[part], n_below = plan->sizes[from];
            const real* below = from == 0 ? x : below_outputs;
            for (integer layer = 1; layer < from; ++layer) below += b * plan->sizes[layer];
            if (plan->batch > 1) { /* even if this part has one sample: its bits are those of others then */
                call_gemm(plan->gemm, b, n, n_below, below, 'N', n_below, w, 'N', n, kept, y, n);
            } else {
                multiply_by_loops(b, n, n_below, below, n_below, w, n, kept, y, n);
            }
            w += n_below * n;
            kept = 1;
        }
        if (plan->bias) w += n;
        const integer mixed = mixed_at(plan, k, (struct range){0, n});
        if (mixed < 0) activate(plan, k, b, n, y, y);
        else activate_mixed(plan, k, b, n, y, theta + mixed);
        at += b * n;
    }
}

/* Compute outputs as one of several threads at each request. */
static void outputs(const struct plan* plan, const struct samples* requested, struct mailbox* mailbox, integer thread) {
    const integer n_inputs = plan->sizes[0], n_outputs = plan->sizes[plan->n_layers];
    integer served = read_place(&mailbox->requested[thread]);
    while (1) {
        const integer n_threads = read_place(&mailbox->n_threads);
        real* const below_outputs = workspace_for_outputs(plan, thread);
        for (integer first = thread * PART; first < requested->n; first += n_threads * PART) {
            const integer b = requested->n - first < PART ? requested->n - first : PART;
            pass_part(
                plan, (const real*)requested->theta, (const real*)requested->x + first * n_inputs, b, below_outputs,
                (real*)requested->outputs + first * n_outputs
            );
        }
        if (!wait_for_all(mailbox, thread, n_threads, 1) || thread == 0) return;
        if (!next_request(mailbox, thread, served)) return;
        ++served;
    }
}

#endif
