// NCCL for processes of one machine. A collective waits in its stream like a kernel, is captured like one, and adds
// what the processes hold in the order of their ranks, through shared memory. What CuPy asks for beyond this returns an
// error. Where processes call different collectives, which on GPUs wait for ever or mix up numbers, there is a fault.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <thread>

#include "gpu.hpp"

namespace {

// as in nccl.h, which only the wheel of the whole library has
enum Result { SUCCESS = 0, SYSTEM_ERROR = 2, INVALID_ARGUMENT = 4, INVALID_USAGE = 5 };
enum Type { INT32 = 2, UINT32 = 3, INT64 = 4, UINT64 = 5, FLOAT32 = 7, FLOAT64 = 8 };
const int SUM = 0, VERSION = 22707;
struct UniqueId {
    char text[128];
};

const int MOST_RANKS = 16;
const size_t CHUNK = 1 << 18;  // bytes of each process that are exchanged at once

struct Call {
    int type, root;  // the root is -1 for a sum
    size_t count;
    bool operator!=(const Call& other) const {
        return type != other.type || root != other.root || count != other.count;
    }
};

struct Shared {  // by the processes; a new file holds zeros
    std::atomic<long> arrived, begun[MOST_RANKS];
    int devices[MOST_RANKS];
    Call calls[MOST_RANKS];
    char chunks[MOST_RANKS][CHUNK];
};

size_t size_of(int type) {
    switch (type) {
        case INT32: case UINT32: case FLOAT32: return 4;
        case INT64: case UINT64: case FLOAT64: return 8;
        default: return 0;
    }
}

template <class Number>
void add(char* sums, const char* numbers, size_t bytes) {
    for (size_t i = 0; i < bytes / sizeof(Number); ++i) ((Number*)sums)[i] += ((const Number*)numbers)[i];
}

void add(int type, char* sums, const char* numbers, size_t bytes) {
    switch (type) {
        case INT32: case UINT32: return add<unsigned>(sums, numbers, bytes);
        case INT64: case UINT64: return add<unsigned long>(sums, numbers, bytes);
        case FLOAT32: return add<float>(sums, numbers, bytes);
        case FLOAT64: return add<double>(sums, numbers, bytes);
    }
}

struct Communicator {
    int rank, n_ranks, device;
    Shared* shared;
    std::atomic<bool> ending{false};
    std::thread follower;

    // Return once all processes have come here.
    void meet() {
        long all = (shared->arrived++ / n_ranks + 1) * n_ranks;
        for (int turn = 0; shared->arrived < all && !ending; ++turn)
            if (turn < 100) std::this_thread::yield();
            else std::this_thread::sleep_for(std::chrono::microseconds(50));
    }

    void run(const Call& call, const char* from, char* to) {
        size_t bytes = call.count * size_of(call.type);
        bool reads = call.root < 0 || call.root == rank;
        if ((reads && !gpu::is_accessible(device, from, bytes)) || !gpu::is_accessible(device, to, bytes))
            return gpu::set_fault(cudaErrorIllegalAddress, "a collective reaches beyond its array");
        ++gpu::counters.collectives;
        shared->calls[rank] = call;
        ++shared->begun[rank];
        for (size_t start = 0; start < std::max<size_t>(bytes, 1); start += CHUNK) {
            size_t part = std::min(CHUNK, bytes - start);
            if (reads) memcpy(shared->chunks[rank], from + start, part);
            meet();
            for (int other = 0; other < n_ranks; ++other)
                if (shared->calls[other] != call)
                    return gpu::set_fault(cudaErrorLaunchFailure, "processes take part in different collectives");
            memcpy(to + start, shared->chunks[std::max(call.root, 0)], part);
            for (int other = 1; other < n_ranks && call.root < 0; ++other)
                add(call.type, to + start, shared->chunks[other], part);
            meet();
        }
    }

    bool is_late() const {
        return std::any_of(shared->begun, shared->begun + n_ranks, [&](long begun) { return begun > shared->begun[rank]; });
    }

    // A GPU goes on with its work while the host does something else: so does this process when another waits for it.
    void follow() {
        while (!ending) {
            if (is_late()) {
                LOCK;
                if (is_late()) gpu::run_all();  // the host may have waited for it in the meantime, and submitted more
            }
            std::this_thread::sleep_for(std::chrono::microseconds(200));
        }
    }

