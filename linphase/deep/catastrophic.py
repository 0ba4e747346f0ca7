"""Catastrophic overfitting: a network that resists the attack it was trained against, and no stronger one.

Training by a single gradient step learns, from some ε on, to make that step harmless instead of the ball
(Wong, Rice and Kolter, ICLR 2020): accuracy under the step is high, accuracy under many steps near zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from linphase.checks import check_between, check_callable, check_count, check_flag, check_kind
from linphase.deep.attacks import Attack
from linphase.deep.checks import check_folder, check_seeds, check_strengths
from linphase.deep.data import Data
from linphase.deep.evaluate import score
from linphase.deep.fit import check_factory
from linphase.deep.recipe import Recipe
from linphase.deep.search import Report, build
from linphase.deep.stack import Stack
from linphase.deep.training import train

Floats = NDArray[np.float64]

FGM_RANDOM = Attack(steps=1, step=1.25)
"""One step of 1.25 ε from a random start, projected (Wong, Rice and Kolter, ICLR 2020)."""

JUDGE = Attack(steps=50, restarts=10, mode="eval")
DETECTOR = Attack(steps=10, mode="eval")


@dataclass(frozen=True)
class CatastrophicOverfitting:
    """What became of training at each of k strengths with each of S seeds.

    Attributes
    ----------
    eps : array (k,)
        Strengths.
    accuracy, judged_accuracy, clean_accuracy : arrays (S, k)
        At the end, on the same test examples: under the training attack in eval mode, under the judge, and
        without an attack.
    unstable : array (S, k) of bool
        Something was learned, and the judge leaves less than ``share`` of the accuracy that holds under the
        training attack: a network that learned nothing is no overfitting.
    learned : array (S, k) of bool
        The accuracy under the training attack is at least twice that of guessing (of two classes: at least
        ¾). Where it is not, training is neither stable nor unstable.
    detected : array (S, k)
        First epoch, counted from 1, after which a cheap attack on some test examples leaves less than
        ``share`` of a running training accuracy as high as that of ``learned``; NaN if there is none. Epochs
        of a warm-up do not count: they train at a smaller ε than the alarm attacks with. Ordinary overfitting
        can trip it, so it warns and does not judge.
    train_accuracy, detector_accuracy : arrays (S, E, k)
        The two numbers that it compares, after each epoch.
    share : float
    passes : float
        Cost, forward and backward over the training data.
    """

    eps: Floats
    accuracy: Floats
    judged_accuracy: Floats
    clean_accuracy: Floats
    unstable: NDArray[np.bool_]
    learned: NDArray[np.bool_]
    detected: Floats
    train_accuracy: Floats
    detector_accuracy: Floats
    share: float
    passes: float

    @property
    def smallest(self) -> Floats:
        """Smallest unstable strength of each seed, (S,); infinite if none is."""
        return np.asarray(np.where(self.unstable, self.eps, np.inf).min(axis=1))

    @property
    def last_stable(self) -> Floats:
        """Strength up to which training learns and is stable, (S,): 0 if not at the first."""
        stable = np.logical_and.accumulate(self.learned & ~self.unstable, axis=1).sum(axis=1)
        return np.asarray(np.append(0.0, self.eps)[stable])


def catastrophic_overfitting(
    model_factory: Callable[[], nn.Module],
    data: Data,
    recipe: Recipe,
    eps: Sequence[float],
    seeds: Sequence[int] = (0,),
    *,
    judge: Attack | None = None,
    judged_examples: int = 1000,
    detector_examples: int = 256,
    share: float = 0.5,
    side_by_side: bool = False,
    checkpoints: str | Path | None = None,
    report: Report | None = None,
) -> CatastrophicOverfitting:
    """Train over a grid of strengths, and find from which on training overfits to its own attack.

    Parameters
    ----------
    model_factory : callable
        Returns a new network; called under a seed of its own.
    data, recipe : Data, Recipe
        What to train on, and how: ``recipe.attack`` is the attack in question, usually `FGM` or
        `FGM_RANDOM`; ``recipe.align`` is the remedy. The weights of the last epoch count, whatever the recipe
        selects.
    eps : rising sequence of positive floats
        Strengths.
    seeds : sequence of int
        Each stands for initialisation, order and random starts.
    judge : Attack, optional
        By default 50 steps of ε/4 with 10 restarts, in the norm of the recipe's attack.
    judged_examples, detector_examples : int
        How many test examples judge and detector attack.
    share : float
        Share of the accuracy that the judge must leave.
    side_by_side : bool
        Train the strengths of a seed as one `Stack`: for small networks without batch norm, and align = 0.
    checkpoints : path, optional
        Folder for the full state of every run; an interrupted call goes on from it.
    report : callable, optional
        Gets lines of progress.

    Raises
    ------
    ValueError, TypeError
        For bad input.
    DivergenceError
        If a training run diverges.
    """
    _check(model_factory, data, recipe, judge, side_by_side, report)
    eps, seeds = check_strengths("eps", eps), check_seeds(seeds)
    judged_examples = check_count("judged_examples", judged_examples)
    detector_examples = check_count("detector_examples", detector_examples)
    share, root = check_between("share", share), check_folder("checkpoints", checkpoints)
    attack = recipe.attack
    recipe = recipe.but(
        test_attack=replace(DETECTOR, norm=attack.norm),
        judged_examples=detector_examples,
        judged_every=1,
        select="last",
        monitor=True,
    )
    judge = replace(JUDGE, norm=attack.norm) if judge is None else judge
    few = data.to(data.x.device, recipe.dtype)
    x, y = few.x_test[:judged_examples], few.y_test[:judged_examples]
    trials: list[dict[str, Any]] = []
    for seed in seeds:
        folder = None if root is None else root / f"seed-{seed}"
        for group in [eps] if side_by_side else [[value] for value in eps]:
            strength = torch.tensor(group) if side_by_side else group[0]
            model = build(model_factory, seed).to(data.x.device)
            if side_by_side:
                model = Stack(model, len(group)).to(data.x.device)
            if report is not None:
                report(f"seed {seed}, {attack.describe(max(group))}")
            key = blake2b(f"{recipe} {group} {side_by_side}".encode(), digest_size=8).hexdigest()
            path = None if folder is None else folder / f"{key}.pt"
            history = train(model, data, recipe, strength, path, seed, report)
            attacks = {"clean": None, "accuracy": replace(attack, mode="eval"), "judged": judge}
            steps = sum(1 + (a.steps * a.restarts if a else 0) for a in attacks.values())
            trial: dict[str, Any] = {"passes": (history.passes + steps * len(x) / data.n) * len(group)}
            trial |= {"train": history.train_accuracy, "detector": history.test_accuracy}
            forward = recipe.forward_of(model)
            for name, tried in attacks.items():
                found = score(
                    model, x, y, strength if tried else 0.0, tried, recipe.judge, data.bounds,
                    recipe.test_batch_size, seed, forward,
                )  # fmt: skip
                trial[name] = found.accuracy.cpu().numpy()
            trials.append(trial)
    return _result(trials, np.array(eps, dtype=np.float64), len(seeds), int(data.classes or 0), share, recipe)


def _result(
    trials: Sequence[dict[str, Any]], eps: Floats, seeds: int, classes: int, share: float, recipe: Recipe
) -> CatastrophicOverfitting:
    def ends(name: str) -> Floats:
        return np.concatenate([np.atleast_1d(trial[name]) for trial in trials]).reshape(seeds, eps.size)

    def epochs(name: str) -> Floats:
        rows = [np.reshape(trial[name], (len(trial[name]), -1)) for trial in trials]
        per_seed = len(trials) // seeds
        return np.array([np.hstack(rows[k : k + per_seed]) for k in range(0, len(rows), per_seed)])

    accuracy, judged = ends("accuracy"), ends("judged")
    train_accuracy, detector = epochs("train"), epochs("detector")
    alarm = _broken(train_accuracy, detector, share, classes)
    alarm[:, : recipe.eps_warmup] = False
    return CatastrophicOverfitting(
        eps,
        accuracy,
        judged,
        ends("clean"),
        _broken(accuracy, judged, share, classes),
        _learned(accuracy, classes),
        np.where(alarm.any(axis=1), alarm.argmax(axis=1) + 1.0, np.nan),
        train_accuracy,
        detector,
        share,
        float(sum(trial["passes"] for trial in trials)),
    )


def _broken(weak: Floats, strong: Floats, share: float, classes: int) -> NDArray[np.bool_]:
    return (strong < share * weak) & _learned(weak, classes)


def _learned(accuracy: Floats, classes: int) -> NDArray[np.bool_]:
    return np.asarray(accuracy >= min(2 / classes, (1 + 1 / classes) / 2))


def _check(model_factory: Any, data: Any, recipe: Any, judge: Any, side_by_side: Any, report: Any) -> None:
    check_factory(model_factory)
    check_kind("data", data, Data, "a Data")
    check_kind("recipe", recipe, Recipe, "a Recipe")
    if judge is not None:
        check_kind("judge", judge, Attack, "an Attack or None")
    if report is not None:
        check_callable("report", report)
    if data.classes is None:
        raise ValueError("data must have classes: there is no accuracy in regression")
    if recipe.loss in ("trades", "mart"):
        raise ValueError(f"recipe.loss must be cross-entropy, got {recipe.loss!r}")
    if check_flag("side_by_side", side_by_side) and recipe.align:
        raise ValueError("side_by_side must be False where recipe.align > 0: the penalty is of one network")
