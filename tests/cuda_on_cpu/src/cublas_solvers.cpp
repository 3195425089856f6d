// cuBLAS's LU factorizations and solutions of many matrices, which cupy.linalg.solve calls for stacks.
#include "cublas.hpp"
#include "solvers.hpp"

using namespace cublas;

namespace {

int queue(void* handle, gpu::Work work) {
    LOCK;
    ++gpu::counters.launches;
    return gpu::submit(((Handle*)handle)->stream, std::move(work)) ? EXECUTION_FAILED : SUCCESS;
}

template <class T>
int getrf(void* handle, int n, T* const* a, int lda, int* pivots, int* infos, int count) {
    if (n < 0 || lda < n || count < 0) return INVALID_VALUE;
    return queue(handle, [=] {
        for (int q = 0; q < count; ++q) infos[q] = gpu::factorize<T>(n, n, a[q], lda, pivots + (long)q * n);
    });
}

template <class T>
int getrs(void* handle, int op, int n, int n_right, const T* const* a, int lda, const int* pivots, T* const* b, int ldb,
          int* info, int count) {
    *info = n < 0 ? -2 : n_right < 0 ? -3 : lda < n ? -5 : ldb < n ? -8 : 0;  // of the arguments; it is on the host
    if (*info) return INVALID_VALUE;
    return queue(handle, [=] {
        for (int q = 0; q < count; ++q) gpu::solve<T>(op, n, n_right, a[q], lda, pivots + (long)q * n, b[q], ldb);
    });
}

}  // namespace

#define FUNCTIONS(LETTER, T)                                                                                          \
    API int cublas##LETTER##getrfBatched(void* h, int n, T* const* a, int lda, int* pivots, int* infos, int count) {   \
        return getrf<T>(h, n, a, lda, pivots, infos, count);                                                          \
    }                                                                                                                 \
    API int cublas##LETTER##getrsBatched(void* h, int op, int n, int n_right, const T* const* a, int lda,             \
                                         const int* pivots, T* const* b, int ldb, int* info, int count) {             \
        return getrs<T>(h, op, n, n_right, a, lda, pivots, b, ldb, info, count);                                      \
    }

FUNCTIONS(S, float)
FUNCTIONS(D, double)
