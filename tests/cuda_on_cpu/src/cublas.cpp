// cuBLAS: matrix products in the precision that was asked for, sums in order. Matrices are stored by columns.
#include <immintrin.h>

#include <cstring>

#include "cublas.hpp"

using namespace cublas;

namespace {

enum { R_32F = 0, R_64F = 1, R_16F = 2, R_16BF = 14 };
enum {
    COMPUTE_16F = 64,
    COMPUTE_32F = 68,
    COMPUTE_64F = 70,
    COMPUTE_FAST_16F = 74,
    COMPUTE_FAST_16BF = 75,
    COMPUTE_FAST_TF32 = 77
};
enum { TF32_MATH = 3, DEVICE_POINTERS = 1 };

// --- numbers ---

size_t size_of(int type) { return type == R_64F ? 8 : type == R_32F ? 4 : 2; }

float keep_bits(float x, int n_bits) {  // of the mantissa, to the nearest, ties to even
    if (x != x || x - x != 0) return x;
    unsigned u, dropped = 23 - n_bits;
    memcpy(&u, &x, 4);
    u += (1u << (dropped - 1)) - 1 + (u >> dropped & 1);
    u &= ~((1u << dropped) - 1);
    memcpy(&x, &u, 4);
    return x;
}
unsigned short to_half(float x) { return _cvtss_sh(x, _MM_FROUND_TO_NEAREST_INT); }
float from_half(unsigned short x) { return _cvtsh_ss(x); }
unsigned short to_bfloat16(float x) {
    x = keep_bits(x, 7);
    unsigned u;
    memcpy(&u, &x, 4);
    return u >> 16;
}
float from_bfloat16(unsigned short x) {
    unsigned u = (unsigned)x << 16;
    float value;
    memcpy(&value, &u, 4);
    return value;
}

// An operand as the multiplying unit of a GPU takes it.
float rounded(float x, int compute) {
    switch (compute) {
        case COMPUTE_FAST_TF32: return keep_bits(x, 10);
        case COMPUTE_FAST_16BF: return keep_bits(x, 7);
        case COMPUTE_FAST_16F: return from_half(to_half(x));
        default: return x;
    }
}
double rounded(double x, int) { return x; }

template <class Sum>
Sum load(const void* from, size_t i, int type) {
    switch (type) {
        case R_64F: return ((const double*)from)[i];
        case R_32F: return ((const float*)from)[i];
        case R_16F: return from_half(((const unsigned short*)from)[i]);
        default: return from_bfloat16(((const unsigned short*)from)[i]);
    }
}
template <class Sum>
void store(void* to, size_t i, int type, Sum value) {
    switch (type) {
        case R_64F: ((double*)to)[i] = value; break;
        case R_32F: ((float*)to)[i] = value; break;
        case R_16F: ((unsigned short*)to)[i] = to_half(value); break;
        default: ((unsigned short*)to)[i] = to_bfloat16(value);
    }
}

// --- products ---

struct Matrix {
    const void* first;
    int type;
    long rows, columns, leading;

