"""Criteria of the studies allow for the chance of the first weights."""

import math

import numpy as np
import pytest

from gpubp.paper.chance import RARE, between, near, reaches
from gpubp.paper.experiment import Runs
from gpubp.paper.studies import STUDIES

pytestmark = pytest.mark.once


@pytest.mark.parametrize("share", [0.5, 0.95, 0.99])
@pytest.mark.parametrize("n", [20, 100, 1000])
def test_fails_for_at_most_a_rare_share_of_the_samples(n, share):
    fails = [not reaches(share, np.arange(n) < n_held) for n_held in range(n + 1)]
    chances = [math.comb(n, k) * share**k * (1.0 - share) ** (n - k) for k in range(n + 1)]
    assert 0.0 < np.dot(fails, chances) < RARE


def test_a_share_of_one_admits_no_exception():
    assert reaches(1.0, np.ones(20, bool))
    assert not reaches(1.0, np.arange(1000) < 999)
    assert not reaches(0.0, np.zeros(0, bool))


@pytest.mark.parametrize("quantile", [0.05, 0.25, 0.5, 0.95])
@pytest.mark.parametrize("n", [20, 100])
def test_a_quantile_is_between(n, quantile):
    samples = np.random.default_rng(0).random((4000, n))  # the quantile of all is the quantile itself
    missed = np.mean([not low <= quantile <= high for low, high in (between(row, quantile) for row in samples)])
    assert missed < 3.0 * RARE
    if n == 100:
        low, high = between(samples[0], quantile)
        assert high - quantile < 0.35 or quantile > 0.9
        assert quantile - low < 0.35 or quantile < 0.1


def test_a_quantile_that_is_elsewhere_is_not_near():
    values = np.random.default_rng(0).random(1000)
    assert near(values, 0.5, 0.5, 0.0)
    assert not near(values, 0.5, 0.7, 0.1)
    assert near(values, 0.5, 0.52, 0.1)


def test_a_hundred_networks_like_the_thousand_reproduce_symmetry():
    """The shares of done networks and the quartiles are those of the thousand networks in docs/paper.md."""
    quartiles, done, *_ = STUDIES["symmetry"].conditions
    rng = np.random.default_rng(0)

    def sample():
        solved = rng.random(100) < 0.982
        at = (0.0, 0.25, 0.5, 0.75, 0.982, 1.0)
        sweeps = np.interp(rng.random(100), at, (323.0, 1210.0, 2972.0, 7912.0, 30_000.0, 30_000.0))
        return Runs(solved, sweeps, None, np.zeros(100), 0.0, "epochs", 30_000)

    samples = [sample() for _ in range(500)]
    assert sum(not (done.check(None, runs).holds and quartiles.check(None, runs).holds) for runs in samples) <= 2
