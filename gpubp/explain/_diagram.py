"""A small network as an SVG drawing within a page, coloured by the page's style sheet."""

import re
from collections.abc import Collection, Mapping, Sequence
from html import escape
from typing import NamedTuple

import numpy as np

RADIUS, UNIT_DISTANCE, PAD = 26, 74, 4
LAYER_DISTANCE, BARE_LAYER_DISTANCE = 180, 150
"""The distance between layers, with and without numbers next to the connections."""
MAX_LINE_WIDTH = 7.0
MAX_NUMBERS = 24
FONT, SMALL_LINE, MAX_LINE_LENGTH = 13, 13, 14


class Drawing(NamedTuple):
    """The contents of one drawing.

    Attributes
    ----------
    weights : list of (i, j) arrays
        By layer; they set the widths and colours of the lines.
    biases : list of (j,) arrays
        Empty for a network without biases.
    numbers : mapping of int to (i, j) array
        The numbers next to the lines into a layer.
    outputs : mapping of int to (n,) or (cases, n) array
        The numbers in the units of a layer, below each other for several cases; the inputs are layer 0.
    units, connections : collection of int
        The layers whose units, and whose incoming connections, are highlighted.
    """

    weights: Sequence[np.ndarray]
    biases: Sequence[np.ndarray]
    numbers: Mapping[int, np.ndarray]
    outputs: Mapping[int, np.ndarray]
    units: Collection[int]
    connections: Collection[int]


class _Box(NamedTuple):
    """The place of a label: its centre, and half its width and height."""

    x: float
    y: float
    across: float
    down: float

    def overlap(self, other: "_Box") -> float:
        """Return the area of the overlap."""
        width = self.across + other.across - abs(self.x - other.x)
        height = self.down + other.down - abs(self.y - other.y)
        return max(width, 0.0) * max(height, 0.0)


def svg(picture: Drawing, label: str, input_names: Sequence[str] = (), output_names: Sequence[str] = ()) -> str:
    """Draw a network with the inputs on the left; ``label`` describes it for screen readers.

    Examples
    --------
    >>> drawing = svg(Drawing([np.asarray([[-0.5]])], [], {}, {}, (), ()), "one & one")
    >>> 'aria-label="one &amp; one"' in drawing, drawing.count("<circle")
    (True, 2)
    """
    sizes = [len(picture.weights[0]), *(block.shape[1] for block in picture.weights)]
    inputs, outputs = [_split_name(name) for name in input_names], [_split_name(name) for name in output_names]
    gaps = [LAYER_DISTANCE if block.size <= MAX_NUMBERS else BARE_LAYER_DISTANCE for block in picture.weights]
    columns = PAD + _name_width(inputs) + RADIUS + np.cumsum([0, *gaps])
    width = columns[-1] + RADIUS + _name_width(outputs) + PAD
    tallest = max(sizes)
    height = UNIT_DISTANCE * (tallest - 1) + 2 * (RADIUS + PAD) + (FONT + 4 if picture.biases else 0)

    def at(layer: int, unit: int) -> tuple[float, float]:
        return float(columns[layer]), PAD + RADIUS + UNIT_DISTANCE * (unit + (tallest - sizes[layer]) / 2)

    largest = max(float(np.max(np.abs(block))) for block in picture.weights) or 1.0
    parts: list[str] = []
    for k, block in enumerate(picture.weights, 1):
        parts += [
            _line(at(k - 1, i), at(k, j), float(w), largest, k in picture.connections)
            for (i, j), w in np.ndenumerate(block)
        ]
    placed: list[_Box] = []
    for k, biases in enumerate(picture.biases, 1):
        for unit, bias in enumerate(biases):
            across, down = at(k, unit)
            text = f"bias {short(bias)}"
            placed.append(_box(text, across, down + RADIUS + FONT / 2 + 3))
            parts.append(_label(text, placed[-1], f"bias {_sign(bias)}"))
    for k, numbers in picture.numbers.items():
        if numbers.size <= MAX_NUMBERS:
            ends = np.asarray([(at(k - 1, i), at(k, j)) for i, j in np.ndindex(numbers.shape)])
            texts = [short(value) for value in numbers.ravel().tolist()]
            circles = [_Box(*at(layer, unit), RADIUS, RADIUS) for layer, n in enumerate(sizes) for unit in range(n)]
            boxes = _place_labels(texts, ends, [*placed, *circles])
            parts += map(_label, texts, boxes, map(_sign, numbers.ravel()))
            placed += boxes
    for k, n in enumerate(sizes):
        for unit in range(n):
            parts.append(_unit(at(k, unit), picture.outputs.get(k), unit, k in picture.units))
    parts += [
        _name(at(0, unit), *name_lines, -1) for unit, name_lines in enumerate(zip(inputs, input_names, strict=True))
    ]
    last = len(sizes) - 1
    parts += [
        _name(at(last, unit), *name_lines, 1) for unit, name_lines in enumerate(zip(outputs, output_names, strict=True))
    ]
    box = f'viewBox="0 0 {width:.0f} {height:.0f}" style="--wide: {width:.0f}px; --high: {height:.0f}px"'
    return "\n".join([f'<svg {box} role="img" aria-label="{escape(label)}">', *parts, "</svg>"])


