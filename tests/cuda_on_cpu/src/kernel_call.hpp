// How the driver calls a kernel that g++ has compiled: shared by the library and by each kernel.
#pragma once
#include <cstddef>

namespace gpu {

struct KernelCall {
    void* arguments;  // one after the other, each at its alignment
    unsigned grid[3], block[3];
    size_t shared_bytes;
    bool backwards;                       // blocks and their threads in reverse order
    bool (*is_accessible)(const void*);   // whether a pointer may be given to a kernel
};

// Each compiled kernel NAME exports the following, as gpu_run_NAME and gpu_pack_NAME.
using RunKernel = const char*(const KernelCall*);             // returns what went wrong, or null
using PackArguments = size_t(void** arguments, void* buffer);  // returns their size; copies them if there is a buffer

}  // namespace gpu
