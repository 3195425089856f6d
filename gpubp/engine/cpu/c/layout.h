/* Where everything lies in a plan's workspace: for each team of threads, which train one network together, what they
 * share, what each share of the units has for itself, and the samples that each thread gathers. */
#ifndef GPUBP_LAYOUT_H
#define GPUBP_LAYOUT_H

#include "elementary.h"

enum { ROWS = 512 }; /* rows of a gradient that are computed before they are used: few enough to stay in the cache */
enum { LINES = 128 }; /* bytes: what different threads change is so far apart */

struct layout {
    integer* rows;          /* of each layer's weights, without the biases */
    integer* starts;        /* where each layer begins in theta */
    integer* own;           /* where each layer begins in what a share has for itself: its units; of the last its samples */
    integer* common;        /* where each layer begins in what shares have together; the first hidden layer has nothing */
    integer* has_signals;   /* for each part whether a layer above has already set the signals that it adds to */
    integer own_size, common_size, gradient_size, sparse_size, first_size, samples_of_share, width;
    size_t x, targets, weights, x_mask, of_gatherer;                                       /* bytes */
    size_t totals, outputs, passed_on, masks, partials, own_signals, gradient, sparse_gradient, first, loss, notes, of_share;
    size_t signals, whole, sums, gatherers, shares, of_team;
    integer whole_gradient; /* whether all of a gradient is computed before any parameter is changed */
};

static size_t lines(size_t bytes) { return (bytes + LINES - 1) / LINES * LINES; }

/* All places are in one allocation, so a build with an address sanitizer leaves gaps between them, and forbids these. */
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
enum { GAP = LINES };
static _Thread_local struct { size_t place, begin, end; } gaps[32];
static _Thread_local int n_gaps;
#else
enum { GAP = 0 };
#endif

/* Give a place to so many reals. */
static size_t place(size_t* end, integer n) {
    const size_t begin = *end, last = begin + (size_t)n * sizeof(real);
    *end = lines(last) + GAP;
#ifdef __SANITIZE_ADDRESS__
    gaps[n_gaps].place = begin;
    gaps[n_gaps].begin = last;
    gaps[n_gaps++].end = *end;
#endif
    return begin;
}

static integer largest(integer a, integer b) { return a > b ? a : b; }

static integer shares_of(integer n, integer n_shares) { return (n + n_shares - 1) / n_shares; }

/* Lay out a workspace; `layout` has its arrays already. */
static void lay_out(const struct plan* plan, struct layout* at) {
    const integer n_layers = plan->n_layers, n_shares = plan->n_shares, batch = plan->batch, last = n_layers - 1;
    const integer n_outputs = plan->sizes[n_layers];
    integer start = 0, longest_rows = 0;
    at->own_size = at->common_size = at->width = 0;
    at->samples_of_share = shares_of(batch, n_shares);
    for (integer k = 0; k < n_layers; ++k) {
        const integer n = plan->sizes[k + 1];
        at->rows[k] = 0;
        for (integer part = plan->parts_at[k]; part < plan->parts_at[k + 1]; ++part) {
            const integer below = plan->part_from[part], n_below = plan->sizes[below];
            at->rows[k] += n_below;
            longest_rows = largest(longest_rows, (n_below < ROWS ? n_below : ROWS) * n);
            at->has_signals[part] = 0; /* layers are gone through from the last to the first */
            for (integer above = k + 1; above < n_layers; ++above) {
                for (integer other = plan->parts_at[above]; other < plan->parts_at[above + 1]; ++other) {
                    if (plan->part_from[other] == below) at->has_signals[part] = 1;
                }
            }
        }
        at->starts[k] = start;
        start += (at->rows[k] + (plan->bias ? 1 : 0)) * n;
        at->own[k] = at->own_size;
        at->own_size += k == last ? at->samples_of_share * n_outputs : batch * shares_of(n, n_shares);
        at->common[k] = at->common_size;
        if (k > 0 || last == 0) at->common_size += batch * n;
        at->width = largest(at->width, n);
    }
    at->whole_gradient =
        !plan->update || plan->clipped || plan->n_places || plan->n_parts > 1 || plan->n_processes > 1;
    at->gradient_size = at->whole_gradient ? 0 : largest(longest_rows, at->width);
    const integer own_first = last == 0 ? 0 : shares_of(plan->sizes[1], n_shares);
    at->sparse_size = plan->sparse && !at->whole_gradient ? at->rows[0] * shares_of(plan->sizes[1], n_shares) : 0;
    at->first_size = plan->apart ? (at->rows[0] + 1) * own_first : 0;

    size_t end = 0;
    const integer chosen = plan->gathered_steps * batch;
    const integer n_inputs = plan->sparse ? 0 : plan->sizes[0];
    const int drops_inputs = plan->drops && plan->drops[0];
    at->x = place(&end, (drops_inputs ? largest(chosen, batch) : chosen) * n_inputs);
    at->x_mask = place(&end, drops_inputs ? batch * plan->sizes[0] : 0);
    at->targets = place(&end, chosen * n_outputs);
    at->weights = place(&end, plan->weighted ? chosen : 0);
    at->of_gatherer = end;

    end = 0;
    at->totals = place(&end, at->own_size);
    at->outputs = place(&end, at->own_size);
    at->passed_on = place(&end, plan->drops || plan->mixes ? at->own_size : 0);
    at->masks = place(&end, plan->drops || plan->mixes ? at->own_size : 0);
    at->partials = place(&end, at->common_size);
    at->own_signals = place(&end, batch * own_first);
    at->gradient = place(&end, at->gradient_size);
    at->sparse_gradient = place(&end, at->sparse_size); /* 0 between steps */
    at->first = place(&end, 5 * at->first_size);
    at->loss = place(&end, at->samples_of_share * n_outputs);
    at->notes = end;
    end = lines(end + 4 * sizeof(double));
    at->of_share = end;

    end = 0;
    at->signals = place(&end, at->common_size);
    at->whole = place(&end, at->whole_gradient && plan->update && plan->n_processes == 1 ? plan->n_parameters : 0);
    at->sums = place(&end, plan->n_weights);
    at->gatherers = end;
    end += (size_t)(plan->stack ? 1 : plan->n_threads) * at->of_gatherer;
    at->shares = end;
    end += (size_t)n_shares * at->of_share;
    at->of_team = end;
}

