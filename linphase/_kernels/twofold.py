"""Residuals, correlations and lower bounds in twofold precision, for certificates that survive rounding.

A number is kept as an unevaluated sum of two floats (Dekker; Ogita, Rump and Oishi, "Accurate sum and dot
product", 2005): products are split exactly, sums carry their rounding errors along. Results are those of
arithmetic with about 32 digits, rounded; what is left is an error of order u²·n, u = 2⁻⁵³, which the bounds
count. Nothing here may have fastmath.
"""

import numpy as np
from numba import njit

UNIT = 2.0**-53

_SPLIT = 134217729.0  # 2²⁷ + 1


@njit(cache=True, error_model="numpy")
def _two_sum(a, b):
    s = a + b
    z = s - a
    return s, (a - (s - z)) + (b - z)


@njit(cache=True, error_model="numpy")
def _halves(a):
    big = _SPLIT * a
    high = big - (big - a)
    return high, a - high


@njit(cache=True, error_model="numpy")
def _two_product(a, b):
    p = a * b
    ah, al = _halves(a)
    bh, bl = _halves(b)
    return p, al * bl - (((p - ah * bh) - al * bh) - ah * bl)


@njit(cache=True, error_model="numpy")
def residuals(X, y, theta, theta_low, r, r_low):
    """Set r + r_low to y − X(theta + theta_low)."""
    n, d = X.shape
    for i in range(n):
        high, low = y[i], 0.0
        for j in range(d):
            p, e = _two_product(-X[i, j], theta[j])
            high, f = _two_sum(high, p)
            low += (e + f) - X[i, j] * theta_low[j]
        r[i], r_low[i] = _two_sum(high, low)


@njit(cache=True, error_model="numpy")
def correlations(X, u, u_low, g):
    """Set g to Xᵀ(u + u_low), rounded once."""
    n, d = X.shape
    low = np.zeros(d)
    for j in range(d):
        g[j] = 0.0
    for i in range(n):
        a, b = u[i], u_low[i]
        for j in range(d):
            p, e = _two_product(X[i, j], a)
            g[j], f = _two_sum(g[j], p)
            low[j] += (e + f) + X[i, j] * b
    for j in range(d):
        g[j] += low[j]


@njit(cache=True, error_model="numpy")
def loss(r, r_low, radius):
    """Mean of (|r| + radius)², radius = ε‖θ‖."""
    high, low = 0.0, 0.0
    for i in range(r.size):
        a = abs(r[i] + r_low[i]) + radius
        high, e = _two_sum(high, a * a)
        low += e
    return (high + low) / r.size


@njit(cache=True, error_model="numpy")
def lower_bound(u, u_low, norm_xtu, y, eps):
    """Lower bound (uᵀy)² / (n Σ v²) on the minimal loss, less all rounding errors.

    v = max(|u|, κ) with the smallest κ that makes u feasible, ε Σ v ≥ ‖Xᵀu‖; ``norm_xtu`` may not be below
    ‖Xᵀu‖.
    """
    n = u.size
    kappa = 0.0
    if norm_xtu > 0.0:
        if eps == 0.0:
            return 0.0
        target = norm_xtu * (1.0 + 8.0 * UNIT) / eps
        kappa = target / n  # feasible; Newton on a convex piecewise linear function comes down from here
        for _ in range(100):
            above, low, below = 0.0, 0.0, 0
            for i in range(n):
                if abs(u[i]) <= kappa:
                    below += 1
                else:
                    above, e = _two_sum(above, abs(u[i]))
                    low += e
            above += low
            if above >= target:
                kappa = 0.0
                break
            least = (target - above) / below * (1.0 + 4.0 * UNIT) if below > 0 else kappa
            if least >= kappa * (1.0 - 4.0 * UNIT):
                kappa = max(kappa, least)
                break
            kappa = least
    product, product_low, vv, vv_low = 0.0, 0.0, 0.0, 0.0
    for i in range(n):
        p, e = _two_product(u[i], y[i])
        product, f = _two_sum(product, p)
        product_low += (e + f) + u_low[i] * y[i]
        v = max(abs(u[i]) * (1.0 + 2.0 * UNIT), kappa)
        vv, e = _two_sum(vv, v * v)
        vv_low += e
    vv += vv_low
    if not vv > 0.0:
        return 0.0
    root = (product + product_low) / np.sqrt(n * vv)
    return root * root * (1.0 - 32.0 * UNIT)


@njit(cache=True, error_model="numpy")
def rounding(X, theta, out):
    """Set out to what half a unit in the last digit of every entry of theta can change Xθ by."""
    for i in range(X.shape[0]):
        total = 0.0
        for j in range(X.shape[1]):
            total += abs(X[i, j] * theta[j])
        out[i] = UNIT * total
