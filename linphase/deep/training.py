"""Adversarial training of a network, or of a stack of them, epoch by epoch."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from linphase.checks import check_callable, check_kind
from linphase.deep import checkpoints, distributed
from linphase.deep.alignment import misalignment
from linphase.deep.augment import augment
from linphase.deep.batches import fewest, sizes
from linphase.deep.checks import check_eps, check_file, check_network, check_seed
from linphase.deep.data import Data
from linphase.deep.evaluate import Score, generator_on, hits, score, spread
from linphase.deep.fit import check_batch_size, check_fit, check_trainable
from linphase.deep.graphs import Replayed
from linphase.deep.history import COLUMNS, History
from linphase.deep.recipe import Recipe
from linphase.deep.stack import form_of, leading
from linphase.deep.tracking import Tracker
from linphase.streams import stream


class DivergenceError(ArithmeticError):
    """Training met a loss that is not finite; the last good checkpoint stays."""


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
        same numbers as without the interruption, bit for bit on a CPU at the same number of threads. Of
        several processes the first writes, and all read.
    seed : int
        Of order, augmentation, dropout and random starts; not of the initialisation, which is the caller's.
    report : callable, optional
        Gets a line after each epoch.
    tracker : Tracker, optional
        Sets ε at every step in place of ``eps``, for one network.

    Raises
    ------
    ValueError, TypeError
        For bad input.
    DivergenceError
        If a loss is not finite.
    CheckpointError
        If the checkpoint is damaged, or of another model, start, recipe, strength, seed or data set.
    """
    model = check_network("model", model)
    check_trainable("model", model)
    check_kind("data", data, Data, "a Data")
    check_kind("recipe", recipe, Recipe, "a Recipe")
    eps, seed, path = (
        check_eps(eps, leading(model)),
        check_seed("seed", seed),
        check_file("checkpoint", checkpoint),
    )
    if report is not None:
        check_callable("report", report)
    if tracker is not None:
        check_kind("tracker", tracker, Tracker, "a Tracker or None")
        eps = tracker.start
    run = _Run(model, data, recipe, eps, seed, tracker)
    identity = {} if path is None else run.identity()
    if path is not None:
        checkpoints.resume(path, identity, run.x.device, run.restore)
    first = distributed.rank() == 0
    for epoch in range(run.done, recipe.epochs):
        start = time.perf_counter()
        run.epoch(epoch)
        run.seconds += time.perf_counter() - start
        if path is not None and first:
            checkpoints.save(path, identity, run.state())
        if report is not None and first:
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
        if tracker is not None and leading(model):
            raise ValueError("tracker must be None for a stack, it follows the ε of one network")
        if recipe.align and leading(model):
            raise ValueError(f"recipe.align must be 0 for a stack, got {recipe.align}")
        if tracker is not None:
            tracker.begin()
        device = data.x.device
        model.to(device=device, dtype=recipe.dtype)
        if recipe.channels_last and data.x.ndim == 4 and not leading(model):
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        data = data.to(device, recipe.dtype, channels_last=recipe.channels_last)
        self.model, self.data, self.recipe, self.seed, self.tracker = model, data, recipe, seed, tracker
        self.x, self.y = data.x, data.y
        self.axes = leading(model)
        self.eps = torch.as_tensor(eps, dtype=recipe.dtype, device=device)
        self.eps = self.eps.expand(self.axes)
        self.attacked = bool(self.eps.any())
        self.aligned = self.attacked and recipe.align > 0
        for x, y, gradient, mode in (
            (data.x, data.y, "weights", "train"),
            (data.x_test, data.y_test, "inputs" if self.attacked else None, "eval"),
        ):
            check_fit(model, spread(x, self.axes), spread(y, self.axes), recipe.loss, "model", gradient, mode)
        self.least = fewest(model, "train", distributed.world())
        if data.n < self.least:
            raise ValueError(
                f"data must have at least {self.least} training examples for batch norm, got {data.n}"
            )
        if recipe.batch_size is not None:
            check_batch_size("recipe.batch_size", recipe.batch_size, self.least)
        check_batch_size("recipe.test_batch_size", recipe.test_batch_size, fewest(model, "eval"))
        self.forward = recipe.forward_of(model)
        wrapped = distributed.wrap(model)  # for the forward of a step; attacks need no gradient of weights
        self.update = self.forward if wrapped is model else recipe.forward_of(wrapped)
        recorded = recipe.cuda_graphs and device.type == "cuda" and distributed.world() == 1
        self.gradients = Replayed(self._gradients) if recorded else self._gradients
        self.parameters = list(model.parameters())
        self.optimiser = torch.optim.SGD(
            self.parameters, recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay
        )
        self.rows: list[Tensor] = []  # an epoch a row: (columns, *axes)
        self.best = torch.full(self.axes, -1, dtype=torch.int64, device=device)
        self.weights = {name: value.clone() for name, value in model.state_dict().items()}
        self.seconds, self.passes = 0.0, 0.0

    def identity(self) -> dict[str, str]:
        """What a checkpoint shares with the run that goes on from it; to be asked before the first epoch."""
        data = self.data
        shapes = {name: tuple(value.shape) for name, value in self.weights.items()}
        return {
            "model": f"{type(self.model).__name__} {shapes}",
            "architecture": blake2b(repr(form_of(self.model)).encode(), digest_size=8).hexdigest(),
            "recipe": repr(self.recipe),
            "eps": str(self.eps.tolist()),
            "tracker": repr(self.tracker),
            "seed": str(self.seed),
            "data": f"{data} {checkpoints.fingerprint((data.x, data.y, data.x_test, data.y_test))}",
            "start": checkpoints.fingerprint(self.weights.values()),
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
        if self.recipe.judges(epoch):
            clean = self._score(self.data.x_test, self.data.y_test, attacked=False)
            few = slice(self.recipe.judged_examples)
            judged = clean
            if self.attacked:
                judged = self._score(self.data.x_test[few], self.data.y_test[few])
        lr = torch.full_like(loss, rate)
        row = torch.stack((lr, loss, accuracy, judged.loss, judged.accuracy, clean.loss, clean.accuracy))
        whole = all(bool(value.isfinite().all()) for value in self.parameters)
        if not (whole and loss.isfinite().all() and (judged is unknown or row[[3, 5]].isfinite().all())):
            raise DivergenceError(
                f"training diverged in epoch {epoch + 1} at eps = {self.eps.tolist()}: "
                f"training loss {loss.tolist()}, test loss {judged.loss.tolist()}"
            )
        self.rows.append(row)
        if self.recipe.select == "last":
            better = torch.ones(self.axes, dtype=torch.bool, device=row.device)
        else:
            tests = torch.stack(self.rows)[:, 3].nan_to_num(torch.inf)
            tests[: self.recipe.eps_warmup] = torch.inf  # the training loss of these is of a smaller ε
            better = tests.argmin(0) == epoch
        self.best = torch.where(better, epoch, self.best)
        for name, value in self.model.state_dict().items():
            chosen = better.reshape(better.shape + (1,) * (value.ndim - better.ndim)) if self.axes else better
            self.weights[name] = torch.where(chosen, value, self.weights[name])

    def _pass(self, epoch: int, eps: Any) -> tuple[Tensor, Tensor]:
        recipe, loss, data = self.recipe, self.recipe.objective, self.data
        order = torch.from_numpy(stream(self.seed, "order", epoch).permutation(len(self.x))).to(self.x.device)
        generator = generator_on(self.x.device, self.seed, "draws", epoch)
        losses, right = torch.zeros(2, *self.axes, dtype=torch.float64, device=self.x.device)
        kind = data.augment if recipe.augment else None
        self.model.train()
        axis, seen = len(self.axes), 0
        with torch.random.fork_rng(devices=[self.x.device] if self.x.is_cuda else []):
            own = (distributed.rank(),) if distributed.rank() else ()
            # Not `torch.manual_seed`, which takes a millisecond to tell devices that are not there.
            draw = int(stream(self.seed, "dropout", epoch, *own).integers(2**63))
            torch.default_generator.manual_seed(draw)
            if self.x.is_cuda:
                with torch.cuda.device(self.x.device):
                    torch.cuda.manual_seed(draw)
            for batch in torch.split(order, sizes(len(self.x), recipe.batch_size, self.least)):
                x = spread(augment(self.x[batch], kind, generator), self.axes)
                y = spread(self.y[batch], self.axes)
                nearby = recipe.attack.in_unit_ball(x, y, generator) if self.aligned else None
                starts = recipe.attack.starts(x, y, loss, generator) if self.attacked else None
                x, y = distributed.share(x, axis), distributed.share(y, axis)
                nearby = None if nearby is None else distributed.share(nearby)
                starts = None if starts is None else distributed.share(starts, 1)
                strength = torch.as_tensor(eps, dtype=recipe.dtype, device=x.device)
                judged, correct, gradients = self.gradients(x, y, strength, starts, nearby, len(batch))
                for value, gradient in zip(self.parameters, gradients, strict=True):
                    value.grad = gradient  # those of a replayed step lie where they were recorded
                self.optimiser.step()
                losses += judged.sum(-1)
                right += correct.sum(-1)
                if self.tracker is not None:
                    seen += len(batch)
                    progress = (epoch + seen / len(self.x)) / recipe.epochs
                    self.tracker.observe(distributed.mean(judged, len(batch)), progress)
                    eps = self.tracker.eps
        distributed.average(self.model.buffers())
        sums = distributed.total(torch.stack((losses, right)))
        self.passes += 1 + loss.pairs + self.attacked * recipe.attack.steps * recipe.attack.restarts
        self.passes += 4 * self.aligned  # two input gradients, and the backward through them
        return sums[0] / len(self.x), sums[1] / len(self.x)

    def _gradients(
        self, x: Tensor, y: Tensor, eps: Tensor, starts: Tensor | None, nearby: Tensor | None, count: int
    ) -> tuple[Tensor, Tensor, tuple[Tensor | None, ...]]:
        """Losses and hits of a batch of ``count`` examples in all, and the gradients of a step on them."""
        recipe, loss = self.recipe, self.recipe.objective
        attacked = x
        if self.attacked:
            attacked = recipe.attack.run(
                self.model, x, y, eps, loss, self.data.bounds, forward=self.forward, starts=starts
            )
        output = self.update(attacked)
        clean = self.update(x) if loss.pairs else None
        objective = distributed.local_mean(loss.descent(output, y, clean, loss.beta), count).sum()
        if nearby is not None:
            turns = self._turns(x, y, eps * nearby)
            objective = objective + recipe.align * distributed.local_mean(turns, count)
        for value in self.parameters:
            value.grad = None
        torch.autograd.backward(objective)
        with torch.no_grad():
            judged, correct = loss.judge(output, y), hits(output, y)
        return judged, correct, tuple(value.grad for value in self.parameters)

    def _turns(self, x: Tensor, y: Tensor, step: Tensor) -> Tensor:
        nearby, bounds = x + step, self.data.bounds
        nearby = nearby if bounds is None else nearby.clamp(*bounds)
        return misalignment(self.model, x, y, nearby, self.recipe.objective)

    def _score(self, x: Tensor, y: Tensor, *, attacked: bool = True) -> Score:
        recipe, attack = self.recipe, self.recipe.judging
        steps = attack.steps * attack.restarts if attacked and self.attacked else 0
        self.passes += (1 + steps) * len(x) / len(self.x)
        return score(
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

        scores = f"test {show(test)} ({show(accuracy)})  clean {show(clean)}  "
        return (
            f"epoch {self.done}/{self.recipe.epochs}  rate {rate[0].item():.3g}  train {show(train)}  "
            f"{scores if self.recipe.judges(self.done - 1) else ''}{self.seconds:.0f} s"
        )

    def state(self) -> dict[str, Any]:
        """All that going on needs."""
        rows = self.rows or [torch.zeros(len(COLUMNS), *self.axes, dtype=torch.float64, device=self.x.device)]
        return {
            "model": self.model.state_dict(),
            "momenta": checkpoints.momenta(self.optimiser),
            "rows": torch.stack(rows),
            "best": self.best,
            "weights": self.weights,
            "seconds": self.seconds,
            "passes": self.passes,
            "tracker": {} if self.tracker is None else self.tracker.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state, if it has the form of a state of this run."""
        rows, best, epochs = state["rows"], state["best"], len(state["rows"])
        checkpoints.check_form({**state, "rows": rows[:1]}, self.state())
        if not (epochs <= self.recipe.epochs and -1 <= int(best.min()) <= int(best.max()) < epochs):
            raise ValueError(f"its {epochs} epochs are not of this run")
        self.model.load_state_dict(state["model"])
        checkpoints.set_momenta(self.optimiser, state["momenta"])
        self.rows, self.best, self.weights = list(rows), best, state["weights"]
        self.seconds, self.passes = state["seconds"], state["passes"]
        if self.tracker is not None:
            self.tracker.restore(state["tracker"])

    def finish(self) -> History:
        """Load the selected weights and evaluate their training loss."""
        start = time.perf_counter()
        self.gradients = self._gradients  # a recording holds memory of the device
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
