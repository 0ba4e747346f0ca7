"""Batches of data sets of one shape, for Monte Carlo."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from linphase._kernels import regression as kernel
from linphase.certificate import relative_gaps
from linphase.checks import Array, check_between, check_data, check_vector
from linphase.problem import AdversarialProblem
from linphase.solver import solve


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
    squares = np.einsum("ij,ij->i", y, y) / n
    if d < n:
        c = np.einsum("mnd,mn->md", X, y)
        reached, radius = strengths * np.abs(y).sum(axis=1), np.linalg.norm(c, axis=1)
        inner, outer = reached < radius, reached > (1.0 + 1e-10) * radius
        thetas[~inner], losses[outer], bounds[outer] = 0.0, squares[outer], squares[outer]
        clean = inner & (strengths == 0.0)
        if clean.any():
            thetas[clean], losses[clean], bounds[clean] = _fit(X[clean], y[clean], None, tol)
        inner &= ~clean
        if inner.all():  # the common case, without a copy of X
            thetas, losses, bounds = _fit(X, y, strengths, tol)
        elif inner.any():
            thetas[inner], losses[inner], bounds[inner] = _fit(X[inner], y[inner], strengths[inner], tol)
    gaps = relative_gaps(losses, bounds, squares)
    for k in np.flatnonzero(~(gaps <= tol)):
        found = solve(AdversarialProblem(X[k], y[k], strengths[k]), tol)
        thetas[k], losses[k], gaps[k] = found.theta, found.loss, found.rel_gap
    return Batch(thetas, losses, gaps)


def _fit(X: Array, y: Array, eps: Array | None, tol: float) -> tuple[Array, Array, Array]:
    """Minimisers, losses and lower bounds for m data sets below their zero radii; None stands for ε = 0."""
    m, n, d = X.shape
    thetas, losses, bounds = np.empty((m, d)), np.empty(m), np.empty(m)
    if eps is None:
        kernel.least_squares(X, y, thetas, losses, bounds)
    else:
        s, none = np.empty((m, n)), np.empty((0, d, d))
        kernel.minimise(X, y, eps, none, tol, 0, False, thetas, s, losses, bounds)
    return thetas, losses, bounds
