"""A fit that is ready to train: its options, its state, its network and its samples."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpubp._core.user_warnings import warn
from gpubp.backends.backend import Backend
from gpubp.engine.plain.dropout import Rate
from gpubp.estimators._fit_state import FitState
from gpubp.estimators._options import FitOptions
from gpubp.estimators._targets import TargetCoding
from gpubp.nn.network import Network, flatten, views

_MOST_ROWS = 1000  # of which the scale is computed


@dataclass(eq=False)
class EstimatorFit:
    """A fit that is ready to train.

    Attributes
    ----------
    options, state, coding
        The parameters of the estimator, its figures, and its encoding of targets.
    network, ..., train_weights
        See :class:`gpubp.training.stackable.StackableFit`.
    publish : callable
        Sets the given attributes on the estimator.
    fitted : callable
        Returns a copy of the estimator with the given attributes.
    """

    options: FitOptions
    state: FitState
    coding: TargetCoding
    network: Network
    dropout_rates: tuple[Rate, ...]
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
    """Return the fitted attributes that hold the weights and the biases: views of one array, as parameters are."""
    blocks = views(np, network, theta if theta.base is None else theta.copy())
    return {"coefs_": [block[:-1] for block in blocks], "intercepts_": [block[-1] for block in blocks]}


@np.errstate(all="ignore")
def scaling_of(fit: EstimatorFit) -> str:
    """Return advice to scale samples on the host and targets, "" if their root mean squares are near 1."""
    known: list[tuple[str, Any]] = [("X (StandardScaler)", fit.x)] if type(fit.x) is np.ndarray else []
    if not fit.coding.is_classifier and fit.network.loss != "poisson":
        known.append(("y (TransformedTargetRegressor)", fit.targets))
    far = []
    for name, array in known:
        some = array[:: len(array) // _MOST_ROWS + 1].astype(float)
        largest = np.sqrt(np.max(np.mean(some * some, axis=0)))  # of the columns, of which some may be rare indicators
        if not 0.1 <= largest <= 10.0:
            far.append(name)
    return f"scale {' and '.join(far)}" if far else ""


def sizes_of(coefs: Sequence[Any], intercepts: Sequence[Any]) -> list[int]:
    """Return the sizes of the layers of fitted weights and biases, which the user may have changed.

    Raises
    ------
    ValueError
        If the shapes of the layers do not fit each other.
    """
    if len(coefs) != len(intercepts) or not len(coefs):
        raise ValueError(f"coefs_ has {len(coefs)} layers and intercepts_ {len(intercepts)}: one of each per layer")
    sizes = [*np.shape(coefs[0])[:1]]
    for k, shapes in enumerate((np.shape(w), np.shape(b)) for w, b in zip(coefs, intercepts, strict=True)):
        if len(shapes[0]) != 2 or shapes != ((sizes[-1], shapes[0][1]), shapes[0][1:]):
            raise ValueError(
                f"coefs_[{k}] of shape {shapes[0]} and intercepts_[{k}] of shape {shapes[1]} do not fit a layer below "
                f"of {sizes[-1] if sizes else 0} units: their shapes must be (n_below, n) and (n,)"
            )
        sizes.append(shapes[0][1])
    return sizes


def theta_of(coefs: Sequence[Any], intercepts: Sequence[Any]) -> np.ndarray:
    """Join weights and biases of layers that fit each other, without a copy if they are views of one array.

    Integers, such as weights that the user has rounded, become float64.

    Raises
    ------
    ValueError
        If they are not real numbers.
    """
    owner = getattr(coefs[0], "base", None)
    if isinstance(owner, np.ndarray) and _are_views(owner, coefs, intercepts):
        return owner
    theta = np.asarray(flatten(np, [np.vstack([w, b]) for w, b in zip(coefs, intercepts, strict=True)]))
    if theta.dtype.kind not in "fiub":
        raise ValueError(f"coefs_ and intercepts_ must hold real numbers, got {theta.dtype}")
    return theta if theta.dtype.kind == "f" else theta.astype(np.float64)


def rejoined(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return the weights and biases of a copied model as views of one array; nothing if they are, or cannot be.

    A copy holds separate arrays, which each prediction would join.
    """
    coefs, intercepts = attributes.get("coefs_"), attributes.get("intercepts_")
    if not isinstance(coefs, list) or not isinstance(intercepts, list) or not coefs:
        return {}
    dtype = getattr(coefs[0], "dtype", None)
    if not all(type(part) is np.ndarray and part.dtype == dtype for part in (*coefs, *intercepts)):
        return {}  # memory-mapped, or changed by the user
    try:
        network = Network(tuple(sizes_of(coefs, intercepts)))
    except ValueError:  # predictions say what does not fit
        return {}
    theta = theta_of(coefs, intercepts)
    return {} if theta is coefs[0].base or theta.dtype != dtype else weights_of(network, theta)


def _are_views(owner: np.ndarray, coefs: Sequence[Any], intercepts: Sequence[Any]) -> bool:
    """Return whether the layers are all numbers of an array, in the order of parameters."""
    parts = [part for layer in zip(coefs, intercepts, strict=True) for part in layer]
    if owner.ndim != 1 or owner.dtype.kind != "f" or owner.size != sum(np.size(part) for part in parts):
        return False
    address = owner.ctypes.data
    for part in parts:
        if getattr(part, "base", None) is not owner or part.dtype != owner.dtype or part.ctypes.data != address:
            return False
        if not part.flags.c_contiguous:
            return False
        address += part.nbytes
    return bool(owner.flags.c_contiguous)
