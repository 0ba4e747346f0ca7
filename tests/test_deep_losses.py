"""Losses: textbook formulas in float64, gradients against differences, extreme logits, bad input."""

import math

import pytest

torch = pytest.importorskip("torch")

from linphase.deep.losses import (  # noqa: E402
    LOSSES,
    boosted_cross_entropy,
    cross_entropy,
    divergence,
    find_loss,
    squared,
)

CLASSES = ("cross-entropy", "trades", "mart")
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def draw(n=6, classes=5, scale=2.0, dtype=torch.float64):
    """Adversarial and clean outputs with labels."""
    f, clean = scale * torch.randn(2, n, classes, dtype=dtype)
    return f, clean, torch.randint(classes, (n,))


def textbook(name, f, clean, y):
    """What one example's loss is, from its probabilities: (ascent, descent)."""
    q = [math.exp(v) for v in f.tolist()]
    p = [math.exp(v) for v in clean.tolist()]
    q, p = [v / math.fsum(q) for v in q], [v / math.fsum(p) for v in p]
    kl = math.fsum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    ce = -math.log(q[y])
    if name == "trades":
        return kl, -math.log(p[y]) + 6 * kl
    if name == "mart":
        rival = max(v for k, v in enumerate(q) if k != y)
        return ce, ce - math.log(1 - rival) + 5 * kl * (1 - p[y])
    return ce, ce


