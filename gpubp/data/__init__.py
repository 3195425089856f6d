"""Data on the host: built-in data sets, tables from files, preprocessing, metrics, and data larger than memory.

Everything here is NumPy; only ``streaming`` knows backends. scikit-learn and pyarrow are imported by the functions that
need them, and the modules by the first use of a name, since arrays need neither readers nor preprocessing.
"""

from typing import TYPE_CHECKING

from gpubp._core.public_names import load_on_first_use

if TYPE_CHECKING:
    from gpubp.data.datasets import DATASETS as DATASETS
    from gpubp.data.datasets import Dataset as Dataset
    from gpubp.data.datasets import load_dataset as load_dataset
    from gpubp.data.datasets import one_hot as one_hot
    from gpubp.data.preprocessing import Preprocessing as Preprocessing
    from gpubp.data.preprocessing import apply as apply
    from gpubp.data.preprocessing import decode_target as decode_target
    from gpubp.data.preprocessing import encode_target as encode_target
    from gpubp.data.preprocessing import fit_preprocessing as fit_preprocessing
    from gpubp.data.readers import read_table as read_table
    from gpubp.data.table import Table as Table
    from gpubp.data.table import table_from_arrays as table_from_arrays
    from gpubp.data.table import table_from_mapping as table_from_mapping

_PUBLIC = {
    "datasets": ("DATASETS", "Dataset", "load_dataset", "one_hot"),
    "preprocessing": ("Preprocessing", "apply", "decode_target", "encode_target", "fit_preprocessing"),
    "readers": ("read_table",),
    "table": ("Table", "table_from_arrays", "table_from_mapping"),
}
__all__ = [name for names in _PUBLIC.values() for name in names]
__getattr__, __dir__ = load_on_first_use(__name__, _PUBLIC)
