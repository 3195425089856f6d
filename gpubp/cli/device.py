"""Which device a command uses, and why."""

import os

from gpubp.backends.backend import ENVIRONMENT_VARIABLE, Backend
from gpubp.backends.probe import probe_cuda


def device_and_reason(backend: Backend, requested: str) -> str:
    """Describe the device of a backend and the reason for choosing it, given the value of ``--device``."""
    name = backend.name
    if requested != "auto":
        return f"{name} (as requested)"
    if os.environ.get(ENVIRONMENT_VARIABLE, "").strip() not in ("", "auto"):
        return f"{name} (set by {ENVIRONMENT_VARIABLE})"
    if not backend.is_numpy:
        return f"{name} (a working GPU)"
    probe = probe_cuda()
    if probe.expected:
        return "cpu (no NVIDIA GPU or driver was found)"
    return f"cpu (the GPU cannot be used: {probe.cause}; to fix it: {probe.fix})"
