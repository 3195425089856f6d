#ifndef GPUBP_PHILOX_H
#define GPUBP_PHILOX_H
#include "elementary.h"
struct philox_place { uint32_t key[2]; integer epoch, step, layer; };
static void philox_mask(real* mask, integer n, integer low, integer units, const struct philox_place* place, double rate) {
    (void)low; (void)place;
    for (integer i = 0; i < n * units; ++i) mask[i] = (real)(1 / (1 - rate));
}
#endif
