// Streams and events. Work waits in its stream until something has to wait for it: as late as CUDA allows, so that a
// missing wait shows as wrong numbers on every run, not on some.
#include <chrono>
#include <map>

#include "gpu.hpp"

namespace {

using Clock = std::chrono::steady_clock;

// A real stream does not hold more than this either before submitting has to wait.
const long LONGEST_QUEUE = 4096;

std::map<int, std::unique_ptr<gpu::Stream>> legacy;  // default streams, by device
std::map<cudaStream_t, std::unique_ptr<gpu::Stream>> made;
std::vector<std::unique_ptr<gpu::Stream>> destroyed;  // events keep their addresses

struct Event {
    gpu::Stream* stream = nullptr;  // in which it was recorded last,
    long position = 0;              // and after how much work
    Clock::time_point time;
    std::shared_ptr<gpu::Capture> capture;  // in which it was recorded,
    std::vector<int> nodes;                 // and the nodes before it
};

bool is_eager() {
    static const bool eager = gpu::setting("CUDA_ON_CPU_EAGER", 0);
    return eager;
}

bool is_done(const Event& event) { return !event.stream || event.stream->done >= event.position; }

bool is_legacy(cudaStream_t handle) { return !handle || handle == cudaStreamLegacy || handle == cudaStreamPerThread; }

gpu::Stream& legacy_stream(int device) {
    auto& stream = legacy[device];
    if (!stream) stream.reset(new gpu::Stream{device, true});
    return *stream;
}

void enqueue(gpu::Stream& stream, gpu::Work work) {
    stream.queue.push_back(std::move(work));
    ++stream.submitted;
    if (is_eager()) gpu::run_all();
    else if (stream.submitted - stream.done > LONGEST_QUEUE) gpu::run_until(stream, stream.done + LONGEST_QUEUE / 2);
}

// The legacy default stream and the blocking streams of its device wait for one another.
void wait_implicitly(gpu::Stream& stream, bool legacy) {
    for (gpu::Stream* other : gpu::all_streams()) {
        bool waits = other->device == stream.device && other != &stream && other->blocking;
        if (waits && (legacy || other == &legacy_stream(stream.device)) && other->done < other->submitted) {
            long position = other->submitted;
            enqueue(stream, [other, position] { gpu::run_until(*other, position); });
        }
    }
}

}  // namespace

namespace gpu {

Stream& find_stream(cudaStream_t handle) {
    return is_legacy(handle) ? legacy_stream(current_device()) : *made.at(handle);
}

std::vector<Stream*> all_streams() {
    std::vector<Stream*> all;
    for (auto& one : legacy) all.push_back(one.second.get());
    for (auto& one : made) all.push_back(one.second.get());
    return all;
}

cudaError_t submit(cudaStream_t handle, Work work) {
    Stream& stream = find_stream(handle);
    if (stream.capture) {
        if (!is_valid(*stream.capture)) return cudaErrorStreamCaptureInvalidated;
        record(stream, std::move(work));
        return cudaSuccess;
    }
    if (fault()) return fault();
    if (is_legacy(handle)) {
        for (Stream* other : all_streams()) {
            if (other->capture && other->blocking && other->device == stream.device) {
                invalidate(*other);
                return cudaErrorStreamCaptureImplicit;
            }
        }
    }
    if (stream.blocking) wait_implicitly(stream, is_legacy(handle));
    enqueue(stream, std::move(work));
    return cudaSuccess;
}

void run_until(Stream& stream, long position) {
    while (stream.done < position && stream.next < stream.queue.size()) {
        Work work = std::move(stream.queue[stream.next++]);
        if (!fault()) work();  // after a fault a GPU runs nothing more
        ++stream.done;
        if (stream.next == stream.queue.size()) {
            stream.queue.clear();
            stream.next = 0;
        }
    }
}

void run_all() {
    for (Stream* stream : all_streams()) run_until(*stream, stream->submitted);
}

}  // namespace gpu

