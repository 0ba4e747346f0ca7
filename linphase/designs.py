"""The Gaussian design of Theorems 1 and 2: sampling, population risk and the size of least squares' error."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from linphase.checks import (
    Array,
    broadcast,
    check_array,
    check_columns,
    check_count,
    check_nonnegative,
    check_rng,
)

MEAN_ABS = math.sqrt(2 / math.pi)
"""c1 = E|Z| of a standard normal Z."""


@dataclass(frozen=True)
class GaussianDesign:
    """X ~ N(0, I_d) and y = X theta0 + noise * e with e ~ N(0, 1): n independent rows.

    Parameters
    ----------
    n, d : int
        Rows and columns of X, at least 1.
    signal : float
        s = ||theta0||, at least 0.
    noise : float
        Standard deviation sigma of the errors, at least 0.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of these.
    """

    n: int
    d: int
    signal: float = 1.0
    noise: float = 1.0

    def __post_init__(self) -> None:
        for name in ("n", "d"):
            object.__setattr__(self, name, check_count(name, getattr(self, name)))
        for name in ("signal", "noise"):
            object.__setattr__(self, name, check_nonnegative(name, getattr(self, name)))

    @property
    def theta0(self) -> Array:
        """The truth, (d,): every entry is signal / sqrt(d), and a rotation gives any other."""
        return np.full(self.d, self.signal / math.sqrt(self.d))

    def sample(self, rng: np.random.Generator) -> tuple[Array, Array]:
        """Draw one data set: X (n, d), then y (n,)."""
        check_rng(rng)
        X = rng.standard_normal((self.n, self.d))
        return X, X @ self.theta0 + self.noise * rng.standard_normal(self.n)

    def risk(self, theta: ArrayLike, eps: ArrayLike = 0.0) -> Array:
        """Adversarial risk E (|y - x'theta| + eps ||theta||)^2 of theta on new data (THEORY 2).

        Parameters
        ----------
        theta : (..., d)
        eps : (...)
            Attack length in units of the inputs, broadcast against the leading axes of theta; 0: clean risk.

        Returns
        -------
        ndarray
            v^2 + 2 c1 eps b v + eps^2 b^2 with v^2 = ||theta - theta0||^2 + noise^2, b = ||theta||.

        Raises
        ------
        TypeError, ValueError
            If theta does not end in d entries, or eps is negative, or either is not finite.
        """
        theta, eps = check_array("theta", theta), check_array("eps", eps)
        if theta.ndim == 0 or theta.shape[-1] != self.d:
            raise ValueError(f"theta must have d = {self.d} entries on its last axis, got {theta.shape}")
        if eps.min() < 0:
            raise ValueError(f"eps must be finite and at least 0, got {eps.min():g}")
        broadcast(eps=eps, **{"theta without its last axis": theta[..., 0]})
        v = np.sqrt(((theta - self.theta0) ** 2).sum(axis=-1) + self.noise**2)
        reach = eps * np.sqrt((theta**2).sum(axis=-1))
        return np.asarray(v**2 + 2 * MEAN_ABS * reach * v + reach**2)

    def risk_minimiser(self, eps: float) -> Array:
        """Minimiser (d,) of the adversarial risk: a multiple k of theta0, 0 <= k <= 1.

        It is 0 from eps = sqrt(pi/2) s / sqrt(s^2 + sigma^2) on (THEORY 2).

        Raises
        ------
        TypeError, ValueError
            If eps is no number, negative or not finite.
        """
        eps = check_nonnegative("eps", eps)
        s, c = self.signal, MEAN_ABS * eps

        def slope(k: float) -> float:  # the risk's derivative at k theta0, over 2 s
            v = math.hypot((1 - k) * s, self.noise)
            cosine = (1 - k) * s / v if v > 0 else 1.0  # its limit at the kink of a design without noise
            return -(1 - k) * s + c * (v - k * s * cosine) + eps**2 * k * s

        if s == 0 or slope(0.0) >= 0:
            return np.zeros(self.d)
        if slope(1.0) <= 0:
            return self.theta0
        from scipy.optimize import brentq  # half a second to import

        return np.asarray(brentq(slope, 0.0, 1.0, xtol=1e-15) * self.theta0)

    def std_norm(self) -> float:
        """||Std theta_hat(0)||_F of least squares over the random design (THEORY 5P).

        The root of the summed variances: sigma sqrt(d / (n - d - 1)) for d < n - 1, and for the minimum norm
        solution, d > n + 1, the root of s^2 (n/d)(1 - n/d) + sigma^2 n / (d - n - 1).

        Raises
        ------
        ValueError
            For n - 1 <= d <= n + 1, where the variance does not exist and which Theorem 1 leaves out.
        """
        n, d = self.n, self.d
        if abs(n - d) <= 1:
            raise ValueError(f"the variance is finite for d < n - 1 and d > n + 1 only, got n = {n}, d = {d}")
        if d < n:
            return self.noise * math.sqrt(d / (n - d - 1))
        return math.sqrt(self.signal**2 * (n / d) * (1 - n / d) + self.noise**2 * n / (d - n - 1))


def fixed_design_std_norm(X: ArrayLike, noise: float = 1.0) -> float:
    """||Std theta_hat(0)||_F of (minimum norm) least squares given X: noise * sqrt(tr (X'X)^+).

    Parameters
    ----------
    X : (n, d)
        For d <= n and full rank, the trace is that of (X'X)^(-1). Directions that X does not span carry no
        variance; singular values below max(n, d) * 2.2e-16 of the largest count as 0.
    noise : float
        Standard deviation sigma of the errors, at least 0.

    Raises
    ------
    TypeError, ValueError
        If X is not a finite matrix, or noise is no number, negative or not finite.
    """
    noise = check_nonnegative("noise", noise)
    X = check_columns("X", X, 2)
    s = np.linalg.svd(X, compute_uv=False)
    s = s[s > max(X.shape) * np.finfo(np.float64).eps * s[0]]
    return noise * math.sqrt((1 / s**2).sum())
