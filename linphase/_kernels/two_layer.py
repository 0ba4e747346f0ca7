"""Training and attack of a two-layer network whose output weights are fixed.

f(x) = c + Σⱼ vⱼ φ(xᵀθⱼ). Hidden units run fastest in memory and go a block at a time, so that a row of
activations stays in the cache. The exponential is our own because LLVM vectorises it, unlike that of the C
library: tanh with its slope costs 2.5 ns instead of 18 ns on AVX2.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]

LINEAR, QUADRATIC, TANH, SOFTPLUS, ERF = range(5)

_BLOCK = 256
_LOG2_E = 1.4426950408889634
_LN2_HIGH = 6.93147180369123816490e-01  # 32 bits: n * _LN2_HIGH is exact
_LN2_LOW = 1.90821492927058770002e-10
_ROUND = 6755399441055744.0  # 1.5 * 2^52: adding it rounds to an integer, which the low bits then hold
_ROUND_BITS = int(np.float64(_ROUND).view(np.int64)) - 1023
_ERF_SLOPE = 2.0 / math.sqrt(math.pi)
_EXP_TAYLOR = tuple(1.0 / math.factorial(k) for k in range(13, 1, -1))  # next term: 4e-18 at ln(2)/2
_ATANH_TAYLOR = tuple(1.0 / k for k in range(29, 0, -2))  # 15 terms: with 16 LLVM no longer unrolls the loop


@njit(cache=True, fastmath={"contract"}, error_model="numpy")
def _expm1(x: float) -> float:
    """exp(x) - 1 with relative error below 5e-16; arguments are cut at ±700."""
    cut = min(max(x, -700.0), 700.0)
    shifted = np.float64(cut * _LOG2_E + _ROUND)
    n = shifted - _ROUND
    r = (cut - n * _LN2_HIGH) - n * _LN2_LOW
    p = 0.0
    for c in _EXP_TAYLOR:
        p = p * r + c
    p = p * r * r + r
    power = np.int64((shifted.view(np.int64) - _ROUND_BITS) << 52).view(np.float64)
    return power * p + (power - 1.0)


@njit(cache=True, fastmath={"contract"}, error_model="numpy")
def _atanh(q: float) -> float:
    """Inverse hyperbolic tangent for |q| <= 1/3, with relative error below 4e-16."""
    p = 0.0
    for c in _ATANH_TAYLOR:
        p = p * (q * q) + c
    return q * p


@njit(cache=True, fastmath={"contract"}, error_model="numpy")
def activate(code: int, z: Array, slope: Array) -> None:
    """Put φ'(z) into ``slope`` and φ(z) - φ(0) into ``z``."""
    if code == LINEAR:
        slope[:] = 1.0
    elif code == QUADRATIC:
        for j in range(z.size):
            slope[j] = 1.0 + z[j]
            z[j] += 0.5 * z[j] * z[j]
    elif code == TANH:
        for j in range(z.size):
            e = _expm1(2.0 * z[j])
            t = e / (e + 2.0)
            slope[j] = 1.0 - t * t
            z[j] = t
    elif code == SOFTPLUS:
        for j in range(z.size):
            e = _expm1(-abs(z[j]))
            slope[j] = (1.0 if z[j] > 0.0 else 1.0 + e) / (2.0 + e)
            z[j] = max(z[j], 0.0) + 2.0 * _atanh(e / (4.0 + e))  # the logarithm of (2 + e) / 2
    else:
        for j in range(z.size):
            slope[j] = _ERF_SLOPE * (_expm1(-z[j] * z[j]) + 1.0)
        for j in range(z.size):
            z[j] = math.erf(z[j])


@njit(cache=True, fastmath={"reassoc", "contract"}, error_model="numpy")
def forward(code: int, P: Array, W: Array, v: Array, c: float, f: Array, G: Array, S: Array) -> None:
    """Predictions f (n,) at the points P (n, d) for weights W (d, h) and v (h,).

    G (n, d) takes the gradients in the points, S (blocks, n, _BLOCK) the slopes vⱼ φ'(xᵢᵀθⱼ); an empty one is
    left out.
    """
    n, d = P.shape
    inputs, units = G.size > 0, S.size > 0
    f[:] = c
    G[:] = 0.0
    values = np.empty(_BLOCK)
    slopes = np.empty(_BLOCK)
    for block, start in enumerate(range(0, v.size, _BLOCK)):
        stop = min(start + _BLOCK, v.size)
        size = stop - start
        out = v[start:stop]
        z = values[:size]
        for i in range(n):
            s = S[block, i, :size] if units else slopes[:size]
            z[:] = 0.0
            for k in range(d):
                w = W[k, start:stop]
                x = P[i, k]
                for j in range(size):
                    z[j] += x * w[j]
            activate(code, z, s)
            total = 0.0
            for j in range(size):
                total += out[j] * z[j]
                s[j] *= out[j]
            f[i] += total
            if inputs:
                for k in range(d):
                    w = W[k, start:stop]
                    total = 0.0
                    for j in range(size):
                        total += s[j] * w[j]
                    G[i, k] += total


