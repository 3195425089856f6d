"""A fit that is ready to train: its options, its state, its network and its samples."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpubp._core.user_warnings import warn
from gpubp.backends.backend import Backend
from gpubp.estimators._fit_state import FitState
from gpubp.estimators._options import FitOptions
from gpubp.estimators._targets import TargetCoding
from gpubp.nn.network import Network, views


@dataclass(eq=False)
class EstimatorFit:
    """A fit that is ready to train.

    Attributes
    ----------
    options, state, coding
        The parameters of the estimator, its figures, and its encoding of targets.
    network, dropout_rates
        The network to train.
    backend, precision
        The device and the precision.
    random_state : RandomState
        For all further draws.
    theta : (P,) array of NumPy
        The initial parameters.
    x : array
        The validated X. Fits with the same object share one copy on the device.
    rows : array of int
        The rows of x that belong to this fit, including those that it may hold out.
    targets : (n, j) array of NumPy
        The targets of these rows.
    weights, train_weights : (n,) arrays of NumPy, or None
        The sample weights of the user, and those used in training.
    publish : callable
        Sets the given attributes on the estimator.
    fitted : callable
        Returns a copy of the estimator with the given attributes.
    """

    options: FitOptions
    state: FitState
    coding: TargetCoding
    network: Network
    dropout_rates: tuple[float, ...]
    backend: Backend
    precision: str
    random_state: np.random.RandomState
    theta: np.ndarray
    x: Any
    rows: np.ndarray
    targets: np.ndarray
    weights: np.ndarray | None
    train_weights: np.ndarray | None
    publish: Callable[[dict[str, Any]], None]
    fitted: Callable[[dict[str, Any]], Any]

    # --- the fitted attributes ---

    def publish_all(self) -> None:
        """Write the state to the estimator, with new weights if there are any."""
        theta = self.state.theta
        weights = {} if theta is None else weights_of(self.network, theta)
        self.publish({**weights, **self.state.attributes()})

    def publish_figures(self) -> None:
        """Write the state to the estimator, without the weights."""
        self.publish(self.state.attributes())

    def fitted_copy(self, theta: np.ndarray) -> Any:
        """Return a copy of the estimator with these parameters."""
        return self.fitted(weights_of(self.network, theta))

    def batch_size(self, n_samples: int, *, warns: bool = False) -> int:
        """Return the batch size for `n_samples` training samples; ``warns`` warns if it is clipped."""
        if warns and self.options.clips_batch_size(n_samples):
            warn("Got `batch_size` less than 1 or larger than sample size. It is going to be clipped")
        return self.options.samples_in_a_step(n_samples)


def weights_of(network: Network, theta: np.ndarray) -> dict[str, Any]:
    """Return the fitted attributes that hold the weights and the biases."""
    blocks = views(np, network, theta)
    return {
        "coefs_": [block[:-1].copy() for block in blocks],
        "intercepts_": [block[-1].copy() for block in blocks],
    }
