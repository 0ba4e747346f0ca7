"""Newton's method for L2-adversarial least squares, exact at the kinks.

Minimise  R(θ) = (1/n) Σ (|r_i| + ε b)²,   r = y − Xθ,  b = ‖θ‖,   through its saddle form

    (n/2) R(θ) = max over |s_i| ≤ 1 of   ½ ‖r‖² + ε b sᵀr + ½ n ε² b².

Each step minimises the second-order model of the right-hand side in θ, with s free on the few rows W whose
residual may vanish and s = sign(r) on the others. Eliminating θ leaves a quadratic programme in s_W over a
box, so kinks cost no further steps and the iteration is Newton's: two or three steps from a ridge start.
The same s gives the dual point u = r + ε b s of the certificate.

Throughout G = XᵀX and c = Xᵀy, unscaled. A kernel that is not told otherwise inherits fastmath from the one
that compiles it first: only kernels that call no others here may have it.
"""

import numpy as np
from numba import njit

MAX_STEPS = 60

_UNIT = 2.0**-53  # worst relative error of one operation

_BLOCK = 1024  # terms summed at a time where the rounding of a long sum would show

_PANEL = 48  # columns factored at a time: loops inside a panel, matrix products between panels


@njit(cache=True, error_model="numpy")
def adversarial_loss(residuals, radius):
    """Mean of (|r| + radius)², radius = ε ‖θ‖."""
    total = 0.0
    for i in range(residuals.size):
        a = abs(residuals[i]) + radius
        total += a * a
    return total / residuals.size


@njit(cache=True, error_model="numpy")
def residuals(X, y, theta, r):
    """Set r to y − Xθ."""
    Xt = np.dot(X, theta)
    for i in range(y.size):
        r[i] = y[i] - Xt[i]


@njit(cache=True, error_model="numpy")
def dual_value(u, norm_xtu, y, eps):
    """Lower bound (uᵀy)² / (n Σ v²), v = max(|u|, κ), κ the smallest that makes u feasible."""
    n = u.size
    total = 0.0
    for i in range(n):
        total += abs(u[i])
    kappa = 0.0
    if norm_xtu > eps * total:
        if eps == 0.0:
            return 0.0
        target = norm_xtu / eps
        kappa = target / n  # feasible; Newton on a convex piecewise linear function comes down from here
        for _ in range(100):
            above, below = 0.0, 0
            for i in range(n):
                inside = abs(u[i]) <= kappa
                above += 0.0 if inside else abs(u[i])
                below += inside
            if below == 0 or (target - above) / below >= kappa * (1.0 - 1e-15):
                break
            kappa = (target - above) / below
    uy, vv = 0.0, 0.0
    for i in range(n):
        uy += u[i] * y[i]
        v = max(abs(u[i]), kappa)
        vv += v * v
    root = uy / np.sqrt(n * vv) if vv > 0.0 else 0.0
    return root * root


@njit(cache=True, error_model="numpy")
def largest_norm(norm_xtu, length, n, chain, size_x):
    """The most that ‖Xᵀu‖ can be if it was computed as ``norm_xtu``, by sums of ``chain`` products.

    ``length`` is at least ‖u‖, size_x the Frobenius norm of X; n roundings more are those of `dual_value`.
    """
    return norm_xtu * (1.0 + 2.0 * (n + 4.0) * _UNIT) + 1.01 * (chain + 4.0) * _UNIT * size_x * length


@njit(cache=True, error_model="numpy")
def proven_bound(value, n, root_y, loss, norm_theta, size_x, terms):
    """A `dual_value` of the largest norm, less the worst that rounding can have done to it and to the loss.

    So ``loss`` less the bound is at least the gap of a point θ whose residuals y − Xθ were computed by sums
    of at most ``terms`` products. root_y is the root of the mean of y².
    """
    slip, blur = (n + 4.0) * _UNIT, (terms + 4.0) * _UNIT * (root_y + size_x * norm_theta / np.sqrt(n))
    root = max(np.sqrt(value) * (1.0 - 2.0 * slip) - slip * root_y, 0.0)
    return root * root - (2.0 * np.sqrt(loss) + blur) * blur - slip * loss


@njit(cache=True, error_model="numpy")
def fill_upper(A):
    """Copy the lower triangle of A to its upper one, a tile at a time."""
    d = A.shape[0]
    for k in range(0, d, 32):
        for j in range(k, d):
            for i in range(k, min(k + 32, j)):
                A[i, j] = A[j, i]