API cudaError_t cudaStreamCreateWithPriority(cudaStream_t* handle, unsigned flags, int) {
    LOCK;
    auto* stream = new gpu::Stream{gpu::current_device(), !(flags & cudaStreamNonBlocking)};
    *handle = (cudaStream_t)stream;
    made[*handle].reset(stream);
    return cudaSuccess;
}
API cudaError_t cudaStreamCreateWithFlags(cudaStream_t* handle, unsigned flags) {
    return cudaStreamCreateWithPriority(handle, flags, 0);
}
API cudaError_t cudaStreamCreate(cudaStream_t* handle) { return cudaStreamCreateWithPriority(handle, 0, 0); }
API cudaError_t cudaStreamDestroy(cudaStream_t handle) {
    LOCK;
    gpu::Stream& stream = gpu::find_stream(handle);
    gpu::run_until(stream, stream.submitted);  // here at the latest, though a GPU may do it later
    destroyed.push_back(std::move(made[handle]));
    made.erase(handle);
    return cudaSuccess;
}
API cudaError_t cudaStreamGetFlags(cudaStream_t handle, unsigned* flags) {
    LOCK;
    *flags = gpu::find_stream(handle).blocking ? cudaStreamDefault : cudaStreamNonBlocking;
    return cudaSuccess;
}
API cudaError_t cudaStreamGetPriority(cudaStream_t, int* priority) {
    *priority = 0;
    return cudaSuccess;
}
API cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
    LOCK;
    ++gpu::counters.synchronizations;
    gpu::Stream& stream = gpu::find_stream(handle);
    if (stream.capture) return gpu::refuse(stream);
    if (is_legacy(handle)) wait_implicitly(stream, true);
    gpu::run_until(stream, stream.submitted);
    return gpu::fault();
}
// A query lets one piece of work end, so that a loop of queries ends as well.
API cudaError_t cudaStreamQuery(cudaStream_t handle) {
    LOCK;
    gpu::Stream& stream = gpu::find_stream(handle);
    if (stream.capture) return gpu::refuse(stream);
    bool done = stream.done == stream.submitted;
    gpu::run_until(stream, stream.done + 1);
    if (gpu::fault()) return gpu::fault();
    return done ? cudaSuccess : cudaErrorNotReady;
}
API cudaError_t cudaDeviceSynchronize() {
    LOCK;
    ++gpu::counters.synchronizations;
    if (cudaError_t error = gpu::refuse_on_device(gpu::current_device())) return error;
    gpu::run_all();
    return gpu::fault();
}

API cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
    *event = (cudaEvent_t) new Event;
    return cudaSuccess;
}
API cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, 0); }
API cudaError_t cudaEventDestroy(cudaEvent_t) {
    return cudaSuccess;  // work in a queue may still have its address
}
API cudaError_t cudaEventRecord(cudaEvent_t handle, cudaStream_t stream_handle) {
    LOCK;
    Event& event = *(Event*)handle;
    gpu::Stream& stream = gpu::find_stream(stream_handle);
    event.capture = stream.capture;
    event.nodes = stream.last;
    if (stream.capture) return cudaSuccess;
    cudaError_t error = gpu::submit(stream_handle, [&event] { event.time = Clock::now(); });
    event.stream = &stream;
    event.position = stream.submitted;
    return error;
}
API cudaError_t cudaEventQuery(cudaEvent_t handle) {
    LOCK;
    Event& event = *(Event*)handle;
    if (event.capture) return cudaErrorCapturedEvent;
    bool done = is_done(event);
    if (!done) gpu::run_until(*event.stream, event.stream->done + 1);
    if (gpu::fault()) return gpu::fault();
    return done ? cudaSuccess : cudaErrorNotReady;
}
API cudaError_t cudaEventSynchronize(cudaEvent_t handle) {
    LOCK;
    ++gpu::counters.synchronizations;
    Event& event = *(Event*)handle;
    if (event.capture) return cudaErrorCapturedEvent;
    if (event.stream) gpu::run_until(*event.stream, event.position);
    return gpu::fault();
}
API cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t from, cudaEvent_t to) {
    LOCK;
    const Event &first = *(Event*)from, &second = *(Event*)to;
    if (!first.stream || !second.stream) return cudaErrorInvalidResourceHandle;
    if (!is_done(first) || !is_done(second)) return cudaErrorNotReady;
    *milliseconds = std::chrono::duration<float, std::milli>(second.time - first.time).count();
    return cudaSuccess;
}
API cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event_handle, unsigned) {
    LOCK;
    const Event event = *(Event*)event_handle;  // as it is now: it may be recorded again
    gpu::Stream& stream = gpu::find_stream(handle);
    if (event.capture) {
        gpu::join(stream, event.capture, event.nodes);
        return cudaSuccess;
    }
    if (!event.stream || is_done(event)) {
        if (stream.capture && event.stream) return cudaErrorStreamCaptureIsolation;
        return cudaSuccess;
    }
    if (stream.capture) {
        gpu::invalidate(stream);
        return cudaErrorStreamCaptureIsolation;
    }
    return gpu::submit(handle, [event] { gpu::run_until(*event.stream, event.position); });
}
