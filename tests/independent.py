"""A judge of solutions that shares no code with the solver: exact losses, rivals, a dual bound of its own.

Products are split into two floats that hold them exactly and summed by `math.fsum`, so a loss is right to its
last digit. Rivals are cheap solutions by other libraries, polished: a certified solution that one of them
beats is a failure of the certificate.
"""

import math
import warnings

import numpy as np
from scipy.linalg import qr, solve_triangular
from scipy.optimize import minimize


def split_products(a, b):
    """Products a·b as two arrays whose exact sum they are (Dekker)."""

    def halves(x):
        big = 134217729.0 * x
        high = big - (big - x)
        return high, x - high

    p = a * b
    (ah, al), (bh, bl) = halves(a), halves(b)
    return p, al * bl - (((p - ah * bh) - al * bh) - ah * bl)


def residuals(X, y, theta):
    """y − Xθ, each entry rounded once."""
    high, low = split_products(X, np.broadcast_to(theta, X.shape))
    return np.array([math.fsum((y[i], *-high[i], *-low[i])) for i in range(len(y))])


def correlations(X, u):
    """Xᵀu, each entry rounded once."""
    return -residuals(np.ascontiguousarray(X.T), np.zeros(X.shape[1]), u)


def norm(theta):
    size = np.abs(theta).max()
    return size * math.sqrt(math.fsum((theta / size) ** 2)) if size > 0.0 else 0.0


def loss(X, y, eps, theta):
    """R(θ, ε), from residuals that are rounded once."""
    a = np.abs(residuals(X, y, theta)) + eps * norm(theta)
    return math.fsum(a * a) / len(y)


def dual_bound(X, y, eps, theta, zeros):
    """The test's own lower bound, from the signs of the residuals and a least squares fit for the others."""
    b = norm(theta)
    if b == 0.0 or eps == 0.0:
        return -math.inf
    r = residuals(X, y, theta)
    order = np.argsort(np.abs(r))
    s = np.sign(r)
    where = order[:zeros]
    s[where] = 0.0
    n = len(y)
    for _ in range(2):
        tau = n * eps * eps + eps * float(s @ r) / b
        wanted = tau * theta - correlations(X, r + eps * b * s)
        if zeros:
            s[where] += np.linalg.lstsq(eps * b * X[where].T, wanted)[0]
    s = np.clip(s, -1.0, 1.0)
    u = r + eps * b * s
    # v = max(|u|, κ) with ε Σ v ≥ ‖Xᵀu‖, all sums rounded once
    target = norm(correlations(X, u)) * (1.0 + 1e-15) / eps
    size = np.sort(np.abs(u))
    kappa, sums = 0.0, np.append(0.0, np.cumsum(size))
    if math.fsum(size) < target:
        for k in range(1, n + 1):  # κ lifts the k smallest
            kappa = (target - (sums[n] - sums[k])) / k
            if k == n or kappa <= size[k]:
                break
        kappa *= 1.0 + 1e-14
    v = np.maximum(np.abs(u), kappa)
    if eps * math.fsum(v) < norm(correlations(X, u)):
        return -math.inf
    high, low = split_products(u, y)
    return math.fsum((*high, *low)) ** 2 / (n * math.fsum(v * v))


def rivals(X, y, eps, theta):
    """Other solutions: least squares by two libraries, refined; and ours, polished."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scale = np.linalg.norm(X, axis=0)
        scale[scale == 0.0] = 1.0
        starts = [np.linalg.lstsq(X, y)[0], np.linalg.lstsq(X / scale, y)[0] / scale]
        if X.shape[0] >= X.shape[1]:
            Q, R, order = qr(X / scale, mode="economic", pivoting=True)
            if abs(R[-1, -1]) > 1e-15 * abs(R[0, 0]):
                fit = np.empty(len(scale))
                fit[order] = solve_triangular(R, Q.T @ y)
                starts.append(fit / scale)
        found = []
        for start in (*starts, theta):
            found.append(start)
            if eps == 0.0 or start is theta:
                for _ in range(2):
                    again = start + np.linalg.lstsq(X / scale, residuals(X, y, start))[0] / scale
                    found.append(again)
                    start = again
        if eps > 0.0 and np.any(theta):
            found += polished(X, y, eps, theta)
        return found


def polished(X, y, eps, theta):
    """L-BFGS-B from a point, in coordinates relative to it, with |r| smoothed ever less."""
    n, scale = len(y), np.maximum(np.abs(theta), 1e-3 * np.abs(theta).max())
    unit = math.sqrt(np.mean(y * y)) or 1.0
    found, point = [], theta
    for mu in (1e-6, 1e-9):

        def smooth(z, mu=mu, point=point):
            candidate = point + scale * z
            r = y - X @ candidate
            h = np.sqrt(r * r + (mu * unit) ** 2)
            b = math.sqrt(candidate @ candidate)
            a = h + eps * b
            slope = -X.T @ (a * r / h) + eps * a.sum() * candidate / b
            return (a @ a) / n, 2.0 * scale * slope / n

        fit = minimize(smooth, np.zeros(len(theta)), jac=True, method="L-BFGS-B", options={"maxiter": 60})
        found.append(point + scale * fit.x)
        point = found[-1]
    return found


def cone_programme(X, y, eps):
    """Solve by cvxpy with Clarabel, on data of unit scale; 0 where that fails."""
    import cvxpy as cp

    columns = float(np.abs(X).max()) or 1.0
    unit = float(np.abs(y).max()) or 1.0
    theta = cp.Variable(X.shape[1])
    attacked = cp.abs(y / unit - (X / columns) @ theta) + (eps / columns) * cp.norm(theta)
    try:
        with warnings.catch_warnings():  # that a solution may be inaccurate: a rival may be
            warnings.simplefilter("ignore")
            cp.Problem(cp.Minimize(cp.sum_squares(attacked))).solve(solver=cp.CLARABEL)
    except cp.SolverError:
        return np.zeros(X.shape[1])
    return np.zeros(X.shape[1]) if theta.value is None else np.asarray(theta.value) * (unit / columns)
