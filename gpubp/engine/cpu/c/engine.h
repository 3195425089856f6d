/* The interface of the compiled engine.
 *
 * engine.c is compiled for each instruction set (VARIANT) and each precision (PRECISION, 32 or 64). Each compilation
 * exports one table of functions, gpubp_<VARIANT>_<PRECISION>; interface.c chooses among the instruction sets.
 * All members of the structures have 64 bits, so that gpubp/engine/cpu/structures.py can mirror them.
 */
#ifndef GPUBP_ENGINE_H
#define GPUBP_ENGINE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#ifdef _WIN32
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

typedef int64_t integer;

/* What stays the same from step to step. Layers are numbered from 0, the first above the inputs. */
struct plan {
    integer n_layers;
    const integer* sizes;           /* n_layers + 1, inputs first */
    const integer* parts_at;        /* n_layers + 1: where the parts of each layer begin, and where the last ends */
    const integer* part_from;       /* for each part the layer it comes from: 0 the inputs, k + 1 the outputs of layer k */
    const integer* groups_at;       /* n_layers + 1: where the groups of each layer begin */
    const integer* group_sizes;     /* units of each group; one group of all units without several softmaxes */
    integer bias;                   /* whether there are biases */
    void* const* values;            /* of each layer's activation: functions that find returns */
    void* const* derivatives;       /* the same; not used for the last layer if fused */
    const double* parameters;       /* of each layer's activation */
    const integer* mixes;           /* where the weights of each parametric activation are in theta, -1 for others; or NULL */
    void* loss;
    double loss_parameter;
    integer fused;                  /* whether the loss computes the outputs and their derivative from the total inputs */
    void* update;                   /* of the optimizer; NULL if only the gradient is wanted, the sum over all steps */
    integer mean;                   /* whether the gradient is divided by the total weight of the batch */
    integer squares_wanted;         /* whether the squared weights are summed */
    integer clipped;                /* whether the norm of the gradient is limited */
    integer n_parameters;           /* of one network */
    const void* mask;               /* n_parameters reals: 1 where there is a connection; NULL if there are all */
    integer n_places;               /* tied weights: how many positions of theta have a weight; 0 without ties */
    const integer* places;
    const integer* weight_at;       /* for each position the number of its weight */
    integer n_weights;
    const void* n_equal;            /* n_weights reals: how many positions have that weight */
    void* gemm;                     /* Fortran's sgemm or dgemm, with 32-bit integers */
    const integer* drops;           /* whether the inputs and each hidden layer have dropout; NULL without any */
    integer rank, n_processes;      /* the processes that share each batch, and which of them this is */
    integer n_parts;                /* into which a process's samples of a batch are divided, one done after the other */
    integer batch;                  /* samples of a part, at most */
    integer gathered_steps;         /* for how many steps samples in another order are gathered at once; 0 if in order */
    integer weighted;               /* whether samples have weights */
    integer sparse;                 /* bits of the numbers of columns of sparse samples, 32 or 64; 0 if x is dense */
    integer n_shares;               /* parts into which the units of each layer are divided */
    integer n_threads;              /* threads that may come */
    integer stack;                  /* whether requests are for a stack of networks */
    integer n_teams;                /* networks trained at the same time */
    integer apart;                  /* whether a share's columns of the first layer are moved together for a call */
    void* workspace;                /* prepare says how many bytes */
};

/* What a call does. For a stack, the arrays of one network follow those of the one before; samples and settings are
 * so many numbers apart as is said, 0 where networks share them. */
struct request {
    integer n_networks;
    integer n_samples;
    const void* x;                  /* (n_samples, n_inputs) reals; of sparse samples the values */
    const void* columns;            /* sparse: of each value its column, */
    const void* row_starts;         /* and where each row begins, and the last ends */
    const void* targets;            /* (n_samples, n_outputs) reals */
    const void* weights;            /* n_samples reals, or NULL */
    integer x_apart, targets_apart, weights_apart;
    const integer* order;           /* rows of the samples, or NULL */
    integer order_apart;            /* from the order of one epoch to that of the next; 0 if all have the same */
    const integer* own;             /* (K, 3): how many samples a network has, where its order and its weights begin */
    integer window;                 /* steps for which samples are gathered for networks with the same order; or 0 */
    integer batch;
    void *theta, *first, *second;   /* parameters and the arrays of the optimizer's state */
    const void* rate_factors;       /* n_parameters reals that multiply the changes of the parameters; or NULL */
    const void* decay_factors;      /* n_parameters reals that multiply their weight decay; or NULL */
    integer rate_factors_apart, decay_factors_apart;
    const void* start;              /* parameters that are copied to theta before the first step; NULL if they are there */
    integer n_steps;                /* of all epochs of the request */
    const void* settings;           /* (n_steps, n_settings) reals: the optimizer's, [max_norm], the penalty's strength */
    integer n_settings, settings_apart;
    double* values;                 /* n_steps: the objective without the penalty */
    double* sample_weights;         /* n_steps: the total weight of each batch */
    double* squares;                /* (n_steps, n_shares): sums of squared weights */
    integer* finite;                /* n_shares: whether the parameters are finite after the last step */
    void* outputs;                  /* (n_samples, n_outputs) reals of the last parameters, or NULL */
    void* thetas;                   /* the parameters after each epoch, or NULL; networks follow each other in one epoch, */
    integer thetas_apart;           /* and so far it is from one epoch to the next */
    integer begin, end;             /* the steps to take now */
    integer phase;                  /* one of the phases below; for other than WHOLE_STEPS one step */
    void* gradient;                 /* K times n_parameters reals, for other phases than WHOLE_STEPS */
    const uint32_t* keys;           /* dropout: (K, 2), the low half of each network's first */
    const double* dropout;          /* for each epoch the rate of the inputs and of each hidden layer */
    integer epoch;                  /* dropout: of the first step */
    integer first_sample;           /* dropout: the position in its epoch of the first sample */
};

/* What is done of steps. The phases of one step are separate where processes add what they have computed in between:
 * the gradient of sums over samples, the value of such a sum, and the total weight. */
enum { WHOLE_STEPS, GRADIENT, UPDATE };

/* Samples whose outputs are computed. */
struct samples {
    integer n;
    const void* x;
    const void* theta;
    void* outputs;
};

struct mailbox;

struct functions {
    integer size_of_plan, size_of_request, size_of_samples;
    void* (*find)(const char* name);                         /* such as "value tanh" */
    integer (*prepare)(const struct plan*);                  /* lay out the workspace if any; how many bytes it needs */
    void (*train)(const struct plan*, const struct request*, struct mailbox*, integer thread);
    void (*outputs)(const struct plan*, const struct samples*, struct mailbox*, integer thread);
    integer (*ask)(struct mailbox*, integer thread, integer requested);
};

#endif
