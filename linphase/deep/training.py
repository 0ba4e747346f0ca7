"""Adversarial training of a network, or of a stack of them, epoch by epoch."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from linphase.deep import checkpoints
from linphase.deep.attacks import Forward
from linphase.deep.augment import augment
from linphase.deep.checks import check_eps
from linphase.deep.data import Data
from linphase.deep.evaluate import Score, evaluate, generator_on, hits, spread
from linphase.deep.recipe import Recipe
from linphase.deep.stack import leading
from linphase.deep.tracking import Tracker
from linphase.streams import stream

COLUMNS = (
    "lr", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "clean_test_loss",
    "clean_test_accuracy",
)  # fmt: skip


class DivergenceError(ArithmeticError):
    """Training met a loss that is not finite; the last good checkpoint stays."""


@dataclass(frozen=True)
class History:
    """Record of a run; arrays (E, S) for a stack of S networks, (E,) for one.

    Attributes
    ----------
    eps : array () or (S,)
        Training strength.
    lr, train_loss, train_accuracy : arrays
        Rate; running means over the epoch under the training attack, in train mode, of the plain loss on the
        inputs that training saw: what the paper's tables call training loss.
    test_loss, test_accuracy, clean_test_loss, clean_test_accuracy : arrays
        After the epoch, in eval mode, under the judging attack of strength ``eps`` (on as many examples as
        the recipe says) and without one; NaN if the recipe does not monitor.
    best : array () or (S,) of int
        Epoch whose weights the model has, by the recipe's ``select``.
    evaluated_loss : array () or (S,)
        Training loss of these weights, evaluated again in eval mode under the judging attack, without
        augmentation; NaN if the recipe does not monitor.
    seconds : float
        Wall time, of all parts if the run was interrupted.
    passes : float
        Passes forward and backward over the training data's number of examples, for one network: an attack
        of k steps and the update are k + 1.
    """

    eps: NDArray[np.float64]
    lr: NDArray[np.float64]
    train_loss: NDArray[np.float64]
    train_accuracy: NDArray[np.float64]
    test_loss: NDArray[np.float64]
    test_accuracy: NDArray[np.float64]
    clean_test_loss: NDArray[np.float64]
    clean_test_accuracy: NDArray[np.float64]
    best: NDArray[np.int64]
    evaluated_loss: NDArray[np.float64]
    seconds: float
    passes: float

    def at_best(self, name: str) -> NDArray[np.float64]:
        """Return a column at the best epoch, shape () or (S,)."""
        column: NDArray[np.float64] = getattr(self, name)
        return np.take_along_axis(column, self.best[None], 0)[0] if column.ndim > 1 else column[self.best]

    def member(self, index: int) -> History:
        """Return the history of one network of a stack."""
        arrays = ((name, value) for name, value in vars(self).items() if isinstance(value, np.ndarray))
        own: dict[str, Any] = {name: value[..., index] for name, value in arrays}
        return replace(self, **own)


def train(
    model: nn.Module,
    data: Data,
    recipe: Recipe,
    eps: float | Tensor = 0.0,
    checkpoint: str | Path | None = None,
    seed: int = 0,
    report: Callable[[str], None] | None = None,
    tracker: Tracker | None = None,
) -> History:
    """Train a model in place and return its history; it ends with the weights that the recipe selects.

    Parameters
    ----------
    model : Module or Stack
        On the device of the data. A trained one is trained further: that is fine-tuning.
    data : Data
        Training and test tensors.
    recipe : Recipe
        Settings.
    eps : float or tensor (S,)
        Attack strength, in units of the input; 0 is clean training.
    checkpoint : path, optional
        File of the full state, written after every epoch. If it exists, training goes on from it, to the
        same numbers as without the interruption, bit for bit on a CPU at the same number of threads.
    seed : int
        Of order, augmentation and random starts; not of the initialisation, which is the caller's.
    report : callable, optional
        Gets a line after each epoch.
    tracker : Tracker, optional
        Sets ε at every step in place of ``eps``, for one network.

    Raises
    ------
    DivergenceError
        If a loss is not finite.
    CheckpointError
        If the checkpoint is of another model, recipe, strength, seed or data set.
    """
    check_eps(eps)
    run = _Run(model, data, recipe, eps if tracker is None else tracker.eps, seed, tracker)
    path = None if checkpoint is None else Path(checkpoint)
    if path is not None and (state := checkpoints.load(path, run.identity, run.x.device)) is not None:
        run.restore(state)
    for epoch in range(run.done, recipe.epochs):
        start = time.perf_counter()
        run.epoch(epoch)
        run.seconds += time.perf_counter() - start
        if path is not None:
            checkpoints.save(path, run.identity, run.state())
        if report is not None:
            report(run.line())
    return run.finish()


def to_stderr(line: str) -> None:
    """A report for terminals and logs."""
    print(line, file=sys.stderr, flush=True)


class _Run:
    """One training run between its epochs."""

    def __init__(
        self,
        model: nn.Module,
        data: Data,
        recipe: Recipe,
        eps: float | Tensor,
        seed: int,
        tracker: Tracker | None,
    ) -> None:
        device = data.x.device
        model.to(device=device, dtype=recipe.dtype)
        if recipe.channels_last and data.x.ndim == 4:
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        data = data.to(device, recipe.dtype, channels_last=recipe.channels_last)
        self.model, self.data, self.recipe, self.seed, self.tracker = model, data, recipe, seed, tracker
        self.x, self.y = data.x, data.y
        self.axes = leading(model)
        self.eps = torch.as_tensor(eps, dtype=recipe.dtype, device=device)
        if self.eps.shape not in (torch.Size(), self.axes):
            raise ValueError(
                f"eps must be a number or have shape {tuple(self.axes)}, got {tuple(self.eps.shape)}"
            )
        self.attacked = bool(self.eps.any())
        self.forward = _forward(model, recipe, device)
        self.optimiser = torch.optim.SGD(
            model.parameters(), recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay
        )
        self.rows: list[Tensor] = []  # an epoch a row: (columns, *axes)
        self.best = torch.full(self.axes, -1, dtype=torch.int64, device=device)
        self.weights = {name: value.clone() for name, value in model.state_dict().items()}
        self.seconds, self.passes = 0.0, 0.0
        shapes = {name: tuple(value.shape) for name, value in self.weights.items()}
        sums = [float(self.x.double().sum()), float(self.y.double().sum())]
        # What a checkpoint must share with the run that goes on from it.
        self.identity = {
            "model": f"{type(model).__name__} {shapes}",
            "recipe": repr(recipe),
            "eps": str(self.eps.tolist()),
            "seed": str(seed),
            "data": f"{data.name} {tuple(self.x.shape)} {sums}",
        }

    @property
    def done(self) -> int:
        """Epochs behind."""
        return len(self.rows)

    def epoch(self, epoch: int) -> None:
        """One pass over the training data, and the scores after it."""
        rate = self.recipe.rate(epoch)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        eps = self.recipe.strength(self.eps, epoch) if self.tracker is None else self.tracker.eps
        loss, accuracy = self._pass(epoch, eps)
        unknown = Score(torch.full_like(loss, torch.nan), torch.full_like(loss, torch.nan))
        judged = clean = unknown
        if self.recipe.monitor:
            clean = self._score(self.data.x_test, self.data.y_test, attacked=False)
            few = slice(self.recipe.judged_examples)
            judged = clean
            if self.attacked:
                judged = self._score(self.data.x_test[few], self.data.y_test[few])
        lr = torch.full_like(loss, rate)
        row = torch.stack((lr, loss, accuracy, judged.loss, judged.accuracy, clean.loss, clean.accuracy))
        if not (loss.isfinite().all() and (judged is unknown or row[[3, 5]].isfinite().all())):
            raise DivergenceError(
                f"training diverged in epoch {epoch + 1} at eps = {self.eps.tolist()}: "
                f"training loss {loss.tolist()}, test loss {judged.loss.tolist()}"
            )
        self.rows.append(row)
        if self.recipe.select == "last":
            better = torch.ones(self.axes, dtype=torch.bool, device=row.device)
        else:
            tests = torch.stack(self.rows)[:, 3]
            better = tests.argmin(0) == epoch
        self.best = torch.where(better, epoch, self.best)
        for name, value in self.model.state_dict().items():
            chosen = better.reshape(better.shape + (1,) * (value.ndim - better.ndim)) if self.axes else better
            self.weights[name] = torch.where(chosen, value, self.weights[name])

    def _pass(self, epoch: int, eps: Any) -> tuple[Tensor, Tensor]:
        recipe, loss, data = self.recipe, self.recipe.objective, self.data
        order = torch.from_numpy(stream(self.seed, "order", epoch).permutation(len(self.x))).to(self.x.device)
        generator = generator_on(self.x.device, self.seed, "draws", epoch)
        sums = torch.zeros(2, *self.axes, dtype=torch.float64, device=self.x.device)
        kind = data.augment if recipe.augment else None
        self.model.train()
        with torch.random.fork_rng(devices=[self.x.device] if self.x.is_cuda else []):
            torch.manual_seed(int(stream(self.seed, "dropout", epoch).integers(2**63)))
            for batch in torch.split(order, recipe.batch_size or len(self.x)):
                x = spread(augment(self.x[batch], kind, generator), self.axes)
                y = spread(self.y[batch], self.axes)
                attacked = x
                if self.attacked:
                    attacked = recipe.attack.run(
                        self.model, x, y, eps, loss, data.bounds, generator, self.forward
                    )
                output = self.forward(attacked)
                clean = self.forward(x) if loss.pairs else None
                losses = loss.descent(output, y, clean, loss.beta)
                self.optimiser.zero_grad(set_to_none=True)
                torch.autograd.backward(losses.mean(-1).sum())
                self.optimiser.step()
                with torch.no_grad():
                    judged = loss.judge(output, y)
                    sums[0] += judged.sum(-1)
                    sums[1] += hits(output, y).sum(-1)
                    if self.tracker is not None:
                        self.tracker.observe(judged.mean(), epoch / recipe.epochs)
                        eps = self.tracker.eps
        self.passes += 1 + loss.pairs + self.attacked * recipe.attack.steps * recipe.attack.restarts
        return sums[0] / len(self.x), sums[1] / len(self.x)

    def _score(self, x: Tensor, y: Tensor, *, attacked: bool = True) -> Score:
        recipe, attack = self.recipe, self.recipe.judging
        steps = attack.steps * attack.restarts if attacked and self.attacked else 0
        self.passes += (1 + steps) * len(x) / len(self.x)
        return evaluate(
            self.model,
            x,
            y,
            self.eps if attacked else 0.0,
            attack,
            recipe.judge,
            self.data.bounds,
            recipe.test_batch_size,
            self.seed,
            self.forward,
        )

    def line(self) -> str:
        """Progress after the last epoch; a stack shows its first and last member."""
        rate, train, _, test, accuracy, clean, _ = self.rows[-1].reshape(len(COLUMNS), -1)[:, [0, -1]]

        def show(pair: Tensor) -> str:
            return " ".join(f"{value:.4f}" for value in pair.tolist()[: 1 + bool(self.axes)])

        return (
            f"epoch {self.done}/{self.recipe.epochs}  rate {rate[0].item():.3g}  train {show(train)}  "
            f"test {show(test)} ({show(accuracy)})  clean {show(clean)}  {self.seconds:.0f} s"
        )

    def state(self) -> dict[str, Any]:
        """All that going on needs."""
        return {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "rows": torch.stack(self.rows),
            "best": self.best,
            "weights": self.weights,
            "seconds": self.seconds,
            "passes": self.passes,
            "tracker": {} if self.tracker is None else self.tracker.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.rows, self.best, self.weights = list(state["rows"]), state["best"], state["weights"]
        self.seconds, self.passes = state["seconds"], state["passes"]
        if self.tracker is not None:
            self.tracker.restore(state["tracker"])

    def finish(self) -> History:
        """Load the selected weights and evaluate their training loss."""
        start = time.perf_counter()
        self.model.load_state_dict(self.weights)
        evaluated = torch.full_like(self.rows[0][1], torch.nan)
        if self.recipe.monitor:
            evaluated = self._score(self.x, self.y).loss
        columns = torch.stack(self.rows).cpu().numpy()
        named = {name: columns[:, k] for k, name in enumerate(COLUMNS)}
        return History(
            eps=self.eps.double().cpu().numpy(),
            **named,
            best=self.best.cpu().numpy(),
            evaluated_loss=evaluated.cpu().numpy(),
            seconds=self.seconds + time.perf_counter() - start,
            passes=self.passes,
        )


def _forward(model: nn.Module, recipe: Recipe, device: torch.device) -> Forward:
    """The model's forward, compiled and under autocast as the recipe says."""
    run: Forward = model
    if recipe.compile:
        mode = "reduce-overhead" if device.type == "cuda" else None
        run = torch.compile(model, mode=mode)
    if recipe.precision != "bfloat16":
        return run

    def mixed(x: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            output: Tensor = run(x)
        return output.float()

    return mixed
