"""``python -m benchmarks.tables.page``: update the tables of docs/table_benchmark.md from result files.

A table is between ``<!-- FILE | SET | TASK -->`` and ``<!-- end -->``; FILE is in benchmarks/results, and without TASK
the table is of all tasks. ``<!-- FILE | targets -->`` is the comparison with gpubp's targets, without
those that lack a contender.
"""

import json
import re

from benchmarks.machine import ROOT
from benchmarks.table import markdown
from benchmarks.tables.aims import verdicts
from benchmarks.tables.report import overview

PAGE = ROOT / "docs" / "table_benchmark.md"
RESULTS = ROOT / "benchmarks" / "results"
MARKED = re.compile(
    r"(?P<begin><!-- (?P<what>[^>]*\.json \| [^>]*) -->\n)(?P<table>.*?)(?P<end><!-- end -->)", re.DOTALL
)


def main():
    """Update the page."""
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def with_tables(page):
    """Replace every table between marks."""
    return MARKED.sub(lambda match: "\n".join([match["begin"], *_table(match["what"]), "", match["end"]]), page)


def _table(what):
    file, set_name, *task = what.split(" | ")
    result = json.loads((RESULTS / file).read_text(encoding="utf-8"))
    if set_name == "targets":
        return markdown(["target", "limit", "measured", ""], [list(one) for one in verdicts(result) if one.value])
    return overview(result, set_name, *task)


if __name__ == "__main__":
    main()
