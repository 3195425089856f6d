"""Products of matrices by one block of threads in shared memory: CUDA C, and the choice of tiles and threads.

A tile is what a thread computes at a time: 4 x 4 sums of products take half a load from shared memory for each
multiplication, 2 x 2 take one load, and a single sum takes two. A step of a network 20-64-64-2 on 64 samples so takes
0.58 loads for each. A network 6-2-1 has too few sums for tiles; its block is a single warp.
"""

import math
from itertools import chain
from typing import NamedTuple

from gpubp.nn.network import Network

MAX_THREADS = 512  # of a block: each has 128 registers; with the 64 that 1,024 would leave, some kernels spill
TILES = {"float32": (4, 2), "float64": (2,)}  # larger ones of float64 would take too many registers
MIN_TILES = 128  # so that each of a multiprocessor's four schedulers has a warp
WARP = 32
MIN_WORK_OF_THREAD = 32  # multiplications of the largest product

FUNCTIONS = """
// all threads of a block; the lanes of a single warp need no barrier of the block
#define WAIT() (blockDim.x > 32 ? __syncthreads() : __syncwarp())

struct Table {
    int x, y, width, height;
};

// The threads of a block as a table whose width is a power of two, at least n if there are so many.
__device__ Table table(int n) {
    const int wanted = 32 - __clz(n - 1), most = 31 - __clz(blockDim.x), bits = wanted < most ? wanted : most;
    return {(int)threadIdx.x & ((1 << bits) - 1), (int)threadIdx.x >> bits, 1 << bits, (int)blockDim.x >> bits};
}

// For each row r and column c of a product, call use(r, c, sum) with the sum over k of
// a[r * a_row + k * a_k] * b[c * b_column + k * b_k], and later then(r, c), whose code is not repeated for a tile.
template <int T, class Use, class Then>
__device__ void multiply(
    int n_rows, int n_columns, int n, const real* a, int a_row, int a_k, const real* b, int b_column, int b_k, Use use,
    Then then
) {
    const int down = (n_rows + T - 1) / T, right = (n_columns + T - 1) / T;  // from one of a tile's rows to the next
    const Table place = table(down);
    for (int column = place.y; column < right; column += place.height) {
        for (int row = place.x; row < down; row += place.width) {
            const real *of_a[T], *of_b[T];
            real sums[T][T];
            for (int i = 0; i < T; ++i) {  // beyond the end the first row or column again
                of_a[i] = a + (row + i * down < n_rows ? row + i * down : row) * a_row;
                of_b[i] = b + (column + i * right < n_columns ? column + i * right : column) * b_column;
                for (int j = 0; j < T; ++j) sums[i][j] = 0;
            }
            for (int k = 0; k < n; ++k) {
                real factors[T];
                for (int j = 0; j < T; ++j) factors[j] = of_b[j][k * b_k];
                for (int i = 0; i < T; ++i) {
                    const real factor = of_a[i][k * a_k];
                    for (int j = 0; j < T; ++j) sums[i][j] += factor * factors[j];
                }
            }
            for (int i = 0; i < T; ++i) {
                for (int j = 0; j < T; ++j) {
                    const int r = row + i * down, c = column + j * right;
                    if (r < n_rows && c < n_columns) use(r, c, sums[i][j]);
                }
            }
#pragma unroll 1
            for (int r = row; r < n_rows; r += down) {
#pragma unroll 1
                for (int c = column; c < n_columns; c += right) then(r, c);
            }
        }
    }
}
"""


class Tiles(NamedTuple):
    """The sides of the tiles of a layer's products: of total inputs, of the derivatives below, of the gradient."""

    forward: int
    backward: int
    gradient: int


def products(network: Network, size: int) -> list[tuple[tuple[int, int, int], ...]]:
    """Return, for the products of each layer as in :class:`Tiles`, their rows, columns, and terms of a sum."""
    shapes = zip(network.sizes, network.sizes[1:], strict=False)
    return [((size, j, i + network.bias), (size, i, j), (j, i + network.bias, size)) for i, j in shapes]


def n_tiles(n_rows: int, n_columns: int, side: int) -> int:
    """Count the tiles of a product."""
    return -(-n_rows // side) * -(-n_columns // side)


def tile_of(n_rows: int, n_columns: int, dtype: str) -> int:
    """Choose the side of the tiles of a product: the largest that leaves enough tiles."""
    fitting = (
        side
        for side in TILES[dtype]
        if min(n_rows, n_columns) >= side and n_tiles(n_rows, n_columns, side) >= MIN_TILES
    )
    return next(fitting, 1)


def tiles_of(network: Network, size: int, dtype: str) -> list[Tiles]:
    """Choose the tiles of all products of steps with ``size`` samples."""
    return [Tiles(*(tile_of(*shape[:2], dtype) for shape in layer)) for layer in products(network, size)]


def threads_of_block(network: Network, size: int, dtype: str) -> int:
    """Choose the threads of a network's block: one for each tile of its largest product, as far as they pay.

    A barrier of several warps takes as long as some multiplications, so each thread has enough of these. A single warp
    needs no barrier.
    """
    tiles, shapes = (list(chain(*layers)) for layers in (tiles_of(network, size, dtype), products(network, size)))
    del tiles[1], shapes[1]  # no derivatives are passed below the first layer
    most_tiles = max(n_tiles(rows, columns, side) for (rows, columns, _), side in zip(shapes, tiles, strict=True))
    most_work = max(map(math.prod, shapes))
    wanted = max(WARP, min(most_tiles, most_work // MIN_WORK_OF_THREAD, MAX_THREADS))
    return 1 << (wanted - 1).bit_length()
