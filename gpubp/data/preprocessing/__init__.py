"""Convert the columns of a table to matrices and back.

Numbers are standardised, categories become one-hot columns, and outputs are decoded into the user's units and
labels. A fitted :class:`Preprocessing` is nested tuples of numbers and text, stored as JSON. Messages count rows from
1, without the header.
"""

from gpubp.data._text_values import DESCRIPTIONS, MISSING_TEXTS, Kind
from gpubp.data.preprocessing._fitting import Task, fit_preprocessing
from gpubp.data.preprocessing._incremental_fitting import IncrementalFit, fit_incrementally
from gpubp.data.preprocessing._json import from_json, preprocessing_of, to_json
from gpubp.data.preprocessing._records import CategoryColumn, ClassTarget, NumberColumn, NumberTarget, Preprocessing
from gpubp.data.preprocessing._schema import as_numbers
from gpubp.data.preprocessing._transform import (
    apply,
    class_values,
    decode_probabilities,
    decode_target,
    encode_target,
)

__all__ = [
    "DESCRIPTIONS",
    "MISSING_TEXTS",
    "CategoryColumn",
    "ClassTarget",
    "IncrementalFit",
    "Kind",
    "NumberColumn",
    "NumberTarget",
    "Preprocessing",
    "Task",
    "apply",
    "as_numbers",
    "class_values",
    "decode_probabilities",
    "decode_target",
    "encode_target",
    "fit_incrementally",
    "fit_preprocessing",
    "from_json",
    "preprocessing_of",
    "to_json",
]
