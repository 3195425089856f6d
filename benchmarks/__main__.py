"""``python -m benchmarks``: measure, and write a table, a result file and charts."""

import argparse
import json
import sys
from pathlib import Path

from benchmarks.contenders import CONTENDERS, REFERENCES, absence
from benchmarks.machine import cores, keep_to, provenance
from benchmarks.rounds import run_workloads
from benchmarks.table import tables
from benchmarks.workloads import chosen, make_workloads

RESULTS = Path(__file__).parent / "results"
TAKING_PART = [name for name in CONTENDERS if name not in REFERENCES]


def main(arguments=None):
    """Run the command line; return 1 if a contender failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Compare gpubp with other libraries.")
    parser.add_argument(
        "--workloads", nargs="+", default=[], metavar="PATTERN", help="parts of names, or patterns with *"
    )
    parser.add_argument("--contenders", nargs="+", choices=TAKING_PART, metavar="NAME")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="approximate time of a contender in a round")
    parser.add_argument(
        "--threads", type=int, default=cores(), help="threads of every contender; by default, one for each core"
    )
    parser.add_argument("--limit", type=int, default=300, help="seconds after which a contender has failed")
    parser.add_argument(
        "--patience", type=float, default=120, help="seconds at one point after which a growth curve ends"
    )
    parser.add_argument("--output", type=Path, help="the result file (.json); charts are written next to it")
    parser.add_argument("--quick", action="store_true", help="a few small workloads in two short rounds")
    parser.add_argument("--list", action="store_true", help="list workloads and contenders")
    parser.add_argument(
        "--from", dest="source", type=Path, metavar="JSON", help="make tables and charts from a result file"
    )
    options = parser.parse_args(arguments)
    workloads = chosen(make_workloads(), options.workloads)
    if options.list:
        print(*(w.name for w in workloads), "", *(f"{n}: {absence(n) or 'ready'}" for n in TAKING_PART), sep="\n")
        return 0
    if options.source:
        result, path = json.loads(options.source.read_text()), options.output or options.source
    else:
        if options.quick:
            workloads = [w for w in workloads if w.quick or options.workloads]
            options.rounds, options.seconds = 2, 0.05
        if not workloads:
            parser.error(f"no workload matches {' '.join(options.workloads)}; --list shows their names")
        path, result = _measured(workloads, options)
    print(tables(result))
    print(*_charts(result, path), path, sep="\n")
    return int(any("failed" in facts for w in result["workloads"] for facts in w["contenders"].values()))


def _measured(workloads, options):
    """Measure, and write the result file after each workload, so that an interrupted run is not lost."""
    requested = options.contenders or TAKING_PART
    absent = {name: why for name in requested if (why := absence(name))}
    settings = {name: getattr(options, name) for name in ("threads", "rounds", "seconds", "limit")}
    result = provenance() | settings | {"absent": absent, "workloads": []}
    stem = f"{result['date'][:16].replace(':', '')}-{'quick' if options.quick else (result['commit'] or '')[:7]}"
    path = options.output or RESULTS / f"{stem}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    keep_to(options.threads)
    names = [name for name in requested if name not in absent]
    for measured in run_workloads(workloads, names, patience=options.patience, report=_report, **settings):
        result["workloads"].append(measured)
        path.write_text(json.dumps(result, indent=1) + "\n")
    _report("")
    return path, result


def _report(text):
    """Show the progress on a terminal."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text[:100]}", end="", file=sys.stderr, flush=True)


def _charts(result, path):
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        print("no charts: matplotlib is not installed")
        return []
    from benchmarks.chart import draw

    return draw(result, path)


if __name__ == "__main__":
    sys.exit(main())
