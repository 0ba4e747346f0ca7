"""The limits against their definition as a min–max, their edges, and simulation."""

from dataclasses import FrozenInstanceError, fields
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize, minimize_scalar, root

import linphase as lp
from linphase import evidence
from linphase.asymptotics import CRITERIA, Prediction, critical_strength, predict, zero_radius
from linphase.streams import stream

C1 = np.sqrt(2 / np.pi)
NAMES = [field.name for field in fields(Prediction)]

# --- the slow reference: the definition, by quadrature ------------------------------------------------------

NODES, WEIGHTS = np.polynomial.legendre.leggauss(80)


def definition(k, alpha, lam, eps, delta, s, sigma):
    """Return E e(vZ; λ) - δα²/(2λ), its gradient in (k, α, λ), and means over the residuals z."""
    b, v = np.hypot(k * s, alpha), np.sqrt(sigma**2 + (1 - k) ** 2 * s**2 + alpha**2)
    c = eps * b
    kink = min(2 * lam * c / v, 13.0)
    inside, outside = kink * (NODES + 1) / 2, kink + 6.5 * (NODES + 1)
    x = np.concatenate([inside, outside])
    mass = np.concatenate([kink / 2 * WEIGHTS, 6.5 * WEIGHTS]) * C1 * np.exp(-(x**2) / 2)
    z = np.maximum(v * x - 2 * lam * c, 0) / (1 + 2 * lam)
    z[: len(inside)] = 0
    psi = v * x - z
    value = mass @ ((z + c) ** 2 + psi**2 / (2 * lam)) - delta * alpha**2 / (2 * lam)
    by_v, by_c = mass @ (x * psi) / lam, 2 * mass @ (z + c)
    gradient = [
        -by_v * (1 - k) * s**2 / v + by_c * eps * k * s**2 / b,
        by_v * alpha / v + by_c * eps * alpha / b - delta * alpha / lam,
        (delta * alpha**2 - mass @ psi**2) / (2 * lam**2),
    ]
    m = mass @ (x * psi) / np.sqrt(mass @ psi**2)
    means = SimpleNamespace(b=b, v=v, m=m, square=mass @ z**2, zero=mass[: len(inside)].sum())
    return value, np.array(gradient), means


def reference(eps, delta, s, sigma):
    """Return (min–max value, all outputs): a nested search from a fixed start, polished at its saddle."""

    def inner(k, log_alpha):
        args = (eps, delta, s, sigma)
        return minimize_scalar(
            lambda log_lam: -definition(k, np.exp(log_alpha), np.exp(log_lam), *args)[0],
            bounds=(-12, 8), method="bounded", options={"xatol": 1e-8},
        )  # fmt: skip

    size = np.hypot(s, sigma)
    outer = minimize(
        lambda p: -inner(*p).fun, [0.5, np.log(0.5 * size)], method="Nelder-Mead",
        options={"xatol": 1e-6, "fatol": 1e-13, "maxiter": 1000},
    )  # fmt: skip
    assert outer.success
    k, log_alpha = outer.x
    start = [k, np.exp(log_alpha), np.exp(inner(k, log_alpha).x)]
    polished = root(lambda p: definition(*p, eps, delta, s, sigma)[1], start, tol=1e-13)
    k, alpha, lam = polished.x
    value, gradient, at = definition(k, alpha, lam, eps, delta, s, sigma)
    assert np.abs(gradient).max() < 1e-11 * size**2
    k0 = min(1.0, 1 / delta)
    v0 = np.sqrt((sigma**2 + (1 - k0) ** 2 * s**2) / abs(1 - k0 if delta > 1 else 1 - delta))
    alpha0 = v0 * (delta**0.5 if delta < 1 else delta**-0.5)
    rho = at.m * (sigma**2 + (1 - k0) * (1 - k) * s**2) / (v0 * at.v - at.m * alpha0 * alpha)
    distance = np.sqrt((k0 - k) ** 2 * s**2 + alpha0**2 + alpha**2 - 2 * alpha0 * alpha * rho)
    attacked = at.v**2 + 2 * C1 * eps * at.b * at.v + (eps * at.b) ** 2
    return outer.fun, Prediction(value, at.v**2, attacked, at.b, k, at.zero, at.square, distance)


