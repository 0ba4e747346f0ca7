"""What comes in on the side of networks: sentences for what does not fit, and right answers for what does."""

from functools import partial

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from small_runs import RECIPE, blobs, network, same_history, same_weights  # noqa: E402
from torch import nn  # noqa: E402

from linphase import deep  # noqa: E402
from linphase.deep import Attack, Data, Recipe, Stack, Tracker, Tuning  # noqa: E402

pytestmark = pytest.mark.usefixtures("torch_state")


class Answers(nn.Module):
    """A network with weights, whose answer a function changes."""

    def __init__(self, change):
        super().__init__()
        self.inner, self.change = nn.Linear(5, 3), change

    def forward(self, x):
        return self.change(self.inner(x))


def batch():
    data = blobs(20)
    return data.x, data.y


@pytest.mark.parametrize(
    ("model", "error", "sentence"),
    [
        (lambda x: x, TypeError, r"model must be a network \(Module\), got <function"),
        (nn.Linear, TypeError, r"model must be a network \(Module\), got <class"),
        (
            deep.mlp((6, 3)),
            ValueError,
            r"model must take inputs such as x, here of shape \(2, 5\) and torch.float32, it raises R",
        ),
        (network().double(), ValueError, r"model must take inputs .* it raises RuntimeError: mat1 and mat2"),
        (network().to("meta"), ValueError, "model must have weights with data, got some on the device meta"),
        (nn.LazyLinear(3), ValueError, "model must be initialised, it has a lazy layer"),
        (Answers(lambda f: {"logits": f}), TypeError, "model must return a tensor, got dict"),
        (
            Answers(lambda f: f.long()),
            TypeError,
            "model must return floating-point outputs on cpu, got torch.int64",
        ),
        (
            Answers(lambda f: f[:1]),
            ValueError,
            r"model must return the shape \(2,\) of y and classes last, got \(1, 3\)",
        ),
        (Answers(lambda f: f.detach()), ValueError, "model must be differentiable in its inputs"),
        (Stack(network(), 2), ValueError, r"y must have shape \(2, n\) where model is a Stack, got \(20,\)"),
    ],
)
def test_networks_that_cannot_be_attacked_have_their_sentence(model, error, sentence):
    with pytest.raises(error, match=sentence):
        deep.fgm(model, *batch(), 0.1)


def test_networks_that_cannot_be_trained_have_their_sentence():
    frozen = network().requires_grad_(False)
    for model, sentence in (
        (nn.Flatten(), "model must have parameters that require gradients"),
        (frozen, "model must have parameters that require gradients"),
        (Answers(lambda f: f.detach()), "model must be differentiable in its weights"),
    ):
        with pytest.raises(ValueError, match=sentence):
            deep.train(model, blobs(), RECIPE)


def test_a_frozen_part_is_no_obstacle():
    model = network()
    model[1].requires_grad_(False)
    before = model[1].weight.clone()
    deep.train(model, blobs(), RECIPE.but(epochs=1), 0.1)
    assert torch.equal(model[1].weight, before)


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (partial(deep.train, data=None), TypeError, "data must be a Data, got None"),
        (partial(deep.train, recipe="fast"), TypeError, "recipe must be a Recipe, got 'fast'"),
        (partial(deep.train, tracker=0.1), TypeError, "tracker must be a Tracker or None, got 0.1"),
        (partial(deep.train, report="stderr"), TypeError, "report must be callable, got 'stderr'"),
        (partial(deep.train, seed=10**400), ValueError, "seed must be at most 3402"),
        (partial(deep.train, eps=10**400), ValueError, "eps must be finite and at least 0, got 1000"),
        (partial(deep.train, eps=1e16), ValueError, r"eps must be at most 1e\+15, got 1e\+16"),
        (partial(deep.train, checkpoint=b"a.pt"), TypeError, "checkpoint must be a path, got b'a.pt'"),
        (
            partial(deep.train, checkpoint="."),
            ValueError,
            "checkpoint must be a file's path, got the folder '.'",
        ),
        (
            partial(deep.train, checkpoint=f"{__file__}/a.pt"),
            ValueError,
            "checkpoint must lie in a folder, got ",
        ),
        (partial(deep.train, checkpoint="a\0b"), ValueError, "checkpoint must be a path that can exist here"),
    ],
)
def test_arguments_of_training_have_their_sentence(call, error, sentence):
    model = network()
    with pytest.raises(error, match=sentence) as caught:
        call(**({"model": model, "data": blobs(), "recipe": RECIPE} | call.keywords))
    assert len(str(caught.value)) <= 400
    assert same_weights(model, network())


