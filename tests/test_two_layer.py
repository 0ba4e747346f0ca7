"""The network against its definition in NumPy, calculus, torch, brute force, its twin and planted rates.

Every draw is keyed, so a test that passes once passes always; on other seeds the Monte Carlo checks would
fail falsely with the probability they state.
"""

import dataclasses
import math
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from scipy import special

from linphase import evidence
from linphase.descent import critical_step
from linphase.designs import GaussianDesign
from linphase.problem import AdversarialProblem
from linphase.streams import stream
from linphase.two_layer import ACTIVATIONS, two_layer_descent

NAMES = list(ACTIVATIONS)
EXACT = {
    "tanh": (np.tanh, lambda z: 1 / np.cosh(z) ** 2),
    "erf": (special.erf, lambda z: 2 / math.sqrt(math.pi) * np.exp(-(z**2))),
    "softplus": (lambda z: np.logaddexp(0, z) - math.log(2), special.expit),
    "raw-softplus": (lambda z: np.logaddexp(0, z), special.expit),
    "quadratic": (lambda z: z + z**2 / 2, lambda z: 1 + z),
    "linear": (lambda z: z, np.ones_like),
}


def draw(n, d, eps, *key):
    return AdversarialProblem(*GaussianDesign(n, d).sample(stream(1, "two-layer", n, d, *key)), eps)


def train(problem, width, *key, **settings):
    return two_layer_descent(problem, width, stream(2, "two-layer", width, *key), **settings)


def start(problem, width, *key, **settings):
    """Network that one negligible update leaves at its initial weights."""
    return train(problem, width, *key, step=1e-300, n_steps=1, **settings)


def fgm(theta, signs, name, problem):
    """Predictor and FGM points, in the words of the definition."""
    phi, slope = EXACT[name]
    v = signs / math.sqrt(len(signs))

    def f(points):
        return phi(points @ theta.T) @ v

    gradient = (slope(problem.X @ theta.T) * v) @ theta
    unit = gradient / np.linalg.norm(gradient, axis=1, keepdims=True)
    away = np.sign(f(problem.X) - problem.y)[:, None]
    return f, problem.X + problem.eps * away * unit


def test_activations_and_derivatives():
    z = np.concatenate([np.linspace(-40, 40, 4001), [-800.0, -1e-9, 0.0, 1e-300, 800.0]]).reshape(2, -1)
    for name, (phi, slope) in EXACT.items():
        with np.errstate(over="ignore"):
            np.testing.assert_allclose(ACTIVATIONS[name](z), phi(z), rtol=1e-15, atol=2e-15, err_msg=name)
            np.testing.assert_allclose(ACTIVATIONS[name].derivative(z), slope(z), rtol=1e-15, atol=2e-15)
        assert ACTIVATIONS[name].at_zero == ACTIVATIONS[name](0.0)
        np.testing.assert_allclose(ACTIVATIONS[name].slope, slope(np.zeros(1)), rtol=1e-15)
        assert np.isnan(ACTIVATIONS[name](math.nan))
    assert EXACT.keys() == ACTIVATIONS.keys()


def test_small_arguments_keep_their_digits():
    z = np.array([1e-12, -3e-7, 2e-3])
    np.testing.assert_allclose(ACTIVATIONS["tanh"](z), np.tanh(z), rtol=1e-15)
    series = z / 2 + z**2 / 8 - z**4 / 192 + z**6 / 2880
    np.testing.assert_allclose(ACTIVATIONS["softplus"](z), series, rtol=1e-15)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("width", [1, 300])  # 300 does not fill its blocks of units
