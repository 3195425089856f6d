"""The page states what tables copy to a GPU, and a table's columns are copied instead of its inputs."""

import pytest

from tests.cuda_on_cpu.tables import N_ROWS, count, table, table_of_page

pytestmark = pytest.mark.xdist_group("tables")

BYTES_OF_ROW = {"numbers": 7 * 8, "numbers, categories and dates": (3 + 3) * 8 + 3 * 4}
OF_MODEL = 150_000  # bytes of the network's parameters, and of the statistics of its inputs


def test_the_page_has_the_counts():
    assert table_of_page() == table(), "python -m tests.cuda_on_cpu.tables writes the present ones"


@pytest.mark.parametrize("row", BYTES_OF_ROW)
def test_a_prediction_copies_columns_and_the_model(row):
    counts = count(f"predict, {row}")
    assert counts.uploads <= 2  # numbers and codes together, parameters
    assert counts.uploaded_bytes <= N_ROWS * BYTES_OF_ROW[row] + OF_MODEL
    assert counts.uploaded_bytes < counts.inputs / 3


@pytest.mark.parametrize("row", BYTES_OF_ROW)
def test_a_fit_copies_columns_once_and_once_more_for_the_training_on_all_rows(row):
    counts, n_outputs = count(f"fit, {row}"), 2
    assert counts.uploads <= 13
    of_rows = 2 * N_ROWS * (BYTES_OF_ROW[row] + 4 * n_outputs)
    assert counts.uploaded_bytes <= of_rows + 3 * OF_MODEL  # of both trainings, and of the scores
    assert counts.uploaded_bytes < counts.inputs / 2
