"""GaussianDesign against simulation, calculus and linear algebra.

Monte Carlo checks allow five standard errors: a false alarm has probability 6e-7 each.
"""

import dataclasses
import math

import numpy as np
import pytest

from linphase.designs import GaussianDesign, fixed_design_std_norm
from linphase.streams import stream


def standard_errors_off(draws, value):
    """How many standard errors the mean of the draws lies from the value."""
    return abs(draws.mean() - value) / (draws.std(ddof=1) / math.sqrt(len(draws)))


def test_sample_is_the_stated_model_and_belongs_to_its_stream():
    design = GaussianDesign(40_000, 3, signal=2.0, noise=0.5)
    X, y = design.sample(stream(1, "designs"))
    again, _ = design.sample(stream(1, "designs"))
    assert np.array_equal(X, again)
    assert np.linalg.norm(design.theta0) == pytest.approx(2.0, rel=1e-15)
    errors = y - X @ design.theta0
    assert standard_errors_off(errors, 0.0) < 5
    assert standard_errors_off(errors**2, 0.25) < 5
    for i in range(3):
        assert standard_errors_off(errors * X[:, i], 0.0) < 5
        for j in range(i + 1):
            assert standard_errors_off(X[:, i] * X[:, j], float(i == j)) < 5


@pytest.mark.parametrize("eps", [0.0, 0.4, 1.5])
def test_risk_is_the_mean_loss_on_new_data(eps):
    design = GaussianDesign(100_000, 4, signal=1.5, noise=0.7)
    rng = stream(2, "designs", "risk", eps)
    theta = design.theta0 + 0.3 * rng.standard_normal(4)
    X, y = design.sample(rng)
    losses = (np.abs(y - X @ theta) + eps * np.linalg.norm(theta)) ** 2
    assert standard_errors_off(losses, design.risk(theta, eps)) < 5
    assert standard_errors_off(losses, dataclasses.replace(design, noise=0.8).risk(theta, eps)) > 5
    assert standard_errors_off(losses, design.risk(theta, eps + 0.1)) > 5


def test_risk_broadcasts_over_leading_axes():
    design = GaussianDesign(10, 3)
    thetas = stream(3, "designs").standard_normal((5, 1, 3))
    eps = np.array([0.0, 0.3])
    risks = design.risk(thetas, eps)
    assert risks.shape == (5, 2)
    for i in range(5):
        for j in range(2):
            assert risks[i, j] == pytest.approx(design.risk(thetas[i, 0], eps[j]), rel=1e-14)
    assert design.risk(design.theta0) == pytest.approx(1.0, rel=1e-15)


@pytest.mark.parametrize("noise", [0.0, 0.3, 1.0, 4.0])
@pytest.mark.parametrize("eps", [0.0, 0.05, 0.5, 0.79, 0.81, 1.2, 3.0])
def test_nothing_has_less_risk_than_the_minimiser(noise, eps):
    design = GaussianDesign(10, 3, signal=1.3, noise=noise)
    best = design.risk_minimiser(eps)
    moves = stream(4, "designs").standard_normal((200, 3))
    for size in (1e-5, 1e-2, 1.0):
        assert (design.risk(best + size * moves, eps) >= design.risk(best, eps) - 1e-14).all()


@pytest.mark.parametrize("noise", [0.0, 0.5, 2.0])
def test_the_minimiser_is_zero_from_the_stated_strength_on(noise):
    design = GaussianDesign(10, 3, signal=1.3, noise=noise)
    zero_from = math.sqrt(math.pi / 2) * 1.3 / math.hypot(1.3, noise)
    assert not design.risk_minimiser(1.0001 * zero_from).any()
    # Just below it the minimiser may be anywhere in (0, theta0], but not 0.
    assert np.linalg.norm(design.risk_minimiser(0.9999 * zero_from)) > 1e-5
    np.testing.assert_allclose(design.risk_minimiser(0.0), design.theta0, rtol=1e-12)
    assert not GaussianDesign(10, 3, signal=0.0).risk_minimiser(0.1).any()


@pytest.mark.parametrize(("n", "d"), [(40, 8), (10, 30)])
def test_std_norm_is_that_of_least_squares_over_the_design(n, d):
    design = GaussianDesign(n, d, signal=1.5, noise=0.8)
    rng = stream(5, "designs", "std", n, d)
    fits = np.array([np.linalg.pinv(X) @ y for X, y in (design.sample(rng) for _ in range(4000))])
    centre = design.theta0 * min(1.0, n / d)  # the mean of the fits, by symmetry
    squares = ((fits - centre) ** 2).sum(axis=1)
    assert standard_errors_off(squares, design.std_norm() ** 2) < 5
    assert standard_errors_off(squares, 0.8**2 * min(n, d) / max(n, d)) > 5


