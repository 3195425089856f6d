// A table of LAPACK's functions.
#include "lapack.hpp"

#include <map>

#include "gpu.hpp"

namespace {
std::map<std::string, void*> functions;
}

namespace gpu {
void* lapack(const std::string& name) {
    auto found = functions.find(name);
    return found == functions.end() ? nullptr : found->second;
}
}  // namespace gpu

API void cuda_on_cpu_set_lapack(const char* name, void* function) { functions[name] = function; }