@njit(cache=True, error_model="numpy")
def attack(
    code: int,
    X: Array,
    y: Array,
    eps: float,
    W: Array,
    v: Array,
    c: float,
    steps: int,
    P: Array,
    f: Array,
    G: Array,
) -> None:
    """Put adversarial points for the squared loss into P (n, d); f (n,) and G (n, d) are work space.

    Steps of length ε, ε/√2, ε/√3, … along the normalised gradient, each projected on the ball; the first is
    FGM. After several the best of all points met is taken, so more steps never do worse.
    """
    n, d = X.shape
    search = steps > 1  # one more pass, to judge the last point
    best = np.empty(n)
    best_P = np.empty((n, d))
    no_S = np.empty((0, 0, 0))
    _copy(X, P)
    for step in range(steps + search):
        forward(code, P, W, v, c, f, G, no_S)
        length = eps / math.sqrt(step + 1.0)
        for i in range(n):
            r = f[i] - y[i]
            if search and (step == 0 or r * r > best[i]):
                best[i] = r * r
                for k in range(d):
                    best_P[i, k] = P[i, k]
            _ascend(X[i], eps, P[i], G[i], length if r >= 0.0 else -length)
    if search:
        _copy(best_P, P)


@njit(cache=True)
def _copy(source: Array, target: Array) -> None:
    for i in range(source.shape[0]):  # a slice assignment in two dimensions takes seconds to compile
        for k in range(source.shape[1]):
            target[i, k] = source[i, k]


@njit(cache=True)
def _ascend(x: Array, eps: float, p: Array, g: Array, length: float) -> None:
    """Move p by ``length`` (of either sign) along g, and back into the ball of radius ``eps`` around x."""
    square = 0.0
    for k in range(x.size):
        square += g[k] * g[k]
    if square == 0.0:
        return
    scale = length / math.sqrt(square)
    square = 0.0
    for k in range(x.size):
        p[k] += scale * g[k]
        square += (p[k] - x[k]) ** 2
    if square > eps * eps:
        scale = eps / math.sqrt(square)
        for k in range(x.size):
            p[k] = x[k] + (p[k] - x[k]) * scale


@njit(cache=True, fastmath={"reassoc", "contract"}, error_model="numpy")
def descend(
    code: int,
    X: Array,
    y: Array,
    eps: float,
    W: Array,
    v: Array,
    c: float,
    steps: Array,
    attack_steps: int,
    points: Array,
    sums: Array,
    losses: Array,
    predictions: Array,
) -> None:
    """Full-batch descent on W, in place, of ``steps.size`` updates.

    Records Σⱼ vⱼ θⱼ in ``sums`` (T + 1, d), the adversarial loss (T + 1,) and f(points) (T + 1, m).
    """
    n, d = X.shape
    P = np.empty((n, d))
    G, no_G = np.empty((n, d)), np.empty((0, d))
    r = np.empty(n)
    S, no_S = np.empty(((v.size + _BLOCK - 1) // _BLOCK, n, _BLOCK)), np.empty((0, 0, 0))
    _copy(X, P)
    for t in range(steps.size + 1):
        for k in range(d):
            w = W[k]
            total = 0.0
            for j in range(v.size):
                total += v[j] * w[j]
            sums[t, k] = total
        if points.shape[0] > 0:
            forward(code, points, W, v, c, predictions[t], no_G, no_S)
        if eps > 0.0:
            attack(code, X, y, eps, W, v, c, attack_steps, P, r, G)
        forward(code, P, W, v, c, r, no_G, S)
        total = 0.0
        for i in range(n):
            r[i] -= y[i]
            total += r[i] * r[i]
        losses[t] = total / n
        if t < steps.size:
            _update(P, r, S, W, 2.0 * steps[t] / n)


@njit(cache=True, fastmath={"reassoc", "contract"}, error_model="numpy")
def _update(P: Array, r: Array, S: Array, W: Array, step: float) -> None:
    n, d = P.shape
    for block, start in enumerate(range(0, W.shape[1], _BLOCK)):
        stop = min(start + _BLOCK, W.shape[1])
        for i in range(n):
            s = S[block, i, : stop - start]
            for k in range(d):
                w = W[k, start:stop]
                x = step * r[i] * P[i, k]
                for j in range(stop - start):
                    w[j] -= x * s[j]
