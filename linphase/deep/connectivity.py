"""Mode connectivity: a path of low loss between two trained networks (Garipov et al., NeurIPS 2018)."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from linphase.checks import check_callable, check_count, check_kind
from linphase.deep import checkpoints
from linphase.deep.attacks import Forward
from linphase.deep.augment import augment
from linphase.deep.batches import fewest, sizes
from linphase.deep.checks import check_file, check_seed, check_strength
from linphase.deep.curve import Curve
from linphase.deep.data import Data
from linphase.deep.evaluate import generator_on
from linphase.deep.fit import check_batch_size, check_trainable
from linphase.deep.recipe import Recipe
from linphase.deep.surface import Surface, batch_norms, check_alike, under_precision
from linphase.deep.training import DivergenceError
from linphase.streams import stream

MOST_POINTS = 10**4


@dataclass(frozen=True)
class Connection:
    """A trained path and the losses on it.

    Attributes
    ----------
    curve : Curve
        Gives the network at any t, and the bends.
    t : array (k,)
        Points, from 0 to 1.
    loss, accuracy, test_loss, test_accuracy : arrays (k,)
        At these points of the path, on the training and on the test set, attacked if ``eps`` is positive;
        in eval mode, without augmentation, batch-norm statistics recomputed at each.
    line : array (k,)
        Training loss at the same points of the straight line.
    curve_loss : array (epochs,)
        Running mean over each epoch at random points of the path.
    eps : float
        Strength at which the path was trained and is scored.
    seconds : float
        Wall time of the path's training.
    passes : float
        Of that training and of the scores, forward and backward over the training data.
    """

    curve: Curve
    t: NDArray[np.float64]
    loss: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    test_loss: NDArray[np.float64]
    test_accuracy: NDArray[np.float64]
    line: NDArray[np.float64]
    curve_loss: NDArray[np.float64]
    eps: float
    seconds: float
    passes: float

    @property
    def barrier(self) -> float:
        """Highest training loss on the path less the mean of its ends'."""
        return float(self.loss.max() - (self.loss[0] + self.loss[-1]) / 2)

    @property
    def excess(self) -> float:
        """Highest training loss on the path less the higher of its ends': 0 if none lies above them."""
        return float(self.loss.max() - max(self.loss[0], self.loss[-1]))


def mode_connectivity(
    first: nn.Module,
    last: nn.Module,
    data: Data,
    recipe: Recipe,
    *,
    kind: str = "bezier",
    bends: int = 1,
    eps: float = 0.0,
    points: int = 61,
    examples: int | None = None,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    report: Callable[[str], None] | None = None,
) -> Connection:
    """Train a path between two networks and score it.

    Each minibatch is taken at a point w(t) of its own, t uniform on (0, 1); the ends stay fixed, and the
    weight penalty is that of the point, not of the bends.

    Parameters
    ----------
    first, last : Module
        Trained networks of one architecture; they are not changed.
    data, recipe : Data, Recipe
        What to train the path on, and how. Of the recipe, ``attack`` serves where ``eps`` is positive; the
        forward is not compiled, and the last weights are kept.
    kind : {"bezier", "chain"}
    bends : int
        Free points of the path, at least one. See `Curve`.
    eps : float
        Train and score the path under attack of this strength; 0 is the clean loss.
    points : int
        Where the path is scored, ends included.
    examples : int, optional
        Score, and recompute batch norm, on the first so many examples only.
    seed : int
        Of order, augmentation, random starts and t.
    checkpoint : path, optional
        File of the full state, written after every epoch; training goes on from it to the same numbers, bit
        for bit on a CPU at the same number of threads.
    report : callable, optional
        Gets a line after each epoch.

    Raises
    ------
    ValueError, TypeError
        For bad input.
    DivergenceError
        If the loss is not finite.
    CheckpointError
        If the checkpoint is of another run.
    """
    check_alike(first=first, last=last)
    check_trainable("first", first)
    check_kind("data", data, Data, "a Data")
    check_kind("recipe", recipe, Recipe, "a Recipe")
    bends, points = check_count("bends", bends), check_count("points", points, 3, MOST_POINTS)
    eps, seed, path = (
        check_strength("eps", eps),
        check_seed("seed", seed),
        check_file("checkpoint", checkpoint),
    )
    if report is not None:
        check_callable("report", report)
    if recipe.batch_size is not None:
        check_batch_size("recipe.batch_size", recipe.batch_size, fewest(first))
    if eps and recipe.attack.mode != "train" and any(True for _ in batch_norms(first)):
        raise ValueError(
            "recipe.attack.mode must be train where networks have batch norm, as the statistics kept in the "
            f"training of a path are of no point on it, got {recipe.attack.mode!r}"
        )
    device = data.x.device
    first, last = (copy.deepcopy(network).to(device, recipe.dtype) for network in (first, last))
    surface = Surface(first, data, recipe, eps, examples, seed)
    run = _Run(Curve(first, last, kind, bends), data, recipe, eps, seed)
    if path is not None:
        checkpoints.resume(path, run.identity, device, run.restore)
    for epoch in range(len(run.rows), recipe.epochs):
        start = time.perf_counter()
        run.epoch(epoch)
        run.seconds += time.perf_counter() - start
        if path is not None:
            checkpoints.save(path, run.identity, run.state())
        if report is not None:
            report(f"path, epoch {epoch + 1}/{recipe.epochs}  loss {run.rows[-1]:.4f}  {run.seconds:.0f} s")

    t, line = np.linspace(0, 1, points), Curve(first, last, bends=0)
    scores = [surface.at(run.curve.weights(float(s))) for s in t]
    share = len(surface.train_set[0]) / data.n
    return Connection(
        run.curve,
        t,
        loss=np.array([losses.train_loss for losses in scores]),
        accuracy=np.array([losses.train_accuracy for losses in scores]),
        test_loss=np.array([losses.test_loss for losses in scores]),
        test_accuracy=np.array([losses.test_accuracy for losses in scores]),
        line=np.array([surface.at(line.weights(float(s))).train_loss for s in t]),
        curve_loss=np.array(run.rows),
        eps=float(eps),
        seconds=run.seconds,
        passes=run.passes + 2 * points * share * surface.passes,
    )


