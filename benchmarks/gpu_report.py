"""The page of a GPU's result: the bars, the networks and the rows as Markdown, and a picture of the networks."""

from statistics import median

from benchmarks.bars import BARS
from benchmarks.contenders import CONTENDERS
from benchmarks.networks import COUNTS, LABELS, NETWORKS
from benchmarks.table import markdown, show_seconds
from gpubp.plotting.figure import STYLES


def write(result, path):
    """Write the page and, with Matplotlib, the picture beside a result file; return their paths."""
    page = path.with_suffix(".md")
    page.write_text(markdown_of(result) + "\n", encoding="utf-8")
    return [page, *draw(result, path.with_suffix(".png"))]


def markdown_of(result):
    """Return the whole page."""
    parts, last = result["parts"], result["last"]
    look = parts.get("look", {}).get("found", {}).get("versions", {})
    facts = [f"{name}: {value}" for name, value in look.items() if value is not None]
    failed = [f"- {name} failed: {part['failed'][:300]}" for name, part in parts.items() if "failed" in part]
    return "\n".join(
        [
            f"{last['date']}, commit {(last['commit'] or 'unknown')[:10]}, {last['machine']['processor']}, "
            f"{last['machine']['cores']} cores{', a dry run' if result['dry_run'] else ''}",
            "",
            *(f"- {fact}" for fact in facts),
            *failed,
            "",
            *bars_table(result["bars"]),
            "",
            *networks_table([result]),
            "",
            *_rows_table(parts),
        ]
    )


def bars_table(found):
    """Lay out the targets; without a result, all as not measured."""
    found = found or [{"bar": bar.name, "limit": bar.limit, "value": None, "verdict": "not measured"} for bar in BARS]
    rows = [
        [one["bar"], f"{one['limit']:g}", "-" if one["value"] is None else f"{one['value']:.3g}", one["verdict"]]
        for one in found
    ]
    return markdown(["target", "limit", "measured", "verdict"], rows)


def networks_table(results):
    """Lay out microseconds per step of a whole stack."""
    times = _times(results)
    rows = []
    for sizes in ("-".join(map(str, sizes)) for sizes in NETWORKS):
        for n in COUNTS:
            found = [times.get(name, {}).get(f"{sizes} x {n}", {}) for name in LABELS]
            rows.append([sizes, f"{n:,}", *(_cell(one) for one in found)])
    return markdown(["network", "networks", *LABELS.values()], rows)


def draw(result, path):
    """Draw the microseconds per step over the number of networks."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return []
    times = _times([result])
    if not times:
        return []
    figure = Figure(figsize=(12, 4), layout="constrained")
    for axes, sizes in zip(figure.subplots(1, len(NETWORKS)), NETWORKS, strict=True):
        prefix = f"{'-'.join(map(str, sizes))} x "
        for name, style in zip(LABELS, STYLES, strict=False):
            points = sorted(
                (int(key.removeprefix(prefix)), 1e6 * facts["seconds"])
                for key, facts in times.get(name, {}).items()
                if key.startswith(prefix) and facts.get("seconds")
            )
            at = zip(*points, strict=True) if points else ([], [])
            axes.plot(*at, **style._asdict(), markersize=5, label=LABELS[name])
        axes.set(xscale="log", yscale="log", title=prefix[:-3], xlabel="networks", ylabel="microseconds a step")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(path, dpi=150)
    return [path]


def _times(results):
    rows = {row: one for r in results for part in r["parts"].values() for row, one in part.get("found", {}).items()}
    return {name: rows[f"gpu/networks/{name}"] for name in LABELS if f"gpu/networks/{name}" in rows}


def _cell(found):
    return f"{1e6 * found['seconds']:.3g}" if "seconds" in found else found.get("failed", "not measured")[:40]


def _rows_table(parts):
    rows = []
    for part in parts.values():
        for row, found in part.get("found", {}).items():
            if row.startswith("gpu/") and not row.startswith("gpu/networks/"):
                for name, facts in found.items():
                    why = next((facts[key] for key in ("failed", "unable", "absent") if key in facts), "no time")
                    shown = show_seconds(median(facts["seconds"])) if facts.get("seconds") else why
                    rows.append([row, CONTENDERS[name].label, shown])
    return markdown(["row", "contender", "time"], rows) if rows else []
