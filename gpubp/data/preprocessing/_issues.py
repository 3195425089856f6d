"""The values of a table that do not fit its columns, in words."""

from collections.abc import Sequence

from gpubp._core.text import excerpt
from gpubp.data.preprocessing._transform import Issue

PROBLEMS = {
    "missing": "missing, as none was in training",
    "unreadable": "not of the column's type, and taken as missing",
    "unseen": "not among the categories of training",
    "outside": "outside the range of the training rows",
}
"""Problems of values, in words."""

MOST_SHOWN = 6
"""Problems in a sentence."""


def issue_in_words(issue: Issue, n_rows: int) -> str:
    """Describe the values of a column that have one of `PROBLEMS`."""
    verb = "is" if issue.n == 1 else "are"
    share = f"{issue.n:,} of {n_rows:,} values {verb} {PROBLEMS[issue.problem]}"
    return f"column {excerpt(issue.column, 60)!r}: {share} (first in {issue.example})"


def issues_in_words(issues: Sequence[Issue], n_rows: int) -> str:
    """Describe the values of several columns of a table that have one of `PROBLEMS`; "" if there are none.

    Examples
    --------
    >>> issues_in_words([Issue("area", "unreadable", 1, "row 17: 'about 90'")], 200)
    "column 'area': 1 of 200 values is not of the column's type, and taken as missing (first in row 17: 'about 90')"
    """
    shown = "; ".join(issue_in_words(issue, n_rows) for issue in issues[:MOST_SHOWN])
    return shown + (f"; ... ({len(issues):,} in all)" if len(issues) > MOST_SHOWN else "")
