// What the files of this library share: streams, memory, devices, errors and counters of a GPU that is none.
#pragma once
#include <cuda_runtime_api.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#define API extern "C" __attribute__((visibility("default")))

namespace gpu __attribute__((visibility("default"))) {

using Work = std::function<void()>;

// One lock for everything: CuPy calls from many threads, and nothing here gains from running beside anything else.
extern std::recursive_mutex mutex;
#define LOCK std::lock_guard<std::recursive_mutex> lock(gpu::mutex)

// --- counters.cpp ---

struct Counters {
    long launches, synchronizations, uploads, downloads, allocations, graph_launches, graph_nodes, collectives, uploaded_bytes;
};
extern Counters counters;
long long setting(const char* name, long long otherwise);  // a number in the environment

// --- devices.cpp ---

int current_device();
int n_devices();

// The first error that running work has met. As on a GPU, it comes late and stays: each later call returns it.
cudaError_t fault();
void set_fault(cudaError_t error, const char* what);

// --- streams.cpp ---

struct Graph;
struct Capture;

struct Stream {
    int device;
    bool blocking;  // waits for the legacy default stream, and that one for it
    std::vector<Work> queue = {};
    size_t next = 0;                   // of the queue
    long submitted = 0, done = 0;      // pieces of work
    std::shared_ptr<Capture> capture = {};  // that this stream takes part in,
    std::vector<int> last = {};             // and its nodes that the stream's next one follows
};

Stream& find_stream(cudaStream_t handle);
std::vector<Stream*> all_streams();
cudaError_t submit(cudaStream_t handle, Work work);  // queues work, or records it where the stream is captured
void run_until(Stream& stream, long position);       // the oldest work, until so many pieces are done
void run_all();

// --- graphs.cpp ---

void record(Stream& stream, Work work);               // in the capture of the stream
cudaError_t refuse(Stream& stream);                   // an operation that ends the capture of the stream, if it has one
cudaError_t refuse_unsafe();                          // what is refused while this thread captures, but in relaxed mode
cudaError_t refuse_on_device(int device);             // what is refused while any stream of the device is captured
void invalidate(Stream& stream);                      // the capture that the stream takes part in
void join(Stream& stream, const std::shared_ptr<Capture>& capture, const std::vector<int>& nodes);
bool is_valid(const Capture& capture);

// --- memory.cpp ---

// Whether work of a device may read and write these bytes: its own memory or pinned memory of the host.
bool is_accessible(int device, const void* pointer, size_t bytes);
size_t capacity();  // of each device, in bytes

}  // namespace gpu
