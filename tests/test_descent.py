"""Descent against the closed form, calculus, a hand computation and the law it should follow.

Monte Carlo checks allow five standard errors: a false alarm has probability 6e-7 each.
"""

import dataclasses
import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest

from linphase.descent import (
    _batches,
    critical_step,
    gradient_descent,
    gradient_descent_batch,
    noise_augmented_descent,
)
from linphase.designs import GaussianDesign
from linphase.problem import AdversarialProblem
from linphase.solver import solve
from linphase.streams import stream


def draw(n, d, *key):
    return GaussianDesign(n, d).sample(stream(1, "descent", n, d, *key))


def iterate(problem, steps, start):
    """Descend one update at a time, in the words of the definition."""
    thetas = [np.asarray(start, dtype=float)]
    for step in steps:
        thetas.append(thetas[-1] - step * problem.subgradient(thetas[-1]))
    return np.array(thetas)


def difficult_designs():
    rng = stream(2, "descent")
    tall, wide = rng.standard_normal((60, 6)), rng.standard_normal((20, 50))
    return {
        "tall": tall,
        "square": rng.standard_normal((12, 12)),
        "wide": wide,
        "collinear": np.column_stack([tall, tall[:, 0], np.zeros(60)]),
        "repeated rows": np.vstack([wide, wide]),
        "scaled": tall * 10.0 ** np.arange(-3, 3),
        "one entry": np.array([[2.0]]),
        "zero": np.zeros((4, 3)),
    }


@pytest.mark.parametrize("name", difficult_designs())
@pytest.mark.parametrize("share", [0.3, 0.97])  # of the critical step; beyond a half, factors change sign
def test_the_closed_form_is_the_iteration(name, share):
    X = difficult_designs()[name]
    rng = stream(3, "descent", name)
    y, start = rng.standard_normal(len(X)), rng.standard_normal(X.shape[1])
    problem = AdversarialProblem(X, y, 0.0)
    step = share * min(critical_step(problem), 1.0)
    for steps in (step, step / np.sqrt(np.arange(1, 201))):
        closed = gradient_descent(problem, steps, 200, start)
        kernel = gradient_descent_batch(X[None], y[None], 0.0, steps, 200, start)[0, 0]
        assert closed.thetas.shape == (201, X.shape[1])
        np.testing.assert_allclose(closed.thetas, kernel, rtol=0, atol=1e-10 * np.abs(kernel).max())
        np.testing.assert_array_equal(closed.step, np.broadcast_to(steps, 200))


@pytest.mark.parametrize("name", ["tall", "wide", "collinear", "repeated rows"])
def test_clean_descent_arrives_at_the_interpolator_or_least_squares_nearest_to_its_start(name):
    X = difficult_designs()[name]
    rng = stream(4, "descent", name)
    y, start = rng.standard_normal(len(X)), rng.standard_normal(X.shape[1])
    limit = start + np.linalg.lstsq(X, y - X @ start)[0]
    last = gradient_descent(AdversarialProblem(X, y, 0.0), n_steps=3000, start=start).thetas[-1]
    np.testing.assert_allclose(last, limit, rtol=0, atol=1e-10)


def test_two_steps_by_hand():
    problem = AdversarialProblem([[1.0], [2.0]], [1.0, -1.0], 0.5)
    run = gradient_descent(problem, 0.1, 2)
    # g(0) = -(1*1 - 1*2) = 1; at -.1: r = (1.1, -.8), a = (1.15, .85), g = -(1.15 - 1.7) - .5 * 2 = -.45
    np.testing.assert_allclose(run.thetas[:, 0], [0.0, -0.1, -0.055], rtol=1e-14)
    np.testing.assert_allclose(run.losses[:2], [1.0, (1.15**2 + 0.85**2) / 2], rtol=1e-14)
    # On a kink: r = (0, -1), a = (.5, 1.5), g = 1.5 + .5 * 2 = 2.5
    kink = gradient_descent(AdversarialProblem([[1.0], [1.0]], [1.0, 0.0], 0.5), 0.1, 1, [1.0])
    np.testing.assert_allclose(kink.thetas[:, 0], [1.0, 0.75], rtol=1e-14)


