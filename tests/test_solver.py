"""The exact solver: oracles, certificates, properties, hard problems, bad input."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hard_problems import hard
from hypothesis import given, settings
from hypothesis import strategies as st

import linphase as lp
from linphase.certificate import Candidate, Judge

ROOT = Path(__file__).resolve().parents[1]
SHAPES = [(40, 5), (30, 30), (20, 50), (1, 3), (5, 1), (1, 1), (2, 2)]


def draw(n, d, seed=0, noise=1.0):
    return lp.GaussianDesign(n, d, noise=noise).sample(lp.stream(seed, "solver", n, d))


def solve(X, y, eps):
    return lp.solve(lp.AdversarialProblem(X, y, eps))


# ------------------------------------------------------------------------------------------------ oracles
@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_zero_radius_is_exact(n, d):
    X, y = draw(n, d)
    radius = lp.zero_radius(X, y)
    assert solve(X, y, 0.9999 * radius).theta.any()
    assert not solve(X, y, 1.0001 * radius).theta.any()
    assert solve(X, y, 1.0001 * radius).loss == pytest.approx(np.mean(y**2))


@pytest.mark.parametrize(("n", "d"), [(20, 50), (1, 3), (5, 40), (10, 10)])
def test_interpolation_radius_is_exact(n, d):
    X, y = draw(n, d)
    radius = lp.interpolation_radius(X, y)
    interpolator = np.linalg.pinv(X) @ y
    np.testing.assert_allclose(solve(X, y, 0.9999 * radius).theta, interpolator, rtol=1e-8)
    if n > 1:  # with one row the interpolator is optimal up to the zero radius
        beyond = solve(X, y, 1.01 * radius)
        assert beyond.loss < lp.AdversarialProblem(X, y, 1.01 * radius).loss(interpolator) * (1 - 1e-9)


def test_interpolation_radius_of_dependent_rows_is_that_of_the_linear_programme():
    X, y = draw(6, 20)
    twice = np.vstack([X, X[:2]]), np.append(y, y[:2])
    radius = lp.interpolation_radius(*twice)
    theta = np.linalg.pinv(X) @ y
    inside, outside = (solve(*twice, factor * radius) for factor in (0.999, 1.01))
    np.testing.assert_allclose(inside.theta, theta, rtol=1e-6)
    assert outside.loss < lp.AdversarialProblem(*twice, 1.01 * radius).loss(theta) * (1 - 1e-9)
    assert lp.interpolation_radius(*(np.vstack([X, X[:1]]), np.append(y, y[0] + 1))) == 0.0


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_without_attack_it_is_least_squares_of_minimum_norm(n, d):
    X, y = draw(n, d)
    np.testing.assert_allclose(solve(X, y, 0.0).theta, np.linalg.lstsq(X, y)[0], rtol=1e-8, atol=1e-12)


def test_least_squares_of_deficient_rank_has_minimum_norm():
    X, y = draw(30, 3)
    X = np.hstack([X, X @ np.ones((3, 2))])
    np.testing.assert_allclose(solve(X, y, 0.0).theta, np.linalg.pinv(X) @ y, rtol=1e-8)


@pytest.mark.parametrize(("n", "d", "share"), [(40, 5, 0.3), (30, 30, 0.5), (15, 40, 0.7), (60, 20, 0.95)])
def test_second_order_cone_programme_agrees(n, d, share):
    cp = pytest.importorskip("cvxpy")
    X, y = draw(n, d, seed=1)
    eps = share * lp.zero_radius(X, y)
    theta = cp.Variable(d)
    loss = cp.sum_squares(cp.abs(y - X @ theta) + eps * cp.norm(theta)) / n
    cp.Problem(cp.Minimize(loss)).solve(solver=cp.CLARABEL)
    ours = solve(X, y, eps)
    assert ours.loss <= loss.value * (1 + 1e-12)
    assert ours.loss == pytest.approx(loss.value, rel=1e-7)
    np.testing.assert_allclose(ours.theta, theta.value, atol=2e-4)


def test_one_dimension_by_hand():
    # X = 1, n = 1: (|y − θ| + ε|θ|)² is least at θ = y for ε < 1 and at 0 beyond.
    assert solve([[1.0]], [2.0], 0.5).theta == pytest.approx([2.0])
    assert solve([[1.0]], [2.0], 0.5).loss == pytest.approx(1.0)
    assert solve([[1.0]], [2.0], 1.5).theta == pytest.approx([0.0])


# ------------------------------------------------------------------------------------ certificates, phases
@pytest.mark.parametrize(("n", "d"), [*SHAPES, (200, 20), (50, 200)])
@pytest.mark.parametrize("share", [0.0, 1e-6, 0.01, 0.3, 0.9, 0.9999, 1.0, 1.0001, 3.0])
def test_every_phase_is_certified(n, d, share):
    X, y = draw(n, d, seed=2)
    solution = solve(X, y, share * lp.zero_radius(X, y))
    assert solution.rel_gap <= 1e-10
    assert solution.dual_gap >= 0.0
    assert isinstance(solution.status, str)


def test_solution_beats_every_perturbation_of_it():
    X, y = draw(60, 12)
    problem = lp.AdversarialProblem(X, y, 0.4)
    solution, rng = lp.solve(problem), lp.stream(0, "perturb")
    for size in (1e-4, 1e-2, 1.0):
        for _ in range(50):
            assert problem.loss(solution.theta + size * rng.standard_normal(12)) >= solution.loss


def test_zero_residuals_are_counted_and_zero():
    X, y = draw(300, 30)
    solution = solve(X, y, 0.5)
    r = np.sort(np.abs(y - X @ solution.theta))
    assert solution.n_zero_residuals > 0
    assert r[solution.n_zero_residuals - 1] < 1e-4 * r[solution.n_zero_residuals]


def test_unreachable_tolerance_raises_and_says_by_how_much():
    X, y = draw(40, 5, noise=1e-6)
    problem = lp.AdversarialProblem(X, y, 0.01)
    loose = lp.solve(problem, tol=1e-300, strict=False)
    if loose.rel_gap > 0.0:
        with pytest.raises(lp.CertificateError, match=r"relative duality gap is .*e-.*, above tol = 1e-300"):
            lp.solve(problem, tol=1e-300)
    assert loose.rel_gap < 1e-10


def test_small_singular_values_are_not_lost():
    """A Cholesky factor of the Gram matrix loses the direction in which two columns differ by 3e-12."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((56, 3))
    X[:, 1] = X[:, 0] + 3e-12 * rng.standard_normal(56)
    y = rng.standard_normal(56)
    assert solve(X, y, 0.0).loss == pytest.approx(1.24090821, rel=1e-8)
    assert solve(X, y, 1e-12).loss == pytest.approx(1.24863864, rel=1e-8)
    assert lp.solve_batch(X[None], y[None], 0.0).losses[0] == pytest.approx(1.24090821, rel=1e-8)


