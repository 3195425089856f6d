"""A result file as tables in Markdown, also readable in a terminal."""

from benchmarks.contenders import CONTENDERS, FLOORS, OURS
from benchmarks.summary import fastest_peer, floor_of, ratio, timed, timing

BUSY = 0.25  # the load of the cores before the run
TIME_OF = {"step": "a step", "predict": "a call", "fit": "a fit", "start": "a start", "import": "an import"}


def tables(result):
    """Format a whole result: the machine, a line for each workload, then each workload's contenders."""
    return "\n".join([_heading(result), "", *_overview(result), "", *_details(result)])


def _heading(result):
    machine, versions = result["machine"], result["versions"]
    changed = " and changes" if result["changed_since_commit"] else ""
    lines = [
        f"{result['date']}, commit {(result['commit'] or 'unknown')[:10]}{changed}",
        f"{machine['processor']}, {result['threads']} of {machine['cores']} cores, "
        f"{show_bytes(machine['memory_bytes'])}, {machine['system']}, BLAS: {machine['blas']}, GPU: {machine['gpu']}",
        ", ".join(f"{name} {version}" for name, version in versions.items()),
        f"medians of {result['rounds']} rounds of about {result['seconds']} s; spread: between the quartiles; "
        "a / b: the ratio of a's time to b's in each round; first call: compiling and a full batch of steps",
    ]
    if (busy := result["load_before"]) and busy > BUSY * machine["cores"]:
        lines.append(f"the machine was busy (load {busy:.1f} before the run): threads waited for cores")
    for why in dict.fromkeys(result["absent"].values()):
        names = [CONTENDERS[name].label for name, reason in result["absent"].items() if reason == why]
        lines.append(f"left out, {why}: {'; '.join(names)}")
    return "\n\n".join(lines)


def _overview(result):
    rows = []
    for workload in result["workloads"]:
        found = workload["contenders"]
        for name in [name for name in OURS if name in timed(found)]:
            peer, floor = fastest_peer(found, on_gpu=name.endswith("-cuda")), floor_of(found, name)
            rows.append(
                [
                    workload["name"],
                    _label(name, workload),
                    show_seconds(timing(found[name]["seconds"]).seconds),
                    _label(peer, workload) if peer else "",
                    f"{ratio(found[name], found[peer]):.2f}" if peer else "",
                    f"{ratio(found[name], found[floor]):.2f}" if floor else "",
                ]
            )
    return markdown(["workload", "", "time", "fastest peer", "time / peer's", "time / floor's"], rows)


def _details(result):
    for workload in result["workloads"]:
        found = workload["contenders"]
        floor = "floor" if "floor" in timed(found) else "floor-cuda"
        rows = []
        for name, facts in sorted(found.items(), key=lambda item: timing(item[1].get("seconds") or [1e9]).seconds):
            label = _label(name, workload)
            if not facts.get("seconds"):
                rows.append([label, f"failed: {facts['failed']}" if "failed" in facts else facts["unable"]])
                continue
            time = timing(facts["seconds"])
            floor = floor_of(found, name) or floor
            rows.append(
                [
                    label,
                    show_seconds(time.seconds),
                    f"{100 * time.spread:.0f}%",
                    f"{ratio(found['gpubp'], facts):.2f}" if "gpubp" in timed(found) else "",
                    f"{ratio(facts, found[floor]):.2f}" if floor in timed(found) else "",
                    show_bytes(facts["peak_bytes"]),
                    show_bytes(facts["grown_bytes"]) if name not in FLOORS else "",
                    show_seconds(facts["first_call"]),
                    f"{facts['accuracy']:.4f}" if "accuracy" in facts else "",
                ]
            )
        heads = [
            "",
            TIME_OF[workload["kind"]],
            "spread",
            "gpubp / this",
            "this / floor",
            "peak memory",
            "of which for the work",
        ]
        accuracy = any("accuracy" in facts for facts in found.values())
        yield from [f"### {workload['name']}", ""]
        yield from [*markdown([*heads, "first call", *(["accuracy"] if accuracy else [])], rows), ""]


def _label(name, workload):
    label = CONTENDERS[name].label
    return (
        label.partition(",")[0] if workload["kind"] == "import" else label
    )  # a library has only one way to be imported


def markdown(heads, rows):
    """Lay out a table; a row may end early."""
    rows = [[*row[: len(heads)], *[""] * (len(heads) - len(row))] for row in rows]
    widths = [max(len(row[at]) for row in [heads, *rows]) for at in range(len(heads))]
    line = ["-" * width for width in widths]
    return [f"| {' | '.join(map(str.ljust, row, widths))} |" for row in [heads, line, *rows]]


def show_seconds(seconds):
    """Write a time with three digits and its unit."""
    suffix, size = ("s", 1.0) if seconds >= 1 else ("ms", 1e-3) if seconds >= 1e-3 else ("us", 1e-6)
    return f"{seconds / size:.3g} {suffix}" if seconds / size < 1000 else f"{seconds / size:.0f} {suffix}"


def show_bytes(count):
    """Write a size in MB, or GB."""
    if count is None:
        return "unknown"
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
