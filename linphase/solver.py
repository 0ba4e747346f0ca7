"""Exact minimisers of the adversarial training loss, each with a duality gap that certifies it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import lapack, solve_triangular

from linphase._kernels import regression as kernel
from linphase.checks import Array, check_between, check_flag, check_kind
from linphase.coordinates import Coordinates, direct, singular
from linphase.newton import minimise
from linphase.problem import AdversarialProblem


class CertificateError(ArithmeticError):
    """A solve ended with a duality gap above the tolerance."""


@dataclass(frozen=True)
class Solution:
    """A minimiser with its certificate.

    Attributes
    ----------
    theta : ndarray, shape (d,)
    loss : float
        R(θ, ε), a mean over rows.
    dual_gap : float
        Loss less a lower bound on the minimum, absolute.
    rel_gap : float
        ``dual_gap / max(loss, 1e-14 mean(y²))``.
    n_iter : int
        Newton steps; 0 where a closed form applies.
    status : str
        How the solution was found, a sentence.
    n_zero_residuals : int
        Rows whose residual is zero at the optimum.
    """

    theta: Array
    loss: float
    dual_gap: float
    rel_gap: float
    n_iter: int
    status: str
    n_zero_residuals: int


def solve(problem: AdversarialProblem, tol: float = 1e-10, strict: bool = True) -> Solution:
    """Minimise R(θ, ε) = (1/n) Σ (|y_i − x_iᵀθ| + ε‖θ‖₂)² with a certificate.

    Parameters
    ----------
    problem : AdversarialProblem
    tol : float
        Largest relative duality gap accepted.
    strict : bool
        Raise if the gap stays above ``tol``; otherwise return the best point found.

    Returns
    -------
    Solution
        At ε = 0 the least squares solution, of minimum norm.

    Raises
    ------
    CertificateError
        If the gap stays above ``tol``; the message says by how much.
    """
    check_kind("problem", problem, AdversarialProblem, "an AdversarialProblem")
    tol, strict = check_between("tol", tol), check_flag("strict", strict)
    c = problem.X.T @ problem.y
    if problem.eps * np.abs(problem.y).sum() >= (1.0 - 1e-12) * math.sqrt(c @ c):
        bound, zeros = problem.dual_bound(problem.y), int(np.count_nonzero(problem.y == 0.0))
        return _certify(problem, np.zeros(problem.d), bound, 0, "theta = 0: eps >= zero radius", zeros)
    best = None
    for find in (direct, singular):
        coordinates = find(problem.X)
        if coordinates is not None:
            for found in _solve_in(coordinates, problem, tol):
                if best is None or found.rel_gap < best.rel_gap:
                    best = found
                if best.rel_gap <= tol:
                    return best
    assert best is not None  # singular coordinates always answer
    if strict:
        raise CertificateError(
            f"the relative duality gap is {best.rel_gap:.2e}, above tol = {tol:g}, after {best.n_iter} "
            f"Newton steps (n = {problem.n}, d = {problem.d}, eps = {problem.eps:g})"
        )
    return best


def _solve_in(coordinates: Coordinates, problem: AdversarialProblem, tol: float) -> Iterator[Solution]:
    """Closed forms where they hold, else Newton's method; then the same point, refined."""
    F, G, y, eps = coordinates.F, coordinates.G, problem.y, problem.eps
    interpolator = coordinates.interpolator(y)
    if interpolator is not None and coordinates.inverse is not None:
        phi, alpha = interpolator
        if eps * len(y) * np.abs(alpha).max() <= math.sqrt(phi @ phi):
            theta = coordinates.back(phi)
            theta += coordinates.back(coordinates.inverse(y - problem.X @ theta, False))
            status = "interpolator: eps <= interpolation radius"
            yield _certify(problem, theta, problem.dual_bound(alpha), 0, status, len(y))
            return
    if eps == 0.0:
        L, info = lapack.dpotrf(G, lower=1, clean=1)
        if info == 0:
            phi = lapack.dpotrs(L, F.T @ y, lower=1)[0]
            phi += lapack.dpotrs(L, F.T @ (y - F @ phi), lower=1)[0]
            yield from _refine(problem, coordinates, L, phi, np.zeros(len(y)), 0, "least squares: eps = 0", 0)
        return
    phi, s = np.empty(G.shape[0]), np.empty(len(y))
    steps = minimise(F, y, eps, G, phi, s, tol).steps
    theta = coordinates.back(phi)
    u = y - problem.X @ theta + eps * math.sqrt(phi @ phi) * s
    zeros = int(np.count_nonzero(np.abs(s) < 1.0))
    status = f"Newton's method, {steps} steps"
    yield _certify(problem, theta, problem.dual_bound(u), steps, status, zeros)
    L, info = lapack.dpotrf(G, lower=1, clean=1)
    if info == 0:
        yield from _refine(problem, coordinates, L, phi, s, steps, status, zeros)