    bool is_valid() const { return rows >= 0 && columns >= 0 && leading >= (rows > 1 ? rows : 1); }
    size_t bytes() const { return rows && columns ? ((columns - 1) * leading + rows) * size_of(type) : 0; }
};

struct Product {
    int m, n, k, compute;
    bool a_transposed, b_transposed;
    Matrix a, b, c;
};

// The rows of op(matrix), or its columns, one after the other, rounded.
template <class Sum>
std::vector<Sum> packed(const Matrix& matrix, int compute, bool by_rows) {
    std::vector<Sum> out(matrix.rows * matrix.columns);
    for (long j = 0; j < matrix.columns; ++j)
        for (long i = 0; i < matrix.rows; ++i)
            out[by_rows ? i * matrix.columns + j : j * matrix.rows + i] =
                rounded(load<Sum>(matrix.first, i + j * matrix.leading, matrix.type), compute);
    return out;
}

template <class Sum>
void multiply(const Product& p, Sum alpha, Sum beta) {
    std::vector<Sum> a = packed<Sum>(p.a, p.compute, p.a_transposed);   // a column of m numbers for each of the k
    std::vector<Sum> b = packed<Sum>(p.b, p.compute, p.b_transposed);  // k numbers for each of the n
    std::vector<Sum> column(p.m);
    for (long j = 0; j < p.n; ++j) {
        std::fill(column.begin(), column.end(), Sum(0));
        for (long l = 0; l < p.k; ++l) {
            const Sum factor = b[j * p.k + l], *from = &a[l * p.m];
            for (long i = 0; i < p.m; ++i) column[i] += from[i] * factor;
        }
        for (long i = 0; i < p.m; ++i) {
            size_t at = i + j * p.c.leading;
            Sum before = beta == 0 ? Sum(0) : beta * load<Sum>(p.c.first, at, p.c.type);
            store((void*)p.c.first, at, p.c.type, alpha * column[i] + before);
        }
    }
}

bool is_accessible(int device, const Matrix& matrix) {
    return gpu::is_accessible(device, matrix.first, matrix.bytes());
}

template <class Sum>
bool run(const Product& product, int device, Sum alpha, Sum beta) {
    bool valid = is_accessible(device, product.c);
    valid = valid && (!product.k || (is_accessible(device, product.a) && is_accessible(device, product.b)));
    if (valid) multiply<Sum>(product, alpha, beta);
    else gpu::set_fault(cudaErrorIllegalAddress, "a product reaches beyond its matrices");
    return valid;
}

// Queue `count` products. `next` gives the matrices of each, when they are multiplied.
template <class Sum, class Next>
int queue(Handle* handle, Product product, const void* alpha, const void* beta, int count, Next next) {
    LOCK;
    ++gpu::counters.launches;
    if (product.m < 0 || product.n < 0 || product.k < 0 || count < 0) return INVALID_VALUE;
    if (!product.a.is_valid() || !product.b.is_valid() || !product.c.is_valid()) return INVALID_VALUE;
    if (!product.m || !product.n) return SUCCESS;
    bool on_device = handle->pointer_mode == DEVICE_POINTERS;
    Sum host_alpha = on_device ? Sum(0) : *(const Sum*)alpha, host_beta = on_device ? Sum(0) : *(const Sum*)beta;
    int device = gpu::find_stream(handle->stream).device;
    cudaError_t error = gpu::submit(handle->stream, [=]() mutable {
        Sum factor = on_device ? *(const Sum*)alpha : host_alpha, kept = on_device ? *(const Sum*)beta : host_beta;
        for (int q = 0; q < count; ++q) {
            next(product, q);
            if (!run<Sum>(product, device, factor, kept)) return;
        }
    });
    return error ? EXECUTION_FAILED : SUCCESS;
}

Product make_product(int op_a, int op_b, int m, int n, int k, Matrix a, Matrix b, Matrix c, int compute) {
    a.rows = op_a ? k : m, a.columns = op_a ? m : k;
    b.rows = op_b ? n : k, b.columns = op_b ? k : n;
    c.rows = m, c.columns = n;
    return {m, n, k, compute, op_a != 0, op_b != 0, a, b, c};
}

Matrix matrix(const void* first, int type, int leading) { return {first, type, 0, 0, leading}; }

int strided(void* handle, int op_a, int op_b, int m, int n, int k, const void* alpha, Matrix a, long long a_stride,
            Matrix b, long long b_stride, const void* beta, Matrix c, long long c_stride, int count, int compute) {
    Product product = make_product(op_a, op_b, m, n, k, a, b, c, compute);
    auto next = [=](Product& one, int q) {
        one.a.first = (const char*)a.first + q * a_stride * size_of(a.type);
        one.b.first = (const char*)b.first + q * b_stride * size_of(b.type);
        one.c.first = (const char*)c.first + q * c_stride * size_of(c.type);
    };
    bool double_sums = compute == COMPUTE_64F || compute == COMPUTE_64F + 1;
    if (compute == COMPUTE_16F) return NOT_SUPPORTED;  // sums of 16 bits: nothing here wants them
    return double_sums ? queue<double>((Handle*)handle, product, alpha, beta, count, next)
                       : queue<float>((Handle*)handle, product, alpha, beta, count, next);
}

template <class T> constexpr int type_of() { return sizeof(T) == 8 ? R_64F : R_32F; }
template <class T> int compute_of(void* handle) {
    return sizeof(T) == 8 ? COMPUTE_64F : ((Handle*)handle)->math == TF32_MATH ? COMPUTE_FAST_TF32 : COMPUTE_32F;
}

template <class T>
int gemm(void* handle, int op_a, int op_b, int m, int n, int k, const T* alpha, const T* a, int lda, long long a_stride,
         const T* b, int ldb, long long b_stride, const T* beta, T* c, int ldc, long long c_stride, int count) {
    const int type = type_of<T>();
    return strided(handle, op_a, op_b, m, n, k, alpha, matrix(a, type, lda), a_stride, matrix(b, type, ldb), b_stride,
                   beta, matrix(c, type, ldc), c_stride, count, compute_of<T>(handle));
}

template <class T>
int gemm_batched(void* handle, int op_a, int op_b, int m, int n, int k, const T* alpha, const T* const* a, int lda,
                 const T* const* b, int ldb, const T* beta, T* const* c, int ldc, int count) {
    const int type = type_of<T>();
    Product product = make_product(op_a, op_b, m, n, k, matrix(nullptr, type, lda), matrix(nullptr, type, ldb),
                                   matrix(nullptr, type, ldc), compute_of<T>(handle));
    auto next = [=](Product& one, int q) { one.a.first = a[q], one.b.first = b[q], one.c.first = c[q]; };
    return queue<T>((Handle*)handle, product, alpha, beta, count, next);
}

// --- vectors ---

// A vector with gaps is the first row of a matrix.
template <class T>
Matrix vector(const T* first, int gap) { return matrix(first, type_of<T>(), gap); }

template <class T>
int gemv(void* handle, int op, int m, int n, const T* alpha, const T* a, int lda, const T* x, int x_gap, const T* beta,
         T* y, int y_gap) {
    int rows = op ? n : m, k = op ? m : n;  // y' = x' op(a)'
    if (x_gap < 1 || y_gap < 1) return NOT_SUPPORTED;
    return strided(handle, 0, !op, 1, rows, k, alpha, vector(x, x_gap), 0, matrix(a, type_of<T>(), lda), 0, beta,
                   vector(y, y_gap), 0, 1, compute_of<T>(handle));
}

template <class T>
int ger(void* handle, int m, int n, const T* alpha, const T* x, int x_gap, const T* y, int y_gap, T* a, int lda) {
    if (x_gap < 1 || y_gap < 1 || ((Handle*)handle)->pointer_mode == DEVICE_POINTERS) return NOT_SUPPORTED;
    const T one = 1;  // a += alpha x y'
    return strided(handle, 1, 0, m, n, 1, alpha, vector(x, x_gap), 0, vector(y, y_gap), 0, &one,
                   matrix(a, type_of<T>(), lda), 0, 1, compute_of<T>(handle));
}

template <class T>
int dot(void* opaque, int n, const T* x, int x_gap, const T* y, int y_gap, T* result) {
    LOCK;
    ++gpu::counters.launches;
    Handle* handle = (Handle*)opaque;
    cudaError_t error = gpu::submit(handle->stream, [=] {
        T sum = 0;
        for (long i = 0; i < n; ++i) sum += x[i * x_gap] * y[i * y_gap];
        *result = sum;
    });
    gpu::Stream& stream = gpu::find_stream(handle->stream);
    if (handle->pointer_mode != DEVICE_POINTERS) gpu::run_until(stream, stream.submitted);
    return error ? EXECUTION_FAILED : SUCCESS;
}

}  // namespace

