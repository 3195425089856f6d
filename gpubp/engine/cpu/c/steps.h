/* Training steps, many in one call, by several threads together.
 *
 * The units of every hidden layer are divided into shares, and with them their weights: the columns of the first layer,
 * whose inputs all read, and the rows of each layer above it. Threads wait for each other only to sum the parts of the
 * total inputs of a layer, and to pass on its signals, the derivatives at its total inputs: cores have little to send
 * each other so. A thread does one share or several; which one does which changes no bit of a result. During a call
 * each share has its columns of the first layer together in memory: in common rows they lie too close to those of others
 * for cores to change them undisturbed.
 *
 * Of a stack of networks each thread takes a few at a time, and the steps of one after the other. */
#ifndef GPUBP_STEPS_H
#define GPUBP_STEPS_H

#include "layout.h"
#include "philox.h"
#include "products.h"
#include "rows.h"
#include "sparse.h"
#include "subnormal.h"
#include "threads.h"

/* A thread's view of a network's training. */
struct team {
    const struct plan* plan;
    const struct layout* at;
    struct mailbox* mailbox;
    char* memory;
    integer thread, n_threads; /* of the team */
    integer waited;            /* how often the team has waited for all in this request */
    integer step, b, first;    /* the present step, the number of samples in its present part, where these begin */
    const integer* order;      /* or which rows they are */
    int adds;                  /* whether their gradient is added to that of the parts before */
};

#define EACH_SHARE(team, share) \
    for (integer share = (team)->thread; share < (team)->plan->n_shares; share += (team)->n_threads)

struct range {
    integer low, n;
};

static struct range share_of(integer n, integer share, integer n_shares) {
    const integer low = n * share / n_shares;
    return (struct range){low, n * (share + 1) / n_shares - low};
}

static char* share_at(const struct team* team, integer share) {
    return team->memory + team->at->shares + (size_t)share * team->at->of_share;
}

static real* of_share(const struct team* team, integer share, size_t what, integer position) {
    return (real*)(share_at(team, share) + what) + position;
}

static double* notes_of(const struct team* team, integer share) {
    return (double*)(share_at(team, share) + team->at->notes);
}

static char* gatherer(const struct team* team) {
    return team->memory + team->at->gatherers + (size_t)team->thread * team->at->of_gatherer;
}

static int everyone(struct team* team) {
    return (int)wait_for_all(team->mailbox, team->thread, team->n_threads, ++team->waited);
}

/* --- samples --- */

static integer steps_of_epoch(const struct request* request) {
    return (request->n_samples + request->batch - 1) / request->batch;
}

/* The batch's rows of an array of samples: those gathered, or those in their order. */
static const real* rows_of(
    const struct team* team, const struct request* request, const void* given, size_t gathered, integer first, integer n
) {
    if (request->order) return (const real*)(gatherer(team) + gathered) + first * n;
    return (const real*)given + (team->first + first) * n;
}

static const real* inputs_of(const struct team* team, const struct request* request) {
    const struct layout* at = team->at;
    if (team->plan->drops && team->plan->drops[0]) return (const real*)(gatherer(team) + at->x);
    return rows_of(team, request, request->x, at->x, 0, team->plan->sizes[0]);
}

static void gather_batch(const struct team* team, const struct request* request, const integer* rows, integer n) {
    const struct plan* plan = team->plan;
    const struct layout* at = team->at;
    char* const to = gatherer(team);
    if (!plan->sparse) gather((real*)(to + at->x), plan->sizes[0], (const real*)request->x, rows, n);
    gather((real*)(to + at->targets), plan->sizes[plan->n_layers], (const real*)request->targets, rows, n);
    if (request->weights) gather((real*)(to + at->weights), 1, (const real*)request->weights, rows, n);
}

/* The batch's rows of sparse samples. */
static struct sparse_rows sparse_batch(const struct team* team, const struct request* request) {
    return (struct sparse_rows){
        .values = (const real*)request->x,
        .columns = request->columns,
        .starts = request->row_starts,
        .bits = team->plan->sparse,
        .order = team->order,
        .first = team->first,
        .n = team->b,
    };
}

/* --- dropout --- */

static void dropout_mask(
    const struct team* team, const struct request* request, integer layer, struct range units, real* mask
) {
    const integer epoch = team->step / steps_of_epoch(request);
    const struct philox_place place = {
        .key = {request->keys[0], request->keys[1]},
        .epoch = request->epoch + epoch,
        .first = request->first_sample + team->first,
        .layer = layer,
    };
    philox_mask(mask, team->b, units.low, units.n, &place, request->dropout[epoch * team->plan->n_layers + layer]);
}

static void drop_inputs(const struct team* team, const struct request* request) {
    const integer n = team->plan->sizes[0];
    real* const x = (real*)(gatherer(team) + team->at->x);
    real* const mask = (real*)(gatherer(team) + team->at->x_mask);
    if (!request->order) memcpy(x, (const real*)request->x + team->first * n, (size_t)(team->b * n) * sizeof(real));
    dropout_mask(team, request, 0, (struct range){0, n}, mask);
    multiply_rows(x, 0, mask, 0, 1, team->b * n);
}

/* --- layers --- */

static struct range units_of(const struct team* team, integer layer, integer share) {
    return share_of(team->plan->sizes[layer + 1], share, team->plan->n_shares);
}

