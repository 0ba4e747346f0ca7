"""Keyed random streams: a draw is fixed by the seed and its key, whatever else runs."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np


def stream(seed: int, *key: int | float | str) -> np.random.Generator:
    """Return the random generator that belongs to a seed and a key.

    The same seed and key give the same stream in any process and in any order, so adding a grid point or a
    replicate changes no other draw. A key names what is drawn, for example
    ``stream(seed, "boundary", n, d, replicate)``.

    Parameters
    ----------
    seed : int
        Any integer.
    *key : int, float or str
        The parts are told apart by type and place: 1, 1.0 and "1" are three keys, and ("ab", "c") is not
        ("a", "bc"). NumPy scalars count as the Python numbers they equal; -0.0 counts as 0.0.

    Returns
    -------
    numpy.random.Generator
        PCG64, seeded by the BLAKE2b digest of seed and key.

    Raises
    ------
    TypeError
        If the seed is no integer, or a part of the key is neither integer, float nor string.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise TypeError(f"seed must be an integer, got {seed!r}")
    digest = blake2b(digest_size=32)
    for part in (seed, *key):
        code = _encode(part)
        digest.update(len(code).to_bytes(8, "little") + code)
    return np.random.default_rng(np.random.SeedSequence(np.frombuffer(digest.digest(), "<u4")))


def _encode(part: int | float | str) -> bytes:
    if isinstance(part, str):
        return b"s" + part.encode()
    if isinstance(part, (int, np.integer)) and not isinstance(part, bool):
        return b"i%d" % part
    if isinstance(part, (float, np.floating)):
        return b"f" + (float(part) + 0.0).hex().encode()  # + 0.0 turns -0.0 into 0.0
    raise TypeError(f"a part of a stream's key must be an int, a float or a string, got {part!r}")
