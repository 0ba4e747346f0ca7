"""The empirical problem: squared loss under an L2 attack on the inputs.

The inner maximum over perturbations of length ε is explicit,

    R(θ, ε) = (1/n) Σ_i max_{‖z‖₂ ≤ ε} (y_i − (x_i + z)ᵀθ)² = (1/n) Σ_i (|y_i − x_iᵀθ| + ε‖θ‖₂)²,

convex, and not smooth where a residual or θ is zero.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from linphase import precision
from linphase.checks import Array, check_data, check_nonnegative, check_real


@dataclass(frozen=True)
class AdversarialProblem:
    """L2-adversarial least squares on one data set.

    Parameters
    ----------
    X : array_like, shape (n, d)
        Inputs.
    y : array_like, shape (n,)
        Responses.
    eps : float
        Attack strength ε ≥ 0, the L2 length of a perturbation of one row of X (in the units of X).

    Raises
    ------
    TypeError
        If an argument does not hold real numbers.
    ValueError
        If X or y is empty, not finite, of the wrong dimension or of different length, or ε < 0.
    """

    X: Array
    y: Array
    eps: float

    def __post_init__(self) -> None:
        X, y = check_data(self.X, self.y)
        object.__setattr__(self, "X", X)
        object.__setattr__(self, "y", y)
        object.__setattr__(self, "eps", check_nonnegative("eps", self.eps))

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.X)

    @property
    def d(self) -> int:
        """Number of columns."""
        return int(self.X.shape[1])

    def _theta(self, theta: ArrayLike) -> Array:
        theta = check_real("theta", theta, 1)
        if theta.shape != (self.d,):
            raise ValueError(f"theta must have shape ({self.d},), got {theta.shape}")
        return theta

    def loss(self, theta: ArrayLike) -> float:
        """Adversarial training loss R(θ, ε), a mean over rows; residuals are taken in twofold precision."""
        theta = self._theta(theta)
        r, r_low = precision.residuals(self.X, self.y, theta)
        return precision.loss(r, r_low, self.eps * math.sqrt(theta @ theta))

    def subgradient(self, theta: ArrayLike) -> Array:
        """One subgradient of R(·, ε), shape (d,): sign(0) and the direction of θ = 0 count as 0."""
        theta = self._theta(theta)
        r = self.y - self.X @ theta
        b = math.sqrt(theta @ theta)
        a = np.abs(r) + self.eps * b
        g = -(self.X.T @ (a * np.sign(r)))
        if b > 0.0:
            g += (self.eps * a.sum() / b) * theta
        return g * (2.0 / self.n)

    def dual_bound(self, u: ArrayLike) -> float:
        """Lower bound on min R(·, ε) from any u, shape (n,) (weak duality).

        For |u| ≤ v and ‖Xᵀu‖₂ ≤ ε Σv, uᵀy − (n/4) Σv² is a lower bound; v is the best one for u, and the
        scale of u is optimised. The bound is less by all rounding errors that its computation can have made.
        """
        u = check_real("u", u, 1)
        if u.shape != (self.n,):
            raise ValueError(f"u must have shape ({self.n},), got {u.shape}")
        size = float(np.linalg.norm(u) * np.linalg.norm(self.X))
        xtu = precision.correlations(self.X, u)
        return precision.lower_bound(
            u, None, xtu, (2.0 * self.n * precision.UNIT) ** 2 * size, self.y, self.eps
        )
