"""Exact minimisers of the adversarial training loss, each with a duality gap that certifies it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from linphase.certificate import Candidate, Certificate, Judge
from linphase.checks import Array, check_between, check_flag, check_kind
from linphase.coordinates import Coordinates, direct, singular
from linphase.newton import minimise
from linphase.problem import AdversarialProblem
from linphase.refinement import refine, refine_interpolator


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
    judge, best = Judge(problem.X, problem.y), None
    for candidate in _candidates(problem, tol):
        for certify in (judge.quick, judge.exact):
            found = _solution(candidate, certify(candidate, problem.eps))
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


def _solution(candidate: Candidate, certificate: Certificate) -> Solution:
    gap = max(certificate.loss - certificate.bound, 0.0)
    return Solution(
        theta=candidate.theta,
        loss=certificate.loss,
        dual_gap=gap,
        rel_gap=certificate.rel_gap,
        n_iter=candidate.steps,
        status=candidate.status,
        n_zero_residuals=certificate.n_zero_residuals,
    )


def _candidates(problem: AdversarialProblem, tol: float) -> Iterator[Candidate]:
    """Closed forms where they hold, else Newton's method; at first plainly, then accurately and refined."""
    X, y, eps, n = problem.X, problem.y, problem.eps, problem.n
    c = X.T @ y
    if eps * np.abs(y).sum() >= (1.0 - 1e-12) * math.sqrt(c @ c):
        yield Candidate(np.zeros(problem.d), np.sign(y), "theta = 0: eps >= zero radius")
        return
    for find in (direct, singular):
        within = find(X)
        if within is None:
            continue
        interpolator = within.interpolator(y)
        if interpolator is not None and _is_optimal(*interpolator, eps):
            phi, alpha = interpolator
            status, improve = "interpolator: eps <= interpolation radius", refine_interpolator
            found = Candidate(within.back(phi), np.zeros(n), status, alpha=alpha)
        else:
            found = _fit(problem, within, tol)
            improve = refine
        yield found
        if find is singular:
            yield from improve(problem, within, found)


def _is_optimal(phi: Array, alpha: Array, eps: float) -> bool:
    """Tell whether the interpolator φ with Fᵀα = φ minimises the loss at ε."""
    return bool(eps * len(alpha) * np.abs(alpha).max() <= math.sqrt(phi @ phi))


def _fit(problem: AdversarialProblem, within: Coordinates, tol: float) -> Candidate:
    """Least squares at ε = 0, Newton's method beyond."""
    F, G, y = within.F, within.G, problem.y
    phi, s, steps, status = np.empty(len(G)), np.zeros(problem.n), 0, "least squares: eps = 0"
    if problem.eps > 0.0:
        steps = minimise(F, y, problem.eps, G, phi, s, tol).steps
        status = f"Newton's method, {steps} steps"
    else:
        phi, s = within.least_squares(y), np.ones(problem.n)
    return Candidate(within.back(phi), s, status, steps, explained=within.explained)
