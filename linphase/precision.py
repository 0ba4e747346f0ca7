"""Residuals, correlations, losses and lower bounds whose rounding errors are accounted for."""

import math

import numpy as np

from linphase._kernels import twofold
from linphase.checks import Array

UNIT = twofold.UNIT
"""Half a unit in the last digit of 1: the worst relative error of one operation."""

BLOCK = 1024
"""Rows in one matrix product, whose worst rounding grows with them."""


def two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """Return a + b as a rounded sum and its rounding error."""
    s = a + b
    z = s - a
    return s, (a - (s - z)) + (b - z)


def residuals(X: Array, y: Array, theta: Array, low: Array | None = None) -> tuple[Array, Array]:
    """Return y − X(theta + low), in twofold precision, as two arrays (n,) whose sum it is."""
    r, r_low = np.empty(len(y)), np.empty(len(y))
    twofold.residuals(X, y, theta, np.zeros(len(theta)) if low is None else low, r, r_low)
    return r, r_low


def correlations(X: Array, u: Array, u_low: Array | None = None) -> Array:
    """Return Xᵀ(u + u_low), computed in twofold precision and rounded once."""
    g = np.empty(X.shape[1])
    twofold.correlations(X, u, np.zeros(len(u)) if u_low is None else u_low, g)
    return g


def blocked_correlations(X: Array, u: Array) -> tuple[Array, float]:
    """Return Xᵀu by ordinary products over blocks of rows, and its worst rounding.

    Entry j is wrong by at most the second number times ‖x_j‖‖u‖.
    """
    g = X[:BLOCK].T @ u[:BLOCK]
    for start in range(BLOCK, len(u), BLOCK):
        g += X[start : start + BLOCK].T @ u[start : start + BLOCK]
    return g, (min(len(u), BLOCK) + len(u) / BLOCK + 4.0) * UNIT


def loss(r: Array, r_low: Array, radius: float) -> float:
    """Return the mean of (|r + r_low| + radius)²."""
    return float(twofold.loss(r, r_low, radius))


def lower_bound(u: Array, u_low: Array | None, xtu: Array, error: float, y: Array, eps: float) -> float:
    """Return a lower bound on the minimal loss from a dual vector, less what rounding can have done.

    ``xtu`` holds Xᵀ(u + u_low) and is wrong by at most ``error`` in length.
    """
    norm = math.sqrt(xtu @ xtu) * (1.0 + (len(xtu) + 8.0) * UNIT) + error
    return float(twofold.lower_bound(u, np.zeros(len(u)) if u_low is None else u_low, norm, y, eps))


def rounding(X: Array, theta: Array) -> Array:
    """Return for each row what half a unit in the last digit of every entry of theta can change Xθ by."""
    changes = np.empty(len(X))
    twofold.rounding(X, theta, changes)
    return changes