/* Where a share's weights of a layer begin: their rows from `row` on in common rows, or its columns of the first. */
struct weights {
    real *theta, *first, *second, *rate_factors, *decay_factors;
    integer stride;
};

static real* moved(void* reals, integer n) { return reals ? (real*)reals + n : NULL; }

static struct weights weights_from(const struct request* request, integer start, integer stride) {
    return (struct weights){
        moved(request->theta, start), moved(request->first, start), moved(request->second, start),
        moved((void*)request->rate_factors, start), moved((void*)request->decay_factors, start), stride};
}

static struct weights weights_of(const struct team* team, const struct request* request, integer k, integer share) {
    const integer n = team->plan->sizes[k + 1], start = team->at->starts[k];
    if (k == 0 && team->plan->n_layers > 1) {
        const struct range own = units_of(team, 0, share);
        if (team->plan->apart) {
            const integer length = (team->at->rows[0] + (team->plan->bias ? 1 : 0)) * own.n;
            real* const place = of_share(team, share, team->at->first, 0);
            real* const rate_factors = request->rate_factors ? place + 3 * length : NULL;
            real* const decay_factors = request->decay_factors ? place + 4 * length : NULL;
            return (struct weights){place, place + length, place + 2 * length, rate_factors, decay_factors, own.n};
        }
        return weights_from(request, start + own.low, n);
    }
    return weights_from(request, start, n);
}

/* Move a share's columns of the first layer, and the optimizer's numbers for them, together, or back. */
static void move_first_layer(const struct team* team, const struct request* request, integer share, int back) {
    const integer n = team->plan->sizes[1], rows = team->at->rows[0] + (team->plan->bias ? 1 : 0);
    const struct range own = units_of(team, 0, share);
    const struct weights apart = weights_of(team, request, 0, share);
    const void* const all[] = {request->theta, request->first, request->second, request->rate_factors, request->decay_factors};
    real* const places[] = {apart.theta, apart.first, apart.second, apart.rate_factors, apart.decay_factors};
    for (int k = 0; k < (back ? 3 : 5); ++k) { /* the factors do not change */
        if (!all[k]) continue;
        real* const common = (real*)all[k] + own.low;
        if (back) copy_rows(common, n, places[k], own.n, rows, own.n);
        else copy_rows(places[k], own.n, common, n, rows, own.n);
    }
}

/* A share's outputs of what a part of a layer comes from: which units, and where they are. */
struct below {
    const real* y;
    integer stride;
    struct range units;
};

static struct below below_of(const struct team* team, const struct request* request, integer k, integer part, integer share) {
    const struct plan* plan = team->plan;
    const integer from = plan->part_from[part];
    if (from == 0) { /* the first layer has all inputs, others with connections from there divide them */
        const integer n = plan->sizes[0];
        const struct range units = k == 0 ? (struct range){0, n} : share_of(n, share, plan->n_shares);
        return (struct below){inputs_of(team, request) + units.low, n, units};
    }
    const struct range units = units_of(team, from - 1, share);
    const size_t what = plan->drops || plan->mixes ? team->at->passed_on : team->at->outputs;
    return (struct below){of_share(team, share, what, team->at->own[from - 1]), units.n, units};
}

static void activate(const struct plan* plan, integer k, integer b, integer stride, const real* x, real* y) {
    const integer n_groups = plan->groups_at[k + 1] - plan->groups_at[k];
    const integer* const sizes = plan->group_sizes + plan->groups_at[k];
    value_function* const value = (value_function*)plan->values[k];
    if (n_groups == 1) {
        value((real)plan->parameters[k], b, stride, stride, x, y);
        return;
    }
    for (integer group = 0, at = 0; group < n_groups; at += sizes[group++]) {
        value((real)plan->parameters[k], b, sizes[group], stride, x + at, y + at);
    }
}

/* Where the weights of a layer's activation are in theta, those of some units; -1 if it is not parametric. */
static integer mixed_at(const struct plan* plan, integer k, struct range units) {
    return plan->mixes && plan->mixes[k] >= 0 ? plan->mixes[k] + units.low : -1;
}

/* Turn derivatives at the outputs of a layer into those at its total inputs: eq. (5). */
static void derive(
    const struct plan* plan, integer k, integer b, integer stride, const real* x, const real* y, real* dE, integer dE_stride
) {
    const integer n_groups = plan->groups_at[k + 1] - plan->groups_at[k];
    const integer* const sizes = plan->group_sizes + plan->groups_at[k];
    derivative_function* const derivative = (derivative_function*)plan->derivatives[k];
    if (n_groups == 1) {
        derivative((real)plan->parameters[k], b, stride, stride, x, y, dE, dE_stride);
        return;
    }
    for (integer group = 0, at = 0; group < n_groups; at += sizes[group++]) {
        derivative((real)plan->parameters[k], b, sizes[group], stride, x + at, y + at, dE + at, dE_stride);
    }
}

