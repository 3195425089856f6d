"""The exceptions and warnings of gpubp; each exception can also be caught as a built-in one."""

from typing import Any


class GpubpError(Exception):
    """Base class of the exceptions of gpubp.

    Examples
    --------
    >>> import gpubp
    >>> try:
    ...     gpubp.load_dataset("irises")
    ... except gpubp.GpubpError as error:
    ...     print(type(error).__name__)
    DataError
    """


class DataError(GpubpError, ValueError):
    """The input has a wrong shape, type or value, or a file cannot be read.

    Examples
    --------
    >>> import gpubp
    >>> gpubp.Network((3,))
    Traceback (most recent call last):
        ...
    gpubp.errors.DataError: sizes must be two or more positive whole numbers, inputs first, got (3,)
    """


class DeviceError(GpubpError, RuntimeError):
    """The requested device cannot be used; the message names the cause and the fix.

    Examples
    --------
    >>> import gpubp
    >>> gpubp.predict(gpubp.Network((1, 1)), [0.0, 0.0], [[1.0]], device="cuda:first")
    Traceback (most recent call last):
        ...
    gpubp.errors.DeviceError: device='cuda:first': expected 'cuda' or 'cuda:N' with N a number, such as 'cuda:0'
    """


class AgreementError(GpubpError, AssertionError):
    """A device does not agree with NumPy within the table of tolerances."""


class ModelFileError(GpubpError, ValueError):
    """A model file is truncated, damaged, not from gpubp, or from a version that this one cannot read.

    Examples
    --------
    >>> import gpubp
    >>> try:
    ...     gpubp.load_model("nothing.safetensors")
    ... except gpubp.ModelFileError as error:
    ...     print("nothing.safetensors" in str(error))
    True
    """


class CheckpointError(GpubpError, ValueError):
    """All checkpoints are damaged or were written by a run with other settings, or the last one could not be written.

    Attributes
    ----------
    fit : Fit, TableFit or None
        The result of the training, if only the last checkpoint failed.

    Examples
    --------
    >>> import tempfile
    >>> import gpubp
    >>> network, X, targets = gpubp.Network((1, 1)), [[0.0], [1.0]], [[0.0], [1.0]]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     fit = gpubp.train(network, X, targets, epochs=2, checkpoint=folder)
    ...     try:
    ...         fit = gpubp.train(network, X, targets, epochs=2, l2=0.1, checkpoint=folder, resume=True)
    ...     except gpubp.CheckpointError:
    ...         print("of a run with other settings")
    of a run with other settings
    """

    fit: Any = None


class DivergenceWarning(UserWarning):
    """Training diverged; the parameters of the last finite epoch are returned.

    Examples
    --------
    >>> import warnings
    >>> import gpubp
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     huge = gpubp.gradient_descent(1e30)
    ...     fit = gpubp.train(gpubp.Network((1, 1)), [[1.0]], [[2.0]], optimizer=huge, epochs=50)
    >>> caught[-1].category.__name__, fit.stop_reason
    ('DivergenceWarning', 'diverged')
    """


class TableWarning(UserWarning):
    """A table lacks columns that a model was trained on, or holds what training did not see; all rows are predicted.

    Examples
    --------
    >>> import warnings
    >>> import gpubp
    >>> table = {"x": [k % 7 / 2 for k in range(40)], "z": [k % 5 / 2 for k in range(40)]}
    >>> model = gpubp.TabularRegressor(epochs=2).fit(table, [k % 3 / 2 for k in range(40)])
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     predictions = gpubp.predict_table(model.model_, {"x": [1.0]})
    >>> caught[-1].category.__name__
    'TableWarning'
    """


class CheckpointWarning(UserWarning):
    """A checkpoint could not be written and training continues, or a damaged one was skipped for an earlier one.

    Examples
    --------
    Training that cannot write a checkpoint goes on; to end it instead:

    >>> import warnings
    >>> import gpubp
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", gpubp.CheckpointWarning)
    ...     fit = gpubp.train(gpubp.Network((1, 1)), [[0.0]], [[1.0]], epochs=2)
    >>> fit.stop_reason
    'epochs'
    """
