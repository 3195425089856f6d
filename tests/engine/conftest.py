"""Fixtures for the tests of the engine."""

import pytest

from gpubp.engine.cuda import epoch as cuda_epoch
from tests.cuda_machines import MACHINES, needs_compiler


@pytest.fixture(params=["float64", "float32"])
def dtype(request):
    return request.param


@pytest.fixture(
    params=[
        pytest.param("backwards", marks=needs_compiler),
        pytest.param("gpu", marks=pytest.mark.on("cuda")),
    ]
)
def machine(request):
    return MACHINES[request.param]()


@pytest.fixture(params=["layer by layer", "small networks"])
def form(request, monkeypatch):
    """Both forms of a step: launches for each layer, and one block of threads for all of a small network."""
    monkeypatch.setattr(
        cuda_epoch, "MAX_OPERATIONS_OF_ONE_BLOCK", 0.0 if request.param == "layer by layer" else float("inf")
    )
    return request.param
