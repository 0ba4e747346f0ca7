"""Attacks: closed forms, a reference loop, ball and box, starts, restarts, stacks, bad input."""

from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.functional import cross_entropy  # noqa: E402

from linphase.deep import FGM, PGD, Attack, fgm, mlp, pgd  # noqa: E402
from linphase.deep.losses import LOSSES, divergence  # noqa: E402

NORMS = ("linf", "l2")
every_norm = pytest.mark.parametrize("norm", NORMS)
DUAL = {"linf": 1, "l2": 2}


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


class Linear(nn.Module):
    """xᵀθ."""

    def __init__(self, theta):
        super().__init__()
        self.theta = nn.Parameter(theta)

    def forward(self, x):
        return x @ self.theta


def network(classes=4, features=6):
    return mlp((features, 8, classes), "tanh")


def batch(n=16, features=6, classes=4, dtype=torch.float32):
    return torch.rand(n, features, dtype=dtype), torch.randint(classes, (n,))


def lengths(change, norm):
    flat = change.flatten(1)
    return flat.abs().amax(1) if norm == "linf" else flat.norm(dim=1)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# --------------------------------------------------------------------------------------------- closed forms


@every_norm
@pytest.mark.parametrize(
    "attack", [fgm, partial(pgd, random_start=False), partial(pgd, restarts=30, steps=30)]
)
@pytest.mark.parametrize("eps", [1e-6, 0.3, 1e3])
def test_the_worst_squared_loss_of_a_linear_model(norm, attack, eps):
    """max over ‖z‖ ≤ ε of (y − (x + z)ᵀθ)² is (|r| + ε‖θ‖_dual)².

    From a random start that turns the sign of r, ascent ends on the other side: restarts find both.
    """
    model = Linear(torch.randn(5, dtype=torch.float64))
    x, y = torch.randn(50, 5, dtype=torch.float64), torch.randn(50, dtype=torch.float64)
    z = attack(model, x, y, eps, norm, loss="squared", bounds=None)
    worst = ((y - x @ model.theta).abs() + eps * model.theta.norm(p=DUAL[norm])) ** 2
    exact = attack is fgm or "random_start" in attack.keywords or norm == "linf"
    torch.testing.assert_close((y - z @ model.theta) ** 2, worst, rtol=1e-9 if exact else 0.01, atol=0)


@every_norm
def test_the_worst_cross_entropy_of_a_binary_linear_model(norm):
    """Margins fall by ε times the dual norm of the difference of the two rows."""
    model = nn.Linear(5, 2, dtype=torch.float64)
    x, y = torch.randn(40, 5, dtype=torch.float64), torch.randint(2, (40,))
    difference = model.weight[1] - model.weight[0]
    margin = (2 * y - 1) * (model(x) @ torch.tensor([-1.0, 1.0], dtype=torch.float64))
    worst = torch.log1p((-(margin - 0.2 * difference.norm(p=DUAL[norm]))).exp())
    found = cross_entropy(model(fgm(model, x, y, 0.2, norm, bounds=None)), y, reduction="none")
    torch.testing.assert_close(found, worst, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("norm", "direction"), [("linf", torch.sign), ("l2", lambda g: g / g.norm(dim=1)[:, None])]
)
def test_fgm_is_one_step_along_the_gradient(norm, direction):
    model = network()
    x, y = batch()
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(cross_entropy(model(x), y, reduction="sum"), x)
    step = (x + 0.05 * direction(gradient)).detach()
    torch.testing.assert_close(fgm(model, x, y, 0.05, norm, bounds=None), step, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(fgm(model, x, y, 0.05, norm), step.clamp(0, 1), rtol=1e-6, atol=1e-7)


# --------------------------------------------------------------------------------------- a reference in full


def reference(model, x, y, eps, norm, steps, step_size, draws):
    """PGD as one would write it down, example by example."""
    result = []
    for x_i, y_i, start in zip(x, y, draws, strict=True):
        z = (x_i + start).clamp(0, 1)
        for _ in range(steps):
            z.requires_grad_()
            (g,) = torch.autograd.grad(cross_entropy(model(z[None]), y_i[None]), z)
            z = z.detach() + step_size * (g.sign() if norm == "linf" else g / g.norm())
            change = z - x_i
            change = (
                change.clamp(-eps, eps) if norm == "linf" else change * min(1, eps / float(change.norm()))
            )
            z = (x_i + change).clamp(0, 1)
        result.append(z)
    return torch.stack(result)


@every_norm
def test_pgd_against_a_reference_loop(norm):
    model, eps, step = network().double(), 0.3, 0.11
    x, y = batch(dtype=torch.float64)
    g = generator(5)
    if norm == "linf":
        draws = eps * (2 * torch.rand(x.shape, generator=g, dtype=x.dtype) - 1)
    else:
        draws = torch.randn(x.shape, generator=g, dtype=x.dtype)
        radius = torch.rand(len(x), generator=g, dtype=x.dtype) ** (1 / 6)
        draws *= (eps * radius / draws.norm(dim=1))[:, None]
    expected = reference(model, x, y, eps, norm, 7, step, draws)
    found = pgd(model, x, y, eps, norm, 7, step, generator=generator(5))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)
    from_x = pgd(model, x, y, eps, norm, 7, step, random_start=False)
    torch.testing.assert_close(
        from_x, reference(model, x, y, eps, norm, 7, step, torch.zeros_like(x)), rtol=1e-12, atol=1e-14
    )