@pytest.mark.parametrize(
    ("share", "delta", "s", "sigma"),
    [
        (0.3, 0.1, 1.0, 1.0),
        (0.1, 0.05, 1.0, 3.0),
        (0.05, 0.9, 1.0, 1.0),
        (0.5, 0.5, 1.0, 0.3),
        (0.9, 0.5, 2.0, 1.0),
        (0.7, 0.02, 0.5, 0.5),
        (0.3, 1.2, 1.0, 1.0),
        (0.5, 2.0, 2.0, 1.0),
        (0.8, 5.0, 0.5, 1.0),
    ],
)
def test_predict_is_the_saddle_point(share, delta, s, sigma):
    eps = share * zero_radius(delta, s, sigma)
    value, expected = reference(eps, delta, s, sigma)
    found = predict(eps, delta, s, sigma)
    assert found.train_loss == pytest.approx(value, rel=1e-8)
    for name in NAMES:
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-8), name


# --- edges --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delta", [1e-4, 0.3, 0.999])
def test_no_attack_below_one_is_least_squares(delta):
    found = predict(0.0, delta, 2.0, 0.5)
    assert found.train_loss == found.clean_train_loss == pytest.approx(0.25 * (1 - delta), rel=1e-14)
    assert found.clean_risk == found.adversarial_risk == pytest.approx(0.25 / (1 - delta), rel=1e-14)
    assert found.norm == pytest.approx(np.sqrt(4 + 0.25 * delta / (1 - delta)), rel=1e-14)
    assert (found.overlap, found.zero_share, found.distance) == (1, 0, 0)


@pytest.mark.parametrize("delta", [1.001, 2.0, 50.0])
def test_no_attack_above_one_is_the_minimum_norm_interpolator(delta):
    found = predict(0.0, delta, 2.0, 0.5)
    risk = 0.25 + 4 * (1 - 1 / delta) + 0.25 / (delta - 1)
    assert found.clean_risk == found.adversarial_risk == pytest.approx(risk, rel=1e-12)
    assert found.norm == pytest.approx(np.sqrt(4 / delta + 0.25 / (delta - 1)), rel=1e-12)
    assert found.overlap == 1 / delta
    assert (found.train_loss, found.clean_train_loss, found.zero_share, found.distance) == (0, 0, 1, 0)


@pytest.mark.parametrize("delta", [1e-3, 0.2, 0.95, 1.05, 3.0, 100.0])
def test_weak_attack_continues_least_squares_to_first_order(delta):
    clean = predict(0.0, delta)
    slope = 2 * C1 * clean.norm * np.sqrt(max(1 - delta, 0.0))  # of the loss, by the envelope theorem
    rises = []
    for eps in (1e-7, 1e-8):
        weak = predict(eps, delta)
        rises.append((weak.train_loss - clean.train_loss) / eps)
        for name in NAMES:
            assert getattr(weak, name) == pytest.approx(getattr(clean, name), abs=1e3 * eps), name
        if delta > 1:
            assert weak.train_loss == pytest.approx((eps * clean.norm) ** 2, rel=1e-12)
    assert rises == pytest.approx([slope] * 2, rel=1e-3, abs=1e-4)
    eps = np.array([1e-7, 1e-13, 1e-15])
    speed = predict(eps, delta).distance / eps
    assert speed[0] == pytest.approx(speed[1], rel=1e-3)
    assert speed[1] == pytest.approx(speed[2], rel=1e-9)  # no digits lost in k₀ - k or α₀ - α


