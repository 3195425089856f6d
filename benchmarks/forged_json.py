"""Hostile JSON: values to put anywhere, and text that Python's json module would not write."""

import json
import re

DEEP = 3000


class Raw(str):
    """JSON text that is written unchanged."""


def written(value):
    """Write JSON as gpubp does: sorted keys, no spaces, ASCII; raw text is written unchanged."""
    pieces = []

    def with_marks(value):
        if isinstance(value, Raw):
            pieces.append(value)
            return f"\0raw {len(pieces) - 1}\0"
        if isinstance(value, dict):
            return {key: with_marks(part) for key, part in value.items()}
        return [with_marks(part) for part in value] if isinstance(value, list) else value

    text = json.dumps(with_marks(value), sort_keys=True, separators=(",", ":"))
    return re.sub(r'"\\u0000raw (\d+)\\u0000"', lambda found: pieces[int(found[1])], text)


def count(random, maximum):
    """Draw a number from 1 to ``maximum`` from a log-uniform distribution."""
    return round(maximum ** random.random())


def number(random):
    whole = (0, 1, -1, 2, 3, 255, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**30, 10**4000, -(10**4299))
    broken = (0.1, -0.0, 0.5, 1e22, 1e308, -1e308, 5e-324, 1.0)
    raw = map(
        Raw, ("NaN", "-Infinity", "-0", "1E5", "1.50", "01", "1e999", "1" * 5000, "0." + "1" * 5000, "+1", "0x10")
    )
    return random.choice((*whole, *broken, *raw))


def text(random):
    n = count(random, 20_000)
    return random.choice(
        (
            *(
                "",
                " ",
                "relu",
                "softmax",
                "softmax(2,2)",
                "leaky_relu(1e999)",
                "huber(nan)",
                "relu(1)",
                "elu(-1)",
                "elu()",
            ),
            *(
                "relu\n",
                " relu ",
                "softmax(" + "1," * n,
                "squared",
                "cross_entropy",
                "poisson",
                "exp",
                "RELU",
                "sigmoid",
            ),
            *(f"relu{' ' * n}!", f"leaky_relu({' ' * n}", f"leaky_relu(0.{'1' * n})", "x" * n, "\N{PILE OF POO}" * n),
            *(
                "\x1b[2J\x1b]0;owned\x07\x1b[31m",
                "\x9b31m",
                "\0",
                "a\nb\tc\rd",
                "\u202eevil",
                "\u2028",
                "\x7f",
                "\ud800",
            ),
            *(
                "\udc80\ud83d",
                "<script>alert(1)</script>",
                "'\"><img src=x onerror=alert(1)>",
                "</svg></style>",
                "&lt;",
            ),
            *("[red]a[/red]", "{0.__class__}", "%s%n", "../../../../etc/passwd", "=cmd|' /C calc'!A0", "__class__"),
            *("True", "nan", "1e5", "0x10", "\u0663", "1_000", "iris", "the set iris", "/dev/zero", "9" * 400),
        )
    )


def deep(random):
    n = count(random, DEEP)
    return Raw(random.choice(("[" * n + "]" * n, '{"":' * n + "0" + "}" * n, "[" * n, '[{"a":' * n + "[]" + "}]" * n)))


def value(random, depth=2):
    """Draw a value of any kind."""
    kind = random.randrange(10)
    if kind < 3:
        return number(random)
    if kind < 6:
        return text(random)
    if kind == 6:
        return random.choice(
            (None, True, False, [], {}, Raw(""), Raw("nul"), Raw('{"a":1,"a":2}'), Raw("[1,]"), Raw('"'))
        )
    if kind == 7 or not depth:
        return deep(random)
    if kind == 8:
        inner = value(random, depth - 1)
        return [inner] * (1 if isinstance(inner, Raw | list | dict) else count(random, 3000))
    return {text(random): value(random, depth - 1) for _ in range(count(random, 20))}


def places(tree, path=()):
    """Yield the path of every node in a tree of JSON."""
    yield path
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, part in inner:
        yield from places(part, (*path, key))


def replaced(tree, path, new):
    """Return a copy of a tree with another value at one path."""
    if not path:
        return new
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    copy[path[0]] = replaced(tree[path[0]], path[1:], new)
    return copy


def spoiled(random, tree, times=1):
    """Put hostile values into a tree, remove parts, add parts, or move parts."""
    for _ in range(times):
        paths = [path for path in places(tree) if path]
        if not paths:
            break
        path = random.choice(paths)
        kind = random.randrange(8)
        if kind < 5:
            tree = replaced(tree, path, value(random))
        elif kind == 5:
            other = random.choice(paths)
            tree = replaced(tree, path, at(tree, other))
        else:
            above = at(tree, path[:-1])
            if isinstance(above, dict):
                changed = {key: part for key, part in above.items() if key != path[-1]} if kind == 6 else dict(above)
                changed |= {text(random): value(random)} if kind == 7 else {}
            else:
                changed = [part for place, part in enumerate(above) if place != path[-1]] if kind == 6 else above * 2
            tree = replaced(tree, path[:-1], changed)
    return tree


def at(tree, path):
    for key in path:
        tree = tree[key]
    return tree
