"""Resumption of training: the same numbers bit for bit, and refusals of what is another run."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from small_runs import RECIPE, Killed, blobs, killing, network, normed, same_history, same_weights  # noqa: E402
from torch import nn  # noqa: E402

from linphase.deep import PGD, CheckpointError, Stack, Tracker, mlp, train  # noqa: E402

FOLDER = str(Path(__file__).parent)


pytestmark = pytest.mark.usefixtures("torch_state")


@pytest.mark.parametrize("make", [network, normed])
@pytest.mark.parametrize("loss", ["cross-entropy", "trades"])
def test_resumption_at_any_epoch_is_exact(tmp_path, make, loss):
    data, recipe = blobs(), RECIPE.but(loss=loss, lr=0.5, eps_warmup=1)
    whole = make()
    expected = train(whole, data, recipe, 0.1, seed=2)
    for epoch in range(1, 6):
        path, model = tmp_path / f"{epoch}.pt", make()
        with pytest.raises(Killed):
            train(model, data, recipe, 0.1, path, seed=2, report=killing(epoch))
        model = make()
        torch.manual_seed(99)  # another process
        found = train(model, data, recipe, 0.1, path, seed=2)
        assert same_weights(model, whole)
        assert same_history(found, expected)
        again = make()  # a finished run is only read
        assert same_history(train(again, data, recipe, 0.1, path, seed=2, report=killing(5)), expected)
        assert same_weights(again, whole)


def test_best_weights_of_before_the_interruption_return(tmp_path):
    data, recipe = blobs(), RECIPE.but(epochs=8, lr=0.9)
    whole = network()
    expected = train(whole, data, recipe, 0.1)
    assert expected.best < 7
    model = network()
    with pytest.raises(Killed):
        train(model, data, recipe, 0.1, tmp_path / "a.pt", report=killing(int(expected.best) + 1))
    model = network()
    train(model, data, recipe, 0.1, tmp_path / "a.pt")
    assert same_weights(model, whole)


def test_a_network_of_another_form_is_refused(tmp_path):
    """Of the same weights, but with another activation between them."""
    for wrapped in (lambda model: model, lambda model: Stack(model, 2)):
        file = tmp_path / f"{wrapped(network()).__class__.__name__}.pt"
        eps = 0.1 if wrapped(network()).__class__ is not Stack else torch.tensor([0.0, 0.1])
        train(wrapped(network()), blobs(), RECIPE, eps, file)
        with pytest.raises(CheckpointError, match="its architecture is"):
            train(wrapped(network(activation="tanh")), blobs(), RECIPE, eps, file)


def test_a_tracker_resumes(tmp_path):
    data, recipe = blobs(), RECIPE.but(select="last")
    whole, expected = network(), Tracker(0.9, 0.05)
    train(whole, data, recipe, tracker=expected)
    with pytest.raises(Killed):
        train(
            network(),
            data,
            recipe,
            checkpoint=tmp_path / "a.pt",
            tracker=Tracker(0.9, 0.05),
            report=killing(4),
        )
    model, found = network(), Tracker(0.9, 0.05)
    train(model, data, recipe, checkpoint=tmp_path / "a.pt", tracker=found)
    assert same_weights(model, whole)
    assert (found.mean, found.loss, float(found.eps)) == (expected.mean, expected.loss, float(expected.eps))
    for other in (
        Tracker(0.8, 0.05),
        Tracker(0.9, 0.06),
        Tracker(0.9, 0.05, gain=0.1),
        Tracker(0.9, 0.05, tail=1.0),
        Tracker(0.9, 0.05, least=0.01),
        None,
    ):
        with pytest.raises(CheckpointError, match=r"its (tracker|eps) is"):
            train(network(), data, recipe, 0.05, checkpoint=tmp_path / "a.pt", tracker=other)


def test_a_stack_resumes(tmp_path):
    data, eps = blobs(), torch.tensor([0.0, 0.1])
    whole = Stack(network(), 2)
    expected = train(whole, data, RECIPE, eps)
    with pytest.raises(Killed):
        train(Stack(network(), 2), data, RECIPE, eps, tmp_path / "a.pt", report=killing(3))
    model = Stack(network(), 2)
    assert same_history(train(model, data, RECIPE, eps, tmp_path / "a.pt"), expected)
    assert same_weights(model, whole)


def test_a_kill_inside_an_epoch_leaves_the_last_whole_one(tmp_path):
    data, path = blobs(), tmp_path / "a.pt"

    class Breaks(nn.Sequential):
        steps = 0

        def forward(self, x):
            Breaks.steps += 1
            if Breaks.steps == 40:  # of 13 an epoch, after one to see that outputs fit
                raise Killed
            return super().forward(x)

    def make():
        return Breaks(network())

    with pytest.raises(Killed):
        train(make(), data, RECIPE, 0.1, path)
    assert path.is_file()
    assert len(torch.load(path, weights_only=True)["state"]["rows"]) == 2
    model, whole = make(), make()
    found = train(model, data, RECIPE, 0.1, path)
    assert same_history(found, train(whole, data, RECIPE, 0.1))
    assert same_weights(model, whole)


def test_a_killed_process_resumes(tmp_path):
    """SIGKILL at a moment of its own choosing, twice."""
    path, script = tmp_path / "a.pt", tmp_path / "run.py"
    script.write_text(
        f"""