/* Set what a share's units below contribute to the total inputs of a layer: its part of eq. (1). */
static void contribute(const struct team* team, const struct request* request, integer k, integer share) {
    const struct plan* plan = team->plan;
    const integer n = plan->sizes[k + 1];
    real* const partial = of_share(team, share, team->at->partials, team->at->common[k]);
    const real* w = weights_of(team, request, k, share).theta;
    real kept = 0;
    if (plan->sparse && k == 0) {
        const struct sparse_rows x = sparse_batch(team, request);
        memset(partial, 0, (size_t)(team->b * n) * sizeof(real));
        add_sparse_product(&x, w, n, partial, n);
        return;
    }
    for (integer part = plan->parts_at[k]; part < plan->parts_at[k + 1]; ++part) {
        const struct below below = below_of(team, request, k, part, share);
        if (below.units.n || kept == 0) {
            multiply(
                plan->gemm, team->b, n, below.units.n, below.y, below.stride, w + below.units.low * n, n, kept, partial, n
            );
        }
        kept = 1;
        w += plan->sizes[plan->part_from[part]] * n;
    }
}

/* Compute the total inputs, eq. (1), and the outputs, eq. (2), of a share's units in a hidden layer. */
static void outputs_of_units(const struct team* team, const struct request* request, integer k, integer share) {
    const struct plan* plan = team->plan;
    const struct layout* at = team->at;
    const struct range own = units_of(team, k, share);
    real* const total = of_share(team, share, at->totals, at->own[k]);
    real* const y = of_share(team, share, at->outputs, at->own[k]);
    const real* const biases = (const real*)request->theta + at->starts[k] + at->rows[k] * plan->sizes[k + 1] + own.low;
    if (k == 0) {
        const struct weights w = weights_of(team, request, 0, share);
        if (plan->bias) set_rows(total, team->b, own.n, w.theta + at->rows[0] * w.stride);
        if (plan->sparse) {
            const struct sparse_rows x = sparse_batch(team, request);
            if (!plan->bias) memset(total, 0, (size_t)(team->b * own.n) * sizeof(real));
            add_sparse_product(&x, w.theta, w.stride, total, own.n);
        } else {
            multiply(
                plan->gemm, team->b, own.n, at->rows[0], inputs_of(team, request), at->rows[0], w.theta, w.stride,
                plan->bias ? 1 : 0, total, own.n
            );
        }
    } else {
        const real* const parts = of_share(team, 0, at->partials, at->common[k] + own.low);
        add_parts(
            total, team->b, own.n, parts, plan->n_shares, (integer)(at->of_share / sizeof(real)), plan->sizes[k + 1],
            plan->bias ? biases : NULL
        );
    }
    activate(plan, k, team->b, own.n, total, y);
    if (!plan->drops && !plan->mixes) return;
    real* const passed_on = of_share(team, share, at->passed_on, at->own[k]);
    const integer mixed = mixed_at(plan, k, own);
    if (mixed < 0) memcpy(passed_on, y, (size_t)(team->b * own.n) * sizeof(real));
    else mix_rows(passed_on, total, y, (const real*)request->theta + mixed, team->b, own.n);
    if (plan->drops && plan->drops[k + 1]) {
        real* const mask = of_share(team, share, at->masks, at->own[k]);
        dropout_mask(team, request, k + 1, own, mask);
        multiply_rows(passed_on, 0, mask, 0, 1, team->b * own.n);
    }
}

/* Pass a batch forward up to the parts of the output layer's total inputs; 0 where another thread never comes. */
static int forward(struct team* team, const struct request* request) {
    const integer last = team->plan->n_layers - 1;
    for (integer k = 0; k < last; ++k) {
        if (k > 0) {
            EACH_SHARE(team, share) contribute(team, request, k, share);
            if (!everyone(team)) return 0;
        }
        EACH_SHARE(team, share) outputs_of_units(team, request, k, share);
    }
    EACH_SHARE(team, share) contribute(team, request, last, share);
    return everyone(team);
}

/* Compute the total inputs of the output layer for a share's samples: eq. (1). */
static void total_inputs_of_outputs(
    const struct team* team, const struct request* request, struct range samples, real* total
) {
    const struct plan* plan = team->plan;
    const struct layout* at = team->at;
    const integer last = plan->n_layers - 1, n = plan->sizes[last + 1];
    const real* const biases = (const real*)request->theta + at->starts[last] + at->rows[last] * n;
    const real* const parts = of_share(team, 0, at->partials, at->common[last] + samples.low * n);
    add_parts(
        total, samples.n, n, parts, plan->n_shares, (integer)(at->of_share / sizeof(real)), n, plan->bias ? biases : NULL
    );
}

static real* signals_at(const struct team* team, integer k) {
    return (real*)(team->memory + team->at->signals) + team->at->common[k];
}

/* Compute the outputs and the loss of a share's samples, eq. (1) to (4), and the signals of the output layer. */
static void loss_of_samples(const struct team* team, const struct request* request, integer share) {
    const struct plan* plan = team->plan;
    const struct layout* at = team->at;
    const integer last = plan->n_layers - 1, n = plan->sizes[last + 1];
    const struct range samples = share_of(team->b, share, plan->n_shares);
    real* const total = of_share(team, share, at->totals, at->own[last]);
    real* const y = of_share(team, share, at->outputs, at->own[last]);
    real* const signals = signals_at(team, last) + samples.low * n;
    real* const scratch = of_share(team, share, at->loss, 0);
    const real* const targets = rows_of(team, request, request->targets, at->targets, samples.low, n);
    const real* const weights =
        request->weights ? rows_of(team, request, request->weights, at->weights, samples.low, 1) : NULL;
    const integer n_groups = plan->groups_at[last + 1] - plan->groups_at[last];
    const integer* const sizes = plan->group_sizes + plan->groups_at[last];
    loss_function* const loss = (loss_function*)plan->loss;
    total_inputs_of_outputs(team, request, samples, total);
    if (!plan->fused) activate(plan, last, samples.n, n, total, y);
    double sum = 0;
    if (plan->fused && n_groups > 1) {
        for (integer group = 0, from = 0; group < n_groups; from += sizes[group++]) {
            sum += loss(
                (real)plan->loss_parameter, samples.n, sizes[group], n, total + from, y + from, targets + from, weights,
                signals + from, scratch
            );
        }
    } else {
        sum = loss((real)plan->loss_parameter, samples.n, n, n, total, y, targets, weights, signals, scratch);
    }
    if (!plan->fused) derive(plan, last, samples.n, n, total, y, signals, n);
    double weight = (double)samples.n;
    if (weights) {
        weight = 0;
        for (integer c = 0; c < samples.n; ++c) weight += weights[c];
    }
    notes_of(team, share)[0] = sum;
    notes_of(team, share)[1] = weight;
}

