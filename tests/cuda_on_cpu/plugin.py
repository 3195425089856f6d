"""A plugin of pytest: CuPy runs on the CPU, and only tests for GPUs are kept, and those of this folder."""

from pathlib import Path

import pytest

from tests.cuda_on_cpu.activation import activate

HERE = Path(__file__).parent

activate()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    kept = [item for item in items if _is_for_gpus(item) or HERE in item.path.parents]
    config.hook.pytest_deselected(items=list(set(items) - set(kept)))
    items[:] = kept


def _is_for_gpus(item):
    """Say whether a test needs a GPU, and no other library that is missing; see tests/conftest.py."""
    on_gpu = any(mark.args[0] == "cuda" for mark in item.iter_markers("on"))
    return on_gpu and not any(mark.kwargs["reason"].endswith("is not installed") for mark in item.iter_markers("skip"))