def test_the_step_is_a_quarter_of_eps_unless_given():
    model, (x, y) = network(), batch()
    default = pgd(model, x, y, 0.1, generator=generator())
    assert torch.equal(default, pgd(model, x, y, 0.1, step_size=0.025, generator=generator()))
    assert "step 0.25 ε = 0.025" in PGD.describe(0.1)
    assert "eval mode" in replace(PGD, mode="eval", restarts=3).describe(0.1)
    assert "3 restarts" in replace(PGD, mode="eval", restarts=3).describe(0.1)


def test_images_are_attacked_as_flat_features_are():
    flat = network(features=12).double()
    x, y = batch(features=12, dtype=torch.float64)
    images = nn.Sequential(nn.Flatten(), flat)
    for norm in NORMS:
        a = pgd(flat, x, y, 0.2, norm, generator=generator())
        b = pgd(images, x.reshape(-1, 3, 2, 2), y, 0.2, norm, generator=generator())
        torch.testing.assert_close(b.flatten(1), a, rtol=1e-12, atol=1e-14)


# ---------------------------------------------------------------------------------------------- ball and box


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    norm=st.sampled_from(NORMS),
    eps=st.floats(0, 3) | st.sampled_from([0.0, 1e-30, 1e-8, 1.0]),
    steps=st.integers(1, 4),
    step=st.floats(0.01, 3),
    start=st.booleans(),
    loss=st.sampled_from(["cross-entropy", "trades", "mart"]),
    seed=st.integers(0, 1000),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_always_inside_ball_and_box(norm, eps, steps, step, start, loss, seed, dtype):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, (x, y) = network().to(dtype), batch(dtype=dtype)
        x[0], x[1] = 0, 1
        plan = Attack(norm, steps, step, start)
        z = plan.run(model, x, y, eps, LOSSES[loss], generator=generator(seed))
    assert z.min() >= 0
    assert z.max() <= 1
    tolerance = 4 * torch.finfo(dtype).eps
    assert lengths((z - x).double(), norm).max() <= eps * (1 + tolerance) + tolerance
    assert not z.requires_grad


@pytest.mark.parametrize("bounds", [None, (-2.0, 3.0)])
def test_other_boxes(bounds):
    model, (x, y) = network(), batch()
    x = 5 * x - 2
    z = pgd(model, x, y, 2.0, bounds=bounds)
    assert (z.min() >= -2 and z.max() <= 3) == (bounds is not None)


@every_norm
@pytest.mark.parametrize("loss", ["cross-entropy", "trades", "mart"])
def test_no_strength_no_change(norm, loss):
    model, (x, y) = network(), batch()
    assert torch.equal(fgm(model, x, y, 0, norm, loss), x)
    assert torch.equal(pgd(model, x, y, 0.0, norm, restarts=2, loss=loss), x)


def test_large_flat_images_are_not_mistaken_for_an_escape():
    """All pixels round the same way there, by far more than an ulp of ε in all."""
    model = Linear(torch.ones(150_000))
    x, y = torch.full((2, 150_000), 0.7), torch.zeros(2)
    for eps in (1e-6, 1e-3, 0.5):
        moved = fgm(model, x, y, eps, "l2", "squared") - x
        assert (moved.double().norm(dim=1) <= 1.01 * eps + 1e-4).all()  # 150,000 pixels' roundings
        assert eps < 1e-3 or (moved.double().norm(dim=1) >= 0.9 * eps).all()


# ------------------------------------------------------------------------------------------ starts, restarts


def test_random_starts_are_uniform_in_the_ball():
    """Kolmogorov–Smirnov; two laws and a projection for each ball, false alarm 5e-4 in all (5 at 1e-4)."""
    x, y = torch.zeros(4000, 3), torch.zeros(4000)
    start = {
        norm: Attack(norm).starts(x, y, LOSSES["squared"], generator())[0].double().numpy() for norm in NORMS
    }
    radius = np.linalg.norm(start["l2"], axis=1)
    assert kstest(radius**3, "uniform").pvalue > 1e-4
    cosine = start["l2"] @ np.array([0.6, 0.0, 0.8]) / radius  # uniform on [-1, 1] in three dimensions
    assert kstest((cosine + 1) / 2, "uniform").pvalue > 1e-4
    for axis in range(3):
        assert kstest((start["linf"][:, axis] + 1) / 2, "uniform").pvalue > 1e-4


