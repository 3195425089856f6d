"""Translate symbols into C statements; common subexpressions are computed once and named."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from gpubp.engine.tracing.symbols import OVER_SAMPLES, REDUCTIONS, HostNumber, Inexpressible, Symbol

FUNCTIONS = ("abs", "cos", "exp", "expm1", "log", "log1p", "round", "sin", "sqrt", "tanh")
NAMES_IN_C = {"abs": "fabs", "round": "rint"}
COMPARISONS = ("<", "<=", "&&", "||")
PATTERNS = {
    "where": "({0} ? {1} : {2})",
    "maximum": "({0} < {1} ? {1} : {0})",  # NaN if the first is
    "minimum": "({0} > {1} ? {1} : {0})",
    "sign": "({0} != {0} ? {0} : (real)(({0} > 0) - ({0} < 0)))",
    "negative": "(-{0})",
    REDUCTIONS["sum"]: "{0} + {1}",
    REDUCTIONS["max"]: "({1} > {0} || {1} != {1} ? {1} : {0})",  # NaN if any is
}
WRITTEN_TWICE = ("maximum", "minimum", "sign")


def literal(value: float, dtype: str) -> str:
    """Write a number in C, rounded to a precision."""
    single = dtype == "float32"
    text = str(np.float32(value)) if single else repr(float(value))
    if not np.isfinite(float(text)):
        raise Inexpressible(f"C has no literal for {text}")
    return text + ("f" if single else "")


def functions_of_c(dtype: str) -> dict[str, str]:
    """Return the names of C's own functions for a precision."""
    suffix = "f" if dtype == "float32" else ""
    return {name: NAMES_IN_C.get(name, name) + suffix for name in FUNCTIONS}


