"""The JSON headers of model files and checkpoints: written in one canonical form, with a checksum."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np


def has_types(value: Any, types: Mapping[str, Any]) -> bool:
    """Return whether JSON is an object with exactly these keys, whose values have these types."""
    if not isinstance(value, dict) or set(value) != set(types):
        return False
    return all(isinstance(value[key], kind) for key, kind in types.items())


def canonical_json(header: Any) -> str:
    """Write a header as JSON with sorted keys and without spaces; equal headers give equal text."""
    return json.dumps(header, sort_keys=True, separators=(",", ":"), allow_nan=False)


def parse_canonical(text: str) -> dict[str, Any] | None:
    """Parse a header that :func:`canonical_json` wrote; return None if it has another form."""
    try:
        header = json.loads(text)
        is_canonical = isinstance(header, dict) and canonical_json(header) == text
    except (ValueError, RecursionError):
        return None
    return header if is_canonical else None


def array_bytes(array: np.ndarray) -> memoryview:
    """Return the bytes of an array, row by row."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def checksum(header: dict[str, Any], *arrays: np.ndarray) -> str:
    """Return the SHA-256 of a header and of the bytes of arrays."""
    sha256 = hashlib.sha256(canonical_json(header).encode("ascii"))
    for array in arrays:
        sha256.update(array_bytes(array))
    return sha256.hexdigest()
