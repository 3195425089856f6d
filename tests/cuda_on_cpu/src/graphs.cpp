// Capture of streams into graphs. A graph keeps which node follows which, and runs its nodes in the order that is least
// like the one in which they were captured: a branch that does not wait for what it needs computes with old numbers.
#include <set>
#include <thread>

#include "gpu.hpp"

namespace gpu {

struct Node {
    Work work;
    std::vector<int> after;  // the nodes that it follows
};

struct Graph {
    std::vector<Node> nodes;

    std::vector<Work> in_order() const {
        std::vector<std::vector<int>> followers(nodes.size());
        std::vector<size_t> missing(nodes.size());
        std::set<int> ready;
        for (size_t i = 0; i < nodes.size(); ++i) {
            missing[i] = nodes[i].after.size();
            if (!missing[i]) ready.insert(i);
            for (int before : nodes[i].after) followers[before].push_back(i);
        }
        std::vector<Work> order;
        while (!ready.empty()) {
            int latest = *ready.rbegin();
            ready.erase(latest);
            order.push_back(nodes[latest].work);
            for (int follower : followers[latest])
                if (!--missing[follower]) ready.insert(follower);
        }
        return order;
    }

    // These nodes, and all that they follow.
    std::set<int> ancestors(std::vector<int> of) const {
        std::set<int> found(of.begin(), of.end());
        while (!of.empty()) {
            int node = of.back();
            of.pop_back();
            for (int before : nodes[node].after)
                if (found.insert(before).second) of.push_back(before);
        }
        return found;
    }
};

struct Capture {
    Stream* origin;
    bool relaxed;
    std::thread::id thread;
    bool valid = true;
    Graph graph = {};
};

bool is_valid(const Capture& capture) { return capture.valid; }

void record(Stream& stream, Work work) {
    auto& nodes = stream.capture->graph.nodes;
    nodes.push_back({std::move(work), stream.last});
    stream.last = {(int)nodes.size() - 1};
}

void invalidate(Stream& stream) {
    if (stream.capture) stream.capture->valid = false;
}

cudaError_t refuse(Stream& stream) {
    invalidate(stream);
    return cudaErrorStreamCaptureUnsupported;
}

cudaError_t refuse_unsafe() {
    for (Stream* stream : all_streams())
        if (stream->capture && !stream->capture->relaxed && stream->capture->thread == std::this_thread::get_id())
            return refuse(*stream);
    return cudaSuccess;
}

cudaError_t refuse_on_device(int device) {
    for (Stream* stream : all_streams())
        if (stream->capture && stream->device == device) return refuse(*stream);
    return cudaSuccess;
}

void join(Stream& stream, const std::shared_ptr<Capture>& capture, const std::vector<int>& nodes) {
    stream.capture = capture;
    std::set<int> after(stream.last.begin(), stream.last.end());
    after.insert(nodes.begin(), nodes.end());
    stream.last.assign(after.begin(), after.end());
}

}  // namespace gpu

using gpu::Capture;
using gpu::Graph;

API cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode mode) {
    LOCK;
    if (!handle || handle == cudaStreamLegacy) return cudaErrorStreamCaptureUnsupported;
    gpu::Stream& stream = gpu::find_stream(handle);
    if (stream.capture) return cudaErrorIllegalState;
    stream.capture.reset(new Capture{&stream, mode == cudaStreamCaptureModeRelaxed, std::this_thread::get_id()});
    stream.last.clear();
    return cudaSuccess;
}
API cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t* graph) {
    LOCK;
    gpu::Stream& stream = gpu::find_stream(handle);
    std::shared_ptr<Capture> capture = stream.capture;
    *graph = nullptr;
    if (!capture || capture->origin != &stream) return cudaErrorStreamCaptureUnmatched;
    std::set<int> joined = capture->graph.ancestors(stream.last);
    cudaError_t error = capture->valid ? cudaSuccess : cudaErrorStreamCaptureInvalidated;
    for (gpu::Stream* member : gpu::all_streams()) {
        if (member->capture != capture) continue;
        for (int node : member->last)
            if (!error && !joined.count(node)) error = cudaErrorStreamCaptureUnjoined;
        member->capture.reset();
        member->last.clear();
    }
    if (!error) *graph = (cudaGraph_t) new Graph(capture->graph);
    return error;
}
API cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus* status) {
    LOCK;
    gpu::Stream& stream = gpu::find_stream(handle);
    *status = !stream.capture          ? cudaStreamCaptureStatusNone
              : stream.capture->valid ? cudaStreamCaptureStatusActive
                                      : cudaStreamCaptureStatusInvalidated;
    return cudaSuccess;
}

using Executable = std::vector<gpu::Work>;

API cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
    LOCK;
    *executable = (cudaGraphExec_t) new std::shared_ptr<Executable>(new Executable(((Graph*)graph)->in_order()));
    return cudaSuccess;
}
API cudaError_t cudaGraphLaunch(cudaGraphExec_t handle, cudaStream_t stream) {
    LOCK;
    auto executable = *(std::shared_ptr<Executable>*)handle;
    ++gpu::counters.graph_launches;
    gpu::counters.graph_nodes += executable->size();
    return gpu::submit(stream, [executable] {
        for (const gpu::Work& work : *executable)
            if (!gpu::fault()) work();
    });
}
API cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t) { return cudaSuccess; }
API cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    LOCK;
    delete (Graph*)graph;
    return cudaSuccess;
}
API cudaError_t cudaGraphExecDestroy(cudaGraphExec_t handle) {
    LOCK;
    delete (std::shared_ptr<Executable>*)handle;  // launches that wait in a queue keep the work itself
    return cudaSuccess;
}
