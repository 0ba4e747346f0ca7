"""Resumption of training: the same numbers bit for bit, and refusals of what is another run."""

import io
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

from linphase.deep import PGD, CheckpointError, Stack, Tracker, loss_plane, mlp, mode_connectivity, train  # noqa: E402
from linphase.study import files  # noqa: E402

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
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    gone, live = (f".{files.HERE}-{number}-abcdefgh.part" for number in (process.pid, os.getpid()))
    for name in (f"a.pt{gone}", f"b.pt{gone}", f"b.pt{live}", "own.part"):
        (tmp_path / name).write_bytes(b"half")
    train(network(), blobs(), RECIPE.but(epochs=1), 0.1, tmp_path / "a.pt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pt", f"b.pt{live}", "own.part"]


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


# ------------------------------------------------------------------------------ damaged and forged states


def trained(path):
    return train(network(), blobs(), RECIPE.but(epochs=2), 0.1, path)


def test_every_flipped_bit_of_a_checkpoint_is_refused(tmp_path):
    path = tmp_path / "a.pt"
    trained(path)
    whole = path.read_bytes()
    for bit in range(0, 8 * len(whole), 8 * len(whole) // 300):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(
            CheckpointError, match=r"a\.pt cannot be read: its checksum is wrong or missing; del"
        ):
            trained(path)
    path.unlink()  # the remedy
    trained(path)


def forge(path, change):
    """Change a checkpoint's content under a right checksum."""
    content = torch.load(io.BytesIO(files.unseal(path.read_bytes())), weights_only=True)
    change(content)
    packed = io.BytesIO()
    torch.save(content, packed)
    path.write_bytes(files.seal(packed.getvalue()))


def put(*keys, value):
    """Return the change that puts a value, or what a function makes of the present one, at a place."""

    def change(content):
        *above, last = keys
        for key in above:
            content = content[key]
        content[last] = value(content[last]) if callable(value) else value

    return change


def cut(*keys):
    def change(content):
        *above, last = keys
        for key in above:
            content = content[key]
        del content[last]

    return change


KEYS = ("model", "momenta", "rows", "best", "weights", "seconds", "passes", "tracker")
FORGERIES = {
    **{f"without {key}": cut("state", key) for key in KEYS},
    **{f"{key} is a list": put("state", key, value=[1, 2]) for key in KEYS},
    **{f"{key} is nothing": put("state", key, value=None) for key in KEYS},
    "no state": put("state", value={}),
    "a list for a state": put("state", value=[1]),
    "without threads": cut("threads"),
    "without identity": cut("identity"),
    "a list for an identity": put("identity", value=[1, 2]),
    "another key": put("state", "more", value=1),
    "a weight less": cut("state", "model", "1.weight"),
    "a best weight less": cut("state", "weights", "1.weight"),
    "a weight of another shape": put("state", "model", "1.weight", value=torch.zeros(2, 2)),
    "a best weight of another shape": put("state", "weights", "1.weight", value=torch.zeros(8)),
    "a weight of another type": put("state", "model", "1.weight", value=lambda w: w.double()),
    "a weight that is a number": put("state", "model", "1.weight", value=1.0),
    "a momentum less": put("state", "momenta", value=lambda m: m[1:]),
    "a momentum of another shape": put("state", "momenta", 0, value=torch.zeros(3)),
    "no rows": put("state", "rows", value=lambda rows: rows[:0]),
    "rows without columns": put("state", "rows", value=lambda rows: rows[:, :0]),
    "a column less": put("state", "rows", value=lambda rows: rows[:, 1:]),
    "too many epochs": put("state", "rows", value=lambda rows: rows.repeat(3, 1)),
    "rows of text": put("state", "rows", value=["a", "b"]),
    "best beyond the end": put("state", "best", value=torch.tensor(2)),
    "best before the start": put("state", "best", value=torch.tensor(-2)),
    "best of a stack": put("state", "best", value=torch.tensor([1, 1])),
    "best between epochs": put("state", "best", value=torch.tensor(0.5)),
}


def refused(path, run):
    """See that a run refuses a checkpoint in one sentence, and that the remedy works."""
    sentence = r"^checkpoint [^\n]*a\.pt cannot be read: [^\n]+; delete it, and the run begins anew$"
    with pytest.raises(CheckpointError, match=sentence):
        run()
    path.unlink()
    run()


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_checkpoint_is_refused(tmp_path, name):
    path, model = tmp_path / "a.pt", network()
    trained(path)
    forge(path, FORGERIES[name])
    refused(path, lambda: train(model, blobs(), RECIPE.but(epochs=2), 0.1, path))
    whole = network()
    train(whole, blobs(), RECIPE.but(epochs=2), 0.1)
    assert same_weights(model, whole)  # nothing of the forged state had got into it


@pytest.mark.parametrize("value", [{}, [], None, {"eps": torch.tensor(1.0)}, {"eps": 1.0, "sums": 2.0}])
def test_a_forged_tracker_is_refused(tmp_path, value):
    path = tmp_path / "a.pt"

    def run():
        recipe = RECIPE.but(epochs=2, select="last")
        train(network(), blobs(), recipe, checkpoint=path, tracker=Tracker(0.9, 0.05))

    run()
    forge(path, put("state", "tracker", value=value))
    refused(path, run)


@pytest.mark.parametrize(
    "change",
    [
        put("state", "rows", value=[]),
        put("state", "rows", value=[1.0] * 9),
        put("state", "rows", value=["a", "b"]),
        put("state", "rows", value=3.0),
        put("state", "momenta", value=[]),
        put("state", "curve", "bends.0", value=torch.zeros(1)),
        cut("state", "curve", "bends.1"),
        cut("state", "curve"),
        cut("state", "seconds"),
    ],
)
def test_a_forged_path_is_refused(tmp_path, change):
    path = tmp_path / "a.pt"

    def run():
        mode_connectivity(network(0), network(1), blobs(), RECIPE.but(epochs=2), points=3, checkpoint=path)

    run()
    forge(path, change)
    refused(path, run)


@pytest.mark.parametrize(
    "change",
    [
        put("state", "rows", value=lambda rows: rows * 2),
        put("state", "rows", value=lambda rows: [row[:2] for row in rows]),
        put("state", "rows", value=lambda rows: [[cell[:3] for cell in row] for row in rows]),
        put("state", "rows", 0, 0, value=["a"] * 4),
        put("state", "rows", value=3.0),
        cut("state", "rows"),
    ],
)
def test_a_forged_plane_is_refused(tmp_path, change):
    path = tmp_path / "a.pt"

    def run():
        loss_plane(network(0), network(1), network(2), blobs(), RECIPE, grid=3, checkpoint=path)

    run()
    forge(path, change)
    refused(path, run)


def test_nothing_in_a_checkpoint_is_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.pt"
    trained(path)
    forge(path, put("state", "seconds", value=Malicious()))
    refused(path, lambda: trained(path))
    assert not (tmp_path / "caught").exists()


def test_what_stands_in_the_way_of_a_checkpoint_is_said_before_training(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "a.pt").mkdir()
    with pytest.raises(ValueError, match=r"checkpoint must lie in a folder, got .* in the file 'file'"):
        train(network(), blobs(), RECIPE, 0.1, tmp_path / "file" / "a.pt", report=killing(1))
    with pytest.raises(ValueError, match="checkpoint must be a file's path, got the folder"):
        train(network(), blobs(), RECIPE, 0.1, tmp_path / "a.pt", report=killing(1))
