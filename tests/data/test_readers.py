"""Tables from files: the columns of each format, and the error for each kind of broken file."""

import gzip
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gpubp.data import read_table, table_from_arrays, table_from_mapping
from gpubp.data.datasets import DATASETS, load_dataset
from gpubp.data.readers import _input_file
from gpubp.data.streaming import open_stream
from gpubp.errors import DataError


def assert_columns(table, expected):
    assert list(table.columns) == list(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(table.columns[name], values, err_msg=name)


# --- formats ---


def test_csv_keeps_order_types_text_and_missing_fields(write):
    table = read_table(write("a.csv", 'n,f,s,b\n1,0.5,"x, ""y""",true\n2,,,\n3,1e3,NA,False\n'))
    assert_columns(
        table,
        {"n": [1, 2, 3], "f": [0.5, np.nan, 1000.0], "s": ['x, "y"', None, "NA"], "b": ["true", None, "False"]},
    )
    assert table.columns["n"].dtype == np.int64
    assert table.columns["s"].dtype == table.columns["b"].dtype == object
    assert table.n_rows == 3
    assert table.source.endswith("a.csv")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "a,b\n1,x\n"),
        ("A.CSV", "a, b \r\n1,x\r\n"),
        ("bom.csv", "\ufeffa,b\n1,x\n"),
        ("a.tsv", "a\tb\n1\tx\n"),
        ("a.csv.gz", gzip.compress(b"a,b\n1,x\n", mtime=0)),
        ("a.tsv.gz", gzip.compress(b"a\tb\n1\tx\n", mtime=0)),
    ],
)
def test_the_same_table_in_every_text_format(write, name, content):
    assert_columns(read_table(write(name, content)), {"a": [1], "b": ["x"]})


def test_a_line_break_within_quotes_belongs_to_the_field(write):
    assert_columns(read_table(write("a.csv", 'a,b\n"x\ny",1\n')), {"a": ["x\ny"], "b": [1]})
    longer_than_a_block = "a,b\n" + ('"' + "x\n" * 30 + '",1\n') * 20_000
    np.testing.assert_array_equal(read_table(write("b.csv", longer_than_a_block)).columns["b"], np.ones(20_000))


def test_dates_are_text(write):
    table = read_table(write("a.csv", "day,y\n2020-01-31,1\n,2\n"))
    assert_columns(table, {"day": ["2020-01-31", None], "y": [1, 2]})


def test_parquet_and_pandas_give_the_same_columns(tmp_path):
    frame = pd.DataFrame(
        {
            "i": pd.array([1, None, 3], dtype="Int64"),
            "f": [1.5, np.nan, 2.0],
            "b": [True, False, True],
            "maybe": pd.array([True, None, False], dtype="boolean"),
            "s": ["a", None, ""],
            "c": pd.Categorical(["u", "v", None]),
            "none": [None, None, None],
        }
    )
    frame.to_parquet(tmp_path / "a.parquet")
    expected = {
        "i": [1, np.nan, 3],
        "f": [1.5, np.nan, 2.0],
        "b": [True, False, True],
        "maybe": ["True", None, "False"],
        "s": ["a", None, None],
        "c": ["u", "v", None],
        "none": [np.nan] * 3,
    }
    for table in (read_table(tmp_path / "a.parquet"), table_from_mapping(frame)):
        assert_columns(table, expected)
        assert table.columns["b"].dtype == bool
        assert table.categorical == {"c"}  # text is no category because it is read as a dictionary


def test_parquet_without_its_row_index(tmp_path):
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0]}, index=[7, 9, 4])
    frame.to_parquet(tmp_path / "a.parquet")
    assert "__index_level_0__" in pq.read_schema(tmp_path / "a.parquet").names
    assert_columns(read_table(tmp_path / "a.parquet"), {"a": [1, 2, 3]})


def test_decimals_are_numbers():
    assert_columns(table_from_mapping({"a": [Decimal("1.5"), None]}), {"a": [1.5, np.nan]})