// --- handles ---

API int cublasCreate_v2(void** handle) {
    *handle = new Handle;
    return SUCCESS;
}
API int cublasDestroy_v2(void* handle) {
    delete (Handle*)handle;
    return SUCCESS;
}
API int cublasGetVersion_v2(void*, int* version) {
    *version = 130000;
    return SUCCESS;
}
API int cublasSetStream_v2(void* handle, void* stream) {
    ((Handle*)handle)->stream = (cudaStream_t)stream;
    return SUCCESS;
}
API int cublasGetStream_v2(void* handle, void** stream) {
    *stream = ((Handle*)handle)->stream;
    return SUCCESS;
}
API int cublasSetWorkspace_v2(void*, void*, size_t) { return SUCCESS; }
API int cublasSetMathMode(void* handle, int mode) {
    ((Handle*)handle)->math = mode;
    return SUCCESS;
}
API int cublasGetMathMode(void* handle, int* mode) {
    *mode = ((Handle*)handle)->math;
    return SUCCESS;
}
API int cublasSetPointerMode_v2(void* handle, int mode) {
    ((Handle*)handle)->pointer_mode = mode;
    return SUCCESS;
}
API int cublasGetPointerMode_v2(void* handle, int* mode) {
    *mode = ((Handle*)handle)->pointer_mode;
    return SUCCESS;
}

