// How many of its dear operations the library was asked for, and settings from the environment.
#include "gpu.hpp"

#include <cstdlib>

namespace gpu {

std::recursive_mutex mutex;
Counters counters;

long long setting(const char* name, long long otherwise) {
    const char* text = getenv(name);
    return text && *text ? atoll(text) : otherwise;
}

}  // namespace gpu

API void cuda_on_cpu_counters(gpu::Counters* counters) {
    LOCK;
    *counters = gpu::counters;
}
