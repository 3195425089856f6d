"""Convert the columns of a table to matrices and back.

Each column is taken for numbers, categories, dates, words, or nothing to learn from, and has a record that says how it
becomes inputs of a network; outputs are decoded into the user's units and labels. A fitted :class:`Preprocessing` is
nested tuples of numbers and text, stored as JSON. Messages count rows from 1, without the header.
"""

from gpubp.data._text_values import (
    BOOL_WORDS,
    DESCRIPTIONS,
    MISSING_TEXTS,
    Kind,
    number_form,
    read_number,
    write_number,
)
from gpubp.data.preprocessing._columns import ColumnArrays
from gpubp.data.preprocessing._decisions import choose_targets, require_column
from gpubp.data.preprocessing._embedding import FEW_INPUTS, MOST_INPUTS_TO_EMBED
from gpubp.data.preprocessing._expansion import expand, expansion_of, inputs_of
from gpubp.data.preprocessing._facts import MAX_COUNTED
from gpubp.data.preprocessing._features import lowered
from gpubp.data.preprocessing._fingerprint import RunningFingerprint
from gpubp.data.preprocessing._fitting import (
    FittedTable,
    TableDecisions,
    column_decision,
    column_problems,
    decide_table,
    fit_columns,
    fit_preprocessing,
)
from gpubp.data.preprocessing._issues import PROBLEMS, issue_in_words, issues_in_words
from gpubp.data.preprocessing._json import from_json, preprocessing_of, to_json
from gpubp.data.preprocessing._options import NAMES_OF_CATEGORIES, ColumnOptions
from gpubp.data.preprocessing._records import (
    FARTHEST,
    CategoryColumn,
    CategoryEncoding,
    ClassTarget,
    ColumnSummary,
    ColumnType,
    DateColumn,
    FeatureColumn,
    NumberColumn,
    NumberEncoding,
    NumberTarget,
    Preprocessing,
    TargetStatisticsColumn,
    WordsColumn,
)
from gpubp.data.preprocessing._shown_values import shown_reason, shown_type, values_of
from gpubp.data.preprocessing._target_statistics import FEW_CATEGORIES, OutOfFold
from gpubp.data.preprocessing._targets import TargetDecision, Task
from gpubp.data.preprocessing._transform import (
    MISSING_CLASS,
    UNSEEN_CLASS,
    Encoded,
    Issue,
    KnownClasses,
    apply,
    class_values,
    complete_columns,
    decode_predictions,
    decode_probabilities,
    decode_target,
    encode,
    encode_target,
    has_target,
    known_classes,
    read_columns,
)
from gpubp.data.preprocessing._values import (
    ReadColumn,
    as_numbers,
    missing_values,
    read_categories,
    read_dates,
    read_numbers,
    shown_value,
)

__all__ = [
    "BOOL_WORDS",
    "DESCRIPTIONS",
    "FARTHEST",
    "FEW_CATEGORIES",
    "FEW_INPUTS",
    "MAX_COUNTED",
    "MISSING_CLASS",
    "MISSING_TEXTS",
    "MOST_INPUTS_TO_EMBED",
    "NAMES_OF_CATEGORIES",
    "PROBLEMS",
    "UNSEEN_CLASS",
    "CategoryColumn",
    "CategoryEncoding",
    "ClassTarget",
    "ColumnArrays",
    "ColumnOptions",
    "ColumnSummary",
    "ColumnType",
    "DateColumn",
    "Encoded",
    "FeatureColumn",
    "FittedTable",
    "Issue",
    "Kind",
    "KnownClasses",
    "NumberColumn",
    "NumberEncoding",
    "NumberTarget",
    "OutOfFold",
    "Preprocessing",
    "ReadColumn",
    "RunningFingerprint",
    "TableDecisions",
    "TargetDecision",
    "TargetStatisticsColumn",
    "Task",
    "WordsColumn",
    "apply",
    "as_numbers",
    "choose_targets",
    "class_values",
    "column_decision",
    "column_problems",
    "complete_columns",
    "decide_table",
    "decode_predictions",
    "decode_probabilities",
    "decode_target",
    "encode",
    "encode_target",
    "expand",
    "expansion_of",
    "fit_columns",
    "fit_preprocessing",
    "from_json",
    "has_target",
    "inputs_of",
    "issue_in_words",
    "issues_in_words",
    "known_classes",
    "lowered",
    "missing_values",
    "number_form",
    "preprocessing_of",
    "read_categories",
    "read_columns",
    "read_dates",
    "read_number",
    "read_numbers",
    "require_column",
    "shown_reason",
    "shown_type",
    "shown_value",
    "to_json",
    "values_of",
    "write_number",
]
