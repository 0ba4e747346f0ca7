"""Where the simulations on connectivity and overfitting start: a network, its data and its measured ε*."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from claims.deep_sets import STEPS, epochs, examples, factory, integer, recipe
from linphase import deep, evidence
from linphase.deep.search import build
from linphase.deep.training import to_stderr
from linphase.study import Local, Options, row

NETWORKS = {"digits": ("mlp", 64), "mnist": ("mnist-cnn", 128), "fashion-mnist": ("mnist-cnn", 128)}
"""Network and width by data set; PreActResNet18 elsewhere."""
MIXED = ("cifar10", "cifar100", "svhn")
"""Trained in bfloat16, images with their channels last."""
TESTS = {"digits": 397, "svhn": 26_032}


def setting(options: Options, n: int, **others: Any) -> dict[str, Any]:
    """Return the setting of a block; a quick run, unless told its epochs, has a sixth of them."""
    dataset = options.own["dataset"]
    network, width = NETWORKS.get(dataset, ("preact-resnet18", 64))
    length = epochs(options, n)
    if options.quick and not options.own["epochs"]:
        length = max(2, length // 3)
    common = {"dataset": dataset, "network": network, "width": width, "n": n, "epochs": length}
    return common | {"norm": "linf", "loss": "cross-entropy", "mixed": int(dataset in MIXED)} | others


class Start:
    """One seed's data, recipe and search for ε*; what it trains is kept in the block's scratch folder."""

    def __init__(self, setting: Mapping[str, Any], replicate: int, seed: int, local: Local) -> None:
        self.setting, self.small = setting, setting["network"] == "mlp"
        self.seed = integer(seed, setting["dataset"], setting["n"], setting["width"], replicate)
        self.data = examples(setting, self.seed, local)
        self.recipe = recipe(setting)
        if setting["mixed"]:
            self.recipe = self.recipe.but(precision="bfloat16", channels_last=True)
        self.new = factory(setting, self.data)
        self.folder = None if self.small else local.scratch / str(replicate)
        label = f"{setting['network']}, n = {setting['n']}, seed {replicate}"
        self.report = None if self.small else (lambda line: to_stderr(f"{label}: {line}"))

    def search(self, **changes: Any) -> deep.Search:
        """Return the search, by the recipe with changes."""
        return deep.Search(
            self.new,
            self.data,
            self.recipe.but(**changes),
            self.seed,
            tolerance=1e-3 if self.small else 1e-2,
            checkpoints=self.folder,
            report=self.report,
        )

    def eps_star(self, search: deep.Search) -> float:
        """Return ε*: from scratch where that takes seconds, else by fine-tuning the clean model."""
        if self.small:
            return search.scratch(refine=1, side_by_side=True).eps_star
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


def usable(eps: float) -> bool:
    """Tell whether ε* is a scale to measure others by."""
    return 0 < eps < np.inf


def entry(values: np.ndarray, **keys: Any) -> dict[str, Any]:
    """Return a row with the mean over seeds; NaN counts as a failure, and a single seed has no error."""
    kept = values[np.isfinite(values)]
    lost = values.size - kept.size
    if kept.size > 1:
        return row(evidence.mean(kept, failures=lost), **keys)
    value = float(kept[0]) if kept.size else np.nan
    return keys | {"estimate": value, "replicates": int(kept.size), "failures": lost}


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """Return the mean over seeds with its interval, which is empty for a single one."""
    kept = values[np.isfinite(values)]
    if kept.size > 1:
        mean = evidence.mean(kept)
        return mean.value, *mean.interval()
    return (float(kept[0]) if kept.size else np.nan,) * 3


def training(s: Mapping[str, Any], steps: int, judge: int | None = None) -> float:
    """Passes over the training data that a run costs, with the scores after each epoch."""
    judge = steps if judge is None else judge
    tests = TESTS.get(s["dataset"], 10_000)
    judged = min(tests, 2000) * (1 + judge) if judge else 0
    return float(s["epochs"] * (1 + steps + (tests + judged) / s["n"]))


def searching(s: Mapping[str, Any]) -> float:
    """Passes of the clean model and of the search for ε*."""
    steps = attack_steps(s)
    root = 12 * (1 + steps)
    if s["network"] == "mlp":
        return training(s, 0) + root + 7 * training(s, steps)
    return training(s, 0) + root + 0.6 * s["epochs"] * 2


def attack_steps(s: Mapping[str, Any]) -> int:
    """Steps of the training attack."""
    return STEPS.get(s["dataset"], 10)


def costs(items: Iterable[tuple[Mapping[str, Any], int, float]]) -> str:
    """Say what settings with their seeds and the passes of a seed cost."""
    lines, total = [], 0.0
    for s, seeds, passes in items:
        total += seeds * passes * s["n"]
        network = f"{s['network']} {s['width']} on {s['dataset']}, n = {s['n']}, {s['epochs']} epochs"
        lines.append(f"{network}: {seeds} seed(s), each about {passes:.0f} passes over the training data")
    kept = "a killed run goes on from its last finished epoch"
    return "\n".join([*lines, f"in all about {total:.2g} examples forward and backward; {kept}"])