@njit(cache=True, error_model="numpy", fastmath={"reassoc", "contract"})
def cholesky(A):
    """Lower factor of A in place (the upper triangle is ignored); False if A is not positive definite."""
    d = A.shape[0]
    for k in range(0, d, _PANEL):
        e = min(k + _PANEL, d)
        if k > 0:
            update = np.dot(np.ascontiguousarray(A[k:, :k]), np.ascontiguousarray(A[k:e, :k]).T)
            for i in range(k, d):
                for j in range(k, e):
                    A[i, j] -= update[i - k, j - k]
        for j in range(k, e):
            pivot = A[j, j]
            for m in range(k, j):
                pivot -= A[j, m] * A[j, m]
            if not pivot > 0.0:
                return False
            pivot = np.sqrt(pivot)
            A[j, j] = pivot
            for i in range(j + 1, d):
                t = A[i, j]
                for m in range(k, j):
                    t -= A[i, m] * A[j, m]
                A[i, j] = t / pivot
    return True


@njit(cache=True, error_model="numpy")
def solve_lower(L, B):
    """B <- L⁻¹ B, the columns of B (d, m) together."""
    d, columns = B.shape
    for k in range(0, d, _PANEL):
        e = min(k + _PANEL, d)
        if k > 0:
            update = np.dot(np.ascontiguousarray(L[k:e, :k]), B[:k])
            for i in range(k, e):
                for a in range(columns):
                    B[i, a] -= update[i - k, a]
        for i in range(k, e):
            for m in range(k, i):
                t = L[i, m]
                for a in range(columns):
                    B[i, a] -= t * B[m, a]
            t = 1.0 / L[i, i]
            for a in range(columns):
                B[i, a] *= t


@njit(cache=True, error_model="numpy")
def solve_lower_transposed(L, b):
    """Replace b by L⁻ᵀ b."""
    for i in range(L.shape[0] - 1, -1, -1):
        b[i] /= L[i, i]
        t = b[i]
        for j in range(i):
            b[j] -= L[i, j] * t


@njit(cache=True, error_model="numpy")
def box_qp(Q, p, s):
    """Minimise ½ sᵀQs − pᵀs over |s| ≤ 1 from s, in place; Q positive semidefinite with positive diagonal.

    Sweeps over the coordinates find the face; damped Newton steps minimise on it, losing the coordinates that
    meet a bound (Q may be singular: rows of X depend on each other where there are many kinks). Both only
    ever lower the objective.
    """
    m = p.size
    free = np.empty(m, np.int64)
    trial = np.empty(m)
    g = np.dot(Q, s)
    for i in range(m):
        g[i] -= p[i]
    for _ in range(100):
        for _ in range(3):
            largest = 0.0
            for i in range(m):
                change = min(1.0, max(-1.0, s[i] - g[i] / Q[i, i])) - s[i]
                if abs(change) > 1e-14:
                    s[i] += change
                    largest = max(largest, abs(change))
                    for j in range(m):
                        g[j] += change * Q[i, j]
        if largest <= 1e-13:
            return
        for _ in range(m):
            k = 0
            for i in range(m):
                trial[i] = s[i]
                if abs(s[i]) < 1.0:
                    free[k] = i
                    k += 1
            if k == 0:
                break
            H = np.empty((k, k))
            step = np.empty(k)
            for a in range(k):
                for e in range(a):
                    H[a, e] = Q[free[a], free[e]]
                H[a, a] = Q[free[a], free[a]] * (1.0 + 1e-10)
                step[a] = -g[free[a]]
            if not cholesky(H):
                break
            solve_lower(H, step.reshape((k, 1)))
            solve_lower_transposed(H, step)
            room = 1.0
            for a in range(k):
                i = free[a]
                trial[i] = min(1.0, max(-1.0, s[i] + step[a]))
                if abs(s[i] + step[a]) > 1.0:
                    room = min(room, (1.0 - s[i] if step[a] > 0.0 else 1.0 + s[i]) / abs(step[a]))
            bent = room < 1.0
            g_trial = np.dot(Q, trial)
            change, predicted = 0.0, 0.0
            for i in range(m):
                g_trial[i] -= p[i]
                change += 0.5 * (trial[i] - s[i]) * (g[i] + g_trial[i])
                predicted += (trial[i] - s[i]) * g[i]
            if bent and change > 1e-4 * predicted:  # the projected step fails: go straight to the first bound
                for a in range(k):
                    i = free[a]
                    trial[i] = min(1.0, max(-1.0, s[i] + room * step[a]))
                    if abs(trial[i]) > 1.0 - 1e-14:
                        trial[i] = 1.0 if trial[i] > 0.0 else -1.0
                g_trial = np.dot(Q, trial)
                for i in range(m):
                    g_trial[i] -= p[i]
            for i in range(m):
                s[i] = trial[i]
                g[i] = g_trial[i]
            if not bent:
                break


