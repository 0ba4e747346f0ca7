"""Keyed random streams: a draw is fixed by the seed and its key, whatever else runs."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

from linphase.checks import shown


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
    ValueError
        If an integer has more than 4300 digits, or a string a half of a surrogate pair.
    """
    if not _is_integer(seed):
        raise TypeError(f"seed must be an integer, got {shown(seed)}")
    digest = blake2b(digest_size=32)
    for name, part in (("seed", seed), *(("key", part) for part in key)):
        try:
            code = _encode(part)
        except ValueError:  # Python writes no longer integer, and encodes no lone surrogate
            what = "a string of whole characters" if isinstance(part, str) else "of at most 4300 digits"
            raise ValueError(f"{name} must be {what}, got {shown(part)}") from None
        digest.update(len(code).to_bytes(8, "little") + code)
    return np.random.default_rng(np.random.SeedSequence(np.frombuffer(digest.digest(), "<u4")))


def _is_integer(part: object) -> bool:
    return isinstance(part, (int, np.integer)) and not isinstance(part, (bool, np.timedelta64))


def _encode(part: int | float | str) -> bytes:
    if isinstance(part, str):
        return b"s" + part.encode()
    if _is_integer(part):
        return b"i%d" % part
    if isinstance(part, (float, np.floating)):
        return b"f" + (float(part) + 0.0).hex().encode()  # + 0.0 turns -0.0 into 0.0
    raise TypeError(f"a part of a stream's key must be an int, a float or a string, got {shown(part)}")
