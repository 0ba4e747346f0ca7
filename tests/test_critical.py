"""The three thresholds of a data set against the solver, the exact limits and their own edge cases."""

import math

import numpy as np
import pytest

import linphase as lp
from linphase import asymptotics
from linphase.critical import (
    CRITERIA,
    CriticalStrength,
    critical_strength,
    critical_strength_batch,
    find,
    find_all,
)
from linphase.designs import GaussianDesign, fixed_design_std_norm
from linphase.evidence import decide, equivalent, median
from linphase.streams import stream

SHAPES = [(40, 1), (60, 5), (60, 30), (50, 48), (30, 30), (30, 33), (20, 60)]


def quantity(criterion, X, y, eps):
    """The quantity of a criterion, afresh from the certified solver."""
    problem = lp.AdversarialProblem(X, y, eps)
    theta = lp.solve(problem, tol=1e-15, strict=False).theta
    if criterion == "loss":
        return problem.loss(theta)
    if criterion == "clean-loss":
        return ((y - X @ theta) ** 2).mean()
    return np.linalg.norm(theta - least_squares(X, y))


def held_out(d, risk):
    """Held-out data on which every θ has this clean risk."""
    return {"X_test": np.zeros((1, d)), "y_test": [math.sqrt(risk)]}


def least_squares(X, y):
    return np.linalg.lstsq(X, y, rcond=1e-14)[0]


def level(criterion, X, y, theta0, noise):
    """The level of a criterion, straight from its definition."""
    (n, d), s = X.shape, np.linalg.norm(theta0)
    if criterion == "parameter":
        spread = fixed_design_std_norm(X, noise) ** 2
        return math.sqrt(spread + (s**2 * n / d * (1 - n / d) if d > n else 0.0))
    return np.linalg.norm(least_squares(X, y) - theta0) ** 2 + noise**2


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_the_quantity_passes_its_level_at_the_answer(criterion, n, d):
    """Within 1e-8 of the answer the criterion changes sides, unless the answer is 0 or inf."""
    design = GaussianDesign(n, d, signal=2.0, noise=0.7)
    finite = 0
    for k in range(6):
        X, y = design.sample(stream(1, "root", n, d, k))
        eps = critical_strength(X, y, design.theta0, 0.7, criterion=criterion)
        target = level(criterion, X, y, design.theta0, 0.7)
        if eps == 0.0:
            assert quantity(criterion, X, y, 0.0) > target
        elif eps == math.inf:
            assert quantity(criterion, X, y, lp.zero_radius(X, y)) <= target
        else:
            finite += 1
            assert quantity(criterion, X, y, eps * (1 - 1e-8)) < target
            assert quantity(criterion, X, y, eps * (1 + 1e-8)) > target
    assert finite >= 2 or (n, d) in [(50, 48), (30, 30), (30, 33)]  # there the clean risk is mostly huge


@pytest.mark.parametrize("criterion", CRITERIA)
def test_high_signal_to_noise(criterion):
    """The criteria are flat, then steep: no false position may creep."""
    for n, d in [(9, 4), (13, 5), (21, 8), (24, 4), (30, 4), (35, 6)]:
        design = GaussianDesign(n, d, signal=50.0, noise=0.05)
        X, y = design.sample(stream(1, "steep", n, d))
        found = find(X, y, design.theta0, 0.05, criterion=criterion)
        assert found.solves <= 120
        target = level(criterion, X, y, design.theta0, 0.05)
        if found.eps > 0.0:
            assert quantity(criterion, X, y, found.eps * (1 - 1e-8)) < target * (1 + 1e-9)
            assert quantity(criterion, X, y, found.eps * (1 + 1e-8)) > target * (1 - 1e-9)


def test_on_the_flat_part_the_answer_is_in_closed_form():
    """Below the interpolation radius the loss is (ε‖θ⁺‖)²."""
    X, y = GaussianDesign(20, 30).sample(stream(1, "flat"))
    radius, b = lp.interpolation_radius(X, y), np.linalg.norm(least_squares(X, y))
    for share in (1e-6, 0.5, 0.999):
        found = find(X, y, **held_out(30, (share * radius * b) ** 2))
        assert found.solves == 0
        assert found.eps == pytest.approx(share * radius, rel=1e-9)
    found = find(X, y, **held_out(30, (1.001 * radius * b) ** 2))
    assert found.solves > 0
    assert radius < found.eps < 1.01 * radius


