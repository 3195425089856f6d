"""C of loops over the units of a layer, for all samples.

An equation that needs no sum over units is one loop over all numbers. One that does goes sample by sample. Its
exponentials and logarithms are taken in loops over all numbers even so: a compiler makes vector instructions of these,
but not of loops over ten units. Their arguments and results are kept in arrays that are free at the time.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from gpubp.engine.tracing.expressions import FUNCTIONS, Code, indented, literal
from gpubp.engine.tracing.symbols import REDUCTIONS, Inexpressible, Symbol

DTYPE = "float64"
"""The precision that symbols have."""

TRANSCENDENTAL = ("exp", "expm1", "log", "log1p", "tanh")
FUNCTIONS_OF_ARRAYS = {REDUCTIONS["max"]: "largest_of", REDUCTIONS["sum"]: "sum_of"}
ELEMENT = re.compile(r"(\w+)\[(.+) \+ i\]")
OVER_UNITS = "for (integer i = 0; i < j; ++i)"
ELEMENTWISE = f"ELEMENTWISE_LOOP\n{OVER_UNITS}"
FLAT = """\
for (integer c = 0; c < rows; ++c) {{
    ELEMENTWISE_LOOP
    for (integer i = 0; i < columns; ++i) {{
{body}
    }}
}}"""
SAMPLE_BY_SAMPLE = """\
for (integer c = 0; c < b; ++c) {{
{body}
}}"""


class LoopCode(Code):
    """Statements of loops over samples and units, which are compiled for both precisions.

    Parameters
    ----------
    cells : mapping of str to str
        The C expression of each variable: an element of an array, ``x[c * stride + i]``, or a number.
    """

    def __init__(self, cells: Mapping[str, str]) -> None:
        super().__init__(DTYPE, cells)
        self.functions = {name: f"real_{name}" for name in FUNCTIONS}

    def loops(self, results: Mapping[str, Symbol], arrays: Mapping[str, str | None]) -> str:
        """Write loops that set array elements to results.

        Parameters
        ----------
        results : mapping of str to Symbol
            What to compute for each array element, such as ``y[c * stride + i]``.
        arrays : mapping of str to (str or None)
            Elements of the arrays that may be written to before the results, each with the variable that may be in the
            same place.
        """
        results = dict(zip(results, self._simplified(results.values()), strict=True))
        if not self.has_sums(*results.values()):
            return self._loop(results)
        try:
            return self._in_phases(results, arrays)
        except Inexpressible:
            self.names = {}
            return self._loop(results)

    def _loop(self, results: Mapping[str, Symbol]) -> str:
        computed = {f"new_{k}": result for k, result in enumerate(results.values())}
        stores = "\n".join(f"{cell} = new_{k};" for k, cell in enumerate(results))
        if self.has_sums(*computed.values()):
            return SAMPLE_BY_SAMPLE.format(body=indented(self.over_units(ELEMENTWISE, {}, {}, computed, stores), 4))
        return FLAT.format(body=indented(f"{self.statements(**computed)}\n{stores}", 8))

    def _in_phases(self, results: Mapping[str, Symbol], arrays: Mapping[str, str | None]) -> str:
        """Take transcendental functions in loops of their own, first those that need no other."""
        loops, free, lost = list[str](), list(arrays), set[str | None]()

        def add(cell: str, symbol: Symbol) -> None:
            loops.append(self._loop({cell: symbol}))
            self.names[self.index(symbol)] = cell
            lost.add(arrays[cell])
            if any(name is not None and self.uses(name, *results.values()) for name in lost):
                raise Inexpressible("a variable is needed after its array has been written to")

        while (function := self._next_function(results.values())) is not None:
            (argument,) = function.operands
            if not free:
                raise Inexpressible("no array is free")
            if self.has_sums(argument):
                add(free[0], argument)
                if self._is_needed(argument, function, results.values()):
                    del free[0]
            if not free:
                raise Inexpressible("no array is free")
            add(free.pop(0), function)
        loops.append(self._loop(results))
        return "\n".join(loops)

    def _next_function(self, results: Iterable[Symbol]) -> Symbol | None:
        symbols = (self.symbols[index] for index in self._count_uses(results))  # operands come first
        return next((symbol for symbol in symbols if symbol.operation in TRANSCENDENTAL and symbol.per_unit), None)

    def _is_needed(self, argument: Symbol, function: Symbol, results: Iterable[Symbol]) -> bool:
        """Return whether results need the argument of a function for more than that function."""
        names = dict(self.names)
        del self.names[self.index(argument)]
        self.names[self.index(function)] = ""
        is_needed = self.index(argument) in self._count_uses(results)
        self.names = names
        return is_needed

    def _literal(self, value: float) -> str:
        """Write a number that the compiler rounds to each precision."""
        if value == np.finfo(DTYPE).smallest_normal:
            return "SMALLEST_NORMAL"
        return f"(real){literal(value, DTYPE)}"

    def _reduction_loop(self, loop: str, block_reductions: Mapping[str, str], sums: list[int]) -> Iterator[str]:
        """Leave sums over what an array holds to functions in C."""
        others = []
        for index in sums:
            (operand,) = self.symbols[index].operands
            cell = self.names.get(self.index(operand)) or self.variables.get(str(operand.operands[0]), "")
            if array := ELEMENT.fullmatch(cell):
                function = FUNCTIONS_OF_ARRAYS[self._operation(index)]
                yield f"const real over_units_{index} = {function}(j, {array[1]} + {array[2]});"
                self.names[index] = f"over_units_{index}"
            else:
                others.append(index)
        if others:
            yield from super()._reduction_loop(OVER_UNITS, block_reductions, others)

    # --- equal expressions that cost less ---

    def _simplified(self, results: Iterable[Symbol]) -> list[Symbol]:
        """Divide once for each sample instead of each unit, and subtract once where both a - b and b - a are needed."""
        results = list(results)
        needed = {index: self.symbols[index] for index in self._count_uses(results)}
        arguments = {self.index(part) for symbol in needed.values() for part in self._arguments(symbol)}
        differences = {
            tuple(map(self._key, symbol.operands)): index for index, symbol in needed.items() if symbol.operation == "-"
        }
        made: dict[int, Symbol] = {}

        def simplify(part: Any) -> Any:
            if not isinstance(part, Symbol):
                return part
            index = self.index(part)
            if index not in made:
                made[index] = rewrite(index, part)
            return made[index]

        def rewrite(index: int, symbol: Symbol) -> Any:
            operands = [simplify(part) for part in symbol.operands]
            if symbol.operation == "-" and index not in arguments:
                reverse = differences.get(tuple(map(self._key, symbol.operands[::-1])))
                if reverse in arguments:
                    negated = simplify(needed[reverse])
                    return Symbol("negative", negated, per_unit=symbol.per_unit, dtype=symbol.dtype)
            if symbol.operation == "/" and symbol.per_unit and self._is_one_per_sample(symbol.operands[1]):
                numerator, denominator = operands
                return numerator * (1.0 / denominator)
            return Symbol(symbol.operation, *operands, per_unit=symbol.per_unit, dtype=symbol.dtype)

        return [simplify(result) for result in results]

    def _arguments(self, symbol: Symbol) -> tuple[Symbol, ...]:
        return symbol.operands if symbol.operation in TRANSCENDENTAL else ()

    def _is_one_per_sample(self, part: object) -> bool:
        return isinstance(part, Symbol) and not part.per_unit and self.has_sums(part)
