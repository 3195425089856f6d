"""The comparison of the inputs of a table, which a device computes from numbers and codes."""

from collections.abc import Iterator

import numpy as np

from gpubp._typing import Array
from gpubp.backends.backend import Backend
from gpubp.data.preprocessing import (
    CategoryColumn,
    ColumnArrays,
    DateColumn,
    NumberColumn,
    NumberTarget,
    Preprocessing,
    TargetStatisticsColumn,
    WordsColumn,
    expand,
    expansion_of,
)
from gpubp.testing._comparison import N_SAMPLES, Comparison

_COLUMNS = (
    NumberColumn("a", 0.5, 2.0, -1.0, indicator=True, edges=(-3.0, -1.0, 0.0, 2.0, 3.0)),
    NumberColumn("b", 0.5, 2.0, -1.0, encoding="robust"),
    DateColumn("c", "datetime", ("days", "weekday", "hour"), 1.0, 2.0, 0.0, indicator=True, bound=1.5),
    WordsColumn("d", tuple(f"word {number}" for number in range(40))),
    CategoryColumn("e", ("u", "v", "w"), missing=True),
    TargetStatisticsColumn(
        "f", ("u", "v"), averaged=("y",), statistics=((3.0,), (1.0,)), overall=(2.0,), scales=(4.0,)
    ),
)


def table_comparisons(generator: np.random.Generator) -> Iterator[Comparison]:
    """Yield the inputs of columns of each kind."""
    expansion = expansion_of(Preprocessing(_COLUMNS, NumberTarget(("y",), (0.0,), (1.0,), (0.0,), (1.0,))))
    numbers, codes = generator.normal(0.0, 3.0, (N_SAMPLES, 5)), generator.integers(0, 3, (N_SAMPLES, 4))
    numbers[generator.uniform(size=numbers.shape) < 0.2] = np.nan

    def inputs(backend: Backend, numbers: Array, codes: Array, *arrays: Array) -> Array:
        xp = backend.xp
        typed = [
            xp.astype(array, xp.int32) if of_host.dtype == np.int32 else array
            for array, of_host in zip(arrays, expansion.arrays, strict=True)
        ]
        return expand(
            xp, expansion.with_arrays(typed), ColumnArrays(numbers, xp.astype(codes, xp.int32)), numbers.dtype
        )

    yield Comparison("elementwise", "encodings of tables", inputs, (numbers, codes, *expansion.arrays), is_pure=True)