def test_fixed_design_std_norm_is_the_covariance_given_x():
    rng = stream(6, "designs")
    for n, d in [(20, 5), (5, 20), (1, 1), (7, 7)]:
        X = rng.standard_normal((n, d))
        inverse = np.linalg.pinv(X)
        expected = 0.3 * math.sqrt(np.trace(inverse @ inverse.T))
        assert fixed_design_std_norm(X, 0.3) == pytest.approx(expected, rel=1e-9)
    X = rng.standard_normal((20, 5))
    tall = fixed_design_std_norm(X)
    assert tall == pytest.approx(math.sqrt(np.trace(np.linalg.inv(X.T @ X))), rel=1e-12)
    # A column twice: the minimum norm solution splits its coefficient in halves.
    assert fixed_design_std_norm(np.column_stack([X[:, 0], X[:, 0]])) == pytest.approx(
        math.sqrt(0.5) / np.linalg.norm(X[:, 0]), rel=1e-12
    )
    assert fixed_design_std_norm(np.zeros((3, 2))) == 0


def test_fixed_and_random_design_agree_on_average():
    design = GaussianDesign(30, 6, noise=0.9)
    rng = stream(7, "designs")
    squares = np.array([fixed_design_std_norm(design.sample(rng)[0], 0.9) ** 2 for _ in range(2000)])
    assert standard_errors_off(squares, design.std_norm() ** 2) < 5


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ((0, 3), ValueError, "n must be at least 1, got 0"),
        ((3, 0), ValueError, "d must be at least 1, got 0"),
        ((3.0, 2), TypeError, "n must be an integer, got 3.0"),
        ((3, True), TypeError, "d must be an integer, got True"),
        ((3, 2, -1.0), ValueError, "signal must be finite and at least 0, got -1.0"),
        ((3, 2, 1.0, math.nan), ValueError, "noise must be finite and at least 0, got nan"),
        ((3, 2, "1"), TypeError, "signal must be a real number, got '1'"),
    ],
)
def test_bad_designs_are_refused_in_a_sentence(arguments, error, sentence):
    with pytest.raises(error, match=f"^{sentence}$"):
        GaussianDesign(*arguments)


def test_bad_calls_are_refused_in_a_sentence():
    design = GaussianDesign(10, 9)
    with pytest.raises(ValueError, match=r"d < n - 1 and d > n \+ 1 only, got n = 10, d = 9"):
        design.std_norm()
    with pytest.raises(ValueError, match=r"theta must have d = 9 entries on its last axis, got \(3,\)"):
        design.risk(np.zeros(3))
    with pytest.raises(ValueError, match=r"eps must be finite and at least 0, got -0\.1"):
        design.risk(np.zeros(9), -0.1)
    with pytest.raises(
        ValueError, match=r"theta must be finite and at most 1e\+45 in size, got an entry of nan"
    ):
        GaussianDesign(5, 3).risk([math.nan, 1, 1])
    with pytest.raises(ValueError, match=r"got shapes eps \(2,\), theta without its last axis \(3,\)"):
        design.risk(np.zeros((3, 9)), [0.1, 0.2])
    with pytest.raises(TypeError, match="theta must not be a masked array"):
        design.risk(np.ma.masked_array(np.ones(9), np.arange(9) == 3))
    with pytest.raises(TypeError, match=r"rng must be a numpy Generator, as stream\(\) returns, got 7"):
        design.sample(7)
    with pytest.raises(ValueError, match="n must be at most 1000000000, got 10"):
        GaussianDesign(10**30, 3)
    with pytest.raises(ValueError, match="signal must be finite and at least 0, got 10"):
        GaussianDesign(10, 3, signal=10**400)
    with pytest.raises(ValueError, match="eps must be finite and at least 0, got inf"):
        design.risk_minimiser(math.inf)
    with pytest.raises(ValueError, match="noise must be finite and at least 0, got -1"):
        fixed_design_std_norm(np.eye(2), -1)
    with pytest.raises(ValueError, match="X must be finite and at most"):
        fixed_design_std_norm([[math.nan]])
    with pytest.raises(
        ValueError, match=r"X must be a nonempty array of 2 dimension\(s\), got shape \(0, 2\)"
    ):
        fixed_design_std_norm(np.empty((0, 2)))
