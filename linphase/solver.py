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

_ACCURATE = 1e-4  # error of coordinates in which a refined step still gains four digits


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
        Loss less a lower bound on the minimum, absolute. The bound holds for X and y as they are given: it is
        less by every rounding error that its computation can have made.
    rel_gap : float
        ``dual_gap / max(loss, 1e-14 mean(y²))``, less what rounding the entries of ``theta`` to double
        precision can cost, of which 1e-8 at most is taken off.
    n_iter : int
        Newton steps; 0 where a closed form applies.
    status : str
        How the solution was found, a sentence.
    n_zero_residuals : int
        Rows whose residual is zero at the optimum, up to the rounding of its own computation.
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
        At ε = 0 the least squares solution, of minimum norm. A column of X that depends on the others up to
        rounding counts as dependent there.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of these.
    CertificateError
        If the gap stays above ``tol``; the message says by how much, and whether rounding may be to blame.

    Examples
    --------
    >>> import linphase as lp
    >>> solution = lp.solve(lp.AdversarialProblem([[1.0], [2.0]], [1.0, 3.0], eps=0.5))
    >>> round(float(solution.theta[0]), 4), round(solution.loss, 4), solution.rel_gap <= 1e-10
    (1.3333, 1.0, True)
    """
    check_kind("problem", problem, AdversarialProblem, "an AdversarialProblem")
    tol, strict = check_between("tol", tol), check_flag("strict", strict)
    judge = Judge(problem.X, problem.y)
    best: tuple[Candidate, Certificate] | None = None
    for candidate in _candidates(problem, tol):
        for certify in (judge.quick, judge.exact):
            found = certify(candidate, problem.eps)
            if best is None or found.rel_gap < best[1].rel_gap:
                best = candidate, found
            if found.rel_gap <= tol:
                return _solution(candidate, found)
    assert best is not None  # singular coordinates always answer
    candidate, found = best
    if strict:
        raise CertificateError(
            f"the relative duality gap is {found.rel_gap:.2e}, above tol = {tol:g}, after {candidate.steps} "
            f"Newton steps (n = {problem.n}, d = {problem.d}, eps = {problem.eps:g})" + _excuse(found)
        )
    return _solution(candidate, found)


def _excuse(found: Certificate) -> str:
    """What to say of rounding, if it may be to blame for a gap."""
    if found.rounding < 0.1 * found.rel_gap:
        return ""
    return f"; rounding theta to double precision alone may cost {found.rounding:.0e} of the loss"


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
    X, y, eps = problem.X, problem.y, problem.eps
    c = X.T @ y
    if eps * np.abs(y).sum() >= (1.0 - 1e-12) * math.sqrt(c @ c):
        yield Candidate(np.zeros(problem.d), np.sign(y), "theta = 0: eps >= zero radius")
        if eps > 0.0:
            return
    for find in (direct, singular):
        within = find(X)
        if within is None:
            continue
        interpolator, improve = within.interpolator(y), refine_interpolator
        if interpolator is not None and _is_optimal(*interpolator, eps):
            found = _interpolate(problem, within, *interpolator)
        else:
            found, improve = _fit(problem, within, tol), refine
        yield found
        consistent = within.consistent(y)
        if consistent is not None and _is_optimal(*consistent, eps):
            yield _interpolate(problem, within, *consistent)
        if within.error < _ACCURATE:
            yield from improve(problem, within, found)


def _interpolate(problem: AdversarialProblem, within: Coordinates, phi: Array, alpha: Array) -> Candidate:
    status = "interpolator: eps <= interpolation radius"
    return Candidate(within.back(phi), np.zeros(problem.n), status, alpha=alpha)


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
