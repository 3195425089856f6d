"""Make text from untrusted sources safe to display: no control characters, limited length."""

from collections.abc import Sequence


def escaped(text: str) -> str:
    r"""Escape control characters, so that the text cannot control the terminal.

    Examples
    --------
    >>> escaped("a\nb")
    'a\\nb'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def printable(text: str) -> str:
    """Replace unprintable characters: controls, marks that reverse the text around them, and lone surrogates."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def excerpt(text: str, limit: int = 300) -> str:
    """Return the beginning of a text of any length, escaped by :func:`escaped`.

    Examples
    --------
    >>> excerpt("a" * 1000, 5)
    'aaaaa... (1,000 characters)'
    """
    return escaped(text) if len(text) <= limit else f"{escaped(text[:limit])}... ({len(text):,} characters)"


def brief(error: BaseException, limit: int = 200) -> str:
    """Return the message of a library's exception in one line, or its type; the message may quote parts of a file."""
    return (excerpt(" ".join(str(error).split()), limit) or type(error).__name__).rstrip(".")


def counted(n: int, noun: str, nouns: str = "") -> str:
    """Return a number with its noun, whose plural is `nouns`, or `noun` with an s.

    Examples
    --------
    >>> counted(1, "row"), counted(1000, "row"), counted(2, "category", "categories")
    ('1 row', '1,000 rows', '2 categories')
    """
    return f"{n:,} {noun if n == 1 else nouns or f'{noun}s'}"


def shortened(items: Sequence[str], limit: int = 12) -> str:
    """Join items with commas; of more than ``limit``, show the first ``limit`` and the count.

    Examples
    --------
    >>> shortened(list("abcdefgh"), 3)
    'a, b, c, ... (8 in all)'
    """
    rest = f", ... ({len(items)} in all)" if len(items) > limit else ""
    return ", ".join(items[:limit]) + rest


def size_in_words(n_bytes: int) -> str:
    """Format a number of bytes in the largest unit with at least 1."""
    for exponent, suffix in ((3, "GiB"), (2, "MiB"), (1, "KiB")):
        if n_bytes >= 1024**exponent:
            return f"{n_bytes / 1024**exponent:.1f} {suffix}"
    return f"{n_bytes} bytes"


def number(value: float) -> str:
    """Format a number with about five digits, and very large or small ones with an exponent.

    Examples
    --------
    >>> number(0.97214), number(18957.0671), number(1e-9)
    ('0.9721', '18957', '1e-09')
    """
    if value != 0 and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.4g}"
    return f"{value:.{max(5 - len(str(int(abs(value)))), 0)}f}"
