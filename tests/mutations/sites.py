"""Where faults can be planted in a source, and what they change: operators, constants, indices, terms, conditions."""

import ast
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

OTHER_OPERATOR = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
# code that computes nothing: messages of errors, types
PASSED_OVER = (ast.Raise, ast.Import, ast.ImportFrom, ast.JoinedStr, ast.Assert)


class Mutation(NamedTuple):
    """A replacement of a part of a file's text; ``start`` and ``end`` count bytes.

    ``nth`` tells mutations of one file apart that are the same but for their places.
    """

    path: str
    line: int
    nth: int
    start: int
    end: int
    kind: str
    before: str
    after: str

    @property
    def last_line(self) -> int:
        """Return the line in which the part ends."""
        return self.line + self.before.count("\n")

    def apply(self, source: bytes) -> bytes:
        """Return the text with the fault."""
        assert source[self.start : self.end] == self.before.encode()
        return source[: self.start] + self.after.encode() + source[self.end :]


def mutations(path: str, source: bytes) -> list[Mutation]:
    """Return all mutations of a source, in the order of their places."""
    tree, starts = ast.parse(source), [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found = []
    for node in _computing(tree):
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[node.end_lineno - 1] + node.end_col_offset
        before = source[start:end].decode()
        for kind, changed in _changes(node):
            # in parentheses, since its own precedence may differ
            after = f"({ast.unparse(changed)})"
            found.append(Mutation(path, node.lineno, 0, start, end, kind, before, after))
    found.sort(key=lambda mutation: mutation[3:])
    seen = Counter()
    for k, mutation in enumerate(found):
        seen[mutation[5:]] += 1
        found[k] = mutation._replace(nth=seen[mutation[5:]])
    return found


def _computing(node: ast.AST) -> Iterator[ast.expr]:
    """Yield the expressions that compute something."""
    if isinstance(node, PASSED_OVER) or (isinstance(node, ast.keyword) and node.arg == "strict"):
        return  # strict=True checks what is true by construction
    if isinstance(node, ast.expr):
        yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "bases", "decorator_list", "type_params"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _computing(child)


def _changes(node: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    match node:
        case ast.BinOp(left, operator, right):
            other, of_texts = OTHER_OPERATOR.get(type(operator)), ast.JoinedStr | ast.List | ast.Tuple
            if other and not isinstance(left, of_texts) and not isinstance(right, of_texts):
                yield "operator", ast.BinOp(left, other(), right)
            if isinstance(operator, ast.Sub | ast.Div | ast.FloorDiv | ast.Pow | ast.MatMult):
                yield "operands", ast.BinOp(right, operator, left)
            if isinstance(operator, ast.Add | ast.Sub | ast.Mult | ast.Div):
                yield "missing term", left
        case ast.UnaryOp(ast.USub() | ast.Not(), operand):
            yield "sign" if isinstance(node.op, ast.USub) else "condition", operand
        case ast.Compare(left, [operator], [right]) if other := OTHER_OPERATOR.get(type(operator)):
            yield "condition", ast.Compare(left, [other()], [right])
        case ast.BoolOp(operator, values):
            yield "condition", ast.BoolOp(OTHER_OPERATOR[type(operator)](), values)
        case ast.IfExp(test, body, orelse):
            yield "condition", ast.IfExp(test, orelse, body)
        case ast.Constant(bool(value)):
            yield "constant", ast.Constant(not value)
        case ast.Constant(int(value) | float(value)):
            yield "constant", ast.Constant(value + 1)
        case ast.Subscript(_, ast.Slice(lower, upper, step)) if lower or upper:
            yield "index", ast.Subscript(node.value, ast.Slice(upper, lower, step), node.ctx)
