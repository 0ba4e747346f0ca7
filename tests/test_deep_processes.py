"""Training on several devices: two processes train as one."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from small_runs import RECIPE, blobs, network, normed  # noqa: E402

from linphase.deep import Attack, Stack, Tracker, train  # noqa: E402

pytestmark = pytest.mark.usefixtures("torch_state")

PROCESS = """
import importlib.util, sys, warnings
import torch
from linphase.deep import distributed

sys.path.insert(0, {here!r})
torch.set_num_threads(1)
warnings.simplefilter("error", FutureWarning)
spec = importlib.util.spec_from_file_location("tests_of_processes", {file!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
device = distributed.join()
assert (device.type, distributed.world()) == ("cpu", 2)
module.distributed_runs({folder!r}, distributed.rank())
distributed.leave()
assert distributed.world() == 1
"""


def distributed_cases():
    """Name, model, ε and recipe: uneven shares, a batch of one, restarts, pairs of forwards, a stack.

    With batch norm each process has two examples at least of every batch.
    """
    plain = RECIPE.but(precision="float64", epochs=3, lr=0.3)
    last = Attack("l2", 2, restarts=2)
    return {
        "plain": (network(activation="tanh"), 0.1, plain.but(batch_size=7)),
        "trades": (network(activation="tanh"), 0.1, plain.but(batch_size=21, loss="trades", attack=last)),
        "stack": (Stack(network(activation="tanh"), 2), torch.tensor([0.0, 0.1]), plain.but(batch_size=9)),
        "clean": (network(activation="tanh"), 0.0, plain),
        "aligned": (network(activation="tanh"), 0.1, plain.but(batch_size=7, align=0.5)),
        "norm": (normed(), 0.1, plain.but(epochs=1)),
        "rest": (normed(), 0.1, plain.but(epochs=1, batch_size=7)),
    }


def distributed_runs(folder, rank):
    for name, (model, eps, recipe) in distributed_cases().items():
        if rank:
            with torch.no_grad():
                next(model.parameters()).add_(1)  # the first process's weights are everyone's
        lines = []
        history = train(model, blobs(50), recipe, eps, f"{folder}/{name}.pt", report=lines.append)
        assert bool(lines) == (rank == 0)
        torch.save(
            {"weights": model.state_dict(), "loss": history.test_loss.tolist()}, f"{folder}/{name}-{rank}"
        )
    tracker = Tracker(0.9, 0.05)
    train(network(activation="tanh"), blobs(50), RECIPE.but(precision="float64"), tracker=tracker)
    torch.save({"weights": {}, "loss": [tracker.mean, tracker.loss]}, f"{folder}/tracker-{rank}")


def test_two_processes_train_as_one(tmp_path):
    script = tmp_path / "run.py"
    script.write_text(
        PROCESS.format(file=str(__file__), here=str(Path(__file__).parent), folder=str(tmp_path))
    )
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", script]
    done = subprocess.run(
        launch,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for name, (model, eps, recipe) in distributed_cases().items():
        first, second = (torch.load(tmp_path / f"{name}-{rank}", weights_only=False) for rank in (0, 1))
        assert first["loss"] == second["loss"]
        for key, value in first["weights"].items():
            torch.testing.assert_close(value, second["weights"][key], rtol=1e-12, atol=1e-12)
        if name in ("norm", "rest"):  # their batches are those of each process
            continue
        history = train(model, blobs(50), recipe, eps)
        np.testing.assert_allclose(first["loss"], history.test_loss, rtol=1e-7)
        for key, value in model.state_dict().items():
            torch.testing.assert_close(first["weights"][key], value, rtol=1e-7, atol=1e-9)
        # What two processes wrote one can go on from, for example to read it.
        model, _, _ = distributed_cases()[name]
        np.testing.assert_allclose(
            train(model, blobs(50), recipe, eps, tmp_path / f"{name}.pt").test_loss, first["loss"]
        )
    tracker = Tracker(0.9, 0.05)
    train(network(activation="tanh"), blobs(50), RECIPE.but(precision="float64"), tracker=tracker)
    expected = [tracker.mean, tracker.loss]
    for rank in (0, 1):
        found = torch.load(tmp_path / f"tracker-{rank}", weights_only=False)["loss"]
        assert found == pytest.approx(expected, rel=1e-9)
