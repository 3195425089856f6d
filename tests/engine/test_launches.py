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


@needs_compiler
@pytest.mark.once
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("name", "plain"),
    [("clipped", "one network"), ("dropout", "one network"), ("a search, clipped, with dropout", "a search")],
)
def test_clipping_and_dropout_take_few_launches_more(form, name, plain):
    counts, without = (count(form, **WORKLOADS[workload]) for workload in (name, plain))
    assert counts.launches_of_step <= without.launches_of_step + 3
    assert counts.allocations == 0
