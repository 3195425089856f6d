"""The report of a training as a page, for ``gpubp train --report``."""

import warnings
from datetime import UTC, datetime
from pathlib import Path

from gpubp._core.text import counted
from gpubp.cli.options import command_line
from gpubp.cli.output import print_note
from gpubp.cli.train.fit import FitOutcome
from gpubp.cli.train.prepare import TrainingJob
from gpubp.data.readers import stem
from gpubp.errors import TableWarning
from gpubp.io.atomic_files import write_atomically
from gpubp.reports import report_page
from gpubp.tabular import PreparedTable
from gpubp.tabular.checks import few_rows, suspicions
from gpubp.tabular.inspected_table import LEAST_ROWS, InspectedTable
from gpubp.tabular.report import report_of
from gpubp.tabular.verdict import no_better_than_baseline


def write_report(job: TrainingJob, outcome: FitOutcome, path: Path) -> None:
    """Write the page; what needs rows shows the test rows, or else those for early stopping."""
    result, prepared = outcome.result, job.prepared
    inspected, words = _held_out(job, outcome)
    doubts = [few_rows(prepared), *(suspicions(prepared) if isinstance(prepared, PreparedTable) else [])]
    verdict = no_better_than_baseline(result)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TableWarning)  # of these rows; training has said it of all
        report = report_of(
            result.model,
            title=stem(job.options.data),
            code=command_line(job.options.context),
            notes=[f"{doubt[:1].upper()}{doubt[1:]}." for doubt in (*doubts, verdict) if doubt],
            inspected=inspected,
            rows=words,
        )
    page = report_page([report], made=f"trained on {datetime.now(UTC):%d %B %Y}")
    write_atomically(path, page.encode())


def _held_out(job: TrainingJob, outcome: FitOutcome) -> tuple[InspectedTable | None, str]:
    """Return the rows that the scored network was not trained on, and what they are in words."""
    prepared, result = job.prepared, outcome.result
    if not isinstance(prepared, PreparedTable):
        print_note("the report has no confusion, errors or importance, since the table is read in parts")
        return None, ""
    part = "test" if len(prepared.parts["test"]) else "validation"
    rows = prepared.parts[part]
    if len(rows) < LEAST_ROWS or result.scored_model is None:
        print_note("the report has no confusion, errors or importance, since no rows are held out for the test")
        return None, ""
    inspected = InspectedTable(
        result.scored_model,
        prepared.table.select(rows),
        device=job.options.device,
        matmul_precision=job.options.matmul_precision,
    )
    return inspected, counted(len(rows), f"{part} row")
