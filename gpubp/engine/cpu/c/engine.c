/* The compiled engine for one instruction set and one precision; see engine.h. */
#include "engine.h"

#include <string.h>

#include "elementary.h"
#include "loops.h"
#include "generated/functions.h"
#include "outputs.h"
#include "steps.h"

/* Find a function by its kind and name, such as "value tanh"; NULL where there is none. */
static void* find(const char* name) {
    for (size_t k = 0; k < sizeof generated / sizeof *generated; ++k) {
        if (!strcmp(generated[k].name, name)) return generated[k].function;
    }
    return NULL;
}

#define JOIN(a, b, c) a##b##_##c
#define TABLE(variant, precision) JOIN(gpubp_, variant, precision)

extern const struct functions TABLE(VARIANT, PRECISION);
const struct functions TABLE(VARIANT, PRECISION) = {
    sizeof(struct plan), sizeof(struct request), sizeof(struct samples), find, prepare, train, outputs, ask,
};
