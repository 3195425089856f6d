"""The page states what tables copy to a GPU, and a table's columns are copied instead of its inputs."""

import pytest

from tests.cuda_on_cpu.tables import N_ROWS, count, table, table_of_page

OF_MODEL = 150_000  # bytes of the network's parameters, and of the statistics of its inputs


def test_the_page_has_the_counts():
    assert table_of_page() == table(), "python -m tests.cuda_on_cpu.tables writes the present ones"


@pytest.mark.parametrize(
    ("row", "bytes_of_row"), [("numbers", 7 * 8), ("numbers, categories and dates", (3 + 3) * 8 + 3 * 4)]
)
def test_a_prediction_copies_columns_and_the_model(row, bytes_of_row):
    counts = count(f"predict, {row}")
    assert counts.uploads <= 3  # numbers, codes, parameters
    assert counts.uploaded_bytes <= N_ROWS * bytes_of_row + OF_MODEL
    assert counts.uploaded_bytes < counts.inputs / 3
