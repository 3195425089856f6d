"""A budget of launches, uploads, downloads and allocations of an epoch on a CUDA device; docs/performance.md has it."""

from pathlib import Path

import pytest

from tests.cuda_machines import needs_compiler
from tests.launches import FORMS, WORKLOADS, count, table

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"


@needs_compiler
@pytest.mark.once
def test_the_page_has_the_counts():
    assert "\n".join(table()) in PAGE.read_text("utf-8"), "python -m tests.launches prints the present ones"


@needs_compiler
@pytest.mark.once
@pytest.mark.parametrize("form", FORMS)
def test_a_search_asks_for_little(form):
    counts = count(form, **WORKLOADS["a search"])
    assert counts.launches_of_step <= 12
    assert counts.uploads <= 3  # of an epoch, for all of its steps
    assert counts.allocations == 0
