"""Encodings of numbers as inputs."""

from functools import partial

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gpubp.backends.backend import to_backend, to_numpy
from gpubp.nn.encodings import piecewise_linear

NUMBERS = hnp.arrays(np.float64, st.integers(1, 20), elements=st.floats(-1e6, 1e6))
EDGES = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=9, unique=True).map(sorted)


@given(NUMBERS, EDGES)
def test_bins_sum_to_the_position_among_the_edges(x, edges):
    edges, n = np.asarray(edges), len(edges) - 1
    encoded = piecewise_linear(np, x[:, None], edges[:-1], edges[1:])
    assert np.all(np.abs(encoded) <= 0.5 / n**0.5)
    positions = np.interp(x, edges, np.arange(n + 1))
    np.testing.assert_allclose(encoded.sum(axis=1), (positions - n / 2) / n**0.5, atol=1e-9)


def test_on_every_backend(backend_case, dtype):
    backend, x = backend_case.backend, np.asarray([[-2.0], [0.25], [7.0]])
    on_backend = partial(to_backend, backend, dtype=dtype)
    lows, highs = on_backend(np.asarray([-1.0, 1.0])), on_backend(np.asarray([1.0, 5.0]))
    encoded = to_numpy(piecewise_linear(backend.xp, on_backend(x), lows, highs))
    np.testing.assert_allclose(encoded, np.asarray([[-0.5, -0.5], [0.125, -0.5], [0.5, 0.5]]) / 2**0.5, rtol=1e-6)
