"""The network as inline SVG: of many inputs those that matter most, of other large layers those with large weights."""

import re
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from gpubp._core.text import counted
from gpubp.nn.network import Network, views
from gpubp.reports._facts import ModelReport
from gpubp.reports._html import text_of

MAX_UNITS, MAX_LAYERS = 9, 7
_RADIUS, _DISTANCE, _WIDTH, _NAME = 9.0, 30.0, 660.0, 200.0
MAX_NAME = 22

Places = Callable[[int, int], tuple[float, float]]
"""The centre of a unit, by its layer and place among those that are drawn."""


_LONG_NUMBER = re.compile(r"(?<=>)-?\d+\.\d{5,}(?:e[+-]\d+)?\Z")
"""The threshold in the name of an input such as ``size>0.12345678``."""


def network_picture(report: ModelReport) -> tuple[str, str]:
    """Draw the layers, and say what is drawn of them.

    Lines show the sizes and signs of the weights between the units that are drawn.
    """
    network = report.network
    shown_layers = _shown_layers(len(network.sizes))
    weights = _weights(network, report.theta)
    inputs, words = _shown_inputs(report, weights)
    shown = [inputs, *(_shown_units(k, network, weights) for k in shown_layers[1:])]
    left, right = (_NAME if names else 60.0 for names in (report.input_names, report.output_names))
    across = np.linspace(left, _WIDTH - right, len(shown_layers))
    tallest = max(map(len, shown))
    height = _DISTANCE * tallest + 72.0

    def at(layer: int, place: int) -> tuple[float, float]:
        return float(across[layer]), 22.0 + _DISTANCE * (place + 0.5 + (tallest - len(shown[layer])) / 2.0)

    parts = []
    for layer in range(1, len(shown_layers)):
        below, above = shown_layers[layer - 1], shown_layers[layer]
        block = weights[above - 1] if weights and above == below + 1 else None
        parts += _connections(block, shown[layer - 1], shown[layer], layer, at)
    for layer, k in enumerate(shown_layers):
        parts += [
            f'<circle class="unit" cx="{x:.1f}" cy="{y:.1f}" r="{_RADIUS}"/>'
            for x, y in (at(layer, place) for place in range(len(shown[layer])))
        ]
        parts.append(_caption(network, k, float(across[layer]), height, len(shown[layer])))
    parts += _names(report.input_names, shown[0], 0, at, -1)
    parts += _names(report.output_names, shown[-1], len(shown_layers) - 1, at, 1)
    label = f"The network: {'-'.join(map(str, network.sizes))} units, {counted(network.n_parameters, 'parameter')}"
    drawn = (
        f'<svg viewBox="0 0 {_WIDTH:.0f} {height:.0f}" role="img" aria-label="{text_of(label)}">{"".join(parts)}</svg>'
    )
    if any(network.sizes[k] > MAX_UNITS for k in shown_layers[1:]):
        words += f" Of other layers, the {MAX_UNITS} units {_how_chosen(weights)} are drawn."
    words += _skips(network, weights)
    n_networks = 1 if report.theta is None or report.theta.ndim == 1 else len(report.theta)
    if n_networks > 1:
        words += f" The weights are those of the first of {n_networks:,} networks."
    return drawn, words.strip()


def _skips(network: Network, weights: Sequence[NDArray[np.floating]]) -> str:
    """Say which connections are not drawn, and whether they alone reach the outputs."""
    if not network.skips:
        return ""
    last = len(network.sizes) - 1
    ends = {0: "the inputs", last: "the outputs"}
    of, to = (sorted(set(layers)) for layers in zip(*network.skips, strict=True))
    names = [" and ".join(ends.get(k, f"layer {k}") for k in layers) for layers in (of, to)]
    words = f" Connections that skip layers, from {names[0]} to {names[1]}, are not drawn."
    is_cut = last in to and len(weights) == last and not np.any(weights[-1])
    return f"{words} They alone predict: the weights from the last hidden layer are 0." if is_cut else words


def _shown_layers(n: int) -> list[int]:
    return list(range(n)) if n <= MAX_LAYERS else [*range(MAX_LAYERS - 2), n - 2, n - 1]


def _weights(network: Network, theta: NDArray[np.floating] | None) -> list[NDArray[np.floating]]:
    """Return the weights between each layer and the next, ``(i, j)``, without skips and biases."""
    if theta is None or network.n_members is not None:
        return []
    first = np.reshape(theta, (-1, theta.shape[-1]))[0]
    blocks = views(np, network, first.astype(np.float64))
    return [np.nan_to_num(block[:n]) for block, n in zip(blocks, network.sizes, strict=False)]