class Code:
    """Statements of one kernel, in one precision.

    Parameters
    ----------
    dtype : str
    variables : mapping of str to str
        The C expression of each variable, read where it is used.

    Attributes
    ----------
    settings : list of HostNumber
        The host numbers that the statements use; C reads number ``k`` from ``settings[k]``.
    """

    def __init__(self, dtype: str, variables: Mapping[str, str]) -> None:
        self.dtype, self.variables, self.functions = dtype, variables, functions_of_c(dtype)
        self.settings: list[HostNumber] = []
        self.names: dict[int, str] = {}  # of symbols already computed, by index
        self.symbols: list[Symbol] = []
        self._index_of_key: dict[Any, int] = {}
        self._index_of_symbol: dict[int, int] = {}
        self._alive: list[Symbol] = []

    # --- equal symbols ---

    def index(self, symbol: Symbol) -> int:
        """Return the index of a symbol: the same for symbols that compute the same."""
        index = self._index_of_symbol.get(id(symbol))
        if index is None:
            key = (symbol.operation, *map(self._key, symbol.operands))
            index = self._index_of_key.setdefault(key, len(self.symbols))
            if index == len(self.symbols):
                self.symbols.append(symbol)
            self._index_of_symbol[id(symbol)] = index
            self._alive.append(symbol)  # so that its id is not used again
        return index

    def _key(self, operand: Any) -> Any:
        if isinstance(operand, Symbol):
            return self.index(operand)
        return operand.text if isinstance(operand, HostNumber) else repr(operand)

    def _parts(self, symbol: Symbol) -> list[Symbol]:
        return [self.symbols[self.index(part)] for part in symbol.operands if isinstance(part, Symbol)]

    def _count_uses(self, results: Iterable[Symbol]) -> dict[int, int]:
        """Count the uses of each unnamed symbol in the results; operands come first."""
        uses: dict[int, int] = {}

        def visit(symbol: Symbol) -> None:
            index = self.index(symbol)
            if index in self.names:
                return
            if index not in uses:
                for part in self._parts(symbol) * (2 if symbol.operation in WRITTEN_TWICE else 1):
                    visit(part)
                uses[index] = 0
            uses[index] += 1

        for result in results:
            visit(result)
        return uses

    def uses(self, name: str, *results: Symbol) -> bool:
        """Return whether results depend on a variable."""
        needed = [self.symbols[index] for index in self._count_uses(results)]
        return any(symbol.operation == "variable" and symbol.operands == (name,) for symbol in needed)

    def has_sums(self, *results: Symbol) -> bool:
        """Return whether results depend on sums over units."""
        return any(self._is_reduction(index) for index in self._count_uses(results))

    # --- statements ---

    def statements(self, **results: Symbol) -> str:
        """Write statements that compute results, each under its name, from variables and named symbols."""
        names, uses = dict(self.names), self._count_uses(results.values())
        lines = list(self._name_symbols(uses, (index for index in uses if self._needs_a_name(index, uses[index]))))
        lines += [f"const real {name} = {self._text(result)};" for name, result in results.items()]
        self.names = names  # names of this scope end here
        return "\n".join(lines)

    def over_units(
        self,
        loop: str,
        block_reductions: Mapping[str, str],
        per_sample: Mapping[str, Symbol],
        per_unit: Mapping[str, Symbol],
        last: str,
    ) -> str:
        """Compute results of a sample, then those of its units, with as many loops over the units as the sums need.

        Parameters
        ----------
        loop : str
            The head of a loop over the units.
        block_reductions : mapping
            For each operation over units the C function that combines the results of a block's threads; empty if one
            thread goes over all units.
        per_sample, per_unit : mapping of str to Symbol
            What to compute, by name.
        last : str
            The statement that stores the results of a unit, if there are any.
        """
        names, lines = dict(self.names), list[str]()
        results = [*per_sample.values(), *per_unit.values()]
        needed = list(self._count_uses(results))
        level_of = self._levels(needed)
        for level in range(1, max(level_of.values(), default=0) + 1):
            sums = [index for index in needed if level_of[index] == level and self._is_reduction(index)]
            lines += self._name_per_sample([self.symbols[index].operands[0] for index in sums])
            lines += self._reduction_loop(loop, block_reductions, sums)
        lines += self._name_per_sample(results)
        lines += [f"const real {name} = {self._text(result)};" for name, result in per_sample.items()]
        if per_unit:
            lines += [f"{loop} {{", indented(self.statements(**per_unit), 4), indented(last, 4), "}"]
        self.names = names
        return "\n".join(lines)

    def _reduction_loop(self, loop: str, block_reductions: Mapping[str, str], sums: list[int]) -> Iterator[str]:
        sums_in_c = {index: f"over_units_{index}" for index in sums}
        for index, name in sums_in_c.items():
            start = 0.0 if self._operation(index) == REDUCTIONS["sum"] else float(np.finfo(self.dtype).min)
            yield f"real {name} = {self._literal(start)};"
        parts = {f"part_{index}": self.symbols[index].operands[0] for index in sums}
        yield f"{loop} {{"
        yield indented(self.statements(**parts), 4)
        for index, name in sums_in_c.items():
            yield f"    {name} = {PATTERNS[self._operation(index)].format(name, f'part_{index}')};"
        yield "}"
        for index, name in sums_in_c.items():
            if block_reductions:
                yield f"{name} = {block_reductions[self._operation(index)]}({name}, shared);"
            self.names[index] = name

    def _name_per_sample(self, results: list[Symbol]) -> list[str]:
        """Name the symbols that are the same for all units of a sample, to compute them outside the loop."""
        uses = self._count_uses(results)
        outside = (index for index in uses if not self.symbols[index].per_unit and not self._is_reduction(index))
        return list(self._name_symbols(uses, outside))

    def _levels(self, needed: Iterable[int]) -> dict[int, int]:
        """Count how deeply sums over units are nested in each symbol."""
        level_of: dict[int, int] = {}
        for index in needed:  # operands come first
            operand_levels = [level_of.get(self.index(part), 0) for part in self._parts(self.symbols[index])]
            level_of[index] = max(operand_levels, default=0) + self._is_reduction(index)
        return level_of

    def _operation(self, index: int) -> str:
        return self.symbols[index].operation

    def _is_reduction(self, index: int) -> bool:
        return self._operation(index) in REDUCTIONS.values()

    def _needs_a_name(self, index: int, n_uses: int) -> bool:
        return self._operation(index) == "variable" or n_uses > 1

    def _name_symbols(self, uses: Mapping[int, int], chosen: Iterable[int]) -> Iterator[str]:
        for index in chosen:
            symbol = self.symbols[index]
            if symbol.operation == "variable":
                (self.names[index],) = symbol.operands
                yield f"const real {self.names[index]} = {self.variables[self.names[index]]};"
            else:
                text = self._text(symbol)
                self.names[index] = f"t{index}"
                yield f"const {'bool' if symbol.operation in COMPARISONS else 'real'} t{index} = {text};"

    def _text(self, operand: Any) -> str:
        if isinstance(operand, HostNumber):
            return self._setting(operand)
        if not isinstance(operand, Symbol):
            return self._literal(float(operand))
        index = self.index(operand)
        if index in self.names:
            return self.names[index]
        operation, parts = operand.operation, [self._text(part) for part in operand.operands]
        if operation in FUNCTIONS:
            return f"{self.functions[operation]}({parts[0]})"
        if operation == OVER_SAMPLES or operation in REDUCTIONS.values():
            raise Inexpressible(f"{operation} is not possible within these statements")
        if operation in PATTERNS:
            return PATTERNS[operation].format(*parts)
        return f"({parts[0]} {operation} {parts[1]})"

    def _literal(self, value: float) -> str:
        return literal(value, self.dtype)

    def _setting(self, number: HostNumber) -> str:
        texts = [known.text for known in self.settings]
        if number.text not in texts:
            self.settings.append(number)
            texts.append(number.text)
        return f"settings[{texts.index(number.text)}]"


def indented(text: str, n: int) -> str:
    """Indent lines by ``n`` spaces."""
    return "\n".join(" " * n + line for line in text.splitlines())
