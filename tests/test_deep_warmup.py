"""Why the recipe of MNIST lets ε rise: from the first update at full strength, nothing is learned."""

import math
import os
from functools import partial

import pytest

torch = pytest.importorskip("torch")

from linphase.deep import Attack, Recipe, load, mnist_cnn, train  # noqa: E402
from linphase.deep.search import build  # noqa: E402

pytestmark = [pytest.mark.data, pytest.mark.slow, pytest.mark.usefixtures("torch_state")]


@pytest.mark.parametrize("seed", [0, 1])
def test_training_on_mnist_needs_a_warm_up(seed):
    """At 60/255 with 10,000 images and ten epochs: else the loss stays that of chance, log 10."""
    folder = os.environ.get("LINPHASE_DATA")
    if not folder:
        pytest.skip("LINPHASE_DATA must name the folder of the official files")
    data = load("mnist", folder).subset(10_000, seed)
    recipe = Recipe(10, attack=Attack(steps=10), judged_examples=500)
    losses = []
    for epochs in (0, 3):
        model = build(partial(mnist_cnn, mean=data.mean, std=data.std), seed)
        history = train(model, data, recipe.but(eps_warmup=epochs), 60 / 255, seed=seed)
        losses.append(history.train_loss[-1])
    assert losses[0] > 0.99 * math.log(10)
    assert losses[1] < 0.5