@njit(cache=True, error_model="numpy", fastmath={"reassoc", "contract"})
def line_search(r, v, tt, td, dd, eps, upper):
    """Minimiser over t in [0, upper] of the convex R(θ + tδ); v = Xδ, tt = θᵀθ, td = θᵀδ, dd = δᵀδ.

    Newton's method on the slope, kept in a bracket; returns 0 where R goes up at once.
    """
    low, high = 0.0, upper
    t = min(1.0, upper)
    for _ in range(60):
        b = np.sqrt(max(tt + 2.0 * t * td + t * t * dd, 0.0))
        db = (td + t * dd) / b if b > 0.0 else np.sqrt(dd)
        ddb = (dd - db * db) / b if b > 0.0 else 0.0
        slope, curvature = 0.0, 0.0
        for i in range(r.size):
            a = r[i] - t * v[i]
            da = (-v[i] if a > 0.0 else v[i]) + eps * db
            slope += (abs(a) + eps * b) * da
            curvature += da * da + (abs(a) + eps * b) * eps * ddb
        if slope > 0.0:
            high = t
        elif t == upper:
            return upper
        else:
            low = t
        newton = t - slope / curvature if curvature > 0.0 else -1.0
        if abs(newton - t) <= 1e-9 * t:
            return t
        t = newton if low < newton < high else 0.5 * (low + high)
        if high - low <= 1e-12 * upper:
            break
    return low


@njit(cache=True, error_model="numpy")
def ridge_start(G, c, y, eps, theta):
    """Conjugate gradients on (G + λI)θ = c, λ refreshed so that Gaussian residuals make θ stationary.

    With c₁ = E|Z| and v² = ‖r‖²/n, Xᵀsign(r) ≈ c₁ Xᵀr/v turns stationarity of R into a ridge equation with
    λ = n (ε c₁ v/b + ε²) / (1 + c₁ ε b/v).
    """
    n, d = y.size, c.size
    c1 = np.sqrt(2.0 / np.pi)
    yy, rr = np.dot(y, y), np.dot(c, c)
    tolerance = 1e-6 * rr
    direction, residual, Gt = c.copy(), c.copy(), np.zeros(d)
    for j in range(d):
        theta[j] = 0.0
    lam = n * eps * eps + eps * c1 * np.sqrt(n * yy / rr) * np.dot(c, np.dot(G, c)) / rr
    for _ in range(10):
        Gd = np.dot(G, direction)
        a = rr / (np.dot(direction, Gd) + lam * np.dot(direction, direction))
        for j in range(d):
            theta[j] += a * direction[j]
            Gt[j] += a * Gd[j]
        b = np.sqrt(np.dot(theta, theta))
        v = np.sqrt(max(yy - 2.0 * np.dot(theta, c) + np.dot(theta, Gt), 1e-30 * yy) / n)
        lam = n * (c1 * eps * v / b + eps * eps) / (1.0 + c1 * eps * b / v)
        previous = rr
        for j in range(d):
            residual[j] = c[j] - Gt[j] - lam * theta[j]
        rr = np.dot(residual, residual)
        if rr <= tolerance:
            break
        for j in range(d):
            direction[j] = residual[j] + (rr / previous) * direction[j]


@njit(cache=True, error_model="numpy")
def scale_start(X, y, eps, c, theta):
    """Shrink theta to the best point on its ray, or on the ray of c if that one starts uphill."""
    for _ in range(2):
        v = np.dot(X, theta)
        t = line_search(y, v, 0.0, 0.0, np.dot(theta, theta), eps, 4.0)
        if t > 1e-12:
            for j in range(c.size):
                theta[j] *= t
            return
        size = np.sqrt(np.dot(theta, theta) / np.dot(c, c))
        for j in range(c.size):
            theta[j] = c[j] * size