def test_npy_has_its_target_last(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(6.0).reshape(2, 3))
    table = read_table(tmp_path / "a.npy")
    assert_columns(table, {"x0": [0, 3], "x1": [1, 4], "target": [2, 5]})
    assert table.targets == ("target",)


@pytest.mark.parametrize("x_name", ["x", "X", "data"])
@pytest.mark.parametrize("y_name", ["y", "d", "target"])
def test_npz_takes_the_usual_names(tmp_path, x_name, y_name):
    np.savez(tmp_path / "a.npz", **{x_name: np.eye(2), y_name: np.array(["a", "b"])})
    table = read_table(tmp_path / "a.npz")
    assert_columns(table, {"x0": [1, 0], "x1": [0, 1], "target": ["a", "b"]})
    assert table.targets == ("target",)


def test_npz_with_several_targets_and_with_none(tmp_path):
    np.savez(tmp_path / "two.npz", x=np.ones((3, 1)), y=np.arange(6).reshape(3, 2))
    table = read_table(str(tmp_path / "two.npz"))
    assert_columns(table, {"x0": [1, 1, 1], "target_0": [0, 2, 4], "target_1": [1, 3, 5]})
    assert table.targets == ("target_0", "target_1")
    np.savez_compressed(tmp_path / "none.npz", x=np.ones((3, 1)))
    assert read_table(tmp_path / "none.npz").targets == ()


@pytest.mark.parametrize("name", DATASETS)
def test_every_built_in_set_is_a_table(name):
    dataset, table = load_dataset(name), read_table(name)
    features = [values for column, values in table.columns.items() if column not in table.targets]
    np.testing.assert_array_equal(np.stack(features, axis=1), dataset.X)
    assert tuple(table.columns) == dataset.feature_names + table.targets
    targets = np.stack([table.columns[column] for column in table.targets], axis=1)
    np.testing.assert_array_equal(targets, dataset.targets if dataset.classes is None else targets)


def test_classes_of_built_in_sets_are_text_or_integers():
    assert set(read_table("iris").columns["target"]) == {"setosa", "versicolor", "virginica"}
    digits = read_table("digits").columns["target"]
    assert digits.dtype == np.int64
    assert digits[:4].tolist() == [0, 1, 2, 3]
    assert read_table("linnerud").targets == ("Weight", "Waist", "Pulse")


def test_a_file_comes_before_a_built_in_set_and_a_folder_does_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("iris").mkdir()
    assert read_table("iris").n_rows == 150
    Path("xor").write_text("a,b\n1,2\n")
    assert read_table("xor").n_rows == 1


def test_select_takes_indices_and_masks():
    table = table_from_mapping({"a": [1, 2, 3], "b": ["x", "y", "z"]}, source="here", targets=["b"])
    assert_columns(table.select([2, 0]), {"a": [3, 1], "b": ["z", "x"]})
    assert table.select([2, 0]).describe_row(0) == table.describe_row(2)
    assert table.select([2, 0]).select([1]).describe_row(0) == table.describe_row(0)
    chosen = table.select(np.array([False, True, False]))
    assert_columns(chosen, {"a": [2], "b": ["y"]})
    assert (chosen.source, chosen.targets) == ("here", ("b",))


def test_table_from_arrays_names_and_shapes():
    table = table_from_arrays([[1.0, 2.0]], [[3.0, 4.0]], names=["u", "v"], target="t")
    assert_columns(table, {"u": [1], "v": [2], "t_0": [3], "t_1": [4]})
    mixed = table_from_arrays(np.array([[1, "a"], [2, None]], dtype=object))
    assert_columns(mixed, {"x0": [1, 2], "x1": ["a", None]})
    assert mixed.columns["x0"].dtype == np.int64


