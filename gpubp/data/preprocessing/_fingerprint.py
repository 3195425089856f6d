"""A fingerprint of a table: equal for the same values in the same columns, whatever the order of rows and columns.

Each column is the sum of the hashes of its values, so that tables of any size, also in parts, need one number for a
column, and the digest of these numbers says nothing about a single row.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from gpubp.data._draws_by_row import GOLDEN, mixed
from gpubp.data._text_values import read_number
from gpubp.data.table import Column, Table

_MODULUS = 2**64


class RunningFingerprint:
    """The fingerprint of columns whose rows arrive in pieces."""

    def __init__(self, names: Iterable[str]) -> None:
        self.sums = dict.fromkeys(names, 0)
        self.n_rows = 0

    def add(self, table: Table) -> None:
        """Add the rows of a table; a column that it lacks is empty."""
        self.n_rows += table.n_rows
        for name in self.sums.keys() & table.columns.keys():
            self.sums[name] = (self.sums[name] + _sum_of_hashes(table.columns[name])) % _MODULUS

    def digest(self, names: Iterable[str] | None = None) -> str:
        """Return the fingerprint of all columns, or of some of them, as hexadecimal digits.

        Examples
        --------
        >>> from gpubp.data import table_from_mapping
        >>> def digest_of(columns):
        ...     fingerprint = RunningFingerprint(columns)
        ...     fingerprint.add(table_from_mapping(columns))
        ...     return fingerprint.digest()
        >>> digest_of({"a": [1, 2], "b": ["x", None]}) == digest_of({"b": [None, "x"], "a": ["2.0", "1"]})
        True
        >>> digest_of({"a": [1, 2]}) == digest_of({"a": [1, 3]})
        False
        """
        parts = sorted((name, self.sums[name]) for name in (self.sums if names is None else names))
        return hashlib.sha256(repr((self.n_rows, parts)).encode()).hexdigest()[:32]


def _sum_of_hashes(values: Column) -> int:
    """Return the sum of the hashes of a column's values; a text of a number has the hash of the number."""
    if values.dtype != object:
        return int(_hashes(values.astype(np.float64)).sum(dtype=np.uint64))
    counts = Counter(values.tolist())
    numbers = {text: None if text is None else read_number(text) for text in counts}
    total = sum(n * _hash_of_text(text) for text, n in counts.items() if text is not None and numbers[text] is None)
    written = [text for text, number in numbers.items() if number is not None]
    if written:
        hashes = _hashes(np.array([numbers[text] for text in written], dtype=np.float64))
        total += sum(counts[text] * value for text, value in zip(written, hashes.tolist(), strict=True))
    return total % _MODULUS


def _hashes(numbers: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Return a hash of each number; that of NaN is 0."""
    bits = (numbers + 0.0).view(np.uint64) ^ GOLDEN  # -0.0 is 0.0, whose hash is not 0
    return np.where(np.isnan(numbers), np.uint64(0), mixed(bits))


def _hash_of_text(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
