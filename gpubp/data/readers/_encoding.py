"""Find the encoding of a text."""

import codecs
import re

from gpubp.errors import DataError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins with the mark of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CODEC_OF_MARK = {"utf-16": ("utf-16-le", "utf-16-be"), "utf-32": ("utf-32-le", "utf-32-be"), "utf-8-sig": ("utf-8",)}
_SEQUENCE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_NOT_WESTERN = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")

ENCODING_FIX = (
    "name its encoding, such as cp1251: --read encoding=NAME, or read_table(path, encoding=NAME); or save it as UTF-8"
)


def find_encoding(content: bytes, chosen: str | None = None) -> tuple[str, bytes]:
    r"""Return the encoding of a text, and its byte order mark.

    Parameters
    ----------
    content : bytes
        The beginning of the text.
    chosen : str, optional
        The encoding, if the caller knows it.

    Examples
    --------
    >>> find_encoding("a,b".encode("utf-16"))[0], find_encoding(b"K\xf6ln")[0], find_encoding("Köln".encode())[0]
    ('utf-16-le', 'cp1252', 'utf-8')
    """
    mark, marked = next(((mark, name) for mark, name in _MARKS if content.startswith(mark)), (b"", ""))
    if chosen is not None:
        name = codecs.lookup(chosen).name
        codecs_of_mark = _CODEC_OF_MARK.get(name)
        if codecs_of_mark:
            return (marked, mark) if marked in codecs_of_mark else (codecs_of_mark[0], b"")
        return name, mark if name == marked else b""
    if mark:
        return marked, mark
    sample = content[: 1 << 16]
    for first, name in ((1, "utf-16-le"), (0, "utf-16-be")):  # Latin letters have a zero byte
        zeros, others = sample[first::2], sample[1 - first :: 2]
        if len(sample) > 3 and zeros.count(0) > 0.4 * len(zeros) and not others.count(0):
            return name, b""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(content)
    except UnicodeDecodeError:
        return ("cp1252", b"") if is_western(content) else ("utf-8", b"")
    return "utf-8", b""


def is_western(content: bytes) -> bool:
    """Return whether a text that is not UTF-8 may be cp1252, the encoding of Windows for Western Europe."""
    return not (_SEQUENCE.search(content) or _NOT_WESTERN.search(content) or _CONTROL.search(content))


def decode_start(content: bytes, encoding: str, source: str) -> str:
    """Decode the beginning of a text, whose last character may be cut.

    Raises
    ------
    DataError
        If it is not of this encoding.
    """
    try:
        return codecs.getincrementaldecoder(encoding)().decode(content)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        shown = "UTF-8 text" if encoding == "utf-8" else f"text in {encoding}"
        raise DataError(f"{source} is not {shown}, as line {line:,} shows; {ENCODING_FIX}") from None


def refuse_zero_bytes(source: str, block: bytes, n_lines: int) -> None:
    """Raise a DataError that names the line if a block, before which there are `n_lines` lines, has a zero byte."""
    if (place := block.find(b"\0")) >= 0:
        line = n_lines + block.count(b"\n", 0, place) + 1
        raise DataError(f"{source} is not text: line {line:,} has a zero byte; if it is UTF-16, save it as UTF-8")
