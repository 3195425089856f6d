"""The exceptions of gpubp: few, and each also a built-in one, so that callers need not import them."""

from typing import Any


class GpubpError(Exception):
    """Base of every error that gpubp raises on purpose."""


class DataError(GpubpError, ValueError):
    """The input is not what the function takes: shape, type, value, or a file that cannot be read."""


class DeviceError(GpubpError, RuntimeError):
    """The device asked for cannot be used; the message names the cause and the fix."""


class ModelFileError(GpubpError, ValueError):
    """A model file is truncated, corrupted, foreign, or from a version that this one cannot read."""


class CheckpointError(GpubpError, ValueError):
    """No checkpoint is whole, those there are belong to another training, or the last one could not be written.

    Attributes
    ----------
    fit : Fit, TableFit or None
        What was learned, where nothing but the last checkpoint failed.
    """

    fit: Any = None


class DivergenceWarning(UserWarning):
    """Training left the finite numbers; the last good parameters were kept."""


class CheckpointWarning(UserWarning):
    """A checkpoint could not be written and training goes on, or one is damaged and one before it was taken."""