@njit(cache=True, error_model="numpy")
def _factor_hessian(G, q, t, kink, tau, M):
    """M <- Cholesky factor of G + τI − q tᵀ − t qᵀ − kink·t tᵀ, its diagonal raised if it must be."""
    shift = 0.0
    while shift < 1e6:
        for j in range(t.size):
            for k in range(j + 1):
                M[j, k] = G[j, k] - q[j] * t[k] - t[j] * (q[k] + kink * t[k])
            M[j, j] += tau + shift * (G[j, j] + tau)
        if cholesky(M):
            return True
        shift = max(1e-12, 100.0 * shift)
    return False


@njit(cache=True, error_model="numpy")
def _lower_products(B):
    """The lower triangle of BBᵀ, in tiles; what is above is not all filled."""
    m = B.shape[0]
    if m <= 128:
        return np.dot(B, B.T)
    Q = np.empty((m, m))
    for k in range(0, m, 128):
        Q[k:, k : k + 128] = np.dot(B[k:], B[k : k + 128].T)
    return Q


@njit(cache=True, error_model="numpy")
def _solve_model(X, r, t, b, eps, rows, M, step, s):
    """Minimise the model: s on ``rows`` by the programme over the box, step <- −Δθ from the gradient in step.

    M holds the Cholesky factor of the model's Hessian.
    """
    d, m = step.size, rows.size
    solve_lower(M, step.reshape((d, 1)))
    if m > 0:
        A = np.empty((d, m))  # derivative of ε b r on the rows, then M^(−1/2) times it
        for a in range(m):
            i = rows[a]
            for j in range(d):
                A[j, a] = eps * (b * X[i, j] - r[i] * t[j])
        solve_lower(M, A)
        if m <= 128:
            Q = np.dot(A.T, A)
        else:
            Q = _lower_products(np.ascontiguousarray(A.T))
            fill_upper(Q)
        old, new = np.empty(m), np.empty(m)
        for a in range(m):
            old[a] = new[a] = s[rows[a]]
        p = np.dot(A.T, step)
        Qs = np.dot(Q, old)
        for a in range(m):
            p[a] += eps * b * r[rows[a]] + Qs[a]
            if Q[a, a] == 0.0:
                Q[a, a] = 1.0
        box_qp(Q, p, new)
        for a in range(m):
            s[rows[a]] = new[a]
            old[a] = new[a] - old[a]
        back = np.dot(A, old)
        for j in range(d):
            step[j] -= back[j]
    solve_lower_transposed(M, step)


