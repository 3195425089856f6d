"""Large NumPy arrays copied to a GPU in pieces, small ones together."""

import numpy as np
import pytest

from gpubp.backends import uploads
from gpubp.backends.backend import choose_backend, move_together, to_backend, to_numpy

ARRAYS = {
    "float32": np.random.default_rng(0).normal(size=(300, 70)).astype("float32"),
    "whole pieces": np.arange(2 * 4096, dtype="int32"),
    "a piece and an element": np.arange(4096 + 1, dtype="uint8"),
    "Fortran's order": np.asfortranarray(np.random.default_rng(1).normal(size=(50, 40, 7))),
    "a slice": np.random.default_rng(2).normal(size=(200, 90))[::2, 5:80],
    "booleans": np.random.default_rng(3).random((70, 90)) < 0.5,
}


@pytest.fixture
def _small_pieces(monkeypatch):
    monkeypatch.setattr(uploads, "LARGEST_AT_ONCE", 4096)
    monkeypatch.setattr(uploads, "PIECE", 4096)


@pytest.mark.on("cuda")
@pytest.mark.usefixtures("_small_pieces")
@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_are_equal(name):
    array, backend = ARRAYS[name], choose_backend("cuda")
    uploaded = to_backend(backend, array)
    np.testing.assert_array_equal(uploaded.get(), array)
    assert (uploaded.dtype, uploaded.flags.f_contiguous) == (array.dtype, array.flags.f_contiguous)


@pytest.mark.on("cuda")
@pytest.mark.usefixtures("_small_pieces")
def test_pinned_memory_is_that_of_a_buffer():
    import cupy

    sizes, pool = [], cupy.cuda.PinnedMemoryPool()
    cupy.cuda.set_pinned_memory_allocator(lambda n_bytes: sizes.append(n_bytes) or pool.malloc(n_bytes))
    try:
        for array in ARRAYS.values():
            to_backend(choose_backend("cuda"), array)
    finally:
        cupy.cuda.set_pinned_memory_allocator(cupy.get_default_pinned_memory_pool().malloc)
    assert max(sizes) == 2 * uploads.PIECE
    assert pool.n_free_blocks() == 1


@pytest.mark.on("cuda")
def test_a_large_array():
    array = np.arange(uploads.LARGEST_AT_ONCE // 4 + 1000, dtype="float32")
    np.testing.assert_array_equal(to_backend(choose_backend("cuda"), array).get(), array)


@pytest.mark.parametrize("device", [pytest.param("cuda", marks=pytest.mark.on("cuda")), "cpu"])
def test_arrays_that_move_together(device):
    backend = choose_backend(device)
    arrays = [*ARRAYS.values(), np.ones(()), np.zeros((2, 0)), to_backend(backend, np.arange(3))]
    *moved, none, on_host = move_together(
        "float32", *((backend, array) for array in arrays), (backend, None), (choose_backend("cpu"), np.arange(4))
    )
    for before, after in zip(arrays, moved, strict=True):
        np.testing.assert_array_equal(to_numpy(after), to_numpy(before).astype("float32"), strict=True)
        assert type(after) is type(arrays[-1])
    assert none is None
    np.testing.assert_array_equal(on_host, np.arange(4, dtype="float32"), strict=True)
