// Devices, their properties, versions and errors. They look like an H200, in how much a kernel may use as well.
#include <cstdio>
#include <cstring>
#include <map>

#include "gpu.hpp"
#include "limits.hpp"

using namespace gpu;

namespace {

const int VERSION = 13000, MAJOR = 9, MINOR = 0, PROCESSORS = 132;

thread_local int device = 0;
cudaError_t first_fault = cudaSuccess;

const std::map<int, std::pair<const char*, const char*>> ERRORS = {
    {0, {"cudaSuccess", "all went well"}},
    {1, {"cudaErrorInvalidValue", "an argument is out of its range"}},
    {2, {"cudaErrorMemoryAllocation", "out of memory"}},
    {101, {"cudaErrorInvalidDevice", "there is no device of this number"}},
    {200, {"cudaErrorInvalidKernelImage", "the kernel cannot be loaded"}},
    {400, {"cudaErrorInvalidResourceHandle", "the stream or event is of another device, or none"}},
    {401, {"cudaErrorIllegalState", "the stream is captured already"}},
    {500, {"cudaErrorSymbolNotFound", "there is no kernel of this name"}},
    {600, {"cudaErrorNotReady", "work is not done yet"}},
    {700, {"cudaErrorIllegalAddress", "an address is not of this device"}},
    {719, {"cudaErrorLaunchFailure", "a kernel failed"}},
    {801, {"cudaErrorNotSupported", "not there on the CPU"}},
    {900, {"cudaErrorStreamCaptureUnsupported", "not allowed while a stream is captured"}},
    {901, {"cudaErrorStreamCaptureInvalidated", "an earlier error has ended the capture"}},
    {903, {"cudaErrorStreamCaptureUnmatched", "the capture was not begun in this stream"}},
    {904, {"cudaErrorStreamCaptureUnjoined", "a stream of the capture was not waited for"}},
    {905, {"cudaErrorStreamCaptureIsolation", "a captured stream would wait for work outside"}},
    {906, {"cudaErrorStreamCaptureImplicit", "the default stream would wait for a captured one"}},
    {907, {"cudaErrorCapturedEvent", "the event was recorded in a capture"}},
};

const char* name_of(int error) { return ERRORS.count(error) ? ERRORS.at(error).first : "cudaErrorUnknown"; }
const char* text_of(int error) { return ERRORS.count(error) ? ERRORS.at(error).second : "of unknown cause"; }

}  // namespace

namespace gpu {

int current_device() { return device; }
int n_devices() {
    static const int n = setting("CUDA_ON_CPU_DEVICES", 1);
    return n;
}
cudaError_t fault() { return first_fault; }
void set_fault(cudaError_t error, const char* what) {
    fprintf(stderr, "CUDA on the CPU: %s: %s\n", what, text_of(error));
    if (!first_fault) first_fault = error;
}

}  // namespace gpu

// A GPU needs a new process after a fault; tests of faults share one.
API void cuda_on_cpu_forget_fault() { first_fault = cudaSuccess; }

API cudaError_t cudaGetDevice(int* out) {
    *out = device;
    return cudaSuccess;
}
API cudaError_t cudaSetDevice(int wanted) {
    if (wanted < 0 || wanted >= gpu::n_devices()) return cudaErrorInvalidDevice;
    device = wanted;
    return cudaSuccess;
}
API cudaError_t cudaGetDeviceCount(int* n) {
    *n = gpu::n_devices();
    return *n ? cudaSuccess : cudaErrorNoDevice;
}
API cudaError_t cudaDriverGetVersion(int* version) {
    *version = VERSION;
    return cudaSuccess;
}
API cudaError_t cudaRuntimeGetVersion(int* version) {
    *version = VERSION;
    return cudaSuccess;
}
API const char* cudaGetErrorName(cudaError_t error) { return name_of(error); }
API const char* cudaGetErrorString(cudaError_t error) { return text_of(error); }
API cudaError_t cudaGetLastError() { return cudaSuccess; }
API cudaError_t cudaPeekAtLastError() { return cudaSuccess; }

API cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int of) {
    if (of < 0 || of >= gpu::n_devices()) return cudaErrorInvalidDevice;
    static const std::map<int, int> values = {
        {cudaDevAttrComputeCapabilityMajor, MAJOR},
        {cudaDevAttrComputeCapabilityMinor, MINOR},
        {cudaDevAttrMaxThreadsPerBlock, (int)MOST_THREADS},
        {cudaDevAttrMaxBlockDimX, (int)MOST_THREADS},
        {cudaDevAttrMaxBlockDimY, (int)MOST_THREADS},
        {cudaDevAttrMaxBlockDimZ, 64},
        {cudaDevAttrMaxGridDimX, 0x7fffffff},
        {cudaDevAttrMaxGridDimY, (int)MOST_BLOCKS},
        {cudaDevAttrMaxGridDimZ, (int)MOST_BLOCKS},
        {cudaDevAttrMaxSharedMemoryPerBlock, (int)SHARED},
        {cudaDevAttrMaxSharedMemoryPerBlockOptin, (int)MOST_SHARED},
        {cudaDevAttrMaxSharedMemoryPerMultiprocessor, 228 << 10},
        {cudaDevAttrMultiProcessorCount, PROCESSORS},
        {cudaDevAttrWarpSize, (int)WARP},
        {cudaDevAttrUnifiedAddressing, 1},
        {cudaDevAttrPageableMemoryAccess, 0},
    };
    auto found = values.find(attribute);
    *value = found == values.end() ? 0 : found->second;
    return cudaSuccess;
}
API cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int of) {
    if (of < 0 || of >= gpu::n_devices()) return cudaErrorInvalidDevice;
    memset(properties, 0, sizeof *properties);
    snprintf(properties->name, sizeof properties->name, "CUDA on the CPU");
    properties->major = MAJOR;
    properties->minor = MINOR;
    properties->multiProcessorCount = PROCESSORS;
    properties->warpSize = WARP;
    properties->totalGlobalMem = gpu::capacity();
    properties->sharedMemPerBlock = SHARED;
    properties->sharedMemPerBlockOptin = MOST_SHARED;
    properties->maxThreadsPerBlock = MOST_THREADS;
    properties->uuid.bytes[0] = 1 + of;  // devices differ by it
    return cudaSuccess;
}
API cudaError_t cudaDeviceGetPCIBusId(char* text, int size, int of) {
    snprintf(text, size, "0000:%02x:00.0", of);
    return cudaSuccess;
}
API cudaError_t cudaDeviceCanAccessPeer(int* can, int, int) {
    *can = 0;  // so that arrays of two devices must not be mixed
    return cudaSuccess;
}
API cudaError_t cudaDeviceGetLimit(size_t* value, cudaLimit) {
    *value = 1024;
    return cudaSuccess;
}
API cudaError_t cudaDeviceSetLimit(cudaLimit, size_t) { return cudaSuccess; }

API int cuInit(unsigned) { return 0; }
API int cuDriverGetVersion(int* version) { return cudaDriverGetVersion(version); }
API int cuGetErrorName(int error, const char** text) {
    *text = name_of(error);
    return 0;
}
API int cuGetErrorString(int error, const char** text) {
    *text = text_of(error);
    return 0;
}
// A context stands for its device, which is all that CuPy wants to know of it.
API int cuCtxGetCurrent(void** context) {
    *context = (void*)(size_t)(device + 1);
    return 0;
}
API int cuCtxSetCurrent(void* context) {
    device = (int)(size_t)context - 1;
    return 0;
}
API int cuCtxGetDevice(int* out) {
    *out = device;
    return 0;
}
API int cuStreamGetCtx(void* stream, void** context) {
    LOCK;
    *context = (void*)(size_t)(gpu::find_stream((cudaStream_t)stream).device + 1);
    return 0;
}
