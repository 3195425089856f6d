/* The compiled engine for one instruction set and one precision; see engine.h. */
#include "engine.h"

#include <stdlib.h>
#include <string.h>

#include "elementary.h"
#include "loops.h"

#if PRECISION == 32
#include "generated/float32.h"
#else
#include "generated/float64.h"
#endif

#include "outputs.h"
#include "steps.h"

#define LENGTH(table) ((integer)(sizeof(table) / sizeof((table)[0])))

/* Find a function by its name in one of the tables; NULL where there is none. */
static void* find(const char* table, const char* name) {
    if (!strcmp(table, "value") || !strcmp(table, "derivative")) {
        for (integer k = 0; k < LENGTH(activations); ++k) {
            if (strcmp(activations[k].name, name)) continue;
            return table[0] == 'v' ? (void*)activations[k].value : (void*)activations[k].derivative;
        }
    } else if (!strcmp(table, "update")) {
        for (integer k = 0; k < LENGTH(updates); ++k) {
            if (!strcmp(updates[k].name, name)) return (void*)updates[k].function;
        }
    } else {
        for (integer k = 0; k < LENGTH(losses); ++k) {
            if (!strcmp(losses[k].name, name)) return (void*)losses[k].function;
        }
    }
    return NULL;
}

#define JOIN(a, b, c) a##b##_##c
#define TABLE(variant, precision) JOIN(gpubp_, variant, precision)

extern const struct functions TABLE(VARIANT, PRECISION);
const struct functions TABLE(VARIANT, PRECISION) = {
    sizeof(struct plan), sizeof(struct request), sizeof(struct samples), find, prepare, train, outputs, ask,
};
