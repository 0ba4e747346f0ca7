"""The search for ε* with one seed: a clean model, then the training loss at strengths around the crossing."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import brentq
from torch import nn

from linphase.checks import (
    check_amount,
    check_callable,
    check_choice,
    check_count,
    check_flag,
    check_kind,
)
from linphase.deep.attacks import Attack
from linphase.deep.checks import LARGEST, STRONGEST, check_folder, check_seed, check_strengths
from linphase.deep.crossing import CriticalStrength, Point, refinement
from linphase.deep.data import Data
from linphase.deep.evaluate import score
from linphase.deep.fit import check_factory, check_fit, check_single, check_trained
from linphase.deep.history import History
from linphase.deep.recipe import Recipe
from linphase.deep.stack import Stack
from linphase.deep.tracking import TAIL, Tracker
from linphase.deep.trail import Clean, Trail
from linphase.deep.training import DivergenceError, train
from linphase.deep.tuning import Tuning
from linphase.streams import stream

Report = Callable[[str], None]

QUICK = Tuning(0.5, control=False)
"""Where stacks begin, which reach far enough to both sides of a rough guess."""
STRIDE = 1.3
"""From the start by this factor, up or down, and on by its square, until L crosses R."""
AROUND, LEAP = (0.6, 0.75, 0.9, 1.05, 1.25, 1.5), 3.0
"""Side by side: strengths of a stack in units of the start, and the factor to the next stack."""
TRIES = 8
"""Strengths or stacks before a search gives up: factors of 1e14 and 2,000."""
LONGER, CHANCE = 2 / 3, 0.98
"""Of the schedule, a longer warm-up; of log(classes), the loss from which on nothing was learned."""
MASKED = 1.5
"""Loss under the recipe's attack over that under a weaker one, from which on the weaker is blind."""
ARRIVED = 1.5
"""Loss of a followed run over the level it was to follow, from which on ε has not arrived there."""
INSIDE = 4
"""Strengths of a stack that refines, evenly inside the bracket."""
MOST = 1000
"""Rounds of a search."""
TRAIN_LOSSES = ("running", "evaluated")


