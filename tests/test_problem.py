"""The empirical problem: loss, subgradient, dual bound, input checks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import linphase as lp


def draw(seed, n=30, d=4, eps=0.3):
    X, y = lp.GaussianDesign(n, d).sample(lp.stream(seed, "problem"))
    return lp.AdversarialProblem(X, y, eps)


def test_loss_is_the_inner_maximum():
    problem, rng = draw(0), lp.stream(0, "attacks")
    theta = rng.standard_normal(4)
    z = rng.standard_normal((20000, 4))
    z *= problem.eps / np.linalg.norm(z, axis=1, keepdims=True)
    sampled = np.mean([((problem.y[i] - (problem.X[i] + z) @ theta) ** 2).max() for i in range(problem.n)])
    assert sampled <= problem.loss(theta)
    assert sampled >= 0.999 * problem.loss(theta)


def test_subgradient_is_the_gradient_away_from_kinks():
    problem, rng = draw(1), lp.stream(1, "theta")
    theta, h = rng.standard_normal(4), 1e-6
    numeric = [(problem.loss(theta + h * e) - problem.loss(theta - h * e)) / (2 * h) for e in np.eye(4)]
    np.testing.assert_allclose(problem.subgradient(theta), numeric, rtol=1e-7)


@given(st.integers(0, 10**6))
@settings(max_examples=50, deadline=None)
def test_subgradient_inequality_holds_also_at_kinks(seed):
    rng = lp.stream(seed, "inequality")
    X = rng.integers(-2, 3, (6, 3)).astype(float)  # residuals of exactly zero are common
    problem = lp.AdversarialProblem(X, rng.integers(-2, 3, 6).astype(float), rng.random())
    theta, other = rng.integers(-1, 2, 3).astype(float), rng.standard_normal(3)
    below = problem.loss(theta) + problem.subgradient(theta) @ (other - theta)
    assert below <= problem.loss(other) + 1e-12


@given(st.integers(0, 10**6), st.floats(0.0, 3.0))
@settings(max_examples=100, deadline=None)
def test_dual_bound_never_exceeds_the_loss(seed, eps):
    rng = lp.stream(seed, "weak duality")
    n, d = rng.integers(1, 12, 2)
    X, y = rng.standard_normal((n, d)), rng.standard_normal(n)
    problem = lp.AdversarialProblem(X, y, eps)
    for u in (rng.standard_normal(n), y, y - X @ rng.standard_normal(d)):
        assert problem.dual_bound(u) <= problem.loss(rng.standard_normal(d)) * (1 + 1e-12)
        assert problem.dual_bound(u) <= problem.loss(np.zeros(d)) * (1 + 1e-12)


def test_dual_bound_is_tight_at_the_optimum_and_free_of_scale():
    problem = draw(2)
    solution = lp.solve(problem)
    r = problem.y - problem.X @ solution.theta
    u = r + problem.eps * np.linalg.norm(solution.theta) * np.sign(r)
    if solution.n_zero_residuals == 0:
        assert problem.dual_bound(u) == pytest.approx(solution.loss, rel=1e-9)
    assert problem.dual_bound(7 * u) == pytest.approx(problem.dual_bound(u), rel=1e-12)


X, Y = np.ones((3, 2)), np.ones(3)


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ((X, np.ones(4), 0.1), ValueError, "same length, got 3 rows and 4"),
        (
            (np.ones(3), Y, 0.1),
            ValueError,
            r"X must be a nonempty array of 2 dimension\(s\), got shape \(3,\)",
        ),
        ((np.ones((0, 2)), np.ones(0), 0.1), ValueError, "X must be a nonempty"),
        ((np.ones((3, 0)), Y, 0.1), ValueError, "X must be a nonempty"),
        ((X * np.nan, Y, 0.1), ValueError, "X must be finite"),
        ((X, Y * np.inf, 0.1), ValueError, "y must be finite"),
        ((X * 1e70, Y, 0.1), ValueError, "X must be finite and at most 1e"),
        ((X * 1j, Y, 0.1), TypeError, "X must hold real numbers"),
        ((X, ["a", "b", "c"], 0.1), TypeError, "y must hold real numbers"),
        ((X, Y, -0.1), ValueError, "eps must be finite and at least 0"),
        ((X, Y, np.nan), ValueError, "eps must be finite"),
        ((X, Y, np.inf), ValueError, "eps must be finite"),
        ((X, Y, "a"), TypeError, "eps must be a real number, got 'a'"),
        ((X, Y, None), TypeError, "eps must be a real number, got None"),
    ],
)
def test_bad_input_has_its_sentence(arguments, error, says):
    with pytest.raises(error, match=says):
        lp.AdversarialProblem(*arguments)


def test_wrong_shapes_of_theta_and_u_have_their_sentences():
    problem = lp.AdversarialProblem(X, Y, 0.1)
    with pytest.raises(ValueError, match=r"theta must have shape \(2,\), got \(3,\)"):
        problem.loss(np.ones(3))
    with pytest.raises(ValueError, match=r"u must have shape \(3,\), got \(2,\)"):
        problem.dual_bound(np.ones(2))


def test_problem_is_frozen_and_takes_lists_and_integers():
    problem = lp.AdversarialProblem([[1, 2], [3, 4]], [1, 0], 1)
    assert problem.X.dtype == float
    assert (problem.n, problem.d) == (2, 2)
    with pytest.raises(AttributeError):
        problem.eps = 2.0
