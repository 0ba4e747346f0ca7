"""Batches agree with single solves, are certified, and check their input."""

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


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda X, y: lp.solve_batch(X[0], y, 0.1), r"X must be a nonempty array of 3 dimension\(s\)"),
        (lambda X, y: lp.solve_batch(X, y[:1], 0.1), r"y must have shape \(2, 9\)"),
        (
            lambda X, y: lp.solve_batch(X, y, [0.1, 0.2, 0.3]),
            r"eps must be a number or have shape \(2,\), got 3 entries",
        ),
        (lambda X, y: lp.solve_batch(X, y, -0.1), "eps must be at least 0"),
    ],
)
def test_bad_input_has_its_sentence(call, says):
    with pytest.raises(ValueError, match=says):
        call(*draw(2, 9, 3))