import sys, torch
sys.path.insert(0, {FOLDER!r})
from linphase.deep import train
from small_runs import RECIPE, blobs, network
torch.set_num_threads(1)
train(network(), blobs(), RECIPE.but(epochs=100_000), 0.1, {str(path)!r}, report=print)
"""
    )
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-u", script], stdout=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        for _ in range(7):
            assert process.stdout.readline().startswith(b"epoch")
        process.send_signal(signal.SIGKILL)
        process.communicate()
        rows = torch.load(path, weights_only=True)["state"]["rows"]
        assert len(rows) >= 7
    assert len(rows) >= 14
    history = train(network(), blobs(), RECIPE.but(epochs=len(rows)), 0.1)
    assert history.train_loss[:2].tolist() == rows[:2, 1].tolist()  # before the rates part


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"model": mlp((5, 9, 3))}, "model"),
        ({"model": mlp((5, 8, 3), "tanh")}, "architecture"),
        ({"model": network(1)}, "start"),
        ({"recipe": RECIPE.but(lr=0.1)}, "recipe"),
        ({"recipe": RECIPE.but(attack=PGD)}, "recipe"),
        ({"eps": 0.2}, "eps"),
        ({"seed": 1}, "seed"),
        ({"data": blobs(51)}, "data"),
        ({"data": replace(blobs(), y=blobs().y.roll(1))}, "data"),  # the same sums
        ({"data": replace(blobs(), y_test=blobs().y_test.roll(1))}, "data"),
        ({"data": replace(blobs(), bounds=(-1.0, 1.0))}, "data"),
        ({"data": replace(blobs(), name="drops")}, "data"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(tmp_path, changes, what):
    run = {"data": blobs(), "recipe": RECIPE, "eps": 0.1, "seed": 0, "checkpoint": tmp_path / "a.pt"}
    train(network(), **run)
    before = (tmp_path / "a.pt").read_bytes()
    run = {"model": network()} | run | changes
    with pytest.raises(CheckpointError, match=rf"a\.pt is of another run: its {what} is .*, here it is "):
        train(**run)
    assert (tmp_path / "a.pt").read_bytes() == before


def test_what_a_kill_left_beside_the_checkpoint_is_swept(tmp_path):
    for name in ("a.pt1x.part", "b.pt1x.part"):
        (tmp_path / name).write_bytes(b"half")
    train(network(), blobs(), RECIPE.but(epochs=1), 0.1, tmp_path / "a.pt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pt", "b.pt1x.part"]


def test_another_start_is_another_run(tmp_path):
    train(network(0), blobs(), RECIPE, 0.1, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="its start is"):
        train(network(1), blobs(), RECIPE, 0.1, tmp_path / "a.pt")


class Malicious:
    def __reduce__(self):
        return os.system, ("echo caught > caught",)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "text", "list", "malicious"])
def test_a_damaged_checkpoint_is_refused(tmp_path, monkeypatch, damage):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.pt"
    train(network(), blobs(), RECIPE, 0.1, path)
    content = path.read_bytes()
    if damage == "list":
        torch.save([1, 2], path)
    elif damage == "malicious":
        torch.save({"identity": {}, "threads": 1, "state": Malicious()}, path)
    else:
        middle = len(content) // 2
        path.write_bytes(
            {
                "truncated": content[:middle],
                "flipped": content[:60] + b"?" * 60 + content[120:],
                "empty": b"",
                "text": b"hello",
            }[damage]
        )
    with pytest.raises(CheckpointError, match=r"checkpoint .*a\.pt cannot be read: \w+"):
        train(network(), blobs(), RECIPE, 0.1, path)
    assert not (tmp_path / "caught").exists()


def test_another_number_of_threads_is_said(tmp_path):
    path = tmp_path / "a.pt"
    with pytest.raises(Killed):
        train(network(), blobs(), RECIPE, 0.1, path, report=killing(2))
    torch.set_num_threads(2)
    with pytest.warns(
        RuntimeWarning, match="was written with 1 threads, here are 2: the last digits may differ"
    ):
        train(network(), blobs(), RECIPE, 0.1, path)
