"""On a GPU: recorded steps give the numbers of plain ones, the GPU those of the CPU, and a search ends."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from small_runs import Killed, blobs, convolutional, killing, network, normed  # noqa: E402

from linphase.deep import Attack, Data, Recipe, Stack, critical_strength, train, training  # noqa: E402
from linphase.deep.graphs import Replayed  # noqa: E402
from linphase.deep.models import model  # noqa: E402
from linphase.deep.search import build  # noqa: E402
from linphase.deep.tracking import Tracker  # noqa: E402

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("exact_arithmetic")]

RECIPE = Recipe(epochs=3, batch_size=16, lr=0.1, attack=Attack(steps=3, mode="eval"))


@pytest.fixture
def exact_arithmetic(torch_state):
    """Float32 throughout, by the same algorithms each time."""
    with torch.backends.cudnn.flags(allow_tf32=False, deterministic=True, benchmark=False):
        yield


def images(n=72):
    """The last batch of 16 has 8."""
    g = torch.Generator().manual_seed(0)
    x, y = torch.rand(n, 3, 8, 8, generator=g), torch.randint(3, (n,), generator=g)
    return Data("images", x, y, x[:20], y[:20], classes=3, augment="crop-flip").to("cuda")


def assert_close(a, b, rtol):
    for name in ("train_loss", "train_accuracy", "test_loss", "clean_test_loss", "evaluated_loss"):
        np.testing.assert_allclose(getattr(b, name), getattr(a, name), rtol=rtol, err_msg=name)


@pytest.mark.parametrize("eps", [0.0, 0.05])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"loss": "trades"},
        {"loss": "mart"},
        {"align": 0.2},
        {"attack": Attack("l2", steps=2, restarts=2)},
        {"channels_last": True, "eps_warmup": 1},
        {"batch_size": 71},  # one example is left, and joins them
    ],
)
def test_recorded_steps_give_the_numbers_of_plain_ones(eps, changes):
    recipe = RECIPE.but(**changes)
    runs = [train(convolutional(), images(), recipe.but(cuda_graphs=flag), eps) for flag in (False, True)]
    assert_close(*runs, rtol=1e-5)


def test_recorded_steps_follow_the_crossing():
    trackers = [Tracker(1.0, 0.02, gain=0.1), Tracker(1.0, 0.02, gain=0.1)]
    runs = [
        train(convolutional(), images(), RECIPE.but(cuda_graphs=flag), tracker=tracker)
        for flag, tracker in zip((False, True), trackers, strict=True)
    ]
    assert_close(*runs, rtol=1e-5)
    assert trackers[0].mean != 0.02
    np.testing.assert_allclose(trackers[1].mean, trackers[0].mean, rtol=1e-5)


def test_dropout_draws_anew_at_every_replay():
    recipe, data = RECIPE.but(epochs=4, batch_size=10), blobs().to("cuda")
    runs = [train(normed(), data, recipe.but(cuda_graphs=flag), 0.05) for flag in (False, True)]
    assert_close(*runs, rtol=1e-5)


def test_a_stack_is_recorded_as_well():
    eps, data = torch.tensor([0.0, 0.1]), blobs().to("cuda")
    runs = [
        train(Stack(network(), 2), data, RECIPE.but(cuda_graphs=flag, batch_size=20), eps)
        for flag in (False, True)
    ]
    assert_close(*runs, rtol=1e-5)


def test_a_recording_is_replayed_and_other_shapes_are_not():
    calls = []

    def work(x, factor):
        calls.append(factor)
        return (factor * x,)

    replayed = Replayed(work)
    x = torch.ones(3, device="cuda")
    for k in range(5):
        assert replayed(k * x, 2)[0].tolist() == [2 * k] * 3
    assert calls == [2, 2]
    assert replayed(x[:2], 2)[0].tolist() == [2, 2]
    assert replayed(x, 3)[0].tolist() == [3, 3, 3]
    assert calls == [2, 2, 2, 3]


@pytest.mark.parametrize(("flag", "calls"), [(True, 2 + 3), (False, 3 * 3)])
def test_training_replays_all_but_the_last_batch_of_an_epoch(monkeypatch, flag, calls):
    """Three epochs of 20, 20 and 10 examples: the first batch runs as it is, the second is recorded."""
    seen, step = [], training._Run._gradients
    monkeypatch.setattr(
        training._Run, "_gradients", lambda run, *batch: seen.append(run) or step(run, *batch)
    )
    train(network(), blobs().to("cuda"), RECIPE.but(epochs=3, batch_size=20, cuda_graphs=flag), 0.05)
    assert len(seen) == calls


def test_the_gpu_gives_the_numbers_of_the_cpu():
    recipe = RECIPE.but(attack=replace(RECIPE.attack, random_start=False))  # each device draws its own
    data = replace(images(), augment=None)
    runs = [train(convolutional(), data.to(device), recipe, 0.05) for device in ("cpu", "cuda")]
    assert_close(*runs, rtol=1e-3)


def test_a_killed_run_goes_on(tmp_path):
    recipe, path = RECIPE.but(cuda_graphs=True), tmp_path / "run.pt"
    whole = train(convolutional(), images(), recipe, 0.05)
    with pytest.raises(Killed):
        train(convolutional(), images(), recipe, 0.05, path, report=killing(2))
    assert_close(whole, train(convolutional(), images(), recipe, 0.05, path), rtol=1e-5)


@pytest.mark.parametrize("name", ["preact-resnet18", "wide-resnet34"])
def test_residual_networks_train_in_mixed_precision(name):
    g = torch.Generator().manual_seed(0)
    x, y = torch.rand(300, 3, 32, 32, generator=g), torch.randint(10, (300,), generator=g)
    data = Data("noise", x, y, x[:100], y[:100], 10, augment="crop-flip").to("cuda")
    recipe = Recipe(3, lr=0.02, attack=Attack(steps=2), precision="bfloat16", channels_last=True)
    options = {"k": 1} if name == "wide-resnet34" else {}
    runs = [
        train(build(lambda: model(name, **options), 0), data, recipe.but(cuda_graphs=flag), 1 / 255)
        for flag in (False, True)
    ]
    assert np.isfinite(runs[1].evaluated_loss)
    assert runs[1].train_loss[-1] < runs[1].train_loss[0]
    assert_close(*runs, rtol=0.1)


@pytest.mark.parametrize("method", ["scratch", "finetune", "attack-only"])
def test_a_search_ends(method):
    recipe = RECIPE.but(epochs=20, batch_size=20, lr=0.2, cuda_graphs=True)
    found = critical_strength(lambda: network(0), blobs().to("cuda"), recipe, method=method)
    assert found.lower <= found.eps_star <= found.upper
    assert np.isfinite(found.target)
