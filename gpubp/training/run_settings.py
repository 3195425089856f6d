"""The settings that identify a run: those that must match when it is resumed."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from gpubp._typing import Array
from gpubp.backends.backend import to_numpy
from gpubp.io.json_header import array_bytes, canonical_json
from gpubp.nn.network import Network
from gpubp.optim.first_order import Optimizer
from gpubp.optim.second_order import SecondOrder

Settings = dict[str, Any]
"""The settings that must match for a run to resume from a checkpoint, by readable names, as JSON."""

_BYTES_AT_ONCE = 1 << 24  # moved to the host at a time for the fingerprint of an array


def settings_of(
    network: Network, optimizer: Optimizer | SecondOrder, data: Mapping[str, Array | None], options: Mapping[str, Any]
) -> Settings:
    """Describe the settings that must match for a run to resume: network, optimizer, arrays, and other options."""
    settings = {f"network.{name}": value for name, value in asdict(network).items()} | {"optimizer": optimizer.name}
    settings |= {f"{optimizer.name}.{name}": name_of(value) for name, value in optimizer.settings.items()}
    settings |= {name: fingerprint(array) for name, array in data.items()}
    return settings | {name: name_of(value) for name, value in options.items()}


def fingerprint(array: Array | None) -> dict[str, Any] | None:
    """Describe an array by shape, type and SHA-256; None for None."""
    if array is None:
        return None
    digest, n_rows = hashlib.sha256(), int(array.shape[0])
    at_once = max(1, int(_BYTES_AT_ONCE // max(1, 8 * int(np.prod(array.shape[1:], dtype=np.int64)))))
    for start in range(0, n_rows, at_once):
        digest.update(array_bytes(to_numpy(array[start : min(start + at_once, n_rows), ...])))
    shape = [int(n) for n in array.shape]
    return {"shape": shape, "dtype": str(array.dtype).rpartition(".")[2], "sha256": digest.hexdigest()}


def name_of(setting: Any) -> Any:
    """Describe a setting as JSON: a number, an array, a schedule or a function."""
    if setting is None or isinstance(setting, str | bool | int | float | dict):
        return setting
    if getattr(setting, "shape", ()):
        return fingerprint(setting)
    if hasattr(setting, "__dataclass_fields__"):
        return repr(setting)
    if callable(setting):
        return str(getattr(setting, "__qualname__", type(setting).__qualname__))
    return float(setting)


def differences(before: Settings, now: Settings) -> Iterator[str]:
    """Describe each setting that differs."""
    for name in dict.fromkeys([*now, *before]):
        was, is_now = before.get(name), now.get(name)
        if was == is_now:
            continue
        if isinstance(was, dict) and isinstance(is_now, dict):
            known = [f"{one.get('shape')} of {one.get('dtype')}" if "shape" in one else "" for one in (was, is_now)]
            yield f"{name} was {known[0]}, is {known[1]}" if known[0] != known[1] else f"{name} has other values"
        else:
            yield f"{name} was {_shown(was)}, is {_shown(is_now)}"


def _shown(value: Any) -> str:
    return "given" if isinstance(value, dict) else f"{value!r:.60}"


def as_read_back(settings: Mapping[str, Any]) -> Settings:
    """Convert settings to the types that JSON returns, such as lists for tuples."""
    as_read: Settings = json.loads(canonical_json(settings))
    return as_read
