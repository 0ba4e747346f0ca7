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

from linphase import precision
from linphase.certificate import Candidate, Judge
from linphase.checks import (
    LARGEST,
    SMALLEST,
    Array,
    check_choice,
    check_data,
    check_number,
    check_real,
    check_sequence,
)
from linphase.coordinates import Coordinates, direct, singular
from linphase.newton import minimise
from linphase.problem import AdversarialProblem
from linphase.radii import zero_radius
from linphase.refinement import refine
from linphase.solver import CertificateError

CRITERIA = ("loss", "parameter", "clean-loss")

_TOLERANCE = 1e-9  # largest relative duality gap accepted at the root; it is far smaller as a rule

_ERROR = 1e-10  # largest error of coordinates that are taken without trying more accurate ones


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
        Relative duality gap of the minimiser at the root.
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
    check_choice("criterion", criterion, CRITERIA)
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
    """Return `critical_strength` with the number of solves and the gap at the root."""
    check_choice("criterion", criterion, CRITERIA)
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
    for criterion in check_sequence("criteria", criteria, str, "names of criteria"):
        check_choice("every entry of criteria", criterion, CRITERIA)
        known.must_suffice(criterion, *X.shape)
    judge, worst = Judge(X, y), math.inf
    for fit in _fits(X, y):
        found = [_root(fit, judge, criterion, known.level(criterion, fit)) for criterion in criteria]
        worst = max((strength.rel_gap for strength in found), default=0.0)
        if worst <= _TOLERANCE:
            return found
    raise CertificateError(f"the relative duality gap at the root is {worst:.2e}, above {_TOLERANCE:g}")


@dataclass(frozen=True)
class _Fit:
    """Least squares θ̂(0) of minimum norm, in its coordinates φ and in θ, and the two ends of the path."""

    y: Array
    coordinates: Coordinates
    phi: Array
    theta: Array
    loss: float
    interpolation_radius: float
    zero_radius: float


def _fits(X: Array, y: Array) -> Iterator[_Fit]:
    """Least squares in direct coordinates where these are well conditioned; then in singular ones."""
    end = zero_radius(X, y)
    for find_coordinates in (direct, singular):
        coordinates = find_coordinates(X)
        if coordinates is None or (find_coordinates is direct and coordinates.error > _ERROR):
            continue
        radius, loss = 0.0, 0.0
        if interpolator := coordinates.interpolator(y):
            phi = interpolator[0]
            theta, radius = coordinates.back(phi), coordinates.interpolation_radius(y)
        else:
            phi = coordinates.least_squares(y)
            theta = coordinates.back(phi)
            loss = precision.loss(*precision.residuals(X, y, theta), 0.0)
        yield _Fit(y, coordinates, phi, theta, loss, radius, end)


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
            noise = check_number(
                "noise", noise, f"positive, from {SMALLEST:g} to {LARGEST:g}", SMALLEST, LARGEST
            )
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
        square = variance * fit.coordinates.trace_of_inverse()
        if d > n:
            assert self.theta0 is not None
            square += float(self.theta0 @ self.theta0) * (k / d) * (1.0 - k / d)
        return math.sqrt(square)


def _root(fit: _Fit, judge: Judge, criterion: str, level: float) -> CriticalStrength:
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

    search = _Search(fit, judge, criterion, level)
    ends = {low: at_low, high: at_high}
    root = brentq(
        lambda eps: ends.get(eps) or search.excess(eps), low, high, xtol=1e-300, rtol=1e-10, maxiter=500
    )
    root, gap = search.settle(float(root))
    return CriticalStrength(root, search.solves, gap)


class _Search:
    """The criterion's quantity less its level along the path, each minimiser from the one before."""

    def __init__(self, fit: _Fit, judge: Judge, criterion: str, level: float) -> None:
        self.fit, self.judge, self.criterion, self.level = fit, judge, criterion, level
        self.phi, self.s, self.solves = fit.phi.copy(), np.zeros(len(fit.y)), 0

    def excess(self, eps: float) -> float:
        """The excess at ε, from the last minimiser and a Newton step beyond the tolerance."""
        F, y = self.fit.coordinates.F, self.fit.y
        G, warm = self.fit.coordinates.G, self.solves > 0
        found = minimise(F, y, eps, G, self.phi, self.s, 1e-10, extra_steps=1, warm=warm)
        self.solves += 1
        if self.criterion == "loss":
            return found.loss - self.level
        if self.criterion == "clean-loss":
            return float(np.mean((y - F @ self.phi) ** 2)) - self.level
        return float(np.linalg.norm(self.phi - self.fit.phi)) - self.level

    def settle(self, root: float) -> tuple[float, float]:
        """Certify the minimiser at a root; where rounding has spoiled it, go to the root of refined ones."""
        self.excess(root)
        within = self.fit.coordinates
        found = Candidate(within.back(self.phi), self.s, "", explained=within.explained)
        gap = self.judge.quick(found, root).rel_gap
        for _ in range(6):
            if gap <= _TOLERANCE:
                break
            at_root, gap = self._refined(root)
            beside = root * (1.0 + 1e-4)
            rise = self._refined(beside)[0] - at_root
            step = at_root * (beside - root) / rise if rise > 0.0 else 0.0
            root -= step
            if not abs(step) > 1e-9 * root:
                break
        return root, gap

    def _refined(self, eps: float) -> tuple[float, float]:
        """The excess at ε of a refined minimiser, and its relative duality gap."""
        self.excess(eps)
        within, problem = self.fit.coordinates, AdversarialProblem(self.judge.X, self.fit.y, eps)
        start = Candidate(within.back(self.phi), self.s, "", explained=within.explained)
        gap, best = min(
            ((self.judge.exact(found, eps).rel_gap, found) for found in refine(problem, within, start)),
            key=lambda pair: pair[0],
            default=(math.inf, start),
        )
        if self.criterion == "parameter":
            return float(np.linalg.norm(best.theta - self.fit.theta)) - self.level, gap
        radius = eps * math.sqrt(best.theta @ best.theta) if self.criterion == "loss" else 0.0
        r = precision.residuals(problem.X, problem.y, best.theta, best.low)
        return precision.loss(*r, radius) - self.level, gap