@pytest.mark.parametrize(("n", "d", "eps"), [(30, 4, 0.2), (10, 25, 1.0), (1, 1, 0.7), (40, 3, 0.0)])
def test_a_step_follows_the_slope_of_the_loss(n, d, eps):
    X, y = draw(n, d)
    problem = AdversarialProblem(X, y, eps)
    start = stream(5, "descent", n).standard_normal(d)  # off the kinks, almost surely
    slope = (start - gradient_descent(problem, 1.0, 1, start).thetas[1]) / 1.0
    h = 1e-6 * np.eye(d)
    differences = [(problem.loss(start + e) - problem.loss(start - e)) / 2e-6 for e in h]
    np.testing.assert_allclose(slope, differences, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("n", "d"), [(100, 10), (15, 40), (5000, 20), (3, 1)])  # 5000 x 20: several blocks
def test_the_kernel_takes_the_steps_of_the_definition(n, d):
    X, y = draw(n, d, "kernel")
    problem = AdversarialProblem(X, y, 0.4)
    start = stream(6, "descent", n).standard_normal(d)
    steps = 0.5 * critical_step(problem) / np.arange(1, 31)
    run = gradient_descent(problem, steps, 30, start)
    np.testing.assert_allclose(run.thetas, iterate(problem, steps, start), rtol=0, atol=1e-11)
    np.testing.assert_allclose(run.losses, [problem.loss(theta) for theta in run.thetas], rtol=1e-12)
    default = gradient_descent(problem)
    np.testing.assert_allclose(default.step, np.full(100, 0.5 * critical_step(problem)))
    assert not default.thetas[0].any()


def test_the_batch_is_the_single_runs():
    X, y = (np.stack(a) for a in zip(*(draw(40, 6, "batch", r) for r in range(4)), strict=True))
    eps = np.array([0.0, 0.1, 0.3, 0.5])  # far beyond the zero radius the orbits are chaotic: rounding grows
    start = stream(7, "descent").standard_normal(6)
    for step in (0.05, 0.1 / np.sqrt(np.arange(1, 61))):
        thetas = gradient_descent_batch(X, y, eps, step, 60, start)
        assert thetas.shape == (4, 4, 61, 6)
        for i in range(4):
            for j in range(4):
                single = gradient_descent(AdversarialProblem(X[i], y[i], eps[j]), step, 60, start)
                np.testing.assert_allclose(thetas[i, j], single.thetas, rtol=0, atol=1e-11)


def test_descent_turns_with_the_coordinates_and_ignores_the_order_of_the_rows():
    X, y = draw(50, 5, "turn")
    rng = stream(8, "descent")
    Q = np.linalg.qr(rng.standard_normal((5, 5)))[0]
    order = rng.permutation(50)
    run = gradient_descent(AdversarialProblem(X, y, 0.6), 0.1)
    turned = gradient_descent(AdversarialProblem(X[order] @ Q, y[order], 0.6), 0.1)
    np.testing.assert_allclose(turned.thetas, run.thetas @ Q, rtol=0, atol=1e-11)


@pytest.mark.parametrize(("n", "d", "eps"), [(100, 5, 0.34), (20, 60, 0.52), (20, 60, 1.73), (40, 20, 0.71)])
def test_decreasing_steps_arrive_at_the_certified_minimiser_and_constant_ones_do_not(n, d, eps):
    X, y = draw(n, d, "arrive")
    problem = AdversarialProblem(X, y, eps)
    best = solve(problem)
    assert best.n_zero_residuals > 0  # it lies on kinks
    step = 0.5 * critical_step(problem)
    constant, decreasing = (
        gradient_descent(problem, steps, 20_000) for steps in (step, step / (1 + np.arange(20_000) / 100))
    )
    for run in (constant, decreasing):
        assert run.losses.min() >= best.loss * (1 - 1e-9)
    assert decreasing.losses[-1] < best.loss * (1 + 2e-3)
    miss = np.linalg.norm(decreasing.thetas[-1] - best.theta)
    assert miss < 1e-3 * np.linalg.norm(best.theta)
    assert np.linalg.norm(constant.thetas[-1] - best.theta) > 10 * miss


def test_constant_steps_arrive_where_the_minimiser_lies_on_no_kink():
    X, y = draw(100, 5, "arrive")
    problem = AdversarialProblem(X, y, 0.07)
    best = solve(problem)
    assert best.n_zero_residuals == 0
    np.testing.assert_allclose(gradient_descent(problem).thetas[-1], best.theta, rtol=1e-9)