@njit(cache=True, error_model="numpy")
def newton(X, y, eps, G, c, theta, s, tol, extra_steps):
    """Minimise from theta and s, both in place; s = 0 is a cold start.

    Needs 0 < eps < zero radius and R(theta) < R(0). Once certified, ``extra_steps`` more make θ accurate to
    rounding (the gap is quadratic in its error). Returns (loss, proven lower bound, steps).
    """
    n, d = X.shape
    crowd = d + 64  # more rows than can be expected to vanish together
    r, u, v = np.empty(n), np.empty(n), np.empty(n)
    residuals(X, y, theta, r)
    M = np.empty((d, d))
    q, t, trial = np.empty(d), np.empty(d), np.empty(d)
    in_w = np.zeros(n, np.bool_)
    b = np.sqrt(np.dot(theta, theta))
    loss = adversarial_loss(r, eps * b)
    bound, size_x = 0.0, 0.0
    for j in range(d):
        size_x += G[j, j]
    size_x = np.sqrt(size_x)
    radius = 3.0 * eps * b * d / n  # the order of the shrinkage of a residual by its own leverage
    for i in range(n):
        in_w[i] = s[i] != 0.0 and abs(s[i]) < 1.0
        v[i] = r[i]
    last = MAX_STEPS
    for steps in range(MAX_STEPS + 1):
        count = 0  # W: s inside the box, or a residual that is small or has just changed sign
        for i in range(n):
            if abs(v[i]) <= radius or (v[i] > 0.0) != (r[i] > 0.0):
                count += 1
        crowded = count > crowd
        if crowded:
            radius *= crowd / count
        for i in range(n):
            near = abs(v[i]) <= radius or (not crowded and (v[i] > 0.0) != (r[i] > 0.0))
            inside = in_w[i] and abs(s[i]) < 1.0
            if not (in_w[i] and (near or inside)):
                s[i] = 1.0 if v[i] > 0.0 else -1.0
            in_w[i] = near or inside
            r[i] = v[i]
            u[i] = r[i] + eps * b * s[i]
        Xtu = np.dot(X.T, u)
        norm = largest_norm(np.sqrt(np.dot(Xtu, Xtu)), np.sqrt(n * loss), n, n, size_x)
        bound = max(bound, dual_value(u, norm, y, eps))
        if loss - bound <= tol * loss:
            last = min(last, steps + extra_steps)
        if steps == last:
            break

        kink = eps * np.dot(s, r) / b
        tau = n * eps * eps + kink
        Gt = np.dot(G, theta)
        step = np.empty(d)
        for j in range(d):
            t[j] = theta[j] / b
            q[j] = (Xtu[j] - c[j] + Gt[j]) / b  # ε Xᵀs
            step[j] = tau * theta[j] - Xtu[j]
        if not _factor_hessian(G, q, t, kink, tau, M):
            break
        _solve_model(X, r, t, b, eps, np.flatnonzero(in_w), M, step, s)

        length = 1.0
        for _ in range(2):
            for j in range(d):
                trial[j] = theta[j] - length * step[j]
            residuals(X, y, trial, v)
            b_trial = np.sqrt(np.dot(trial, trial))
            loss_trial = adversarial_loss(v, eps * b_trial)
            if length < 1.0 or loss_trial <= loss * (1.0 + 1e-12):  # that much is rounding
                break
            for i in range(n):
                v[i] = r[i] - v[i]
            length = line_search(r, v, b * b, -np.dot(theta, step), np.dot(step, step), eps, 1.0)
        if length <= 1e-12:
            break
        radius = 0.0
        for i in range(n):
            radius += (v[i] - r[i]) ** 2
        radius = 2.0 * np.sqrt(radius / n)
        for j in range(d):
            theta[j] = trial[j]
        b, loss = b_trial, loss_trial
    return loss, proven_bound(bound, n, np.sqrt(np.dot(y, y) / n), loss, b, size_x, d), steps


@njit(cache=True, error_model="numpy")
def minimise(X, y, eps, G, tol, extra_steps, warm, thetas, s, losses, bounds):
    """Minimisers of m data sets X (m, n, d), y (m, n), each at its eps (m,) below its zero radius.

    Starts from the ridge, or from thetas (m, d) and s (m, n) if ``warm``. G holds the Gram matrices
    (m, d, d), or none of them (0, d, d). Fills thetas, s, losses and lower bounds (m,); returns the total of
    Newton steps.
    """
    total = 0
    for i in range(eps.size):
        c = np.dot(X[i].T, y[i])
        gram = G[i] if G.shape[0] > 0 else np.dot(X[i].T, X[i])
        cold = not warm
        if warm:
            r = np.empty(y.shape[1])
            b = np.sqrt(np.dot(thetas[i], thetas[i]))
            residuals(X[i], y[i], thetas[i], r)
            cold = b == 0.0 or adversarial_loss(r, eps[i] * b) >= adversarial_loss(y[i], 0.0)
        if cold:
            for j in range(y.shape[1]):
                s[i, j] = 0.0
            ridge_start(gram, c, y[i], eps[i], thetas[i])
            scale_start(X[i], y[i], eps[i], c, thetas[i])
        losses[i], bounds[i], steps = newton(X[i], y[i], eps[i], gram, c, thetas[i], s[i], tol, extra_steps)
        total += steps
    return total


@njit(cache=True, error_model="numpy")
def _products(A, B, block):
    """A @ B by sums over ``block`` terms at a time: the worst rounding grows with a block, not with a sum."""
    terms = B.shape[0]
    if terms <= block:
        return np.dot(A, B)
    total = np.zeros((A.shape[0], B.shape[1]))
    for start in range(0, terms, block):
        stop = min(start + block, terms)
        total += np.dot(np.ascontiguousarray(A[:, start:stop]), np.ascontiguousarray(B[start:stop]))
    return total


