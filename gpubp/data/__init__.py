"""Data on the host: built-in data sets, tables from files, preprocessing, metrics, and data larger than memory.

Everything here is NumPy; only ``streaming`` knows backends. scikit-learn and pyarrow are imported by the functions that
need them.
"""

from gpubp.data.datasets import DATASETS, Dataset, load_dataset, one_hot
from gpubp.data.preprocessing import Preprocessing, apply, decode_target, encode_target, fit_preprocessing
from gpubp.data.readers import read_table
from gpubp.data.table import Table, table_from_arrays, table_from_mapping

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
