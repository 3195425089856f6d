"""Dates and times as people write them, as seconds since 1970."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from gpubp.data._quantities import MOST
from gpubp.data._text_values import datetime_form, datetime_utc_form

ISO = "ISO 8601"
"""The format of dates in data frames and Parquet files."""

_DAYS = (
    *("%m/%d/%Y", "%d/%m/%Y", "%m/%d/%y", "%d/%m/%y", "%d.%m.%Y", "%d.%m.%y", "%m-%d-%Y", "%d-%m-%Y"),
    *(
        "%Y/%m/%d",
        "%Y.%m.%d",
        "%d. %b %Y",
        "%d. %B %Y",
        "%d %b %Y",
        "%d %B %Y",
        "%b %d, %Y",
        "%B %d, %Y",
        "%d-%b-%Y",
        "%d-%b-%y",
        "%Y-%b-%d",
    ),
    *("%a %b %d %Y", "%b %d %Y", "%B %d %Y"),
)
_TIMES = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p", "T%H:%M:%S")
_OTHERS = ("%Y-%m", "%Y/%m", "%m/%Y", "%m-%Y", "%b %Y", "%B %Y", "%b-%Y", "%Y%m%d", "%Y%m%dT%H%M%S")
_ISO_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,6})?)?", re.ASCII)  # how times of a frame are written
TIMES_OF_DAY = ("%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%I:%M %p", "%I:%M:%S %p")
"""Formats of times without a date, which are read as times of January 1, 1970."""

FORMATS = (ISO, *(day + time for day in _DAYS for time in _TIMES), *_OTHERS, *TIMES_OF_DAY)
"""Formats that are tried in this order, so that 1/2/2020 is January 2 unless the column has a day above 12 there."""

_SAMPLE, _FEW = 1000, 20  # texts that a format is tried on, and those of which it must read one to be tried on all
_DIGIT = re.compile(r"\d")
_LONGEST = 64  # characters of a date
SECONDS_OF_DAY = 86400.0


def read_date(text: str, date_format: str) -> float | None:
    """Return the seconds since 1970 of a date, in UTC if it has a time zone; None for other text.

    Examples
    --------
    >>> read_date("1970-01-02", ISO), read_date("2/1/1970", "%d/%m/%Y"), read_date("soon", ISO)
    (86400.0, 86400.0, None)
    """
    if len(text) > _LONGEST:
        return None
    if date_format == ISO:
        form = datetime_form(text) or datetime_utc_form(text)
        if form is None:
            return None
        when = datetime.fromisoformat(form.removesuffix("Z"))
    else:
        is_time = date_format in TIMES_OF_DAY
        try:
            when = datetime.strptime(text.strip(), date_format)
        except ValueError:
            if not is_time or not _ISO_TIME.fullmatch(text.strip()):
                return None
            when = datetime.fromisoformat(f"1970-01-01T{text.strip()}")
        if is_time:
            when = when.replace(year=1970)
    return when.replace(tzinfo=UTC).timestamp()


def find_date_format(counts: Mapping[str, int], least: float = MOST) -> str | None:
    """Return the format in which most values of a column are dates; None if there is none.

    Parameters
    ----------
    counts : mapping of str to int
        How often each text occurs, without missing values.
    least : float
        The share of the values that must be dates in this format.

    Examples
    --------
    >>> find_date_format({"1/2/2020": 1, "25/2/2020": 1, "3/2/2020": 1})
    '%d/%m/%Y'
    """
    sample = list(counts)[:: -(-len(counts) // _SAMPLE) or 1]
    n_total = sum(counts[text] for text in sample)
    sample = [text for text in sample if _DIGIT.search(text)]
    if not sample or sum(counts[text] for text in sample) < least * n_total:
        return None
    few = sample[:: -(-len(sample) // _FEW)]
    separators = set(map(_separators, few))
    best, n_best = None, 0
    for date_format in FORMATS:
        if date_format != ISO and _separators(re.sub("%.", "0", date_format)) not in separators:
            continue  # strptime would compile a regular expression for it
        if all(read_date(text, date_format) is None for text in few):
            continue
        n = sum(counts[text] for text in sample if read_date(text, date_format) is not None)
        if n > n_best:
            best, n_best = date_format, n
        if n == n_total:
            break
    return best if n_best >= least * n_total else None


def _separators(text: str) -> frozenset[str]:
    return frozenset(" " if character.isspace() else character for character in text.strip() if not character.isalnum())


def date_parts(seconds: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Return days since 1970, and the month, weekday and hour as angles in radians; NaN where missing.

    Examples
    --------
    >>> parts = date_parts(np.asarray([86400.0 * 31.5]))
    >>> {name: float(values[0].round(3)) for name, values in parts.items()}
    {'days': 31.5, 'month': 0.524, 'weekday': 5.386, 'hour': 3.142}
    """
    days = np.floor(seconds / SECONDS_OF_DAY)
    dates = np.where(np.isnan(days), 0.0, days).astype("datetime64[D]")
    months = dates.astype("datetime64[M]").astype(np.int64) % 12
    circle = 2.0 * np.pi
    parts = {
        "days": seconds / SECONDS_OF_DAY,
        "month": circle * months / 12.0,
        "weekday": circle * ((days + 3.0) % 7.0) / 7.0,  # January 1, 1970 was a Thursday
        "hour": circle * (seconds / SECONDS_OF_DAY - days),
    }
    return {name: np.where(np.isnan(seconds), np.nan, values) for name, values in parts.items()}
