"""Coordinates in which an adversarial problem is small and well scaled.

The loss depends on θ through Xθ and ‖θ‖ only, so any X = F Bᵀ with BᵀB = I turns it into the same problem
for F in φ = Bᵀθ; the minimiser has no part outside the range of B.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import lapack, qr, solve_triangular
from scipy.linalg.blas import dsyrk

from linphase._kernels.regression import fill_upper
from linphase.checks import Array
from linphase.precision import UNIT


def gram(A: Array) -> Array:
    """AᵀA in C order, by half the products of a matrix multiplication."""
    G: Array = dsyrk(1.0, A.T).T
    fill_upper(G)
    return G


@dataclass(frozen=True)
class Coordinates:
    """The problem in φ.

    Attributes
    ----------
    F : ndarray, shape (n, k)
        Takes the place of X.
    G : ndarray, shape (k, k)
        FᵀF.
    back : callable
        φ -> θ = Bφ.
    forth : callable
        θ -> φ = Bᵀθ.
    inverse : callable or None
        (b, transposed) -> F⁻¹b or F⁻ᵀb if F is square and regular: then some θ interpolates any y.
    condition : float
        Condition number of X with columns of unit length, where the coordinates depend on it.
    """

    F: Array
    G: Array
    back: Callable[[Array], Array]
    forth: Callable[[Array], Array]
    inverse: Callable[[Array, bool], Array] | None = None
    condition: float = 1.0

    def interpolator(self, y: Array) -> tuple[Array, Array] | None:
        """φ with Fφ = y and α with Fᵀα = φ; None if F is not square and regular."""
        if self.inverse is None:
            return None
        phi = self.inverse(y, False)
        return phi, self.inverse(phi, True)

    @cached_property
    def _factor(self) -> tuple[Array, Array, float]:
        """Cholesky factor of G with a unit diagonal, the scales that make it so, and its condition number."""
        diagonal = self.G.diagonal()
        unit = 1.0 / np.sqrt(np.where(diagonal > 0.0, diagonal, 1.0))
        L, info = lapack.dpotrf(self.G * np.outer(unit, unit), lower=1, clean=1)
        if info != 0:
            return L, unit, math.inf
        rcond, _ = lapack.dpocon(L, np.abs(L @ L.T).sum(axis=0).max(), uplo="L")
        return L, unit, 1.0 / max(rcond, 1e-300)

    def least_squares(self, y: Array) -> Array:
        """φ that minimises ‖y − Fφ‖, after one step of refinement; any φ where G is singular in rounding."""
        L, unit, condition = self._factor
        phi = np.zeros(len(unit))
        if condition < math.inf:
            for _ in range(2):
                phi += unit * lapack.dpotrs(L, unit * (self.F.T @ (y - self.F @ phi)), lower=1)[0]
        return phi

    def explained(self, xtr: Array) -> float:
        """Upper bound on the squared length of the projection of r on the range of X, from Xᵀr.

        It is inf where the coordinates are too ill-conditioned to say: their relative error is the unit of
        rounding times the condition numbers of G and of X.
        """
        L, unit, condition = self._factor
        error = 100.0 * UNIT * max(condition, self.condition)
        if error > 0.1:
            return math.inf
        length = np.linalg.norm(solve_triangular(L, unit * self.forth(xtr), lower=True))
        return float(length * (1.0 + 2.0 * error)) ** 2

    def interpolation_radius(self, y: Array) -> float:
        """Largest ε at which the interpolator is optimal, ‖φ‖ / (n‖α‖_∞); 0 where there is none."""
        found = self.interpolator(y)
        if found is None or not y.any():
            return 0.0
        return float(np.linalg.norm(found[0]) / (len(y) * np.abs(found[1]).max()))


def direct(X: Array) -> Coordinates | None:
    """X itself if it is longer than wide, else the Cholesky factor of XXᵀ; None if that is singular."""
    n, d = X.shape
    if d < n:
        return Coordinates(X, gram(X), lambda phi: phi, lambda theta: theta)
    L, info = lapack.dpotrf(gram(X.T), lower=1, clean=1)
    if info != 0:
        return None
    L = np.ascontiguousarray(L)

    def inverse(b: Array, transposed: bool) -> Array:
        return np.asarray(solve_triangular(L, b, trans=int(transposed), lower=True))

    def forth(theta: Array) -> Array:
        return inverse(X @ theta, False)

    return Coordinates(L, gram(L), lambda phi: X.T @ inverse(phi, True), forth, inverse)


def principal(X: Array) -> Coordinates | None:
    """Eigenvectors of the smaller Gram matrix: FᵀF is diagonal; None if it is close to singular."""
    n, d = X.shape
    squares, V = np.linalg.eigh(gram(X if d < n else X.T))
    if not squares[0] > 1e-12 * squares[-1]:
        return None
    G = np.diag(squares)
    if d < n:
        return Coordinates(X @ V, G, lambda phi: V @ phi, lambda theta: V.T @ theta)
    sigma = np.sqrt(squares)
    left = V / sigma

    def inverse(b: Array, transposed: bool) -> Array:
        return np.asarray(left @ b if transposed else left.T @ b)

    def forth(theta: Array) -> Array:
        return np.asarray(left.T @ (X @ theta))

    return Coordinates(V * sigma, G, lambda phi: X.T @ (left @ phi), forth, inverse)


def singular(X: Array) -> Coordinates:
    """Left singular vectors times singular values, accurate for columns of any scale and any rank.

    Rank is decided by pivoted QR on columns of unit length; the one-sided Jacobi method then finds the small
    singular values of the graded triangle to high relative accuracy.
    """
    scale = np.linalg.norm(X, axis=0)
    scale[scale == 0.0] = 1.0
    Q, R, order = qr(X / scale, mode="economic", pivoting=True)
    diagonal = np.abs(np.diag(R))
    rank = max(1, int(np.count_nonzero(diagonal > 1e-13 * diagonal[0])))
    T = np.empty((rank, X.shape[1]))
    T[:, order] = R[:rank] * scale[order]
    sigma, right, left, work, _, info = lapack.dgejsv(T.T, joba=2, jobr=0)  # Tᵀ = right · sigma · leftᵀ
    if info != 0:
        raise ArithmeticError(f"the singular value decomposition of X failed (LAPACK dgejsv, info {info})")
    kept = sigma > 1e-30 * sigma[0]
    right, sigma = right[:, kept], sigma[kept] * (work[0] / work[1])
    U = Q[:, :rank] @ left[:, kept]
    F = np.ascontiguousarray(U * sigma)

    def inverse(b: Array, transposed: bool) -> Array:
        return np.asarray(U @ (b / sigma) if transposed else (U.T @ b) / sigma)

    return Coordinates(
        F,
        gram(F),
        back=lambda phi: right @ phi,
        forth=lambda theta: right.T @ theta,
        inverse=inverse if sigma.size == len(X) else None,
        condition=float(diagonal[0] / diagonal[rank - 1]),
    )
