"""Measure what the six units above the people code."""

import numpy as np

from gpubp.nn.network import Network
from gpubp.nn.passes import forward
from gpubp.paper.family import PEOPLE, RELATIONS

N_UNITS = 6


def codes_of_people(network: Network, theta: np.ndarray) -> np.ndarray:
    """Find the outputs of the six units for each person: (..., 24, 6)."""
    inputs = np.eye(len(PEOPLE), len(PEOPLE) + len(RELATIONS))
    codes: np.ndarray = forward(np, network, theta, inputs)[0].y[..., :N_UNITS]
    return codes


def codes_of_relations(network: Network, theta: np.ndarray) -> np.ndarray:
    """Find the outputs of the six units above the relations for each relation: (..., 12, 6)."""
    inputs = np.eye(len(RELATIONS), len(PEOPLE) + len(RELATIONS), k=len(PEOPLE))
    codes: np.ndarray = forward(np, network, theta, inputs)[0].y[..., N_UNITS : 2 * N_UNITS]
    return codes


def explained(codes: np.ndarray, attribute: np.ndarray) -> np.ndarray:
    """Find what part of the variance of each unit's output an attribute explains: the squared correlation ratio.

    Parameters
    ----------
    codes : (..., n, units) array
    attribute : (n,) array
        A kind for each person, from 1; persons with 0 are left out.

    Returns
    -------
    (..., units) array
        1 if all people of a kind have the same output; 0 if the means of the kinds are equal, or all outputs are.

    Examples
    --------
    >>> explained(np.asarray([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), np.asarray([1, 1, 2, 2]))
    array([1., 0.])
    """
    codes, attribute = codes[..., attribute > 0, :], attribute[attribute > 0]
    mean = codes.mean(axis=-2, keepdims=True)
    total = np.sum((codes - mean) ** 2, axis=-2)
    between = np.zeros_like(total)
    for kind in np.unique(attribute):
        own = attribute == kind
        between += np.sum(own) * (codes[..., own, :].mean(axis=-2) - mean[..., 0, :]) ** 2
    shares: np.ndarray = np.divide(between, total, out=np.zeros_like(total), where=total > 0.0)
    return shares


def predicted(codes: np.ndarray, attribute: np.ndarray) -> np.ndarray:
    """Find for which fraction of the people a single unit predicts an attribute correctly.

    The predicted kind is the one whose other members have, on average, the nearest output.

    Parameters
    ----------
    codes : (..., n, units) array
    attribute : (n,) array
        A kind for each person, from 1; persons with 0 are left out.

    Returns
    -------
    (..., units) array

    Examples
    --------
    >>> predicted(np.asarray([[0.0, 0.0], [0.2, 1.0], [0.9, 0.0], [1.0, 1.0]]), np.asarray([1, 1, 2, 2]))
    array([1., 0.])
    """
    codes, attribute = codes[..., attribute > 0, :], attribute[attribute > 0]
    distances = []
    for kind in np.unique(attribute):
        own = (attribute == kind)[:, None]
        # the mean of a person's own kind excludes the person
        sums = np.sum(codes, axis=-2, keepdims=True, where=own) - np.where(own, codes, 0.0)
        distances.append(np.abs(codes - sums / (np.sum(own) - own)))
    nearest = np.unique(attribute)[np.argmin(np.stack(distances), axis=0)]
    right: np.ndarray = np.mean(nearest == attribute[:, None], axis=-2)
    return right