@njit(cache=True, error_model="numpy")
def certify(X, y, eps, size_x, thetas, s, losses, bounds, zeros):
    """Fill losses, proven lower bounds and numbers of zero residuals (k,) of thetas (k, d) at eps (k,).

    s (k, n) holds the dual signs; a residual counts as zero where |s| < 1, or where it is within the rounding
    of its own computation.
    """
    n, d = X.shape
    block = 32 if d >= n and eps.size > 1 else _BLOCK  # near interpolation the residuals are all rounding
    U = _products(thetas, X.T, block)
    blur = 2.0 * _UNIT * (2.0 + np.sqrt(d))
    for a in range(eps.size):
        b = np.sqrt(np.dot(thetas[a], thetas[a]))
        zeros[a] = 0
        for i in range(n):
            r = U[a, i] = y[i] - U[a, i]
            zero = abs(s[a, i]) < 1.0
            if not zero and abs(r) <= blur * (abs(y[i]) + size_x * b):
                size = abs(y[i])
                for j in range(d):
                    size += abs(X[i, j] * thetas[a, j])
                zero = abs(r) <= blur * size
            zeros[a] += zero
        losses[a] = adversarial_loss(U[a], eps[a] * b)
        for i in range(n):
            U[a, i] += eps[a] * b * s[a, i]
    V = _products(U, X, block)
    terms, chain, root_y = min(d, block) + d // block, min(n, block) + n // block, np.sqrt(np.dot(y, y) / n)
    for a in range(eps.size):
        b, length = np.sqrt(np.dot(thetas[a], thetas[a])), np.sqrt(np.dot(U[a], U[a]))
        norm = largest_norm(np.sqrt(np.dot(V[a], V[a])), length, n, chain, size_x)
        value = dual_value(U[a], norm, y, eps[a])
        bounds[a] = proven_bound(value, n, root_y, losses[a], b, size_x, terms)


@njit(cache=True, error_model="numpy")
def least_squares(X, y, thetas, losses, bounds):
    """Least squares for m data sets X (m, n, d), y (m, n), d < n, with losses and proven lower bounds (m,).

    The bound is the loss less what the columns still explain of the residual, by a Cholesky factor of the
    Gram matrix with a unit diagonal. It is −inf where that is ill-conditioned.
    """
    m, n, d = X.shape
    r, scale, slip = np.empty(n), np.empty(d), (n + 4.0) * _UNIT
    for i in range(m):
        G = np.dot(X[i].T, X[i])
        size, bounds[i] = 0.0, -np.inf
        for j in range(d):
            size += G[j, j]
            scale[j] = 1.0 / np.sqrt(G[j, j]) if G[j, j] > 0.0 else 1.0
            thetas[i, j] = 0.0
        for j in range(d):
            for k in range(d):
                G[j, k] *= scale[j] * scale[k]
        safe, inverse = cholesky(G), np.eye(d)
        if safe:
            solve_lower(G, inverse)
            norm = 0.0  # squared Frobenius norm of the inverse factor, at least 1 / λmin
            for j in range(d):
                for k in range(j + 1):
                    norm += inverse[j, k] ** 2
            safe = norm * d < 1e10  # rounding then changes what is explained by less than 1 %
        residuals(X[i], y[i], thetas[i], r)
        if safe:
            part = np.dot(inverse, np.dot(X[i].T, r) * scale)
            for _ in range(2):
                step = np.dot(inverse.T, part)
                for j in range(d):
                    thetas[i, j] += scale[j] * step[j]
                residuals(X[i], y[i], thetas[i], r)
                part = np.dot(inverse, np.dot(X[i].T, r) * scale)
        losses[i] = adversarial_loss(r, 0.0)
        if safe:
            b, mean_square = np.sqrt(np.dot(thetas[i], thetas[i])), np.dot(y[i], y[i]) / n
            left = 1.01 * np.sqrt(np.dot(part, part)) + slip * np.sqrt(d * norm * n * losses[i])
            blur = (d + 4.0) * _UNIT * (np.sqrt(mean_square) + np.sqrt(size / n) * b)
            bounds[i] = losses[i] * (1.0 - slip) - left * left / n - (2.0 * np.sqrt(losses[i]) + blur) * blur


@njit(cache=True, error_model="numpy", fastmath={"reassoc", "contract"})
def _estimates(r, s, y, radius, norm_xtu, eps):
    """Loss and lower bound as in `adversarial_loss` and `dual_value`, in fast arithmetic: no certificate."""
    n = y.size
    u = np.empty(n)
    squares, uy = 0.0, 0.0
    for i in range(n):
        a = abs(r[i]) + radius
        squares += a * a
        u[i] = r[i] + radius * s[i]
        uy += u[i] * y[i]
        u[i] = abs(u[i])
    kappa = norm_xtu / (eps * n)
    for _ in range(100):
        above, below = 0.0, 0.0
        for i in range(n):
            above += u[i] if u[i] > kappa else 0.0
            below += 0.0 if u[i] > kappa else 1.0
        if below == 0.0 or (norm_xtu / eps - above) / below >= kappa * (1.0 - 1e-15):
            break
        kappa = (norm_xtu / eps - above) / below
    vv = 0.0
    for i in range(n):
        v = max(u[i], kappa)
        vv += v * v
    return squares / n, uy * uy / (n * vv)


