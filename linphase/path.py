"""Whole solution paths ε -> θ̂(ε), every point certified."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from linphase._kernels import regression as kernel
from linphase.certificate import Candidate, Judge, relative_gaps
from linphase.checks import Array, check_between, check_count, check_data, check_real, shown
from linphase.coordinates import Coordinates, principal, singular
from linphase.newton import minimise
from linphase.problem import AdversarialProblem
from linphase.radii import zero_radius
from linphase.solver import solve

Places = NDArray[np.int64]

_HELD = 2**22  # residuals held for points that wait for their certificate


@dataclass(frozen=True)
class Path:
    """The minimiser as a function of ε.

    Attributes
    ----------
    eps : ndarray, shape (k,)
    thetas : ndarray, shape (k, d)
    losses : ndarray, shape (k,)
        R(θ̂(ε), ε), means over rows.
    rel_gaps : ndarray, shape (k,)
    n_zero_residuals : ndarray of int, shape (k,)
    n_iter : int
        Newton steps over the whole path.
    """

    eps: Array
    thetas: Array
    losses: Array
    rel_gaps: Array
    n_zero_residuals: NDArray[np.int64]
    n_iter: int


def solve_path(
    X: ArrayLike, y: ArrayLike, eps: ArrayLike | None = None, n_eps: int = 100, tol: float = 1e-10
) -> Path:
    """Minimise R(·, ε) along ε, each point from the ones before, all certified.

    One eigendecomposition of the Gram matrix makes a Newton step cheap at every ε: the Hessian is diagonal
    but for a matrix of rank two and the few rows whose residual is zero. Certificates are computed
    afterwards in X, many at a time. A hundred points cost about as much as four to nine calls of `solve`.

    Parameters
    ----------
    X : array_like, shape (n, d)
    y : array_like, shape (n,)
    eps : array_like, shape (k,), optional
        Strictly increasing strengths; by default ``n_eps`` of them, evenly spaced in log ε from 10⁻³ of the
        zero radius up to it.
    n_eps : int
        Length of the default grid.
    tol : float
        Largest relative duality gap accepted.

    Returns
    -------
    Path

    Raises
    ------
    CertificateError
        If a gap stays above ``tol``.
    """
    X, y = check_data(X, y)
    tol = check_between("tol", tol)
    end = zero_radius(X, y)
    if eps is None:
        grid = end * np.geomspace(1e-3, 1.0, check_count("n_eps", n_eps, least=2))
        if end == 0.0:
            raise ValueError("eps must be given where the zero radius is 0 (X and y are orthogonal)")
    else:
        grid = check_real("eps", eps, 1)
        if grid[0] < 0.0 or (np.diff(grid) <= 0.0).any():
            raise ValueError(f"eps must be nonnegative and strictly increasing, got {shown(grid)}")
    points, steps = _Points(X, y, grid, tol), 0
    zero, signs = np.zeros((1, X.shape[1])), np.sign(y)[None]
    for beyond in np.flatnonzero(grid >= end * (1.0 - 1e-12)):
        points.enter(np.atleast_1d(beyond), zero, signs)
    for find in (principal, singular):
        if points.missing.size and (coordinates := find(X)):
            steps += _trace(points, coordinates)
    for i in points.missing:
        found = solve(AdversarialProblem(X, y, grid[i]), tol)
        points.thetas[i], points.losses[i], points.rel_gaps[i] = found.theta, found.loss, found.rel_gap
        points.n_zero_residuals[i] = found.n_zero_residuals
        steps += found.n_iter
    return Path(grid, points.thetas, points.losses, points.rel_gaps, points.n_zero_residuals, steps)


class _Points:
    """The points of a path while it is found."""

    def __init__(self, X: Array, y: Array, eps: Array, tol: float) -> None:
        self.X, self.y, self.eps, self.tol, k = X, y, eps, tol, eps.size
        self.thetas, self.losses = np.zeros((k, X.shape[1])), np.full(k, np.inf)
        self.rel_gaps, self.n_zero_residuals = np.full(k, np.inf), np.zeros(k, np.int64)
        self._judge = Judge(X, y)

    @property
    def missing(self) -> Places:
        """Places of the points without a certificate."""
        return np.flatnonzero(~(self.rel_gaps <= self.tol))

    def enter(
        self, where: Places, thetas: Array, s: Array, explained: Callable[[Array], float] | None = None
    ) -> None:
        """Certify minimisers (k, d) by their dual signs s (k, n).

        Many at a time by ordinary products; where their rounding is too much, singly in twofold precision.
        """
        k, judge = where.size, self._judge
        losses, bounds, zeros = np.empty(k), np.empty(k), np.empty(k, np.int64)
        kernel.certify(self.X, self.y, self.eps[where], judge.size, thetas, s, losses, bounds, zeros)
        gaps = relative_gaps(losses, bounds, np.full(k, judge.mean_square))
        self.thetas[where], self.losses[where], self.rel_gaps[where] = thetas, losses, gaps
        self.n_zero_residuals[where] = zeros
        for a in np.flatnonzero(~(gaps <= self.tol)):
            self.enter_one(where[a : a + 1], Candidate(thetas[a], s[a], "", explained=explained))

    def enter_one(self, where: Places, candidate: Candidate) -> None:
        """Certify one minimiser of several strengths, in twofold precision."""
        self.thetas[where] = candidate.theta
        for i in where:
            found = self._judge.exact(candidate, self.eps[i])
            self.losses[i], self.rel_gaps[i] = found.loss, found.rel_gap
            self.n_zero_residuals[i] = found.n_zero_residuals


def _trace(points: _Points, within: Coordinates) -> int:
    """Find the missing points of a path, below the zero radius; return the Newton steps.

    The path is known at one end: it leaves the interpolator at its radius, or least squares at ε = 0. Where
    the kernel misses a point, that one is found from a cold start and the path goes on from there.
    """
    F, y, where = within.F, points.y, points.missing
    squares, c = within.G.diagonal().copy(), F.T @ y
    known, phi = 0.0, c / squares
    s = np.sign(y - F @ phi)
    first = Candidate(within.back(phi), s, "", explained=within.explained)
    if interpolator := within.interpolator(y):
        phi, alpha = interpolator
        known, s = within.interpolation_radius(y), alpha / np.abs(alpha).max()
        first = Candidate(within.back(phi), np.zeros(len(y)), "", alpha=alpha)
    flat, where = where[points.eps[where] <= known], where[points.eps[where] > known]
    points.enter_one(flat, first)
    eps = np.append(known, points.eps[where])
    phis, signs = np.empty((eps.size, phi.size)), np.empty((min(eps.size, 9 + _HELD // len(y)), len(y)))
    phis[0], signs[0] = phi, s
    start, total = 1, 0
    while start < eps.size:
        found, steps = kernel.follow(F, y, eps, squares, c, 0.9 * points.tol, start, phis, signs)
        if found == 0:
            cold = minimise(F, y, eps[start], within.G, phis[start], signs[1], points.tol)
            found, steps = 1, steps + cold.steps
        stop = start + found
        thetas = np.ascontiguousarray(within.back(phis[start:stop].T).T)
        points.enter(where[start - 1 : stop - 1], thetas, signs[1 : found + 1], within.explained)
        signs[0] = signs[found]
        start, total = stop, total + steps
    return total
