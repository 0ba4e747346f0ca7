"""Gradient descent on the adversarial loss of one data set, for several attack strengths at once."""

import math

import numpy as np
from numba import njit

_CACHED = 1 << 15  # entries of X that stay in a core's cache between the two products that use them


@njit(cache=True, fastmath={"reassoc"})
def _weigh(fit, y, reach):
    """Turn fitted values into a sign(r), a = |r| + reach, in place; return sum a."""
    total = 0.0
    for i in range(len(y)):
        r = y[i] - fit[i]
        a = abs(r) + reach
        total += a
        fit[i] = math.copysign(a, r) if r != 0.0 else 0.0
    return total


@njit(cache=True)
def _norm(theta):
    total = 0.0
    for p in theta:
        total += p * p
    return math.sqrt(total)


@njit(cache=True)
def _copy(source, target):
    for j in range(source.shape[0]):  # an array assignment here would take seconds to compile
        for p in range(source.shape[1]):
            target[j, p] = source[j, p]


@njit(cache=True)
def _update(X, y, eps, step, theta):
    """Move theta (k, d) down its k gradients; the rows of X are read once, in blocks, for all k.

    Return whether every entry stays finite.
    """
    n, d = X.shape
    k = len(theta)
    b = np.array([_norm(row) for row in theta])
    push = np.zeros(k)  # sum of the weights a
    pull = np.zeros((k, d))  # X' (a sign r)
    rows = max(1, _CACHED // d)
    for first in range(0, n, rows):
        block = X[first : first + rows]
        signed = np.dot(theta, block.T)
        for j in range(k):
            push[j] += _weigh(signed[j], y[first : first + rows], eps[j] * b[j])
        part = np.dot(signed, block)
        for j in range(k):
            for p in range(d):
                pull[j, p] += part[j, p]
    finite = True
    for j in range(k):
        shrink = 1.0
        if b[j] > 0.0:
            shrink -= 2.0 * step / n * eps[j] * push[j] / b[j]
        for p in range(d):
            theta[j, p] = shrink * theta[j, p] + 2.0 * step / n * pull[j, p]
        finite &= math.isfinite(_norm(theta[j]))
    return finite


@njit(cache=True)
def descend(X, y, eps, step, batches, thetas):
    """Fill thetas (k, T + 1, d) from its entries at 0; return the first step that is not finite, or 0.

    Update t goes over the rows batches[t], or over all rows where batches (T, B) has B = 0.
    """
    size = batches.shape[1]
    k, d = len(eps), X.shape[1]
    X_batch, y_batch = np.empty((size, d)), np.empty(size)
    theta = np.empty((k, d))
    _copy(thetas[:, 0], theta)
    for t in range(len(step)):
        for i in range(size):
            y_batch[i] = y[batches[t, i]]
            for p in range(d):
                X_batch[i, p] = X[batches[t, i], p]
        rows, targets = (X_batch, y_batch) if size > 0 else (X, y)
        if not _update(rows, targets, eps, step[t], theta):
            return t + 1
        _copy(theta, thetas[:, t + 1])
    return 0
