"""Find a learning rate: one network, trained with many rates at once."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from gpubp._core.counts import is_count
from gpubp.backends.inputs import accept_on_host, as_numbers
from gpubp.errors import DataError, DivergenceWarning
from gpubp.nn.network import Network
from gpubp.optim.first_order import Optimizer, adam
from gpubp.training.fit import train


class LearningRates(NamedTuple):
    """The losses after a few epochs with each learning rate.

    Attributes
    ----------
    rates : (K,) array
    loss : (K,) array
        The validation loss, if there were validation data, else that of the last epoch; NaN where training diverged.
    epochs : int
        Epochs trained.
    best : float
        The rate with the smallest loss.
    """

    rates: np.ndarray
    loss: np.ndarray
    epochs: int
    best: float


def find_learning_rate(
    network: Network,
    X: Any,
    targets: Any,
    *,
    optimizer: Callable[[Any], Optimizer] = adam,
    rates: Sequence[float] | None = None,
    epochs: int = 5,
    seed: int = 0,
    **options: Any,
) -> LearningRates:
    """Train a network for a few epochs with each of many learning rates, and return the losses.

    All start from the same parameters and see the same batches: they are one stack, which takes little longer than one
    network. :func:`gpubp.plotting.learning_rate_curve` draws the result. The best rate of a few epochs is often a
    little large for a long training; a schedule or half of it is a common choice.

    Parameters
    ----------
    network : Network
    X, targets
        See :func:`gpubp.train`.
    optimizer : callable
        Takes a learning rate and returns an optimizer: ``gpubp.adam``, ``lambda rate: gpubp.momentum(rate, 0.9)``.
    rates : sequence of float, optional
        By default 25 from 1e-5 to 10.
    epochs : int
    seed : int
        Of the initial parameters and of the order of the samples.
    **options
        Those of :func:`gpubp.train`: ``batch_size``, ``validation_data``, ``l2``, ``device``, ...

    Returns
    -------
    LearningRates

    Raises
    ------
    DataError
        If the rates are not positive numbers, training diverges with each of them, or an option is invalid; ``theta``,
        ``history``, ``checkpoint`` and ``resume`` are none of its options.
    KeyboardInterrupt
        If Ctrl-C comes in the first epoch; later, the losses so far are returned.

    Examples
    --------
    >>> import gpubp
    >>> digits = gpubp.load_dataset("digits")
    >>> network = gpubp.Network((64, 20, 10), loss="cross_entropy")
    >>> found = gpubp.find_learning_rate(
    ...     network, digits.X[:500], digits.targets[:500], rates=[1e-5, 1e-2, 10.0], batch_size=50, device="cpu"
    ... )
    >>> found.best, found.loss.shape
    (0.01, (3,))
    """
    given = np.geomspace(1e-5, 10.0, 25) if rates is None else np.asarray(accept_on_host("rates", rates))
    tried = as_numbers("rates", given).astype(float)
    if tried.ndim != 1 or not len(tried) or not np.all(np.isfinite(tried)) or np.any(tried <= 0.0):
        raise DataError(f"rates must be finite numbers above 0, got {rates!r}")
    if not is_count(epochs):
        raise DataError(f"epochs must be a whole number of at least 1, got {epochs!r}")
    if not is_count(seed, 0):
        raise DataError(f"seed must be one whole number of at least 0, got {seed!r}")
    if "theta" in options:
        raise DataError("find_learning_rate draws the initial parameters from seed; pass seed instead of theta")
    if refused := [name for name in ("history", "checkpoint", "resume") if name in options]:
        raise DataError(f"find_learning_rate takes no {', '.join(refused)}; leave out, or pass to gpubp.train")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DivergenceWarning)  # some rates are meant to be too large
        fit = train(
            network,
            X,
            targets,
            optimizer=optimizer(tried[:, None]),
            epochs=epochs,
            seed=[seed] * len(tried),
            **options,
        )
    if fit.stop_reason == "interrupted" and not fit.history.loss:
        raise KeyboardInterrupt("interrupted before the first epoch ended, so no rate has a loss")
    losses = fit.history.validation_loss or fit.history.loss
    last = losses[-1] if losses else np.full(len(tried), np.nan)  # all may have diverged in the first epoch
    loss = np.where(fit.diverged | ~np.isfinite(last), np.nan, last)
    if np.all(np.isnan(loss)):
        raise DataError(f"training diverged with every rate from {tried.min():g} to {tried.max():g}; pass smaller ones")
    return LearningRates(tried, loss, epochs, float(tried[np.nanargmin(loss)]))
