"""Write the model file, the report and the picture of the learning curve."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from gpubp.cli.options import portable_command
from gpubp.cli.output import print_error
from gpubp.cli.train.fit import FitOutcome
from gpubp.cli.train.page import write_report
from gpubp.cli.train.prepare import TrainingJob
from gpubp.data.readers import stem
from gpubp.errors import GpubpError
from gpubp.io.model_file import Model, save_model
from gpubp.plotting import save_learning_curve


class SavedFiles(NamedTuple):
    """The files that were written; None for each one that was not."""

    model: Path | None
    picture: Path | None = None
    report: Path | None = None
    errors: Sequence[Exception] = ()
    """Why a report or a picture was not; they are printed after the scores."""


def save(job: TrainingJob, outcome: FitOutcome) -> SavedFiles:
    """Save the model, if anything of use was learned, its report and its learning curve."""
    if not outcome.has_model:
        return SavedFiles(None)
    trained, history = outcome.result.model, outcome.result.fit.history
    command = portable_command(job.options.context)
    model = _save_model(replace(trained, about={**trained.about, "command": command}), job.model_path)
    report, picture = job.options.report, job.picture_path if history.loss else None
    errors: list[Exception] = []
    if report is not None:
        try:
            write_report(job, outcome, report)
        except (GpubpError, OSError, ValueError) as error:
            errors.append(error)
            report = None
    if picture is not None:
        try:
            save_learning_curve(
                history, picture, title=stem(job.options.data), score_name=job.score_name, monitored="loss"
            )
        except (GpubpError, OSError, ValueError) as error:
            errors.append(error)
            picture = None
    return SavedFiles(model, picture, report, errors)


def _save_model(model: Model, path: Path) -> Path:
    """Save the model, in a temporary folder if ``path`` cannot be written: training may have taken hours."""
    try:
        save_model(path, model)
    except OSError as error:
        try:
            temporary_path = Path(tempfile.mkdtemp(prefix="gpubp-"), path.name)
            save_model(temporary_path, model)
        except OSError:
            raise error from None  # it names the path of the user
        print_error(f"{path} cannot be written ({error.strerror}); the model is in {temporary_path} instead")
        return temporary_path
    return path
