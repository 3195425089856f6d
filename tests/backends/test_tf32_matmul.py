"""Products in reduced precision on CuPy: the calls to a fake of it, and their effect on a GPU."""

import itertools
import sys
import types

import numpy as np
import pytest

from gpubp.backends.backend import choose_backend, to_backend, to_numpy, with_matmul
from gpubp.backends.matmul_precision import FORMATS, RoundedMatmul, rounded
from tests.emulated_cuda import DeviceArray, emulated_modules

X = np.asarray([[1.0 + 2.0**-12 + 2.0**-23]], np.float32)  # 1 in TF32, however it is rounded


class FakeCupy:
    """A fake CuPy on NumPy arrays, with cuBLAS and a compute capability."""

    __name__ = "array_api_compat.cupy"

    class Array(DeviceArray):
        device = types.SimpleNamespace(compute_capability="90", cublas_handle=99)

    def __init__(self, monkeypatch, *, has_cublas=True):
        self.in_full, (self.cublas, modules) = [], emulated_modules()
        product = modules["nvmath.bindings.cublas"].gemm_strided_batched_ex
        cublas = types.SimpleNamespace(gemmStridedBatchedEx=product) if has_cublas else None
        monkeypatch.setitem(sys.modules, "cupy", types.SimpleNamespace(cuda=types.SimpleNamespace(cublas=cublas)))

    def matmul(self, a, b):
        self.in_full.append((np.asarray(a), np.asarray(b)))
        return np.matmul(a, b)

    def __getattr__(self, name):
        found = getattr(choose_backend("cpu").xp, name)
        return found if isinstance(found, type) else lambda *a, **options: found(*a, **options).view(self.Array)


def multiply(monkeypatch, precision, a=X, b=X, capability="90", **options):
    cupy = FakeCupy(monkeypatch, **options)
    monkeypatch.setattr(FakeCupy.Array.device, "compute_capability", capability)
    return cupy, RoundedMatmul(cupy, precision).matmul(a.view(FakeCupy.Array), b.view(FakeCupy.Array))


@pytest.fixture(params=[*FORMATS])
def precision(request):
    return request.param


def test_tf32_is_left_to_cublas(monkeypatch):
    cupy, product = multiply(monkeypatch, "tf32")
    assert (cupy.cublas.computed, cupy.in_full) == (77, [])
    np.testing.assert_array_equal(product, X * X)  # the fake does not round


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_others_are_rounded_before(monkeypatch, precision):
    cupy, product = multiply(monkeypatch, precision)
    assert (cupy.cublas.computed, cupy.in_full) == (77, [])
    np.testing.assert_array_equal(product, rounded(np, X, precision) ** 2)


@pytest.mark.parametrize("options", [{"capability": "75"}, {"has_cublas": False}], ids=["old GPU", "no binding"])
def test_without_tf32_operands_are_rounded_and_multiplied_in_full(monkeypatch, precision, options):
    cupy, _ = multiply(monkeypatch, precision, **options)
    ((operand, _),) = cupy.in_full
    assert cupy.cublas.computed is None
    np.testing.assert_array_equal(operand, rounded(np, X, precision))


VIEWS = {
    "whole": (lambda shape: shape, lambda x: x),
    "transposed": (lambda shape: (*shape[:-2], shape[-1], shape[-2]), lambda x: x.swapaxes(-1, -2)),
    "part": (lambda shape: (*shape[:-2], shape[-2] + 2, shape[-1] + 1), lambda x: x[..., :-2, 1:]),
    "strided": (lambda shape: (*shape[:-1], 2 * shape[-1]), lambda x: x[..., ::2]),
    "backwards": (lambda shape: shape, lambda x: x[::-1]),
}
"""Views of a given shape: the shape of the whole, and what is taken of it."""
SHAPES = [
    *[((5, 7), (7, 3)), ((4, 5, 7), (4, 7, 3)), ((5, 7), (4, 7, 3)), ((4, 5, 7), (7, 3)), ((4, 5, 7), (1, 7, 3))],
    *[((2, 1, 5, 7), (3, 7, 3)), ((3, 1, 7), (3, 7, 1)), ((3, 7, 1), (3, 1, 7)), ((1, 1), (1, 1))],
    *[((3, 0, 7), (7, 2)), ((3, 4, 0), (0, 2)), ((0, 4, 2), (2, 3))],
]


def operands(shapes):
    """Yield two arrays, and what is taken of each, for all pairs of views."""
    rng = np.random.default_rng(0)
    for views in itertools.product(VIEWS.values(), repeat=2):
        yield [
            (rng.normal(size=whole(shape)).astype("float32"), taken)
            for shape, (whole, taken) in zip(shapes, views, strict=True)
        ]


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_operands_of_any_strides(monkeypatch, shapes):
    for pair in operands(shapes):
        a, b = (taken(array) for array, taken in pair)
        _, product = multiply(monkeypatch, "tf32", a, b)
        assert product.shape == np.matmul(a, b).shape
        np.testing.assert_allclose(product, np.matmul(a, b), rtol=0, atol=1e-5)


@pytest.mark.on("cuda")
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_operands_of_any_strides_on_a_gpu(shapes):
    backend = with_matmul(choose_backend("cuda"), "tf32", "float32")
    for pair in operands(shapes):
        a, b = (taken(array) for array, taken in pair)
        product = to_numpy(backend.xp.matmul(*(taken(to_backend(backend, array)) for array, taken in pair)))
        assert product.shape == np.matmul(a, b).shape
        bound = 2.0**-9 * np.max(np.matmul(abs(a), abs(b)), initial=0.0)  # of the rounding of both operands
        np.testing.assert_allclose(product, np.matmul(a, b), rtol=0, atol=bound)


@pytest.mark.on("cuda")
@pytest.mark.parametrize("stack", [(), (3,), (2, 3)])
def test_stacks_are_multiplied_in_tf32_on_a_gpu(stack):
    backend = with_matmul(choose_backend("cuda"), "tf32", "float32")
    x = to_backend(backend, np.full((*stack, 8, 8), X[0, 0]))
    np.testing.assert_array_equal(to_numpy(backend.xp.matmul(x, x)), np.full((*stack, 8, 8), 8.0))
