"""The report: what gpubp computed, what it left to scikit-learn and why, and the time saved, if it was measured."""

from collections.abc import Mapping

from gpubp._core.text import excerpt
from gpubp.accel._record import Computation, Totals


def write_report(record: Mapping[Computation, Totals]) -> str:
    """Write the totals as a table."""
    if not record:
        return "gpubp.accel: no MLPClassifier or MLPRegressor of scikit-learn was fitted"
    by_gpubp = {key: totals for key, totals in record.items() if not key.reason}
    others = {key: totals for key, totals in record.items() if key.reason}
    lines = ["gpubp.accel"]
    if by_gpubp:
        lines += _rows("computed by gpubp", "device", {key: key.device for key in by_gpubp}, record)
    if others:
        lines += _rows("left to scikit-learn", "reason", {key: excerpt(key.reason, 200) for key in others}, record)
    if elsewhere := sum(totals.elsewhere for totals in record.values()):
        lines.append(f"  {elsewhere:,} of the calls were in other processes, whose seconds are added up")
    if by_gpubp:
        lines.append(f"  {_saved(list(by_gpubp.values()))}")
    return "\n".join(lines)


def _rows(title: str, last: str, texts: Mapping[Computation, str], record: Mapping[Computation, Totals]) -> list[str]:
    rows = [f"  {title:<34}{'calls':>9}{'seconds':>11}   {last}"]
    for key, text in sorted(texts.items()):
        totals = record[key]
        rows.append(f"    {key.model + '.' + key.method:<32}{totals.calls:>9,}{totals.seconds:>11,.3f}   {text}")
    return rows


def _saved(totals: list[Totals]) -> str:
    """Say how much time was saved, from measurements alone."""
    if not any(each.compared for each in totals):
        return "time saved: not measured; with --compare, scikit-learn does the same on copies"
    own = sum(each.compared_seconds for each in totals)
    theirs = sum(each.scikit_learn_seconds for each in totals)
    outcome = "saved" if theirs >= own else "lost"
    took = f"scikit-learn took {theirs:,.3f} s for the same, gpubp {own:,.3f} s"
    return f"time {outcome}: {abs(theirs - own):,.3f} s; {took}"
