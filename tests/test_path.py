"""Paths agree with single solves, are certified on any grid and any data, and check their input."""

import subprocess
import sys

import numpy as np
import pytest

import linphase as lp
from linphase import path as module


def draw(n, d, seed=0):
    return lp.GaussianDesign(n, d).sample(lp.stream(seed, "path", n, d))


def check_agreement(X, y, path):
    """The path is certified, and its losses are those of single solves."""
    assert path.rel_gaps.max() <= 1e-10
    for eps, loss in zip(path.eps, path.losses, strict=True):
        one = lp.solve(lp.AdversarialProblem(X, y, eps))
        assert loss == pytest.approx(one.loss, rel=1e-8, abs=1e-14 * np.mean(y * y))


@pytest.mark.parametrize(("n", "d"), [(100, 10), (40, 40), (30, 80), (5, 1), (1, 4)])
def test_path_is_certified_and_equals_single_solves(n, d):
    X, y = draw(n, d, 1)
    path = lp.solve_path(X, y, n_eps=30)
    assert path.rel_gaps.max() <= 1e-10
    assert (np.diff(path.losses) >= -1e-9 * path.losses[1:]).all()
    for k in range(0, 30, 7):
        one = lp.solve(lp.AdversarialProblem(X, y, path.eps[k]))
        assert path.losses[k] == pytest.approx(one.loss, rel=1e-9)
        np.testing.assert_allclose(path.thetas[k], one.theta, atol=2e-4)
    assert not path.thetas[-1].any()


def test_path_is_continuous():
    X, y = draw(60, 6, 2)
    gaps = []
    for n_eps in (50, 400):
        thetas = lp.solve_path(X, y, n_eps=n_eps).thetas
        gaps.append(np.linalg.norm(np.diff(thetas, axis=0), axis=1).max())
    assert gaps[1] < 0.25 * gaps[0]


def test_path_takes_any_increasing_grid():
    X, y = draw(20, 40, 3)
    inner, outer = lp.interpolation_radius(X, y), lp.zero_radius(X, y)
    grid = np.array([0.0, 0.5 * inner, 0.5 * (inner + outer), 0.9 * outer, 2 * outer])
    path = lp.solve_path(X, y, grid)
    assert path.rel_gaps.max() <= 1e-10
    np.testing.assert_allclose(path.thetas[0], path.thetas[1], rtol=1e-7)
    assert path.n_zero_residuals[1] == 20
    assert not path.thetas[-1].any()


@pytest.mark.parametrize("grid", [[0.0], [0.3], [3.0], [1e-9, 0.5], [0.2, 0.2001, 0.9]])
@pytest.mark.parametrize(("n", "d"), [(50, 6), (20, 30)])
def test_path_takes_few_and_distant_points(n, d, grid):
    X, y = draw(n, d, 4)
    check_agreement(X, y, lp.solve_path(X, y, grid))


def test_newton_steps_need_no_cold_start_on_the_default_grid(monkeypatch):
    """About a step and a half for each point; only the last point may be too far from the one before."""
    cold = []
    monkeypatch.setattr(module, "minimise", lambda *a, f=module.minimise: cold.append(1) or f(*a))
    monkeypatch.setattr(module, "solve", None)
    monkeypatch.setattr(module, "singular", None)
    for n, d in ((100, 10), (400, 60), (60, 90)):
        X, y = draw(n, d, 5)
        path = lp.solve_path(X, y)
        assert path.rel_gaps.max() <= 1e-10
        assert path.n_iter <= 250
    assert len(cold) <= 3


def test_blocks_of_certificates_join(monkeypatch):
    X, y = draw(60, 8, 6)
    whole = lp.solve_path(X, y, n_eps=40)
    monkeypatch.setattr(module, "_HELD", 0)
    pieces = lp.solve_path(X, y, n_eps=40)
    assert pieces.rel_gaps.max() <= 1e-10
    np.testing.assert_allclose(pieces.losses, whole.losses, rtol=1e-9)


