"""The common interface of all studies of the paper's claims, and of their findings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

Callbacks = tuple[Callable[[Any], Any], ...]
"""Callbacks of training."""


class Fact(NamedTuple):
    """A statement of the paper, and the finding."""

    what: str
    paper: str
    found: str


Reached = Literal["reproduced", "partly", "not reproduced", "undecided"]


class Verdict(NamedTuple):
    """Whether the claim held, by the criterion that the study named beforehand, and why."""

    reached: Reached
    why: str


ENOUGH = 20
"""With fewer networks, no verdict is given."""


def if_enough_networks(n_networks: int, verdict: Verdict) -> Verdict:
    """Leave a claim undecided if there are too few networks to judge it.

    Examples
    --------
    >>> if_enough_networks(3, Verdict("reproduced", "3 of 3 networks done")).why
    '3 of 3 networks done; a verdict takes 20 networks'
    """
    if n_networks >= ENOUGH:
        return verdict
    return Verdict("undecided", f"{verdict.why}; a verdict takes {ENOUGH} networks")


class StudyTable(NamedTuple):
    """A study's own figures, as text; the first ``n_text`` columns are words, the rest are numbers."""

    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    n_text: int = 1


class StudyPicture(NamedTuple):
    """A picture of the findings: its name, and what is drawn, as arrays, numbers and text."""

    name: str
    caption: str
    data: Mapping[str, Any]


class StudyDrawing(NamedTuple):
    """How a picture is drawn: by ``draw(ax, **data)``, in a size in inches."""

    draw: Callable[..., Any]
    size: tuple[float, float] = (6.4, 3.4)


@dataclass(frozen=True, eq=False)
class Findings:
    """The results of K networks.

    Attributes
    ----------
    setting : str
        What was trained and how: networks, first weights, seeds and rule, in a line.
    limit : int
        The maximum number of sweeps of a network.
    solved : (K,) array of bool
        Which were done in time; K is 0 if a study compares several groups, described in its tables.
    sweeps : (K,) array of int, or None
        The number of sweeps until done, or of all sweeps; None if all networks are trained to the end and judged then.
    seconds : float
        The time of all networks.
    stop_reason : str
        See :class:`gpubp.Fit`; after "interrupted", the rest describes the results until then.
    verdict : Verdict
    facts : list of Fact
    pictures : tuple of StudyPicture
    tables : tuple of StudyTable
    done : str
        The description of networks that are solved.
    reported : int, optional
        The sweeps that the paper or the chapter reports, if ``sweeps`` are to be compared with them.
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
    reported: int | None = None


def quartiles(solved: np.ndarray, sweeps: np.ndarray) -> tuple[float, float, float]:
    """Find after how many sweeps a quarter, a half and three quarters of networks were done; infinity means never.

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
        """The name on the command line."""
        ...

    @property
    def title(self) -> str:
        """What the networks should learn."""
        ...

    @property
    def says(self) -> str:
        """What the paper, or the chapter, reports."""
        ...

    @property
    def criterion(self) -> str:
        """The criterion for the claim to count as reproduced, stated before anything runs."""
        ...

    @property
    def sweeps(self) -> int:
        """The maximum number of sweeps of a network."""
        ...

    @property
    def drawings(self) -> Mapping[str, StudyDrawing]:
        """How its pictures are drawn, by their names."""
        ...

    def run(
        self,
        n_networks: int = 1000,
        *,
        sweeps: int | None = None,
        device: str = "auto",
        callbacks: Callbacks = (),
    ) -> Findings:
        """Train the given number of networks, each from its own first weights, and judge the results."""
        ...
