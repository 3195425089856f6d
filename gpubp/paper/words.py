"""Numbers of sweeps and shares of networks, in words."""

import numpy as np

NO_FIGURE = "no figure known"
"""What stands for the paper's figure where none was found in a text that could be checked."""


def in_words(sweeps: float) -> str:
    """Write a number of sweeps.

    Examples
    --------
    >>> in_words(1425.0), in_words(np.inf)
    ('1,425', 'never')
    """
    return f"{sweeps:,.0f}" if np.isfinite(sweeps) else "never"


def share_of(holds: np.ndarray) -> str:
    """Write for which part of some networks something holds.

    Examples
    --------
    >>> share_of(np.asarray([True, False]))
    '50 % of 2'
    """
    return f"{100 * np.mean(holds):.0f} % of {len(holds):,}" if len(holds) else "none to look at"
