"""Table 1: training and test loss of networks trained at a few strengths, and where they cross."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from claims.deep_cells import columns_of, entry, interval, summary
from claims.deep_costs import training
from claims.deep_sets import attack_steps, judged, nets, seeds_of, setting
from claims.deep_start import Start
from linphase import deep, evidence, plotting
from linphase.deep.crossing import crossing
from linphase.study import Experiment, Local, Options, Part, Report, Results

GRIDS = {
    "digits": (0.0, 0.02, 0.04, 0.06, 0.08, 0.12),
    "mnist": (0.0, 8 / 255, 16 / 255, 32 / 255, 64 / 255),
    "fashion-mnist": (0.0, 4 / 255, 8 / 255, 16 / 255),
    "cifar10": (0.0, 0.5 / 255, 1 / 255, 2 / 255),
    "cifar100": (0.0, 0.5 / 255, 1 / 255, 2 / 255),
    "svhn": (0.0, 2 / 255, 4 / 255, 8 / 255),
}
SIZES = {"digits": (64, 1400), "mnist": (128, 10_000), "fashion-mnist": (128, 10_000)}
"""Width and n; elsewhere the first network with 50,000 examples."""
SEEDS = {"digits": 30}
"""Elsewhere as many as Table 3 gives the network."""
COLUMNS = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")
NAMES = {
    "train_loss": "adversarial training loss",
    "train_accuracy": "adversarial training accuracy",
    "test_loss": "adversarial test loss",
    "test_accuracy": "adversarial test accuracy",
    "epoch": "epoch, as a share of the schedule",
    "evaluated_loss": "adversarial training loss, evaluated again",
}
PAPER = {
    0.0: (0.0761, 0.9743, 0.1837, 0.9405),
    0.5: (0.1802, 0.9376, 0.2937, 0.8977),
    1.0: (0.2148, 0.9227, 0.371, 0.8723),
    2.0: (0.3411, 0.8722, 0.5218, 0.8101),
}
"""Table 1 (CIFAR-10, PreActResNet18, 200 epochs) by 255 ε, in the order of COLUMNS."""
SAYS = "the adversarial training loss rises with eps and crosses the clean test loss"


def block(setting: Mapping[str, Any], replicates: range, seed: int, local: Local) -> dict[str, np.ndarray]:
    """Scores at the best epoch, (replicates, strengths)."""
    found: dict[str, list[Any]] = {name: [] for name in NAMES}
    for k in replicates:
        start = Start("rows", setting, k, seed, local)
        _, runs = start.train(GRIDS[setting["dataset"]], start.seed, start.recipe)
        for name, values in _scores(runs, setting["epochs"]).items():
            found[name].append(values)
    return {name: np.array(values) for name, values in found.items()}


def _scores(runs: Sequence[deep.History], epochs: int) -> dict[str, list[float]]:
    found = {name: [float(run.at_best(name)) for run in runs] for name in COLUMNS}
    found["epoch"] = [float(run.best + 1) / epochs for run in runs]
    return found | {"evaluated_loss": [float(run.evaluated_loss) for run in runs]}


def passes(setting: Mapping[str, Any]) -> float:
    """Passes over the training data that a seed takes."""
    attacked = len(GRIDS[setting["dataset"]]) - 1
    return training(setting, 0) + attacked * training(setting, attack_steps(setting))


def experiments(options: Options) -> list[Experiment]:
    """One network."""
    width, n = SIZES.get(options.own["dataset"], (None, 50_000))
    every = nets(options)
    net = next((net for net in every if net.n == n and width in (None, net.width)), every[0])
    return [Experiment("rows", block, [setting(net, options)], seeds_of(options, SEEDS), 1, local=True)]


def report(results: Results, options: Options) -> Report:
    """A row a strength and column; the crossing by linear interpolation, as in the paper."""
    (cell,) = results["rows"]
    grid, values = GRIDS[cell.setting["dataset"]], cell.values
    rows: list[dict[str, Any]] = []
    points: list[dict[str, Any]] = []
    few = judged(cell.setting)
    for i, eps in enumerate(grid):
        for name, title in NAMES.items():
            if few and eps and name.startswith("test"):
                title += f", of the first {few} images"
            known = PAPER.get(round(255 * eps, 3)) if cell.setting["dataset"] == "cifar10" else None
            paper = known[COLUMNS.index(name)] if known and name in COLUMNS else None
            rows.append(entry(values[name][:, i], experiment=title, eps=eps, paper=paper))
        points.append({"eps": eps})
        for name in ("train", "test"):
            ends = interval(values[f"{name}_loss"][:, i])
            points[-1] |= dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))
    target = values["test_loss"][:, 0]  # at ε = 0 it is the clean one
    traces = [list(zip(grid, losses, strict=True)) for losses in values["train_loss"]]
    stars = np.array([crossing(trace, r)[0] for trace, r in zip(traces, target, strict=True)])
    rows.append(summary(stars, experiment="eps*, linear interpolation", paper=_paper_star(cell.setting)))
    line = {"target": np.array([target.mean()]), "eps": np.array([rows[-1]["estimate"]])}
    claims = _claims(grid, values["train_loss"], target) if target.size > 1 else []
    return Report(rows, claims, {"critical_losses": columns_of(points), "critical_crossing": line})


def _paper_star(setting: Mapping[str, Any]) -> float | None:
    return 0.5 / 255 if setting["dataset"] == "cifar10" else None


def _claims(grid: tuple[float, ...], losses: np.ndarray, target: np.ndarray) -> list[evidence.Claim]:
    steps = [evidence.mean(losses[:, i + 1] - losses[:, i]) for i in range(len(grid) - 1)]
    rises = [
        evidence.above(f"{grid[i]:.3g} to {grid[i + 1]:.3g}", SAYS, step, 0.0) for i, step in enumerate(steps)
    ]
    ends = [
        evidence.below("first", SAYS, evidence.mean(losses[:, 1] - target), 0.0),
        evidence.above("last", SAYS, evidence.mean(losses[:, -1] - target), 0.0),
    ]
    return [
        evidence.all_of("the adversarial training loss rises with eps", SAYS, rises),
        evidence.all_of("it crosses the clean test loss within the grid", SAYS, ends),
    ]


def draw(figures: Mapping[str, Mapping[str, np.ndarray]], folder: Path) -> None:
    """Losses against ε, the clean test loss as a line, ε* where the training loss crosses it."""
    data, crossed = figures["critical_losses"], figures["critical_crossing"]
    with plotting.style():
        fig, (ax,) = plotting.new("column", 2.5)
        for index, (name, label) in enumerate((("train", "training"), ("test", "test"))):
            columns = (data[name], data[f"{name}_low"], data[f"{name}_high"])
            plotting.band(ax, data["eps"], *columns, f"adversarial {label} loss", index)
        ax.axhline(float(crossed["target"][0]), color="black", linewidth=0.7, label="clean test loss $R$")
        plotting.threshold(ax, float(crossed["eps"][0]), r"$\epsilon^*$")
        ax.set(xlabel=r"$\epsilon$", ylabel="loss", ylim=(0, None))
        plotting.shared_legend(fig, [ax])
        plotting.save(fig, folder, "critical_losses")


PART = Part("rows", experiments, report, draw)