# --- errors ---


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", r"a\.csv is empty \(0 bytes\)"),
        ("a.csv", "\n\n", "a.csv holds no table: all lines are empty"),
        ("a.csv.gz", gzip.compress(b"", mtime=0), "a.csv.gz holds no table: all lines are empty"),
        ("a.csv", "a,b\n", r"columns \(a, b\) but no rows"),
        (
            "a.csv",
            "a,b\n1,2\n3,4,5\n6,7\n",
            r"a\.csv.*row 2 \(not counting the header\): Expected 2 columns, got 3: 3,4,5.*in quotation marks",
        ),
        ("a.csv", 'a,b\n1,"2\n3,4\n', "a.csv: a quotation mark is not closed"),
        ("a.tsv.gz", gzip.compress(b'a\tb\n1\t"2\n3\t4', mtime=0), "a.tsv.gz: a quotation mark is not closed"),
        ("a.csv", b"a,b\nK\xc3\xb6ln,1\n\xff\xfe,1\n", "a.csv is not UTF-8 text, as line 3 shows; name its encoding"),
        ("a.csv.gz", "a,b\n1,2\n", "a.csv.gz cannot be read"),
        ("a.pdf", "%PDF-1.7\n1 0 obj", "a.pdf: unknown file format; the supported suffixes are .csv, .tsv"),
        ("noend", "a", "noend: unknown file format"),
        ("a.pkl", b"\x80\x04.", "a.pkl: objects of Python or R are never loaded"),
        ("a.parquet", b"PAR1" + bytes(100), "a.parquet cannot be read.*Write the Parquet file again"),
        ("a.npy", "no numpy", "a.npy cannot be read: it is not a NumPy file"),
        ("a.npz", b"PK\3\4", "a.npz cannot be read"),
    ],
)
def test_a_bad_file_is_named_with_its_fix(write, name, content, message):
    path = write(name, content)
    with pytest.raises(DataError, match=f"(?s){message}") as caught:
        read_table(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("separator", ["", ";;", '"', "\n", "§"])
def test_an_invalid_separator_is_refused(write, separator):
    with pytest.raises(DataError, match="one ASCII character"):
        read_table(write("a.csv", "a,b\n1,2\n"), separator=separator)


@pytest.mark.parametrize("name", ["iris", "a.parquet"])
def test_a_separator_for_a_format_without_one_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    pq.write_table(pa.table({"a": [1]}), "a.parquet")
    with pytest.raises(DataError, match="separator ';' is an option for text files, and"):
        read_table(name, separator=";")


def test_no_such_file():
    with pytest.raises(DataError, match=r"no such file: digit \(did you mean 'digits'\?\).*\.parquet.*named sets"):
        read_table("digit")
    with pytest.raises(DataError, match=r"no such file: nothing/like/it\.csv; give"):
        read_table("nothing/like/it.csv")


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("customer.csv", " (did you mean 'customers.csv'?)"),
        ("Customers.cvs", " (did you mean 'customers.csv'?)"),
        ("data/custmers.csv", f" (did you mean {str(Path('data', 'customers.parquet'))!r}?)"),
        ("x.csv", ""),
        ("data/y.csv", ""),
        ("customers.csv/a.csv", None),
    ],
)
def test_a_misspelt_file(tmp_path, monkeypatch, path, hint):
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    for name in ("customers.csv", "z.csv", "data/customers.parquet"):
        Path(name).write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_table(path)
    if hint is None:
        assert "did you mean" not in str(caught.value)
    else:
        assert str(caught.value).startswith(f"no such file: {Path(path)}{hint}; give")
    with pytest.raises(DataError, match=r"no such file or folder: data\S+ \(did you mean 'data\S+\.parquet'\?\)$"):
        open_stream("data/customer.csv")


def test_a_folder(tmp_path):
    with pytest.raises(DataError, match="the folder holds no file of a known format"):
        read_table(tmp_path)


def test_a_file_without_permission(write, monkeypatch):
    def refuse(*args):
        raise PermissionError(13, "Permission denied")

    path = write("a.csv", "a\n1\n")
    monkeypatch.setattr(_input_file, "open_regular", refuse)
    with pytest.raises(DataError, match=r"a\.csv cannot be read: Permission denied"):
        read_table(path)


@pytest.mark.parametrize("name", ["a\0.csv", "x" * 5000])
def test_an_impossible_path(name):
    with pytest.raises(DataError, match="cannot be read"):
        read_table(name)


