"""The explanation as one self-contained HTML page: no network access, no fonts, no scripts but its own.

Without JavaScript it shows all steps below each other; with JavaScript, one step at a time.
"""

import re
from collections.abc import Sequence
from html import escape
from importlib.resources import files

import numpy as np

from gpubp._core.html import self_contained_page
from gpubp._core.text import printable
from gpubp.errors import DataError
from gpubp.explain._diagram import Drawing, svg
from gpubp.explain._walk import STAGES, Example, Passage, Term, explain
from gpubp.explain.notation import Fraction, fractions, number_format, worked_at
from gpubp.nn.network import Network, views

MAX_UNITS = 16
"""The largest number of units in a layer of a network that a page explains."""
MAX_WEIGHTS = 300
MAX_CASES = 8
MAX_ROWS = 17
"""Longer matrices are shown by their first and last rows."""
MAX_WORKED = 12
MAX_STACKED = 3
"""Numbers in a unit, of as many cases."""
MAX_SUMMED = 9

_STAGES = dict(zip(STAGES, ("Inputs", "Forward", "Error", "Backward", "Update", "Check"), strict=True))


@np.errstate(all="ignore")
def html_page(
    example: Example,
    *,
    learning_rate: float = 0.5,
    precision: int = 4,
    title: str = "Back-propagation, step by step",
    note: str = "",
    input_names: Sequence[str] = (),
    output_names: Sequence[str] = (),
    case_names: Sequence[str] = (),
) -> str:
    """Write a page that explains one forward pass, one backward pass and one change of the weights.

    Parameters
    ----------
    example : Example
        A small network, its weights, and one case or a few.
    learning_rate : float
        The paper's epsilon.
    precision : int
        Digits after the point.
    title, note : str
        The heading, and a note below it.
    input_names, output_names, case_names : sequence of str
        One name for each, or empty. All text is escaped.

    Returns
    -------
    str
        HTML.

    Raises
    ------
    DataError
        If the example or its names do not fit together, or it is too large to follow by hand.

    Examples
    --------
    >>> from gpubp.explain import html_page, rain_network
    >>> html_page(rain_network()).count("<section")
    16
    """
    network = example.network
    _check_size(network, len(example.x))
    n_cases = len(example.x)
    for parameter, names, n in (
        ("input_names", input_names, network.sizes[0]),
        ("output_names", output_names, network.sizes[-1]),
        ("case_names", case_names, n_cases),
    ):
        if names and len(names) != n:
            raise DataError(f"{parameter} must be {n} names, got {len(names)}")
    passages = explain(*example, learning_rate=learning_rate)
    cases = [printable(name) for name in case_names] or [f"case {number}" for number in range(1, n_cases + 1)]
    named = [printable(name) for name in input_names], [printable(name) for name in output_names]
    pictures = _pictures(network, example, passages)
    sections = [
        _section(number, len(passages), passage, network, precision, cases, svg(picture, _label(passage), *named))
        for number, (passage, picture) in enumerate(zip(passages, pictures, strict=True), 1)
    ]
    folder = files("gpubp.explain")
    title = escape(printable(title))
    body = _BODY.format(
        title=title,
        note=f'<p class="note">{escape(printable(note))}</p>' if note else "",
        contents=_contents(passages),
        sections="\n".join(sections),
        first_case=escape(cases[0]),
        precision=precision,
    )
    style, script = ((folder / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    return self_contained_page(title, style, body, script)


_BODY = """<header>
<h1>{title}</h1>
{note}
<nav aria-label="Steps">
{contents}
<div id="controls" hidden>
<button type="button" id="back">← Back</button>
<button type="button" id="on">Next →</button>
<button type="button" id="all" aria-pressed="false">All steps</button>
<span id="keys">Use the arrow keys, Home and End to move between steps.</span>
</div>
</nav>
<p id="now" aria-live="polite"></p>
</header>
<main>
{sections}
</main>
<footer>
<p>In the drawings the width of a connection is proportional to its weight; positive weights are orange, negative ones
blue and dashed. The units show the latest result for {first_case}; where derivatives are added up over the cases, both
factors, of up to three cases. All numbers are rounded, those in matrices to
{precision} digits after the point. The equations are numbered as in Rumelhart, Hinton and Williams (1986).</p>
</footer>
"""


def _check_size(network: Network, n_cases: int) -> None:
    if network.skips:
        raise DataError(
            f"the drawings of a page show connections from each layer to the next one, and this network, "
            f"{'-'.join(map(str, network.sizes))}, has some past its hidden layers, such as those of a linear part; "
            "gpubp explain without --html, or gpubp.explain.explain, walks through it"
        )
    widest = max(network.sizes)
    if widest > MAX_UNITS or network.n_parameters > MAX_WEIGHTS:
        raise DataError(
            f"a page explains networks of up to {MAX_UNITS} units in a layer and {MAX_WEIGHTS} weights, which can be "
            f"followed by hand; this one, {'-'.join(map(str, network.sizes))}, has {widest} units in its widest layer "
            f"and {network.n_parameters:,} weights. Train a smaller one, such as "
            "gpubp train iris --numbers linear --hidden-layer-sizes 4"
        )
    if n_cases > MAX_CASES:
        raise DataError(f"a page explains up to {MAX_CASES} cases at once, got {n_cases:,}; choose one with --sample")


def _label(passage: Passage) -> str:
    number = f"equation {passage.equation}: " if passage.equation else ""
    return f"The network; {number}{passage.title}"


# --- the pictures ---


def _pictures(network: Network, example: Example, passages: Sequence[Passage]) -> list[Drawing]:
    """Choose what the drawing of each step shows; the units show the latest result for the first case."""
    last = len(network.activations)
    all_layers, all_blocks = range(last + 1), range(1, last + 1)
    blocks = views(np, network, np.asarray(example.theta, dtype=np.float64))
    changes = {passage.layer: passage.result.values for passage in passages if passage.equation == "8"}
    changed = [block + changes[k] for k, block in enumerate(blocks, 1)]
    shown_outputs: dict[int, np.ndarray] = {0: np.asarray(example.x, dtype=np.float64)[0]}
    is_backward = False
    pictures = []
    for passage in passages:
        k, equation = passage.layer, passage.equation
        if passage.stage == "backward" and not is_backward:
            shown_outputs, is_backward = {}, True
        if k is not None and equation in ("1", "2", "4", "4, 5", "5", "7"):
            shown_outputs = {**shown_outputs, k: passage.result.values[0]}
        shown_weights = changed if passage.title == "The effect of the change" else blocks
        if passage.stage in ("update", "check"):
            shown_outputs = {}
        unit_values: dict[int, np.ndarray] = shown_outputs
        if k is not None and equation == "6":  # both factors of the sum, of every case
            below, above = (term.values for term in passage.terms)
            unit_values = {k - 1: below[: network.sizes[k - 1]].T, k: above} if len(above) <= MAX_STACKED else {}
        units, connections = _highlights(passage, all_layers, all_blocks)
        shown_numbers = {j: _weights_of(network, shown_weights[j - 1]) for j in connections}
        if equation in ("6", "8") and k is not None:
            shown_numbers = {k: _weights_of(network, passage.result.values)}
        pictures.append(
            Drawing(
                [_weights_of(network, block) for block in shown_weights],
                [block[-1] for block in shown_weights] if network.bias else [],
                shown_numbers,
                unit_values,
                units,
                connections,
            )
        )
    return pictures


def _weights_of(network: Network, block: np.ndarray) -> np.ndarray:
    return block[:-1] if network.bias else block


def _highlights(passage: Passage, layers: range, blocks: range) -> tuple[Sequence[int], Sequence[int]]:
    """Return the layers whose units, and those whose incoming connections, a step is about."""
    k = passage.layer
    if passage.stage == "start":
        return (0,), blocks
    if k is None:
        return layers, blocks
    by_equation: dict[str, tuple[Sequence[int], Sequence[int]]] = {
        "1": ((k - 1, k), (k,)),
        "6": ((k - 1, k), (k,)),
        "7": ((k, k + 1), (k + 1,)),
        "8": ((), (k,)),
    }
    return by_equation.get(passage.equation, ((k,), ()))


# --- the text ---


def _contents(passages: Sequence[Passage]) -> str:
    parts = []
    for stage, name in _STAGES.items():
        links = [
            f'<a href="#step-{number}" title="{escape(passage.title)}" aria-label="Step {number}: '
            f'{escape(passage.title)}">{number}</a>'
            for number, passage in enumerate(passages, 1)
            if passage.stage == stage
        ]
        parts.append(f'<span class="stage"><b>{name}</b> {" ".join(links)}</span>')
    return f'<p id="contents">{" ".join(parts)}</p>'


def _section(
    number: int, of: int, passage: Passage, network: Network, precision: int, cases: Sequence[str], drawing: str
) -> str:
    equation = f'<span class="equation-number">({passage.equation.replace(", ", "), (")})</span> ' * bool(
        passage.equation
    )
    worked = _worked(passage, network, precision, cases)
    return f"""<section id="step-{number}" class="step" data-stage="{passage.stage}" aria-labelledby="title-{number}">
<p class="where">{_STAGES[passage.stage]} · step {number} of {of}</p>
<h2 id="title-{number}" tabindex="-1">{equation}{escape(passage.title)}</h2>
<div class="beside">
<figure>
{drawing}
</figure>
<div class="text">
<p class="formula">{_formula(passage.formula)}</p>
<p>{escape(passage.meaning)}</p>
<div class="terms" tabindex="0" role="group" aria-label="The matrices">
{"".join(f'<div class="term">{_term(term, precision)}</div>' for term in passage.terms)}
<div class="term result">{_term(passage.result, precision)}</div>
</div>
{worked}</div>
</div>
</section>"""


def _formula(formula: str) -> str:
    return "".join(_fraction(part) if isinstance(part, Fraction) else escape(part) for part in fractions(formula))


def _fraction(fraction: Fraction) -> str:
    """Set one above the other; screen readers and copied text get a slash, with brackets if needed."""
    opening, closing = ("/ (", ")") if " " in fraction.bottom else ("/", "")
    return (
        f'<span class="fraction"><span>{escape(fraction.top)}</span><span class="heard">{opening}</span>'
        f'<span class="under">{escape(fraction.bottom)}</span><span class="heard">{closing}</span></span>'
    )


def _term(term: Term, precision: int) -> str:
    values = term.values
    format_value = number_format(values, precision)
    sign = f'<span class="sign">{escape(term.sign)}</span>' if term.sign else ""
    name = escape(term.name)
    if values.ndim == 0:
        return f'{sign}<span class="scalar"><i>{name}</i> <b>{_minus(format_value(float(values)))}</b></span>'
    rows = [[_minus(format_value(float(value))) for value in row] for row in values]
    if len(rows) > MAX_ROWS:
        half = MAX_ROWS // 2
        rows = [*rows[:half], ["⋮"] * values.shape[1], *rows[-half:]]
    letters = sum(max(map(len, column)) + 1 for column in zip(*rows, strict=True))
    shape = " × ".join(map(str, values.shape))
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    caption = f"<caption><i>{name}</i> <small>{shape}</small></caption>"
    return f'{sign}<table style="--letters: {letters}">{caption}<tbody>{body}</tbody></table>'


def _minus(text: str) -> str:
    return text.replace("-", "−")


def _worked(passage: Passage, network: Network, precision: int, cases: Sequence[str]) -> str:
    """Write out the arithmetic of each number of a small result, or of the first row of a larger one."""
    result = passage.result.values
    if result.ndim != 2 or passage.layer is None or result.shape[1] > MAX_WORKED:
        return ""
    rows = range(len(result)) if result.size <= MAX_WORKED else range(1)
    lines = []
    for row in rows:
        for unit in range(result.shape[1]):
            worked = worked_at(passage, precision, (row, unit), MAX_SUMMED)
            if not worked:
                return ""
            # lines break before a sign only
            parts = " ".join(f"<span>{escape(part)}</span>" for part in re.split(r" (?=[+=] )", _minus(worked)))
            lines.append(f"<li>{escape(_position_text(passage, network, row, unit, cases))}: {parts}</li>")
    return f'<ul class="worked">\n{"".join(lines)}\n</ul>\n'


def _position_text(passage: Passage, network: Network, row: int, unit: int, cases: Sequence[str]) -> str:
    if passage.equation not in ("6", "8"):
        return f"{cases[row]}, unit {unit + 1}"
    is_bias = passage.layer is not None and row == network.sizes[passage.layer - 1]
    return f"bias of unit {unit + 1}" if is_bias else f"from unit {row + 1} below to unit {unit + 1}"
