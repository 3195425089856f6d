// Memory of the devices, pinned memory, and copies. New memory and memory that was freed hold bytes of ones: a float
// that was never written is not a number, and an index is -1.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>

#include "gpu.hpp"
#include "limits.hpp"

namespace {

const size_t ALIGNMENT = 512;
const size_t MOST_FREED = 256 << 20;  // bytes of freed memory kept from use, so that old addresses stay invalid

struct Block {
    size_t bytes;
    int device;
};
const int HOST = -1;  // the device of pinned memory

std::map<const char*, Block> blocks;
std::map<int, size_t> used;
std::deque<std::pair<void*, size_t>> freed;
size_t freed_bytes;

const Block* find(const void* pointer, size_t bytes) {
    auto after = blocks.upper_bound((const char*)pointer);
    if (after == blocks.begin()) return nullptr;
    auto& [first, block] = *--after;
    return (const char*)pointer + bytes <= first + block.bytes ? &block : nullptr;
}

void* allocate(size_t bytes, int device) {
    size_t whole = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    void* pointer = aligned_alloc(ALIGNMENT, whole ? whole : ALIGNMENT);
    if (!pointer) return nullptr;
    memset(pointer, gpu::POISON, whole);
    blocks[(char*)pointer] = {bytes, device};
    return pointer;
}

void release(void* pointer, size_t bytes) {
    memset(pointer, gpu::POISON, bytes);
    blocks.erase((char*)pointer);
    freed.emplace_back(pointer, bytes);
    for (freed_bytes += bytes; freed_bytes > MOST_FREED; freed.pop_front()) {
        freed_bytes -= freed.front().second;
        free(freed.front().first);
    }
}

// Queue a copy, and say whether the host has to wait for it.
cudaError_t copy(void* to, const void* from, size_t bytes, cudaStream_t stream_handle, bool synchronous) {
    LOCK;
    if (!bytes) return cudaSuccess;
    gpu::Stream& stream = gpu::find_stream(stream_handle);
    const Block *target = find(to, bytes), *source = find(from, bytes);
    bool to_device = target && target->device != HOST, from_device = source && source->device != HOST;
    if (!to_device && !from_device) {
        memcpy(to, from, bytes);
        return cudaSuccess;
    }
    if (to_device != from_device) ++(to_device ? gpu::counters.uploads : gpu::counters.downloads);
    if (to_device && !from_device) gpu::counters.uploaded_bytes += bytes;
    bool pageable = !target || !source;
    // CUDA may record copies of pageable memory, which then has to stay as it is for as long as the graph
    if (pageable && stream.capture) return gpu::refuse(stream);
    if (cudaError_t error = synchronous ? gpu::refuse_unsafe() : cudaSuccess) return error;

    gpu::Work work;
    if (to_device && pageable) {  // is copied away before the call returns
        auto kept = std::make_shared<std::vector<char>>((const char*)from, (const char*)from + bytes);
        work = [=] { memcpy(to, kept->data(), bytes); };
    } else {
        work = [=] { memcpy(to, from, bytes); };
    }
    // between devices, in the default stream, all earlier work of both comes first, and all later work afterwards
    bool between_devices = to_device && from_device && target->device != source->device && !stream_handle;
    if (between_devices) gpu::run_all();
    if (cudaError_t error = gpu::submit(stream_handle, std::move(work))) return error;
    bool waits = from_device && pageable;  // pageable memory holds the numbers when the call returns
    if (synchronous || waits || between_devices) gpu::run_until(stream, stream.submitted);
    return gpu::fault();
}

}  // namespace

namespace gpu {

bool is_accessible(int device, const void* pointer, size_t bytes) {
    const Block* block = find(pointer, bytes);
    return block && (block->device == device || block->device == HOST);
}

size_t capacity() {
    static const size_t bytes = setting("CUDA_ON_CPU_MEMORY", 141ll << 30);
    return bytes;
}

}  // namespace gpu

API cudaError_t cudaMalloc(void** pointer, size_t bytes) {
    LOCK;
    if (cudaError_t error = gpu::refuse_unsafe()) return error;
    if (gpu::fault()) return gpu::fault();
    size_t& in_use = used[gpu::current_device()];
    if (in_use + bytes > gpu::capacity()) return cudaErrorMemoryAllocation;
    *pointer = allocate(bytes, gpu::current_device());
    if (!*pointer) return cudaErrorMemoryAllocation;
    in_use += bytes;
    ++gpu::counters.allocations;
    return cudaSuccess;
}
API cudaError_t cudaFree(void* pointer) {
    LOCK;
    if (!pointer) return cudaSuccess;
    if (cudaError_t error = gpu::refuse_unsafe()) return error;
    auto found = blocks.find((char*)pointer);
    if (found == blocks.end() || found->second.device == HOST) return cudaErrorInvalidValue;
    gpu::run_all();  // cudaFree waits for the device
    used[found->second.device] -= found->second.bytes;
    release(pointer, found->second.bytes);
    return cudaSuccess;
}
API cudaError_t cudaMemGetInfo(size_t* available, size_t* total) {
    LOCK;
    *total = gpu::capacity();
    *available = *total - used[gpu::current_device()];
    return cudaSuccess;
}
API cudaError_t cudaHostAlloc(void** pointer, size_t bytes, unsigned) {
    LOCK;
    if (cudaError_t error = gpu::refuse_unsafe()) return error;
    *pointer = allocate(bytes, HOST);
    return *pointer ? cudaSuccess : cudaErrorMemoryAllocation;
}
API cudaError_t cudaFreeHost(void* pointer) {
    LOCK;
    auto found = blocks.find((char*)pointer);
    if (found == blocks.end() || found->second.device != HOST) return cudaErrorInvalidValue;
    gpu::run_all();
    release(pointer, found->second.bytes);
    return cudaSuccess;
}
API cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer) {
    LOCK;
    const Block* block = find(pointer, 0);
    memset(attributes, 0, sizeof *attributes);
    attributes->type = !block                  ? cudaMemoryTypeUnregistered
                       : block->device == HOST ? cudaMemoryTypeHost
                                               : cudaMemoryTypeDevice;
    attributes->device = block && block->device != HOST ? block->device : gpu::current_device();
    attributes->devicePointer = block ? (void*)pointer : nullptr;
    attributes->hostPointer = block && block->device == HOST ? (void*)pointer : nullptr;
    return cudaSuccess;
}

API cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
    return copy(to, from, bytes, stream, false);
}
API cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
    return copy(to, from, bytes, nullptr, true);
}
API cudaError_t cudaMemcpyPeerAsync(void* to, int, const void* from, int, size_t bytes, cudaStream_t stream) {
    return copy(to, from, bytes, stream, false);
}
API cudaError_t cudaMemcpyPeer(void* to, int, const void* from, int, size_t bytes) {
    return copy(to, from, bytes, nullptr, true);
}
API cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
    LOCK;
    return find(to, bytes) ? gpu::submit(stream, [=] { memset(to, value, bytes); }) : cudaErrorInvalidValue;
}
API cudaError_t cudaMemset(void* to, int value, size_t bytes) { return cudaMemsetAsync(to, value, bytes, nullptr); }
