// What cuBLAS's functions share: handles and results.
#pragma once
#include "gpu.hpp"

namespace cublas {

enum { SUCCESS = 0, INVALID_VALUE = 7, EXECUTION_FAILED = 13, NOT_SUPPORTED = 15 };

struct Handle {
    cudaStream_t stream = nullptr;
    int math = 0, pointer_mode = 0;
};

}  // namespace cublas