def _shown_inputs(report: ModelReport, weights: Sequence[NDArray[np.floating]]) -> tuple[NDArray[np.intp], str]:
    """Return the inputs that are drawn, in their order, and in words which they are.

    Where the importance of columns is known, they are of the most important ones: first the input of each with the
    largest weights, then the next of each.
    """
    n, columns = report.network.sizes[0], report.input_columns
    found = None if report.held_out is None else report.held_out.importance
    if n <= MAX_UNITS or found is None or len(columns) != n:
        shown = _shown_units(0, report.network, weights)
        return shown, f"Of {n:,} inputs, the {len(shown)} {_how_chosen(weights)} are drawn." if n > MAX_UNITS else ""
    ranks = {found.columns[place]: rank for rank, place in enumerate(found.order)}
    sizes = np.sum(weights[0] ** 2, axis=1) if weights else np.zeros(n)
    seen: Counter[str] = Counter()
    order = []
    for place in np.argsort(-sizes, kind="stable").tolist():
        column = columns[place]
        order.append((seen[column], ranks.get(column, n), place))
        seen[column] += 1
    shown = np.sort([place for *_, place in sorted(order)[:MAX_UNITS]])
    words = f"the {counted(len({columns[place] for place in shown}), 'most important column')}"
    words = f"of {words} those with the largest weights" if weights and n > len(seen) else f"those of {words}"
    return shown, f"Of {n:,} inputs, {MAX_UNITS} are drawn: {words}."


def _how_chosen(weights: Sequence[NDArray[np.floating]]) -> str:
    return "with the largest weights" if weights else "that come first"


def _shown_units(k: int, network: Network, weights: Sequence[NDArray[np.floating]]) -> NDArray[np.intp]:
    """Return the units of a layer with the largest weights, in their order."""
    n = network.sizes[k]
    if n <= MAX_UNITS or not weights:
        return np.arange(min(n, MAX_UNITS))
    sizes = np.zeros(n)
    if k:
        sizes += np.sum(weights[k - 1] ** 2, axis=0)
    if k < len(weights):
        sizes += np.sum(weights[k] ** 2, axis=1)
    return np.sort(np.argsort(-sizes, kind="stable")[:MAX_UNITS])


def _connections(
    block: NDArray[np.floating] | None, below: NDArray[np.intp], above: NDArray[np.intp], layer: int, at: Places
) -> list[str]:
    lines = []
    largest = 1.0 if block is None else float(np.abs(block[np.ix_(below, above)]).max()) or 1.0
    for i, source in enumerate(below.tolist()):
        for j, to in enumerate(above.tolist()):
            (x1, y1), (x2, y2) = at(layer - 1, i), at(layer, j)
            place = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
            if block is None:
                lines.append(f'<line class="w" {place}/>')
                continue
            weight = float(block[source, to])
            if weight == 0.0:
                continue
            size = abs(weight) / largest
            kind = "above" if weight > 0.0 else "below"
            drawn = f'stroke-width="{0.3 + 3.2 * size:.2f}" opacity="{0.15 + 0.75 * size:.2f}"'
            lines.append(f'<line class="w {kind}" {place} {drawn}/>')
    return lines


def _caption(network: Network, k: int, x: float, height: float, n_shown: int) -> str:
    n = network.sizes[k]
    rest = f"{n_shown} of {n:,} drawn" if n_shown < n else ""
    what = counted(n, "input") if k == 0 else f"{n:,} {network.activations[k - 1]}"
    return (
        f'<text class="name" x="{x:.1f}" y="{height - 26:.1f}" text-anchor="middle">{text_of(what)}</text>'
        f'<text class="tick" x="{x:.1f}" y="{height - 9:.1f}" text-anchor="middle">{rest}</text>'
    )


def _names(names: Sequence[str], shown: NDArray[np.intp], layer: int, at: Places, side: int) -> list[str]:
    if not names:
        return []
    texts = []
    for place, index in enumerate(shown.tolist()):
        x, y = at(layer, place)
        anchor, name = "end" if side < 0 else "start", names[index]
        name = _LONG_NUMBER.sub(lambda found: f"{float(found[0]):.4g}", name)
        cut = name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1]}…"
        texts.append(
            f'<text class="tick" x="{x + side * (_RADIUS + 7):.1f}" y="{y + 4:.1f}" text-anchor="{anchor}">'
            f"{text_of(cut)}<title>{text_of(name)}</title></text>"
        )
    return texts
