"""Compare arrays, and a device with NumPy, by the table of tolerances."""

import logging
import math
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from contextvars import copy_context
from functools import partial
from typing import Any, NamedTuple

import array_api_compat
import numpy as np

from gpubp._core.names import unknown
from gpubp._typing import Array, Device, Namespace
from gpubp.backends.backend import Backend, choose_backend, to_backend, to_numpy
from gpubp.backends.inputs import accept_on_host, as_numbers
from gpubp.engine.argument_checks import choose_precision
from gpubp.engine.cpu import in_array_calls
from gpubp.errors import AgreementError, DataError, DeviceError
from gpubp.testing._comparison import Comparison, dtype_name
from gpubp.testing._comparisons import comparisons
from gpubp.testing._tolerances import TOLERANCES, Tolerance

logger = logging.getLogger("gpubp")


@np.errstate(all="ignore")
def deviation(actual: Array, expected: Array, kind: str) -> float:
    """Return the largest difference between two arrays, as a multiple of the tolerance for ``actual``'s dtype.

    Parameters
    ----------
    actual, expected : arrays of one shape, of any namespaces and devices
    kind : str
        A kind of :data:`TOLERANCES`.

    Returns
    -------
    float
        At most 1 if they agree; infinite if only one of them is NaN.

    Raises
    ------
    DataError
        If one is no array, the shapes differ, or the table has no row for this kind and dtype.

    Examples
    --------
    >>> import numpy as np
    >>> deviation(np.asarray([1.0, 2.0]), np.asarray([1.0, 2.0]), "gradient")
    0.0
    """
    return _largest_deviation(actual, expected, kind).deviation


@np.errstate(all="ignore")
def assert_agree(
    actual: Array, expected: Array, kind: str, *, namespace: Namespace | None = None, device: Device | None = None
) -> None:
    """Assert that an array has the expected values, dtype, shape, namespace and device.

    Parameters
    ----------
    actual : array
    expected : array
        Of any namespace; its values, dtype and shape are expected.
    kind : str
        A kind of :data:`TOLERANCES`.
    namespace : module, optional
        The expected namespace; by default, that of ``expected``.
    device : device, optional
        The expected device; by default, that of ``expected``, or the default one of a given ``namespace``.

    Raises
    ------
    AgreementError
        An AssertionError: if anything differs; the message says what, where, by how much, and the tolerance.

    Examples
    --------
    >>> import numpy as np
    >>> assert_agree(np.asarray([1.0]), np.asarray([1.001]), "forward")
    Traceback (most recent call last):
    gpubp.errors.AgreementError: forward: ... times the tolerance at [0]: got 1.0, expected 1.001, ...
    """
    check_array("expected", expected)
    if namespace is None:
        namespace = array_api_compat.array_namespace(expected)
        device = array_api_compat.device(expected) if device is None else device
    _, difference = _compare(actual, expected, kind, namespace, device)
    if difference:
        raise AgreementError(difference)


class Agreement(NamedTuple):
    """The result of one comparison.

    Attributes
    ----------
    kind : str
        The kind of :data:`TOLERANCES`.
    what : str
        What was computed.
    dtype : str
    deviation : float
        The largest difference as a multiple of the tolerance; infinite if dtype, shape, namespace or device differs.
    ok : bool
    fault : str
        What differs; empty if nothing does.

    Examples
    --------
    >>> from gpubp.backends.backend import choose_backend
    >>> from gpubp.testing import comparisons
    >>> row = compare(comparisons()[0], choose_backend("cpu"), "float64")
    >>> row.kind, row.what, row.ok
    ('forward', 'eq. (1) total input', True)
    """

    kind: str
    what: str
    dtype: str
    deviation: float
    ok: bool
    fault: str