@pytest.mark.parametrize("delta", [1e-3, 0.2, 0.95, 1.05, 3.0, 100.0])
@pytest.mark.parametrize("sigma", [0.1, 1.0, 5.0])
def test_the_zero_radius_is_approached_linearly_and_across_the_expansion(delta, sigma):
    eps0 = zero_radius(delta, 1.0, sigma)
    gaps = np.array([2e-5, 1e-5, 1.1e-8, 0.9e-8, 1e-10])
    near = predict(eps0 * (1 - gaps), delta, 1.0, sigma)
    for values in (near.norm / gaps, near.overlap / gaps):
        limit = 2 * values[1] - values[0]
        assert values[2:4] == pytest.approx([limit] * 2, rel=1e-6)
        assert values[4] == pytest.approx(limit, rel=1e-4)  # ε₀ - ε itself has no more digits
    total = 1 + sigma**2
    assert near.train_loss == pytest.approx(total - C1 * np.sqrt(total) * near.norm * gaps * eps0, rel=1e-10)


@pytest.mark.parametrize("delta", [0.3, 3.0])
def test_beyond_the_zero_radius_nothing_is_predicted(delta):
    eps0 = zero_radius(delta, 2.0, 1.0)
    assert eps0 == pytest.approx(np.sqrt(np.pi / 2 * (0.8 + delta)), rel=1e-15)
    assert predict(eps0 * (1 - 1e-9), delta, 2.0, 1.0).norm > 0
    for eps in (eps0 * (1 + 1e-15), 10 * eps0, 1e300):
        found = predict(eps, delta, 2.0, 1.0)
        losses = (found.train_loss, found.clean_risk, found.adversarial_risk, found.clean_train_loss)
        assert losses == pytest.approx((5.0,) * 4, rel=1e-14)
        assert (found.norm, found.overlap, found.zero_share) == (0, 0, 0)
        assert found.distance == pytest.approx(predict(0.0, delta, 2.0, 1.0).norm, rel=1e-14)


def test_nothing_but_the_distance_notices_d_equal_to_n():
    below, above = predict(0.5, 1 - 1e-8), predict(0.5, 1 + 1e-8)
    for name in set(NAMES) - {"distance"}:
        assert getattr(below, name) == pytest.approx(getattr(above, name), rel=1e-7), name


# --- everywhere ---------------------------------------------------------------------------------------------

LOG_DELTA = st.floats(-9, 5).filter(lambda x: abs(x) > 1e-3)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(share=st.floats(0.002, 1.2), log_delta=LOG_DELTA, log_noise=st.floats(-5, 5))
def test_envelope_theorem_order_and_ranges(share, log_delta, log_noise):
    """DΦ/dε = 2b(E|z| + εb) ties the training loss to the clean one and the norm."""
    delta, sigma = np.exp(log_delta), np.exp(log_noise)
    size = np.hypot(1, sigma)
    eps, step = share * zero_radius(delta, 1.0, sigma), 1e-4
    low, at, high = (predict(eps * f, delta, 1.0, sigma) for f in (1 - step, 1.0, 1 + step))
    derivative = (high.train_loss - low.train_loss) / (2 * step)
    exact = at.train_loss - at.clean_train_loss + (eps * at.norm) ** 2
    if abs(share - 1) > 2 * step:
        assert derivative == pytest.approx(exact, rel=1e-5, abs=1e-10 * size**2)
    slack = 1e-12 * size**2
    for name in ("train_loss", "clean_train_loss", "distance"):
        assert getattr(high, name) >= getattr(low, name) - slack, name
    for name in ("norm", "overlap"):
        assert getattr(high, name) <= getattr(low, name) + slack, name
    assert 0 <= at.zero_share <= min(1, delta)
    assert 0 <= at.overlap <= min(1, 1 / delta) * (1 + 1e-15)
    assert at.clean_train_loss <= at.train_loss <= at.adversarial_risk + slack


