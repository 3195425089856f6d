"""Write the model file and the picture of the learning curve."""

import tempfile
from pathlib import Path
from typing import NamedTuple

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
    picture: Path | None
    picture_error: GpubpError | None
    report: Path | None = None


def save(job: TrainingJob, outcome: FitOutcome) -> SavedFiles:
    """Save the model, if anything of use was learned, and its learning curve."""
    if not outcome.has_model:
        return SavedFiles(None, None, None)
    model, history = _save_model(outcome.result.model, job.model_path), outcome.result.fit.history
    if job.options.report is not None:
        write_report(job, outcome, job.options.report)
    if job.picture_path is None or not history.loss:
        return SavedFiles(model, None, None, job.options.report)
    try:
        save_learning_curve(
            history, job.picture_path, title=stem(job.options.data), score_name=job.score_name, monitored="loss"
        )
    except GpubpError as error:  # raised at the end, after the scores are printed
        return SavedFiles(model, None, error, job.options.report)
    return SavedFiles(model, job.picture_path, None, job.options.report)


def _save_model(model: Model, path: Path) -> Path:
    """Save the model, in a temporary folder if ``path`` cannot be written: training may have taken hours."""
    try:
        save_model(path, model.network, model.theta, preprocessing=model.preprocessing, about=model.about)
    except OSError as error:
        try:
            temporary_path = Path(tempfile.mkdtemp(prefix="gpubp-"), path.name)
            save_model(temporary_path, model.network, model.theta, preprocessing=model.preprocessing, about=model.about)
        except OSError:
            raise error from None  # it names the path of the user
        print_error(f"{path} cannot be written ({error.strerror}); the model is in {temporary_path} instead")
        return temporary_path
    return path
