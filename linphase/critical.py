"""Three critical strengths of a data set: where adversarial training parts from clean training (THEORY 5).

Each is sup{ε : q(θ̂(ε)) ≤ level} for a quantity q that rises along the solution path θ̂(ε):

    "loss"         R(θ̂(ε), ε)         against the clean test risk of θ̂(0): the paper's ε*
    "clean-loss"   R(θ̂(ε), 0)         against the same
    "parameter"    ‖θ̂(ε) − θ̂(0)‖      against ‖Std θ̂(0)‖_F

It is 0 where the set is empty and inf where q stays at or below its level. θ̂(0) is least squares, of minimum
norm where d ≥ n; the path is flat up to the interpolation radius and ends in θ̂ = 0 at the zero radius.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import lapack

from linphase.checks import Array, check_choice, check_data, check_positive, check_real
from linphase.coordinates import Coordinates, direct, singular
from linphase.newton import minimise
from linphase.solver import CertificateError

CRITERIA = ("loss", "parameter", "clean-loss")

_TOLERANCE = 1e-9  # largest relative duality gap accepted; that of the root's own loss is far smaller


@dataclass(frozen=True)
class CriticalStrength:
    """A critical strength with what it took to find it.

    Attributes
    ----------
    eps : float
        In the units of X; 0 and inf are answers.
    solves : int
        Minimisers computed; 0 where a closed form applies.
    rel_gap : float
        Largest relative duality gap among them.
    """

    eps: float
    solves: int
    rel_gap: float


def critical_strength(
    X: ArrayLike,
    y: ArrayLike,
    theta0: ArrayLike | None = None,
    noise: float | None = None,
    X_test: ArrayLike | None = None,
    y_test: ArrayLike | None = None,
    criterion: str = "loss",
) -> float:
    """Return the critical strength of one data set, to 1e-8 relative.

    Parameters
    ----------
    X : array_like, shape (n, d)
    y : array_like, shape (n,)
    theta0 : array_like, shape (d,), optional
        The truth. The clean test risk is then ‖θ̂(0) − θ₀‖² + σ², that of rows N(0, I).
    noise : float, optional
        Standard deviation σ > 0 of the errors. By default estimated by the residuals of least squares,
        √(‖r‖²/(n − d)), where it is needed; that takes d < n.
    X_test, y_test : array_like, shapes (k, d) and (k,), optional
        Held-out data for the clean test risk, in place of theta0.
    criterion : {"loss", "parameter", "clean-loss"}
        See `linphase.critical`. "loss" is the paper's definition of ε*. The level of "parameter" is
        ‖Std θ̂(0)‖_F = σ√tr((XᵀX)⁻¹) given X. For d > n the rows span a random subspace, and the variance
        σ² tr((XXᵀ)⁻¹) given X adds to that of the projection of θ₀ on it, ‖θ₀‖²(n/d)(1 − n/d).

    Returns
    -------
    float
        An L2 length in the units of X; 0 and inf are answers.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of these, or the level cannot be had from what is given.
    CertificateError
        If a solve on the way stayed above a relative duality gap of 1e-9.
    """
    return find(X, y, theta0, noise, X_test, y_test, criterion).eps


def critical_strength_batch(
    X: ArrayLike,
    y: ArrayLike,
    theta0: ArrayLike | None = None,
    noise: float | None = None,
    X_test: ArrayLike | None = None,
    y_test: ArrayLike | None = None,
    criterion: str = "loss",
) -> Array:
    """Return the critical strengths (m,) of m data sets X (m, n, d), y (m, n).

    The other arguments are common to all, and as in `critical_strength`.
    """
    X, y = check_data(X, y, ndim=3)
    found = [find(*data, theta0, noise, X_test, y_test, criterion) for data in zip(X, y, strict=True)]
    return np.array([strength.eps for strength in found])


def find(
    X: ArrayLike,
    y: ArrayLike,
    theta0: ArrayLike | None = None,
    noise: float | None = None,
    X_test: ArrayLike | None = None,
    y_test: ArrayLike | None = None,
    criterion: str = "loss",
) -> CriticalStrength:
    """Return `critical_strength` with the number of solves and their worst gap."""
    return find_all(X, y, theta0, noise, X_test, y_test, (criterion,))[0]


def find_all(
    X: ArrayLike,
    y: ArrayLike,
    theta0: ArrayLike | None = None,
    noise: float | None = None,
    X_test: ArrayLike | None = None,
    y_test: ArrayLike | None = None,
    criteria: Sequence[str] = tuple(CRITERIA),
) -> list[CriticalStrength]:
    """Return one `CriticalStrength` for each of ``criteria``, all from one Gram matrix."""
    X, y = check_data(X, y)
    known = _Known.checked(X.shape[1], theta0, noise, X_test, y_test)
    for criterion in criteria:
        known.must_suffice(criterion, *X.shape)
    worst = math.inf
    for fit in _fits(X, y):
        found = [_root(fit, criterion, known.level(criterion, fit)) for criterion in criteria]
        worst = max((strength.rel_gap for strength in found), default=0.0)
        if worst <= _TOLERANCE:
            return found
    raise CertificateError(f"a relative duality gap on the path is {worst:.2e}, above {_TOLERANCE:g}")


@dataclass(frozen=True)
class _Fit:
    """Least squares θ̂(0) of minimum norm, in its coordinates φ and in θ, and the two ends of the path."""

    y: Array
    coordinates: Coordinates
    c: Array
    phi: Array
    theta: Array
    loss: float
    L: Array  # Cholesky factor of the Gram matrix
    interpolation_radius: float
    zero_radius: float


def _fits(X: Array, y: Array) -> Iterator[_Fit]:
    """Least squares in direct coordinates where these are well conditioned; then in singular ones."""
    for find_coordinates in (direct, singular):
        coordinates = find_coordinates(X)
        if coordinates is None:
            continue
        F, G = coordinates.F, coordinates.G
        L, info = lapack.dpotrf(G, lower=1, clean=1)
        if info != 0 or (L.diagonal() ** 2 < 1e-5 * G.diagonal()).any():
            continue
        c, total, radius = F.T @ y, np.abs(y).sum(), 0.0
        if interpolator := coordinates.interpolator(y):
            phi, alpha = interpolator
            loss = 0.0
            if total > 0.0:
                radius = math.sqrt(phi @ phi) / (len(y) * np.abs(alpha).max())
        else:
            phi = lapack.dpotrs(L, c, lower=1)[0]
            r = y - F @ phi
            loss = float(r @ r) / len(y)
        end = math.sqrt(c @ c) / total if total > 0.0 else 0.0
        yield _Fit(y, coordinates, c, phi, coordinates.back(phi), loss, L, radius, end)


@dataclass(frozen=True)
class _Known:
    """What the caller knows beside the data set."""

    theta0: Array | None
    noise: float | None
    test: tuple[Array, Array] | None

    @classmethod
    def checked(cls, d: int, theta0: Any, noise: Any, X_test: Any, y_test: Any) -> "_Known":
        if theta0 is not None:
            theta0 = check_real("theta0", theta0, 1)
            if theta0.shape != (d,):
                raise ValueError(f"theta0 must have shape ({d},), as X has {d} columns, got {theta0.shape}")
        if noise is not None:
            noise = check_positive("noise", noise)
        if (X_test is None) != (y_test is None):
            raise ValueError("X_test and y_test must be given together, got one of them")
        if X_test is None:
            return cls(theta0, noise, None)
        if theta0 is not None:
            raise ValueError("the clean test risk must come from theta0 or from X_test and y_test, got both")
        X_test, y_test = check_real("X_test", X_test, 2), check_real("y_test", y_test, 1)
        if len(X_test) != len(y_test):
            raise ValueError(
                f"X_test and y_test must have one length, got {len(X_test)} rows and {len(y_test)} responses"
            )
        if X_test.shape[1] != d:
            raise ValueError(f"X_test must have {d} columns, as X has, got {X_test.shape[1]}")
        return cls(None, noise, (X_test, y_test))

    def must_suffice(self, criterion: str, n: int, d: int) -> None:
        """Raise unless the level of the criterion follows from what is known."""
        check_choice("criterion", criterion, CRITERIA)
        if criterion == "parameter":
            if d > n and self.theta0 is None:
                raise ValueError(f"theta0 must be given for 'parameter' where d > n, got n = {n}, d = {d}")
        elif self.test is not None:
            return
        elif self.theta0 is None:
            raise ValueError(f"theta0, or X_test and y_test, must be given for criterion {criterion!r}")
        if d >= n and self.noise is None:
            raise ValueError(
                f"noise must be given where d >= n (it cannot be estimated), got n = {n}, d = {d}"
            )

    def level(self, criterion: str, fit: _Fit) -> float:
        """The value that the criterion's quantity may reach."""
        if criterion != "parameter" and self.test is not None:
            X_test, y_test = self.test
            r = y_test - X_test @ fit.theta
            return float(r @ r) / len(r)
        (n, k), d = fit.coordinates.F.shape, fit.theta.size
        variance = fit.loss * n / (n - k) if self.noise is None else self.noise**2
        if criterion != "parameter":
            assert self.theta0 is not None
            error = fit.theta - self.theta0
            return float(error @ error) + variance
        square = variance * float(lapack.dpotri(fit.L, lower=1)[0].diagonal().sum())
        if d > n:
            assert self.theta0 is not None
            square += float(self.theta0 @ self.theta0) * (n / d) * (1.0 - n / d)
        return math.sqrt(square)