def test_units_shapes_and_types():
    found = predict(0.4, 0.7, 3.0, 1.5)
    unit = predict(0.4, 0.7, 2.0, 1.0)
    for name in NAMES:
        power = 2 if "loss" in name or "risk" in name else name in ("norm", "distance")
        assert getattr(found, name) == pytest.approx(1.5**power * getattr(unit, name), rel=1e-13), name
        assert isinstance(getattr(found, name), float)
    grid = predict(np.array([[0.0], [0.4], [9.0]]), [0.7, 2.0], 3.0, 1.5)
    assert {getattr(grid, name).shape for name in NAMES} == {(3, 2)}
    assert [getattr(grid, name)[1, 0] for name in NAMES] == [getattr(found, name) for name in NAMES]
    assert critical_strength([[0.1], [0.2]], [1.0, 2.0, 3.0]).shape == (2, 3)
    assert isinstance(critical_strength(0.1), float)
    assert predict([], 0.5).norm.shape == (0,)
    with pytest.raises(FrozenInstanceError):
        found.norm = 0.0


def test_a_grid_of_2500_points_is_that_of_single_points():
    delta = np.concatenate([np.geomspace(1e-3, 0.97, 25), np.geomspace(1.03, 30, 25)])
    eps = np.linspace(0, 3, 50)[:, None]
    grid = predict(eps, delta).train_loss
    assert grid.shape == (50, 50)
    for i, j in ((0, 0), (10, 20), (49, 49), (25, 30)):
        assert grid[i, j] == predict(eps[i, 0], delta[j]).train_loss


# --- simulation ---------------------------------------------------------------------------------------------


def agrees(sample, limit):
    """Whether the mean of 16 replicates lies within 5 standard errors; otherwise by chance in 2e-4."""
    return abs(sample.mean() - limit) < 5 * sample.std(ddof=1) / np.sqrt(len(sample))


@pytest.mark.parametrize(
    ("eps", "d", "s", "sigma"), [(0.3, 20, 1.0, 1.0), (0.8, 100, 1.0, 0.5), (0.7, 400, 2.0, 1.0)]
)
def test_simulated_minimisers_agree(eps, d, s, sigma):
    n, rows = 200, []
    for i in range(16):
        rng = stream(4, "asymptotics", d, i)
        X, theta0 = rng.standard_normal((n, d)), np.full(d, s / np.sqrt(d))
        y = X @ theta0 + sigma * rng.standard_normal(n)
        solution = lp.solve(lp.AdversarialProblem(X, y, eps))
        theta, r = solution.theta, y - X @ solution.theta
        b, v = np.linalg.norm(theta), np.hypot(np.linalg.norm(theta - theta0), sigma)
        attacked = v**2 + 2 * C1 * eps * b * v + (eps * b) ** 2
        shift = np.linalg.norm(theta - np.linalg.lstsq(X, y)[0])
        share = solution.n_zero_residuals / n
        rows.append([solution.loss, v**2, attacked, b, theta @ theta0 / s**2, share, np.mean(r**2), shift])
    limit, wrong = predict(eps, d / n, s, sigma), predict(1.2 * eps, d / n, s, sigma)
    samples = dict(zip(NAMES, np.transpose(rows), strict=True))
    assert all(agrees(samples[name], getattr(limit, name)) for name in NAMES)
    assert not any(agrees(samples[name], getattr(wrong, name)) for name in ("adversarial_risk", "distance"))


CELLS = [  # eps, d/n, signal, noise
    (0.1, 0.05, 1.0, 1.0),
    (0.4, 0.05, 1.0, 1.0),
    (0.2, 0.1, 2.0, 1.0),
    (0.6, 0.1, 1.0, 0.5),
    (0.3, 0.2, 1.0, 1.0),
    (0.5, 0.2, 1.0, 1.0),
    (0.5, 0.4, 0.5, 1.0),
    (0.7, 0.4, 2.0, 1.0),
    (0.3, 0.6, 1.0, 1.0),
    (0.8, 0.6, 1.0, 1.0),
    (0.5, 1.3, 1.0, 1.0),
    (0.9, 1.3, 2.0, 1.0),
]


