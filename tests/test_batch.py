"""Batches and paths agree with single solves, are certified, and check their input."""

import numpy as np
import pytest

import linphase as lp


def draw(m, n, d, seed=0):
    data = [lp.GaussianDesign(n, d).sample(lp.stream(seed, "batch", n, d, k)) for k in range(m)]
    return tuple(np.stack(part) for part in zip(*data, strict=True))


@pytest.mark.parametrize(("n", "d"), [(30, 4), (10, 25), (8, 8)])
@pytest.mark.parametrize("eps", [0.0, 0.05, 0.4, 5.0])
def test_batch_equals_single_solves(n, d, eps):
    X, y = draw(6, n, d)
    batch = lp.solve_batch(X, y, eps)
    assert batch.rel_gaps.max() <= 1e-10
    for k in range(6):
        one = lp.solve(lp.AdversarialProblem(X[k], y[k], eps))
        assert batch.losses[k] == pytest.approx(one.loss, rel=1e-9, abs=1e-25)
        np.testing.assert_allclose(batch.thetas[k], one.theta, atol=1e-4)


def test_batch_takes_one_strength_for_each_data_set():
    X, y = draw(3, 20, 3)
    eps = np.array([0.0, 0.3, 9.0])
    batch = lp.solve_batch(X, y, eps)
    assert not batch.thetas[2].any()
    np.testing.assert_allclose(batch.thetas[0], np.linalg.lstsq(X[0], y[0])[0], rtol=1e-8)


def test_batch_falls_back_where_the_gram_matrix_is_singular():
    X, y = draw(2, 30, 4)
    X[0, :, 3] = X[0, :, 2]
    X[1, :, 3] = 0.0
    for eps in (0.0, 0.1):
        assert lp.solve_batch(X, y, eps).rel_gaps.max() <= 1e-10


@pytest.mark.parametrize(("n", "d"), [(100, 10), (40, 40), (30, 80), (5, 1), (1, 4)])
def test_path_is_certified_and_equals_single_solves(n, d):
    X, y = (part[0] for part in draw(1, n, d, seed=1))
    path = lp.solve_path(X, y, n_eps=30)
    assert path.rel_gaps.max() <= 1e-10
    assert (np.diff(path.losses) >= -1e-9 * path.losses[1:]).all()
    for k in range(0, 30, 7):
        one = lp.solve(lp.AdversarialProblem(X, y, path.eps[k]))
        assert path.losses[k] == pytest.approx(one.loss, rel=1e-9)
        np.testing.assert_allclose(path.thetas[k], one.theta, atol=2e-4)
    assert not path.thetas[-1].any()


def test_path_is_continuous():
    X, y = (part[0] for part in draw(1, 60, 6, seed=2))
    gaps = []
    for n_eps in (50, 400):
        thetas = lp.solve_path(X, y, n_eps=n_eps).thetas
        gaps.append(np.linalg.norm(np.diff(thetas, axis=0), axis=1).max())
    assert gaps[1] < 0.25 * gaps[0]


def test_path_takes_any_increasing_grid():
    X, y = (part[0] for part in draw(1, 20, 40, seed=3))
    inner, outer = lp.interpolation_radius(X, y), lp.zero_radius(X, y)
    grid = np.array([0.0, 0.5 * inner, 0.5 * (inner + outer), 0.9 * outer, 2 * outer])
    path = lp.solve_path(X, y, grid)
    assert path.rel_gaps.max() <= 1e-10
    np.testing.assert_allclose(path.thetas[0], path.thetas[1], rtol=1e-7)
    assert path.n_zero_residuals[1] == 20
    assert not path.thetas[-1].any()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda X, y: lp.solve_batch(X[0], y, 0.1), r"X must be a nonempty array of 3 dimension\(s\)"),
        (lambda X, y: lp.solve_batch(X, y[:1], 0.1), r"y must have shape \(2, 9\)"),
        (lambda X, y: lp.solve_batch(X, y, [0.1, 0.2, 0.3]), "eps must be one number or 2"),
        (lambda X, y: lp.solve_batch(X, y, -0.1), "eps must be at least 0"),
        (
            lambda X, y: lp.solve_path(X[0], y[0], [0.2, 0.1]),
            "eps must be nonnegative and strictly increasing",
        ),
        (
            lambda X, y: lp.solve_path(X[0], y[0], [-0.2, 0.1]),
            "eps must be nonnegative and strictly increasing",
        ),
        (lambda X, y: lp.solve_path(X[0], y[0], []), "eps must be a nonempty array"),
        (lambda X, y: lp.solve_path(X[0], y[0], n_eps=1), "n_eps must be an integer of at least 2, got 1"),
        (lambda X, y: lp.solve_path(X[0], 0 * y[0]), "eps must be given where the zero radius is 0"),
    ],
)
def test_bad_input_has_its_sentence(call, says):
    with pytest.raises(ValueError, match=says):
        call(*draw(2, 9, 3))