class _Run:
    """Training of a path between its epochs."""

    def __init__(self, curve: Curve, data: Data, recipe: Recipe, eps: float, seed: int) -> None:
        self.curve, self.recipe, self.eps, self.seed = curve, recipe, float(eps), seed
        self.data = data.to(data.x.device, recipe.dtype, channels_last=recipe.channels_last)
        self.optimiser = torch.optim.SGD(curve.parameters(), recipe.lr, momentum=recipe.momentum)
        self.rows: list[float] = []
        self.seconds, self.passes = 0.0, 0.0
        self.identity = {
            "path": f"{curve.kind}, {curve.count - 2} bends, ends {checkpoints.fingerprint(curve.buffers())}",
            "recipe": repr(recipe),
            "eps": str(self.eps),
            "seed": str(seed),
            "data": f"{data} {checkpoints.fingerprint((data.x, data.y))}",
        }

    def epoch(self, epoch: int) -> None:
        """One pass over the training data."""
        recipe, data, device = self.recipe, self.data, self.data.x.device
        order = torch.from_numpy(stream(self.seed, "path-order", epoch).permutation(data.n)).to(device)
        batches = torch.split(order, sizes(data.n, recipe.batch_size, fewest(self.curve.form)))
        places = stream(self.seed, "path-places", epoch).random(len(batches))
        generator = generator_on(device, self.seed, "path-draws", epoch)
        for group in self.optimiser.param_groups:
            group["lr"] = recipe.rate(epoch)
        total = torch.zeros((), dtype=torch.float64, device=device)
        self.curve.train()
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(int(stream(self.seed, "path-dropout", epoch).integers(2**63)))
            for t, batch in zip(places.tolist(), batches, strict=True):
                x = augment(data.x[batch], data.augment if recipe.augment else None, generator)
                total += len(batch) * self._step(t, x, data.y[batch], generator)
        loss = float(total) / data.n
        if not np.isfinite(loss):
            raise DivergenceError(f"training of the path diverged in epoch {epoch + 1}: loss {loss}")
        self.rows.append(loss)
        attack = recipe.attack
        self.passes += 1 + (attack.steps * attack.restarts if self.eps else 0)

    def _step(self, t: float, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        recipe, curve, judge = self.recipe, self.curve, self.recipe.judge
        weights = curve.weights(t)
        forward: Forward = under_precision(lambda z: curve.call(weights, z), recipe, x.device)
        if self.eps:
            fixed = {name: value.detach() for name, value in weights.items()}
            attacked = under_precision(lambda z: curve.call(fixed, z), recipe, x.device)
            bounds = self.data.bounds
            x = recipe.attack.run(curve.form, x, y, self.eps, judge, bounds, generator, attacked)
        loss = judge.judge(forward(x), y).mean()
        squares = torch.stack([value.square().sum() for value in weights.values()]).sum()
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss + recipe.weight_decay / 2 * squares)
        self.optimiser.step()
        return loss.detach().double()

    def state(self) -> dict[str, Any]:
        """All that going on needs."""
        return {
            "curve": self.curve.state_dict(),
            "momenta": checkpoints.momenta(self.optimiser),
            "rows": list(self.rows),
            "seconds": self.seconds,
            "passes": self.passes,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state, if it has the form of a state of this run."""
        rows = list(state["rows"])
        if not 1 <= len(rows) <= self.recipe.epochs:
            raise ValueError(f"its {len(rows)} epochs are not of this run")
        checkpoints.check_form(state, {**self.state(), "rows": [0.0] * len(rows)})
        self.curve.load_state_dict(state["curve"])
        checkpoints.set_momenta(self.optimiser, state["momenta"])
        self.rows, self.seconds, self.passes = rows, state["seconds"], state["passes"]
