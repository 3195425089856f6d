"""Fixtures of the tests of estimators."""

import pytest
import threadpoolctl

from gpubp.engine.cuda import device as cuda_device
from tests.emulated_cuda import EmulatedDevice


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Matrices as small as these are slower on two threads."""
    with threadpoolctl.threadpool_limits(1):
        yield


@pytest.fixture
def gpu(emulated_gpu, monkeypatch):
    """An emulated GPU that later fits and calls find again."""
    gpu = EmulatedDevice()
    monkeypatch.setattr(cuda_device, "cuda_device", lambda *_: gpu)
    return gpu
