"""Batches: batch norm never sees a single example, and all others are cut as ever."""

import copy
from functools import partial

import pytest

torch = pytest.importorskip("torch")

from small_runs import RECIPE, Killed, blobs, killing, network, normed, same_history, same_weights  # noqa: E402
from torch import nn  # noqa: E402

from linphase import deep  # noqa: E402
from linphase.deep import Data, train  # noqa: E402
from linphase.deep.batches import fewest, sizes  # noqa: E402

pytestmark = pytest.mark.usefixtures("torch_state")


class Counted(nn.Module):
    """A network that notes how many examples it gets in train mode."""

    def __init__(self, model):
        super().__init__()
        self.model, self.seen = model, []

    def forward(self, x):
        if self.training:
            self.seen.append(len(x))
        return self.model(x)


def batches_of(n, size, model):
    """What a network sees in an epoch of clean training."""
    counted = Counted(model)
    train(counted, blobs(n), RECIPE.but(epochs=1, batch_size=size))
    return counted.seen


@pytest.mark.parametrize(
    ("n", "size", "least", "cut"),
    [
        (50, 20, 1, [20, 20, 10]),
        (41, 20, 1, [20, 20, 1]),
        (41, 20, 2, [20, 21]),
        (42, 20, 2, [20, 20, 2]),
        (43, 20, 4, [20, 23]),
        (40, 20, 2, [20, 20]),
        (3, 2, 2, [3]),
        (1, 2, 2, [1]),
        (7, None, 2, [7]),
        (7, 10**9, 1, [7]),
    ],
)
def test_sizes(n, size, least, cut):
    assert sizes(n, size, least) == cut


@pytest.mark.parametrize("n", range(1, 40))
def test_without_batch_norm_batches_are_those_of_torch(n):
    for size in range(1, 45):
        plain = [len(part) for part in torch.split(torch.arange(n), size)]
        assert sizes(n, size) == plain
        cut = sizes(n, size, 2)
        assert sum(cut) == n
        assert (cut == plain) or plain[-1] == 1
        assert n == 1 or size == 1 or min(cut) >= 2


def test_who_needs_two_examples():
    alone = nn.Sequential(nn.BatchNorm1d(5, track_running_stats=False))
    assert [fewest(m) for m in (network(), normed(), alone)] == [1, 2, 2]
    assert [fewest(m, "eval") for m in (network(), normed(), alone)] == [1, 1, 2]
    assert fewest(normed(), processes=3) == 6


def test_a_single_example_joins_the_batch_before_it():
    assert batches_of(41, 20, normed()) == [20, 21]
    assert batches_of(41, 20, network()) == [20, 20, 1]
    assert batches_of(42, 20, normed()) == batches_of(42, 20, network()) == [20, 20, 2]


@pytest.mark.parametrize("eps", [0.0, 0.1])
def test_training_with_batch_norm_goes_on_after_a_kill_whatever_the_rest(eps, tmp_path):
    data, path = blobs(41), tmp_path / "a.pt"
    whole, broken = normed(), normed()
    history = train(whole, data, RECIPE, eps)
    with pytest.raises(Killed):
        train(broken, data, RECIPE, eps, path, report=killing(3))
    assert same_history(train(normed(), data, RECIPE, eps, path), history)
    again = normed()
    train(again, data, RECIPE, eps, path)
    assert same_weights(again, whole)


def test_a_path_and_its_statistics_see_no_single_example():
    data, recipe = blobs(41), RECIPE.but(epochs=1)
    first, last = (train_on(data, seed) for seed in (0, 1))
    found = deep.mode_connectivity(first, last, data, recipe.but(test_batch_size=20), points=3)
    assert torch.tensor(found.loss).isfinite().all()
    seen, model = [], copy.deepcopy(first)
    deep.recompute_batch_norm(model, data.x, 20, lambda x: seen.append(len(x)) or model(x))
    assert seen[-2:] == [20, 21]  # after the two that are tried
    deep.recompute_batch_norm(first, data.x, 20)
    assert same_weights(first, model)


def train_on(data, seed):
    model = normed(seed)
    train(model, data, RECIPE.but(epochs=1))
    return model


def test_overfitting_is_found_with_batch_norm_whatever_the_rest():
    found = deep.catastrophic_overfitting(normed, blobs(41), RECIPE.but(epochs=1), (0.1,), judged_examples=20)
    assert found.accuracy.shape == (1, 1)


def test_scores_with_batch_norm_without_statistics_see_no_single_example():
    model = nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3, track_running_stats=False))
    data = blobs(41)
    assert deep.evaluate(model, data.x, data.y, batch_size=20).loss.isfinite()


def test_too_few_examples_for_batch_norm_have_their_sentence():
    one, data, model = blobs(1), blobs(41), normed()
    few = r"x must have at least 2 examples, got 1"
    small = "must be at least 2 for a network with batch norm, got 1"
    cases = [
        (partial(train, model, one, RECIPE), few),
        (partial(train, model, data, RECIPE.but(batch_size=1)), f"recipe.batch_size {small}"),
        (partial(deep.fgm, model, data.x[:1], data.y[:1], 0.1), few),
        (partial(deep.recompute_batch_norm, model, data.x[:1]), "x must have at least 2 examples"),
        (partial(deep.recompute_batch_norm, model, data.x, 1), f"batch_size {small}"),
        (partial(deep.mode_connectivity, model, normed(1), one, RECIPE), few),
        (partial(deep.mode_connectivity, model, normed(1), data, RECIPE.but(batch_size=1)),
         f"recipe.batch_size {small}"),
    ]  # fmt: skip
    before = copy.deepcopy(model.state_dict())
    for call, sentence in cases:
        with pytest.raises(ValueError, match=sentence):
            call()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    train(model, Data("two", data.x[:2], data.y[:2], data.x[:1], data.y[:1], classes=3), RECIPE.but(epochs=1))
    deep.fgm(model, data.x[:1], data.y[:1], 0.1, mode="eval")