@pytest.mark.parametrize(("d", "eps"), [(5, 1.2), (20, 1.2), (5, 1.5), (20, 1.5)])
def test_beyond_the_zero_radius_a_constant_step_wanders_and_a_decreasing_one_arrives(d, eps):
    """The size of the orbit is step eps mean|y| / (1 - step (1 + eps^2)) up to X'X/n != I.

    That moves the eigenvalues by 2 sqrt(d/n) = .1 to .2 and so the size by some percent: 10 % are allowed,
    while leaving out the 1 + eps^2 would miss by 24 % or more.
    """
    n, step = 2000, 0.1
    X, y = (np.stack(a) for a in zip(*(draw(n, d, "wander", r) for r in range(4)), strict=True))
    zero_radius = np.linalg.norm(np.einsum("mnd,mn->md", X, y), axis=1) / np.abs(y).sum(axis=1)
    assert (eps > zero_radius).all()  # the minimiser is 0
    sizes = np.linalg.norm(gradient_descent_batch(X, y, [eps], step, 300)[:, 0], axis=2)
    orbit = sizes[:, -100:].mean()
    first_order = step * eps * np.abs(y).mean()
    predicted = first_order / (1 - step * (1 + eps**2))
    assert orbit == pytest.approx(predicted, rel=0.1)
    assert orbit != pytest.approx(first_order, rel=0.1)
    steps = step / (1 + np.arange(300) / 10)
    sizes = np.linalg.norm(gradient_descent_batch(X, y, [eps], steps, 300)[:, 0], axis=2)
    assert sizes[:, -10:].max() < 0.1 * orbit
    # Near 0 it jumps by no more than 2 steps times the slope there, eps mean|y| + |X'y|/n < 2 eps mean|y|.
    assert (sizes[:, -10:].max(axis=1) < 4 * steps[-11] * eps * np.abs(y).mean(axis=1)).all()


@pytest.mark.parametrize("eps", [0.0, 0.3, 1.5])
def test_the_critical_step_separates_bounded_runs_from_unbounded_ones(eps):
    for n, d in [(60, 4), (10, 30)]:
        X, y = draw(n, d, "critical")
        problem = AdversarialProblem(X, y, eps)
        critical = critical_step(problem)
        top = np.linalg.norm(X, 2) / math.sqrt(n)
        assert critical == pytest.approx(1 / (top + eps) ** 2, rel=1e-12)
        safe = gradient_descent(problem, 0.99 * critical, 3000)
        assert safe.losses.max() < 100 * safe.losses[0]
        with pytest.raises(FloatingPointError, match="diverged at step"):
            gradient_descent(problem, 4 * critical, 3000)
    assert critical_step(AdversarialProblem(np.zeros((2, 2)), np.ones(2), 0.0)) == math.inf


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_the_critical_step_with_batches_holds_for_each_batch(batch_size):
    X, y = draw(12, 4, "batches")
    bound = critical_step(AdversarialProblem(X, y, 0.2), batch_size)
    for rows in _batches(12, 300, batch_size, stream(9, "descent")):
        assert bound <= critical_step(AdversarialProblem(X[rows], y[rows], 0.2)) * (1 + 1e-12)


def test_batches_are_cut_from_permutations_and_belong_to_their_stream():
    rows = _batches(10, 7, 3, stream(10, "descent"))
    assert rows.shape == (7, 3)
    for epoch in (rows[:3], rows[3:6]):
        assert len(set(epoch.ravel())) == 9
    assert not np.array_equal(rows[:3], rows[3:6])
    np.testing.assert_array_equal(_batches(10, 20, 3, stream(10, "descent"))[:7], rows)

    X, y = draw(50, 4, "sgd")
    problem = AdversarialProblem(X, y, 0.3)
    one = gradient_descent(problem, 0.01, 40, batch_size=7, rng=stream(11, "descent"))
    two = gradient_descent(problem, 0.01, 60, batch_size=7, rng=stream(11, "descent"))
    other = gradient_descent(problem, 0.01, 40, batch_size=7, rng=stream(12, "descent"))
    np.testing.assert_array_equal(one.thetas, two.thetas[:41])
    assert not np.array_equal(one.thetas, other.thetas)
    order = _batches(50, 40, 7, stream(11, "descent"))
    theta = np.zeros(4)
    for rows in order:
        theta = theta - 0.01 * AdversarialProblem(X[rows], y[rows], 0.3).subgradient(theta)
    np.testing.assert_allclose(one.thetas[-1], theta, rtol=0, atol=1e-12)


