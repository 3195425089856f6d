"""Random numbers that are computed from their position: Philox 4x32-10 (Salmon et al. 2011).

A generator of this kind has no state. Four words of 32 bits, the counter, and a key of 64 bits give four random words,
so any number of a sequence can be computed anywhere, in any order. In C, one of the 10 rounds is ::

    uint64_t p0 = (uint64_t)0xD2511F53 * c0, p1 = (uint64_t)0xCD9E8D57 * c2;
    c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;  c1 = (uint32_t)p1;
    c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;  c3 = (uint32_t)p0;
    k0 += 0x9E3779B9;  k1 += 0xBB67AE85;

with all names on the right those before the round, and ``k0`` and ``k1`` the low and the high word of the key.

NumPy's ``numpy.random.Philox`` is another member of the family, of words of 64 bits, and gives other numbers.

Source: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from typing import Any

import numpy as np

ROUNDS = 10
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
_FACTORS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_STEPS_OF_KEY = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)

Words = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def philox(counter: tuple[Any, Any, Any, Any], key: Any) -> Words:
    """Compute the four random words of each counter.

    Parameters
    ----------
    counter : tuple of four ints or arrays of int
        The words of the counters, which are broadcast; of larger numbers, the lowest 32 bits are used.
    key : int or array of uint64
        Broadcast with the counters.

    Returns
    -------
    tuple of four arrays of uint64
        Random words, from 0 to 2**32 - 1, in the shape of the counters and keys.

    Examples
    --------
    >>> [hex(word) for word in philox((0, 0, 0, 0), 0)]
    ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    # the first rounds are done on words that are not yet broadcast
    c0, c1, c2, c3 = (np.asarray(word, np.uint64) & _LOW for word in counter)
    keys = np.asarray(key, np.uint64)
    k0, k1 = keys & _LOW, keys >> _HALF
    for _ in range(ROUNDS):
        p0, p1 = _FACTORS[0] * c0, _FACTORS[1] * c2
        c0, c1, c2, c3 = (p1 >> _HALF) ^ (c1 ^ k0), p1 & _LOW, (p0 >> _HALF) ^ (c3 ^ k1), p0 & _LOW
        k0, k1 = (k0 + _STEPS_OF_KEY[0]) & _LOW, (k1 + _STEPS_OF_KEY[1]) & _LOW
    return c0, c1, c2, c3
