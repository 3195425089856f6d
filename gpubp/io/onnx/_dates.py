"""The inputs of a column of dates, computed in a graph as :func:`gpubp.data._dates.date_parts` does.

All numbers are float64, in which whole numbers of this size are exact.
"""

import math

from gpubp.data.preprocessing import DateColumn
from gpubp.io.onnx._graph import Graph

_FIRST, _LAST = -62135596800.0, 253402300800.0
"""Seconds since 1970 of the years 1 and 10000: other dates are unreadable, which counts as missing."""


def add_date_parts(graph: Graph, column: DateColumn) -> str:
    """Return the inputs ``(b, i)`` of a column of seconds since 1970."""

    def constant(value: float) -> str:
        return graph.constant(float(value))

    def add(x: str, value: float) -> str:
        return graph.node("Add", x, constant(value))

    def times(x: str, value: float) -> str:
        return graph.node("Mul", x, constant(value))

    def divided(x: str, value: float) -> str:
        return graph.node("Div", x, constant(value))

    def quotient(x: str, value: int) -> str:
        return graph.node("Floor", divided(x, value))

    def remainder(x: str, value: int) -> str:
        return graph.node("Sub", x, times(quotient(x, value), value))

    def month(day: str) -> str:
        """Return the month, 0 to 11, of days since 1970, by counting from March 1 in cycles of 400 years.

        Algorithm ``civil_from_days`` of H. Hinnant, "chrono-compatible low-level date algorithms" (2013).
        """
        day = remainder(add(day, 719468), 146097)
        leap_days = graph.node(
            "Sub", quotient(day, 36524), graph.node("Add", quotient(day, 1460), quotient(day, 146096))
        )
        year = quotient(graph.node("Add", day, leap_days), 365)
        year_days = graph.node("Sub", graph.node("Add", times(year, 365), quotient(year, 4)), quotient(year, 100))
        day_of_year = graph.node("Sub", day, year_days)
        return remainder(add(quotient(add(times(day_of_year, 5), 2), 153), 2), 12)

    x = column.name
    is_date = graph.node(
        "And", graph.node("GreaterOrEqual", x, constant(_FIRST)), graph.node("Less", x, constant(_LAST))
    )
    days = divided(graph.node("Where", is_date, x, constant(column.fill)), 86400)
    day = graph.node("Floor", days)
    inputs = []
    for part in column.parts:
        if part == "days":
            scaled = divided(add(days, -column.mean), column.scale)
            inputs.append(graph.node("Clip", scaled, constant(-column.bound), constant(column.bound)))
            continue
        if part == "month":
            angle = divided(times(month(day), 2.0 * math.pi), 12)
        elif part == "weekday":
            angle = divided(times(remainder(add(day, 3), 7), 2.0 * math.pi), 7)
        else:
            angle = times(graph.node("Sub", days, day), 2.0 * math.pi)
        # the cosine as a sine, since onnxruntime before 1.21 has no cosine in float64
        inputs += [graph.node("Sin", angle), graph.node("Sin", add(angle, math.pi / 2.0))]
    if column.indicator:
        inputs.append(graph.cast(graph.node("Not", is_date), float))
    return graph.concatenate(inputs)
