"""Exact limits of L2-adversarial linear regression as n → ∞ with d/n → δ ≠ 1.

θ̂(ε) minimises (1/n) Σ (|rᵢ| + ε‖θ‖)², r = y - Xθ; the entries of X (n, d) are independent N(0, 1) and
y = Xθ₀ + noise, s = ‖θ₀‖, σ² the noise variance, S = s² + σ², Z ~ N(0, 1).  By the Gaussian min–max
comparison the minimum tends to

    min over k, α ≥ 0   max over λ > 0   E e(vZ; λ) - δα²/(2λ),
    e(x; λ) = min_z (|z| + εb)² + (x - z)²/(2λ),    b² = k²s² + α²,    v² = σ² + (1 - k)²s² + α²,

where θ̂ is kθ₀ plus an orthogonal part of length α, b = ‖θ̂‖ and v² its clean risk.  The minimising z is the
residual in the limit: 0 for |Z| ≤ t = 2λεb/v, otherwise (1 - w)v(|Z| - t) with the sign of Z and
w = 2λ/(1 + 2λ).  With ψ = Z - z/v, P = P(|Z| ≤ t), Q = 1 - P and K = E(|Z| - t)₊, stationarity reads

    (1)  δk = E[Zψ] = P + wQ                         (2)  δα² = v² E[ψ²]
    (3)  ε² w (t + wK) = (1 - w) t (δ - P - wQ)      (4)  ε w b = (1 - w) t v.

For given t, (3) is quadratic in w with one root in (0, 1), (1) and (2) give k, α and v, and (4) is one
equation in t.  Any root is a saddle point of a convex–concave function, so there is one, for every
ε below the zero radius ε₀ = √(π/2) √(s²/S + δ); from there on θ̂ = 0.

With index 0 for least squares on the same data (ε = 0; of minimum norm if δ > 1), in the joint limit

    (5)  ‖θ̂ - θ̂₀‖² → (k₀ - k)²s² + α₀² + α² - 2α₀αρ,    ρ = m r,    m = E[Zψ]/√E[ψ²],
         r v₀v = σ² + (1 - k₀)(1 - k)s² + α₀αρ.
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from linphase._kernels import asymptotics as kernel
from linphase.checks import LARGEST, broadcast, check_choice, check_numbers

__all__ = ["Prediction", "critical_strength", "predict", "zero_radius"]

Numbers = float | NDArray[np.float64]

CRITERIA = {"loss": "train_loss", "parameter": "distance", "clean-loss": "clean_train_loss"}
"""What each criterion bounds."""


@dataclass(frozen=True)
class Prediction:
    """Limits of the adversarial estimate θ̂(ε); each a float, or an array of the inputs' common shape.

    Attributes
    ----------
    train_loss : adversarial training loss (1/n) Σ (|rᵢ| + ε‖θ̂‖)².
    clean_risk : E(Y - Xᵀθ̂)² on new data, the noise included.
    adversarial_risk : E(|Y - Xᵀθ̂| + ε‖θ̂‖)² on new data.
    norm : ‖θ̂‖.
    overlap : θ̂ᵀθ₀/‖θ₀‖², 1 where θ̂ is unbiased.
    zero_share : share of the training residuals that are exactly 0.
    clean_train_loss : (1/n) Σ rᵢ².
    distance : ‖θ̂(ε) - θ̂(0)‖, θ̂(0) least squares on the same data (of minimum norm if δ > 1).
    """

    train_loss: Numbers
    clean_risk: Numbers
    adversarial_risk: Numbers
    norm: Numbers
    overlap: Numbers
    zero_share: Numbers
    clean_train_loss: Numbers
    distance: Numbers


def predict(eps: ArrayLike, delta: ArrayLike, signal: ArrayLike = 1.0, noise: ArrayLike = 1.0) -> Prediction:
    """Return the limits of θ̂(ε) as n → ∞ with d/n → δ, for a standard Gaussian design.

    Parameters
    ----------
    eps : float or array, ≥ 0
        Attack strength, an L2 distance in input space.
    delta : float or array, > 0 and other than 1
        Limit of d/n, at most 1e45, as the two others.
    signal, noise : float or array, > 0
        ‖θ₀‖ and the standard deviation of the noise.

    The four broadcast against each other.

    Returns
    -------
    Prediction
        Losses are means over the sample.  Errors stay below 1e-10 of each value's natural size while
        |1 - δ| > 1e-6 and σ/s lies within 1e±6.

    Raises
    ------
    ValueError
        On a value out of range or shapes that do not broadcast.
    TypeError
        On input that is not real numbers.
    FloatingPointError
        If a point did not converge, with that point.

    Notes
    -----
    The state evolution (1)–(5) of `linphase.asymptotics`, about 1 µs a point.
    """
    eps_, delta_, s, sigma = _checked(eps=eps, delta=delta, signal=signal, noise=noise)
    _not_square(delta_)
    scale = np.hypot(s, sigma)
    s2, sigma2 = (s / scale) ** 2, (sigma / scale) ** 2
    out = np.empty((eps_.size, 8))
    failed = kernel.limits(eps_.ravel(), delta_.ravel(), s2.ravel(), sigma2.ravel(), out)
    if failed >= 0:
        raise _lost(eps_.flat[failed], delta_.flat[failed])
    train, clean, attacked, norm, overlap, share, clean_train, distance = out.T.reshape(8, *eps_.shape)
    unit = scale**2
    return Prediction(
        train_loss=(train * unit)[()],
        clean_risk=(clean * unit)[()],
        adversarial_risk=(attacked * unit)[()],
        norm=(norm * scale)[()],
        overlap=overlap[()],
        zero_share=share[()],
        clean_train_loss=(clean_train * unit)[()],
        distance=(distance * scale)[()],
    )


def critical_strength(
    delta: ArrayLike, signal: ArrayLike = 1.0, noise: ArrayLike = 1.0, criterion: str = "loss"
) -> Numbers:
    """Return the limit of a critical strength as n → ∞ with d/n → δ, for a standard Gaussian design.

    Parameters
    ----------
    delta : float or array, > 0 and other than 1
        Limit of d/n, at most 1e45, as the two others.
    signal, noise : float or array, > 0
        ‖θ₀‖ and the standard deviation of the noise.  The three broadcast against each other.
    criterion : {"loss", "parameter", "clean-loss"}
        What ε is the largest to keep, R denoting the clean risk of least squares:
        "loss", the paper's ε*: the adversarial training loss ≤ R;
        "clean-loss": the clean training loss of the adversarial estimate ≤ R;
        "parameter" (Theorem 1): ‖θ̂(ε) - θ̂(0)‖ ≤ ‖Std θ̂(0)‖_F, for δ > 1 given θ₀ but not X.

    Returns
    -------
    float or array
        inf where a loss criterion holds for every ε, that is where s²|1 - δ| ≤ σ²δ; "parameter" is finite
        everywhere.  The two loss criteria have a relative error of about 1e-15/δ as δ → 0, because R
        exceeds the training loss of least squares by only 2σ²δ there.

    Raises
    ------
    ValueError
        On a value out of range, a misspelt criterion or shapes that do not broadcast.
    TypeError
        On input that is not real numbers.
    FloatingPointError
        If the state evolution did not converge or rounding hides the answer, with the point.
    """
    check_choice("criterion", criterion, tuple(CRITERIA))
    delta_, s, sigma = _checked(delta=delta, signal=signal, noise=noise)
    _not_square(delta_)
    scale = np.hypot(s, sigma)
    points = [a.ravel().tolist() for a in (delta_, (s / scale) ** 2, (sigma / scale) ** 2)]
    roots = [_critical(criterion, *point) for point in zip(*points, strict=True)]
    return np.array(roots, dtype=np.float64).reshape(delta_.shape)[()]


def zero_radius(delta: ArrayLike, signal: ArrayLike = 1.0, noise: ArrayLike = 1.0) -> Numbers:
    """Return ε₀ = √(π/2) √(s²/(s² + σ²) + δ), the limit of the strength from which on θ̂ = 0.

    Arguments and errors are those of `critical_strength`; δ = 1 is allowed.
    """
    delta_, s, sigma = _checked(delta=delta, signal=signal, noise=noise)
    return np.sqrt(0.5 * np.pi * ((s / np.hypot(s, sigma)) ** 2 + delta_))[()]


def _critical(criterion: str, delta: float, s2: float, sigma2: float) -> float:
    """Return one critical strength, on the scale s² + σ² = 1; each criterion rises with ε."""
    column = [field.name for field in fields(Prediction)].index(CRITERIA[criterion])
    margin = (s2 * abs(1.0 - delta) - sigma2 * delta) / (abs(1.0 - delta) * max(1.0, delta))  # S - R
    _, variance, risk = kernel.least_squares(delta, s2, sigma2)
    if criterion == "parameter":
        level = np.sqrt(variance)
    elif margin > 0.0:
        level = risk if margin > 0.5 else s2 + sigma2 - margin  # either cancels where the other does not
    else:
        return np.inf

    def excess(eps: float) -> float:
        converged, outputs = kernel.limit(eps, delta, s2, sigma2)
        if not converged:
            raise _lost(eps, delta)
        return float(outputs[column] - level)

    upper = kernel.zero_radius(delta, s2, sigma2)
    if not excess(0.0) < 0.0 <= excess(upper):
        raise FloatingPointError(
            f"rounding hides the critical strength at delta = {delta:.17g}, "
            f"signal : noise = {np.sqrt(s2):g} : {np.sqrt(sigma2):g}"
        )
    from scipy.optimize import brentq  # half a second to import

    return float(brentq(excess, 0.0, upper, xtol=1e-300, rtol=1e-15, maxiter=1000))


def _checked(**values: ArrayLike) -> list[NDArray[np.float64]]:
    """Return the named inputs as float arrays of one shape, or say what is wrong with them."""
    arrays = {name: check_numbers(name, value) for name, value in values.items()}
    for name, array in arrays.items():
        allowed = np.isfinite(array) & ((array >= 0.0) if name == "eps" else (array > 0.0))
        if not allowed.all():
            sign = "non-negative" if name == "eps" else "positive"
            raise ValueError(f"{name} must be {sign} and finite, got {array[~allowed][0]:g}")
        if name != "eps" and (array > LARGEST).any():
            raise ValueError(f"{name} must be at most {LARGEST:g}, got {array.max():g}")
    return broadcast(**arrays)


def _not_square(delta: NDArray[np.float64]) -> None:
    if np.any(delta == 1.0):
        raise ValueError("delta must not be 1: least squares has no limit at d = n")


def _lost(eps: float, delta: float) -> FloatingPointError:
    return FloatingPointError(
        f"the state evolution did not converge at delta = {delta:.17g}, eps = {eps:.17g}"
    )
