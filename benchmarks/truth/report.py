"""The errors as tables in Markdown."""

from benchmarks.table import markdown

KINDS = {
    "truth-activations": ("activation",),
    "truth-derivatives": ("derivative",),
    "truth-losses": ("loss", "loss derivative"),
    "truth-optimizers": ("optimizer",),
    "truth-sums": ("clipping", "product"),
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
    if found is None:
        return ["-"] * 4
    at = ", ".join(f"{number:.3g}" for number in found["at"])
    return [_number(found["largest"]), _number(found["mean"]), at, _number(found["of_bar"])]


def _number(number):
    return f"{number:,.0f}" if 100 <= number < 1e5 else f"{number:.2g}"


def figures(title):
    """Return what lays out a table from the result files that have its figures."""
    return lambda results: tables(results[-1]["truth"], title)


def largest(rows):
    """Lay out the largest error of each kind of functions, as a multiple of the bar, and where it is."""
    lines = []
    for kinds in KINDS.values():
        for dtype in ("float32", "float64"):
            cells = []
            for engine in ENGINES:
                found = [row for row in rows if row["kind"] in kinds and row["dtype"] == dtype and row[engine]]
                worst = max(found, key=lambda row: row[engine]["of_bar"])
                cells.append(f"{_number(worst[engine]['of_bar'])}, {worst['name']}")
            names = [kind if kind in ("loss", "loss derivative", "clipping") else f"{kind}s" for kind in kinds]
            lines.append([" and ".join(names), dtype, *cells])
    return markdown(["functions", "", "NumPy", "compiled engine"], lines)


SERIES = {
    "depth": "gradient, by layers",
    "width": "gradient, by units of a layer",
    "mpmath, gradient": "gradient, against mpmath",
    "momentum": "weights, by steps of momentum",
    "adam": "weights, by steps of Adam",
    "stack": "weights after 100 steps, by networks",
    "mpmath, training": "weights, by steps, against mpmath",
}
WAYS = {"numpy": "NumPy", "engine": "engine", "torch": "PyTorch", "cuda": "CUDA, on the CPU"}


def growth_table(rows):
    """Lay out how errors grow: those of the largest size, and the largest part of a bound at any size."""
    lines = []
    for series, what in SERIES.items():
        for dtype in ("float32", "float64"):
            found = [row for row in rows if (row["series"], row["dtype"]) == (series, dtype)]
            if not found:
                continue
            sizes = sorted({row["size"] for row in found})
            at_end = {row["way"]: row for row in sorted(found, key=lambda row: row["size"])}
            cells = [_error(at_end[way], sizes[-1]) if way in at_end else "-" for way in WAYS]
            bound = max(row["bound"] for row in found if row["size"] == sizes[-1])
            worst = max(row["of_bound"] for row in found)
            span = f"{sizes[0]:,} to {sizes[-1]:,}" if len(sizes) > 1 else "-"
            lines.append([what, dtype, span, *cells, _number(bound), f"{worst:.2f}"])
    return markdown(["error", "", "sizes", *WAYS.values(), "bound", "largest part of a bound"], lines)


def _error(row, largest_size):
    return _number(row["error"]) + ("" if row["size"] == largest_size else f" (at {row['size']:,})")


DEVICES = {
    "cpu": "NumPy, compiled engine",
    "torch": "PyTorch, CPU",
    "jax.numpy": "JAX, CPU, x64",
    "array_api_strict:device1": "array-api-strict",
    "cuda": "CuPy, CUDA on the CPU",
}


def devices(found):
    """Lay out the largest deviations from NumPy that were found on each device, as parts of the tolerance."""
    kinds, lines = ("elementwise", "forward", "gradient", "steps", "fit"), []
    for device, result in found.items():
        of_kind = dict.fromkeys((*kinds, "fewer bits"), 0.0)
        for row in result["rows"]:
            kind = row["kind"] if row["kind"] in kinds else "fewer bits"
            of_kind[kind] = max(of_kind[kind], row["deviation"])
        n_failed = sum(not row["ok"] for row in result["rows"])
        cells = [result["date"][:10], *map(_number, of_kind.values()), f"{n_failed} of {len(result['rows'])}"]
        lines.append([DEVICES.get(device, device), *cells])
    return markdown(["device", "date", *kinds, "fewer bits", "failed"], lines)