@pytest.mark.parametrize("name", CLASSES)
def test_formulas(name):
    loss, (f, clean, y) = LOSSES[name], draw()
    expected = torch.tensor(
        [textbook(name, *row) for row in zip(f, clean, y.tolist(), strict=True)], dtype=torch.float64
    )
    torch.testing.assert_close(loss.ascent(f, y, clean, loss.beta), expected[:, 0], rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(loss.descent(f, y, clean, loss.beta), expected[:, 1], rtol=1e-12, atol=1e-14)
    judged = [textbook("cross-entropy", *row)[0] for row in zip(f, clean, y.tolist(), strict=True)]
    torch.testing.assert_close(
        loss.judge(f, y), torch.tensor(judged, dtype=torch.float64), rtol=1e-12, atol=0
    )


def test_the_squared_loss():
    f, y = torch.tensor([1.0, -2.0]), torch.tensor([3.0, 1.0])
    for value in (squared(f, y), LOSSES["squared"].ascent(f, y, None, 0), LOSSES["squared"].judge(f, y)):
        assert value.tolist() == [4.0, 9.0]


def test_the_weights_are_the_customary_ones():
    assert {name: loss.beta for name, loss in LOSSES.items() if loss.pairs} == {"trades": 6.0, "mart": 5.0}


def test_against_torch():
    f, clean, y = draw(50)
    torch.testing.assert_close(cross_entropy(f, y), torch.nn.functional.cross_entropy(f, y, reduction="none"))
    kl = torch.nn.functional.kl_div(f.log_softmax(1), clean.log_softmax(1), reduction="none", log_target=True)
    torch.testing.assert_close(divergence(clean, f), kl.sum(1))


@pytest.mark.parametrize("gap", [0.0, 1e-3, 5.0, 30.0])
def test_the_margin_term_does_not_cancel(gap):
    """−log(1 − p) of a rival with p near 1: the textbook's difference loses all digits in float32."""
    f, y = torch.tensor([[gap, 0.0, -1.0]]), torch.tensor([1])
    exact = f.double()
    rest = -math.log((1 + math.exp(-1)) / float(exact.exp().sum()))
    found = boosted_cross_entropy(f, y) - cross_entropy(f, y)
    assert float(found) == pytest.approx(rest, rel=1e-6)


def test_the_margin_term_with_two_classes_doubles():
    f, y = torch.randn(10, 2, dtype=torch.float64), torch.randint(2, (10,))
    torch.testing.assert_close(boosted_cross_entropy(f, y), 2 * cross_entropy(f, y))


def test_the_rival_is_another_class_than_the_label():
    """Where the label has the largest output and where it has not."""
    y = torch.tensor([0, 1])
    f = torch.tensor([[3.0, 1.0, 0.0], [3.0, 1.0, 0.0]], dtype=torch.float64)
    p = f.softmax(1)[0]
    expected = torch.stack((-p[0].log() - (1 - p[1]).log(), -p[1].log() - (1 - p[0]).log()))
    torch.testing.assert_close(boosted_cross_entropy(f, y), expected)


def test_a_tie_for_the_rival_counts_once():
    f, y = torch.zeros(1, 4, dtype=torch.float64), torch.tensor([2])
    assert float(boosted_cross_entropy(f, y)) == pytest.approx(math.log(4) - math.log(3 / 4))


@pytest.mark.parametrize("part", ["ascent", "descent"])
@every_loss
def test_gradients_are_those_of_differences(loss, part):
    f, clean, y = draw()
    if loss.name == "squared":
        f, clean, y = f[:, 0].clone(), clean[:, 0].clone(), torch.randn(6, dtype=torch.float64)
    function = getattr(loss, part)
    inputs = (f.requires_grad_(), clean.requires_grad_()) if loss.pairs else (f.requires_grad_(),)

    def value(f, clean=None):
        return function(f, y, clean, loss.beta)

    assert torch.autograd.gradcheck(value, inputs, atol=1e-7)


def test_no_gradient_is_cut():
    """TRADES and MART are descended through the clean output too."""
    for name in ("trades", "mart"):
        f, clean, y = draw()
        clean.requires_grad_()
        LOSSES[name].descent(f, y, clean, LOSSES[name].beta).sum().backward()
        assert (clean.grad.abs().sum(1) > 1e-3).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", CLASSES)
def test_no_logit_makes_a_nan(name, dtype):
    """Any pattern of logits at ±1e4, whatever the label, with its gradients."""
    loss = LOSSES[name]
    corners = 1e4 * torch.cartesian_prod(*3 * [torch.tensor([-1.0, 0.0, 1.0], dtype=dtype)])
    pairs = torch.cartesian_prod(torch.arange(27), torch.arange(27), torch.arange(3))
    f, clean, y = corners[pairs[:, 0]].requires_grad_(), corners[pairs[:, 1]].requires_grad_(), pairs[:, 2]
    for part in (loss.ascent, loss.descent):
        value = part(f, y, clean, loss.beta)
        assert value.isfinite().all()
        assert (value >= -1e-3).all()
        leaves = [
            leaf
            for leaf in torch.autograd.grad(value.sum(), (f, clean), allow_unused=True)
            if leaf is not None
        ]
        assert all(leaf.isfinite().all() for leaf in leaves)


@pytest.mark.parametrize("name", CLASSES)
def test_constants_cancel_and_leading_axes_are_free(name):
    loss, (f, clean, y) = LOSSES[name], draw()
    value = loss.descent(f, y, clean, loss.beta)
    torch.testing.assert_close(loss.descent(f + 100, y, clean - 50, loss.beta), value, rtol=1e-10, atol=1e-12)
    stacked = loss.descent(f.reshape(2, 3, 5), y.reshape(2, 3), clean.reshape(2, 3, 5), loss.beta)
    torch.testing.assert_close(stacked, value.reshape(2, 3))


def test_divergence_is_of_its_first_argument_from_its_second():
    p = torch.tensor([[0.9, 0.1]], dtype=torch.float64)
    q = torch.tensor([[0.5, 0.5]], dtype=torch.float64)
    assert float(divergence(p.log(), q.log())) == pytest.approx(0.9 * math.log(1.8) + 0.1 * math.log(0.2))
    assert float(divergence(q.log(), p.log())) == pytest.approx(0.5 * math.log(1 / 1.8) + 0.5 * math.log(5))
    assert float(divergence(p.log(), p.log())) == 0


def test_an_unknown_loss_has_its_sentence():
    with pytest.raises(
        ValueError, match="loss must be one of 'cross-entropy', 'squared', 'trades', 'mart', got 'kl'"
    ):
        find_loss("kl")