def _root(fit: _Fit, criterion: str, level: float) -> CriticalStrength:
    """Where the criterion's quantity passes its level."""
    y, b = fit.y, math.sqrt(fit.phi @ fit.phi)
    low, high = fit.interpolation_radius, fit.zero_radius
    at_low = {"loss": fit.loss + (low * b) ** 2, "clean-loss": fit.loss, "parameter": 0.0}[criterion] - level
    at_high = (b if criterion == "parameter" else float(y @ y) / len(y)) - level
    if at_high <= 0.0:
        return CriticalStrength(math.inf, 0, 0.0)
    if at_low >= 0.0:  # on the flat part the loss is (ε‖θ̂(0)‖)²; without one there is no such ε
        return CriticalStrength(math.sqrt(level) / b if low > 0.0 else 0.0, 0, 0.0)
    if low >= high * (1.0 - 1e-12):  # n = 1: the path jumps
        return CriticalStrength(low, 0, 0.0)
    from scipy.optimize import brentq  # half a second to import

    F, G = fit.coordinates.F, fit.coordinates.G
    phi, s, solves, worst = fit.phi.copy(), np.zeros(len(y)), 0, 0.0

    def excess(eps: float) -> float:
        """Quantity less its level, from the last minimiser and a Newton step beyond the certificate."""
        nonlocal solves, worst
        if eps in (low, high):
            return at_low if eps == low else at_high
        found = minimise(F, y, eps, G, phi, s, 1e-10, extra_steps=1, warm=solves > 0)
        solves, worst = solves + 1, max(worst, (found.loss - found.bound) / found.loss)
        if criterion == "loss":
            return found.loss - level
        if criterion == "clean-loss":
            return float(np.mean((y - F @ phi) ** 2)) - level
        return float(np.linalg.norm(phi - fit.phi)) - level

    root = float(brentq(excess, low, high, xtol=1e-300, rtol=1e-10, maxiter=500))
    return CriticalStrength(root, solves, worst)
