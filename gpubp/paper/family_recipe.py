"""Networks that learn the two families, each by a recipe and with its own four held-out cases."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from gpubp.engine.prediction import predict
from gpubp.nn.architectures import with_blocks
from gpubp.nn.initialization import initial_weights
from gpubp.nn.network import Network
from gpubp.optim.first_order import Optimizer, momentum
from gpubp.optim.schedules import PiecewiseConstant
from gpubp.optim.wrappers import decayed
from gpubp.paper import family
from gpubp.paper.study import Callbacks
from gpubp.training.fit import train

N_HELD_OUT = 4
FIRST_SWEEPS = 20
DEAD_ZONE = 0.2


@dataclass(frozen=True)
class Recipe:
    """How the networks are trained; the defaults are the paper's.

    Attributes
    ----------
    scale : float
        First weights are uniform in ``-scale`` to ``scale``. The paper gives 0.3 for symmetry, and none here.
    rates, momenta : (float, float)
        In the first 20 sweeps, and after them.
    shrinkage : float
        The fraction by which each weight shrinks after every change.
    penalty : float
        Alternatively, decay as a part of the error: ``penalty / 2`` times the sum of the squared weights, biases aside.
    loss : str
    reduction : "mean" or "sum"
        Whether gradients are averaged over the cases, not summed.
    batch_size : int or "full"
        Cases between two changes.
    sweeps : int
    """

    scale: float = 0.3
    rates: tuple[float, float] = (0.005, 0.01)
    momenta: tuple[float, float] = (0.5, 0.9)
    shrinkage: float = 0.002
    penalty: float = 0.0
    loss: str = f"dead_zone({DEAD_ZONE})"
    reduction: Literal["mean", "sum"] = "sum"
    batch_size: int | Literal["full"] = "full"
    sweeps: int = 1500

    @property
    def network(self) -> Network:
        """24 units for the person and 12 for the relation, six units for each; 12, 6, and 24 for the answer."""
        plain = Network((36, 12, 12, 6, 24), activation="logistic", output_activation="logistic", loss=self.loss)
        return with_blocks(plain, 1, [(24, 6), (12, 6)])

    @property
    def optimizer(self) -> Optimizer:
        """Eq. (9) in two phases, with decay."""
        rate, alpha = (PiecewiseConstant({0: early, FIRST_SWEEPS: late}) for early, late in (self.rates, self.momenta))
        return decayed(momentum(rate, alpha), self.shrinkage) if self.shrinkage else momentum(rate, alpha)


PRINTED = Recipe()


class Trained(NamedTuple):
    """K networks after training.

    Attributes
    ----------
    theta : (K, P) array
    held_out : (K, 104) array of bool
        The cases that a network was not trained on.
    y : (K, 104, 24) array
        Outputs for all cases.
    sweeps : int
        The number of sweeps done.
    seconds : float
    stop_reason : str
        See :class:`gpubp.Fit`.
    """

    theta: np.ndarray
    held_out: np.ndarray
    y: np.ndarray
    sweeps: int
    seconds: float
    stop_reason: str

    @property
    def right(self) -> np.ndarray:
        """Return which cases each network has right, with every output on the correct side of 0.5: (K, 104)."""
        return self.within(0.5)

    @property
    def ahead(self) -> np.ndarray:
        """Return in which cases the outputs that should be on are higher than all others: (K, 104)."""
        on = family.cases()[1] == 1.0
        ahead: np.ndarray = np.min(self.y, axis=2, where=on, initial=1.0) > np.max(
            self.y, axis=2, where=~on, initial=0.0
        )
        return ahead

    @property
    def fraction_learned(self) -> np.ndarray:
        """Return the fraction of its training cases that each network has right: (K,)."""
        fraction: np.ndarray = np.sum(self.right & ~self.held_out, axis=1) / np.sum(~self.held_out, axis=1)
        return fraction

    @property
    def generalized(self) -> np.ndarray:
        """Count how many of its held-out cases each network has right: (K,)."""
        return self.count_held_out(self.right)

    def within(self, distance: float) -> np.ndarray:
        """Return in which cases every output is less than a distance away from the desired one: (K, 104)."""
        within: np.ndarray = np.all(np.abs(self.y - family.cases()[1]) < distance, axis=2)
        return within

    def count_held_out(self, holds: np.ndarray) -> np.ndarray:
        """Count for how many of its held-out cases something holds: (K,)."""
        counts: np.ndarray = np.sum(holds & self.held_out, axis=1)
        return counts


def first_weights(recipe: Recipe, seeds: Sequence[int]) -> np.ndarray:
    """Draw the first weights of a network for each seed."""
    return initial_weights(recipe.network, seeds, scheme="uniform", scale=recipe.scale)


def held_out_cases(seeds: Sequence[int]) -> np.ndarray:
    """Draw the held-out cases of the network of each seed: (K, 104) of bool."""
    n_cases = len(family.cases()[0])
    held_out = np.zeros((len(seeds), n_cases), dtype=bool)
    for row, seed in zip(held_out, seeds, strict=True):
        row[np.random.default_rng((seed, N_HELD_OUT)).choice(n_cases, N_HELD_OUT, replace=False)] = True
    return held_out


def trained(
    recipe: Recipe,
    seeds: Sequence[int],
    *,
    sweeps: int | None = None,
    device: str = "auto",
    callbacks: Callbacks = (),
) -> Trained:
    """Train a network for each seed, as one stack.

    Parameters
    ----------
    recipe : Recipe
    seeds : sequence of int
        Of a network's first weights and of its held-out cases.
    sweeps : int, optional
        By default, the recipe's own number.

    Returns
    -------
    Trained

    Examples
    --------
    >>> of_two = trained(Recipe(), range(2), sweeps=3, device="cpu")
    >>> of_two.y.shape, of_two.held_out.sum(axis=1).tolist()
    ((2, 104, 24), [4, 4])
    """
    (x, d), held_out = family.cases(), held_out_cases(seeds)
    kept = np.stack([np.flatnonzero(~row) for row in held_out])
    began = time.perf_counter()
    fit = train(
        recipe.network,
        x[kept],
        d[kept],
        theta=first_weights(recipe, seeds),
        optimizer=recipe.optimizer,
        epochs=sweeps or recipe.sweeps,
        batch_size=recipe.batch_size,
        reduction=recipe.reduction,
        l2=recipe.penalty,
        callbacks=callbacks,
        device=device,
    )
    theta, seconds = np.asarray(fit.theta), time.perf_counter() - began
    y = predict(recipe.network, theta, x, device=device)
    return Trained(theta, held_out, y, int(fit.best_epoch), seconds, fit.stop_reason)