def _refine(
    problem: AdversarialProblem,
    coordinates: Coordinates,
    L: Array,
    phi: Array,
    s: Array,
    steps: int,
    status: str,
    zeros: int,
) -> Iterator[Solution]:
    """At the limits of double precision: undo the rounding of φ -> θ, and take bounds that survive rounding.

    For very small ε the rounding of r alone makes u = r + ε b s infeasible. Move Fᵀu to its optimal value, or
    use the clean bound R(θ̂(0), 0) = ‖r‖²/n less what the columns of F still explain of r.
    """
    F, y, eps = coordinates.F, problem.y, problem.eps
    theta, b = coordinates.back(phi), math.sqrt(phi @ phi)
    lost = _residuals(problem, theta) - (y - F @ phi)
    theta = theta + coordinates.back(lapack.dpotrs(L, F.T @ lost, lower=1)[0])
    r = _residuals(problem, theta)
    explained = solve_triangular(L, F.T @ r, lower=True)
    bound = float(r @ r - explained @ explained) / problem.n
    if eps > 0.0:
        u = r + eps * b * s
        target = eps * (np.abs(r).sum() + len(y) * eps * b) / b * phi
        for _ in range(2):
            u -= F @ lapack.dpotrs(L, F.T @ u - target, lower=1)[0]
        bound = max(bound, problem.dual_bound(u))
    yield _certify(problem, theta, bound, steps, status, zeros)


def _certify(
    problem: AdversarialProblem, theta: Array, bound: float, steps: int, status: str, zeros: int
) -> Solution:
    """Compare the loss at theta with a lower bound.

    Where the plain gap is too large, it is taken net of what no θ in double precision could avoid: with ρ the
    rounding error of Xθ, a residual within ρ counts as zero, and mean(ρ²) is forgiven.
    """
    radius = problem.eps * math.sqrt(theta @ theta)
    loss = float(kernel.adversarial_loss(problem.y - problem.X @ theta, radius))
    gap = loss - bound
    if gap > 1e-11 * loss:
        r = _residuals(problem, theta)
        size = np.abs(problem.y) + np.abs(problem.X) @ np.abs(theta)
        rounding = np.finfo(float).eps * math.sqrt(problem.d) * size
        r[np.abs(r) <= rounding] = 0.0
        loss = float(kernel.adversarial_loss(r, radius))
        gap = loss - bound - float(rounding @ rounding) / problem.n
    rel_gap = float(relative_gap(loss, loss - gap, float(problem.y @ problem.y) / problem.n))
    return Solution(theta, loss, max(gap, 0.0), rel_gap, steps, status, zeros)


def relative_gap(loss: Any, bound: Any, mean_square: Any) -> Any:
    """(loss − bound) / max(loss, 1e-14 mean(y²)), 0 where y = 0; broadcasts."""
    scale = np.maximum(loss, 1e-14 * np.asarray(mean_square))
    with np.errstate(invalid="ignore"):
        return np.where(
            scale > 0.0, np.maximum(loss - np.asarray(bound), 0.0) / np.where(scale > 0.0, scale, 1.0), 0.0
        )


def _residuals(problem: AdversarialProblem, theta: Array) -> Array:
    """Residuals y − Xθ, accumulated in extended precision where the machine has it."""
    return np.asarray(problem.y - problem.X.astype(np.longdouble) @ theta, dtype=np.float64)