class Search:
    """One seed's network and data; its three methods share the clean model and the attack-only root.

    Arguments are those of `critical_strength`; ``target`` is R where it is not that of the recipe's own clean
    model, as for losses that are compared at one level. Each method returns a result that bears the whole
    cost of what it used but for the clean model, whether or not another method has paid for it already.
    """

    def __init__(
        self,
        model_factory: Callable[[], nn.Module],
        data: Data,
        recipe: Recipe,
        seed: int = 0,
        *,
        trained: nn.Module | None = None,
        train_loss: str = "running",
        tolerance: float = 1e-3,
        checkpoints: str | Path | None = None,
        report: Report | None = None,
        target: float | None = None,
    ) -> None:
        self.model_factory = check_factory(model_factory)
        self.data = check_kind("data", data, Data, "a Data")
        self.recipe = check_kind("recipe", recipe, Recipe, "a Recipe")
        self.seed = check_seed("seed", seed)
        self.trained = None if trained is None else check_trained("trained", trained)
        self.train_loss = check_choice("train_loss", train_loss, TRAIN_LOSSES)
        self.tolerance = check_amount("tolerance", tolerance, 1.0)
        self.folder = check_folder("checkpoints", checkpoints)
        self.report = None if report is None else check_callable("report", report)
        self.target = None if target is None else check_amount("target", target, LARGEST)
        if not recipe.monitor and (train_loss == "evaluated" or (trained is None and target is None)):
            raise ValueError("recipe must have monitor=True: R and the evaluated loss are scores of its runs")
        self._near: dict[int, tuple[CriticalStrength, ...]] = {}

    def scratch(
        self,
        grid: Sequence[float] | None = None,
        refine: int = 2,
        side_by_side: bool = False,
        tries: int = TRIES,
    ) -> CriticalStrength:
        """Train at the strengths of a grid, or from where following leads; then around the crossing.

        Without a grid, at ``tries`` strengths (or stacks) at most before the search gives up.
        """
        grid = check_scratch(grid, refine, side_by_side, tries)
        if side_by_side:
            Stack(build(self.model_factory, self.seed), 1)  # refuses batch norm before anything is trained
        trail = Trail(self.clean)

        def train_at(strengths: Sequence[float]) -> None:
            if side_by_side:
                model = Stack(build(self.model_factory, self.seed), len(strengths))
                history = self._train(model, self.recipe, torch.tensor(strengths, dtype=torch.float64), trail)
                runs = [history.member(k) for k in range(len(strengths))]
            else:
                runs = [self._from_scratch(eps, trail) for eps in strengths]
            for eps, run in zip(strengths, runs, strict=True):
                trail.add(Point(float(eps), self._loss(run), run))

        if grid is not None:
            train_at(grid)
        elif self.clean.point.loss <= trail.target:
            eps = self._begin(QUICK if side_by_side else Tuning(), trail)
            factors, stride = (AROUND, LEAP) if side_by_side else ((1.0,), STRIDE)
            for _ in range(tries):
                train_at([eps * factor for factor in factors])
                found, left, _ = trail.crossing()
                if 0 < left <= found < np.inf:
                    break
                eps = eps * stride if found == np.inf else eps / stride
                if eps * factors[-1] > STRONGEST:  # where the arithmetic of attacks ends
                    break
                stride = stride if side_by_side else stride**2
        for _ in range(refine):
            found, left, right = trail.crossing()
            if not 0 < found < np.inf:
                break
            if side_by_side:
                train_at(np.linspace(left, right, INSIDE + 2)[1:-1].tolist())
            else:
                train_at([refinement(trail.points, trail.target)])
        return trail.result("scratch", *trail.crossing())

    def finetune(self, tuning: Tuning | None = None) -> CriticalStrength:
        """Fine-tune the clean model: let ε follow the crossing, or extrapolate from a few strengths."""
        check_tuning(tuning)
        if tuning is None:
            return self.followed
        trail = Trail(self.clean)
        for about in self.roots_near(tuning.examples):
            trail.pay(about)
        unit = about.eps_star
        if not 0 < unit < np.inf:
            return trail.result("finetune", unit, about.lower, about.upper)
        if tuning.follow:
            return self._by_following(tuning, unit, trail)
        recipe = tuning.recipe(self.recipe)
        for strength in tuning.strengths:
            run = self._train(copy.deepcopy(self.clean.model), recipe, strength * unit, trail)
            trail.add(Point(strength * unit, float(run.at_best("train_loss")), run))
        eps, losses = np.array([point[:2] for point in trail.points]).T
        slope, intercept = np.polyfit(eps, losses, 1)
        eps_star = max(0.0, (trail.target - intercept) / slope) if slope > 0 else np.inf
        return trail.result("finetune", eps_star, 0.0, np.inf)

    def attack_only(self) -> CriticalStrength:
        """Attack the clean model alone: the root of ε ↦ R̂(θ̂(0), ε) − R."""
        return self.root

    @cached_property
    def clean(self) -> Clean:
        """The clean model, trained unless it was given."""
        if self.trained is not None:
            model = copy.deepcopy(self.trained).to(self.data.x.device, self.recipe.dtype)
            data = self.data.to(self.data.x.device, self.recipe.dtype)
            check_fit(model, data.x, data.y, self.recipe.loss, "trained", "inputs")
            target = self.target or self._score(model, 0.0, data, test=True)
            return Clean(model, target, Point(0.0, self._score(model, 0.0, data)), 0.0)
        model = build(self.model_factory, self.seed)
        run = self._train(model, self.recipe, 0.0)
        target = self.target or float(run.at_best("clean_test_loss"))
        return Clean(model, target, Point(0.0, self._loss(run), run), run.passes)

    @cached_property
    def followed(self) -> CriticalStrength:
        """The result of fine-tuning by default."""
        return self.finetune(Tuning())

    @cached_property
    def root(self) -> CriticalStrength:
        """The attack-only result."""
        return self.root_on(self.data.n, self.tolerance)

    def roots_near(self, examples: int) -> tuple[CriticalStrength, ...]:
        """Return the attack-only result on so many examples and, where that has no root, also on all.

        A few examples may lie above R where all lie below.
        """
        if examples not in self._near:
            few = self.root_on(examples, tolerance=0.05)
            self._near[examples] = (few,) if 0 < few.eps_star < np.inf else (few, self.root)
        return self._near[examples]

    def root_on(self, examples: int, tolerance: float) -> CriticalStrength:
        """Return the attack-only result on so many of the training examples."""
        examples = check_count("examples", examples)
        tolerance = check_amount("tolerance", tolerance, 1.0)
        clean, attack, data = self.clean, self.recipe.judging, self.data
        if examples < data.n:
            data = data.subset(examples, self.seed)
        trail = Trail(clean)
        found: dict[float, float] = {}

        def excess(eps: float) -> float:
            if eps not in found:
                found[eps] = self._score(clean.model, eps, data)
                if math.isnan(found[eps]):
                    raise DivergenceError(f"the loss of the clean model under attack of eps = {eps} is NaN")
                passes = 1 + (attack.steps * attack.restarts if eps else 0)
                trail.passes += passes * data.n / self.data.n
            return found[eps] - clean.target

        low, high = 0.0, self._scale()
        if excess(0.0) > 0:
            trail.points = [Point(0.0, found[0.0])]
            return trail.result("attack-only", 0.0, 0.0, 0.0)
        farthest = 1e6 * high
        if data.bounds is not None:  # the length of the box: of a side, or of its diagonal
            farthest = (data.bounds[1] - data.bounds[0]) * (
                data.x[0].numel() ** 0.5 if attack.norm == "l2" else 1.0
            )
        while excess(high) <= 0 and high < farthest:
            low, high = high, min(2 * high, farthest)
        root = np.inf
        if excess(high) > 0:
            root = float(brentq(excess, low, high, xtol=1e-12 * high, rtol=max(tolerance, 1e-12)))
        trail.points = [Point(*point) for point in sorted(found.items())]
        return trail.result("attack-only", root, *trail.crossing()[1:])

    def _begin(self, tuning: Tuning, trail: Trail) -> float:
        """Return where following leads, or the attack-only root where ε does not arrive.

        Of the evaluated loss also where ε ends below the root, which bounds ε* from below.
        """
        followed = self.followed if tuning == Tuning() else self.finetune(tuning)
        trail.pay(followed)
        led = followed.eps_star
        if 0 < led < np.inf and self.train_loss == "running":
            return led
        if all(
            root is not self.root for root in self.roots_near(tuning.examples)
        ):  # these following has paid
            trail.pay(self.root)
        usable = [eps for eps in (led, self.root.eps_star) if 0 < eps < np.inf]
        return max(usable, default=self._scale())

    def _from_scratch(self, eps: float, trail: Trail) -> History:
        """Train at a strength, and if ε rose too fast for anything to be learned, with a longer warm-up."""
        recipe, longer = self.recipe, round(LONGER * self.recipe.epochs)
        run = self._train(build(self.model_factory, self.seed), recipe, eps, trail)
        if 0 < recipe.eps_warmup < longer and recipe.judge.name == "cross-entropy":
            classes = float(self.data.classes or np.inf)
            if float(run.at_best("train_loss")) >= CHANCE * np.log(classes):
                recipe = recipe.but(eps_warmup=longer)
                run = self._train(build(self.model_factory, self.seed), recipe, eps, trail)
                trail.repeated.append(float(eps))
        return run

    def _by_following(self, tuning: Tuning, unit: float, trail: Trail) -> CriticalStrength:
        """Follow the crossing by the tuning's attack, and where that is blind by the recipe's."""
        if self.clean.point.loss > trail.target:
            return trail.result("finetune", 0.0, 0.0, 0.0)
        level = trail.target - (self._gain(tuning, trail) if tuning.control else 0.0)
        model, tracker = self._follow(tuning, level, unit, trail)
        masked = self._blind(tuning.attack, model, tracker.mean, tuning.examples, trail)
        if masked:
            _, tracker = self._follow(replace(tuning, attack=self.recipe.attack), level, unit, trail)
        trail.add(Point(tracker.mean, tracker.loss))
        eps_star = tracker.mean if tracker.loss <= ARRIVED * level else math.nan
        return replace(trail.result("finetune", eps_star, 0.0, np.inf), masked=masked)

    def _gain(self, tuning: Tuning, trail: Trail) -> float:
        """Return what a tuning's training alone, without an attack, takes off the clean model's loss."""
        recipe, point = tuning.recipe(self.recipe), self.clean.point
        run = self._train(copy.deepcopy(self.clean.model), recipe, 0.0, trail)
        before = point.loss if point.history is None else float(point.history.at_best("train_loss"))
        return max(0.0, before - float(run.train_loss[-max(1, round(TAIL * recipe.epochs)) :].mean()))

    def _follow(self, tuning: Tuning, level: float, unit: float, trail: Trail) -> tuple[nn.Module, Tracker]:
        """Train the clean model while ε follows the crossing of a level."""
        start = tuning.strengths[0] * unit
        tracker = Tracker(level, start, least=min(start, unit / 10))
        model = copy.deepcopy(self.clean.model)
        self._train(model, tuning.recipe(self.recipe), 0.0, trail, tracker)
        return model, tracker

    def _blind(self, attack: Attack, model: nn.Module, eps: float, examples: int, trail: Trail) -> bool:
        """Tell whether a network resists a weaker attack than the recipe's, and not that one."""
        own = self.recipe.attack
        steps = [a.steps * a.restarts for a in (attack, own)]
        if steps[0] >= steps[1]:
            return False
        data = self.data.subset(min(examples, self.data.n), self.seed)
        weak, strong = (self._score(model, eps, data, by=a) for a in (replace(attack, norm=own.norm), own))
        trail.passes += (2 + sum(steps)) * data.n / self.data.n
        return strong > MASKED * weak

    def _scale(self) -> float:
        """A small strength to begin a bracket with: a hundredth of the box, or of the inputs' spread."""
        if self.data.bounds is not None:
            return 0.01 * (self.data.bounds[1] - self.data.bounds[0])
        return 0.01 * float(self.data.x.double().std())

    def _score(
        self, model: nn.Module, eps: float, data: Data, *, test: bool = False, by: Attack | None = None
    ) -> float:
        recipe = self.recipe
        data = data.to(data.x.device, recipe.dtype)
        x, y = (data.x_test, data.y_test) if test else (data.x, data.y)
        return float(
            score(
                model, x, y, eps, by or recipe.judging, recipe.judge, data.bounds,
                recipe.test_batch_size, self.seed, recipe.forward_of(model),
            ).loss
        )  # fmt: skip

    def _train(
        self,
        model: nn.Module,
        recipe: Recipe,
        eps: Any,
        trail: Trail | None = None,
        tracker: Tracker | None = None,
    ) -> History:
        largest = float(tracker.eps if tracker else torch.as_tensor(eps).max())
        if self.report is not None:
            self.report(recipe.attack.describe(largest) if largest else "clean training")
        path = None
        if self.folder is not None:
            key = f"{recipe} {torch.as_tensor(eps).tolist()} {tracker}"
            path = self.folder / f"{blake2b(key.encode(), digest_size=8).hexdigest()}.pt"
        model = model.to(self.data.x.device)
        start = time.perf_counter()
        history = train(model, self.data, recipe, eps, path, self.seed, self.report, tracker)
        if trail is not None:
            trail.passes += history.passes * (len(eps) if isinstance(eps, torch.Tensor) else 1)
            trail.seconds += max(0.0, history.seconds - (time.perf_counter() - start))  # of an earlier call
        return history

    def _loss(self, history: History) -> float:
        running = self.train_loss == "running"
        return float(history.at_best("train_loss") if running else history.evaluated_loss)


def check_scratch(grid: Any, refine: Any, side_by_side: Any, tries: Any = TRIES) -> Sequence[float] | None:
    """Return the grid of a search from scratch, whose rounds are counts."""
    check_count("refine", refine, 0, MOST)
    check_count("tries", tries, 1, MOST)
    check_flag("side_by_side", side_by_side)
    return None if grid is None else check_strengths("grid", grid)


def check_tuning(tuning: Any) -> None:
    """Raise unless ``tuning`` is one or None."""
    if tuning is not None:
        check_kind("tuning", tuning, Tuning, "a Tuning or None")


def build(model_factory: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Return a new network whose initialisation belongs to the seed; torch's own state is left as it was."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(int(stream(seed, "initialisation").integers(2**63)))
        return check_single("what model_factory returns", model_factory())