@np.errstate(all="ignore")
def check_agreement(
    device: str = "auto",
    *,
    dtypes: Sequence[str] | None = None,
    against: str = "cpu",
    progress: Callable[[int, int], None] | None = None,
    n_threads: int = 1,
) -> list[Agreement]:
    """Compare a device with NumPy: every equation, activation, loss and optimizer, a few networks, and whole fits.

    NumPy computes in plain array calls, so that ``"cpu"`` compares the compiled engine.

    Parameters
    ----------
    device : str
        See :func:`gpubp.backends.backend.choose_backend`. On a machine without a GPU ``"auto"`` is ``"cpu"``.
    dtypes : sequence of {"float64", "float32"}, optional
        The precisions to compare; by default, those of the two that both devices support.
    against : str
        The device to compare with; "cpu" is NumPy.
    progress : callable, optional
        Called with the number of comparisons done, and of all.
    n_threads : int
        The number of comparisons at once. JAX, which compiles most of the time, takes about half as long with two. What
        JAX keeps for each thread, such as ``with jax.enable_x64()``, does not hold in them.

    Returns
    -------
    list of Agreement
        One row for each comparison and precision.

    Raises
    ------
    DeviceError
        If the device cannot be used.
    DataError
        If a device lacks a requested precision, or none is requested.

    Examples
    --------
    >>> all(row.ok for row in check_agreement("cpu", dtypes=["float32"]))
    True
    """
    backend, reference = choose_backend(device), choose_backend(against)
    if dtypes is None:
        dtypes = ["float64", "float32"]
        if reason := left_out(device, against):
            logger.warning("%s", reason)
            dtypes.remove("float64")
    dtypes = [dtypes] if isinstance(dtypes, str) else dtypes
    if not len(dtypes):
        raise DataError("dtypes must name float32, float64 or both, got none")
    for one in (backend, reference):
        dtypes = [choose_precision(one, dtype) for dtype in dtypes]
    all_comparisons = [one for one in comparisons() if backend.is_numpy or backend.is_cuda or not one.of_kernels]
    chosen = [(comparison, dtype) for dtype in dtypes for comparison in all_comparisons if dtype in comparison.dtypes]
    rows = []
    calls = [partial(compare, one, backend, dtype, reference) for one, dtype in chosen]
    with closing(_in_threads(n_threads, calls)) as results:
        for row in results:
            rows.append(row)
            if progress is not None:
                progress(len(rows), len(chosen))
    return rows


def _in_threads(n_threads: int, calls: Sequence[Callable[[], Agreement]]) -> Generator[Agreement]:
    """Yield the results of calls in their order; none begins any more once one has raised, or Ctrl-C."""
    if n_threads == 1:
        yield from (call() for call in calls)
        return
    threads = ThreadPoolExecutor(n_threads)
    try:
        futures = [threads.submit(copy_context().run, call) for call in calls]
        yield from (future.result() for future in futures)
    finally:
        threads.shutdown(cancel_futures=True)


def left_out(*devices: str) -> str:
    """Say why float64 is not compared, and how to change that; empty if all devices have it.

    Examples
    --------
    >>> left_out("cpu")
    ''
    """
    for backend in map(choose_backend, devices):
        if choose_precision(backend, None, np.empty(0)) != "float64":
            is_jax = array_api_compat.is_jax_array(backend.xp.zeros(1))
            fix = ", since x64 is off; to fix it: JAX_ENABLE_X64=1" if is_jax else ""
            return f"{backend.name} has no float64: only float32 is compared{fix}"
    return ""


@np.errstate(all="ignore")
def compare(comparison: Comparison, backend: Backend, dtype: str, reference: Backend | None = None) -> Agreement:
    """Compute on a device, and on another, by default with NumPy, in plain array calls; and compare.

    Parameters
    ----------
    comparison : Comparison
        One of :func:`comparisons`.
    backend : Backend
    dtype : {"float64", "float32"}
    reference : Backend, optional
        The device to compare with.

    Examples
    --------
    >>> from gpubp.testing import comparisons
    >>> compare(comparisons()[2], choose_backend("cpu"), "float32").what
    'eq. (2) logistic'
    """
    try:
        computed = _results(comparison, backend, dtype)
    except (DataError, DeviceError):
        raise
    except Exception as error:  # such as a kernel that does not compile: the other rows are still compared
        fault = f"{comparison.kind}: {type(error).__name__}: {error}"
        return Agreement(comparison.kind, comparison.what, dtype, math.inf, False, fault)
    with in_array_calls():
        other_way = comparison._replace(compute=comparison.expected or comparison.compute)
        expected = _results(other_way, reference or choose_backend("cpu"), dtype)
    # astype: precision lost by both NumPy and the device is also reported
    outcomes = [
        _compare(one, to_numpy(other).astype(dtype), comparison.kind, backend.xp, backend.device)
        for one, other in zip(computed, expected, strict=True)
    ]
    fault = "; ".join(fault for _, fault in outcomes if fault)
    return Agreement(comparison.kind, comparison.what, dtype, max(part for part, _ in outcomes), not fault, fault)