    ~Communicator() {
        ending = true;
        if (follower.joinable()) follower.join();
        munmap(shared, sizeof *shared);
    }
};

std::vector<std::unique_ptr<Communicator>> communicators;  // work in a queue may still have their addresses

Shared* open_shared(const char* name) {
    int file = shm_open(name, O_RDWR | O_CREAT, 0600);
    if (file < 0 || ftruncate(file, sizeof(Shared))) return nullptr;
    void* memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    return memory == MAP_FAILED ? nullptr : (Shared*)memory;
}

int submit(Call call, const void* from, void* to, Communicator* communicator, cudaStream_t stream) {
    LOCK;
    if (!size_of(call.type) || gpu::find_stream(stream).device != communicator->device) return INVALID_ARGUMENT;
    cudaError_t error = gpu::submit(stream, [=] { communicator->run(call, (const char*)from, (char*)to); });
    return error ? 1 : SUCCESS;  // ncclUnhandledCudaError
}

}  // namespace

API int ncclGetVersion(int* version) {
    *version = VERSION;
    return SUCCESS;
}
API const char* ncclGetErrorString(int result) {
    switch (result) {
        case SUCCESS: return "no error";
        case 1: return "a function of CUDA failed";
        case SYSTEM_ERROR: return "shared memory cannot be had";
        case INVALID_ARGUMENT: return "an argument is out of its range";
        default: return "not allowed, or not there on the CPU";
    }
}
API int ncclGetUniqueId(UniqueId* id) {
    memset(id, 0, sizeof *id);
    std::random_device random;
    snprintf(id->text, sizeof id->text, "/cuda_on_cpu_%d_%08x%08x", getpid(), random(), random());
    return SUCCESS;
}
API int ncclCommInitRankConfig(Communicator** out, int n_ranks, UniqueId id, int rank, void*) {
    if (rank < 0 || rank >= n_ranks || n_ranks > MOST_RANKS) return INVALID_ARGUMENT;
    Shared* shared = open_shared(id.text);
    if (!shared) return SYSTEM_ERROR;
    auto* communicator = new Communicator{rank, n_ranks, gpu::current_device(), shared};
    shared->devices[rank] = communicator->device + 1;
    communicator->meet();
    if (!rank) shm_unlink(id.text);  // all have it open
    {
        LOCK;
        communicators.emplace_back(communicator);
    }
    for (int other = 0; other < n_ranks; ++other)
        if (other != rank && shared->devices[other] == shared->devices[rank]) return INVALID_USAGE;
    communicator->follower = std::thread([communicator] { communicator->follow(); });
    *out = communicator;
    return SUCCESS;
}
API int ncclCommDestroy(Communicator* communicator) {
    {
        LOCK;
        gpu::run_all();
    }
    communicator->ending = true;
    return SUCCESS;
}
API int ncclCommAbort(Communicator* communicator) {
    communicator->ending = true;
    return SUCCESS;
}
API int ncclCommCount(const Communicator* communicator, int* count) {
    *count = communicator->n_ranks;
    return SUCCESS;
}
API int ncclCommCuDevice(const Communicator* communicator, int* device) {
    *device = communicator->device;
    return SUCCESS;
}
API int ncclCommUserRank(const Communicator* communicator, int* rank) {
    *rank = communicator->rank;
    return SUCCESS;
}
API int ncclCommGetAsyncError(const Communicator*, int* error) {
    *error = SUCCESS;
    return SUCCESS;
}
API int ncclAllReduce(const void* from, void* to, size_t count, int type, int op, Communicator* communicator,
                      cudaStream_t stream) {
    if (op != SUM) return INVALID_USAGE;
    return submit({type, -1, count}, from, to, communicator, stream);
}
API int ncclBroadcast(const void* from, void* to, size_t count, int type, int root, Communicator* communicator,
                      cudaStream_t stream) {
    if (root < 0 || root >= communicator->n_ranks) return INVALID_ARGUMENT;
    return submit({type, root, count}, from, to, communicator, stream);
}