/* The signals of a layer, all of them, or for the first hidden layer those of a share. */
static real* signals_of(const struct team* team, integer k, integer share, integer* stride) {
    if (k > 0 || team->plan->n_layers == 1) {
        *stride = team->plan->sizes[k + 1];
        return signals_at(team, k);
    }
    *stride = units_of(team, 0, share).n;
    return of_share(team, share, team->at->own_signals, 0);
}

/* Pass the signals of a layer on to a share's units below, eq. (7), and those of the layer below it through eq. (5). */
static void signals_below(const struct team* team, const struct request* request, integer k, integer share) {
    const struct plan* plan = team->plan;
    const struct layout* at = team->at;
    const integer n = plan->sizes[k + 1];
    integer stride, stride_below;
    const real* const signals = signals_of(team, k, share, &stride);
    const real* w = weights_of(team, request, k, share).theta;
    for (integer part = plan->parts_at[k]; part < plan->parts_at[k + 1]; ++part) {
        const integer from = plan->part_from[part];
        if (from > 0) {
            const struct range own = units_of(team, from - 1, share);
            real* const below = signals_of(team, from - 1, share, &stride_below) + (from > 1 ? own.low : 0);
            multiply_transposed_second(
                plan->gemm, team->b, own.n, n, signals, stride, w + own.low * n, n, at->has_signals[part] ? 1 : 0, below,
                stride_below
            );
        }
        w += plan->sizes[from] * n;
    }
    const struct range own = units_of(team, k - 1, share);
    real* const dE = signals_of(team, k - 1, share, &stride_below) + (k > 1 ? own.low : 0);
    if (plan->drops && plan->drops[k]) {
        const real* const mask = of_share(team, share, at->masks, at->own[k - 1]);
        multiply_rows(dE, stride_below, mask, own.n, team->b, own.n);
    }
    const real* const total = of_share(team, share, at->totals, at->own[k - 1]);
    const real* const y = of_share(team, share, at->outputs, at->own[k - 1]);
    const integer mixed = mixed_at(plan, k - 1, own);
    if (mixed < 0) {
        derive(plan, k - 1, team->b, own.n, total, y, dE, stride_below);
        return;
    }
    const real* const a = (const real*)request->theta + mixed;
    real* const dE_dy = of_share(team, share, at->masks, at->own[k - 1]); /* its mask is not needed any more */
    copy_rows(dE_dy, own.n, dE, stride_below, team->b, own.n);
    multiply_rows(dE, stride_below, a, 0, team->b, own.n);
    derive(plan, k - 1, team->b, own.n, total, y, dE, stride_below);
    add_unmixed_rows(dE, stride_below, dE_dy, a, team->b, own.n);
}

/* --- parameters --- */

/* Change rows of parameters by the optimizer; after the last step see whether they are finite. */
static void change(
    const struct team* team, const struct request* request, struct weights w, integer n_rows, integer n,
    const real* gradient, int penalised, real scale, integer share
) {
    const real* const settings = (const real*)request->settings + team->step * request->n_settings;
    const real l2 = penalised ? settings[request->n_settings - 1] : 0;
    ((update_function*)team->plan->update)(
        n_rows, n, w.stride, w.theta, gradient, w.first, w.second, w.rate_factors, w.decay_factors, l2, scale, settings
    );
    if (team->step == request->end - 1 && !all_finite(w.theta, n_rows, n, w.stride)) request->finite[share] = 0;
}

static struct weights from_row(struct weights w, integer offset) {
    return (struct weights){
        w.theta + offset, moved(w.first, offset), moved(w.second, offset), moved(w.rate_factors, offset),
        moved(w.decay_factors, offset), w.stride};
}

/* Where a gradient is that is computed as a whole, before any parameter is changed. */
static real* whole_gradient(const struct team* team, const struct request* request) {
    return request->gradient ? (real*)request->gradient : (real*)(team->memory + team->at->whole);
}

/* Compute the gradient of the weights of a share's parametric activations in a layer, and use it. */
static void change_activation(
    const struct team* team, const struct request* request, integer k, integer share, real scale
) {
    const struct plan* plan = team->plan;
    const struct layout* at = team->at;
    const struct range own = units_of(team, k, share);
    const integer mixed = mixed_at(plan, k, own);
    if (mixed < 0) return;
    real* const gradient =
        at->whole_gradient ? whole_gradient(team, request) + mixed : of_share(team, share, at->gradient, 0);
    if (!team->adds) memset(gradient, 0, (size_t)own.n * sizeof(real));
    add_mixed_rows(
        gradient, of_share(team, share, at->masks, at->own[k]), of_share(team, share, at->totals, at->own[k]),
        of_share(team, share, at->outputs, at->own[k]), team->b, own.n
    );
    if (plan->mask) multiply_rows(gradient, 0, (const real*)plan->mask + mixed, 0, 1, own.n);
    if (!at->whole_gradient) {
        change(team, request, weights_from(request, mixed, own.n), 1, own.n, gradient, 0, scale, share);
    }
}

