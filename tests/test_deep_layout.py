"""Precision, memory layout, compilation, augmentation: options that change the numbers of training little."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from small_runs import RECIPE, blobs, convolutional, network  # noqa: E402
from torch import nn  # noqa: E402

from linphase.deep import FGM, Attack, Data, Stack, train  # noqa: E402

pytestmark = pytest.mark.usefixtures("torch_state")


def images(n=30):
    g = torch.Generator().manual_seed(0)
    x, y = torch.rand(n, 3, 8, 8, generator=g), torch.randint(3, (n,), generator=g)
    return Data("images", x, y, x[:20], y[:20], classes=3, augment="crop-flip")


@pytest.mark.parametrize(
    "changes", [{"precision": "bfloat16"}, {"channels_last": True}, {"precision": "float64"}]
)
def test_precision_and_layout_change_little(changes):
    recipe = RECIPE.but(epochs=3, batch_size=10, lr=0.05, attack=replace(FGM, mode="eval"))
    plain, other = convolutional(), convolutional()
    a, b = train(plain, images(), recipe, 0.05), train(other, images(), recipe.but(**changes), 0.05)
    rtol = 0.02 if changes.get("precision") == "bfloat16" else 1e-4
    np.testing.assert_allclose(b.train_loss, a.train_loss, rtol=rtol)
    np.testing.assert_allclose(b.test_loss, a.test_loss, rtol=rtol)
    assert other[0].weight.dtype == (
        torch.float64 if changes.get("precision") == "float64" else torch.float32
    )
    if "channels_last" in changes:
        assert other[0].weight.is_contiguous(memory_format=torch.channels_last)
    if changes.get("precision") == "bfloat16":
        assert not np.array_equal(b.train_loss, a.train_loss)  # it did compute in less


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, on the way to its code generator
@pytest.mark.parametrize("backend", ["eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_a_compiled_network_trains_as_it_is(monkeypatch, backend):
    """Without the code generator, which takes seconds and a C++ compiler; slow: with it."""
    compiled = []

    def compile_by(model):
        compiled.append(model)
        return compiler(model, backend=backend)

    compiler = torch.compile
    monkeypatch.setattr(torch, "compile", compile_by)
    recipe = RECIPE.but(epochs=2, attack=Attack(steps=2, mode="eval"))
    plain, other = network(), network()
    a, b = train(plain, blobs(), recipe, 0.1), train(other, blobs(), recipe.but(compile=True), 0.1)
    assert compiled == [other]
    np.testing.assert_allclose(b.train_loss, a.train_loss, rtol=1e-5)
    np.testing.assert_allclose(b.test_loss, a.test_loss, rtol=1e-5)


class Own(nn.Module):
    """A network of a user's own: no Sequential, without a length."""

    def __init__(self):
        super().__init__()
        self.layers = network()

    def forward(self, x):
        return self.layers(x)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("make", [Own, lambda: Stack(network(), 2)])
def test_any_network_can_be_compiled(monkeypatch, make):
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    recipe = RECIPE.but(epochs=1)
    eps = torch.tensor([0.05, 0.1]) if make is not Own else 0.1
    runs = [train(make(), blobs(), recipe.but(compile=flag), eps) for flag in (False, True)]
    np.testing.assert_allclose(runs[1].train_loss, runs[0].train_loss, rtol=1e-5)
    np.testing.assert_allclose(runs[1].evaluated_loss, runs[0].evaluated_loss, rtol=1e-5)


def test_a_stack_of_convolutions_ignores_channels_last():
    eps, recipe = torch.tensor([0.0, 0.1]), RECIPE.but(epochs=1)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(-3), nn.Linear(4, 3)
    )
    runs = [train(Stack(model, 2), images(), recipe.but(channels_last=flag), eps) for flag in (False, True)]
    np.testing.assert_allclose(runs[1].train_loss, runs[0].train_loss, rtol=1e-5)


def test_augmentation_can_be_left_out():
    recipe = RECIPE.but(epochs=1)
    runs = [
        train(convolutional(), data, recipe.but(augment=flag))
        for data, flag in ((images(), True), (images(), False), (replace(images(), augment=None), True))
    ]
    assert runs[0].train_loss != runs[1].train_loss
    assert runs[1].train_loss == runs[2].train_loss
