// The limits of a device, those of an H200, for the library and for kernels.
#pragma once
#include <cstddef>

namespace gpu {

const unsigned MOST_THREADS = 1024;  // of a block
const unsigned MOST_BLOCKS = 65535;  // in the second and the third dimension of a grid
const unsigned WARP = 32;
const std::size_t SHARED = 48 << 10, MOST_SHARED = 227 << 10;  // bytes that a kernel may use: unasked, and at most
const int POISON = 0xFF;  // each byte of memory that was not written: not a number as a float, -1 as an index

}  // namespace gpu