def test_descent_follows_its_definition(name, width):
    problem = draw(20, 3, 0.4)
    points = stream(3, "two-layer").standard_normal((4, 3))
    net = train(problem, width, activation=name, xi=0.0, step=0.05, n_steps=8, points=points)
    theta = start(problem, width, activation=name, xi=0.0).theta.copy()
    _, slope = EXACT[name]
    v = net.signs / math.sqrt(width)
    for t in range(9):
        f, adversarial = fgm(theta, net.signs, name, problem)
        r = f(adversarial) - problem.y
        np.testing.assert_allclose(net.beta[t], slope(np.zeros(1)) * (v @ theta), rtol=0, atol=1e-13)
        np.testing.assert_allclose(net.losses[t], (r**2).mean(), rtol=1e-13)
        np.testing.assert_allclose(net.predictions[t], f(points), rtol=0, atol=1e-13)
        if t < 8:
            push = 2 / 20 * r[:, None] * slope(adversarial @ theta.T) * v
            theta -= 0.05 * push.T @ adversarial
    np.testing.assert_allclose(net.theta, theta, rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", NAMES)
def test_update_is_the_gradient_of_the_loss(name):
    problem = draw(30, 3, 0.0)
    settings = {"activation": name, "init": "lazy"}
    before = start(problem, 6, **settings)
    after = train(problem, 6, step=1.0, n_steps=1, **settings)
    gradient = before.theta - after.theta
    for j, k in [(0, 0), (2, 1), (5, 2)]:
        losses = []
        for shift in (1e-5, -1e-5):
            theta = before.theta.copy()
            theta[j, k] += shift
            losses.append(dataclasses.replace(before, theta=theta).loss())
        assert abs((losses[0] - losses[1]) / 2e-5 - gradient[j, k]) < 1e-9
    assert np.abs(gradient).max() > 1e-2


@pytest.mark.parametrize("name", NAMES)
def test_adversarial_update_agrees_with_torch(name):
    torch = pytest.importorskip("torch")
    activation = {
        "tanh": torch.tanh,
        "erf": torch.erf,
        "softplus": lambda z: torch.nn.functional.softplus(z) - math.log(2),
        "raw-softplus": torch.nn.functional.softplus,
        "quadratic": lambda z: z + z**2 / 2,
        "linear": lambda z: z,
    }[name]
    problem = draw(25, 4, 0.5)
    before = start(problem, 40, activation=name, init="lazy")
    after = train(problem, 40, activation=name, init="lazy", step=1.0, n_steps=1)
    X, y = torch.tensor(problem.X, requires_grad=True), torch.tensor(problem.y)
    theta = torch.tensor(before.theta.copy(), requires_grad=True)
    v = torch.tensor(before.signs / math.sqrt(40))

    def loss(points):
        return ((activation(points @ theta.T) @ v - y) ** 2).mean()

    (uphill,) = torch.autograd.grad(loss(X), X)
    adversarial = (X + problem.eps * uphill / uphill.norm(dim=1, keepdim=True)).detach()
    value = loss(adversarial)
    value.backward()
    assert value.item() == pytest.approx(before.losses[0], rel=1e-12)
    np.testing.assert_allclose(before.theta - after.theta, theta.grad.numpy(), rtol=0, atol=1e-12)


def brute_force(net, problem, angles=720, radii=50):
    """Largest loss on a polar grid of the disk: within .0001 of the maximum for the smooth nets used here."""
    angle = np.linspace(0, 2 * np.pi, angles, endpoint=False)
    circle = np.column_stack([np.cos(angle), np.sin(angle)])
    disk = (np.linspace(0, problem.eps, radii)[:, None, None] * circle).reshape(-1, 2)
    rows = zip(problem.X, problem.y, strict=True)
    return np.mean([((net.predict(x + disk) - y) ** 2).max() for x, y in rows])


@pytest.mark.parametrize("width", [1, 4])
def test_attacks_against_brute_force(width):
    for replicate in range(5):
        problem = draw(10, 2, 0.3, replicate)
        net = start(problem, width, replicate, xi=0.0)
        clean = net.loss(AdversarialProblem(problem.X, problem.y, 0.0))
        reached = [net.loss(problem, "pgd", steps) for steps in (1, 2, 5, 20, 100)]
        best = brute_force(net, problem)
        assert clean < reached[0] == net.loss(problem, "fgm")
        assert (np.diff(reached) >= 0).all()
        assert reached[-1] <= best + 1e-4
        assert reached[-2] >= best - 0.001 * (best - clean)
        assert reached[0] >= best - 0.05 * (best - clean)


def test_pgd_gains_where_the_network_bends():
    gains = []
    for scale in (0.1, 3.0):
        problem = draw(30, 2, 1.0)
        net = start(problem, 6, init="lazy")
        net = dataclasses.replace(net, theta=scale * net.theta)
        weak, strong, best = net.loss(problem), net.loss(problem, "pgd"), brute_force(net, problem, 360, 30)
        assert weak <= strong <= best + 1e-3
        gains.append((strong - weak) / strong)
    assert gains[0] < 1e-3
    assert gains[1] > 0.1


def test_fgm_is_exact_to_first_order():
    """Its shortfall is of order ε²: halving ε divides it by about 4."""
    problem = draw(40, 2, 0.2)
    net = start(problem, 5, init="lazy")
    shortfall = []
    for eps in (0.2, 0.1, 0.05):
        attacked = AdversarialProblem(problem.X, problem.y, eps)
        shortfall.append(net.loss(attacked, "pgd", 300) - net.loss(attacked, "fgm"))
    assert shortfall[0] / shortfall[1] > 3
    assert shortfall[1] / shortfall[2] > 3


@pytest.mark.parametrize("attack", ["fgm", "pgd"])
@pytest.mark.parametrize("eps", [0.0, 0.3, 0.8])
def test_linear_network_is_its_twin(eps, attack):
    for width in (1, 7, 300):
        problem = draw(50, 4, eps, width)
        schedule = {"step": np.linspace(0.2, 0.05, 60), "n_steps": 60}
        net = train(problem, width, activation="linear", attack=attack, attack_steps=3, **schedule)
        np.testing.assert_allclose(net.beta, net.twin.thetas, rtol=0, atol=1e-12)
        np.testing.assert_allclose(net.losses, net.twin.losses, rtol=1e-12)
        np.testing.assert_allclose(net.predict(problem.X), problem.X @ net.beta[-1], rtol=0, atol=1e-12)


def test_default_step_is_that_of_the_twin():
    problem = draw(50, 4, 0.2)
    for name in ("tanh", "softplus", "erf"):
        net = train(problem, 8, activation=name, n_steps=3)
        np.testing.assert_allclose(net.twin.step, critical_step(problem) / 2, rtol=1e-14)


WIDTHS = np.array([32, 128, 512])


def distances(replicates=20, **settings):
    """Largest distance to the twin in runs of T = 60, (replicates, widths); the widths share their data."""
    found = np.empty((replicates, len(WIDTHS)))
    for replicate in range(replicates):
        problem = draw(60, 3, 0.0, replicate)
        for i, width in enumerate(WIDTHS):
            net = train(problem, int(width), replicate, step=0.1, n_steps=60, **settings)
            found[replicate, i] = np.linalg.norm(net.beta - net.twin.thetas, axis=1).max()
    return found


def rate(found, target, rivals):
    """Verdict on the exponent in h, one slope for each data set, margin .1, error rate .01."""
    slopes = np.polyfit(np.log(WIDTHS), np.log(found.T), 1)[0]
    exponent = evidence.mean(slopes)
    (verdict,) = evidence.decide([evidence.equivalent("rate", "", exponent, target, 0.1, rivals)], alpha=0.01)
    return verdict


@pytest.fixture(scope="module")
def tanh_distances():
    return distances()


def test_distance_to_the_twin_falls_as_one_over_width(tanh_distances):
    verdict = rate(tanh_distances, -1.0, [-0.5, 0.0])
    assert verdict.status == "supported", verdict


@pytest.mark.parametrize("planted", [0.5, 1.0])
def test_rate_is_refuted_where_another_is_planted(tanh_distances, planted):
    verdict = rate(tanh_distances * WIDTHS**planted, -1.0, [-0.5, 0.0])
    assert verdict.status == "refuted", verdict


def test_equal_signs_and_curvature_halve_the_rate():
    verdict = rate(distances(100, activation="quadratic", signs="equal"), -0.5, [-1.0, 0.0])
    assert verdict.status == "supported", verdict


def test_an_offset_needs_a_balanced_layer():
    problem = draw(40, 3, 0.0)
    centred = train(problem, 512, activation="softplus", signs="balanced")
    raw = train(problem, 512, activation="raw-softplus", signs="balanced")
    np.testing.assert_array_equal(raw.beta, centred.beta)
    gaps = [
        np.abs(net.beta - net.twin.thetas).max()
        for net in (raw, train(problem, 512, activation="raw-softplus", signs="equal"))
    ]
    assert gaps[1] > 30 * gaps[0]


@pytest.mark.parametrize(
    ("settings", "power"), [({"xi": 0.0}, 1.0), ({"xi": 1.5}, 2.5), ({"init": "lazy"}, 0.0)]
)
def test_initial_scale(settings, power):
    """Variance 1/(d h^power), mean 0; five standard errors, false alarm 6e-7 each."""
    width, d = 4000, 5
    theta = start(draw(10, d, 0.0), width, **settings).theta
    scaled = theta * math.sqrt(d * width**power)
    assert theta.shape == (width, d)
    assert abs(scaled.mean()) < 5 / math.sqrt(scaled.size)
    assert abs((scaled**2).mean() - 1) < 5 * math.sqrt(2 / scaled.size)


def test_second_layer():
    problem = draw(10, 2, 0.0)
    equal, balanced, random = (start(problem, 100, signs=s).signs for s in ("equal", "balanced", "random"))
    np.testing.assert_array_equal(equal, np.ones(100))
    assert balanced.sum() == 0
    assert set(random) == set(balanced) == {-1.0, 1.0}
    assert abs(start(problem, 4000).signs.sum()) < 5 * math.sqrt(4000)  # false alarm 6e-7


def test_the_key_fixes_the_run():
    problem = draw(20, 3, 0.3)
    first, again, other = (train(problem, 64, key, n_steps=5) for key in (0, 0, 1))
    for field in ("beta", "losses", "theta", "signs"):
        np.testing.assert_array_equal(getattr(first, field), getattr(again, field))
    assert np.abs(first.beta - other.beta).max() > 1e-3
    clean = AdversarialProblem(problem.X, problem.y, 0.0)
    initial = start(problem, 64).theta
    for changed in ({"problem": clean}, {"signs": "equal"}, {"activation": "erf"}):
        np.testing.assert_array_equal(start(**({"problem": problem, "width": 64} | changed)).theta, initial)


def test_the_recorded_predictor_and_loss_are_those_of_the_weights():
    problem = draw(20, 3, 0.3)
    for attack in ("fgm", "pgd"):
        net = train(problem, 300, activation="raw-softplus", attack=attack, n_steps=7, points=problem.X)
        np.testing.assert_allclose(net.predict(problem.X), net.predictions[-1], rtol=0, atol=1e-14)
        assert net.loss() == pytest.approx(net.losses[-1], rel=1e-13)
        clean = AdversarialProblem(problem.X, problem.y, 0.0)
        assert net.loss(clean) == pytest.approx(((net.predictions[-1] - problem.y) ** 2).mean(), rel=1e-13)
    assert train(problem, 3, n_steps=2).predictions.shape == (3, 0)


def test_divergence_has_its_sentence():
    problem = draw(20, 3, 0.3)
    critical = f"{critical_step(problem):.6g}"
    sentence = rf"the network diverged at step \d+: step is up to 50, .* linear twin is {critical}$"
    with pytest.raises(FloatingPointError, match=sentence):
        train(problem, 8, activation="quadratic", step=50.0)


PLAIN = """
import numpy as np
from linphase.problem import AdversarialProblem
from linphase.streams import stream
from linphase.two_layer import ACTIVATIONS, two_layer_descent
rng = stream(5, "two-layer")
problem = AdversarialProblem(rng.standard_normal((6, 2)), rng.standard_normal(6), 0.3)
settings = {"attack": "pgd", "attack_steps": 2, "init": "lazy", "step": 0.1, "n_steps": 3}
for name in ACTIVATIONS:
    net = two_layer_descent(problem, 5, rng, activation=name, points=problem.X, **settings)
    print(*net.beta.ravel(), *net.losses, *net.predictions.ravel(), net.loss(attack="fgm"))
    print(*net.predict(problem.X))
"""


def test_the_kernels_run_without_compilation():
    compiled, plain = (
        np.array(
            subprocess.run(
                [sys.executable, "-W", "error", "-c", PLAIN],
                env=os.environ | {"NUMBA_DISABLE_JIT": flag},
                check=True,
                capture_output=True,
                text=True,
            ).stdout.split(),
            dtype=float,
        )
        for flag in "01"
    )
    assert np.abs(compiled).max() > 0.1
    np.testing.assert_allclose(plain, compiled, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"width": 0}, ValueError, "width must be at least 1, got 0"),
        ({"width": 8.0}, TypeError, r"width must be an integer, got 8\.0"),
        ({"width": 7, "signs": "balanced"}, ValueError, "width must be even for signs='balanced', got 7"),
        ({"problem": None}, TypeError, "problem must be an AdversarialProblem, got None"),
        ({"rng": None}, TypeError, "rng must be a numpy Generator, as stream.. returns, got None"),
        ({"activation": "relu"}, ValueError, "activation must be one of 'tanh', 'erf', .*, got 'relu'"),
        ({"activation": None}, ValueError, "activation must be one of .*, got None"),
        ({"signs": "ones"}, ValueError, "signs must be one of 'random', 'balanced', 'equal', got 'ones'"),
        ({"init": "ntk"}, ValueError, "init must be one of 'vanishing', 'lazy', got 'ntk'"),
        ({"xi": -0.5}, ValueError, r"xi must be finite and at least 0, got -0\.5"),
        ({"xi": math.nan}, ValueError, "xi must be finite and at least 0, got nan"),
        ({"xi": "1"}, TypeError, "xi must be a real number, got '1'"),
        ({"n_steps": 0}, ValueError, "n_steps must be at least 1, got 0"),
        ({"step": -0.1}, ValueError, r"step must be positive, got -0\.1"),
        ({"attack": "fgsm"}, ValueError, "attack must be one of 'fgm', 'pgd', got 'fgsm'"),
        ({"attack": "pgd", "attack_steps": 0}, ValueError, "attack_steps must be at least 1, got 0"),
        ({"points": np.ones((2, 5))}, ValueError, r"points must have 3 columns, got shape \(2, 5\)"),
        ({"points": np.ones(3)}, ValueError, "points must be a nonempty array of 2 dimension"),
    ],
)
def test_bad_arguments_have_their_sentence(arguments, error, sentence):
    with pytest.raises(error, match=sentence):
        two_layer_descent(**({"problem": draw(20, 3, 0.3), "width": 8, "rng": stream(1)} | arguments))


def test_bad_data_has_its_sentence():
    net = start(draw(20, 3, 0.3), 8)
    with pytest.raises(ValueError, match=r"X must have 3 columns, got shape \(2, 4\)"):
        net.predict(np.ones((2, 4)))
    with pytest.raises(TypeError, match="problem must be an AdversarialProblem, got 3"):
        net.loss(3)
    with pytest.raises(TypeError, match="z must hold real numbers, got complex 1j"):
        ACTIVATIONS["tanh"](1j)
    with pytest.raises(ValueError, match="attack must be one of 'fgm', 'pgd', got 'x'"):
        net.loss(attack="x")


@pytest.mark.slow
def test_a_wide_network_takes_less_than_a_minute():
    begin = time.perf_counter()
    net = train(draw(100, 10, 0.3), 65536)
    assert time.perf_counter() - begin < 60
    assert np.abs(net.beta - net.twin.thetas).max() < 1e-3
