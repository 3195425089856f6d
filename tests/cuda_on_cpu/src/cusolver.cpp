// cuSOLVER's LU factorization and solution, which is what cupy.linalg.solve calls.
#include "gpu.hpp"
#include "solvers.hpp"

namespace {

enum { SUCCESS = 0, INVALID_VALUE = 3, EXECUTION_FAILED = 6 };

struct Handle {
    cudaStream_t stream = nullptr;
};

int queue(void* handle, gpu::Work work) {
    LOCK;
    ++gpu::counters.launches;
    return gpu::submit(((Handle*)handle)->stream, std::move(work)) ? EXECUTION_FAILED : SUCCESS;
}

template <class T>
int getrf(void* handle, int m, int n, T* a, int lda, int* pivots, int* info) {
    if (m < 0 || n < 0 || lda < m) return INVALID_VALUE;
    return queue(handle, [=] { *info = gpu::factorize<T>(m, n, a, lda, pivots); });
}

template <class T>
int getrs(void* handle, int op, int n, int n_right, const T* a, int lda, const int* pivots, T* b, int ldb, int* info) {
    if (n < 0 || n_right < 0 || lda < n || ldb < n) return INVALID_VALUE;
    return queue(handle, [=] { *info = gpu::solve<T>(op, n, n_right, a, lda, pivots, b, ldb); });
}

}  // namespace

API int cusolverDnCreate(void** handle) {
    *handle = new Handle;
    return SUCCESS;
}
API int cusolverDnDestroy(void* handle) {
    delete (Handle*)handle;
    return SUCCESS;
}
API int cusolverDnSetStream(void* handle, void* stream) {
    ((Handle*)handle)->stream = (cudaStream_t)stream;
    return SUCCESS;
}
API int cusolverDnGetStream(void* handle, void** stream) {
    *stream = ((Handle*)handle)->stream;
    return SUCCESS;
}
API int cusolverGetProperty(int, int* value) {
    *value = 12;
    return SUCCESS;
}

#define FUNCTIONS(LETTER, T)                                                                                          \
    API int cusolverDn##LETTER##getrf_bufferSize(void*, int, int, T*, int, int* size) {                               \
        *size = 1;                                                                                                    \
        return SUCCESS;                                                                                               \
    }                                                                                                                 \
    API int cusolverDn##LETTER##getrf(void* h, int m, int n, T* a, int lda, T*, int* pivots, int* info) {             \
        return getrf<T>(h, m, n, a, lda, pivots, info);                                                               \
    }                                                                                                                 \
    API int cusolverDn##LETTER##getrs(void* h, int op, int n, int n_right, const T* a, int lda, const int* pivots,    \
                                      T* b, int ldb, int* info) {                                                     \
        return getrs<T>(h, op, n, n_right, a, lda, pivots, b, ldb, info);                                             \
    }

FUNCTIONS(S, float)
FUNCTIONS(D, double)
