"""What a study of one of the paper's claims is, and what it finds: the same for all of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Fact(NamedTuple):
    """One thing that the paper says, and what was found."""

    what: str
    paper: str
    found: str


Reached = Literal["reproduced", "partly", "not reproduced", "undecided"]


class Verdict(NamedTuple):
    """Whether the claim held, by the criterion that the study named beforehand, and why."""

    reached: Reached
    why: str


ENOUGH = 20
"""From fewer networks nothing is concluded."""


def of_enough(n_networks: int, verdict: Verdict) -> Verdict:
    """Leave a claim undecided if there are too few networks to judge it.

    Examples
    --------
    >>> of_enough(3, Verdict("reproduced", "3 of 3 networks done")).why
    '3 of 3 networks done; a verdict takes 20 networks'
    """
    if n_networks >= ENOUGH:
        return verdict
    return Verdict("undecided", f"{verdict.why}; a verdict takes {ENOUGH} networks")


class StudyTable(NamedTuple):
    """Figures of a study's own, as text; the first ``n_text`` columns are words, the rest are numbers."""

    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    n_text: int = 1


class StudyPicture(NamedTuple):
    """A picture of the findings, drawn on request; the name is that of its file."""

    name: str
    caption: str
    draw: "Callable[[Axes], Any]"


@dataclass(frozen=True, eq=False)
class Findings:
    """What became of K networks.

    Attributes
    ----------
    setting : str
        What was trained and how: networks, first weights, seeds and rule, in a line.
    limit : int
        How many sweeps a network had at most.
    solved : (K,) array of bool
        Which were done in time; K is 0 if a study compares several groups, described in its tables.
    sweeps : (K,) array of int, or None
        After how many sweeps, or how many they had; None where all are trained to the end, and looked at only then.
    seconds : float
        For all of them.
    stop_reason : str
        See :class:`gpubp.Fit`; after "interrupted" the rest is of what there was.
    verdict : Verdict
    facts : list of Fact
    pictures : tuple of StudyPicture
    tables : tuple of StudyTable
    done : str
        What is said of networks that are solved.
    """

    setting: str
    limit: int
    solved: np.ndarray
    sweeps: np.ndarray | None
    seconds: float
    stop_reason: str
    verdict: Verdict
    facts: list[Fact]
    pictures: tuple[StudyPicture, ...] = ()
    tables: tuple[StudyTable, ...] = ()
    done: str = "done"


def quartiles(solved: np.ndarray, sweeps: np.ndarray) -> tuple[float, float, float]:
    """Find after how many sweeps a quarter, a half and three quarters of networks were done; infinity where never.

    Examples
    --------
    >>> quartiles(np.asarray([True, True, False]), np.asarray([10, 20, 99]))
    (10.0, 20.0, inf)
    """
    first, median, third = np.quantile(np.where(solved, sweeps, np.inf), (0.25, 0.5, 0.75), method="inverted_cdf")
    return float(first), float(median), float(third)


class Study(Protocol):
    """A claim, and a way to test it on many networks at once."""

    @property
    def name(self) -> str:
        """What it is called on the command line."""
        ...

    @property
    def title(self) -> str:
        """What the networks are to learn."""
        ...

    @property
    def says(self) -> str:
        """What the paper, or the chapter, reports."""
        ...

    @property
    def criterion(self) -> str:
        """What must be found for the claim to count as reproduced: named before anything runs."""
        ...

    @property
    def sweeps(self) -> int:
        """How many sweeps a network has at most."""
        ...

    def run(
        self,
        n_networks: int = 1000,
        *,
        sweeps: int | None = None,
        device: str = "auto",
        callbacks: tuple[Callable[[Any], Any], ...] = (),
    ) -> Findings:
        """Train the given number of networks, each from its own first weights, and judge the results."""
        ...
