"""Where the minimiser has a closed form: from the zero radius on, and up to the interpolation radius."""

import math

import numpy as np
from numpy.typing import ArrayLike

from linphase.checks import Array, check_data
from linphase.coordinates import Coordinates, direct, singular


def zero_radius(X: ArrayLike, y: ArrayLike) -> float:
    """Smallest ε at which θ = 0 minimises R(·, ε): ‖Xᵀy‖₂ / ‖y‖₁, and 0 if y = 0.

    Parameters
    ----------
    X : array_like, shape (n, d)
    y : array_like, shape (n,)

    Returns
    -------
    float
        In the units of X.
    """
    X, y = check_data(X, y)
    total = np.abs(y).sum()
    return float(np.linalg.norm(X.T @ y) / total) if total > 0.0 else 0.0


def interpolation_radius(X: ArrayLike, y: ArrayLike) -> float:
    """Largest ε at which the minimum-norm interpolator θ⁺ minimises R(·, ε).

    With X of full row rank and α = (XXᵀ)⁻¹y it is ‖θ⁺‖₂ / (n‖α‖_∞). If rows depend on each other, α is the
    solution of Xᵀα = θ⁺ with the smallest largest entry (a linear programme).

    Parameters
    ----------
    X : array_like, shape (n, d)
    y : array_like, shape (n,)

    Returns
    -------
    float
        In the units of X; 0 if no θ interpolates the data, inf if y = 0.
    """
    X, y = check_data(X, y)
    if not y.any():
        return math.inf
    if not X.any():
        return 0.0
    for find in (direct, singular):
        coordinates = find(X)
        if coordinates is not None and coordinates.inverse is not None:
            phi = coordinates.inverse(y, False)
            if np.linalg.norm(coordinates.F @ phi - y) <= 1e-10 * np.linalg.norm(y):
                return coordinates.interpolation_radius(y)
    return _radius_of_dependent_rows(singular(X), y)


def _radius_of_dependent_rows(coordinates: Coordinates, y: Array) -> float:
    sigma = np.linalg.norm(coordinates.F, axis=0)
    U, n = coordinates.F / sigma, len(y)
    c = U.T @ y
    if np.linalg.norm(y - U @ c) > 1e-10 * np.linalg.norm(y):
        return 0.0
    from scipy.optimize import linprog

    target = c / sigma**2  # Fᵀα = φ = c/σ
    size = np.linalg.norm(target)
    ones = np.ones((n, 1))
    box = np.block([[np.eye(n), -ones], [-np.eye(n), -ones]])
    equal = np.hstack([U.T, np.zeros((c.size, 1))])
    cost = np.append(np.zeros(n), 1.0)
    found = linprog(cost, box, np.zeros(2 * n), equal, target / size, bounds=(None, None))
    if found.status != 0:
        raise ArithmeticError(f"the linear programme for the interpolation radius failed: {found.message}")
    return float(np.linalg.norm(c / sigma) / (n * size * found.fun))