@pytest.mark.parametrize("spoil", ["principal", "follow", "both", "all"])
def test_what_is_missed_is_found_another_way(monkeypatch, spoil):
    """Without eigenvectors by singular ones, without the kernel by cold starts, without either by `solve`."""
    X, y = draw(30, 5, 7)
    if spoil in ("principal", "both"):
        monkeypatch.setattr(module, "principal", lambda X: None)
    if spoil in ("follow", "both"):
        monkeypatch.setattr(module.kernel, "follow", lambda *a: (0, 0))
    if spoil == "all":
        monkeypatch.setattr(module, "_trace", lambda *a: 0)
    check_agreement(X, y, lp.solve_path(X, y, n_eps=8))


def defects():
    """Data sets with the usual defects."""
    X, y = draw(40, 6, 8)
    rng = lp.stream(8, "path", "defects")
    yield "collinear columns", np.hstack([X, X[:, :2] + 1e-7 * X[:, 2:4]]), y
    yield "dependent columns", np.hstack([X, X @ np.ones((6, 3))]), y
    yield "zero column", np.hstack([X, np.zeros((40, 1))]), y
    yield "duplicated rows", X[rng.integers(0, 10, 40)], y
    yield "duplicated rows and responses", np.vstack([X, X]), np.append(y, y)
    yield "scaled columns", X * 10.0 ** rng.uniform(-6, 6, 6), y
    yield "scaled columns, wide", X.T[:, :30] * 10.0 ** rng.uniform(-6, 6, 30), y[:6]
    yield "heavy tails", rng.standard_t(1.2, (40, 6)), rng.standard_t(1.2, 40)
    yield "heavy tails, wide", rng.standard_t(1.2, (10, 30)), rng.standard_t(1.2, 10)
    yield "no noise", X, X @ np.ones(6)
    yield "one row", X[:1], y[:1]
    yield "one column", X[:, :1], y
    yield "one number", X[:1, :1], y[:1]
    yield "dependent rows, wide", np.vstack([X.T, X.T[:2]]), np.append(y[:6], y[:2])
    yield "large units", 1e8 * X, 1e-8 * y


@pytest.mark.parametrize("case", list(defects()), ids=lambda case: case[0])
def test_paths_of_defective_data_are_certified(case):
    _, X, y = case
    check_agreement(X, y, lp.solve_path(X, y, n_eps=25))
    check_agreement(
        X, y, lp.solve_path(X, y, [0.0, *(lp.zero_radius(X, y) * np.array([1e-5, 0.4, 0.99, 2.0]))])
    )


def test_nothing_to_explain():
    X, _ = draw(9, 3)
    path = lp.solve_path(X, np.zeros(9), [0.0, 0.1])
    assert not path.thetas.any()
    assert not path.losses.any()
    assert (path.n_zero_residuals == 9).all()
    assert not lp.solve_path(0.0 * X, np.ones(9), [0.0, 0.1]).thetas.any()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (
            lambda X, y: lp.solve_path(X, y, [0.2, 0.1]),
            "eps must be nonnegative and strictly increasing",
        ),
        (
            lambda X, y: lp.solve_path(X, y, [-0.2, 0.1]),
            "eps must be nonnegative and strictly increasing",
        ),
        (lambda X, y: lp.solve_path(X, y, []), "eps must be a nonempty array"),
        (lambda X, y: lp.solve_path(X, y, n_eps=1), "n_eps must be at least 2, got 1"),
        (lambda X, y: lp.solve_path(X, 0 * y), "eps must be given where the zero radius is 0"),
    ],
)
def test_bad_input_has_its_sentence(call, says):
    with pytest.raises(ValueError, match=says):
        call(*draw(9, 3))


@pytest.mark.slow
def test_long_data_need_no_memory_beyond_copies_of_them():
    """200,000 x 50 are 80 MB. Where many residuals change sign, only some of them may be free to."""
    code = (
        "import resource, linphase as lp\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "X, y = lp.GaussianDesign(200_000, 50).sample(lp.stream(0, 'long'))\n"
        "lp.solve_path(X[:500], y[:500], n_eps=20)\n"
        "before = peak()\n"
        "path = lp.solve_path(X, y, n_eps=20)\n"
        "assert path.rel_gaps.max() <= 1e-10 and path.n_iter <= 80, path\n"
        "assert peak() - before < 4 * 80, (before, peak())\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