def test_trades_starts_beside_the_example():
    x, y = torch.zeros(4000, 1), torch.zeros(4000, dtype=torch.int64)
    for plan in (PGD, FGM):
        start = plan.starts(x, y, LOSSES["trades"], generator())[0].numpy().ravel()
        assert kstest(start, "norm").pvalue > 1e-4
    assert FGM.starts(x, y, LOSSES["cross-entropy"], None) is None


@every_norm
@pytest.mark.parametrize("loss", ["cross-entropy", "trades"])
def test_restarts_never_lower_the_loss(norm, loss):
    model, (x, y) = network(), batch(64)
    with torch.no_grad():
        model[-1].weight *= 30  # many local maxima
    plan = Attack(norm, 2, 0.5)
    clean = model(x)

    def reached(restarts):
        z = replace(plan, restarts=restarts).run(model, x, y, 0.3, LOSSES[loss], generator=generator())
        return LOSSES[loss].ascent(model(z), y, clean, 1.0).detach()

    losses = [reached(restarts) for restarts in (1, 2, 4, 8)]
    for fewer, more in pairwise(losses):
        assert (more >= fewer).all()
    assert (losses[-1] > losses[0]).any()


def test_each_example_keeps_its_own_best_start():
    """The best of three starts is, example by example, one of the three single runs from these starts."""
    model, (x, y) = network(), batch()
    plan = Attack("l2", 1, 0.1)
    starts = torch.stack([plan.starts(x, y, LOSSES["mart"], generator(k))[0] for k in range(3)])
    single = [plan.run(model, x, y, 0.4, starts=starts[k : k + 1]) for k in range(3)]
    losses = torch.stack([cross_entropy(model(z), y, reduction="none") for z in single])
    best = torch.stack(single)[losses.argmax(0), torch.arange(len(x))]
    found = replace(plan, restarts=3).run(model, x, y, 0.4, starts=starts)
    assert torch.equal(found, best)
    assert len(losses.argmax(0).unique()) > 1


# -------------------------------------------------------------------------------- what is ascended, gradients


def test_trades_ascends_the_divergence_and_not_the_cross_entropy():
    model, (x, y) = network(), batch(64)
    clean = model(x).detach()
    found = {
        loss: model(Attack("l2", 20, mode="eval").run(model, x, y, 0.2, LOSSES[loss], generator=generator()))
        for loss in ("trades", "cross-entropy")
    }
    more, less = divergence(clean, found["trades"]), divergence(clean, found["cross-entropy"])
    assert more.mean() > 1.2 * less.mean()
    other = y.roll(1)  # the divergence does not know the labels
    again = Attack("l2", 20, mode="eval").run(model, x, other, 0.2, LOSSES["trades"], generator=generator())
    assert torch.equal(model(again), found["trades"])


@every_norm
def test_one_step_of_trades_is_an_attack(norm):
    """At the example itself the divergence is flat; one step from there would be no step, or noise."""
    model, (x, y) = network(), batch(64)
    clean = model(x).detach()
    z = fgm(model, x, y, 0.1, norm, "trades")
    noise = (x + 0.1 * Attack(norm).starts(x, y, LOSSES["mart"], generator())[0]).clamp(0, 1)
    assert divergence(clean, model(z)).mean() > 2 * divergence(clean, model(noise)).mean()


@every_norm
@pytest.mark.parametrize("scale", [1e-30, 1e-42])
def test_tiny_gradients_have_a_direction(norm, scale):
    """Squares of them underflow."""
    theta = torch.tensor([3.0, 4.0])
    x, y = torch.zeros(1, 2), torch.full((1,), -1.0)
    z = fgm(Linear(theta * scale), x, y, 0.5, norm, "squared", bounds=None)
    expected = torch.tensor([[0.5, 0.5]]) if norm == "linf" else theta[None] / 10
    torch.testing.assert_close(z, expected, rtol=1e-2 if scale < 1e-40 else 1e-6, atol=0)


@every_norm
def test_no_gradient_no_step(norm):
    x, y = torch.rand(4, 2), torch.zeros(4)
    assert torch.equal(fgm(Linear(torch.zeros(2)), x, y, 0.5, norm, "squared"), x)


def test_a_gradient_that_is_not_finite_is_said():
    class Bad(nn.Module):
        def forward(self, x):
            return (x - x).sum(-1).sqrt()  # derivative infinite times zero

    x, y = torch.rand(4, 2), torch.ones(4)
    for norm in NORMS:
        with pytest.raises(FloatingPointError, match="squared loss for the inputs is not finite"):
            fgm(Bad(), x, y, 0.1, norm, "squared")


