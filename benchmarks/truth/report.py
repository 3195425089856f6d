"""The errors as tables in Markdown."""

from benchmarks.table import markdown

KINDS = {
    "truth-elementary": ("elementary",),
    "truth-activations": ("activation",),
    "truth-derivatives": ("derivative",),
    "truth-losses": ("loss", "loss derivative"),
    "truth-optimizers": ("optimizer",),
    "truth-sums": ("clipping", "product"),
}
"""Which kinds of functions are in each table."""

COLUMNS = {"numpy": "NumPy", "engine": "engine", "torch": "PyTorch", "jax": "JAX"}
USEFUL = 100  # bounds below this are shown


def _columns(rows):
    return {device: head for device, head in COLUMNS.items() if any(row.get(device) for row in rows)}


def tables(rows, title):
    """Lay out the rows of a table: a line for each function and precision."""
    columns, lines = _columns(rows), []
    for row in [row for row in rows if row["kind"] in KINDS[title]]:
        cells = [_cell(row[device]) if row.get(device) else "-" for device in columns]
        bound = _number(row["cuda_of_bar"]) if row["cuda_of_bar"] < USEFUL else "-"
        lines.append([f"{_label(row)}{' (a)' if row['absolute'] else ''}", row["dtype"], *cells, bound])
    order = {name: n for n, name in enumerate(dict.fromkeys(line[0] for line in lines))}
    lines.sort(key=lambda line: order[line[0]])
    return markdown(["function", "", *columns.values(), "CUDA: bound"], lines)


def _label(row):
    return f"{row['name']}{', derivative' if row['kind'] == 'loss derivative' else ''}"


def _cell(found):
    """Return the largest error as a multiple of the bar, and in units where it is another."""
    of_bar, largest = _number(found["of_bar"]), _number(found["largest"])
    return of_bar if of_bar == largest else f"{of_bar} ({largest})"


def _number(number):
    return f"{number:,.0f}" if 100 <= number < 1e5 else f"{number:.2g}"


def figures(title):
    """Return what lays out a table from the result files that have its figures."""
    return lambda results: tables(results[-1]["truth"], title)


def worst(rows):
    """Lay out where each device is the farthest from the true value, as a multiple of the bar."""
    lines = []
    for device, head in _columns(rows).items():
        for dtype in ("float32", "float64"):
            found = [row for row in rows if row["dtype"] == dtype and row[device] and row["kind"] != "elementary"]
            row = max(found, key=lambda row: row[device]["of_bar"])
            function = f"{'derivative of ' if row['kind'] == 'derivative' else ''}{_label(row)}"
            at = ", ".join(f"{number:.6g}" for number in row[device]["bar_at"])
            lines.append([head, dtype, _number(row[device]["of_bar"]), function, at])
    return markdown(["", "", "of a bar", "function", "at"], lines)


def largest(rows):
    """Lay out the largest error of each kind of functions, as a multiple of the bar, and where it is."""
    columns, lines = _columns(rows), []
    for kinds in KINDS.values():
        if kinds == ("elementary",):
            continue
        for dtype in ("float32", "float64"):
            cells = []
            for device in columns:
                found = [row for row in rows if row["kind"] in kinds and row["dtype"] == dtype and row[device]]
                worst = max(found, key=lambda row, device=device: row[device]["of_bar"])
                cells.append(f"{_number(worst[device]['of_bar'])}, {worst['name']}")
            names = [kind if kind in ("loss", "loss derivative", "clipping") else f"{kind}s" for kind in kinds]
            lines.append([" and ".join(names), dtype, *cells])
    return markdown(["functions", "", *columns.values()], lines)


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
