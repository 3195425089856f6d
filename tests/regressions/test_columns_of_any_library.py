"""A column of a table may be an array of any library, of any type of numbers, as X and y may be."""

import numpy as np
import pandas as pd
import pytest

import gpubp
from gpubp.data import table_from_arrays, table_from_mapping
from gpubp.errors import DataError

NUMBERS = [0.5, 1.5, -2.0, 4.0]


def torch_bfloat16():
    return pytest.importorskip("torch").tensor(NUMBERS, dtype=pytest.importorskip("torch").bfloat16)


def torch_with_gradient():
    return pytest.importorskip("torch").tensor(NUMBERS, requires_grad=True)


def list_of_torch_scalars():
    return list(torch_with_gradient())


def list_of_bfloat16():
    return list(torch_bfloat16())


def jax_bfloat16():
    jnp = pytest.importorskip("jax.numpy")
    return jnp.asarray(NUMBERS, dtype=jnp.bfloat16)


def ml_dtypes_bfloat16():
    return np.array(NUMBERS).astype(pytest.importorskip("ml_dtypes").bfloat16)


def ml_dtypes_float8():
    return np.array(NUMBERS).astype(pytest.importorskip("ml_dtypes").float8_e4m3fn)


def dask_array():
    return pytest.importorskip("dask.array").from_array(np.array(NUMBERS), chunks=2)


COLUMNS = [
    *(torch_bfloat16, torch_with_gradient, list_of_torch_scalars, list_of_bfloat16, jax_bfloat16),
    *(ml_dtypes_bfloat16, ml_dtypes_float8, dask_array),
]


@pytest.mark.parametrize("column", COLUMNS)
def test_numbers_of_any_library_are_a_column_of_numbers(column):
    table = table_from_mapping({"a": column(), "y": ["u", "v", "u", "v"]})
    assert table.kind("a") == "number"
    np.testing.assert_array_equal(table.columns["a"], NUMBERS)
    prepared = gpubp.prepare_table({"a": column(), "y": ["u", "v", "u", "v"]}, test_fraction=0, validation_fraction=0)
    assert prepared.preprocessing.columns[0].mean == np.mean(NUMBERS)


@pytest.mark.parametrize("column", [torch_bfloat16, torch_with_gradient, jax_bfloat16, ml_dtypes_bfloat16])
def test_matrices_of_any_library_are_columns(column):
    X = column().reshape(2, 2)
    table = table_from_arrays(X, X[:, 0])
    np.testing.assert_array_equal(table.columns["x1"], NUMBERS[1::2])
    np.testing.assert_array_equal(table.columns["target"], NUMBERS[::2])


def test_text_of_numpys_type_without_a_length_is_text():
    texts = np.array(["a", "", "Köln"], dtype=np.dtypes.StringDType())
    table = table_from_mapping({"town": texts})
    assert table.columns["town"].tolist() == ["a", None, "Köln"]


@pytest.mark.parametrize("column", [torch_with_gradient, ml_dtypes_bfloat16])
def test_arrays_within_objects_are_not_written_as_text(column):
    objects = pd.Series(np.fromiter(column(), dtype=object), dtype=object)
    with pytest.raises(DataError, match=r"column 'a' holds (Tensor|bfloat16), not numbers or text"):
        table_from_mapping({"a": objects, "y": ["u", "v", "u", "v"]})