def test_parameters_and_inputs_get_no_gradient():
    model, (x, y) = network(), batch()
    before = [torch.full_like(p, 7.0) for p in model.parameters()]
    for p, g in zip(model.parameters(), before, strict=True):
        p.grad = g.clone()
    x.requires_grad_()
    for z in (fgm(model, x, y, 0.1), pgd(model, x, y, 0.1, "l2", restarts=2, loss="mart")):
        assert not z.requires_grad
        assert z.grad_fn is None
    assert x.grad is None
    for p, g in zip(model.parameters(), before, strict=True):
        assert torch.equal(p.grad, g)
        assert p.requires_grad
    with torch.no_grad():
        assert not torch.equal(fgm(model, x, y, 0.1), x)


# ------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("attack", [fgm, pgd])
@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        ({"eps": -0.1}, ValueError, "eps must be finite and at least 0, got -0.1"),
        ({"eps": float("nan")}, ValueError, "eps must be finite and at least 0, got nan"),
        ({"eps": float("inf")}, ValueError, "eps must be finite and at least 0, got inf"),
        ({"eps": "0.1"}, TypeError, "eps must be a real number, got '0.1'"),
        ({"eps": True}, TypeError, "eps must be a real number, got True"),
        ({"eps": torch.tensor([0.1])}, TypeError, r"eps must be a real number, got tensor\(\[0.1000\]\)"),
        ({"norm": "l1"}, ValueError, "norm must be one of 'linf', 'l2', got 'l1'"),
        ({"mode": "test"}, ValueError, "mode must be one of 'train', 'eval', 'frozen-bn', got 'test'"),
        (
            {"loss": "hinge"},
            ValueError,
            "loss must be one of 'cross-entropy', 'squared', 'trades', 'mart', got 'hinge'",
        ),
        (
            {"x": torch.full((4, 6), 1.5)},
            ValueError,
            r"x must lie in bounds \[0, 1\], got values in \[1.5, 1.5\]",
        ),
        ({"x": torch.full((4, 6), -0.1)}, ValueError, r"x must lie in bounds \[0, 1\]"),
        ({"x": torch.full((4, 6), torch.nan)}, ValueError, "x must be finite"),
        (
            {"x": torch.zeros(4, 6, dtype=torch.uint8)},
            TypeError,
            "x must be floating-point of 16 to 64 bits, got torch.uint8",
        ),
        (
            {"x": np.zeros((4, 6))},
            TypeError,
            r"x must be a tensor, got an array of shape \(4, 6\) and type float64",
        ),
        ({"y": [0, 1, 2, 3]}, TypeError, r"y must be a tensor, got \[0, 1, 2, 3\]"),
        ({"y": torch.zeros(3, dtype=torch.int64)}, ValueError, "x must have an example for each label"),
        (
            {"y": torch.tensor([0, 1, 2, 4])},
            ValueError,
            r"y must lie in 0..3, the classes of model, got labels in 0..4",
        ),
        ({"y": torch.tensor([-1, 1, 2, 3])}, ValueError, "0..3, the classes of model, got labels in -1..3"),
        (
            {"y": torch.zeros(4)},
            TypeError,
            "y must have dtype int64 for loss 'cross-entropy', got torch.float32",
        ),
        (
            {"y": torch.zeros(4), "loss": "squared"},
            ValueError,
            r"model must return the shape \(2,\) of y for loss 'squared', got \(2, 4\)",
        ),
        ({"bounds": (1.0, 0.0)}, ValueError, r"bounds must be \(low, high\) with low < high or None"),
    ],
)
def test_bad_input_has_its_sentence(attack, changes, error, sentence):
    arguments = {"x": torch.rand(4, 6), "y": torch.tensor([0, 1, 2, 3]), "eps": 0.1} | changes
    model = network()
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(error, match=sentence):
        attack(model, **arguments)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"steps": 0}, ValueError, "steps must be at least 1, got 0"),
        ({"steps": 1.5}, TypeError, "steps must be an integer, got 1.5"),
        ({"step": 0.0}, ValueError, "step must be positive and finite, got 0.0"),
        ({"restarts": 0}, ValueError, "restarts must be at least 1, got 0"),
    ],
)
def test_bad_plans_have_their_sentence(arguments, error, sentence):
    with pytest.raises(error, match=sentence):
        Attack(**arguments)


def test_a_bad_step_size_is_said():
    with pytest.raises(ValueError, match="step_size must be positive and finite, got -1"):
        pgd(network(), *batch(), 0.1, step_size=-1)


def test_numbers_of_numpy_are_numbers():
    model, (x, y) = network(), batch()
    a = pgd(model, x, y, np.float32(0.25), steps=np.int64(2), generator=generator())
    assert torch.equal(a, pgd(model, x, y, 0.25, steps=2, generator=generator()))
