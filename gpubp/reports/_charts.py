"""Charts as inline SVG, coloured by the page's style sheet; each has a label that says what it shows."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpubp._core.text import counted, number
from gpubp.inspection import CalibrationCurve, PartialDependence
from gpubp.reports._facts import Curves, Residuals
from gpubp.reports._html import MINUS, text_of
from gpubp.reports._tables import name_of_class

WIDTH, HEIGHT = 560, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 14, 30, 44
MAX_POINTS = 500
N_BINS = 25


class Axis(NamedTuple):
    """An axis: its ends in data and on the page, its ticks, and whether it is logarithmic."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]
    is_log: bool = False

    def at(self, value: float) -> float:
        """Return the place of a value on the page."""
        low, high = (math.log10(self.low), math.log10(self.high)) if self.is_log else (self.low, self.high)
        value = math.log10(value) if self.is_log else value
        return self.start + (self.end - self.start) * (value - low) / (high - low)


class Series(NamedTuple):
    """A curve: its name, places, and the number of its style."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    style: int


def ticks_between(low: float, high: float) -> tuple[float, ...]:
    """Return round numbers from low to high.

    Examples
    --------
    >>> ticks_between(0.0, 1.0), ticks_between(3.0, 47.0)
    ((0.0, 0.2, 0.4, 0.6, 0.8, 1.0), (10.0, 20.0, 30.0, 40.0))
    """
    rough = (high - low) / 7.2  # for about six
    power = 10.0 ** math.floor(math.log10(rough))
    step = next((factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= rough * 0.999), 10.0 * power)
    first = math.ceil(low / step - 1e-9)
    return tuple(
        round(k * step, 12) if power > 1e-9 else k * step for k in range(first, math.floor(high / step + 1e-9) + 1)
    )


def curves_chart(curves: Curves, *, of_scores: bool = False) -> str:
    """Draw the losses, or the scores, of the epochs; no chart of one epoch, or if they are too large."""
    if of_scores:
        lines = [_series(f"validation {curves.score_name}", curves.epochs, curves.validation_score, 1)]
        what = curves.score_name
    else:
        lines = [
            _series("training loss", curves.epochs, curves.loss, 0),
            _series("validation loss", curves.epochs, curves.validation_loss, 1),
        ]
        what = "loss"
    lines = [line for line in lines if line.y]
    if not lines or len(curves.epochs) == 1:  # points; the table of scores says as much
        return ""
    values = [value for line in lines for value in line.y]
    low, high = min(values), max(values)
    if not _can_be_drawn(low, high):
        return ""
    is_log = not of_scores and low > 0.0 and high / low > 30.0
    x = _linear(1.0, max(max(curves.epochs), 2), _LEFT, WIDTH - _RIGHT, pad=0.0)
    y = _logarithmic(low, high) if is_log else _linear(low, high, HEIGHT - _BOTTOM, _TOP)
    changes = "; ".join(f"{one.name} from {number(one.y[0])} to {number(one.y[-1])}" for one in lines)
    best = ""
    if curves.best_epoch and min(curves.epochs) <= curves.best_epoch <= max(curves.epochs):
        best = _marked_epoch(
            x.at(curves.best_epoch), curves.best_epoch, HEIGHT - _BOTTOM - 8 if of_scores else _TOP + 12
        )
    drawn = "".join(_polyline(line, x, y) for line in lines)
    label = f"{what.capitalize()} of {counted(len(curves.epochs), 'epoch')}: {changes}"
    return _chart(
        label, _frame(x, y, "epoch", f"{what}, logarithmic" if is_log else what), best + drawn, _legend(lines)
    )


def _marked_epoch(place: float, epoch: int, down: float) -> str:
    side = "end" if place > WIDTH * 0.6 else "start"
    return (
        _line(place, _TOP, place, HEIGHT - _BOTTOM, "mark")
        + f'<text class="tick over" x="{place + (-6 if side == "end" else 6):.1f}" y="{down:.0f}" '
        f'text-anchor="{side}">best: epoch {epoch:,}</text>'
    )


def residuals_chart(residuals: Residuals) -> str:
    """Draw predicted beside true values; of many rows, evenly chosen ones; no chart if they are too large."""
    true, predicted = _thinned(residuals.true, residuals.predicted)
    low, high = float(min(true.min(), predicted.min())), float(max(true.max(), predicted.max()))
    if not _can_be_drawn(low, high):
        return ""
    x, y = _linear(low, high, _LEFT, WIDTH - _RIGHT), _linear(low, high, HEIGHT - _BOTTOM, _TOP)
    ends = (max(x.low, y.low), min(x.high, y.high))
    diagonal = _line(x.at(ends[0]), y.at(ends[0]), x.at(ends[1]), y.at(ends[1]), "diagonal")
    points = "".join(
        f'<circle class="point" cx="{x.at(a):.1f}" cy="{y.at(b):.1f}" r="3.2"/>'
        for a, b in zip(true.tolist(), predicted.tolist(), strict=True)
    )
    shown = counted(len(true), "row") + (f" of {len(residuals.true):,}" if len(true) < len(residuals.true) else "")
    label = f"Predicted beside true {residuals.target} of {shown}; points on the diagonal are right"
    return _chart(label, _frame(x, y, "true", "predicted"), diagonal + points)


def errors_chart(residuals: Residuals) -> str:
    """Draw a histogram of the errors, predicted minus true, between their outermost percentiles, if they are finite."""
    errors = residuals.predicted - residuals.true
    low, high = (float(end) for end in np.quantile(errors, (0.005, 0.995)))
    if not _can_be_drawn(low, high):
        return ""
    low, high = _widened(low, high)
    counts, edges = np.histogram(np.clip(errors, low, high), N_BINS, (low, high))
    x = _linear(low, high, _LEFT, WIDTH - _RIGHT, pad=0.0)
    y = _linear(0.0, float(counts.max()), HEIGHT - _BOTTOM, _TOP, least=0.0)
    bars = "".join(
        f'<rect class="bar" x="{x.at(left) + 0.6:.1f}" y="{y.at(n):.1f}" width="{x.at(right) - x.at(left) - 1.2:.1f}" '
        f'height="{y.at(0.0) - y.at(n):.1f}"><title>{number(left)} to {number(right)}: {n:,}</title></rect>'
        for left, right, n in zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True)
    )
    zero = _line(x.at(0.0), _TOP, x.at(0.0), HEIGHT - _BOTTOM, "mark") if low < 0.0 < high else ""
    half = number(float(np.median(np.abs(errors))))
    label = f"Errors of {residuals.target}: half of the rows are off by at most {half}"
    return _chart(label, _frame(x, y, "error: predicted minus true", "rows"), bars + zero)


def reliability_chart(curve: CalibrationCurve, *, of_intervals: bool) -> str:
    """Draw predicted probabilities, or intended shares, beside the observed shares; areas show how many rows."""
    x, y = (_linear(0.0, 1.0, *ends, pad=0.03) for ends in ((_LEFT, WIDTH - _RIGHT), (HEIGHT - _BOTTOM, _TOP)))
    diagonal = _line(x.at(0.0), y.at(0.0), x.at(1.0), y.at(1.0), "diagonal")
    most = float(curve.weights.max())
    points = [(x.at(a), y.at(b)) for a, b in zip(curve.predicted.tolist(), curve.observed.tolist(), strict=True)]
    path = f'<polyline class="s0 thin" points="{_points(points)}"/>'
    dots = "".join(
        f'<circle class="dot" cx="{across:.1f}" cy="{down:.1f}" r="{3.0 + 8.0 * math.sqrt(weight / most):.1f}">'
        f"<title>predicted {number(a)}, observed {number(b)}, {weight:,.0f} rows</title></circle>"
        for (across, down), a, b, weight in zip(
            points, curve.predicted.tolist(), curve.observed.tolist(), curve.weights.tolist(), strict=True
        )
    )
    names = ("share that intervals should hold", "share that they hold")
    x_name, y_name = names if of_intervals else ("predicted probability", "share of rows where it came true")
    label = f"Calibration of {curve.name}: {number(curve.error)} off the diagonal on average"
    return _chart(label, _frame(x, y, x_name, y_name), diagonal + path + dots)


def dependence_chart(
    found: PartialDependence, *, of_classes: bool, averages: NDArray[np.float64], scales: Sequence[float] = ()
) -> str:
    """Draw the mean prediction over the values of a column, if it can be drawn.

    It is that of the one or two classes that vary most, or of the target that varies most for its scale.

    Parameters
    ----------
    found : PartialDependence
    of_classes : bool
    averages : (n, j) array
        The mean predictions of all columns of a model: the axis spans those of what is drawn, or of all classes, so
        that the effects of the columns can be compared.
    scales : sequence of j floats, optional
        The spread of each target.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        effects = np.ptp(found.average, axis=0)
        if scales:
            effects = np.divide(effects, scales, out=np.zeros_like(effects), where=np.asarray(scales) > 0.0)
    most = np.argsort(-effects, kind="stable")
    is_binary = of_classes and found.average.shape[1] == 2
    shown = [1] if is_binary else sorted(most[: 2 if of_classes else 1].tolist())
    spanned = averages if of_classes else averages[:, shown]
    ends = float(spanned.min()), float(spanned.max())
    if not _can_be_drawn(*ends) or not np.isfinite(found.average[:, shown]).all() or not _has_an_axis(found):
        return ""
    names = [found.names[place] for place in shown]
    x, places, texts = _values_axis(found)
    y = _linear(*ends, HEIGHT - _BOTTOM, _TOP)
    lines = [
        Series(name, places, found.average[:, place].tolist(), style)
        for style, (name, place) in enumerate(zip(names, shown, strict=True))
    ]
    draw = _dots if found.is_categorical else _polyline
    what = f"probability of {names[0]}" if of_classes and len(names) == 1 else "probability" if of_classes else names[0]
    label = f"Mean prediction over {found.column}: {', '.join(map(name_of_class, names))}"
    frame = _frame(x, y, found.column, what, texts)
    return _chart(label, frame, *(draw(line, x, y) for line in lines), _legend(lines))