@pytest.mark.parametrize("criterion", ["loss", "clean-loss"])
def test_zero_and_infinity_are_answers(criterion):
    X, y = GaussianDesign(40, 3).sample(stream(1, "edges"))
    fitted = ((y - X @ least_squares(X, y)) ** 2).mean()
    zero, whole = (y**2).mean(), {"criterion": criterion}
    assert critical_strength(X, y, **held_out(3, 0.999 * fitted), **whole) == 0.0
    assert 0.0 < critical_strength(X, y, **held_out(3, 1.001 * fitted), **whole) < 0.1
    assert critical_strength(X, y, **held_out(3, 1.001 * zero), **whole) == math.inf
    assert 0.5 < critical_strength(X, y, **held_out(3, 0.999 * zero), **whole) < lp.zero_radius(X, y)


def test_large_noise_leaves_the_parameter_within_its_std_for_ever():
    design = GaussianDesign(40, 3, signal=1e-9)
    X, y = design.sample(stream(1, "noisy"))
    spread = np.linalg.norm(least_squares(X, y)) / math.sqrt(np.trace(np.linalg.inv(X.T @ X)))
    assert critical_strength(X, y, noise=spread * 1.001, criterion="parameter") == math.inf
    assert critical_strength(X, y, noise=spread * 0.999, criterion="parameter") < lp.zero_radius(X, y)


def test_data_that_θ_cannot_explain():
    """y orthogonal to X, or 0: the path is θ = 0 and the loss does not move."""
    X = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
    for y, risk, answer in (
        ([0, 0, 1, 1], 0.6, math.inf),
        ([0, 0, 1, 1], 0.4, 0.0),
        ([0] * 4, 0.1, math.inf),
    ):
        for criterion in ("loss", "clean-loss"):
            assert critical_strength(X, y, **held_out(2, risk), criterion=criterion) == answer


def test_with_one_row_the_path_jumps_from_the_interpolator_to_zero():
    x, y = np.array([[3.0, 4.0]]), np.array([2.0])
    assert critical_strength(x, y, theta0=[0.1, 0.1], noise=1.0, criterion="parameter") == pytest.approx(5.0)
    assert critical_strength(x, y, **held_out(2, 1.0), criterion="clean-loss") == pytest.approx(5.0)
    assert critical_strength(x, y, **held_out(2, 1.0)) == pytest.approx(2.5)  # (ε |y| / ‖x‖)² = 1


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize(("n", "d"), [(50, 6), (20, 30)])
def test_invariances(criterion, n, d):
    """Order and signs of the rows, rotations, units of y and of X."""
    design, rng = GaussianDesign(n, d, signal=3.0, noise=0.5), stream(1, "invariance", n)
    (X, y), theta0 = design.sample(rng), design.theta0
    eps = critical_strength(X, y, theta0, 0.5, criterion=criterion)
    assert 0.0 < eps < math.inf
    signs = rng.choice([-1.0, 1.0], n)
    rotation = np.linalg.qr(rng.standard_normal((d, d)))[0]
    order = rng.permutation(n)
    moved = [
        (X[order], y[order], theta0, 0.5),
        (signs[:, None] * X, signs * y, theta0, 0.5),
        (X @ rotation, y, rotation.T @ theta0, 0.5),
        (X, 1e6 * y, 1e6 * theta0, 0.5e6),
    ]
    for data in moved:
        assert critical_strength(*data, criterion=criterion) == pytest.approx(eps, rel=1e-8)
    X_test, y_test = design.sample(rng)
    truth = {"theta0": theta0} if criterion == "parameter" else {"X_test": X_test, "y_test": y_test}
    eps = critical_strength(X, y, noise=0.5, **truth, criterion=criterion)
    truth = {"theta0": theta0 / 7} if criterion == "parameter" else {"X_test": 7 * X_test, "y_test": y_test}
    assert critical_strength(7 * X, y, noise=0.5, **truth, criterion=criterion) == pytest.approx(
        7 * eps, rel=1e-8
    )


