"""The state evolution of `linphase.asymptotics`, point by point: numbers in, numbers and a status out.

Notation and equation numbers are those of that module; s2 = s², sigma2 = σ², u = 1 - w.  Differences that
would cancel are written as sums, so the outputs keep their digits as ε → 0 (where t → 0 if δ < 1 and
t → ∞ if δ > 1) and as θ̂ → 0 (where t, w → 0).
"""

import math

from numba import njit

C1 = math.sqrt(2.0 / math.pi)  # E|Z|
FLAT = 35.0  # beyond this t, P(|Z| > t) < 1e-267
HANDOVER = 1e-8  # the 1 - ε/ε₀ below which the root gives way to its expansion at ε₀
NEGLIGIBLE = 1e-100  # an ε whose square is lost: least squares to every digit
UNKNOWN = (math.nan,) * 8


@njit(cache=True, error_model="numpy")
def zero_radius(delta, s2, sigma2):
    """Return ε₀, from which on θ̂ = 0."""
    return math.sqrt(0.5 * math.pi * (s2 / (s2 + sigma2) + delta))


@njit(cache=True, error_model="numpy")
def _moments(t):
    """Return P = P(|Z| ≤ t), Q = 1 - P, K = E (|Z| - t)₊, D = E (|Z| - t)₊², C = E min(|Z|, t)², C - P²."""
    if t > FLAT:
        return 1.0, 0.0, 0.0, 0.0, 1.0, 0.0
    p = math.erf(t / math.sqrt(2.0))
    q = math.erfc(t / math.sqrt(2.0))
    density = C1 * math.exp(-0.5 * t * t)  # of |Z|
    k = density - t * q
    d = (1.0 + t * t) * q - t * density
    if t > 1.0:
        return p, q, k, d, 1.0 - 2.0 * q + d, d - q * q
    inner = 0.0  # E[Z²; |Z| ≤ t] = density (t³/3 + t⁵/(3·5) + t⁷/(3·5·7) + …)
    term = density * t**3 / 3.0
    odd = 5.0
    while term > 1e-17 * inner:
        inner += term
        term *= t * t / odd
        odd += 2.0
    c = inner + t * t * q
    return p, q, k, d, c, c - p * p


@njit(cache=True, error_model="numpy")
def _weights(t, eps, delta, p, q, k):
    """Return (w, 1 - w): the root of equation (3), quadratic in w, in (0, 1); w = 0 where it has none."""
    free = delta - p if delta < 1.0 else (delta - 1.0) + q  # δ - P
    if free <= 0.0:
        return 0.0, 1.0
    e2 = eps * eps
    root = math.sqrt((1.0 - delta) ** 2 + e2 * (e2 + 2.0 * (free + q) + 4.0 * free * k / t))
    w = 2.0 * free / (e2 + free + q + root)
    lean = delta - 1.0 + e2 + 2.0 * e2 * k / t
    if lean < 0.0:
        return w, 0.5 * (root - lean) / (q - e2 * k / t)
    return w, 2.0 * e2 * (1.0 + k / t) / (lean + root)


@njit(cache=True, error_model="numpy")
def _state(t, eps, delta, s2, sigma2, w, u, moments):
    """Return k, α², v², G, equations (1) and (2), and what separates them from ε = 0: k₀ - k and G₀ - G."""
    p, q, mean_excess, _, c, spread = moments
    h = w + u * p  # E[Zψ] = δk
    g = w * w + 2.0 * w * u * p + u * u * c  # E[ψ²]
    if delta > 1.0:
        loss = (delta - 1.0) + u * q  # δ(1 - k)
        h_drop = u * q
        room = delta - 1.0
    else:
        loss = delta - h
        if h > 0.5 * delta:  # the same by equation (3), where the difference cancels
            loss = eps * eps * w * (1.0 + w * mean_excess / t) / u
        h_drop = loss
        room = delta * (1.0 - delta)
    g_drop = h_drop * (min(delta, 1.0) + h) - u * u * spread
    v2 = delta * (sigma2 + (loss / delta) ** 2 * s2) / (room + g_drop)
    return h / delta, v2 * g / delta, v2, g, h_drop / delta, g_drop


@njit(cache=True, error_model="numpy")
def _balance(log_t, eps, delta, s2, sigma2):
    """Return log(εwb) - log(t(1 - w)v), equation (4): positive below the root in t, negative above."""
    t = math.exp(log_t)
    moments = _moments(t)
    w, u = _weights(t, eps, delta, moments[0], moments[1], moments[2])
    if w == 0.0:
        return -math.inf
    overlap, alpha2, v2, _, _, _ = _state(t, eps, delta, s2, sigma2, w, u, moments)
    return math.log(eps * w / (t * u)) + 0.5 * math.log((overlap * overlap * s2 + alpha2) / v2)