/* Compute the gradient of a share's weights and biases in a layer, eq. (6), in parts of some rows, and use each; return
 * the sum of the squared weights before. */
static double change_layer(const struct team* team, const struct request* request, integer k, integer share, real scale) {
    const struct plan* plan = team->plan;
    const struct layout* at = team->at;
    const integer n = plan->sizes[k + 1], whole = at->whole_gradient;
    const struct range columns = units_of(team, k, share);
    const int by_columns = k == 0 && plan->n_layers > 1;
    const struct range own = by_columns ? columns : (struct range){0, n};
    const struct weights w = weights_of(team, request, k, share);
    const real* const mask = plan->mask ? (const real*)plan->mask + at->starts[k] : NULL;
    integer stride, row = 0; /* the row of the layer where a part begins */
    const real* const signals = signals_of(team, k, share, &stride);
    real* const all = whole_gradient(team, request) + at->starts[k];
    real* const own_gradient = of_share(team, share, at->gradient, 0);
    const integer gradient_stride = whole ? n : own.n;
    double squares = 0;
    for (integer part = plan->parts_at[k]; part < plan->parts_at[k + 1]; ++part) {
        const int is_sparse = plan->sparse && k == 0;
        const struct sparse_rows x = sparse_batch(team, request);
        const struct below below = below_of(team, request, k, part, share);
        const integer at_once = is_sparse ? below.units.n : ROWS;
        for (integer begin = 0; begin < below.units.n; begin += at_once) {
            const integer n_rows = below.units.n - begin < at_once ? below.units.n - begin : at_once;
            const integer first = row + below.units.low + begin;
            real* const own_part = is_sparse ? of_share(team, share, at->sparse_gradient, 0) : own_gradient;
            real* const gradient = whole ? all + first * n + own.low : own_part;
            if (is_sparse) {
                for (integer i = 0; whole && !team->adds && i < n_rows; ++i) {
                    memset(gradient + i * n, 0, (size_t)own.n * sizeof(real));
                }
                add_sparse_gradient(&x, signals, stride, gradient, gradient_stride, own.n);
            } else {
                multiply_transposed_first(
                    plan->gemm, n_rows, own.n, team->b, below.y + begin, below.stride, signals, stride,
                    team->adds ? 1 : 0, gradient, gradient_stride
                );
            }
            const struct weights rows = from_row(w, first * w.stride);
            if (plan->squares_wanted) squares += sum_of_squares(rows.theta, n_rows, own.n, w.stride);
            if (mask) multiply_rows(gradient, gradient_stride, mask + first * n + own.low, n, n_rows, own.n);
            if (!whole) change(team, request, rows, n_rows, own.n, gradient, 1, scale, share);
            if (is_sparse && !whole) clear_sparse_gradient(&x, gradient, gradient_stride, own.n);
        }
        row += plan->sizes[plan->part_from[part]];
    }
    if (plan->bias) {
        real* const gradient = whole ? all + row * n + columns.low : own_gradient;
        if (!team->adds) memset(gradient, 0, (size_t)columns.n * sizeof(real));
        add_rows(gradient, team->b, columns.n, signals + (by_columns ? 0 : columns.low), stride);
        if (mask) multiply_rows(gradient, 0, mask + row * n + columns.low, 0, 1, columns.n);
        if (!whole) {
            const struct weights biases = from_row(w, row * w.stride + (by_columns ? 0 : columns.low));
            change(team, request, biases, 1, columns.n, gradient, 0, scale, share);
        }
    }
    change_activation(team, request, k, share, scale);
    return squares;
}

/* Average a gradient over the parameters that are the same weight; 0 where there is none. */
static void average(const struct plan* plan, real* gradient, real* sums) {
    for (integer weight = 0; weight < plan->n_weights; ++weight) sums[weight] = 0;
    for (integer i = 0; i < plan->n_places; ++i) sums[plan->weight_at[i]] += gradient[plan->places[i]];
    for (integer weight = 0; weight < plan->n_weights; ++weight) sums[weight] /= ((const real*)plan->n_equal)[weight];
    memset(gradient, 0, (size_t)plan->n_parameters * sizeof(real));
    for (integer i = 0; i < plan->n_places; ++i) gradient[plan->places[i]] = sums[plan->weight_at[i]];
}

/* Positions of theta that a share has of a layer's weights, of its biases, or of the weights of activations. */
struct segment {
    integer low, high;
    int is_weight;
};

