"""The errors as tables in Markdown."""

from benchmarks.table import markdown

KINDS = {
    "truth-activations": ("activation",),
    "truth-derivatives": ("derivative",),
    "truth-losses": ("loss", "loss derivative"),
    "truth-optimizers": ("optimizer",),
}
"""Which kinds of functions are in each table."""

ENGINES = ("numpy", "engine")
USEFUL = 100  # bounds below this are shown


def tables(rows, title):
    """Lay out the rows of a table: a line for each function and precision."""
    lines = []
    for row in [row for row in rows if row["kind"] in KINDS[title]]:
        what = f"{row['name']}{', derivative' if row['kind'] == 'loss derivative' else ''}"
        cells = [cell for engine in ENGINES for cell in _cells(row[engine])]
        bound = _number(row["cuda_of_bar"]) if row["cuda_of_bar"] < USEFUL else "-"
        lines.append([f"{what}{' (a)' if row['absolute'] else ''}", row["dtype"], *cells, bound])
    order = {name: n for n, name in enumerate(dict.fromkeys(line[0] for line in lines))}
    lines.sort(key=lambda line: order[line[0]])
    heads = [f"{name}: {what}" for name in ("NumPy", "engine") for what in ("largest", "mean", "at", "of a bar")]
    return markdown(["function", "", *heads, "CUDA: bound, of a bar"], lines)


def _cells(found):
    at = ", ".join(f"{number:.3g}" for number in found["at"])
    return [_number(found["largest"]), _number(found["mean"]), at, _number(found["of_bar"])]


def _number(number):
    return f"{number:,.0f}" if 100 <= number < 1e5 else f"{number:.2g}"


def figures(title):
    """Return what lays out a table from the result files that have its figures."""
    return lambda results: tables(results[-1]["truth"], title)