@pytest.mark.slow
@pytest.mark.parametrize(("eps", "delta", "s", "sigma"), CELLS)
def test_large_samples_are_equivalent_to_the_limit(eps, delta, s, sigma):
    """n = 2000: loss, risks and norm within 8 % of the limit; all 12 x 4 claims at a common level of 5 %."""
    n, reps = 2000, 10
    rows = []
    for i in range(reps):
        X, y = lp.GaussianDesign(n, round(delta * n), s, sigma).sample(stream(5, "large", delta, eps, i))
        design = lp.GaussianDesign(n, X.shape[1], s, sigma)
        solution = lp.solve(lp.AdversarialProblem(X, y, eps))
        theta = solution.theta
        rows.append([solution.loss, design.risk(theta), design.risk(theta, eps), np.linalg.norm(theta)])
    limit = predict(eps, delta, s, sigma)
    names = ("train_loss", "clean_risk", "adversarial_risk", "norm")
    for name, sample in zip(names, np.transpose(rows), strict=True):
        truth = getattr(limit, name)
        claim = evidence.equivalent(name, "", evidence.mean(sample / truth), 1.0, 0.08, (0.8, 1.2))
        assert claim.p_support < 0.05 / (4 * len(CELLS)), (name, claim.estimate)


# --- the three thresholds -----------------------------------------------------------------------------------


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize(
    ("delta", "s", "sigma"), [(1e-4, 1.0, 1.0), (0.3, 1.0, 1.0), (0.8, 3.0, 1.0), (1.5, 2.0, 1.0)]
)
def test_thresholds_solve_their_definitions(criterion, delta, s, sigma):
    clean = predict(0.0, delta, s, sigma)
    found = predict(critical_strength(delta, s, sigma, criterion), delta, s, sigma)
    if criterion == "parameter":
        variance = sigma**2 * delta / (1 - delta)
        if delta > 1:
            variance = s**2 / delta * (1 - 1 / delta) + sigma**2 / (delta - 1)
        assert found.distance == pytest.approx(np.sqrt(variance), rel=1e-12)
    else:
        loss = found.train_loss if criterion == "loss" else found.clean_train_loss
        assert loss == pytest.approx(clean.clean_risk, rel=1e-12)


def test_thresholds_at_known_points():
    delta = np.array([0.0005, 0.01, 0.03, 0.1, 0.3])
    root_delta = np.sqrt(delta)
    parameter = critical_strength(delta, criterion="parameter") / root_delta
    assert parameter == pytest.approx([1.238, 1.188, 1.149, 1.093, 1.053], abs=5e-4)
    clean_loss = critical_strength(delta, criterion="clean-loss") / root_delta
    assert clean_loss[[0, 1, 3, 4]] == pytest.approx([1.743, 1.663, 1.559, 1.596], abs=5e-4)
    assert critical_strength([0.01, 0.1, 0.3, 0.45]) == pytest.approx([0.0126, 0.129, 0.439, 0.827], abs=5e-4)
    beyond = critical_strength([1.3, 1.34, 1.5, 3.0], 2.0)
    assert beyond == pytest.approx([np.inf, 1.681, 1.352, 1.737], abs=5e-4)


@pytest.mark.parametrize("r", [0.5, 1.0, 2.0])
def test_thresholds_follow_their_series(r):
    """The remainders shrink at the stated order when δ does: q³ for the two roots, δ² for the loss."""
    delta = np.array([4e-4, 1e-4])
    q, kappa = np.sqrt(delta), np.pi / 2 - 1
    parameter = 1 - kappa * r * q + ((2 * kappa**2 + kappa / 2) * r**2 - (2 - np.pi / 2)) * delta
    parameter -= critical_strength(delta, r, 1.0, "parameter") / (np.sqrt(np.pi / 2) * q)
    curvature = (4 * kappa**2 + 1.5 * kappa) * r**2 + np.pi - 11 / 4
    clean_loss = 1 - np.sqrt(2) * kappa * r * q + curvature * delta
    clean_loss -= critical_strength(delta, r, 1.0, "clean-loss") / (np.sqrt(np.pi) * q)
    loss = 1 + (1 - np.pi / 4) * delta - critical_strength(delta, r, 1.0) / (np.sqrt(np.pi / 2) / r * delta)
    for remainder, order in [(parameter, 1.5), (clean_loss, 1.5), (loss, 2.0)]:
        assert np.log(remainder[0] / remainder[1]) / np.log(4) == pytest.approx(order, abs=0.15)


