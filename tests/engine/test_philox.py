"""Philox: the published numbers, and those of the same rounds on Python's integers."""

import numpy as np
import pytest

from gpubp.engine.plain.philox import philox


def words_of(counter, key):
    """The four words of one counter, from the paper's description."""
    low, (c0, c1, c2, c3), (k0, k1) = 2**32 - 1, counter, (key % 2**32, key >> 32)
    for number in range(10):
        keys = (k0 + number * 0x9E3779B9) & low, (k1 + number * 0xBB67AE85) & low
        (high_0, low_0), (high_1, low_1) = divmod(0xD2511F53 * c0, 2**32), divmod(0xCD9E8D57 * c2, 2**32)
        c0, c1, c2, c3 = high_1 ^ c1 ^ keys[0], low_1, high_0 ^ c3 ^ keys[1], low_0
    return c0, c1, c2, c3


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0,) * 4, 0, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((2**32 - 1,) * 4, 2**64 - 1, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            0x299F31D0_A4093822,
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_published_numbers(counter, key, words):
    """The known answers of the authors' library Random123; the third are digits of pi."""
    assert tuple(map(int, philox(counter, key))) == words == words_of(counter, key)


def test_counters_and_keys_are_broadcast():
    generator = np.random.default_rng(0)
    c0, c1 = generator.integers(0, 2**32, 5), generator.integers(0, 2**32, (3, 1), dtype=np.uint32)
    keys = generator.integers(0, 2**64, (2, 1, 1), dtype=np.uint64)
    words = philox((c0, c1, 7, 1), keys)
    assert [word.shape for word in words] == [(2, 3, 5)] * 4
    for place in np.ndindex(2, 3, 5):
        key, row, column = place
        expected = words_of((int(c0[column]), int(c1[row, 0]), 7, 1), int(keys[key, 0, 0]))
        assert tuple(int(word[place]) for word in words) == expected


def test_larger_words_are_taken_modulo_32_bits():
    assert philox((2**32 + 3, 0, 2**40, 1), 5) == philox((3, 0, 0, 1), 5)