@pytest.mark.parametrize(("n", "d"), [(50, 6), (30, 29), (20, 30)])
def test_columns_of_any_scale(n, d):
    """Badly conditioned data take other coordinates and give the answer of the same problem, rotated."""
    rng = stream(1, "scales", n)
    X = rng.standard_normal((n, d)) * np.geomspace(1.0, 1e-6, d)
    y, rotation = rng.standard_normal(n), np.linalg.qr(rng.standard_normal((d, d)))[0]
    risk = 0.5 * (y**2).mean() + 0.5 * ((y - X @ least_squares(X, y)) ** 2).mean()
    for criterion in ("loss", "clean-loss"):
        eps = critical_strength(X, y, **held_out(d, risk), criterion=criterion)
        assert quantity(criterion, X, y, eps) == pytest.approx(risk, rel=1e-7)
        turned = critical_strength(X @ rotation, y, **held_out(d, risk), criterion=criterion)
        assert turned == pytest.approx(eps, rel=1e-6)


def test_repeated_columns():
    """XᵀX is singular; the answer is that of one column of √2 times the length."""
    X, y = GaussianDesign(40, 1).sample(stream(1, "repeated"))
    risk = held_out(2, 0.95 * (y**2).mean())
    once = critical_strength(math.sqrt(2) * X, y, **held_out(1, 0.95 * (y**2).mean()))
    assert critical_strength(np.hstack([X, X]), y, **risk) == pytest.approx(once, rel=1e-8)


def test_noise_is_estimated_by_the_residual_variance():
    X, y = GaussianDesign(40, 5).sample(stream(1, "estimated"))
    sigma = math.sqrt(((y - X @ least_squares(X, y)) ** 2).sum() / 35)
    for criterion in CRITERIA:
        given = critical_strength(X, y, np.ones(5), sigma, criterion=criterion)
        assert critical_strength(X, y, np.ones(5), criterion=criterion) == pytest.approx(given, rel=1e-8)


def test_batches_and_all_criteria_at_once_give_the_same_numbers():
    design = GaussianDesign(30, 4)
    X, y = (np.array(a) for a in zip(*(design.sample(stream(1, "batch", k)) for k in range(5)), strict=True))
    for i, criterion in enumerate(CRITERIA):
        alone = [critical_strength(X[k], y[k], design.theta0, 1.0, criterion=criterion) for k in range(5)]
        together = critical_strength_batch(X, y, design.theta0, 1.0, criterion=criterion)
        assert together.tolist() == alone
        assert [find_all(X[k], y[k], design.theta0, 1.0)[i].eps for k in range(5)] == alone


def test_what_it_took_is_reported():
    design = GaussianDesign(100, 10)
    X, y = design.sample(stream(1, "report"))
    for found in find_all(X, y, design.theta0, 1.0):
        assert isinstance(found, CriticalStrength)
        assert 2 <= found.solves <= 50
        assert 0.0 <= found.rel_gap <= 1e-10


def monte_carlo(n, d, signal, criterion, reps):
    """Median over data sets of the threshold, in units of its limit."""
    design = GaussianDesign(n, d, signal)
    draws = (design.sample(stream(2, "limit", n, d, k)) for k in range(reps))
    values = [critical_strength(X, y, design.theta0, 1.0, criterion=criterion) for X, y in draws]
    return median(np.array(values) / asymptotics.critical_strength(d / n, signal, criterion=criterion))


LIMITS = [(400, 40, 1.0), (300, 90, 1.0), (150, 450, 3.0)]


@pytest.mark.parametrize("criterion", CRITERIA)
def test_monte_carlo_agrees_with_the_exact_limit(criterion):
    """Within 15 % by two one-sided sign tests, and not within 15 % of a limit 30 % off."""
    cells = {cell: monte_carlo(*cell, criterion, 100) for cell in LIMITS}
    right = [equivalent(f"{c}", "", e, 1.0, 0.15, rivals=[0.7, 1.3]) for c, e in cells.items()]
    assert [v.status for v in decide(right)] == ["supported"] * 3
    wrong = [equivalent(f"{c}", "", e, 1.3, 0.15) for c, e in cells.items()]
    assert "supported" not in [v.status for v in decide(wrong)]


