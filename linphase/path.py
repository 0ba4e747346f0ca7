"""Whole solution paths ε -> θ̂(ε), every point certified."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from linphase._kernels import regression as kernel
from linphase.checks import Array, check_between, check_count, check_data, check_real, shown
from linphase.coordinates import Coordinates, principal, singular
from linphase.newton import minimise
from linphase.problem import AdversarialProblem
from linphase.radii import zero_radius
from linphase.solver import relative_gap, solve

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
    k, d = grid.size, X.shape[1]
    path = Path(grid, np.zeros((k, d)), np.full(k, np.inf), np.full(k, np.inf), np.zeros(k, np.int64), 0)
    steps = 0
    _certify(path, np.flatnonzero(grid >= end * (1.0 - 1e-12)), X, y, np.zeros(d), np.sign(y))
    for find in (principal, singular):
        missing = np.flatnonzero(~(path.rel_gaps <= tol))
        if missing.size and (coordinates := find(X)):
            steps += _trace(path, missing, X, y, coordinates, tol)
    for i in np.flatnonzero(~(path.rel_gaps <= tol)):
        found = solve(AdversarialProblem(X, y, grid[i]), tol)
        path.thetas[i], path.losses[i], path.rel_gaps[i] = found.theta, found.loss, found.rel_gap
        path.n_zero_residuals[i] = found.n_zero_residuals
        steps += found.n_iter
    return replace(path, n_iter=steps)


def _trace(path: Path, where: NDArray[np.int64], X: Array, y: Array, within: Coordinates, tol: float) -> int:
    """Fill the points ``where`` of a path, below the zero radius; return the Newton steps.

    The path is known at one end: it leaves the interpolator at its radius, or least squares at ε = 0. Where
    the kernel misses a point, that one is found from a cold start and the path goes on from there.
    """
    F, squares, c = within.F, within.G.diagonal().copy(), within.F.T @ y
    known, phi = 0.0, c / squares
    s = np.sign(y - F @ phi)
    if interpolator := within.interpolator(y):
        phi, alpha = interpolator
        known, s = within.interpolation_radius(y), alpha / np.abs(alpha).max()
    flat, where = where[path.eps[where] <= known], where[path.eps[where] > known]
    _certify(path, flat, X, y, within.back(phi), s)
    if within.inverse is not None:
        path.n_zero_residuals[flat] = len(y)
    eps = np.append(known, path.eps[where])
    phis, signs = np.empty((eps.size, phi.size)), np.empty((min(eps.size, 9 + _HELD // len(y)), len(y)))
    phis[0], signs[0] = phi, s
    start, total = 1, 0
    while start < eps.size:
        found, steps = kernel.follow(F, y, eps, squares, c, tol, start, phis, signs)
        if found == 0:
            cold = minimise(F, y, eps[start], within.G, phis[start], signs[1], tol)
            found, steps = 1, steps + cold.steps
        stop = start + found
        _certify(
            path, where[start - 1 : stop - 1], X, y, within.back(phis[start:stop].T).T, signs[1 : found + 1]
        )
        signs[0] = signs[found]
        start, total = stop, total + steps
    return total


def _certify(path: Path, where: NDArray[np.int64], X: Array, y: Array, thetas: Array, s: Array) -> None:
    """Enter minimisers (k, d), certified by their dual signs s (k, n); one row of each serves all points."""
    (n, d), k = X.shape, where.size
    if k > 0:
        thetas = np.ascontiguousarray(np.broadcast_to(thetas, (k, d)))
        s, losses, bounds = np.ascontiguousarray(np.broadcast_to(s, (k, n))), np.empty(k), np.empty(k)
        kernel.certify(X, y, path.eps[where], thetas, s, losses, bounds)
        path.thetas[where], path.losses[where] = thetas, losses
        path.rel_gaps[where] = relative_gap(losses, bounds, float(y @ y) / n)
        path.n_zero_residuals[where] = np.count_nonzero(np.abs(s) < 1.0, axis=1)
