"""What a point and a dual vector prove: a loss, a lower bound on the minimum, and the gap between them.

Weak duality gives a lower bound for any dual vector u (see `AdversarialProblem.dual_bound`). Every bound here
is less by the rounding errors that its own computation can have made, so it holds for the numbers of X and y
as they are given. A quick certificate takes ordinary matrix products and their worst rounding; where that is
too much, an exact one computes in twofold precision.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np

from linphase import precision
from linphase._kernels import regression as kernel
from linphase.checks import Array
from linphase.precision import UNIT

T = TypeVar("T")

_FORGIVEN = 1e-8  # largest share of the loss that the rounding of theta may excuse


@dataclass(frozen=True)
class Candidate:
    """A point that may be the minimiser, with the dual vector that should prove it.

    Attributes
    ----------
    theta : ndarray, shape (d,)
        The point as it will be returned.
    s : ndarray, shape (n,)
        Signs of the residuals, inside (−1, 1) where a residual is zero: u = r + ε‖θ‖s.
    status : str
        How it was found, a sentence.
    steps : int
        Newton steps it took.
    low : ndarray, shape (d,), optional
        What theta lost when it was rounded: u belongs to theta + low.
    alpha : ndarray, shape (n,), optional
        The dual vector itself, in place of s, where theta interpolates the data.
    explained : callable, optional
        From Xᵀr to an upper bound on the squared length of the projection of r on the range of X.
    """

    theta: Array
    s: Array
    status: str
    steps: int = 0
    low: Array | None = None
    alpha: Array | None = None
    explained: Callable[[Array], float] | None = None


@dataclass(frozen=True)
class Certificate:
    """Loss and lower bound of a candidate.

    Attributes
    ----------
    loss : float
        R(θ, ε), a mean over rows.
    bound : float
        Lower bound on the minimum of R(·, ε).
    rel_gap : float
        See `Solution`.
    n_zero_residuals : int
        Rows whose residual is zero, up to the rounding of its own computation.
    rounding : float
        What rounding the entries of theta to double precision can cost, relative like ``rel_gap``.
    """

    loss: float
    bound: float
    rel_gap: float
    n_zero_residuals: int
    rounding: float = 0.0


class Judge:
    """Certificates for one data set: X (n, d) and y (n,), checked."""

    def __init__(self, X: Array, y: Array) -> None:
        self.X, self.y = X, y
        self.size = float(np.linalg.norm(X))
        self.mean_square = float(y @ y) / len(y)
        self._products: dict[str, tuple[Any, Any]] = {}

    def quick(self, candidate: Candidate, eps: float) -> Certificate:
        """Certify with ordinary products, less the worst that rounding can have done to them."""
        theta, s = candidate.theta[None], candidate.s[None]
        losses, bounds, zeros = np.empty(1), np.empty(1), np.empty(1, np.int64)
        kernel.certify(self.X, self.y, np.full(1, eps), self.size, theta, s, losses, bounds, zeros)
        loss, bound = float(losses[0]), float(bounds[0])
        return Certificate(loss, bound, relative_gap(loss, bound, self.mean_square), int(zeros[0]))

    def exact(self, candidate: Candidate, eps: float) -> Certificate:
        """Certify in twofold precision."""
        X, y, n, theta = self.X, self.y, len(self.y), candidate.theta
        radius = eps * math.sqrt(theta @ theta)
        r, r_low = self._once("r", theta, lambda: precision.residuals(X, y, theta))
        blur = self._once("blur", theta, lambda: precision.rounding(X, theta))
        loss, doubt = precision.loss(r, r_low, radius), 2.0 * UNIT * (2.0 + math.sqrt(X.shape[1]))
        zeros = (np.abs(candidate.s) < 1.0) | (np.abs(r) <= doubt * (np.abs(y) + blur / UNIT))
        excused = float(blur @ blur + 2.0 * radius * blur[np.abs(r) <= blur].sum()) / n

        if candidate.low is not None:
            r, r_low = precision.residuals(X, y, theta, candidate.low)
        if candidate.alpha is None:
            u, u_low = precision.two_sum(r, radius * candidate.s)
            u_low = u_low + r_low
            xtu = precision.correlations(X, u, u_low)
        else:
            u, u_low = candidate.alpha, np.zeros(n)
            xtu = self._once("xtu", u, lambda: precision.correlations(X, u))
        wrong = (2.0 * n * UNIT) ** 2 * self.size * math.sqrt(u @ u)
        bound = precision.lower_bound(u, u_low, xtu, wrong, y, eps)
        if candidate.explained is not None and relative_gap(loss, bound, self.mean_square) > 1e-12:
            left = candidate.explained(precision.correlations(X, r, r_low))
            bound = max(bound, precision.loss(r, r_low, 0.0) * (1.0 - 16.0 * UNIT) - left / n)

        gap, scale = relative_gap(loss, bound, self.mean_square), max(loss, 1e-14 * self.mean_square)
        rounding = excused / scale if scale > 0.0 else 0.0
        gap = max(gap - min(rounding, _FORGIVEN), 0.0)  # in this order NaN stays NaN, and proves nothing
        return Certificate(loss, bound, gap, int(np.count_nonzero(zeros)), rounding)

    def _once(self, name: str, of: Array, compute: Callable[[], T]) -> T:
        """A product that many strengths share: it is kept as long as the same array is asked for."""
        if name not in self._products or self._products[name][0] is not of:
            self._products[name] = (of, compute())
        return cast(T, self._products[name][1])


def relative_gap(loss: float, bound: float, mean_square: float) -> float:
    """(loss − bound) / max(loss, 1e-14 mean(y²)), and 0 where y = 0."""
    scale = max(loss, 1e-14 * mean_square)
    return 0.0 if scale == 0.0 else max(loss - bound, 0.0) / scale


def relative_gaps(losses: Array, bounds: Array, mean_squares: Array) -> Array:
    """`relative_gap` of arrays."""
    scales = np.maximum(losses, 1e-14 * mean_squares)
    with np.errstate(invalid="ignore"):  # no loss yet is an infinite one, and its gap no number
        gaps = np.maximum(losses - bounds, 0.0) / np.where(scales == 0.0, 1.0, scales)
    return np.where(scales == 0.0, 0.0, gaps)