@njit(cache=True, error_model="numpy")
def _root(eps, delta, s2, sigma2):
    """Return (t, converged) by Chandrupatla's method in log t; it bisects where the balance is -inf."""
    a, step = 0.0, 1.0
    fa = _balance(a, eps, delta, s2, sigma2)
    side = 1.0 if fa > 0.0 else -1.0  # the root lies above or below
    b, fb = a, fa
    while not fb * side <= 0.0:
        a, fa = b, fb
        b += side * step
        step *= 2.0
        if step > 512.0:  # t beyond 1e±222
            return math.nan, False
        fb = _balance(b, eps, delta, s2, sigma2)
    c, fc = a, fa
    share = 0.5
    for _ in range(200):
        if math.isnan(fa):
            return math.nan, False
        tolerance = 4e-16 * max(1.0, abs(b)) / abs(b - a) if b != a else 1.0
        if fb == 0.0 or tolerance > 0.5:
            return math.exp(a if abs(fa) < abs(fb) else b), True
        x = a + min(1.0 - tolerance, max(tolerance, share)) * (b - a)
        fx = _balance(x, eps, delta, s2, sigma2)
        if (fx > 0.0) == (fa > 0.0):
            c, fc = a, fa
        else:
            c, fc = b, fb
            b, fb = a, fa
        a, fa = x, fx
        share = 0.5
        if math.isfinite(fa) and math.isfinite(fb) and math.isfinite(fc):
            xi, phi = (a - b) / (c - b), (fa - fb) / (fc - fb)
            if phi * phi < xi and (1.0 - phi) ** 2 < 1.0 - xi:
                share = fa / (fb - fa) * fc / (fb - fc) + (c - a) / (b - a) * fa / (fc - fa) * fb / (fc - fb)
    return math.nan, False


@njit(cache=True, error_model="numpy")
def least_squares(delta, s2, sigma2):
    """Return k₀, α₀², v₀² at ε = 0."""
    if delta > 1.0:
        v2 = (sigma2 * delta + (delta - 1.0) ** 2 * s2 / delta) / (delta - 1.0)
        return 1.0 / delta, v2 / delta, v2
    return 1.0, sigma2 * delta / (1.0 - delta), sigma2 / (1.0 - delta)


@njit(cache=True, error_model="numpy")
def _distance(state, u, spread, delta, s2, sigma2):
    """Return the distance to least squares, equation (5), from what separates the two states."""
    overlap, alpha2, v2, g, overlap_drop, g_drop = state
    overlap0, alpha02, v02 = least_squares(delta, s2, sigma2)
    room0 = delta * (1.0 - delta) if delta < 1.0 else delta - 1.0  # δ - G₀
    signal_rise = s2 * overlap_drop * (2.0 - overlap0 - overlap)  # of (1 - k)²s²
    v2_rise = (delta * signal_rise - v02 * g_drop) / (room0 + g_drop)
    v_rise = v2_rise / (math.sqrt(v2) + math.sqrt(v02))
    alpha_rise = (v2_rise - signal_rise) / (math.sqrt(alpha2) + math.sqrt(alpha02))
    direct = overlap_drop**2 * s2 + alpha_rise**2
    alphas = math.sqrt(alpha2 * alpha02)
    m = delta * overlap / math.sqrt(g)
    m_gap = u * u * spread / g / (1.0 + m)  # 1 - m
    r_gap = (0.5 * (direct - v_rise**2) + m_gap * alphas) / (math.sqrt(v2 * v02) - m * alphas)  # 1 - r
    return math.sqrt(direct + 2.0 * alphas * (m_gap + m * r_gap))


@njit(cache=True, error_model="numpy")
def limit(eps, delta, s2, sigma2):
    """Return (converged, outputs) at one point; the outputs in the order of `asymptotics.Prediction`."""
    eps0 = zero_radius(delta, s2, sigma2)
    overlap, alpha2, v2 = least_squares(delta, s2, sigma2)
    if eps >= eps0:
        total = s2 + sigma2
        return True, (total, total, total, 0.0, 0.0, 0.0, total, math.sqrt(overlap**2 * s2 + alpha2))
    if eps < NEGLIGIBLE:
        train = sigma2 * max(1.0 - delta, 0.0)
        share = 1.0 if delta > 1.0 else 0.0
        return True, (train, v2, v2, math.sqrt(overlap**2 * s2 + alpha2), overlap, share, train, 0.0)
    if eps0 - eps < HANDOVER * eps0:
        zeta = 1.0 + s2 / (delta * (s2 + sigma2))  # b ≈ w √(ζS/δ)
        w = (1.0 - eps / eps0) / (2.0 + 1.0 / delta - 1.0 / zeta - (2.0 - 0.5 * math.pi) * zeta)
        u = 1.0 - w
        t = eps * w * w * math.sqrt(zeta / delta)
        moments = _moments(t)
    else:
        t, converged = _root(eps, delta, s2, sigma2)
        if not converged:
            return False, UNKNOWN
        moments = _moments(t)
        w, u = _weights(t, eps, delta, moments[0], moments[1], moments[2])
    share, _, mean_excess, square_excess, _, spread = moments
    state = _state(t, eps, delta, s2, sigma2, w, u, moments)
    overlap, alpha2, v2 = state[0], state[1], state[2]
    v = math.sqrt(v2)
    norm = math.sqrt(overlap * overlap * s2 + alpha2)
    shift = eps * norm
    clean_train = v2 * u * u * square_excess
    train = clean_train + 2.0 * shift * v * u * mean_excess + shift * shift
    attacked = v2 + 2.0 * C1 * shift * v + shift * shift
    distance = _distance(state, u, spread, delta, s2, sigma2)
    known = math.isfinite(train + attacked + distance)
    return known, (train, v2, attacked, norm, overlap, share, clean_train, distance)


@njit(cache=True, error_model="numpy")
def limits(eps, delta, s2, sigma2, out):
    """Fill out (n, 8), a row a point; return the first point that did not converge, or -1."""
    for i in range(eps.size):
        converged, outputs = limit(eps[i], delta[i], s2[i], sigma2[i])
        if not converged:
            return i
        for j in range(out.shape[1]):
            out[i, j] = outputs[j]
    return -1
