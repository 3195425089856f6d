/* The interface of the compiled engine.
 *
 * engine.c is compiled for each instruction set (VARIANT) and each precision (PRECISION, 32 or 64); each compilation
 * exports one table of functions, gpubp_<VARIANT>_<PRECISION>. interface.c chooses among the instruction sets.
 * Structures hold only 64-bit integers, doubles and pointers, so gpubp/engine/cpu/structures.py can mirror them.
 */
#ifndef GPUBP_ENGINE_H
#define GPUBP_ENGINE_H

#include <stddef.h>
#include <stdint.h>

typedef int64_t integer;

/* What stays the same from step to step: the network, the loss, the optimizer. */
struct plan {
    integer n_layers;          /* above the inputs */
    const integer* sizes;      /* n_layers + 1, inputs first */
    integer bias;              /* whether there are biases */
    void* const* values;       /* of each layer's activation: functions that lookup returns */
    void* const* derivatives;  /* the same; NULL where the loss computes the derivative at the total inputs */
    const double* parameters;  /* of each layer's activation */
    void* loss;
    double loss_parameter;
    void* update;              /* of the optimizer */
    integer mean;              /* whether the gradient is divided by the total weight of the batch */
    integer squares_wanted;    /* whether the sum of the squared weights is computed */
    integer n_parameters;      /* of one network */
    double max_norm_at;        /* reserved */
    const void* mask;          /* n_parameters reals: 1 where there is a connection; NULL if there are all */
    integer n_places;          /* tied weights: the positions in theta that have a weight, 0 if none are tied */
    const integer* places;
    const integer* weight_at;  /* for each position the number of its weight */
    integer n_weights;
    const void* n_equal;       /* n_weights reals: how many positions have that weight */
    void* gemm;                /* Fortran's sgemm or dgemm, with 32-bit integers */
};

#endif