def test_reported_loss_is_the_loss_of_the_point():
    for seed in range(200):
        X, y, eps = hard(np.random.default_rng(seed))
        problem = lp.AdversarialProblem(X, y, eps)
        found = lp.solve(problem)
        floor = 1e-14 * np.mean(y * y)
        assert found.loss == pytest.approx(problem.loss(found.theta), rel=1e-9, abs=1e-10 * floor), seed


@pytest.mark.parametrize("values", [(np.nan, 1.0), (1.0, np.nan), (np.inf, 1.0), (1.0, np.inf)])
def test_what_is_no_number_is_not_certified(values):
    X, y = draw(8, 2)
    theta, s = np.full(2, values[0]), np.full(8, values[1])
    judge = Judge(X, y)
    with np.errstate(invalid="ignore", over="ignore"):
        for certify in (judge.quick, judge.exact):
            assert not certify(Candidate(theta, s, ""), 0.3).rel_gap <= 1e-3


@pytest.mark.parametrize("X", [[[1.0, 2.0], [1.0, 2.0]], [[1.0], [1.0]], [[0.0], [0.0]]])
def test_where_nothing_is_explained_the_minimiser_is_zero(X):
    for eps in (0.0, 0.3):
        found = solve(X, [3.0, -3.0], eps)
        assert not found.theta.any()
        assert found.loss == 9.0


@pytest.mark.parametrize("eps", [0.0, 1e-9, 1e-3])
def test_every_residual_that_vanishes_is_counted(eps):
    X, _ = draw(174, 10)
    assert solve(X, X @ np.arange(1.0, 11.0), eps).n_zero_residuals == 174


def test_a_solution_that_rounding_spoils_is_refused_and_why_is_said():
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((5, 5)), rng.standard_normal(5)
    X[:, 1] = X[:, 0] + 1e-10 * X[:, 1]
    with pytest.raises(lp.CertificateError, match="rounding theta to double precision alone may cost"):
        solve(X, y, 1e-12)


