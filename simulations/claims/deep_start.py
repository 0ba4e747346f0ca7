"""Where the deep simulations start: a network, its data and recipe, the search for its ε*."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from claims import deep_sets
from claims.deep_sets import NETS, examples, factory, integer, recipe
from linphase import deep
from linphase.deep.search import build
from linphase.deep.training import to_stderr
from linphase.study import Local, Options

SHORT = {("mnist", 10_000): 10, ("fashion-mnist", 10_000): 10}
"""Epochs by data set and n, fewer than in Table 3: with more of them ε* and all its multiples are larger."""


def setting(options: Options, n: int, **others: Any) -> dict[str, Any]:
    """Return the setting of the data set's widest network; a quick run has a sixth of the epochs."""
    dataset = options.own["dataset"]
    widest = max(NETS[dataset], key=lambda net: net.width)
    chosen = deep_sets.setting(replace(widest, n=n), options, **others)
    if not options.own["epochs"]:
        usual = chosen["epochs"]
        chosen["epochs"] = max(2, usual // 3) if options.quick else SHORT.get((dataset, n), usual)
    return chosen


class Start:
    """One seed's data, recipe and search for ε*; what it trains is kept in the block's scratch folder.

    The seed belongs to the experiment, the data set with its n, the width and the replicate: it is common to
    the norms and losses that a block compares.
    """

    def __init__(
        self, experiment: str, setting: Mapping[str, Any], replicate: int, seed: int, local: Local
    ) -> None:
        self.setting, self.small = setting, method(setting) == "from scratch"
        own = (setting[name] for name in ("dataset", "n", "width"))
        self.seed = integer(seed, experiment, *own, replicate)
        self.data = examples(setting, self.seed, local)
        self.recipe = recipe(setting)
        self.new = factory(setting, self.data)
        self.folder = None if self.small else local.scratch / str(replicate)
        label = f"{setting['network']} {setting['width']}, n = {setting['n']}, seed {replicate}"
        self.report = None if self.small else (lambda line: to_stderr(f"{label}: {line}"))

    def search(self, target: float | None = None, train_loss: str = "running", **changes: Any) -> deep.Search:
        """Return the search, by the recipe with changes; R is that of its clean model unless it is given."""
        return deep.Search(
            self.new,
            self.data,
            self.recipe.but(**changes),
            self.seed,
            tolerance=1e-3 if self.small else 1e-2,
            checkpoints=self.folder,
            report=self.report,
            train_loss=train_loss,
            target=target,
        )

    def eps_star(self, search: deep.Search) -> float:
        """Return ε*: from scratch where that takes seconds, else by fine-tuning the clean model."""
        if self.small:
            return search.scratch(refine=0, side_by_side=True).eps_star
        return search.finetune().eps_star

    def train(
        self, strengths: Sequence[float], seed: int, plan: deep.Recipe
    ) -> tuple[list[torch.nn.Module], list[deep.History]]:
        """Train a network at each strength, from one initialisation."""
        if self.small:
            stack = deep.Stack(build(self.new, seed), len(strengths))
            history = deep.train(stack, self.data, plan, torch.tensor(strengths), seed=seed)
            models = [self.new() for _ in strengths]
            for k, model in enumerate(models):
                model.load_state_dict(stack.member(k))
            return models, [history.member(k) for k in range(len(strengths))]
        models = [build(self.new, seed).to(self.data.x.device) for _ in strengths]
        histories = [
            deep.train(model, self.data, plan, eps, self.path(f"{seed}-{k}"), seed, self.report)
            for k, (model, eps) in enumerate(zip(models, strengths, strict=True))
        ]
        return models, histories

    def path(self, name: str) -> Any:
        """Return the file of a checkpoint; None for networks that train in seconds."""
        return None if self.folder is None else self.folder / f"{name}.pt"


def method(setting: Mapping[str, Any]) -> str:
    """Say how `Start.eps_star` finds ε*."""
    return "from scratch" if setting["network"] == "mlp" else "by following"


def usable(eps: float) -> bool:
    """Tell whether ε* is a scale to measure others by."""
    return 0 < eps < np.inf
