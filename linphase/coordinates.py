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

_RANK = 1e-13  # distance from the columns before, relative, up to which a column counts as dependent on them


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
    source : ndarray or None
        The Gram matrix that they are computed from, whose small eigenvalues are lost in its rounding.
    condition : float
        Condition number of X with columns of unit length, if they are computed from X itself.
    """

    F: Array
    G: Array
    back: Callable[[Array], Array]
    forth: Callable[[Array], Array]
    inverse: Callable[[Array, bool], Array] | None = None
    source: Array | None = None
    condition: float = 1.0

    def interpolator(self, y: Array) -> tuple[Array, Array] | None:
        """φ with Fφ = y and α with Fᵀα = φ; None if F is not square and regular."""
        if self.inverse is None:
            return None
        phi = self.inverse(y, False)
        return phi, self.inverse(phi, True)

    @cached_property
    def error(self) -> float:
        """Order of the relative error of lengths in these coordinates: rounding times a condition number."""
        if self.source is None:
            return UNIT * self.condition
        return UNIT * (self._factor if self.source is self.G else _factor(self.source))[2]

    @cached_property
    def _factor(self) -> tuple[Array, Array, float]:
        return _factor(self.G)

    def least_squares(self, y: Array) -> Array:
        """φ that minimises ‖y − Fφ‖, after one step of refinement; 0 where G is singular in rounding."""
        L, unit, condition = self._factor
        phi = np.zeros(len(unit))
        for _ in range(2 if condition < math.inf else 0):
            phi += unit * lapack.dpotrs(L, unit * (self.F.T @ (y - self.F @ phi)), lower=1)[0]
        return phi

    def consistent(self, y: Array) -> tuple[Array, Array] | None:
        """φ and α as in `interpolator` where F is not square but y lies in its range; else None."""
        if self.inverse is not None or not len(self.G):
            return None
        phi = self.least_squares(y)
        if np.linalg.norm(y - self.F @ phi) > 1e-10 * np.linalg.norm(y):
            return None
        L, unit, _ = self._factor
        return phi, self.F @ (unit * lapack.dpotrs(L, unit * phi, lower=1)[0])

    def explained(self, xtr: Array) -> float:
        """Upper bound on the squared length of the projection of r on the range of X, from Xᵀr, or inf."""
        L, unit, condition = self._factor
        if not len(unit):
            return 0.0
        error = 100.0 * max(UNIT * condition, self.error)
        if error > 0.1:
            return math.inf
        length = np.linalg.norm(solve_triangular(L, unit * self.forth(xtr), lower=True))
        return float(length * (1.0 + 2.0 * error)) ** 2

    def trace_of_inverse(self) -> float:
        """Tr G⁻¹, which is tr (XᵀX)⁻¹ or, where d > n, tr (XXᵀ)⁻¹."""
        L, unit, _ = self._factor
        if not len(unit):
            return 0.0
        return float(unit**2 @ lapack.dpotri(L, lower=1)[0].diagonal())

    def interpolation_radius(self, y: Array) -> float:
        """Largest ε at which the interpolator is optimal, ‖φ‖ / (n‖α‖_∞); 0 where there is none."""
        found = self.interpolator(y)
        if found is None or not y.any():
            return 0.0
        return float(np.linalg.norm(found[0]) / (len(y) * np.abs(found[1]).max()))


def _factor(G: Array) -> tuple[Array, Array, float]:
    """Cholesky factor of G scaled to a unit diagonal, the scales, and its condition number (inf if none)."""
    diagonal = G.diagonal()
    unit = 1.0 / np.sqrt(np.where(diagonal > 0.0, diagonal, 1.0))
    scaled = G * np.outer(unit, unit)
    if not len(G):
        return scaled, unit, math.inf
    L, info = lapack.dpotrf(scaled, lower=1, clean=1)
    rcond = lapack.dpocon(L, np.abs(scaled).sum(axis=0).max(), uplo="L")[0] if info == 0 else 0.0
    return L, unit, 1.0 / rcond if rcond > 0.0 else math.inf


def direct(X: Array) -> Coordinates | None:
    """X itself if it is longer than wide, else the Cholesky factor of XXᵀ; None if that is singular."""
    n, d = X.shape
    if d < n:
        G = gram(X)
        return Coordinates(X, G, lambda phi: phi, lambda theta: theta, source=G)
    G = gram(X.T)
    L, info = lapack.dpotrf(G, lower=1, clean=1)
    if info != 0:
        return None
    L = np.ascontiguousarray(L)

    def inverse(b: Array, transposed: bool) -> Array:
        return np.asarray(solve_triangular(L, b, trans=int(transposed), lower=True))

    def forth(theta: Array) -> Array:
        return inverse(X @ theta, False)

    return Coordinates(L, gram(L), lambda phi: X.T @ inverse(phi, True), forth, inverse, G)


def principal(X: Array) -> Coordinates | None:
    """Eigenvectors of the smaller Gram matrix: FᵀF is diagonal; None if it is close to singular."""
    n, d = X.shape
    source = gram(X if d < n else X.T)
    squares, V = np.linalg.eigh(source)
    if not squares[0] > 1e-12 * squares[-1]:
        return None
    G = np.diag(squares)
    if d < n:
        return Coordinates(X @ V, G, lambda phi: V @ phi, lambda theta: V.T @ theta, source=source)
    sigma = np.sqrt(squares)
    left = V / sigma

    def inverse(b: Array, transposed: bool) -> Array:
        return np.asarray(left @ b if transposed else left.T @ b)

    def forth(theta: Array) -> Array:
        return np.asarray(left.T @ (X @ theta))

    return Coordinates(V * sigma, G, lambda phi: X.T @ (left @ phi), forth, inverse, source)


def singular(X: Array) -> Coordinates:
    """Left singular vectors times singular values, accurate for columns of any scale and any rank.

    Rank is decided by pivoted QR on columns of unit length; the one-sided Jacobi method then finds the small
    singular values of the graded triangle to high relative accuracy. A column whose distance from the others
    is more than rounding but below 1e-13 makes the rank doubtful, and the condition number infinite.
    """
    scale = np.linalg.norm(X, axis=0)
    scale[scale == 0.0] = 1.0
    Q, R, order = qr(X / scale, mode="economic", pivoting=True)
    diagonal = np.abs(np.diag(R))
    relative = diagonal / max(diagonal[0], 1e-300)
    rank = int(np.count_nonzero(relative > _RANK))
    if rank == 0:
        none = np.zeros((X.shape[1], 0))
        return Coordinates(Q[:, :0], none.T @ none, lambda phi: none @ phi, lambda theta: none.T @ theta)
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

    noise = UNIT * (20.0 + 2.0 * math.sqrt(max(X.shape)))  # what rounding leaves of a dependent column
    return Coordinates(
        F,
        gram(F),
        back=lambda phi: right @ phi,
        forth=lambda theta: right.T @ theta,
        inverse=inverse if sigma.size == len(X) else None,
        condition=math.inf if (relative[rank:] > noise).any() else 1.0 / float(relative[rank - 1]),
    )