/* Find the share's next segment, of `*number` from 0 on; 0 after the last. */
static int next_segment(const struct team* team, integer share, integer* number, struct segment* segment) {
    const struct plan* plan = team->plan;
    const struct range mine = share_of(plan->n_parameters, share, plan->n_shares);
    while (*number < 2 * plan->n_layers) {
        const integer k = *number / 2, n = plan->sizes[k + 1], biases = team->at->starts[k] + team->at->rows[k] * n;
        segment->is_weight = (*number)++ % 2 == 0;
        segment->low = largest(mine.low, segment->is_weight ? team->at->starts[k] : biases);
        segment->high = segment->is_weight ? biases : biases + (plan->bias ? n : 0);
        if (*number == 2 * plan->n_layers) segment->high = plan->n_parameters; /* after the last biases */
        if (segment->high > mine.low + mine.n) segment->high = mine.low + mine.n;
        if (segment->low < segment->high) return 1;
    }
    return 0;
}

/* Complete numbers of a gradient: add the penalty's and take the mean; return the sum of their squares. */
static double complete_numbers(real* gradient, const real* theta, integer n, real l2, real scale) {
    double sums[8] = {0};
    integer i = 0;
    for (; i + 8 <= n; i += 8) {
        for (integer k = 0; k < 8; ++k) {
            gradient[i + k] = (gradient[i + k] + l2 * theta[i + k]) * scale;
            sums[k] += (double)gradient[i + k] * (double)gradient[i + k];
        }
    }
    for (; i < n; ++i) {
        gradient[i] = (gradient[i] + l2 * theta[i]) * scale;
        sums[0] += (double)gradient[i] * (double)gradient[i];
    }
    return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

/* Complete a share's part of a gradient to be clipped; note a number, and the sum of squares divided by its square. */
static void complete_gradient(const struct team* team, const struct request* request, integer share, real scale) {
    const real* const settings = (const real*)request->settings + team->step * request->n_settings;
    real* const gradient = whole_gradient(team, request);
    const real* const theta = (const real*)request->theta;
    double sum = 0, divisor = 1;
    struct segment at;
    for (integer number = 0; next_segment(team, share, &number, &at);) {
        const real l2 = at.is_weight ? settings[request->n_settings - 1] : 0;
        sum += complete_numbers(gradient + at.low, theta + at.low, at.high - at.low, l2, scale);
    }
    if (!(sum > 1e-200 && sum < 1e200)) { /* squares may have been too small or too large for a double */
        const struct range mine = share_of(team->plan->n_parameters, share, team->plan->n_shares);
        divisor = sum = 0;
        for (integer i = mine.low; i < mine.low + mine.n; ++i) {
            const double size = real_abs(gradient[i]);
            divisor = size > divisor || size != size ? size : divisor;
        }
        for (integer i = mine.low; divisor != 0 && i < mine.low + mine.n; ++i) {
            sum += (gradient[i] / divisor) * (gradient[i] / divisor);
        }
    }
    notes_of(team, share)[2] = divisor;
    notes_of(team, share)[3] = sum;
}

/* By what a gradient is multiplied to have no larger norm than `max_norm` (Pascanu et al. 2013). */
static real clipping_factor(const struct team* team, real max_norm) {
    const integer n_shares = team->plan->n_shares;
    double most = 0, sum = 0;
    for (integer share = 0; share < n_shares; ++share) {
        const double own = notes_of(team, share)[2];
        most = own > most || own != own ? own : most;
    }
    for (integer share = 0; share < n_shares; ++share) {
        const double ratio = most > 0 ? notes_of(team, share)[2] / most : 0;
        sum += ratio * ratio * notes_of(team, share)[3];
    }
    const double norm = most * sqrt(sum);
    return (real)(norm > max_norm ? max_norm / norm : norm != norm ? norm : 1);
}

/* Change all parameters by a gradient that is complete; 0 where another thread never comes. */
static int change_by_whole_gradient(struct team* team, const struct request* request, real scale) {
    const struct plan* plan = team->plan;
    real* const gradient = whole_gradient(team, request);
    if (!everyone(team)) return 0;
    if (plan->n_places) {
        if (team->thread == 0) average(plan, gradient, (real*)(team->memory + team->at->sums));
        if (!everyone(team)) return 0;
    }
    int penalised = 1;
    if (plan->clipped) {
        EACH_SHARE(team, share) complete_gradient(team, request, share, scale);
        if (!everyone(team)) return 0;
        const real* const settings = (const real*)request->settings + team->step * request->n_settings;
        scale = clipping_factor(team, settings[request->n_settings - 2]);
        penalised = 0;
    }
    EACH_SHARE(team, share) {
        struct segment at;
        for (integer number = 0; next_segment(team, share, &number, &at);) {
            const integer n = at.high - at.low;
            const struct weights w = weights_from(request, at.low, n);
            change(team, request, w, 1, n, gradient + at.low, penalised && at.is_weight, scale, share);
        }
    }
    return everyone(team);
}

/* --- steps --- */

/* Choose the present samples: so many from `first` on, in the order of the epoch. */
static void choose_samples(struct team* team, const struct request* request, integer first, integer n) {
    const integer epoch = team->step / steps_of_epoch(request);
    team->first = first;
    team->b = n;
    team->order = NULL;
    if (request->order) {
        team->order = request->order + epoch * request->order_apart + first;
        gather_batch(team, request, team->order, n);
    }
    if (team->plan->drops && team->plan->drops[0]) drop_inputs(team, request);
}

/* By what sums over samples are multiplied. */
static double scale_of(const struct plan* plan, double weight) {
    if (!plan->mean) return 1;
    return weight != 0 ? 1 / weight : 0; /* a batch whose weights sum to 0 has no effect */
}

/* Pass the present samples forward and backward, and change the parameters unless all of the gradient is needed first;
 * add to the loss and the weight; 0 where another thread never comes. */
static int pass_samples(struct team* team, const struct request* request, double* loss, double* weight) {
    const struct plan* plan = team->plan;
    const integer last = plan->n_layers - 1, n_shares = plan->n_shares;
    if (!forward(team, request)) return 0;
    EACH_SHARE(team, share) loss_of_samples(team, request, share);
    if (!everyone(team)) return 0;

    for (integer share = 0; share < n_shares; ++share) {
        *loss += notes_of(team, share)[0];
        *weight += notes_of(team, share)[1];
    }
    const double scale = scale_of(plan, *weight);
    double* const squares = request->squares + team->step * n_shares;
    EACH_SHARE(team, share) squares[share] = 0;
    for (integer k = last; k >= 0; --k) {
        EACH_SHARE(team, share) {
            if (k > 0) signals_below(team, request, k, share);
            squares[share] += change_layer(team, request, k, share, (real)scale);
        }
        if (k > 1 && !everyone(team)) return 0;
    }
    return 1;
}

/* Take one step, or do one phase of it; 0 where another thread never comes. */
static int take_step(struct team* team, const struct request* request) {
    const struct plan* plan = team->plan;
    const integer at = team->step % steps_of_epoch(request) * request->batch;
    const integer n = request->n_samples - at < request->batch ? request->n_samples - at : request->batch;
    const struct range mine = share_of(n, plan->rank, plan->n_processes);
    const integer part = shares_of(mine.n, plan->n_parts);
    double loss = 0, weight = 0;
    if (request->phase == UPDATE) {
        return change_by_whole_gradient(team, request, (real)scale_of(plan, request->sample_weights[team->step]));
    }
    integer begin = 0;
    do { /* once if there is no sample */
        choose_samples(team, request, at + mine.low + begin, mine.n - begin < part ? mine.n - begin : part);
        team->adds = begin > 0 || (!plan->update && team->step > 0);
        if (!pass_samples(team, request, &loss, &weight)) return 0;
        begin += part;
    } while (begin < mine.n);
    const double scale = request->phase == GRADIENT ? 1 : scale_of(plan, weight);
    if (team->thread == 0) {
        request->values[team->step] = loss * scale;
        request->sample_weights[team->step] = weight;
    }
    if (request->phase == GRADIENT || !team->at->whole_gradient) return 1;
    return change_by_whole_gradient(team, request, (real)scale);
}

/* Compute the outputs of all samples, which are one batch in their order. */
static int outputs_of_all(struct team* team, const struct request* request) {
    const struct plan* plan = team->plan;
    const integer last = plan->n_layers - 1, n = plan->sizes[last + 1];
    if (!forward(team, request)) return 0;
    EACH_SHARE(team, share) {
        const struct range samples = share_of(team->b, share, plan->n_shares);
        real* const total = of_share(team, share, team->at->totals, team->at->own[last]);
        total_inputs_of_outputs(team, request, samples, total);
        activate(plan, last, samples.n, n, total, (real*)request->outputs + samples.low * n);
    }
    return 1;
}

/* Copy a share's part of the parameters to start from. */
static void copy_start(const struct team* team, const struct request* request, integer share) {
    const struct range mine = share_of(team->plan->n_parameters, share, team->plan->n_shares);
    memcpy((real*)request->theta + mine.low, (const real*)request->start + mine.low, (size_t)mine.n * sizeof(real));
}

/* Keep the parameters after the last step of an epoch; 0 where another thread never comes. */
static int keep_theta(struct team* team, const struct request* request) {
    const struct plan* plan = team->plan;
    real* const kept = moved(request->thetas, team->step / steps_of_epoch(request) * request->thetas_apart);
    EACH_SHARE(team, share) {
        if (plan->apart) move_first_layer(team, request, share, 1);
    }
    if (!everyone(team)) return 0;
    EACH_SHARE(team, share) {
        const struct range mine = share_of(plan->n_parameters, share, plan->n_shares);
        memcpy(kept + mine.low, (const real*)request->theta + mine.low, (size_t)mine.n * sizeof(real));
    }
    return everyone(team);
}

/* Take the steps of a request for one network; 0 where another thread never comes. */
static int take_steps(struct team* team, const struct request* request) {
    const struct plan* plan = team->plan;
    if (request->start) {
        EACH_SHARE(team, share) copy_start(team, request, share);
        if (!everyone(team)) return 0;
    }
    EACH_SHARE(team, share) {
        request->finite[share] = 1;
        if (plan->apart) move_first_layer(team, request, share, 0);
        if (plan->sparse) {
            memset(of_share(team, share, team->at->sparse_gradient, 0), 0, (size_t)team->at->sparse_size * sizeof(real));
        }
    }
    for (team->step = request->begin; team->step < request->end; ++team->step) {
        if (!take_step(team, request)) return 0;
        const int epoch_ends = request->thetas && (team->step + 1) % steps_of_epoch(request) == 0;
        if (epoch_ends && !keep_theta(team, request)) return 0;
    }
    if (request->outputs && request->end == request->n_steps) {
        team->first = 0;
        team->order = NULL;
        team->b = request->n_samples;
        team->step = request->end - 1;
        if (!outputs_of_all(team, request)) return 0;
    }
    EACH_SHARE(team, share) {
        if (plan->apart) move_first_layer(team, request, share, 1);
    }
    return everyone(team);
}

/* --- stacks --- */

enum { NETWORKS_AT_ONCE = 8 }; /* that a thread takes in its turn, at most */

/* What a request for a stack asks of one network. */
static struct request for_network(const struct plan* plan, const struct request* request, integer network) {
    struct request one = *request;
    const integer parameters = network * plan->n_parameters;
    one.n_networks = 1;
    one.x = moved((void*)request->x, network * request->x_apart);
    one.targets = moved((void*)request->targets, network * request->targets_apart);
    one.weights = moved((void*)request->weights, network * request->weights_apart);
    if (request->own) {
        const integer* const own = request->own + 3 * network;
        one.n_samples = own[0];
        one.order = request->order + own[1];
        one.weights = moved((void*)one.weights, own[2]);
    }
    one.own = NULL;
    one.theta = moved((void*)request->theta, parameters);
    one.start = moved((void*)request->start, parameters);
    one.first = moved((void*)request->first, parameters);
    one.second = moved((void*)request->second, parameters);
    one.rate_factors = moved((void*)request->rate_factors, network * request->rate_factors_apart);
    one.decay_factors = moved((void*)request->decay_factors, network * request->decay_factors_apart);
    one.gradient = moved(request->gradient, parameters);
    one.thetas = moved(request->thetas, parameters);
    one.settings = moved((void*)request->settings, network * request->settings_apart);
    one.values += network * request->n_steps;
    one.sample_weights += network * request->n_steps;
    one.squares += network * request->n_steps;
    one.finite += network;
    one.outputs = moved((void*)request->outputs, network * request->n_samples * plan->sizes[plan->n_layers]);
    if (request->keys) one.keys += 2 * network;
    return one;
}

/* Let a network's request use the samples of all its steps gathered: those of the network before it if `again`. */
static void use_gathered(struct team* team, struct request* request, int again) {
    const struct plan* plan = team->plan;
    const integer at = request->begin * request->batch;
    const integer end = request->end * request->batch < request->n_samples ? request->end * request->batch : request->n_samples;
    char* const gathered = gatherer(team);
    const integer* const rows = request->order + at;
    if (!again) {
        gather_batch(team, request, rows, end - at);
    } else if (request->weights) {
        gather((real*)(gathered + team->at->weights), 1, (const real*)request->weights, rows, end - at);
    }
    request->order = NULL;
    request->x = moved(gathered + team->at->x, -at * plan->sizes[0]);
    request->targets = moved(gathered + team->at->targets, -at * plan->sizes[plan->n_layers]);
    if (request->weights) request->weights = moved(gathered + team->at->weights, -at);
}

/* Take the steps of some networks, one after the other, or some steps of each where they share samples. */
static void train_some(struct team* team, const struct request* request, integer low, integer high) {
    const integer window = request->window ? request->window : request->end - request->begin;
    for (integer begin = request->begin; begin < request->end; begin += largest(window, 1)) {
        const integer* gathered = NULL;
        for (integer network = low; network < high; ++network) {
            struct request one = for_network(team->plan, request, network);
            one.begin = begin;
            if (begin > request->begin) one.start = NULL;
            one.end = begin + window < request->end ? begin + window : request->end;
            if (request->window) {
                const integer* const order = one.order;
                use_gathered(team, &one, order == gathered);
                gathered = order;
            }
            take_steps(team, &one);
        }
    }
}

/* Take part in a request for a stack; whichever thread is free takes the next few networks. */
static int train_networks(struct team* team, const struct request* request, integer thread, integer n_threads) {
    const integer some = request->n_networks / (4 * n_threads);
    const integer at_once = some < 1 ? 1 : some < NETWORKS_AT_ONCE ? some : NETWORKS_AT_ONCE;
    _Atomic integer* const taken = &team->mailbox->taken.number;
    integer low;
    while ((low = atomic_fetch_add(taken, 1) * at_once) < request->n_networks) {
        const integer high = low + at_once < request->n_networks ? low + at_once : request->n_networks;
        train_some(team, request, low, high);
    }
    return (int)wait_for_all(team->mailbox, thread, n_threads, 1);
}

/* Do requests for training as one of several threads: the first returns after one, others when no more come. */
static void train_as_requested(
    const struct plan* plan, const struct request* request, struct mailbox* mailbox, integer thread
) {
    const struct layout* const at = (const struct layout*)plan->workspace;
    integer served = read_place(&mailbox->requested[thread]);
    while (1) {
        const integer n_threads = read_place(&mailbox->n_threads);
        struct team team = {.plan = plan, .at = at, .mailbox = mailbox, .n_threads = 1};
        int done;
        if (plan->stack) {
            team.memory = team_at(plan, at, thread);
            done = train_networks(&team, request, thread, n_threads);
        } else {
            team.memory = team_at(plan, at, 0);
            team.thread = thread;
            team.n_threads = n_threads;
            done = take_steps(&team, request);
        }
        if (!done || thread == 0 || !next_request(mailbox, thread, served)) return;
        ++served;
    }
}

/* Do requests for training with arithmetic in which subnormal numbers are 0, and leave the thread's as it was. */
static void train(const struct plan* plan, const struct request* request, struct mailbox* mailbox, integer thread) {
    const uint64_t before = arithmetic_mode();
    set_arithmetic_mode(before | ZERO_FOR_SUBNORMAL);
    train_as_requested(plan, request, mailbox, thread);
    set_arithmetic_mode(before);
}

#endif
