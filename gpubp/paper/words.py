"""Numbers of sweeps, shares of networks and other counts as text."""

import numpy as np

NO_FIGURE = "no figure known"
"""Shown for the paper's figure if none was found in a text that could be checked."""

NONE = "–"
"""Shown if there is nothing to report."""


def in_words(sweeps: float) -> str:
    """Format a number of sweeps.

    Examples
    --------
    >>> in_words(1425.0), in_words(np.inf)
    ('1,425', 'never')
    """
    return f"{sweeps:,.0f}" if np.isfinite(sweeps) else "never"


def share_of(holds: np.ndarray) -> str:
    """Format the share of networks for which something holds.

    Examples
    --------
    >>> share_of(np.asarray([True, False]))
    '50 % of 2'
    """
    return f"{100 * np.mean(holds):.0f} % of {len(holds):,}" if len(holds) else "none, for want of any"


def from_to(figures: np.ndarray) -> str:
    """Format the range of some figures, or the one value that they all have.

    Examples
    --------
    >>> from_to(np.asarray([5.0, 13.0])), from_to(np.asarray([1.91, 1.94]))
    ('5 to 13', '1.9')
    """
    low, high = (f"{figure:.2g}" for figure in (np.min(figures), np.max(figures)))
    return low if low == high else f"{low} to {high}"


def seeds_in_words(n_networks: int) -> str:
    """Format the seeds of the first weights of the given number of networks.

    Examples
    --------
    >>> seeds_in_words(1000), seeds_in_words(1)
    ('seeds 0 to 999', 'seed 0')
    """
    return f"seeds 0 to {n_networks - 1:,}" if n_networks > 1 else "seed 0"