def test_thresholds_are_infinite_exactly_where_least_squares_is_no_better_than_zero():
    for criterion in ("loss", "clean-loss"):
        assert np.isinf(critical_strength([0.5, 0.6, 1.1, 2.0, 1e9], 1.0, 1.0, criterion)).all()
        assert np.isinf(critical_strength(4 / 3, 2.0, 1.0, criterion))
        edges = critical_strength([0.5 - 1e-6, 4 / 3 + 1e-6], [1.0, 2.0], 1.0, criterion)
        assert np.isfinite(edges).all()
        assert edges == pytest.approx(zero_radius([0.5, 4 / 3], [1.0, 2.0]), rel=1e-2)
    assert np.isfinite(critical_strength([0.5, 0.6, 1.1, 2.0, 1e9], criterion="parameter")).all()


# --- bad input ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"delta": 0}, ValueError, "delta must be positive and finite, got 0"),
        ({"delta": [0.5, -2.0]}, ValueError, "delta must be positive and finite, got -2"),
        ({"delta": np.inf}, ValueError, "delta must be positive and finite, got inf"),
        ({"delta": [0.5, 1.0]}, ValueError, "delta must not be 1"),
        ({"signal": 0}, ValueError, "signal must be positive and finite, got 0"),
        ({"noise": 0.0}, ValueError, "noise must be positive and finite, got 0"),
        ({"noise": np.nan}, ValueError, "noise must be positive and finite, got nan"),
        ({"signal": "one"}, TypeError, "signal must hold real numbers, got str 'one'"),
        ({"signal": np.ma.masked_array([1.0], [True])}, TypeError, "signal must not be a masked array"),
        ({"signal": 1 + 2j}, TypeError, "signal must hold real numbers, got complex"),
        ({"signal": 1e61}, ValueError, r"signal must be at most 1e\+45, got 1e\+61"),
        ({"noise": 10**400}, ValueError, "noise must be finite and at most"),
        ({"delta": [0.1, 0.2], "noise": [1.0, 2.0, 3.0]}, ValueError, r"delta \(2,\).*noise \(3,\)"),
    ],
)
def test_bad_input_has_its_sentence(arguments, error, sentence):
    arguments = {"delta": 0.5} | arguments
    with pytest.raises(error, match=sentence):
        predict(0.1, **arguments)
    with pytest.raises(error, match=sentence):
        critical_strength(**arguments)


@pytest.mark.parametrize("eps", [-0.1, np.nan, np.inf])
def test_bad_strength(eps):
    with pytest.raises(ValueError, match="eps must be non-negative and finite, got"):
        predict(eps, 0.5)


def test_misspelt_criterion():
    with pytest.raises(
        ValueError, match="criterion must be one of 'loss', 'parameter', 'clean-loss', got 'clean'"
    ):
        critical_strength(0.5, criterion="clean")


def test_a_lost_root_is_an_error_and_names_its_point():
    with pytest.raises(FloatingPointError, match=r"delta = 1e-300, eps = 0\.5"):
        predict([0.1, 0.5], [0.1, 1e-300])


def test_weak_noise_leaves_the_threshold_its_digits():
    """At δ = 1e-6 and s = 1e6 the level is 1e-12 of the signal, and R exceeds the training loss by 2e-18."""
    delta, r = 1e-6, 1e6
    loss = np.sqrt(np.pi / 2) / r * delta * (1 + (1 - np.pi / 4) * delta)
    assert critical_strength(delta, r) == pytest.approx(loss, rel=1e-9)
    clean = critical_strength(0.5, [1e4, 1e5, 1e6], criterion="clean-loss")  # tends to its limit like 1/s
    assert (clean[0] - clean[1]) / (clean[1] - clean[2]) == pytest.approx(10, rel=0.01)


def test_a_threshold_lost_in_rounding_is_refused():
    with pytest.raises(
        FloatingPointError, match=r"^rounding hides the critical strength at delta = .*, signal : noise"
    ):
        critical_strength(1e-20)