// --- the functions by cuBLAS's names ---

API int cublasGemmStridedBatchedEx(void* handle, int op_a, int op_b, int m, int n, int k, const void* alpha,
                                   const void* a, int a_type, int lda, long long a_stride, const void* b, int b_type,
                                   int ldb, long long b_stride, const void* beta, void* c, int c_type, int ldc,
                                   long long c_stride, int count, int compute, int) {
    return strided(handle, op_a, op_b, m, n, k, alpha, matrix(a, a_type, lda), a_stride, matrix(b, b_type, ldb),
                   b_stride, beta, matrix(c, c_type, ldc), c_stride, count, compute);
}
API int cublasGemmEx(void* handle, int op_a, int op_b, int m, int n, int k, const void* alpha, const void* a,
                     int a_type, int lda, const void* b, int b_type, int ldb, const void* beta, void* c, int c_type,
                     int ldc, int compute, int) {
    return strided(handle, op_a, op_b, m, n, k, alpha, matrix(a, a_type, lda), 0, matrix(b, b_type, ldb), 0, beta,
                   matrix(c, c_type, ldc), 0, 1, compute);
}
API int cublasSgemmEx(void* handle, int op_a, int op_b, int m, int n, int k, const float* alpha, const void* a,
                      int a_type, int lda, const void* b, int b_type, int ldb, const float* beta, void* c, int c_type,
                      int ldc) {
    return strided(handle, op_a, op_b, m, n, k, alpha, matrix(a, a_type, lda), 0, matrix(b, b_type, ldb), 0, beta,
                   matrix(c, c_type, ldc), 0, 1, compute_of<float>(handle));
}

#define FUNCTIONS(LETTER, T)                                                                                          \
    API int cublas##LETTER##gemm_v2(void* h, int ta, int tb, int m, int n, int k, const T* alpha, const T* a, int lda, \
                                    const T* b, int ldb, const T* beta, T* c, int ldc) {                              \
        return gemm<T>(h, ta, tb, m, n, k, alpha, a, lda, 0, b, ldb, 0, beta, c, ldc, 0, 1);                          \
    }                                                                                                                 \
    API int cublas##LETTER##gemmStridedBatched(void* h, int ta, int tb, int m, int n, int k, const T* alpha,          \
                                               const T* a, int lda, long long sa, const T* b, int ldb, long long sb,  \
                                               const T* beta, T* c, int ldc, long long sc, int count) {               \
        return gemm<T>(h, ta, tb, m, n, k, alpha, a, lda, sa, b, ldb, sb, beta, c, ldc, sc, count);                   \
    }                                                                                                                 \
    API int cublas##LETTER##gemmBatched(void* h, int ta, int tb, int m, int n, int k, const T* alpha,                 \
                                        const T* const* a, int lda, const T* const* b, int ldb, const T* beta,        \
                                        T* const* c, int ldc, int count) {                                            \
        return gemm_batched<T>(h, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, count);                       \
    }                                                                                                                 \
    API int cublas##LETTER##gemv_v2(void* h, int op, int m, int n, const T* alpha, const T* a, int lda, const T* x,   \
                                    int x_gap, const T* beta, T* y, int y_gap) {                                      \
        return gemv<T>(h, op, m, n, alpha, a, lda, x, x_gap, beta, y, y_gap);                                         \
    }                                                                                                                 \
    API int cublas##LETTER##ger_v2(void* h, int m, int n, const T* alpha, const T* x, int x_gap, const T* y,          \
                                   int y_gap, T* a, int lda) {                                                        \
        return ger<T>(h, m, n, alpha, x, x_gap, y, y_gap, a, lda);                                                    \
    }                                                                                                                 \
    API int cublas##LETTER##dot_v2(void* h, int n, const T* x, int x_gap, const T* y, int y_gap, T* result) {         \
        return dot<T>(h, n, x, x_gap, y, y_gap, result);                                                              \
    }

FUNCTIONS(S, float)
FUNCTIONS(D, double)
