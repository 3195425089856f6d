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
    {0, {"cudaSuccess", "no error"}},
    {1, {"cudaErrorInvalidValue", "invalid argument"}},
    {2, {"cudaErrorMemoryAllocation", "out of memory"}},
    {101, {"cudaErrorInvalidDevice", "invalid device ordinal"}},
    {200, {"cudaErrorInvalidKernelImage", "device kernel image is invalid"}},
    {400, {"cudaErrorInvalidResourceHandle", "invalid resource handle"}},
    {401, {"cudaErrorIllegalState", "the operation cannot be performed in the present state"}},
    {500, {"cudaErrorSymbolNotFound", "named symbol not found"}},
    {600, {"cudaErrorNotReady", "device not ready"}},
    {700, {"cudaErrorIllegalAddress", "an illegal memory access was encountered"}},
    {719, {"cudaErrorLaunchFailure", "unspecified launch failure"}},
    {801, {"cudaErrorNotSupported", "operation not supported"}},
    {900, {"cudaErrorStreamCaptureUnsupported", "operation not permitted when stream is capturing"}},
    {901, {"cudaErrorStreamCaptureInvalidated", "operation failed due to a previous error during capture"}},
    {903, {"cudaErrorStreamCaptureUnmatched", "capture was not initiated in this stream"}},
    {904, {"cudaErrorStreamCaptureUnjoined", "capture has streams that were not joined to it again"}},
    {905, {"cudaErrorStreamCaptureIsolation", "dependency on uncaptured work in another stream"}},
    {906, {"cudaErrorStreamCaptureImplicit", "operation would make the legacy stream depend on a capturing one"}},
    {907, {"cudaErrorCapturedEvent", "operation not permitted on an event last recorded in a capturing stream"}},
};

const char* name_of(int error) { return ERRORS.count(error) ? ERRORS.at(error).first : "cudaErrorUnknown"; }
const char* text_of(int error) { return ERRORS.count(error) ? ERRORS.at(error).second : "unknown error"; }

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