@njit(cache=True, error_model="numpy", fastmath={"reassoc", "contract"})
def _diagonal_hessian(lam, theta, z, tau, kink, eps, D, q, t):
    """Set D, q, t with M = D⁻¹ − q tᵀ − t qᵀ − kink·t tᵀ the model's Hessian where G = diag(lam), z = Xᵀs.

    Returns the middle (K₀, K₁; K₁, K₂) of Woodbury's formula for M⁻¹; K₀ = 0 if M is not positive definite.
    """
    b = np.sqrt(np.dot(theta, theta))
    qq, qt, tt = 0.0, 1.0, 0.0
    for j in range(lam.size):
        D[j], q[j], t[j] = 1.0 / (lam[j] + tau), eps * z[j], theta[j] / b
        if not D[j] > 0.0:
            return 0.0, 0.0, 0.0
        qq += q[j] * q[j] * D[j]
        qt -= q[j] * t[j] * D[j]
        tt += t[j] * t[j] * D[j]
    det = qt * qt - (kink + qq) * tt
    return (tt / det, qt / det, (kink + qq) / det) if det > 0.0 else (0.0, 0.0, 0.0)


@njit(cache=True, error_model="numpy", fastmath={"reassoc", "contract"})
def _apply_inverse(D, q, t, K, g):
    """Replace g by M⁻¹ g."""
    gq, gt = 0.0, 0.0
    for j in range(g.size):
        g[j] *= D[j]
        gq += g[j] * q[j]
        gt += g[j] * t[j]
    wq, wt = K[0] * gq + K[1] * gt, K[1] * gq + K[2] * gt
    for j in range(g.size):
        g[j] += (wq * q[j] + wt * t[j]) * D[j]


@njit(cache=True, error_model="numpy", fastmath={"reassoc", "contract"})
def _renew(r, y, Xt):
    """Set r to y − Xt; return the squared length of the change."""
    total = 0.0
    for i in range(r.size):
        change = y[i] - Xt[i] - r[i]
        total += change * change
        r[i] = y[i] - Xt[i]
    return total


@njit(cache=True, error_model="numpy")
def _programme(W, D, q, t, K):
    """W M⁻¹ Wᵀ."""
    m, d = W.shape
    B, V = np.empty((m, d)), np.empty((d, 2))
    for j in range(d):
        V[j, 0], V[j, 1] = D[j] * q[j], D[j] * t[j]
    V = np.dot(W, V)
    for a in range(m):
        for j in range(d):
            B[a, j] = W[a, j] * np.sqrt(D[j])
    Q = _lower_products(B)
    for a in range(m):
        wq, wt = K[0] * V[a, 0] + K[1] * V[a, 1], K[1] * V[a, 0] + K[2] * V[a, 1]
        for e in range(a + 1):
            Q[a, e] += wq * V[e, 0] + wt * V[e, 1]
        if not Q[a, a] > 0.0:
            Q[a, a] = 1.0
    fill_upper(Q)
    return Q


