// What stands before the source of a kernel of CuPy's: also the headers that these include, compiled once for all.
#pragma once
#include "kernel.hpp"

#include <cuda_fp16.h>

#define __CUDACC_VER_MAJOR__ 13
#include <cupy/complex.cuh>
#include <cupy/carray.cuh>
#include <cupy/atomics.cuh>
#include <cupy/math_constants.h>
#include <cupy/float16.cuh>
