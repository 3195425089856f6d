// Linear systems by LAPACK, for cuSOLVER and for cuBLAS's functions of many small matrices.
#pragma once
#include "lapack.hpp"

namespace gpu {

template <class T>
int factorize(int m, int n, T* a, int lda, int* pivots) {
    int info = 0;
    ((void (*)(int*, int*, T*, int*, int*, int*))lapack(lapack_name<T>("getrf")))(&m, &n, a, &lda, pivots, &info);
    return info;
}

template <class T>
int solve(int op, int n, int n_right, const T* a, int lda, const int* pivots, T* b, int ldb) {
    int info = 0;
    char letter = op ? 'T' : 'N';
    using Getrs = void(char*, int*, int*, const T*, int*, const int*, T*, int*, int*);
    ((Getrs*)lapack(lapack_name<T>("getrs")))(&letter, &n, &n_right, a, &lda, pivots, b, &ldb, &info);
    return info;
}

}  // namespace gpu
