"""``python -m benchmarks.tables FOLDER``: fit, and write a result file, a report and a chart."""

import argparse
import json
import sys
import time
from pathlib import Path

from benchmarks.tables.contenders import CONTENDERS, absence, expanded
from benchmarks.tables.inputs import named_tables
from benchmarks.tables.report import report
from benchmarks.tables.runs import SETTINGS, new_result, run

USUAL = ("fast", "best", "linear", "MLP", "HistGradientBoosting")


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tables", description="Train on public tables beside other models."
    )
    parser.add_argument("folder", type=Path, nargs="?", help="where the packages of benchmarks/tables.json are")
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=USUAL, metavar="NAME")
    parser.add_argument("--time-budget", nargs="+", type=float, default=[20.0], metavar="SECONDS", help="of best")
    parser.add_argument("--seeds", type=int, default=3, help="each is another split, and the seed of every model")
    parser.add_argument("--sets", nargs="+", metavar="SET", help="of benchmarks/tables.json; by default, all")
    parser.add_argument("--only", nargs="+", default=[""], metavar="TEXT", help="tables whose names hold one of these")
    parser.add_argument("--most-rows", type=int, metavar="N", help="a sample of N rows of larger tables")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds after which a fit has failed")
    parser.add_argument("--threads", type=int, default=1, help="of every contender")
    parser.add_argument(
        "--output", type=Path, metavar="JSON", help="the result; what it already holds is not run again"
    )
    parser.add_argument(
        "--again", nargs="+", choices=CONTENDERS, default=[], metavar="NAME", help="contenders to drop from it first"
    )
    parser.add_argument("--against", metavar="NAME", help="the contender that others are compared with")
    parser.add_argument("--wait-while", type=Path, metavar="FILE", help="begin no fit while this file exists")
    parser.add_argument("--from", dest="source", type=Path, metavar="JSON", help="report a result, and draw its chart")
    options = parser.parse_args(arguments)
    if options.source is not None:
        result = json.loads(options.source.read_text(encoding="utf-8"))
    elif options.folder is None:
        parser.error("FOLDER is missing: where the packages of benchmarks/tables.json were installed")
    else:
        result = _continued(parser, options)
        _measured(result, options)
    print(report(result, options.against))
    if path := options.source or options.output:
        _draw(result, path, options.against)


def _continued(parser, options):
    """Return the result that is to be continued, without what is to be measured again; a new one if there is none."""
    settings = {name: getattr(options, name) for name in SETTINGS}
    if options.output is None or not options.output.exists():
        return new_result(settings)
    result = json.loads(options.output.read_text(encoding="utf-8"))
    if result["settings"] != settings:
        parser.error(f"{options.output} was measured with {result['settings']}, not {settings}: choose another file")
    seeds = [
        seed
        for tables in result["sets"].values()
        for table in tables.values()
        for seed in table.get("seeds", {}).values()
    ]
    for found in seeds:
        for name in expanded(options.again, options.time_budget):
            found["contenders"].pop(name, None)
    return result


def _measured(result, options):
    contenders = expanded(options.contenders, options.time_budget)
    absent = {name: why for name in contenders if (why := absence(name))}
    for name, why in absent.items():
        print(f"{name} is left out: {why}", file=sys.stderr)
    sets = {
        set_name: {name: table for name, table in tables.items() if any(text in name for text in options.only)}
        for set_name, tables in named_tables().items()
        if options.sets is None or set_name in options.sets
    }

    def keep():
        if options.output is not None:
            part = options.output.with_suffix(".part")
            part.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
            part.replace(options.output)

    def wait():
        while options.wait_while is not None and options.wait_while.exists():
            time.sleep(5.0)

    run(
        result,
        sets,
        options.folder,
        [name for name in contenders if name not in absent],
        options.seeds,
        keep=keep,
        report=lambda text: print(text, file=sys.stderr, flush=True),
        wait=wait,
    )


def _draw(result, path, against):
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        print("no chart: matplotlib is not installed")
        return
    from benchmarks.tables.chart import draw

    print(*draw(result, path, against), sep="\n")


if __name__ == "__main__":
    main()
