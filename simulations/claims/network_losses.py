"""Proposition 1, after Theorem 2: losses of the network have the linear model's thresholds.

ε* is where the adversarial training loss of the attacked network reaches the clean test risk of the clean
one, ε_C where its clean training loss does. Networks and exact linear minimisers see the same data.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from claims.draws import NAMES, SYMBOLS, by
from claims.networks import threshold_block
from linphase import asymptotics, evidence, plotting
from linphase.study import Cell, Experiment, Options, Part, Report, Results, row

SAYS = "Theorem 2 holds for the losses of a wide network: its thresholds are the linear model's"
BASE = {"activation": "tanh", "init": "vanishing", "xi": 1.0, "n_steps": 60}
CRITERIA = ("loss", "clean-loss")
N, DIMENSIONS, WIDTH = 200, (10, 20, 40), 64
GROWING = (16, 64, 256)


def experiments(options: Options) -> list[Experiment]:
    """Three d/n at one width, three widths at one d/n, for both criteria."""
    n, last = (100, 2) if options.quick else (N, 3)
    cells = [
        BASE | {"criterion": c, "data": 0, "n": n, "d": d, "width": WIDTH}
        for c in CRITERIA
        for d in DIMENSIONS[:last]
    ]
    growing = [
        BASE | {"criterion": c, "data": h, "n": n, "d": 20, "width": h}
        for c in CRITERIA
        for h in GROWING[:last]
    ]
    return [
        Experiment("network-losses", threshold_block, cells, 3 if options.quick else 24, 4),
        Experiment("network-losses-width", threshold_block, growing, 3 if options.quick else 8, 1),
    ]


def means(cell: Cell, other: str) -> tuple[evidence.Estimate, evidence.Estimate, evidence.Estimate]:
    """Mean thresholds of network and other, and the mean of their distance over that of the other.

    0 is an answer; data sets where either is infinite are failures.
    """
    network, linear = cell.values["network"], cell.values[other]
    finite = np.isfinite(network) & np.isfinite(linear)
    network, linear, failures = network[finite], linear[finite], int((~finite).sum())
    return (
        evidence.mean(network, failures),
        evidence.mean(linear, failures),
        evidence.ratio(np.abs(network - linear), linear, failures),
    )


def report(results: Results, options: Options) -> Report:
    """Agreement at each d/n, and in the width's limit."""
    rows, claims = [], []
    figure: dict[str, list[Any]] = {
        name: [] for name in ("criterion", "n", "d", "network", "low", "high", "linear")
    }
    for criterion, cells in by(results["network-losses"], "criterion").items():
        name, parts = NAMES[criterion], []
        for cell in cells:
            keys = {key: cell.setting[key] for key in ("n", "d", "width", "xi")}
            network, linear, off = means(cell, "exact")
            rows.append(row(network, experiment=f"{name}, network", **keys))
            rows.append(row(linear, experiment=f"{name}, linear model", **keys))
            rows.append(row(off, experiment=f"{name}: relative distance to the linear model's", **keys))
            parts.append(evidence.below(f"d = {keys['d']}", SAYS, off, 0.05))
            entry = (criterion, keys["n"], keys["d"], network.value, *network.interval(), linear.value)
            for key, value in zip(figure, entry, strict=True):
                figure[key].append(value)
        claims.append(
            evidence.all_of(
                f"network, {name}: relative distance to the linear model's", SAYS, parts, note="xi = 1"
            )
        )
    for criterion, cells in by(results["network-losses-width"], "criterion").items():
        widths = [cell.setting["width"] for cell in cells]
        off = [means(cell, "twin")[2] for cell in cells]
        title = f"{NAMES[criterion]}: relative distance to the twin's"
        n = cells[0].setting["n"]
        rows += [row(e, experiment=title, n=n, d=20, width=h) for h, e in zip(widths, off, strict=True)]
        title = f"network, {NAMES[criterion]}: meets the twin's as h grows"
        claims.append(evidence.vanishes(title, SAYS, widths, off, 0.02, rate=0.25))
    return Report(rows, claims, {"network_losses": {key: np.array(values) for key, values in figure.items()}})


def draw(figures: Mapping[str, Mapping[str, np.ndarray]], folder: Path) -> None:
    """All three thresholds of network and linear model against d/n."""
    losses, predictor = figures["network_losses"], figures["network_predictor"]
    with plotting.style():
        fig, (ax,) = plotting.new("column", 2.9)
        for index, criterion in enumerate(("parameter", *CRITERIA)):
            data = predictor if criterion == "parameter" else losses
            rows = slice(None) if criterion == "parameter" else data["criterion"] == criterion
            n, d, y, low, high, linear = (
                data[k][rows] for k in ("n", "d", "network", "low", "high", "linear")
            )
            plotting.points(ax, d / n, y, low, high, f"${SYMBOLS[criterion]}$, network", index)
            label = "linear model, same data" if index == 0 else ""
            ax.plot(
                d / n, linear, "+", color="black", markersize=7, markeredgewidth=0.6, label=label, zorder=4
            )
            x = np.geomspace(0.8 * (d / n).min(), 1.25 * (d / n).max(), 100)
            limit = asymptotics.critical_strength(x, criterion=criterion)
            plotting.theory(ax, x, limit, "linear model, exact limit" if index == 0 else "")
        plotting.log_axes(ax)
        ax.set(xlabel="$d/n$", ylabel=r"threshold $\epsilon$")
        plotting.shared_legend(fig, [ax])
        plotting.save(fig, folder, "network_thresholds")


PART = Part("network_losses", experiments, report, draw)
