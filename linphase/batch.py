"""Many problems at once: whole solution paths, and batches of data sets for Monte Carlo."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from linphase._kernels import regression as kernel
from linphase.coordinates import direct, singular
from linphase.problem import AdversarialProblem, Array, check_data, check_real
from linphase.radii import zero_radius
from linphase.solver import relative_gap, solve


@dataclass(frozen=True)
class Batch:
    """Minimisers of many problems.

    Attributes
    ----------
    thetas : ndarray, shape (m, d)
    losses : ndarray, shape (m,)
        R(θ, ε), means over rows.
    rel_gaps : ndarray, shape (m,)
        Relative duality gaps, as in `Solution`.
    """

    thetas: Array
    losses: Array
    rel_gaps: Array


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


def solve_batch(X: ArrayLike, y: ArrayLike, eps: ArrayLike, tol: float = 1e-10) -> Batch:
    """Minimise R(·, ε) for m data sets of one shape; compiled for d < n, `solve` in a loop otherwise.

    Parameters
    ----------
    X : array_like, shape (m, n, d)
    y : array_like, shape (m, n)
    eps : float or array_like, shape (m,)
        Attack strength, common or one for each data set.
    tol : float
        Largest relative duality gap accepted.

    Returns
    -------
    Batch

    Raises
    ------
    CertificateError
        If a gap stays above ``tol``.
    """
    X, y = check_real("X", X, 3), check_real("y", y, 2)
    m, n, d = X.shape
    if y.shape != (m, n):
        raise ValueError(f"y must have shape ({m}, {n}), as X has shape {X.shape}, got {y.shape}")
    strengths = _strengths(eps, m)
    thetas, losses, bounds = np.zeros((m, d)), np.full(m, np.inf), np.zeros(m)
    if d < n:
        c = np.einsum("mnd,mn->md", X, y)
        inner = strengths * np.abs(y).sum(axis=1) < np.linalg.norm(c, axis=1)
        thetas[~inner], losses[~inner] = 0.0, np.einsum("ij,ij->i", y[~inner], y[~inner]) / n
        bounds[~inner] = losses[~inner]
        clean = inner & (strengths == 0.0)
        if clean.any():
            thetas[clean], losses[clean], bounds[clean] = _least_squares(X[clean], y[clean], c[clean])
        inner &= ~clean
        if inner.all():  # the common case, without a copy of X
            thetas, losses, bounds = _minimise(X, y, strengths, tol)
        elif inner.any():
            thetas[inner], losses[inner], bounds[inner] = _minimise(X[inner], y[inner], strengths[inner], tol)
    gaps = relative_gap(losses, bounds, np.einsum("ij,ij->i", y, y) / n)
    for k in np.flatnonzero(~(gaps <= tol)):
        found = solve(AdversarialProblem(X[k], y[k], strengths[k]), tol)
        thetas[k], losses[k], gaps[k] = found.theta, found.loss, found.rel_gap
    return Batch(thetas, losses, gaps)


def solve_path(
    X: ArrayLike, y: ArrayLike, eps: ArrayLike | None = None, n_eps: int = 100, tol: float = 1e-10
) -> Path:
    """Minimise R(·, ε) along ε: one Gram matrix, each point started from the ones before, all certified.

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
    end = zero_radius(X, y)
    if eps is None:
        if isinstance(n_eps, bool) or not isinstance(n_eps, int) or n_eps < 2:
            raise ValueError(f"n_eps must be an integer of at least 2, got {n_eps!r}")
        grid = end * np.geomspace(1e-3, 1.0, n_eps)
        if end == 0.0:
            raise ValueError("eps must be given where the zero radius is 0 (X and y are orthogonal)")
    else:
        grid = check_real("eps", eps, 1)
        if grid[0] < 0.0 or (np.diff(grid) <= 0.0).any():
            raise ValueError(f"eps must be nonnegative and strictly increasing, got {grid}")
    k, d = grid.size, X.shape[1]
    thetas, losses, bounds = np.zeros((k, d)), np.full(k, np.inf), np.zeros(k)
    zeros = np.zeros(k, np.int64)
    coordinates = direct(X) or singular(X)
    inside = np.flatnonzero((grid > coordinates.interpolation_radius(y)) & (grid < end * (1.0 - 1e-12)))
    n_iter = 0
    if inside.size:
        phis, inner = np.empty((inside.size, coordinates.G.shape[0])), slice(inside[0], inside[-1] + 1)
        n_iter = kernel.minimise(
            coordinates.F[None],
            y[None],
            grid[None, inner],
            coordinates.G[None],
            tol,
            0,
            False,
            phis[None],
            np.empty((1, len(y))),
            losses[None, inner],
            bounds[None, inner],
            zeros[None, inner],
        )
        thetas[inner] = coordinates.back(phis.T).T
    gaps = relative_gap(losses, bounds, float(y @ y) / len(y))
    for i in np.flatnonzero(~(gaps <= tol)):
        found = solve(AdversarialProblem(X, y, grid[i]), tol)
        thetas[i], losses[i], gaps[i], zeros[i] = (
            found.theta,
            found.loss,
            found.rel_gap,
            found.n_zero_residuals,
        )
    return Path(grid, thetas, losses, gaps, zeros, n_iter)


def _minimise(X: Array, y: Array, eps: Array, tol: float) -> tuple[Array, Array, Array]:
    """Minimisers, losses and lower bounds for m data sets at strengths between 0 and their zero radii."""
    m, n, d = X.shape
    thetas, numbers = np.empty((m, 1, d)), np.empty((2, m, 1))
    zeros, none = np.zeros((m, 1), np.int64), np.empty((0, d, d))
    kernel.minimise(
        X, y, eps[:, None], none, tol, 0, False, thetas, np.empty((m, n)), numbers[0], numbers[1], zeros
    )
    return thetas[:, 0], numbers[0, :, 0], numbers[1, :, 0]


def _least_squares(X: Array, y: Array, c: Array) -> tuple[Array, Array, Array]:
    """The same at ε = 0: the bound is the loss less what the columns still explain."""
    G = np.matmul(np.swapaxes(X, 1, 2), X)
    try:
        thetas = np.linalg.solve(G, c[..., None])
        r = y - np.matmul(X, thetas)[..., 0]
        left = np.einsum("mnd,mn->md", X, r)
        explained = np.einsum("md,md->m", left, np.linalg.solve(G, left[..., None])[..., 0])
    except np.linalg.LinAlgError:
        return np.zeros_like(c), np.full(len(y), np.inf), np.zeros(len(y))
    losses = np.einsum("mn,mn->m", r, r) / y.shape[1]
    bounds = losses - np.abs(explained) / y.shape[1]
    return np.asarray(thetas[..., 0], dtype=np.float64), np.asarray(losses), np.asarray(bounds)


def _strengths(eps: ArrayLike, m: int) -> Array:
    strengths = check_real("eps", np.atleast_1d(np.asarray(eps)), 1)
    if strengths.size not in (1, m):
        raise ValueError(f"eps must be one number or {m}, one for each data set, got {strengths.size}")
    if strengths.min() < 0.0:
        raise ValueError(f"eps must be at least 0, got {strengths.min()}")
    return np.ascontiguousarray(np.broadcast_to(strengths, m))
