"""Proposition 1: what the vanishing initialisation is needed for.

θⱼ(0) ~ N(0, I/(d h^(1+ξ))) vanishes for every ξ ≥ 0, and ξ = 0 will do. At the customary scale, N(0, I/d),
the network trains in the lazy regime: it is no linear model at any width, and its training loss falls below
that of every linear model as training goes on, so that the thresholds of its losses lie elsewhere.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from claims.draws import NAMES, SYMBOLS, by
from claims.network_losses import means
from claims.network_width import distance_rows, median_rate, rate, rate_claim
from claims.networks import distance_block, threshold_block
from linphase import evidence, plotting
from linphase.study import Experiment, Options, Part, Report, Results, row

N, D = 100, 10  # of the thresholds
STARTS = {"xi = 1": ("vanishing", 1.0), "xi = 0": ("vanishing", 0.0), "lazy": ("lazy", 0.0)}
LABELS = {"xi = 1": r"$\xi=1$", "xi = 0": r"$\xi=0$", "lazy": "lazy"}
MULTIPLES = (0.0, 1.0)  # of √(d/n)
CRITERIA = ("loss", "clean-loss", "parameter")
ENOUGH = "the network is its linear twin as h -> infinity for xi = 0, too"
BREAKS = "at the customary scale of the first layer it is not, at any width"
LAZY = "at the customary scale of the first layer the losses have the linear model's thresholds"


def experiments(options: Options) -> list[Experiment]:
    """Distance to the twin against width, and thresholds, for three initialisations."""
    widths = (64, 256) if options.quick else (64, 256, 1024)
    width = 64 if options.quick else 256
    distances = [
        {
            "start": start,
            "n": 100,
            "d": 5,
            "eps": m * math.sqrt(5 / 100),
            "multiple": m,
            "width": h,
            "data": h * m,
        }
        | {"activation": "tanh", "signs": "random", "init": init, "xi": xi}
        for start, (init, xi) in STARTS.items()
        for m in MULTIPLES
        for h in widths
    ]
    thresholds = [
        {"start": start, "criterion": criterion, "n": N, "d": D, "width": width, "data": 0, "n_steps": 60}
        | {"activation": "tanh", "init": init, "xi": xi}
        for start, (init, xi) in STARTS.items()
        for criterion in CRITERIA
    ]
    few, many = (6, 10) if options.quick else (20, 60)
    return [
        Experiment(
            "network-start",
            distance_block,
            distances,
            lambda s: many if s["multiple"] > 0 and s["start"] == "xi = 0" else few,
            lambda s: max(1, 6000 // s["width"]),
        ),
        Experiment("network-start-thresholds", threshold_block, thresholds, 2 if options.quick else 12, 4),
    ]


def report(results: Results, options: Options) -> Report:
    """ξ = 0 is enough; the customary scale is not."""
    rows, claims = [], []
    distances = {
        start: by(cells, "multiple") for start, cells in by(results["network-start"], "start").items()
    }
    figure: dict[str, list[Any]] = {
        key: [] for key in ("start", "multiple", "width", "median", "low", "high")
    }
    for cell in results["network-start"]:
        s = cell.setting
        rows += [entry | {"start": s["start"]} for entry in distance_rows(cell)]
        median = evidence.median(cell.values["beta"])
        entry = (s["start"], s["multiple"], s["width"], median.value, *median.interval())
        for key, value in zip(figure, entry, strict=True):
            figure[key].append(value)
    near, lazy = distances["xi = 0"], distances["lazy"]
    title = "network, xi = 0, {}: distance to the twin falls as 1/h"
    claims.append(rate_claim(title.format("clean"), ENOUGH, near[0.0], -1.0, 0.1))
    attacked = "eps = sqrt(d/n), median"
    claims.append(rate_claim(title.format(attacked), ENOUGH, near[1.0], -1.0, 0.35, median_rate))
    for multiple, attack, find in ((0.0, "clean", rate), (1.0, attacked, median_rate)):
        title = f"network, lazy, {attack}: distance to the twin does not fall"
        claims.append(rate_claim(title, BREAKS, lazy[multiple], 0.0, 0.3, find))

    columns: dict[str, list[Any]] = {key: [] for key in ("start", "criterion", "network", "linear")}
    off: dict[str, dict[str, evidence.Estimate]] = {start: {} for start in STARTS}
    for cell in results["network-start-thresholds"]:
        start, criterion = cell.setting["start"], cell.setting["criterion"]
        network, _, off[start][criterion] = means(cell, "exact")
        keys = {"n": N, "d": D, "width": cell.setting["width"], "start": start}
        rows.append(row(network, experiment=f"{NAMES[criterion]}, network", **keys))
        title = f"{NAMES[criterion]}: relative distance to the linear model's"
        rows.append(row(off[start][criterion], experiment=title, **keys))
        for pair in zip(cell.values["network"], cell.values["exact"], strict=True):
            for key, value in zip(columns, (start, criterion, *pair), strict=True):
                columns[key].append(value)
    parts = [evidence.below(NAMES[c], ENOUGH, off["xi = 0"][c], 0.1) for c in CRITERIA]
    title = "network, xi = 0: relative distance of thresholds to the linear model's"
    claims.append(evidence.all_of(title, ENOUGH, parts))
    title = "network, lazy: relative distance of the losses' thresholds to the linear model's"
    parts = [evidence.below(NAMES[c], LAZY, off["lazy"][c], 0.1) for c in ("loss", "clean-loss")]
    note = f"the predictor's threshold is off by {off['lazy']['parameter'].value:.2f}"
    claims.append(evidence.all_of(title, LAZY, parts, expected="refuted", note=note))
    figures = {"network_start": figure, "network_start_thresholds": columns}
    return Report(rows, claims, {n: {k: np.array(v) for k, v in f.items()} for n, f in figures.items()})


def draw(figures: Mapping[str, Mapping[str, np.ndarray]], folder: Path) -> None:
    """Distance to the twin against width, and thresholds of network and linear model on the same data."""
    data, pairs = figures["network_start"], figures["network_start_thresholds"]
    with plotting.style():
        fig, (left, right) = plotting.new("text", 2.9, cols=2)
        for index, start in enumerate(STARTS):
            for multiple in MULTIPLES:
                rows = (data["start"] == start) & (data["multiple"] == multiple)
                columns = (data[name][rows] for name in ("width", "median", "low", "high"))
                label = LABELS[start] + (r", $\epsilon=0$" if multiple == 0 else r", $\epsilon=\sqrt{d/n}$")
                plotting.band(left, *columns, label, 2 * index + int(multiple))
        plotting.log_axes(left)
        left.set(xlabel="width $h$", ylabel=r"$\sup_t\|\beta^{(t)}-\theta^{(t)}\|$", ylim=(1e-4, 1.2))
        for index, criterion in enumerate(CRITERIA):
            for start, face in (("xi = 0", "none"), ("lazy", None)):
                rows = (pairs["start"] == start) & (pairs["criterion"] == criterion)
                rows &= (pairs["linear"] > 0) & (pairs["network"] > 0)
                look = plotting.look(index) | {"linestyle": "none", "markersize": 3.5}
                if face:
                    look["markerfacecolor"] = face
                label = f"${SYMBOLS[criterion]}$, {LABELS[start]}"
                right.plot(pairs["linear"][rows], pairs["network"][rows], **look, label=label)
        ends = pairs["linear"][pairs["linear"] > 0]
        ends = np.array([0.8 * ends.min(), 1.25 * ends.max()])
        plotting.theory(right, ends, ends)
        plotting.log_axes(right)
        right.set(xlabel="threshold of the linear model", ylabel="threshold of the network")
        plotting.letters([left, right])
        left.legend(fontsize=7, loc="lower left")
        right.legend(fontsize=7)
        plotting.save(fig, folder, "network_start")


PART = Part("network_start", experiments, report, draw)
