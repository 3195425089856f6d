"""Text from outside, made fit to be shown: nothing in it steers a terminal, and none is longer than its reader."""


def plain(text: str) -> str:
    r"""Show control characters as escapes, so that no text from outside can steer the terminal.

    Examples
    --------
    >>> plain("a\nb")
    'a\\nb'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def brief(text: str, most: int = 300) -> str:
    """Show the beginning of a text that may be of any length, as :func:`plain` does.

    Examples
    --------
    >>> brief("a" * 1000, 5)
    'aaaaa... (1,000 characters)'
    """
    return plain(text) if len(text) <= most else f"{plain(text[:most])}... ({len(text):,} characters)"


def size_in_words(n_bytes: int) -> str:
    """Write a number of bytes in the largest unit that leaves something before the point."""
    for exponent, unit in ((3, "GiB"), (2, "MiB"), (1, "KiB")):
        if n_bytes >= 1024**exponent:
            return f"{n_bytes / 1024**exponent:.1f} {unit}"
    return f"{n_bytes} bytes"
