"""Problems that break solvers: collinear, dependent, scaled, repeated, heavy-tailed; at every strength."""

import numpy as np

import linphase as lp


def hard(rng):
    """A problem with some of the usual defects, and a strength in one of the phases."""
    n, d = rng.choice([1, 2, 3, 5, 10, 20, 50, 100], 2)
    X = rng.standard_t(1.2, (n, d)) if rng.random() < 0.2 else rng.standard_normal((n, d))
    if rng.random() < 0.1:
        X = np.round(X)
    if rng.random() < 0.2:
        X = X[rng.integers(0, max(1, n // 2), n)]
    if rng.random() < 0.2 and d > 1:
        X[:, d // 2 :] = X[:, : d // 2] @ rng.standard_normal((d // 2, d - d // 2))
    if rng.random() < 0.15 and d > 1:
        X[:, -1] = X[:, 0] + 10.0 ** rng.uniform(-8, -3) * X[:, -1]
    if rng.random() < 0.15:
        X[:, 0] = 1.0
    if rng.random() < 0.1:
        X[:, rng.integers(d)] = 0.0
    if rng.random() < 0.1:
        X[rng.integers(n)] = 0.0
    if rng.random() < 0.25:
        X = X * 10.0 ** rng.uniform(-6, 6, d)
    errors = rng.standard_t(1.5, n) if rng.random() < 0.2 else rng.standard_normal(n)
    scale = np.maximum(1.0, np.linalg.norm(X, axis=0).max())
    y = X @ rng.standard_normal(d) / scale + rng.choice([0.0, 1e-3, 1.0, 1.0, 10.0]) * errors
    if rng.random() < 0.1:
        y = np.sign(y)
    if rng.random() < 0.02:
        y = 0.0 * y
    if rng.random() < 0.1:
        y = y * 10.0 ** rng.uniform(-8, 8)
    zero, inner = lp.zero_radius(X, y), lp.interpolation_radius(X, y)
    strengths = [
        0.0,
        0.9999 * zero,
        zero,
        1.0001 * zero,
        zero * rng.random(),
        zero * 10 ** rng.uniform(-6, 0),
    ]
    if np.isfinite(inner) and inner > 1e-6 * zero:
        strengths += [inner * factor for factor in (0.5, 0.9999, 1.0, 1.0001, 1.5, 3.0)]
    return X, y, float(rng.choice(strengths))


def dependent(rng):
    """A problem with two columns that differ by 3e-12 to 1e-9 of their length, at hardly any strength."""
    shapes = [(56, 3), (100, 10), (30, 5), (10, 10), (40, 8), (5, 5)]
    n, d = shapes[rng.integers(len(shapes))]
    X = rng.standard_normal((n, d))
    X[:, 1] = X[:, 0] + 10.0 ** rng.uniform(np.log10(3e-12), -9) * rng.standard_normal(n)
    return X, rng.standard_normal(n), float(rng.choice([0.0, 0.0, 1e-12, 1e-9, 1e-6]))