# --- parts of a chart ---


def _has_an_axis(found: PartialDependence) -> bool:
    """Return whether the ends of the values have one: categories and dates always do."""
    return found.values.dtype.kind in "OM" or _can_be_drawn(float(found.values[0]), float(found.values[-1]))


def _values_axis(found: PartialDependence) -> tuple[Axis, list[float], list[str]]:
    """Return the axis of a column's values, their places in its data, and the marked-up texts of its ticks."""
    ends = (_LEFT, WIDTH - _RIGHT)
    if found.is_categorical:
        n = len(found.values)
        texts = [_in_short(str(value), max(4, 64 // n)) for value in found.values]
        return Axis(-0.5, n - 0.5, *ends, tuple(map(float, range(n)))), list(map(float, range(n))), texts
    if found.values.dtype.kind == "M":
        days = found.values.astype("datetime64[s]").astype(np.float64) / 86_400.0
        low, high = _widened(float(days[0]), float(days[-1]))
        ticks, texts = _date_ticks(low, high)
        beside = 0.08 * (high - low)
        return Axis(low - beside, high + beside, *ends, ticks), days.tolist(), texts
    numbers = found.values.astype(np.float64)
    x = _linear(float(numbers[0]), float(numbers[-1]), *ends)
    return x, numbers.tolist(), _tick_texts(x.ticks)


def _date_ticks(low: float, high: float) -> tuple[tuple[float, ...], list[str]]:
    """Return at most four days since 1970 and their dates, with the time where they are close.

    Examples
    --------
    >>> _date_ticks(0.0, 30.0)[1], _date_ticks(0.0, 0.5)[1][1:3]
    (['1970-01-01', '1970-01-11', '1970-01-21', '1970-01-31'], ['1970-01-01 04:00', '1970-01-01 08:00'])
    """
    per_day, code = next((one for one in ((1.0, "D"), (1440.0, "m")) if (high - low) * one[0] >= 4.0), (86_400.0, "s"))
    ticks = np.linspace(low, high, 4)
    times, places = np.unique(np.floor(ticks * per_day + 1e-5), return_index=True)  # of the same second only one
    texts = [str(time).replace("T", " ") for time in times.astype(np.int64).astype(f"datetime64[{code}]")]
    return tuple(ticks[places].tolist()), texts


def _in_short(name: str, most: int = 24) -> str:
    """Return the markup of a name that has little room; one that is cut is whole in its title."""
    short = name_of_class(name, most)
    return text_of(short) + ("" if short == name else f"<title>{text_of(name)}</title>")


def _dots(line: Series, x: Axis, y: Axis) -> str:
    kind = "dot" if line.style == 0 else "dot second"
    return "".join(
        f'<circle class="{kind}" cx="{x.at(a):.1f}" cy="{y.at(b):.1f}" r="5"/>'
        for a, b in zip(line.x, line.y, strict=True)
    )


def _series(name: str, epochs: Sequence[float], values: Sequence[float], style: int) -> Series:
    """Return the epochs whose figure is finite."""
    known = [(x, y) for x, y in zip(epochs, values, strict=False) if math.isfinite(y)]
    return Series(name, [x for x, _ in known], [y for _, y in known], style)


def _can_be_drawn(low: float, high: float) -> bool:
    """Return whether the ends of an axis, and their distance, are finite, also with room beside the data."""
    return math.isfinite(4.0 * (abs(low) + abs(high)))


def _widened(low: float, high: float) -> tuple[float, float]:
    """Move the ends apart where there are too few numbers between them for bins and ticks."""
    largest = max(abs(low), abs(high))
    if high - low > max(2.0 * N_BINS * float(np.spacing(largest)), 1e-300):
        return low, high
    return low - max(largest, 1.0) * 0.5, high + max(largest, 1.0) * 0.5


def _thinned(*arrays: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    n = len(arrays[0])
    rows = np.unique(np.linspace(0, n - 1, min(n, MAX_POINTS)).round().astype(np.intp))
    return [one[rows] for one in arrays]


def _linear(low: float, high: float, start: float, end: float, *, pad: float = 0.05, least: float = -math.inf) -> Axis:
    low, high = _widened(low, high)
    low, high = max(low - pad * (high - low), least), high + pad * (high - low)
    return Axis(low, high, start, end, ticks_between(low, high))


def _logarithmic(low: float, high: float) -> Axis:
    low, high = low / 1.15, high * 1.15
    powers = range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)
    ticks = tuple(10.0**power for power in powers[:: len(powers) // 7 + 1])
    return Axis(low, high, HEIGHT - _BOTTOM, _TOP, ticks, is_log=True)


def _frame(x: Axis, y: Axis, x_name: str, y_name: str, x_texts: Sequence[str] = ()) -> str:
    """Draw the grid, the numbers on it or other marked-up texts, and the names of the axes."""
    parts = []
    for value, text in zip(y.ticks, _tick_texts(y.ticks), strict=True):
        place = y.at(value)
        parts.append(_line(_LEFT, place, WIDTH - _RIGHT, place, "grid"))
        parts.append(f'<text class="tick" x="{_LEFT - 8}" y="{place + 4:.1f}" text-anchor="end">{text}</text>')
    for value, text in zip(x.ticks, x_texts or _tick_texts(x.ticks), strict=True):
        place = x.at(value)
        parts.append(_line(place, HEIGHT - _BOTTOM, place, HEIGHT - _BOTTOM + 5, "axis"))
        parts.append(
            f'<text class="tick" x="{place:.1f}" y="{HEIGHT - _BOTTOM + 19}" text-anchor="middle">{text}</text>'
        )
    parts.append(_line(_LEFT, HEIGHT - _BOTTOM, WIDTH - _RIGHT, HEIGHT - _BOTTOM, "axis"))
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    parts.append(
        f'<text class="name" x="{middle:.0f}" y="{HEIGHT - 5}" text-anchor="middle">{_in_short(x_name, 60)}</text>'
    )
    parts.append(f'<text class="name" x="4" y="14">{_in_short(y_name, 40)}</text>')
    return "".join(parts)


def _tick_texts(ticks: Sequence[float]) -> list[str]:
    """Write the numbers of an axis, all with as many digits as their distance needs."""
    largest = max(map(abs, ticks), default=0.0)
    if largest >= 1e6 or 0.0 < largest < 1e-3 or len({f"{one:.6g}" for one in ticks}) < len(ticks):
        texts = [f"{one:.3g}" for one in ticks]
    else:
        decimals = max((len(f"{one:.6g}".partition(".")[2]) for one in ticks), default=0)
        texts = [f"{one:,.{decimals}f}" for one in ticks] if largest >= 1e-3 else [f"{one:g}" for one in ticks]
    return [text.translate(MINUS) for text in texts]


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _points(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)


def _polyline(line: Series, x: Axis, y: Axis) -> str:
    at: Callable[[tuple[float, float]], tuple[float, float]] = lambda pair: (x.at(pair[0]), y.at(pair[1]))  # noqa: E731
    places = list(map(at, zip(line.x, line.y, strict=True)))
    if len(places) == 1:
        return f'<circle class="dot" cx="{places[0][0]:.1f}" cy="{places[0][1]:.1f}" r="4"/>'
    return f'<polyline class="s{line.style}" points="{_points(places)}"/>'


def _legend(lines: Sequence[Series]) -> str:
    """Name the curves above the chart, from the right, outside the data."""
    if len(lines) < 2:
        return ""
    parts, right = [], float(WIDTH - _RIGHT)
    for line in reversed(lines):
        parts.append(f'<text class="tick" x="{right:.1f}" y="15" text-anchor="end">{_in_short(line.name)}</text>')
        right -= 7.0 * len(name_of_class(line.name)) + 6.0
        parts.append(_line(right - 26.0, 11.0, right, 11.0, f"s{line.style}"))
        right -= 46.0
    return "".join(parts)


def _chart(label: str, *parts: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{text_of(label)}">{"".join(parts)}</svg>'
