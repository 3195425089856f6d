// Modules, kernels and their launches. A "module" is the path of a library that compiler.py had g++ make.
#include <dlfcn.h>

#include <cstdio>
#include <cstring>
#include <string>

#include "gpu.hpp"
#include "kernel_call.hpp"
#include "limits.hpp"

using namespace gpu;

namespace {

const char PREFIX[] = "CUDA on the CPU:";
const size_t ALIGNMENT = 64;  // of a kernel's arguments
enum { FUNC_MAX_THREADS = 0, FUNC_MAX_DYNAMIC_SHARED = 8 };

struct Function {
    std::string name;
    gpu::RunKernel* run;
    gpu::PackArguments* pack;
    int most_shared = SHARED;
};

thread_local int running_on;
bool may_be_given(const void* pointer) { return !pointer || gpu::is_accessible(running_on, pointer, 0); }

struct Arguments {
    std::unique_ptr<char[]> bytes;
    void* aligned;

    Arguments(gpu::PackArguments* pack, void** arguments) : bytes(new char[pack(arguments, nullptr) + ALIGNMENT]) {
        aligned = (void*)(((size_t)bytes.get() + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
        pack(arguments, aligned);
    }
};

}  // namespace

API int cuModuleLoadData(void** module, const char* image) {
    if (strncmp(image, PREFIX, sizeof PREFIX - 1)) return cudaErrorInvalidKernelImage;
    *module = dlopen(image + sizeof PREFIX - 1, RTLD_NOW | RTLD_LOCAL);
    if (!*module) fprintf(stderr, "%s\n", dlerror());
    return *module ? cudaSuccess : cudaErrorInvalidKernelImage;
}
API int cuModuleUnload(void*) {
    return cudaSuccess;  // its kernels may still wait in a queue
}
API int cuModuleGetFunction(void** out, void* module, const char* name) {
    auto* run = (gpu::RunKernel*)dlsym(module, (std::string("gpu_run_") + name).c_str());
    auto* pack = (gpu::PackArguments*)dlsym(module, (std::string("gpu_pack_") + name).c_str());
    if (!run || !pack) return cudaErrorSymbolNotFound;
    *out = new Function{name, run, pack};
    return cudaSuccess;
}
API int cuFuncGetAttribute(int* value, int attribute, void* function) {
    *value = attribute == FUNC_MAX_DYNAMIC_SHARED ? ((Function*)function)->most_shared
             : attribute == FUNC_MAX_THREADS      ? (int)MOST_THREADS
                                                  : 0;
    return cudaSuccess;
}
API int cuFuncSetAttribute(void* function, int attribute, int value) {
    if (attribute != FUNC_MAX_DYNAMIC_SHARED) return cudaSuccess;
    if (value > (int)MOST_SHARED) return cudaErrorInvalidValue;
    ((Function*)function)->most_shared = value;
    return cudaSuccess;
}
API int cuLaunchKernel(void* handle, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                       unsigned block_y, unsigned block_z, unsigned shared, void* stream_handle, void** arguments,
                       void**) {
    LOCK;
    Function* function = (Function*)handle;
    bool fits = grid_x && grid_y && grid_z && grid_y <= MOST_BLOCKS && grid_z <= MOST_BLOCKS;
    size_t threads = (size_t)block_x * block_y * block_z;
    fits = fits && threads && threads <= MOST_THREADS && (int)shared <= function->most_shared;
    if (!fits) return cudaErrorInvalidValue;
    int device = gpu::find_stream((cudaStream_t)stream_handle).device;
    if (device != gpu::current_device()) return cudaErrorInvalidResourceHandle;
    ++gpu::counters.launches;
    static const bool backwards = gpu::setting("CUDA_ON_CPU_BACKWARDS", 0);
    auto packed = std::make_shared<Arguments>(function->pack, arguments);
    return gpu::submit((cudaStream_t)stream_handle, [=] {
        gpu::KernelCall call = {packed->aligned, {grid_x, grid_y, grid_z}, {block_x, block_y, block_z},
                                shared,          backwards,                may_be_given};
        running_on = device;
        if (const char* wrong = function->run(&call))
            gpu::set_fault(strstr(wrong, "address") ? cudaErrorIllegalAddress : cudaErrorLaunchFailure,
                           (function->name + ": " + wrong).c_str());
    });
}