def _results(comparison: Comparison, backend: Backend, dtype: str) -> tuple[Array, ...]:
    host = [array.astype(dtype) for array in comparison.arrays]
    for array in host:
        array.flags.writeable = False  # writing to an input raises
    compute: Callable[..., Any] = partial(comparison.compute, backend)
    if comparison.is_pure and backend.library.compile is not None:
        compute = backend.library.compile(compute)
    with backend.active():
        results = compute(*(to_backend(backend, array) for array in host))
    return tuple(results) if isinstance(results, tuple | list) else (results,)


def _compare(
    actual: Array, expected: Array, kind: str, namespace: Namespace, device: Device | None
) -> tuple[float, str]:
    """Return the deviation, infinite if more than values differ, and a message if it is above 1."""
    for name, got, wanted in _properties(actual, expected, namespace, device):
        if got != wanted:
            return math.inf, f"{kind}: {name} is {got}, expected {wanted}"
    largest, position, row = _largest_deviation(actual, expected, kind)
    if largest <= 1.0:
        return largest, ""
    got, wanted = to_numpy(actual)[position], to_numpy(expected)[position]
    return largest, (
        f"{kind}: {largest:.4g} times the tolerance at {[int(i) for i in position]}: got {got}, expected {wanted}, a "
        f"difference of {abs(float(got) - float(wanted)):.3g}; the table's row for {kind}, {dtype_name(actual)}: "
        f"rtol={row.rtol:g}, atol={row.atol:g}"
    )


def check_array(name: str, array: Any) -> None:
    """Raise a DataError if this is no array, such as a number of Python."""
    if not array_api_compat.is_array_api_obj(array):
        raise DataError(f"{name} must be an array, got {type(array).__name__}; numpy.asarray makes one of numbers")


def check_row(kind: str, dtype: str) -> None:
    """Raise a DataError if the table of tolerances has no such row."""
    if (kind, dtype) not in TOLERANCES:
        kinds = [name for name, of in TOLERANCES if of == dtype]
        raise DataError(
            unknown(f"kind of comparison in {dtype}", kind, kinds)
            if kinds
            else unknown("dtype of the tolerance table", dtype, ("float32", "float64"))
        )


def _properties(
    actual: Array, expected: Array, namespace: Namespace, device: Device | None
) -> Iterator[tuple[str, Any, Any]]:
    sample = namespace.asarray([0.0], dtype=namespace.float32, device=device)
    yield "namespace", _namespace_name(actual), _namespace_name(sample)
    yield "device", array_api_compat.device(actual), array_api_compat.device(sample)
    yield "dtype", dtype_name(actual), dtype_name(expected)
    yield "shape", tuple(actual.shape), tuple(expected.shape)


def _namespace_name(array: Array) -> str:
    if not array_api_compat.is_array_api_obj(array):
        return f"none, a {type(array).__name__}"
    return str(array_api_compat.array_namespace(array).__name__).removeprefix("array_api_compat.")


class _Largest(NamedTuple):
    deviation: float
    position: tuple[Any, ...]
    row: Tolerance


def _largest_deviation(actual: Array, expected: Array, kind: str) -> _Largest:
    """Find where two arrays of one shape differ most, as a multiple of the tolerance."""
    for name, one in (("actual", actual), ("expected", expected)):
        check_array(name, one)
    dtype = dtype_name(actual)
    if dtype not in ("float32", "float64"):
        raise DataError(
            f"the table of tolerances is for float32 and float64, got {actual.dtype}; compare .astype('float64')"
        )
    check_row(kind, dtype)
    if tuple(actual.shape) != tuple(expected.shape):
        raise DataError(f"arrays of shapes {tuple(actual.shape)} and {tuple(expected.shape)} cannot be compared")
    row = TOLERANCES[kind, dtype]
    a, e = (as_numbers("expected", np.asarray(accept_on_host("expected", one))) for one in (actual, expected))
    a, e = a.astype("float64"), e.astype("float64")
    deviations = np.abs(a - e) / (row.atol + row.rtol * np.abs(e))
    deviations = np.where(
        (a == e) | (np.isnan(a) & np.isnan(e)), 0.0, np.where(np.isnan(deviations), np.inf, deviations)
    )
    if deviations.size == 0:
        return _Largest(0.0, (), row)
    position = np.unravel_index(np.argmax(deviations), deviations.shape)
    return _Largest(float(deviations[position]), position, row)
