"""Data on the host: named sets, tables from files, and columns turned into matrices and back.

Everything here is NumPy; no module below this package knows a backend or a screen.  scikit-learn and pyarrow are
imported by the functions that need them.
"""

from gpubp.data.datasets import DATASETS, Dataset, load_dataset, one_hot
from gpubp.data.preprocessing import Preprocessing, apply, decode_target, encode_target, fit_preprocessing
from gpubp.data.readers import Table, read_table, table_from_arrays, table_from_mapping

__all__ = [
    "DATASETS",
    "Dataset",
    "Preprocessing",
    "Table",
    "apply",
    "decode_target",
    "encode_target",
    "fit_preprocessing",
    "load_dataset",
    "one_hot",
    "read_table",
    "table_from_arrays",
    "table_from_mapping",
]