DATA = np.arange(12.0).reshape(4, 3) ** 1.5, np.array([1.0, -2.0, 0.5, 3.0])


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"criterion": "los"}, ValueError, r"criterion must be one of 'loss', .*, got 'los'"),
        (
            {"theta0": np.ones(3), "noise": 0.0},
            ValueError,
            r"noise must be positive, .*, got 0.0",
        ),
        (
            {"theta0": np.ones(3), "noise": -1},
            ValueError,
            r"noise must be positive, .*, got -1",
        ),
        (
            {"theta0": np.ones(3), "noise": math.nan},
            ValueError,
            r"noise must be positive, .*, got nan",
        ),
        ({"theta0": np.ones(3), "noise": "1"}, TypeError, "noise must be a real number, got '1'"),
        (
            {"theta0": np.ones(2)},
            ValueError,
            r"theta0 must have shape \(3,\), as X has 3 columns, got \(2,\)",
        ),
        ({"theta0": np.ones((3, 1))}, ValueError, "theta0 must be a nonempty array of 1 dimension"),
        ({}, ValueError, "theta0, or X_test and y_test, must be given for criterion 'loss'"),
        ({"noise": 1.0, "criterion": "clean-loss"}, ValueError, "must be given for criterion 'clean-loss'"),
        (
            {"X_test": np.ones((5, 2)), "y_test": np.ones(5)},
            ValueError,
            "X_test must have 3 columns, as X has",
        ),
        (
            {"X_test": np.ones((5, 3)), "y_test": np.ones(4)},
            ValueError,
            "X_test and y_test must have one length",
        ),
        ({"X_test": np.ones((5, 3))}, ValueError, "X_test and y_test must be given together"),
        (
            {"theta0": np.ones(3), "X_test": np.ones((5, 3)), "y_test": np.ones(5)},
            ValueError,
            "must come from theta0 or from X_test and y_test, got both",
        ),
    ],
)
def test_bad_input_gets_a_sentence(arguments, error, sentence):
    with pytest.raises(error, match=sentence):
        critical_strength(*DATA, **arguments)


def test_wide_data_need_noise_and_truth():
    X, y = np.eye(2, 3), np.ones(2)
    with pytest.raises(ValueError, match=r"noise must be given where d >= n .* got n = 2, d = 3"):
        critical_strength(X, y, np.ones(3))
    with pytest.raises(
        ValueError, match="theta0 must be given for 'parameter' where d > n, got n = 2, d = 3"
    ):
        critical_strength(X, y, noise=1.0, criterion="parameter")
    assert critical_strength(X, y, X_test=X, y_test=2 * y) > 0.0  # held-out data say all there is to know


def test_a_batch_needs_matching_shapes():
    with pytest.raises(
        ValueError, match=r"y must have shape \(2, 4\), as X has shape \(2, 4, 3\), got \(3, 4\)"
    ):
        critical_strength_batch(np.ones((2, 4, 3)), np.ones((3, 4)), np.ones(3))


# ------------------------------------------------------------------------- bisection on `solve`, hard designs
def designs():
    """Data sets that hide a small singular value, with the truth and the noise."""
    rng = lp.stream(0, "critical", "hard designs")
    for k in range(3):
        X, truth = rng.standard_normal((20, 60)), rng.standard_normal(60) / 8.0
        again = X[rng.integers(20)]
        wide = X @ truth + rng.standard_normal(20)
        twice = np.append(wide, again @ truth + rng.standard_normal())
        yield f"a row twice {k}", np.vstack([X, again]), twice, truth, 1.0
        near = again + 1e-6 * rng.standard_normal(60)
        yield f"rows equal to 1e-6 {k}", np.vstack([X, near]), twice, truth, 1.0
        units = 10.0 ** rng.uniform(-8, 8, 60)
        yield f"scaled columns, wide {k}", X * units, wide, truth / units, 1.0
        X, truth = rng.standard_normal((40, 5)), np.full(5, 0.5)
        e = rng.standard_normal(40)
        yield f"plain {k}", X, X @ truth + e, truth, 1.0
        yield f"small noise {k}", X, X @ truth + 1e-5 * e, truth, 1e-5
        units = 10.0 ** rng.uniform(-8, 8, 5)
        yield f"scaled columns {k}", X * units, X @ truth + e, truth / units, 1.0
        near = np.column_stack([X[:, :4], X[:, 0] + 1e-6 * X[:, 4]])
        yield f"columns equal to 1e-6 {k}", near, near @ truth + e, truth, 1.0
        X, e = rng.standard_t(1.2, (30, 4)), rng.standard_t(1.5, 30)
        yield f"heavy tails {k}", X, X @ truth[:4] + e, truth[:4], 1.0