@njit(cache=True, error_model="numpy")
def follow(X, y, eps, lam, c, tol, start, thetas, signs):
    """Minimisers at increasing eps (k,) from ``start`` on, given those before; XᵀX = diag(lam), c = Xᵀy.

    A line through the last two minimisers predicts θ and r. The Hessian of the saddle form is diagonal plus a
    matrix of rank two, and z = Xᵀs changes by the rows W only: a step costs one product with X, to see which
    residuals have changed sign, and what the few rows of W cost. Every other step at one strength keeps the
    Hessian and W of the step before, if no further residual has changed sign.

    signs (at most k − start + 1, n) holds s at eps[start − 1] in its first row and takes the next ones. Stops
    where it is full or a minimiser is missed; returns how many were found, and the steps. No certificates.
    """
    n, d = X.shape
    s, r, r_last, r_before = signs[0].copy(), np.empty(n), np.empty(n), np.empty(n)
    rows, in_w = np.empty(n, np.int64), np.empty(n, np.bool_)
    D, q, t, g, w, theta = np.empty(d), np.empty(d), np.empty(d), np.empty(d), np.empty(d), np.empty(d)
    z = np.dot(X.T, s)
    residuals(X, y, thetas[start - 1], r_last)
    residuals(X, y, thetas[max(start - 2, 0)], r_before)
    near = eps[start - 1] * np.sqrt(np.dot(thetas[start - 1], thetas[start - 1]) * d / n)
    W = Q = X[:0]
    K, m, total = (0.0, 0.0, 0.0), 0, 0
    for a in range(start, min(eps.size, start + len(signs) - 1)):
        ahead = (eps[a] - eps[a - 1]) / (eps[a - 1] - eps[a - 2]) if a > 1 else 0.0
        for j in range(d):
            theta[j] = thetas[a - 1, j] + ahead * (thetas[a - 1, j] - thetas[max(a - 2, 0), j])
        for i in range(n):
            r[i] = r_last[i] + ahead * (r_last[i] - r_before[i])
        r_before, r_last = r_last, r_before
        found, stale, gap = False, True, np.inf
        for step in range(8):
            b = np.sqrt(np.dot(theta, theta))
            kink = eps[a] * np.dot(s, r) / b
            tau = n * eps[a] ** 2 + kink
            if stale:
                m = 0
                for i in range(n):
                    m += abs(r[i]) <= near or s[i] * r[i] < abs(r[i])
                crowded = m > d + 64  # more rows than can be expected to vanish together
                if crowded:
                    near *= (d + 64) / m
                m = 0
                for i in range(n):
                    in_w[i] = abs(r[i]) <= near or (s[i] * r[i] < abs(r[i]) and not crowded)
                    if in_w[i]:
                        rows[m] = i
                        m += 1
                    elif s[i] * r[i] < abs(r[i]):
                        change_of_sign = (1.0 if r[i] > 0.0 else -1.0) - s[i]
                        s[i] += change_of_sign
                        for j in range(d):
                            z[j] += change_of_sign * X[i, j]
                K = _diagonal_hessian(lam, theta, z, tau, kink, eps[a], D, q, t)
                if K[0] == 0.0:
                    break
                if m > 0:
                    W = np.empty((m, d))
                    for e in range(m):
                        for j in range(d):
                            W[e, j] = X[rows[e], j]
                    Q = _programme(W, D, q, t, K)
            for j in range(d):
                w[j] = g[j] = (lam[j] + tau) * theta[j] - c[j] - eps[a] * b * z[j]
            if m > 0:
                _apply_inverse(D, q, t, K, w)
                change, new, p = np.empty(m), np.empty(m), np.dot(W, w)
                for e in range(m):
                    change[e] = new[e] = s[rows[e]]
                Qs = np.dot(Q, new)
                for e in range(m):
                    p[e] = (p[e] + r[rows[e]]) / (eps[a] * b) + Qs[e]
                box_qp(Q, p, new)
                for e in range(m):
                    s[rows[e]] = new[e]
                    change[e] = new[e] - change[e]
                w = np.dot(change, W)
                for j in range(d):
                    z[j] += w[j]
                    g[j] -= eps[a] * b * w[j]
            _apply_inverse(D, q, t, K, g)
            for j in range(d):
                theta[j] -= g[j]
            total += 1
            Xt = np.dot(X, theta)
            moved = _renew(r, y, Xt)
            if step == 0:
                near = 2.0 * np.sqrt(moved / n)
            radius = eps[a] * np.sqrt(np.dot(theta, theta))
            for j in range(d):
                g[j] = c[j] - lam[j] * theta[j] + radius * z[j]
            loss, bound = _estimates(r, s, y, radius, np.sqrt(np.dot(g, g)), eps[a])
            found = loss - bound <= tol * loss
            if found or (step > 1 and not loss - bound < 0.5 * gap):
                break
            gap, stale = loss - bound, step % 2 == 1
            for i in range(n):
                stale = stale or (s[i] * r[i] < abs(r[i]) and not in_w[i])
        if not found:
            return a - start, total
        for i in range(n):
            r_last[i] = r[i]
            signs[a - start + 1, i] = s[i]
        for j in range(d):
            thetas[a, j] = theta[j]
    return min(eps.size, start + len(signs) - 1) - start, total
