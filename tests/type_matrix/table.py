"""The table of types: what each call returns, or that it raises, for each dtype of NumPy."""

import re
import warnings
from collections import defaultdict

from gpubp.errors import GpubpError
from tests.type_matrix.arrays import COLUMNS, FEW, cast
from tests.type_matrix.calls import CALLS

ERROR = "error"
# dates where a model of a table knows numbers, text where classes are numbers, and settings, which are shown themselves
OF_VALUES = re.compile(
    "(rows? ha(ve|s) (a|the) target|has no value in these rows|classes not in|must be among the model's classes)|"
    r"^(the values of \w+ must be|l2 must be a finite number|rates must be finite numbers)"
)
PAGE = ("docs", "types.md")
MARKS = ("<!-- types -->\n", "<!-- end -->\n")


def outcome(name, array):
    """Call with an array, and return the dtype of the result, "yes" if it has none, or "error".

    An error must be one of gpubp's, and name the dtype that was received.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = CALLS[name].call(array)
    except ValueError as error:
        if is_clear(name, error, array):
            return ERROR
        raise
    if not hasattr(result, "dtype"):
        return "yes"
    return "text" if getattr(result.dtype, "kind", "") == "U" else str(result.dtype).rpartition(".")[2]


def is_clear(name, error, array):
    """Return whether an error is one of gpubp's and names the dtype, or one of a search that quotes such an error."""
    if name == "BatchedSearchCV.fit(X)":
        return "X must hold real numbers, got" in str(error)
    received = str(array.dtype).rpartition(".")[2]
    names_it = received in str(error) or received in ("bfloat16", "float16") or OF_VALUES.search(str(error))
    return isinstance(error, GpubpError) and bool(names_it)


def cells_of(name):
    """Return the outcome for each column; "same" for results that have the dtype of the argument."""
    cells = []
    for column, dtypes in COLUMNS.items():
        found = {}
        for dtype in FEW.get(column, dtypes) if CALLS[name].is_slow else dtypes:
            array = cast(CALLS[name].example, dtype)
            if array is not None:
                found[dtype] = outcome(name, array)
        same = len(dtypes) > 1 and list(found) == list(found.values())
        cells.append("same" if same else ", ".join(dict.fromkeys(found.values())))
    return tuple(cells)


def table():
    """Return the table in Markdown: calls with the same outcomes share a row."""
    rows = defaultdict(list)
    for name in CALLS:
        rows[cells_of(name)].append(name)
    lines = ["| argument | " + " | ".join(COLUMNS) + " |", "|---|" + "---|" * len(COLUMNS)]
    for cells, names in rows.items():
        lines.append(f"| {_listed(names)} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _listed(names):
    """Join names: the arguments of a function, and the methods of a class."""
    arguments = defaultdict(list)
    for name in names:
        function, _, argument = name.partition("(")
        arguments[function].append(argument[:-1])
    groups = defaultdict(list)
    for function, of_function in arguments.items():
        owner, dot, rest = function.rpartition(".")
        groups[owner if dot else ""].append(f"{rest}({', '.join(of_function)})")
    functions = [f"`{name}`" for name in groups.pop("", [])]
    by_methods = defaultdict(list)
    for owner, methods in groups.items():
        by_methods[tuple(methods)].append(owner)
    classes = [
        f"{', '.join(f'`{owner}`' for owner in owners)}: {', '.join(f'`{method}`' for method in methods)}"
        for methods, owners in by_methods.items()
    ]
    return "; ".join([*([", ".join(functions)] if functions else []), *classes])


def replaced(page, new):
    """Put a new table in a page."""
    before, _, rest = page.partition(MARKS[0])
    _, mark, after = rest.partition(MARKS[1])
    assert mark, "the page has no marks of the table"
    return f"{before}{MARKS[0]}\n{new}\n{mark}{after}"