def test_pickled_objects_are_never_loaded(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[{}]], dtype=object))
    np.savez(tmp_path / "a.npz", x=np.array([[{}]], dtype=object))
    for name in ("a.npy", "a.npz"):
        with pytest.raises(DataError, match=f"{name} cannot be read.*pickled Python objects.*Save"):
            read_table(tmp_path / name)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones(3), r"expected a matrix.*got shape \(3,\)"),
        (np.ones((2, 2)) * 1j, "'x0' must be numbers.*complex128"),
        (np.ones((0, 2)), "no rows"),
        (np.ones((2, 0)), r"expected a matrix.*got shape \(2, 0\)"),
    ],
)
def test_npy_of_the_wrong_kind(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(DataError, match=message):
        read_table(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"q": np.ones((2, 2))}, "expected arrays x and y, got q"),
        ({"x": np.ones((2, 8, 8))}, r"x must have shape \(samples, inputs\), got \(2, 8, 8\); reshape"),
        ({"x": np.ones((2, 2)), "y": np.ones(3)}, r"y must have shape \(2,\) or \(2, j\).*got \(3,\)"),
    ],
)
def test_npz_of_the_wrong_kind(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=message):
        read_table(tmp_path / "a.npz")


@pytest.mark.parametrize("column", [pa.array([[1], [2]]), pa.array([b"\xff", b"x"]), pa.array([{"a": 1}, None])])
def test_parquet_columns_that_are_neither_numbers_nor_text(tmp_path, column):
    pq.write_table(pa.table({"odd": column}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet: column 'odd' holds \w+, not numbers or text"):
        read_table(tmp_path / "a.parquet")


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_an_interrupt_is_raised_while_pyarrow_imports_pandas(tmp_path, name):
    """As it does to convert columns; it discards what that import raises."""
    frame = pd.DataFrame({"a": [1, 2, 3], "b": [0.5, 1.5, 2.5]})
    frame.to_csv(tmp_path / name, index=False) if name == "a.csv" else frame.to_parquet(tmp_path / name)
    (tmp_path / "pandas.py").write_text("raise KeyboardInterrupt")
    code = (
        f"import sys\nfrom gpubp.data import read_table\nsys.path.insert(0, {str(tmp_path)!r})\n"
        f"try:\n    read_table({str(tmp_path / name)!r})\nexcept KeyboardInterrupt:\n    print('interrupted')"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert ended.stdout == "interrupted\n"


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.parquet"])
def test_without_pyarrow_the_message_gives_the_command_to_install_it(write, monkeypatch, name):
    path = write(name, "a\n1\n")
    for module in ("pyarrow", "pyarrow.csv", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DataError, match=r"needs pyarrow: pip install pyarrow"):
        read_table(path)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({}, "no columns"),
        ({"a": []}, "no rows"),
        ({"a": [1], "b": [1, 2]}, "differ in length: {'a': 1, 'b': 2}"),
        ({"a": [[1], [2]]}, r"got int64 of shape \(2, 1\)"),
        ({"a": [[1], [2, 3]]}, "'a' is not a sequence"),
        ({"a": 3}, r"of shape \(\)"),
        ({"a": [1j, None]}, "'a' holds complex"),
        ({"a": [10**400]}, "too large for float64"),
        (pl.LazyFrame({"a": [1]}), r"a LazyFrame has no rows yet; pass frame\.collect\(\)"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "column names repeat: 'a'"),
    ],
)
def test_mappings_that_are_not_tables(mapping, message):
    with pytest.raises(DataError, match=message):
        table_from_mapping(mapping)


def test_targets_and_names_must_fit():
    with pytest.raises(DataError, match=r"no column 'B' \(did you mean 'b'\?\)"):
        table_from_mapping({"a": [1], "b": [2]}, targets=["B"])
    with pytest.raises(DataError, match="1 names for 2 columns"):
        table_from_arrays([[1, 2]], names=["a"])
    with pytest.raises(DataError, match="column names repeat: 'target'"):
        table_from_arrays([[1]], [1], names=["target"])