/* How many bytes the layout itself has, before the first team. */
static size_t size_of_head(const struct plan* plan) {
    const integer n_parts = plan->parts_at[plan->n_layers];
    return lines(sizeof(struct layout) + (size_t)(4 * plan->n_layers + n_parts) * sizeof(integer));
}

/* Where a team has its numbers. */
static char* team_at(const struct plan* plan, const struct layout* at, integer team) {
    return (char*)plan->workspace + size_of_head(plan) + (size_t)team * at->of_team;
}

#ifdef __SANITIZE_ADDRESS__
/* Forbid the gaps behind the places of gatherers, shares and teams, which were laid out in this order. */
static void forbid_gaps(const struct plan* plan, const struct layout* at) {
    const size_t begins[] = {at->gatherers, at->shares, 0}, sizes[] = {at->of_gatherer, at->of_share, at->of_team};
    const integer counts[] = {plan->stack ? 1 : plan->n_threads, plan->n_shares, 1};
    for (integer team = 0; team < plan->n_teams; ++team) {
        for (int k = 0, kind = -1; k < n_gaps; ++k) {
            kind += gaps[k].place == 0;
            for (integer copy = 0; copy < counts[kind]; ++copy) {
                char* const begin = team_at(plan, at, team) + begins[kind] + (size_t)copy * sizes[kind];
                ASAN_POISON_MEMORY_REGION(begin + gaps[k].begin, gaps[k].end - gaps[k].begin);
            }
        }
    }
}
#endif

/* Lay out a plan's workspace, if it has one; return how many bytes it needs. */
static integer prepare(const struct plan* plan) {
    struct layout none;
    const integer n_layers = plan->n_layers, n_parts = plan->parts_at[n_layers];
    integer unused[4 * n_layers + n_parts];
    integer* const arrays = plan->workspace ? (integer*)((char*)plan->workspace + sizeof(struct layout)) : unused;
    struct layout* at = plan->workspace ? (struct layout*)plan->workspace : &none;
    at->rows = arrays;
    at->starts = arrays + n_layers;
    at->own = arrays + 2 * n_layers;
    at->common = arrays + 3 * n_layers;
    at->has_signals = arrays + 4 * n_layers;
#ifdef __SANITIZE_ADDRESS__
    n_gaps = 0;
#endif
    lay_out(plan, at);
#ifdef __SANITIZE_ADDRESS__
    if (plan->workspace) forbid_gaps(plan, at);
#endif
    return (integer)(size_of_head(plan) + (size_t)plan->n_teams * at->of_team);
}

#endif
