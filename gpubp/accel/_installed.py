"""Replace scikit-learn's methods as soon as it is imported, and give them back."""

from collections.abc import Callable

from gpubp.accel._child_processes import Settings, leave_settings, remove_settings
from gpubp.accel._on_import import ImportHook
from gpubp.accel._record import ComputationRecord
from gpubp.accel._report import write_report

_MODULE = "sklearn.neural_network._multilayer_perceptron"


class _Installed:
    """What is installed in this process: a record, and a function that takes everything back."""

    record = ComputationRecord()
    undo: Callable[[], None] | None = None


def install(device: str = "auto", *, compare: bool = False) -> None:
    """Let gpubp train scikit-learn's ``MLPClassifier`` and ``MLPRegressor``, in this process and those that it starts.

    The classes, their parameters and their fitted attributes stay scikit-learn's.

    Parameters
    ----------
    device : str
        Where to compute: "auto", "cpu", "cuda", ...
    compare : bool
        Whether scikit-learn does the same computations on copies, to measure the time saved.

    Raises
    ------
    DeviceError
        If the device is named and cannot be used.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> import gpubp.accel
    >>> gpubp.accel.install(device="cpu")
    >>> model = MLPClassifier(tol=1e-3, max_iter=500, random_state=0).fit(*load_iris(return_X_y=True))
    >>> print(gpubp.accel.report().splitlines()[2].split()[:2])
    ['MLPClassifier.fit', '1']
    >>> gpubp.accel.uninstall()
    """
    uninstall()
    if device != "auto":
        from gpubp.backends.backend import choose_backend

        choose_backend(device)
    record = ComputationRecord.of_a_main_process()
    settings = Settings(device, compare, record.folder)
    _replace_methods(settings, record)
    leave_settings(settings)


def uninstall() -> None:
    """Give scikit-learn its own methods back; :func:`report` goes on telling what was done.

    Examples
    --------
    >>> import gpubp.accel
    >>> gpubp.accel.uninstall()
    """
    if _Installed.undo is not None:
        _Installed.undo()
        _Installed.undo = None
    remove_settings()


def report() -> str:
    """Return what gpubp has computed for scikit-learn since :func:`install`, what it has not and why, and the time.

    Returns
    -------
    str
        A table, with the computations in processes that were started since.

    Examples
    --------
    >>> import gpubp.accel
    >>> gpubp.accel.install(device="cpu")
    >>> print(gpubp.accel.report())
    gpubp.accel: no MLPClassifier or MLPRegressor of scikit-learn was fitted
    >>> gpubp.accel.uninstall()
    """
    return write_report(_Installed.record.collect())


def join() -> None:
    """Install in a process that an accelerated one has started, with the settings that it left."""
    if (settings := Settings.left()) is not None:
        _replace_methods(settings, ComputationRecord.of_a_child_process(settings.folder))


def _replace_methods(settings: Settings, record: ComputationRecord) -> None:
    def replace_in(module: object) -> Callable[[], None]:
        from gpubp.accel._methods import replace_methods

        return replace_methods(module, settings.device, settings.compare, record)

    _Installed.record, _Installed.undo = record, ImportHook(_MODULE, replace_in).remove