@pytest.mark.parametrize(
    ("make", "error", "sentence"),
    [
        (partial(Recipe, test_attack=0), TypeError, "test_attack must be an Attack or None, got 0"),
        (partial(Recipe, test_attack=""), TypeError, "test_attack must be an Attack or None, got ''"),
        (partial(Recipe, epochs=10**400), ValueError, "epochs must be at most 1000000000, got 1000"),
        (partial(Recipe, lr=1e31), ValueError, r"lr must be at most 1e\+30, got 1e\+31"),
        (partial(Recipe, decay=1e20), ValueError, r"decay must leave the rate at most 1e\+30, got 1e\+20"),
        (partial(Recipe, monitor=1), TypeError, "monitor must be True or False, got 1"),
        (partial(Recipe, milestones="ab"), TypeError, "milestones must be a nonempty sequence of shares"),
        (partial(Recipe, align=float("nan")), ValueError, "align must be finite and at least 0, got nan"),
        (partial(Attack, random_start=None), TypeError, "random_start must be True or False, got None"),
        (partial(Attack, steps=10**30), ValueError, "steps must be at most 1000000, got 1000"),
        (partial(Tuning, attack="fgm"), TypeError, "attack must be an Attack, got 'fgm'"),
        (partial(Tuning, length=1e300), ValueError, r"length must be at most 1000, got 1e\+300"),
        (
            partial(Tracker, 1.0, 0.1, least=float("nan")),
            ValueError,
            "least must be finite and at least 0, got nan",
        ),
        (partial(deep.mlp, (10**6, 10**6)), ValueError, "widths must make at most 1000000000 weights, got "),
        (partial(deep.mlp, (5, 3), std=(1e-320,)), ValueError, "every entry of std must be at least 1e-12"),
        (partial(Stack, network(), 10**9), ValueError, "members must be at most 10000, got 1000000000"),
        (partial(Stack, Stack(network(), 2), 2), TypeError, "model must be a single network, got a Stack"),
    ],
)
def test_settings_have_their_sentence(make, error, sentence):
    with pytest.raises(error, match=sentence) as caught:
        make()
    assert len(str(caught.value)) <= 400


def test_numbers_of_numpy_and_torch_become_plain_ones():
    plain = Recipe(epochs=3, lr=0.1, milestones=(0.5,), attack=Attack(steps=2, step=0.5))
    other = Recipe(
        epochs=np.int64(3),
        lr=np.array(0.1),
        milestones=[np.float64(0.5)],
        attack=Attack(steps=torch.tensor(2), step=np.float32(0.5), random_start=np.True_),
    )
    assert repr(other) == repr(plain)
    assert other == plain
    assert repr(Recipe(lr=1)) != repr(Recipe(lr=1.0))  # checkpoints know a recipe by what was given


def test_inputs_with_a_gradient_are_constants():
    x, y = batch()
    traced = x.clone().requires_grad_()
    assert torch.equal(deep.fgm(network(), traced, y, 0.1), deep.fgm(network(), x, y, 0.1))
    plain = deep.train(model := network(), Data("toy", x, y, x, y, 3), RECIPE, 0.1)
    found = deep.train(other := network(), Data("toy", traced, y, traced, y, 3), RECIPE, 0.1)
    assert same_history(plain, found)
    assert same_weights(model, other)
    assert traced.grad is None


@pytest.mark.parametrize("eps", [torch.tensor([0.1, 0.2]), torch.tensor([[0.1]])])
def test_strengths_of_another_shape_have_their_sentence(eps):
    with pytest.raises(ValueError, match=r"eps must be a number or have shape \(\), got \("):
        deep.evaluate(network(), *batch(), eps, Attack(steps=1))
    with pytest.raises(ValueError, match=r"eps must be a number or have shape \(3,\), got \("):
        deep.evaluate(Stack(network(), 3), *batch(), eps, Attack(steps=1))


@pytest.mark.parametrize(
    ("factory", "error", "sentence"),
    [
        (network(), TypeError, "model_factory must be a function without arguments .*, got Sequential"),
        (lambda size: network(), TypeError, "model_factory must be a function without arguments"),
        (lambda: None, TypeError, r"what model_factory returns must be a network \(Module\), got None"),
        (
            lambda: Stack(network(), 2),
            TypeError,
            "what model_factory returns must be a single network, got a Stack",
        ),
    ],
)
def test_factories_have_their_sentence(factory, error, sentence):
    with pytest.raises(error, match=sentence):
        deep.critical_strength(factory, blobs(), RECIPE)
