"""A small network as a drawing of its own within a page: SVG, coloured by the page's style."""

from collections.abc import Collection, Mapping, Sequence
from html import escape
from typing import NamedTuple

import numpy as np

RADIUS, APART, BETWEEN, MARGIN = 23, 66, 190, 34
NAME_WIDTH, LONGEST_NAME = 118, 16
WIDEST = 7.0
MOST_NUMBERS = 24


class Picture(NamedTuple):
    """What one drawing shows.

    Attributes
    ----------
    weights : list of (i, j) arrays
        By layer; they give the lines their widths and signs.
    biases : list of (j,) arrays
        Empty in a network without them.
    numbers : mapping of int to (i, j) array
        What is written beside the lines into a layer.
    outputs : mapping of int to (n,) array
        What is written into the units of a layer; the inputs are layer 0.
    units, connections : collection of int
        The layers whose units, and into which the connections, are what the step is about.
    """

    weights: Sequence[np.ndarray]
    biases: Sequence[np.ndarray]
    numbers: Mapping[int, np.ndarray]
    outputs: Mapping[int, np.ndarray]
    units: Collection[int]
    connections: Collection[int]


def svg(picture: Picture, label: str, input_names: Sequence[str] = (), output_names: Sequence[str] = ()) -> str:
    """Draw a network, the inputs on the left; ``label`` says in words what is to be seen.

    Examples
    --------
    >>> drawing = svg(Picture([np.asarray([[-0.5]])], [], {}, {}, (), ()), "one & one")
    >>> 'aria-label="one &amp; one"' in drawing, drawing.count("<circle")
    (True, 2)
    """
    sizes = [len(picture.weights[0]), *(block.shape[1] for block in picture.weights)]
    tallest = max(sizes)
    left = MARGIN + (NAME_WIDTH if any(input_names) else 0)
    width = left + BETWEEN * (len(sizes) - 1) + MARGIN + (NAME_WIDTH if any(output_names) else 0)
    height = APART * (tallest - 1) + 2 * MARGIN + 14

    def at(layer: int, unit: int) -> tuple[float, float]:
        return left + BETWEEN * layer, MARGIN + APART * (unit + (tallest - sizes[layer]) / 2)

    largest = max(float(np.max(np.abs(block))) for block in picture.weights) or 1.0
    parts: list[str] = []
    for k, block in enumerate(picture.weights, 1):
        parts += [_line(at(k - 1, i), at(k, j), w, largest, k in picture.connections) for (i, j), w in _each(block)]
    for k, numbers in picture.numbers.items():
        if numbers.size <= MOST_NUMBERS:
            parts += [_number(at(k - 1, i), at(k, j), i, value) for (i, j), value in _each(numbers)]
    for k, n in enumerate(sizes):
        biases = picture.biases[k - 1] if k and picture.biases else None
        for unit in range(n):
            parts.append(_unit(at(k, unit), picture.outputs.get(k), unit, k in picture.units))
            if biases is not None:
                parts.append(_bias(at(k, unit), float(biases[unit])))
    parts += [_name(at(0, unit), name, -1) for unit, name in enumerate(input_names)]
    parts += [_name(at(len(sizes) - 1, unit), name, 1) for unit, name in enumerate(output_names)]
    opening = f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(label)}">'
    return "\n".join([opening, *parts, "</svg>"])


def short(value: float) -> str:
    """Write a number with about three digits.

    Examples
    --------
    >>> short(-0.12345), short(1234.5), short(0.0000123)
    ('−0.123', '1.23e+03', '1.23e−05')
    """
    return f"{value:.3g}".replace("-", "−")


def _each(block: np.ndarray) -> list[tuple[tuple[int, int], float]]:
    return [((i, j), float(value)) for (i, j), value in np.ndenumerate(block)]


def _sign(value: float) -> str:
    return "above" if value > 0 else "below"


def _line(start: tuple[float, float], end: tuple[float, float], w: float, largest: float, active: bool) -> str:
    kind = f"w {_sign(w)}{' active' * active}"
    width = max(WIDEST * abs(w) / largest, 0.4)
    ends = 'x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"'.format(*start, *end)
    return f'<line class="{kind}" {ends} stroke-width="{width:.2f}"><title>{short(w)}</title></line>'


def _number(start: tuple[float, float], end: tuple[float, float], i: int, value: float) -> str:
    part = 0.28 + 0.13 * (i % 2)  # neighbours' numbers stand a little apart
    across, down = (a + part * (b - a) for a, b in zip(start, end, strict=True))
    return f'<text class="{_sign(value)}" x="{across:.1f}" y="{down + 4:.1f}">{short(value)}</text>'


def _unit(place: tuple[float, float], outputs: np.ndarray | None, unit: int, active: bool) -> str:
    across, down = place
    circle = f'<circle class="{"active" if active else "unit"}" cx="{across:.1f}" cy="{down:.1f}" r="{RADIUS}"/>'
    if outputs is None:
        return circle
    return circle + f'<text class="y" x="{across:.1f}" y="{down + 4:.1f}">{short(float(outputs[unit]))}</text>'


def _bias(place: tuple[float, float], bias: float) -> str:
    across, down = place[0], place[1] + RADIUS + 13
    return f'<text class="bias {_sign(bias)}" x="{across:.1f}" y="{down:.1f}">bias {short(bias)}</text>'


def _name(place: tuple[float, float], name: str, side: int) -> str:
    across, anchor = place[0] + side * (RADIUS + 8), "start" if side > 0 else "end"
    shown = name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
    return (
        f'<text class="name" x="{across:.1f}" y="{place[1] + 4:.1f}" text-anchor="{anchor}">{escape(shown)}'
        f"<title>{escape(name)}</title></text>"
    )