def short(value: float, digits: int = 3) -> str:
    """Write a number with about three digits.

    Examples
    --------
    >>> short(-0.12345), short(1234.5), short(0.0000123), short(-0.0)
    ('−0.123', '1.23e+03', '1.23e−05', '0')
    """
    return f"{value + 0.0:.{digits}g}".replace("-", "−")  # + 0.0 turns -0.0 into 0.0


def _sign(value: float) -> str:
    return "above" if value > 0 else "below"


def _line(start: tuple[float, float], end: tuple[float, float], w: float, largest: float, active: bool) -> str:
    kind = f"w {_sign(w)}{' active' * active}"
    width = max(MAX_LINE_WIDTH * abs(w) / largest, 0.4)
    ends = 'x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"'.format(*start, *end)
    return f'<line class="{kind}" {ends} stroke-width="{width:.2f}"><title>{short(w)}</title></line>'


def _width(text: str) -> float:
    return 0.62 * FONT * len(text)  # digits of system fonts are 0.5 to 0.64 wide


def _box(text: str, across: float, down: float) -> _Box:
    return _Box(across, down, _width(text) / 2 + 1, 0.47 * FONT)


def _place_labels(texts: Sequence[str], connections: np.ndarray, placed: Sequence[_Box]) -> list[_Box]:
    """Place each number beside its connection, or on it, so that it covers few labels and units, then connections.

    ``ways`` has shape (n, 2, 2): start and end, each across and down.
    """
    boxes: dict[int, _Box] = {}
    for _ in range(2):  # the second time all others are placed
        for n, (text, (start, end)) in enumerate(zip(texts, connections, strict=True)):
            others = [*placed, *(box for other, box in boxes.items() if other != n)]
            nearest = (RADIUS + 2 + _width(text) / 2) / (end[0] - start[0])
            slope = abs((end[1] - start[1]) / (end[0] - start[0]))
            beside = 0.47 * FONT + slope * (_width(text) / 2 + 1) + MAX_LINE_WIDTH / 2
            candidates = [
                _box(text, *(start + part * (end - start) + np.asarray([0.0, shift])))
                for shift in (-beside, beside, 0.0)
                for part in np.linspace(nearest, 1.0 - nearest, 15)
            ]
            boxes[n] = min(
                candidates, key=lambda box: (sum(map(box.overlap, others)), *_crossings(box, connections, n))
            )
    return list(boxes.values())