def excess_by_solve(X, y, truth, noise, criterion):
    """ε -> quantity of `solve` less its level, whose singular values are NumPy's."""
    (n, d), units = X.shape, np.linalg.norm(X, axis=0)

    def minimiser(eps):
        return lp.solve(lp.AdversarialProblem(X, y, eps), tol=1e-16, strict=False)

    clean = minimiser(0.0).theta
    if criterion == "parameter" and d < n:
        inverse = np.linalg.pinv(X / units) / units[:, None]  # rows by their own scale
        level = noise * np.linalg.norm(inverse)
    elif criterion == "parameter":
        values = np.linalg.svd(X, compute_uv=False)
        rank = int(np.sum(values > 1e-13 * values[0]))
        spread = truth @ truth * (rank / d) * (1.0 - rank / d)
        level = math.sqrt(noise**2 * np.sum(values[:rank] ** -2.0) + spread)
    else:
        level = float((clean - truth) @ (clean - truth)) + noise**2

    def excess(eps):
        found = minimiser(eps)
        if criterion == "loss":
            return found.loss - level
        if criterion == "clean-loss":
            return lp.AdversarialProblem(X, y, 0.0).loss(found.theta) - level
        return float(np.linalg.norm(found.theta - clean)) - level

    return excess


def bisected(excess, high):
    """Return the ε at which a rising function passes 0, below ``high``."""
    low, tiny = 0.0, 1e-18 * high
    if excess(1.01 * high) <= 0.0:
        return math.inf
    if excess(tiny) > 0.0:
        return 0.0
    while high - low > 1e-10 * high:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if excess(middle) <= 0.0 else (low, middle)
    return high


@pytest.mark.parametrize("case", list(designs()), ids=lambda case: case[0])
def test_bisection_on_solve_agrees(case):
    """The answer is a crossing of the level; ‖θ̂(ε) − θ̂(0)‖ may fall again and cross it more than once."""
    name, X, y, truth, noise = case
    for criterion in ("loss", "parameter", "clean-loss"):
        if criterion == "parameter" and name.startswith("scaled columns, wide"):
            continue  # NumPy's singular values have lost the small ones there
        excess = excess_by_solve(X, y, truth, noise, criterion)
        found = lp.critical_strength(X, y, theta0=truth, noise=noise, criterion=criterion)
        if 0.0 < found < math.inf:
            assert excess(found * (1.0 - 1e-8)) < 0.0 < excess(found * (1.0 + 1e-8)), criterion
        if criterion == "loss" or found in (0.0, math.inf):
            assert found == pytest.approx(bisected(excess, lp.zero_radius(X, y)), rel=1e-8), criterion


def test_a_row_twice_moves_a_critical_strength_but_little():
    """The Cholesky factor of XXᵀ is singular then, and hid it: the answer was infinite."""
    for k in range(10):
        rng = lp.stream(k, "critical", "a row twice")
        X, truth = rng.standard_normal((20, 60)), rng.standard_normal(60) / 8.0
        y = X @ truth + rng.standard_normal(20)
        once = lp.critical_strength(X, y, truth, 1.0, criterion="parameter")
        twice = np.vstack([X, X[:1]]), np.append(y, y[0])
        again = lp.critical_strength(*twice, truth, 1.0, criterion="parameter")
        assert math.isfinite(once) == math.isfinite(again)
        assert not math.isfinite(once) or 0.5 * once < again < 2.0 * once


def test_nothing_to_learn_from():
    """With X = 0 the minimiser is 0 at every ε, so that its loss is below the risk always or never."""
    X, y, truth = np.zeros((9, 3)), np.ones(9), np.full(3, 0.5)
    assert lp.critical_strength(X, y, truth, 1.0) == math.inf  # mean y² = 1 against 1.75
    assert lp.critical_strength(X, 2.0 * y, truth, 1.0) == 0.0
    assert lp.critical_strength(X, 2.0 * y, truth, 1.0, criterion="clean-loss") == 0.0
    assert lp.critical_strength(X, y, noise=1.0, criterion="parameter") == math.inf
    assert lp.critical_strength(X, y, X_test=X, y_test=y) == math.inf
