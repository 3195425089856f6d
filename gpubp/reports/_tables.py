"""Tables that are pictures as well: a confusion matrix with coloured cells, and importance as bars."""

import numpy as np

from gpubp._core.text import counted
from gpubp.inspection import PermutationImportance
from gpubp.reports._facts import Confusion
from gpubp.reports._html import signed, text_of, wide

MAX_BARS = 20


def name_of_class(name: str, most: int = 24) -> str:
    """Shorten the name of a class in the middle, since long names often begin alike.

    Examples
    --------
    >>> name_of_class("a class with a long name, 1", 12)
    'a cla…ame, 1'
    """
    half = (most - 1) // 2
    return name if len(name) <= most else f"{name[:half]}\N{HORIZONTAL ELLIPSIS}{name[half + 1 - most :]}"


def confusion_table(confusion: Confusion) -> str:
    """Return a table of true by predicted classes; colours show the share of each true class."""
    classes, counts = confusion
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    rows = []
    for i, name in enumerate(classes):
        cells = "".join(
            f'<td class="cell{" right" if i == j else ""}" style="--share: {shares[i, j]:.3f}">{counts[i, j]:,}</td>'
            for j in range(len(classes))
        )
        right = f"{shares[i, i]:.0%}" if counts[i].any() else ""
        rows.append(f'<tr><th scope="row">{text_of(name_of_class(name))}</th>{cells}<td>{right}</td></tr>')
    heads = "".join(f'<th scope="col">{text_of(name_of_class(name))}</th>' for name in classes)
    head = f'<tr><td class="corner">true ↓ predicted →</td>{heads}<th scope="col">right</th></tr>'
    body = "\n".join(rows)
    content = f'<table class="confusion"><thead>{head}</thead>\n<tbody>\n{body}\n</tbody></table>'
    return wide("confusion matrix", content)


def importance_table(found: PermutationImportance) -> str:
    """Return a table with a bar for each column, the most important first."""
    means, deviations = found.importances_mean, found.importances_std
    order = found.order[:MAX_BARS].tolist()
    largest = max(float(means.max(initial=0.0)), 1e-12)
    rows = []
    for place in order:
        width = 100.0 * max(float(means[place]), 0.0) / largest
        bar = f'<span class="track" aria-hidden="true"><span class="fill" style="width: {width:.1f}%"></span></span>'
        value = signed(f"{means[place]:.4f} ± {deviations[place]:.4f}")
        name = f'<th scope="row">{text_of(found.columns[place], 60)}</th>'
        rows.append(f'<tr>{name}<td class="bars">{bar}</td><td class="number">{value}</td></tr>')
    rest = len(means) - len(order)
    more = f"<p>and {counted(rest, 'less important column', 'less important columns')}</p>" if rest > 0 else ""
    return f'<table class="importance"><tbody>\n{"".join(rows)}\n</tbody></table>{more}'