@pytest.mark.parametrize("units", [1e-155, 1e-165, 1e-46])
def test_data_whose_squares_vanish_are_refused(units):
    X, y = draw(20, 3)
    column = X * [1.0, units, 1.0]
    for data in ((units * X, y), (column, y)):
        with pytest.raises(
            ValueError, match="every column of X must be 0 or have an entry of at least 1e-45"
        ):
            lp.AdversarialProblem(*data, 0.1)
        with pytest.raises(
            ValueError, match="every column of X must be 0 or have an entry of at least 1e-45"
        ):
            lp.solve_batch(data[0][None], data[1][None], 0.1)
    with pytest.raises(ValueError, match="y must be 0 or have an entry of at least 1e-45"):
        lp.solve_path(X, units * y)


@pytest.mark.parametrize(("units", "scale"), [(1e-44, 1e-44), (1e44, 1e44), (1e-44, 1e44), (1e44, 1e-44)])
def test_any_units_within_the_limits_are_solved(units, scale):
    X, y = draw(20, 3)
    base = solve(X, y, 0.2)
    found = solve(units * X, scale * y, 0.2 * units)
    assert found.loss == pytest.approx(base.loss * scale**2, rel=1e-9)
    np.testing.assert_allclose(found.theta, base.theta * (scale / units), rtol=1e-4)


# --------------------------------------------------------------------------------------------- properties
problems = st.tuples(st.integers(0, 10**6), st.integers(2, 25), st.integers(1, 25), st.floats(0.02, 0.98))


def make(values):
    seed, n, d, share = values
    X, y = draw(n, d, seed)
    return X, y, share * lp.zero_radius(X, y), lp.stream(seed, "property")


@given(problems)
@settings(max_examples=40, deadline=None)
def test_rotations_permutations_and_scales(values):
    X, y, eps, rng = make(values)
    base = solve(X, y, eps)
    rotation, _ = np.linalg.qr(rng.standard_normal((X.shape[1],) * 2))
    order = rng.permutation(len(y))
    for Xs, ys, eps_s, factor in (
        (X @ rotation, y, eps, 1.0),
        (X[order], y[order], eps, 1.0),
        (X, 3.0 * y, eps, 9.0),
        (X, -y, eps, 1.0),
        (2.0 * X, y, 2.0 * eps, 1.0),
    ):
        assert solve(Xs, ys, eps_s).loss == pytest.approx(factor * base.loss, rel=1e-9)
    turned = solve(X @ rotation, y, eps).theta
    np.testing.assert_allclose(
        rotation @ turned, base.theta, atol=2e-4 * max(1.0, np.linalg.norm(base.theta))
    )


@given(problems)
@settings(max_examples=40, deadline=None)
def test_loss_rises_with_the_attack_and_is_at_most_that_of_zero(values):
    X, y, eps, _ = make(values)
    losses = [solve(X, y, f * eps).loss for f in (0.0, 0.5, 1.0)]
    assert losses[0] <= losses[1] * (1 + 1e-9)
    assert losses[1] <= losses[2] * (1 + 1e-9)
    assert losses[2] <= np.mean(y**2) * (1 + 1e-9)


def test_kernels_run_without_compilation():
    code = (
        "import numpy as np, linphase as lp\n"
        "for n, d in ((8, 3), (3, 5)):\n"
        "    X, y = lp.GaussianDesign(n, d).sample(lp.stream(0, n))\n"
        "    for eps in (0.0, 0.2, 0.6, 9.0):\n"
        "        assert lp.solve(lp.AdversarialProblem(X, y, eps)).rel_gap <= 1e-10\n"
        "    assert lp.solve_path(X, y, n_eps=5).rel_gaps.max() <= 1e-10\n"
        "    assert lp.solve_batch(X[None], y[None], 0.3).rel_gaps.max() <= 1e-10\n"
        "X, y = lp.GaussianDesign(30, 3).sample(lp.stream(1))\n"
        "assert lp.critical_strength(X, y, noise=1.0, criterion='parameter') > 0\n"
    )
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, env=environment, timeout=300)


@pytest.mark.parametrize("tol", [0.0, -1e-3, 1.0, np.inf, np.nan, "small", None, True, 5])
def test_bad_tolerance_has_its_sentence(tol):
    X, y = draw(5, 2)
    kind = ValueError if isinstance(tol, float) or tol == 5 else TypeError
    for call in (
        lambda: lp.solve(lp.AdversarialProblem(X, y, 0.1), tol=tol),
        lambda: lp.solve_path(X, y, tol=tol),
        lambda: lp.solve_batch(X[None], y[None], 0.1, tol=tol),
    ):
        with pytest.raises(kind, match=r"tol must be (strictly between 0 and 1|a real number), got"):
            call()
