"""(Stochastic) gradient descent on the adversarial loss, clean runs in closed form (THEORY 3).

A full-batch run arrives within T steps only if step * lambda_min * T >> 1, with lambda_min the smallest
positive eigenvalue of X'X/n. For eps > 0 the loss has kinks: with a constant step the run ends in a small
orbit around a minimiser that lies on one. Beyond the zero radius it wanders around 0: where the orbit has
period two (steps that are not too small), at ||theta|| of about step * eps * mean|y| / (1 - step (1 +
eps^2)) for standard normal inputs; elsewhere it may be chaotic, so that rounding errors grow. Decreasing
steps arrive.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from linphase._kernels.descent import descend
from linphase.checks import (
    Array,
    check_count,
    check_data,
    check_kind,
    check_nonnegative,
    check_numbers,
    check_real,
    check_rng,
    check_steps,
)
from linphase.problem import AdversarialProblem

_RESIDUALS = 1 << 22  # residuals held at a time when the losses are computed: 32 MB


@dataclass(frozen=True, eq=False)
class Trajectory:
    """The iterates of one run.

    Attributes
    ----------
    problem : AdversarialProblem
        Whose loss is reported.
    thetas : (n_steps + 1, d)
        The start and every iterate.
    step : (n_steps,)
        Step size of each update.
    """

    problem: AdversarialProblem
    thetas: Array
    step: Array

    @cached_property
    def losses(self) -> Array:
        """Loss on all rows at every iterate, (n_steps + 1,); computed when first asked for.

        It is inf where it is too large for double precision.
        """
        X, y, eps = self.problem.X, self.problem.y, self.problem.eps
        losses = np.empty(len(self.thetas))
        size = max(1, _RESIDUALS // len(y))
        with np.errstate(over="ignore", invalid="ignore"):
            for first in range(0, len(losses), size):
                thetas = self.thetas[first : first + size]
                reach = eps * np.linalg.norm(thetas, axis=1, keepdims=True)
                losses[first : first + size] = ((np.abs(y - thetas @ X.T) + reach) ** 2).mean(axis=1)
        losses[np.isnan(losses)] = math.inf  # infinite residuals of either sign
        return losses


def critical_step(problem: AdversarialProblem, batch_size: int | None = None) -> float:
    """Step size below which descent stays bounded: 1 / (sqrt(lambda_max) + eps)^2 (THEORY 3).

    lambda_max is the largest eigenvalue of X'X/n; with mini-batches, a bound on that of any batch. The answer
    is inf if the loss does not depend on theta.
    """
    check_kind("problem", problem, AdversarialProblem, "an AdversarialProblem")
    X, n = problem.X, problem.n
    top = float(np.linalg.eigvalsh(X @ X.T if n < problem.d else X.T @ X)[-1]) / n
    if batch_size is not None:
        batch_size = _check_batch_size(batch_size, n)
        top = min(top * n / batch_size, float((X**2).sum(axis=1).max()))
    stiffness = (math.sqrt(max(top, 0.0)) + problem.eps) ** 2
    return 1 / stiffness if stiffness > 0 else math.inf


def gradient_descent(
    problem: AdversarialProblem,
    step: ArrayLike | None = None,
    n_steps: int = 100,
    start: ArrayLike | None = None,
    batch_size: int | None = None,
    rng: np.random.Generator | None = None,
) -> Trajectory:
    """Descend theta <- theta - step_t * subgradient (2/n normalisation, as the loss) from the start.

    Full-batch runs at eps = 0 come in closed form from one eigendecomposition; all others iterate. Residuals
    of 0 and the direction of theta = 0 count as 0, as in `AdversarialProblem.subgradient`.

    Parameters
    ----------
    problem : AdversarialProblem
    step : float or (n_steps,), optional
        Step size, or one for each update. By default half of `critical_step`.
    n_steps : int
        Number of updates.
    start : (d,), optional
        By default 0.
    batch_size : int, optional
        Rows in an update, at most n; by default all. An epoch is a permutation of the rows cut into
        n // batch_size batches, the rest of it left out: every batch is a uniform draw without replacement,
        so the update is unbiased.
    rng : numpy.random.Generator, optional
        The order of the rows; needed with batch_size. More steps leave the order of the first ones as it is.

    Returns
    -------
    Trajectory

    Raises
    ------
    TypeError, ValueError
        If an argument is not of these.
    FloatingPointError
        If an iterate is not finite: the step is too large.
    """
    check_kind("problem", problem, AdversarialProblem, "an AdversarialProblem")
    n_steps = check_count("n_steps", n_steps)
    if batch_size is not None:
        batch_size = _check_batch_size(batch_size, problem.n)
    if batch_size is not None or rng is not None:
        check_rng(rng)
    if step is None:
        critical = critical_step(problem, batch_size)
        step = critical / 2 if math.isfinite(critical) else 1.0
    steps = check_steps(step, n_steps)
    origin = _start(start, problem.d)
    if problem.eps == 0 and batch_size is None:
        thetas = _clean_descent(problem, steps, origin)
        diverged = int(np.argmin(np.isfinite(thetas).all(axis=1)))
    else:
        thetas = np.empty((n_steps + 1, problem.d))
        thetas[0] = origin
        batches = _batches(problem.n, n_steps, batch_size, rng)
        diverged = descend(problem.X, problem.y, np.array([problem.eps]), steps, batches, thetas[None])
    if diverged:
        raise _divergence(diverged, steps, problem, batch_size)
    return Trajectory(problem, thetas, steps)


def gradient_descent_batch(
    X: ArrayLike,
    y: ArrayLike,
    eps: ArrayLike,
    step: ArrayLike,
    n_steps: int = 100,
    start: ArrayLike | None = None,
) -> Array:
    """Full-batch descent on m data sets for k attack strengths at once: the same runs as `gradient_descent`.

    The strengths share each pass over the data.

    Parameters
    ----------
    X : (m, n, d)
    y : (m, n)
    eps : (k,)
        Attack strengths, 0 among them or not.
    step : float or (n_steps,)
        Step size, or one for each update; the same for all runs. See `critical_step`.
    n_steps : int
        Number of updates.
    start : (d,), optional
        By default 0.

    Returns
    -------
    ndarray, (m, k, n_steps + 1, d)
        8 m k (n_steps + 1) d bytes: hand over large data sets a few at a time.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of these.
    FloatingPointError
        If an iterate is not finite: the step is too large.
    """
    X, y = check_data(X, y, ndim=3)
    strengths = _strengths(eps)
    n_steps = check_count("n_steps", n_steps)
    steps = check_steps(step, n_steps)
    thetas = np.empty((len(X), len(strengths), n_steps + 1, X.shape[2]))
    thetas[:, :, 0] = _start(start, X.shape[2])
    whole = _batches(X.shape[1], n_steps)
    for i in range(len(X)):
        diverged = descend(X[i], y[i], strengths, steps, whole, thetas[i])
        if diverged:
            raise _divergence(diverged, steps, AdversarialProblem(X[i], y[i], strengths.max()))
    return thetas


def noise_augmented_descent(
    X: ArrayLike,
    y: ArrayLike,
    eps: ArrayLike,
    rng: np.random.Generator,
    step: ArrayLike,
    n_steps: int = 100,
    start: ArrayLike | None = None,
) -> Array:
    """Clean descent with fresh noise N(0, eps^2/d I), of length about eps, on every input at every step.

    The counterpart of adversarial training in Remark 2. A step needs the noise N only as N theta and N'r.
    With z (n,) and g (d,) standard normal, b = ||theta|| and r the residuals, these have exactly the law of
    (eps/sqrt(d)) b z and, given it, (eps/sqrt(d)) (z'r theta/b + ||r|| (I - theta theta'/b^2) g): n + d draws
    a step in place of n d.

    Parameters
    ----------
    X : (n, d)
    y : (n,)
    eps : (k,)
        Lengths of the noise. The k runs share z and g; a length of 0 gives the clean run.
    rng : numpy.random.Generator
        The noise. More steps leave that of the first ones as it is.
    step, n_steps, start
        As in `gradient_descent_batch`.

    Returns
    -------
    ndarray, (k, n_steps + 1, d)

    Raises
    ------
    TypeError, ValueError
        If an argument is not of these.
    FloatingPointError
        If an iterate is not finite: the step is too large.
    """
    X, y = check_data(X, y)
    strengths = _strengths(eps)
    check_rng(rng)
    n_steps = check_count("n_steps", n_steps)
    steps, n, d = check_steps(step, n_steps), *X.shape
    origin = _start(start, d)
    size = strengths[:, None] / math.sqrt(d)
    thetas = np.empty((len(strengths), n_steps + 1, d))
    theta = np.tile(origin, (len(strengths), 1))
    thetas[:, 0] = theta
    with np.errstate(over="ignore", invalid="ignore"):
        for t in range(n_steps):
            z, g = np.split(rng.standard_normal(n + d), [n])
            b = np.linalg.norm(theta, axis=1, keepdims=True)
            unit = theta / np.where(b > 0, b, 1)
            r = y - theta @ X.T - size * b * z
            push = np.linalg.norm(r, axis=1, keepdims=True) * g
            push += ((r @ z)[:, None] - (push * unit).sum(axis=1, keepdims=True)) * unit
            theta = theta + 2 * steps[t] / n * (r @ X + size * push)
            thetas[:, t + 1] = theta
    diverged = int(np.argmin(np.isfinite(thetas).all(axis=(0, 2))))
    if diverged:
        raise _divergence(diverged, steps, AdversarialProblem(X, y, strengths.max()))
    return thetas


def _clean_descent(problem: AdversarialProblem, step: Array, start: Array) -> Array:
    """theta_t = theta_0 + q_t(X'X/n) X'r_0/n, with q_t(l) = (1 - prod_s (1 - 2 step_s l)) / l.

    This is theta_t - theta_hat = prod_s (I - 2 step_s X'X/n) (theta_0 - theta_hat) without theta_hat: q_t is
    a polynomial, so a singular X'X needs no care, and q(X'X) X' = X' q(XX') gives the smaller one if d > n.
    """
    X, n = problem.X, problem.n
    residual = (problem.y - X @ start) / n
    wide = problem.d > n
    with np.errstate(over="ignore", invalid="ignore"):  # the caller looks for iterates that are not finite
        eigenvalues, U = np.linalg.eigh((X @ X.T if wide else X.T @ X) / n)
        weights = (residual if wide else residual @ X) @ U
        moves = (_polynomial(eigenvalues, step) * weights) @ U.T
        return np.vstack([start, start + (moves @ X if wide else moves)])


def _polynomial(eigenvalues: Array, step: Array) -> Array:
    """q_t (T, r) of `_clean_descent`, accurate also where 1 - 2 step l rounds to 1."""
    shrink = 2 * np.outer(step, eigenvalues)
    slow = shrink.max(axis=0) < 0.5
    done = np.empty_like(shrink)
    done[:, slow] = -np.expm1(np.cumsum(np.log1p(-shrink[:, slow]), axis=0))
    done[:, ~slow] = 1 - np.cumprod(1 - shrink[:, ~slow], axis=0)
    # An eigenvalue that is exactly 0 comes with a weight of 0: any finite value will do.
    return np.divide(done, eigenvalues, out=np.zeros_like(done), where=eigenvalues != 0)


def _batches(
    n: int, n_steps: int, batch_size: int | None = None, rng: np.random.Generator | None = None
) -> NDArray[np.int64]:
    """Rows of each update, (n_steps, batch_size), or (n_steps, 0) for all rows."""
    if batch_size is None or rng is None:
        return np.empty((n_steps, 0), dtype=np.int64)
    in_epoch = n // batch_size
    epochs = -(-n_steps // in_epoch)
    orders = [rng.permutation(n)[: in_epoch * batch_size] for _ in range(epochs)]
    return np.concatenate(orders).reshape(-1, batch_size)[:n_steps]


def _strengths(eps: ArrayLike) -> Array:
    strengths = check_real("eps", np.atleast_1d(check_numbers("eps", eps)), 1)
    check_nonnegative("eps", strengths.min())
    return strengths


def _start(start: ArrayLike | None, d: int) -> Array:
    if start is None:
        return np.zeros(d)
    origin = check_real("start", start, 1)
    if origin.shape != (d,):
        raise ValueError(f"start must have shape ({d},), got {origin.shape}")
    return origin


def _check_batch_size(batch_size: int, n: int) -> int:
    rows = check_count("batch_size", batch_size)
    if rows > n:
        raise ValueError(f"batch_size must be at most n = {n}, got {rows}")
    return rows


def _divergence(
    at: int, step: Array, problem: AdversarialProblem, batch_size: int | None = None
) -> FloatingPointError:
    return FloatingPointError(
        f"gradient descent diverged at step {at}: step is up to {step[:at].max():.6g}, "
        f"the critical one is {critical_step(problem, batch_size):.6g}"
    )
