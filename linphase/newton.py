"""One call of the Newton kernel, cold or from a neighbour."""

from typing import NamedTuple

import numpy as np

from linphase._kernels import regression as kernel
from linphase.checks import Array


class Found(NamedTuple):
    """Loss and lower bound of a minimiser, and the Newton steps it took."""

    loss: float
    bound: float
    steps: int


def minimise(
    F: Array,
    y: Array,
    eps: float,
    G: Array,
    phi: Array,
    s: Array,
    tol: float,
    extra_steps: int = 0,
    warm: bool = False,
) -> Found:
    """Overwrite phi (k,) with the minimiser for F (n, k), y (n,) and s (n,) with its dual signs.

    G is FᵀF, 0 < eps < zero radius. ``warm`` starts from what phi and s hold; ``extra_steps`` beyond the
    tolerance make phi accurate to rounding.
    """
    numbers = np.empty((2, 1))
    steps = kernel.minimise(
        F[None],
        y[None],
        np.full(1, eps),
        G[None],
        tol,
        extra_steps,
        warm,
        phi[None],
        s[None],
        numbers[0],
        numbers[1],
    )
    return Found(float(numbers[0, 0]), float(numbers[1, 0]), steps)
