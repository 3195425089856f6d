"""A plugin for pytest: hold functions of any project to gpubp's table of tolerances, on each device.

It is loaded wherever gpubp is installed, so nothing else of gpubp is imported before a test uses it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import pytest

logger = logging.getLogger("gpubp")

_PROPERTY = "gpubp_agreement"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--gpubp-device``."""
    parser.getgroup("gpubp", "agreement of array libraries and devices").addoption(
        "--gpubp-device",
        action="append",
        default=[],
        metavar="NAME",
        help="Run tests that use the fixtures agreement and gpubp_device there, such as on cuda:0 or torch, and fail "
        "if it cannot be used. May be repeated, or be a list with commas. By default, on each array library other "
        "than NumPy that can be used.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers", "gpubp_devices(*names): the fixtures agreement and gpubp_device run only on these, such as 'cuda'"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests that use a device once on each."""
    if "gpubp_device" not in metafunc.fixturenames:
        return
    from gpubp.backends.libraries import LIBRARIES, NUMPY

    allowed = [name for mark in metafunc.definition.iter_markers("gpubp_devices") for name in mark.args]
    devices = _requested(metafunc.config) or allowed or [name for name in LIBRARIES if name != NUMPY.name]
    if allowed:
        devices = [device for device in devices if any(f"{device}:".startswith(f"{name}:") for name in allowed)]
    metafunc.parametrize("gpubp_device", devices, indirect=True)


def _requested(config: pytest.Config) -> list[str]:
    names = ",".join(config.getoption("gpubp_device")).split(",")
    return list(dict.fromkeys(name.strip() for name in names if name.strip()))


@pytest.fixture
def gpubp_device(request: pytest.FixtureRequest) -> str:
    """Return the name of each device in turn, as ``device=`` takes it."""
    from gpubp.backends.backend import choose_backend
    from gpubp.errors import DeviceError

    device: str = request.param
    try:
        choose_backend(device)
    except DeviceError as error:
        reason = str(error)
    else:
        return device
    if device in _requested(request.config):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture
def agreement(gpubp_device: str, record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Return a function that asserts agreement on each device in turn.

    Its parameters::

        agreement(function, *arrays, expected=None, against="cpu", kind="elementwise", dtypes=("float32", "float64"))

    ``function`` gets the arrays on the device, and ``expected``, by default the same function, on ``against``, by
    default as arrays of NumPy. ``kind`` is one of :data:`gpubp.testing.TOLERANCES`. float64 is left out where one of
    the devices lacks it. What is raised: :func:`gpubp.testing.assert_functions_agree`.
    """

    def assert_agrees(
        function: Callable[..., Any],
        *arrays: Any,
        expected: Callable[..., Any] | None = None,
        against: str = "cpu",
        kind: str = "elementwise",
        dtypes: Sequence[str] = ("float32", "float64"),
    ) -> None:
        __tracebackhide__ = True
        from gpubp.errors import AgreementError
        from gpubp.testing import assert_functions_agree, left_out

        reason = left_out(gpubp_device, against)
        if reason:
            logger.warning("%s", reason)
        reference = expected or _of_any_library(function)
        for dtype in dtypes:
            if not (reason and dtype == "float64"):
                try:
                    deviation = assert_functions_agree(
                        function,
                        reference,
                        *arrays,
                        kind=kind,
                        dtype=dtype,
                        device=gpubp_device,
                        expected_device=against,
                    )
                except AgreementError as error:
                    raise error.with_traceback(None) from None
                record_property(_PROPERTY, (f"{gpubp_device}, {against}: {kind} {dtype}", deviation))

    return assert_agrees


def _of_any_library(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function whose TypeErrors say what one of a single library needs."""

    def reference(*arrays: Any) -> Any:
        try:
            return function(*arrays)
        except TypeError as error:
            error.add_note(
                "The function was called with arrays of the library to compare with. One that takes arrays of a single "
                "library needs expected=, a function that computes the same with those."
            )
            raise

    return reference


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print how much of the tolerance was used, for each device and kind."""
    largest: dict[str, tuple[float, str]] = {}
    for report in terminalreporter.stats.get("passed", []):
        for name, value in getattr(report, "user_properties", []):
            if name == _PROPERTY:
                row, deviation = value
                largest[row] = max(largest.get(row, (0.0, "")), (deviation, report.nodeid))
    if largest:
        terminalreporter.section("agreement: largest deviations, in parts of gpubp's tolerance")
        for row, (deviation, test) in sorted(largest.items()):
            terminalreporter.line(f"{row:50s} {deviation:8.2g}  {test}")
