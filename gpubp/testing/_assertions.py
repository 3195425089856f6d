"""Assert that a device, or a function of one's own, agrees within the table of tolerances."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpubp._typing import Array
from gpubp.backends.backend import Backend, choose_backend, to_backend
from gpubp.backends.inputs import accept_on_host, as_numbers
from gpubp.errors import AgreementError, DataError
from gpubp.testing._agreement import Agreement, assert_agree, check_agreement, check_row, deviation


@np.errstate(all="ignore")
def assert_agreement(device: str = "auto", *, dtypes: Sequence[str] | None = None) -> list[Agreement]:
    """Assert that a device agrees with NumPy in every row of :func:`check_agreement`.

    Parameters
    ----------
    device, dtypes
        See :func:`check_agreement`.

    Returns
    -------
    list of Agreement
        All rows, if they agree.

    Raises
    ------
    AgreementError
        An AssertionError: it shows the worst row, and all that fail.
    DeviceError, DataError
        See :func:`check_agreement`.

    Examples
    --------
    >>> rows = assert_agreement("cpu", dtypes=["float32"])
    >>> max(row.deviation for row in rows) <= 1
    True
    """
    rows = check_agreement(device, dtypes=dtypes)
    failed = sorted((row for row in rows if not row.ok), key=lambda row: row.deviation, reverse=True)
    if not failed:
        return rows
    worst = failed[0]
    width = max(len(row.what) for row in failed)
    table = [f"{row.what:<{width}}  {row.dtype}  {row.kind}  {row.deviation:.4g}" for row in failed]
    raise AgreementError(
        f"{device}: {len(failed)} of {len(rows)} rows disagree with NumPy, worst {worst.what} in {worst.dtype}: "
        f"{worst.fault}\nAll that disagree, in multiples of the tolerance:\n" + "\n".join(table)
    )


@np.errstate(all="ignore")
def assert_functions_agree(
    actual: Callable[..., Any],
    expected: Callable[..., Any],
    *arrays: Any,
    kind: str,
    dtype: str = "float32",
    device: str = "cpu",
    expected_device: str = "cpu",
) -> float:
    """Assert that a function agrees with another one, each on a device and array library of its own.

    Parameters
    ----------
    actual, expected : callable
        Each takes ``arrays`` on its device and returns an array there, or a tuple of arrays.
    *arrays : array-like
        The arguments; both functions get them in ``dtype``.
    kind : str
        A kind of :data:`TOLERANCES`.
    dtype : {"float32", "float64"}
    device, expected_device : str
        Of ``actual`` and of ``expected``; see :func:`gpubp.backends.backend.choose_backend`.

    Returns
    -------
    float
        The largest deviation, as a multiple of the tolerance; at most 1.

    Raises
    ------
    AgreementError
        An AssertionError: if values, dtype, shape or number of results differ, or those of ``actual`` are not on its
        device; the message says where, by how much, and the tolerance.
    DataError
        If the table has no row for this kind and dtype, an array does not hold real numbers, or ``expected`` does not
        return arrays, or returns float64 for float32.
    DeviceError
        If a device cannot be used.

    Examples
    --------
    >>> import numpy as np
    >>> assert_functions_agree(np.square, lambda x: x * x, [1.0, 2.0], kind="elementwise")
    0.0
    >>> assert_functions_agree(np.exp, np.expm1, [1.0], kind="elementwise")
    Traceback (most recent call last):
    gpubp.errors.AgreementError: elementwise: ... times the tolerance at [0]: got 2.71..., expected 1.71..., ...
    """
    check_row(kind, dtype)
    host = [as_numbers("array", np.asarray(accept_on_host("array", array))) for array in arrays]

    def results(function: Callable[..., Any], backend: Backend) -> tuple[Array, ...]:
        with backend.active():
            result = function(*(to_backend(backend, array.astype(dtype)) for array in host))
        return tuple(result) if isinstance(result, tuple | list) else (result,)

    backend = choose_backend(device)
    wanted, got = results(expected, choose_backend(expected_device)), results(actual, backend)
    if len(got) != len(wanted):
        raise AgreementError(f"{kind}: {len(got)} results, expected {len(wanted)}")
    if not wanted:
        raise DataError("the functions return no arrays, so there is nothing to compare")
    deviations = [0.0]
    for one, other in zip(got, wanted, strict=True):
        if dtype == "float32" and _is_float64(other) and not _is_float64(one):
            raise DataError(
                f"{kind}: expected returned float64 for float32 arrays on {expected_device!r}; a NumPy scalar, such as "
                "np.sqrt(2), promotes them: use float(np.sqrt(2))"
            )
        assert_agree(one, other, kind, namespace=backend.xp, device=backend.device)
        deviations.append(deviation(one, other, kind))
    return max(deviations)


def _is_float64(result: Any) -> bool:
    return str(getattr(result, "dtype", "")).rpartition(".")[2] == "float64"
