"""Run one workload: every contender does it once and is checked; then all are timed in turns."""

import math
import time

from benchmarks.agreement import disagreement
from benchmarks.contenders import reference_of, unable
from benchmarks.processes import Processes

REST = 0.2  # seconds between two turns: OpenBLAS's idle threads keep a core busy for 0.1


def run_workload(workload, names, *, threads, rounds, seconds, limit, report, deadline=math.inf, save=None):
    """Measure contenders on a workload.

    With ``save``, each contender is timed for a round as soon as it is ready, and ``save(found)`` is called after each;
    nothing is begun after ``deadline``, a value of ``time.monotonic()``.

    Returns
    -------
    dict
        For each contender its process's facts, with ``"seconds"`` of one step, call, fit or start in each round; or
        ``{"failed": why}``, or ``{"unable": why}``.
    """
    found = {name: {"unable": why} for name in names if (why := unable(name, workload))}
    with Processes(workload, threads, limit) as processes:
        references = {}
        for name in [name for name in names if name not in found]:
            reference = reference_of(name, workload)
            if time.monotonic() > deadline:
                found[name] = {"failed": "not reached in the part's time"}
                continue
            processes.limit = max(1, math.ceil(min(limit, deadline - time.monotonic())))
            if reference and reference not in references:
                report(reference)
                references[reference] = processes.prepare(reference)
                processes.end(reference)
            report(name)
            found[name] = _prepared(processes, workload, name, references.get(reference))
            if save:
                if "seconds" in found[name]:
                    _take_turn(processes, workload, name, found, seconds)
                save(found)
        for turn in range(min(rounds, workload.most_rounds)):
            able = [name for name in names if "seconds" in found[name]]
            for name in able[turn % len(able) :] + able[: turn % len(able)] if able else ():
                if time.monotonic() > deadline:
                    break
                report(f"{name}, round {turn + 1}")
                _take_turn(processes, workload, name, found, seconds)
                if save:
                    save(found)
        for name, spent in processes.spent.items():
            if name in found:
                found[name]["spent"] = spent
    return {name: found[name] for name in names}


def _prepared(processes, workload, name, reference):
    if reference and "failed" in reference:
        return {"failed": f"no reference: {reference['failed']}"}
    facts = processes.prepare(name)
    if "failed" in facts:
        return facts
    if reference and (
        why := disagreement(facts, reference, workload.spec["dtype"], workload.spec.get("matmul", "float32"))
    ):
        processes.end(name)
        return {"failed": why}
    if workload.fresh:
        processes.end(name)
    return facts | {"seconds": []}


def _take_turn(processes, workload, name, found, seconds):
    reply = {}
    if workload.fresh:
        reply = processes.prepare(name)
    if not {"seconds", "failed"} & set(reply):
        reply = processes.measure(name, seconds)
    if "failed" in reply:
        found[name] = {"failed": reply["failed"]}
        return
    found[name]["seconds"].append(reply["seconds"])
    if workload.fresh:
        processes.end(name)
    time.sleep(REST)


def run_workloads(workloads, names, *, patience, report, **options):
    """Measure all workloads; a contender that takes too long at one point of a curve skips the rest of it."""
    slow = {}
    for at, workload in enumerate(workloads, 1):
        heading = f"[{at}/{len(workloads)}] {workload.name}: "
        taking_part = [name for name in workload.contenders if name in names]
        left = {name: why for name in taking_part if (why := slow.get((workload.series, name)))}
        able = [name for name in taking_part if name not in left]
        found = run_workload(workload, able, report=lambda text, heading=heading: report(heading + text), **options)
        found |= {name: {"unable": why} for name, why in left.items()}
        for name in able:
            if workload.series and found[name].get("spent", 0) > patience:
                slow[workload.series, name] = f"not tried: {workload.name} took {found[name]['spent']:.0f} s"
        yield {"name": workload.name, "kind": workload.kind, "spec": workload.spec, "contenders": found}
