"""Newton steps whose right-hand sides are taken in twofold precision.

Coordinates are accurate to rounding times their condition number, and so is a step; but where the residual is
exact, each step shortens what is left by that factor, however ill-conditioned X is. θ is kept as a sum of two
floats, of which the first is returned and the second gives the dual vector its last digits.
"""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from linphase import precision
from linphase.certificate import Candidate
from linphase.checks import Array
from linphase.coordinates import Coordinates
from linphase.problem import AdversarialProblem

_ROUNDS = 5


def refine(problem: AdversarialProblem, within: Coordinates, candidate: Candidate) -> Iterator[Candidate]:
    """Yield ever better candidates; the caller stops at the first that is good enough.

    The unknowns are φ = Bᵀθ and the signs s of the rows whose residual is zero. The saddle form (see
    `_kernels.regression`) is stationary where Xᵀ(r + ε b s) = τ θ with b = ‖θ‖ and τ = n ε² + ε sᵀr / b, and
    r = 0 on those rows.
    """
    X, y, n, eps = problem.X, problem.y, problem.n, problem.eps
    theta, low, s = candidate.theta, np.zeros(problem.d), candidate.s
    inside = np.abs(s) < 1.0
    for _ in range(_ROUNDS):
        r, r_low = precision.residuals(X, y, theta, low)
        b = math.sqrt(theta @ theta)
        if not 0.0 < b < math.inf:
            return
        s = np.where(inside, s, np.where(r < 0.0, -1.0, 1.0))
        kink = eps * float(s @ r) / b
        tau = n * eps * eps + kink
        u, u_low = precision.two_sum(r, eps * b * s)
        gradient = within.forth(tau * theta - precision.correlations(X, u, u_low + r_low))
        phi = within.forth(theta)
        t, q = phi / b, eps * (within.F.T @ s)
        M = within.G - np.outer(q, t) - np.outer(t, q) - kink * np.outer(t, t)
        M.flat[:: len(M) + 1] += tau
        A = eps * (b * within.F[inside] - np.outer(r[inside], t))
        try:
            step, change = _newton(M, A, gradient, eps * b * r[inside])
        except LinAlgError:
            return
        s = s.copy()
        s[inside] = np.clip(s[inside] + change, -1.0, 1.0)
        theta, low = precision.two_sum(theta, low + within.back(step))
        yield replace(candidate, theta=theta, low=low, s=s)


def _newton(M: Array, A: Array, gradient: Array, targets: Array) -> tuple[Array, Array]:
    """Solve M x − Aᵀz = −gradient, A x = targets for x (k,) and z (m,)."""
    unit = 1.0 / np.sqrt(np.abs(M.diagonal()))  # the scales of M differ by many powers of ten
    factor = cho_factor(M * np.outer(unit, unit), lower=True)
    x = -unit * cho_solve(factor, unit * gradient)
    if not len(A):
        return x, np.zeros(0)
    W = cho_solve(factor, (A * unit).T).T * unit  # rows M⁻¹a
    z = np.linalg.lstsq(W @ A.T, targets - A @ x)[0]
    return x + z @ W, z


def refine_interpolator(
    problem: AdversarialProblem, within: Coordinates, candidate: Candidate
) -> Iterator[Candidate]:
    """The same for θ with Xθ = y and α with Xᵀα = θ."""
    assert within.inverse is not None
    theta, low, alpha = candidate.theta, np.zeros(problem.d), candidate.alpha
    assert alpha is not None
    for _ in range(_ROUNDS):
        r, r_low = precision.residuals(problem.X, problem.y, theta, low)
        theta, low = precision.two_sum(theta, low + within.back(within.inverse(r + r_low, False)))
        left = theta - precision.correlations(problem.X, alpha)
        alpha = alpha + within.inverse(within.forth(left), True)
        yield replace(candidate, theta=theta, low=low, alpha=alpha)
