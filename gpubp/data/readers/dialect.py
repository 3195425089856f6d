"""How a text file writes a table, as plain data: the dialect, and the parts of it that a caller has chosen."""

import codecs
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

from gpubp._core.names import unknown
from gpubp.errors import DataError

BLANKS = " "
"""The separator that stands for runs of blanks and tabs."""

_WORDS = {"tab": "\t", r"\t": "\t", "space": " ", "spaces": " ", "blank": " ", "blanks": " ", "none": ""}
_TRUE, _FALSE = ("yes", "true", "1"), ("no", "false", "0", "none")


@dataclass(frozen=True)
class Dialect:
    """How a text file writes a table.

    Attributes
    ----------
    separator : str
        One ASCII character; a blank stands for runs of blanks and tabs.
    decimal : str
        "." or ",".
    thousands : str
        The character between groups of three digits; "" if there is none.
    encoding : str
        The name of a codec of Python.
    quote : str
        The character around fields that hold separators; "" if there is none.
    escape : str
        The character before a quotation mark within a field; "" if quotation marks are doubled.
    comment : str
        Lines that begin with it are left out; "" if there are none.
    header : bool
        Whether a line with the names comes before the rows.
    pads : bool
        Whether blanks follow each separator; they are no part of the fields.
    """

    separator: str = ","
    decimal: str = "."
    thousands: str = ""
    encoding: str = "utf-8"
    quote: str = '"'
    escape: str = ""
    comment: str = ""
    header: bool = True
    pads: bool = False


@dataclass(frozen=True)
class TextOptions:
    """What a caller has chosen about a text file; None for what is found by looking at the file.

    Attributes
    ----------
    separator, decimal, thousands, encoding, quote, comment : str, optional
        See :class:`Dialect`.
    header : bool, optional
        See :class:`Dialect`.
    skip_rows : int, optional
        The number of lines before the header, or before the first row if there is no header.

    Raises
    ------
    DataError
        If a value is not valid.
    """

    separator: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    encoding: str | None = None
    header: bool | None = None
    comment: str | None = None
    skip_rows: int | None = None
    quote: str | None = None

    def __post_init__(self) -> None:
        if self.separator is not None and not (
            len(self.separator) == 1 and self.separator.isascii() and self.separator not in "\"'\r\n\0"
        ):
            raise DataError(f"a separator must be one ASCII character, such as ';', got {self.separator!r}")
        _check_choice("decimal", self.decimal, (".", ","))
        _check_choice("quote", self.quote, ('"', "'", ""))
        for name in ("thousands", "comment"):
            text = getattr(self, name)
            if text is not None and (len(text) > 1 or text.isdigit()):
                raise DataError(f"{name} must be one character, or empty for none, got {text!r}")
        if self.thousands and self.thousands == self.decimal:
            raise DataError(f"thousands and decimal are both {self.thousands!r}; choose two characters")
        if self.encoding is not None:
            try:
                "".encode(codecs.lookup(self.encoding).name)
            except (LookupError, ValueError):
                raise DataError(
                    f"unknown encoding {self.encoding!r}; use a codec of Python, such as utf-8, cp1252 or utf-16"
                ) from None
        if self.skip_rows is not None and self.skip_rows < 0:
            raise DataError(f"skip_rows must be 0 or more, got {self.skip_rows}")

    @property
    def chosen(self) -> dict[str, Any]:
        """The options that are not None."""
        return {field.name: value for field in fields(self) if (value := getattr(self, field.name)) is not None}

    @classmethod
    def parse(cls, settings: Iterable[str], separator: str | None = None) -> "TextOptions":
        r"""Parse texts such as ``"header=no"``, as the command line has them.

        Examples
        --------
        >>> TextOptions.parse(["separator=tab", "skip_rows=2", "header=no"]).chosen
        {'separator': '\t', 'header': False, 'skip_rows': 2}
        """
        names = [field.name for field in fields(cls)]
        values: dict[str, Any] = {} if separator is None else {"separator": _WORDS.get(separator.lower(), separator)}
        for setting in settings:
            name, equals, text = setting.partition("=")
            name = name.strip().replace("-", "_")
            if not equals:
                raise DataError(f"--read takes NAME=VALUE, such as header=no, got {setting!r}")
            if name not in names:
                raise DataError(unknown("--read", name, names))
            values[name] = _parse_value(name, text)
        return cls(**values)

    def apply(self, dialect: Dialect) -> Dialect:
        """Return a dialect with the parts that the caller has chosen."""
        chosen = {name: value for name, value in self.chosen.items() if name != "skip_rows"}
        if "thousands" in chosen and "decimal" not in chosen:
            chosen["decimal"] = "," if self.thousands == "." else "."
        return replace(dialect, **chosen)


def _parse_value(name: str, text: str) -> Any:
    if name == "skip_rows":
        if not text.strip().isdecimal():
            raise DataError(f"skip_rows must be a whole number, got {text!r}")
        return int(text)
    if name == "header":
        word = text.strip().lower()
        if word not in _TRUE + _FALSE:
            raise DataError(f"header must be yes or no, got {text!r}")
        return word in _TRUE
    return _WORDS.get(text.strip().lower(), text) if text != " " else text


def _check_choice(name: str, value: str | None, choices: tuple[str, ...]) -> None:
    if value is not None and value not in choices:
        shown = " or ".join(repr(choice) if choice else "empty for none" for choice in choices)
        raise DataError(f"{name} must be {shown}, got {value!r}")