def _crossings(box: _Box, connections: np.ndarray, own: int) -> tuple[int, int, bool]:
    """Count the other connections behind a label, and those that are nearer than its own; say if its own is behind."""
    starts, steps = connections[:, 0], connections[:, 1] - connections[:, 0]
    x = np.linspace(box.x - box.across, box.x + box.across, 5)[:, None]
    y = starts[:, 1] + (x - starts[:, 0]) / steps[:, 0] * steps[:, 1]
    behind = np.any(np.abs(y - box.y) < box.down, axis=0)
    distances = np.abs(y[2] - box.y) / np.hypot(1.0, steps[:, 1] / steps[:, 0])
    n_nearer = int(np.sum(distances < distances[own]))
    return int(behind.sum() - behind[own]), n_nearer, bool(behind[own])


def _label(text: str, box: _Box, kind: str) -> str:
    x, y, across, down = box
    background = f'x="{x - across:.1f}" y="{y - down:.1f}" width="{2 * across:.1f}" height="{2 * down:.1f}"'
    return f'<rect {background} rx="3"/><text class="{kind}" x="{x:.1f}" y="{_baseline(y)}">{text}</text>'


def _baseline(middle: float) -> str:
    """Return the baseline of a text whose digits are centred at a height."""
    return f"{middle + 0.36 * FONT:.1f}"


def _unit(place: tuple[float, float], outputs: np.ndarray | None, unit: int, active: bool) -> str:
    across, down = place
    circle = f'<circle class="{"active" if active else "unit"}" cx="{across:.1f}" cy="{down:.1f}" r="{RADIUS}"/>'
    if outputs is None:
        return circle
    values = np.atleast_2d(outputs)[:, unit]
    small = ' class="small"' if len(values) > 1 else ""
    first = down - (len(values) - 1) * 0.5 * SMALL_LINE
    parts = [circle]
    digits, width = (3, 2 * RADIUS - 6) if len(values) == 1 else (2, 2 * RADIUS - 12)
    for k, text in enumerate(short(value, digits) for value in values.tolist()):
        squeezed = f' textLength="{width}" lengthAdjust="spacingAndGlyphs"' if len(text) > 6 else ""
        parts.append(f'<text{small} x="{across:.1f}" y="{_baseline(first + k * SMALL_LINE)}"{squeezed}>{text}</text>')
    return "".join(parts)


def _split_name(name: str) -> list[str]:
    """Break a name into one or two lines of similar length; longer names are cut off.

    Examples
    --------
    >>> _split_name("petal width (cm)"), _split_name("nonflavanoid_phenols"), _split_name("a" * 20)
    (['petal', 'width (cm)'], ['nonflavanoid_', 'phenols'], ['aaaaaaaaaaaaa…'])
    """
    cuts = [match.end() for match in re.finditer(r"[ _/]", name[:-1])] if len(name) > MAX_LINE_LENGTH // 2 else []
    cut = min(cuts, key=lambda cut: max(cut, len(name) - cut), default=len(name))
    lines = [line.strip() for line in (name[:cut], name[cut:]) if line]
    return [line if len(line) <= MAX_LINE_LENGTH else line[: MAX_LINE_LENGTH - 1] + "…" for line in lines]


def _name_width(names: Sequence[Sequence[str]]) -> float:
    longest = max((_width(line) for lines in names for line in lines), default=0.0)
    return longest + 8 if longest else 0.0


def _name(place: tuple[float, float], lines: Sequence[str], name: str, side: int) -> str:
    across, anchor = place[0] + side * (RADIUS + 8), "start" if side > 0 else "end"
    top = place[1] - (len(lines) - 1) * 0.6 * FONT
    texts = [
        f'<text class="name" x="{across:.1f}" y="{_baseline(top + 1.2 * FONT * k)}" text-anchor="{anchor}">'
        f"{escape(line)}</text>"
        for k, line in enumerate(lines)
    ]
    return f"<g><title>{escape(name)}</title>{''.join(texts)}</g>"
