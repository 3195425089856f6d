"""Texts of a table in a graph: regular expressions of RE2 that agree with how gpubp reads texts.

No operator that needs a locale is used (StringNormalizer does), so that a graph gives the same everywhere.
"""

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

import numpy as np

from gpubp.data.preprocessing import BOOL_WORDS, MISSING_TEXTS, lowered
from gpubp.io.onnx._graph import TEXT, Graph

BLANK = r"[\t-\r\x1c-\x20\x85\xa0\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]"
"""The characters that ``str.strip`` removes."""

WORD = r"\pL\pN_"
"""The characters of Python's ``\\w``."""


def is_missing(graph: Graph, x: str, missing: Sequence[str]) -> str:
    """Return whether texts mean a missing value: one of `MISSING_TEXTS` or of `missing`."""
    texts = dict.fromkeys(text for text in (*MISSING_TEXTS, *missing) if text == text.strip())
    return graph.node("RegexFullMatch", x, pattern=_amid_blanks(map(re.escape, texts)))


def add_bool_forms(graph: Graph, x: str, missing: Sequence[str]) -> str:
    """Return "True" and "False" for the words of these, in any case, and other texts for what is missing."""
    forms = x
    for form, words, number in (("True", BOOL_WORDS[0], "1"), ("False", BOOL_WORDS[1], "0")):
        letters = ["".join(f"[{letter}{letter.upper()}]" for letter in word) for word in words]
        is_form = graph.node("RegexFullMatch", x, pattern=_amid_blanks([*letters, rf"{number}(?:\.0)?"]))
        forms = graph.node("Where", is_form, graph.constant(np.asarray(form, TEXT)), forms)
    return graph.node("Where", is_missing(graph, x, missing), graph.constant(np.asarray("", TEXT)), forms)


def word_pattern(word: str) -> str:
    """Return the expression that matches a text with this word, as :func:`words_of` finds it."""
    letters = "".join(f"[{''.join(_letters().get(letter, [letter]))}]" for letter in word)
    return f"(?s)(?:.*[^{WORD}])?{letters}(?:[^{WORD}].*)?"


@cache
def _letters() -> Mapping[str, Sequence[str]]:
    """Return the characters that lower case makes each letter of, where there are several."""
    characters = "".join(map(chr, range(sys.maxunicode + 1)))
    found: dict[str, list[str]] = {}
    for character, letter in zip(characters, lowered(characters), strict=True):
        if character != letter:
            found.setdefault(letter, [letter]).append(character)
    return found


def _amid_blanks(expressions: Iterable[str]) -> str:
    return f"{BLANK}*(?:{'|'.join(expressions)}){BLANK}*"