@pytest.mark.parametrize("eps", [0.0, 0.5])
def test_a_batch_of_all_rows_is_the_full_batch(eps):
    X, y = draw(30, 4, "all")
    problem = AdversarialProblem(X, y, eps)
    full = gradient_descent(problem, 0.05)
    batched = gradient_descent(problem, 0.05, batch_size=30, rng=stream(13, "descent"))
    np.testing.assert_allclose(batched.thetas, full.thetas, rtol=0, atol=1e-12)


def test_a_batch_step_is_unbiased():
    X, y = draw(7, 3, "unbiased")
    problem = AdversarialProblem(X, y, 0.4)
    start = np.array([0.3, -0.2, 0.5])
    rng = stream(14, "descent")
    moves = np.array(
        [gradient_descent(problem, 1.0, 2, start, 3, rng).thetas[1] - start for _ in range(4000)]
    )
    off = np.abs(moves.mean(axis=0) + problem.subgradient(start)) / (moves.std(axis=0) / math.sqrt(4000))
    assert off.max() < 5
    six_rows = AdversarialProblem(X[:6], y[:6], 0.4)  # what a fixed remainder would give
    off = np.abs(moves.mean(axis=0) + six_rows.subgradient(start)) / (moves.std(axis=0) / math.sqrt(4000))
    assert off.max() > 5


