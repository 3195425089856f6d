"""The exceptions and warnings of gpubp; each exception can also be caught as a built-in one."""

from typing import Any


class GpubpError(Exception):
    """Base class of the exceptions of gpubp."""


class DataError(GpubpError, ValueError):
    """The input has a wrong shape, type or value, or a file cannot be read."""


class DeviceError(GpubpError, RuntimeError):
    """The requested device cannot be used; the message names the cause and the fix."""


class AgreementError(GpubpError, AssertionError):
    """A device does not agree with NumPy within the table of tolerances."""


class ModelFileError(GpubpError, ValueError):
    """A model file is truncated, damaged, not from gpubp, or from a version that this one cannot read."""


class CheckpointError(GpubpError, ValueError):
    """All checkpoints are damaged or were written by a run with other settings, or the last one could not be written.

    Attributes
    ----------
    fit : Fit, TableFit or None
        The result of the training, if only the last checkpoint failed.
    """

    fit: Any = None


class DivergenceWarning(UserWarning):
    """Training diverged; the parameters of the last finite epoch are returned."""


class TableWarning(UserWarning):
    """A table lacks columns that a model was trained on, or holds what training did not see; all rows are predicted."""


class CheckpointWarning(UserWarning):
    """A checkpoint could not be written and training continues, or a damaged one was skipped for an earlier one."""
