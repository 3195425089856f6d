"""The three methods in which scikit-learn's multilayer perceptrons compute, replaced by gpubp's computation.

Whatever gpubp does not do goes to scikit-learn's own method, which does it as if gpubp was not there.
"""

import contextlib
import copy
import functools
import inspect
import io
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from sklearn.utils.validation import validate_data

from gpubp.accel._record import Computation, ComputationRecord, Totals
from gpubp.estimators.scikit_learn import NotSupported, continue_fit, outputs_of

FEW = 1 << 26
"""Products of an input and a weight below which a prediction stays with scikit-learn, which is as fast then."""


class _Calls(threading.local):
    """Whether scikit-learn's own methods run in this thread; what they call is theirs too."""

    own = False


_calls = _Calls()


def replace_methods(module: Any, device: str, compare: bool, record: ComputationRecord) -> Callable[[], None]:
    """Replace the methods in scikit-learn's module; return a function that gives them back."""
    base = getattr(module, "BaseMultilayerPerceptron", object)
    names = ("_fit_stochastic", "_fit_lbfgs", "_forward_pass_fast")
    if not all(hasattr(base, name) for name in names):
        message = "gpubp.accel does not know this version of scikit-learn, which computes its networks itself"
        warnings.warn(message, RuntimeWarning, stacklevel=2)
        return lambda: None
    originals = {name: getattr(base, name) for name in names}
    for name, original in originals.items():
        replacement = _forward_pass if name == "_forward_pass_fast" else _fit
        setattr(base, name, replacement(original, device, compare, record))

    def undo() -> None:
        for name, original in originals.items():
            setattr(base, name, original)

    return undo


def _fit(original: Callable[..., Any], device: str, compare: bool, record: ComputationRecord) -> Callable[..., Any]:
    """Return ``_fit_stochastic`` or ``_fit_lbfgs``, which train from drawn weights, with gpubp."""
    signature = inspect.signature(original)

    @functools.wraps(original)
    def fit(self: Any, *args: Any, **kwargs: Any) -> None:
        if _calls.own:
            original(self, *args, **kwargs)
            return
        given = signature.bind(self, *args, **kwargs).arguments
        incremental = bool(given.get("incremental", False))
        samples = (given["X"], given["y"], given.get("sample_weight"))
        train = functools.partial(continue_fit, self, *samples, device=device, incremental=incremental)
        method = "partial_fit" if incremental else "fit"
        _compute(self, method, train, original, args, kwargs, compare=compare, record=record)

    return fit


def _forward_pass(
    original: Callable[..., Any], device: str, compare: bool, record: ComputationRecord
) -> Callable[..., Any]:
    """Return ``_forward_pass_fast``, which computes the outputs for predictions, with gpubp."""

    @functools.wraps(original)
    def forward_pass(self: Any, X: Any, check_input: bool = True) -> Any:
        if _calls.own:
            return original(self, X, check_input)
        if check_input:
            X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        if X.shape[0] * sum(weights.size for weights in self.coefs_) < FEW:
            return original(self, X, check_input=False)
        predict = functools.partial(outputs_of, self, X, device=device)
        return _compute(self, "predict", predict, original, (X, False), {}, compare=compare, record=record)

    return forward_pass


def _compute(
    model: Any,
    method: str,
    by_gpubp: Callable[[], tuple[Any, str]],
    original: Callable[..., Any],
    args: Any,
    kwargs: Any,
    *,
    compare: bool,
    record: ComputationRecord,
) -> Any:
    """Compute by gpubp, or else by scikit-learn, and record it."""
    name = type(model).__name__
    twin = copy.deepcopy(model) if compare else None
    start = time.perf_counter()
    try:
        result, device = by_gpubp()
    except NotSupported as unsupported:
        reason = str(unsupported)
    else:
        totals = Totals(1, time.perf_counter() - start)
        if twin is not None:
            totals.compared, totals.compared_seconds = 1, totals.seconds
            totals.scikit_learn_seconds = _seconds_of(original, twin, args, kwargs)
        record.add(Computation(name, method, device), totals)
        return result
    start = time.perf_counter()
    with _as_scikit_learn():
        result = original(model, *args, **kwargs)
    record.add(Computation(name, method, reason=reason), Totals(1, time.perf_counter() - start))
    return result


def _seconds_of(original: Callable[..., Any], twin: Any, args: Any, kwargs: Any) -> float:
    """Measure scikit-learn's own computation on a copy of the model, which prints and warns nothing."""
    with _as_scikit_learn(), warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        start = time.perf_counter()
        original(twin, *args, **kwargs)
        return time.perf_counter() - start


@contextlib.contextmanager
def _as_scikit_learn() -> Iterator[None]:
    """Leave what is called in this thread to scikit-learn."""
    before, _calls.own = _calls.own, True
    try:
        yield
    finally:
        _calls.own = before
