"""Batches of data sets of one shape, for Monte Carlo."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from linphase._kernels import regression as kernel
from linphase.checks import Array, check_between, check_data, check_vector
from linphase.problem import AdversarialProblem
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
    X, y = check_data(X, y, ndim=3)
    tol, (m, n, d) = check_between("tol", tol), X.shape
    strengths = check_vector("eps", eps, m)
    if strengths.min() < 0.0:
        raise ValueError(f"eps must be at least 0, got {strengths.min():g}")
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


def _minimise(X: Array, y: Array, eps: Array, tol: float) -> tuple[Array, Array, Array]:
    """Minimisers, losses and lower bounds for m data sets at strengths between 0 and their zero radii."""
    m, n, d = X.shape
    thetas, losses, bounds = np.empty((m, d)), np.empty(m), np.empty(m)
    kernel.minimise(X, y, eps, np.empty((0, d, d)), tol, 0, False, thetas, np.empty((m, n)), losses, bounds)
    return thetas, losses, bounds


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