def test_noise_of_length_zero_is_the_clean_run_and_steps_keep_their_noise():
    X, y = draw(40, 5, "noise")
    thetas = noise_augmented_descent(X, y, [0.0, 0.5], stream(15, "descent"), 0.1, 50)
    clean = gradient_descent(AdversarialProblem(X, y, 0.0), 0.1, 50)
    np.testing.assert_allclose(thetas[0], clean.thetas, rtol=0, atol=1e-12)
    alone = noise_augmented_descent(X, y, 0.5, stream(15, "descent"), 0.1, 80)
    np.testing.assert_allclose(alone[0, :51], thetas[1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("start", [np.zeros(3), np.array([0.8, -0.5, 1.0])])
def test_a_noisy_step_has_the_law_of_noise_on_every_input(start):
    n, d, eps, draws = 6, 3, 1.3, 8000
    X, y = draw(n, d, "law")

    def brute(rng, eps):
        noisy = X + eps / math.sqrt(d) * rng.standard_normal((draws, n, d))
        return 2 / n * np.einsum("mnd,mn->md", noisy, y - noisy @ start)

    def features(moves):
        """First and second moments, and a fourth one that tells laws of equal covariance apart."""
        second = moves[:, :, None] * moves[:, None, :]
        return np.hstack([moves, second.reshape(-1, d * d), (moves**2).sum(axis=1, keepdims=True) ** 2])

    def off(a, b):
        a, b = features(a), features(b)
        return (np.abs(a.mean(0) - b.mean(0)) / np.sqrt((a.var(0) + b.var(0)) / draws)).max()

    # As many runs as draws of one step each, from one stream.
    rng = stream(16, "descent", "cheap")
    cheap = np.array(
        [noise_augmented_descent(X, y, eps, rng, 1.0, 1, start)[0, 1] - start for _ in range(draws)]
    )
    assert off(cheap, brute(stream(16, "descent", "brute"), eps)) < 5
    assert off(cheap, brute(stream(16, "descent", "brute"), 1.2 * eps)) > 5
    expected = 2 / n * (X.T @ (y - X @ start) - eps**2 * n / d * start)
    assert (np.abs(cheap.mean(0) - expected) < 5 * cheap.std(0) / math.sqrt(draws)).all()


def test_divergence_names_the_step_and_the_critical_one():
    X, y = draw(20, 3, "diverge")
    critical = critical_step(AdversarialProblem(X, y, 0.5))
    sentence = rf"diverged at step \d+: step is up to 9, the critical one is {critical:.6g}$"
    with pytest.raises(FloatingPointError, match=sentence):
        gradient_descent_batch(X[None], y[None], [0.1, 0.5], 9.0, 1000)
    with pytest.raises(FloatingPointError, match=sentence):
        noise_augmented_descent(X, y, [0.1, 0.5], stream(17, "descent"), 9.0, 1000)
    with pytest.raises(FloatingPointError, match="diverged at step"):
        gradient_descent(AdversarialProblem(X, y, 0.5), 9.0, 1000, batch_size=5, rng=stream(17, "descent"))


PLAIN = """
import json, numpy as np
from linphase.descent import gradient_descent
from linphase.problem import AdversarialProblem
from linphase.streams import stream
rng = stream(18, "descent")
problem = AdversarialProblem(rng.standard_normal((12, 3)), rng.standard_normal(12), 0.3)
full = gradient_descent(problem, 0.1, 20)
batched = gradient_descent(problem, 0.1, 20, batch_size=5, rng=rng)
print(json.dumps([full.thetas.tolist(), batched.thetas.tolist()]))
"""


def test_the_kernel_runs_without_compilation():
    compiled, plain = (
        np.array(
            json.loads(
                subprocess.run(
                    [sys.executable, "-c", PLAIN],
                    env=os.environ | {"NUMBA_DISABLE_JIT": flag},
                    check=True,
                    capture_output=True,
                    text=True,
                ).stdout
            )
        )
        for flag in "01"
    )
    assert np.abs(compiled).max() > 0.1
    np.testing.assert_allclose(plain, compiled, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"n_steps": 0}, ValueError, "n_steps must be at least 1, got 0"),
        ({"n_steps": 2.0}, TypeError, r"n_steps must be an integer, got 2\.0"),
        ({"step": 0.0}, ValueError, r"step must be positive, got 0"),
        ({"step": [0.1, -0.1], "n_steps": 2}, ValueError, r"step must be positive, got -0\.1"),
        ({"step": [0.1, 0.2]}, ValueError, r"step must be a number or have shape \(100,\), got 2 entries"),
        ({"step": "fast"}, TypeError, "step must be a real number, got"),
        ({"step": math.nan}, ValueError, "step must be finite"),
        ({"start": [0.0]}, ValueError, r"start must have shape \(3,\), got \(1,\)"),
        ({"start": [0.0, math.inf, 0.0]}, ValueError, "start must be finite"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
        ({"batch_size": 9}, ValueError, "batch_size must be at most n = 8, got 9"),
        ({"batch_size": 2}, TypeError, "rng must be a numpy Generator, .* got None"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(arguments, error, sentence):
    with pytest.raises(error, match=f"^{sentence}"):
        gradient_descent(AdversarialProblem(np.eye(8, 3), np.ones(8), 0.1), **arguments)


def test_bad_input_to_many_runs_is_refused_in_a_sentence():
    X, y = np.ones((2, 4, 3)), np.ones((2, 4))
    with pytest.raises(ValueError, match=r"^X must be a nonempty array of 3 dimension"):
        gradient_descent_batch(X[0], y[0], 0.1, 0.1)
    with pytest.raises(
        ValueError, match=r"^y must have shape \(2, 4\), as X has shape \(2, 4, 3\), got \(2, 3\)$"
    ):
        gradient_descent_batch(X, y[:, :3], 0.1, 0.1)
    with pytest.raises(ValueError, match=r"^eps must be finite and at least 0, got -0\.1$"):
        gradient_descent_batch(X, y, [0.1, -0.1], 0.1)
    with pytest.raises(TypeError, match=r"^rng must be a numpy Generator, .* got 3$"):
        noise_augmented_descent(X[0], y[0], 0.1, 3, 0.1)


def test_wrong_kinds_are_refused_in_a_sentence():
    problem = AdversarialProblem(np.eye(8, 3), np.ones(8), 0.1)
    for call in (critical_step, gradient_descent):
        with pytest.raises(TypeError, match=r"^problem must be an AdversarialProblem, got \(array"):
            call((problem.X, problem.y))
    with pytest.raises(TypeError, match=r"^rng must be a numpy Generator"):  # also where it would not be used
        gradient_descent(problem, rng=0)
    with pytest.raises(TypeError, match=r"^step must hold real numbers, got list \[\[1\], \[1, 2\]\]$"):
        gradient_descent(problem, [[1], [1, 2]])
    with pytest.raises(TypeError, match=r"^n_steps must be an integer, got .*timedelta64\(5\)$"):
        gradient_descent(problem, 0.1, np.timedelta64(5))


def test_a_loss_beyond_double_precision_is_infinite():
    problem = AdversarialProblem(np.full((2, 2), 1e45), np.array([1.0, -1.0]), 0.0)
    run = gradient_descent(problem, 1e-300, 1)
    stray = dataclasses.replace(run, thetas=np.array([[1e300, 1e300], [1e300, -1e300]]))
    assert stray.losses[0] == math.inf
    assert not np.isnan(stray.losses).any()
