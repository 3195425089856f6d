"""Encodings of numbers as inputs."""

from functools import partial

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gpubp.backends.backend import to_backend, to_numpy
from gpubp.nn.encodings import piecewise_linear, smooth_clip

NUMBERS = hnp.arrays(np.float64, st.integers(1, 20), elements=st.floats(-1e6, 1e6))
EDGES = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=9, unique=True).map(sorted)


@given(NUMBERS, EDGES)
def test_bins_sum_to_the_position_among_the_edges(x, edges):
    edges, n = np.asarray(edges), len(edges) - 1
    encoded = piecewise_linear(np, x[:, None], edges[:-1], edges[1:])
    assert np.all(np.abs(encoded) <= 0.5 / n**0.5)
    positions = np.interp(x, edges, np.arange(n + 1))
    np.testing.assert_allclose(encoded.sum(axis=1), (positions - n / 2) / n**0.5, atol=1e-9)


@given(hnp.arrays(np.float64, st.integers(2, 20), elements=st.floats(-1e300, 1e300)))
def test_a_smooth_clip_is_bounded_and_keeps_the_order(x):
    x = np.sort(x)
    clipped = smooth_clip(np, x)
    assert np.all(np.abs(clipped) <= 3.0)
    assert np.all(np.diff(clipped) >= -1e-15)
    np.testing.assert_array_equal(smooth_clip(np, -x), -clipped)
    tame = x[np.abs(x) < 1e100]
    np.testing.assert_allclose(smooth_clip(np, tame), tame / np.sqrt(1.0 + (tame / 3.0) ** 2), rtol=1e-14)


def test_a_smooth_clip_on_every_backend(backend_case, dtype):
    x = to_backend(backend_case.backend, np.asarray([-1e30, -3.0, 0.0, 0.75, 4.0, 1e30]), dtype=dtype)
    clipped = to_numpy(smooth_clip(backend_case.backend.xp, x))
    np.testing.assert_allclose(clipped, [-3.0, -(4.5**0.5), 0.0, 0.7276068751089989, 2.4, 3.0], rtol=1e-6)


def test_bins_of_several_numbers_are_those_of_each():
    x, edges = np.asarray([[0.5, 3.0], [-1.0, 6.0]]), [np.asarray([0.0, 1.0]), np.asarray([2.0, 4.0, 5.0])]
    each = [piecewise_linear(np, x[:, [place]], of_one[:-1], of_one[1:]) for place, of_one in enumerate(edges)]
    lows, highs = (np.concatenate(ends) for ends in zip(*((one[:-1], one[1:]) for one in edges), strict=True))
    together = piecewise_linear(np, x[:, [0, 1, 1]], lows, highs, np.sqrt([1.0, 2.0, 2.0]))
    np.testing.assert_array_equal(together, np.concatenate(each, axis=1))


def test_on_every_backend(backend_case, dtype):
    backend, x = backend_case.backend, np.asarray([[-2.0], [0.25], [7.0]])
    on_backend = partial(to_backend, backend, dtype=dtype)
    lows, highs = on_backend(np.asarray([-1.0, 1.0])), on_backend(np.asarray([1.0, 5.0]))
    encoded = to_numpy(piecewise_linear(backend.xp, on_backend(x), lows, highs))
    np.testing.assert_allclose(encoded, np.asarray([[-0.5, -0.5], [0.125, -0.5], [0.5, 0.5]]) / 2**0.5, rtol=1e-6)
