"""What a number of first weights can tell: a claim about all of them fails only beyond what chance explains."""

from math import exp, lgamma, log

import numpy as np

RARE = 0.001
"""A condition that is true of all first weights fails for at most about this share of the choices of them."""

ALLOWED = "each condition allows for the chance of the first weights, up to one study in 1,000"


def reaches(share: float, holds: np.ndarray) -> bool:
    """Tell whether a property may hold for a share of all networks, by the networks of a sample that have it.

    It may not if so few of the sample would have it by chance for fewer than ``RARE`` of the samples.

    Parameters
    ----------
    share : float
        In 0 to 1.
    holds : ndarray, shape (n,)
        Whether each network has the property.

    Returns
    -------
    bool
        False for no networks at all.

    Examples
    --------
    >>> reaches(0.95, np.arange(100) < 91), reaches(0.95, np.arange(1000) < 910)
    (True, False)
    """
    n = len(holds)
    return n > 0 and bool(_at_most(n, share)[int(np.sum(holds))] >= RARE)


def between(values: np.ndarray, quantile: float) -> tuple[float, float]:
    """Find the order statistics that have a quantile of all networks between them, for all but ``RARE`` of the samples.

    Parameters
    ----------
    values : ndarray, shape (n,)
    quantile : float
        In 0 to 1.

    Returns
    -------
    tuple of float
        The lowest and the highest value that the quantile may have; infinite where the sample is too small to tell.

    Notes
    -----
    The number of values below a quantile has a binomial distribution, whatever that of the values is (H. A. David and
    H. N. Nagaraja, *Order Statistics*, 2003, section 7.1).

    Examples
    --------
    >>> between(np.arange(1000.0), 0.5)
    (447.0, 552.0)
    """
    n = len(values)
    ordered = np.concatenate([[-np.inf], np.sort(values), [np.inf]])  # ordered[k] is the k-th smallest
    below = _at_most(n, quantile)
    low = int(np.searchsorted(below, RARE / 2.0))
    high = int(np.searchsorted(below, 1.0 - RARE / 2.0)) + 1
    return float(ordered[low]), float(ordered[high])


def near(values: np.ndarray, quantile: float, wanted: float, tolerance: float) -> bool:
    """Tell whether a quantile of all networks may be within a relative tolerance of a figure, by those of a sample.

    Examples
    --------
    >>> near(np.arange(1000.0), 0.5, 600.0, 0.1), near(np.arange(1000.0), 0.5, 640.0, 0.1)
    (True, False)
    """
    low, high = between(values, quantile)
    return low <= (1.0 + tolerance) * wanted and high >= (1.0 - tolerance) * wanted


def _at_most(n: int, share: float) -> np.ndarray:
    """Return the probabilities of at most 0, 1, ..., n successes in n trials."""
    if share in (0.0, 1.0):
        return np.arange(n + 1) >= share * n
    logs = [
        lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) + k * log(share) + (n - k) * log(1.0 - share)
        for k in range(n + 1)
    ]
    probabilities: np.ndarray = np.minimum(np.cumsum([exp(each) for each in logs]), 1.0)
    return probabilities
