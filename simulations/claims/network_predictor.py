"""Proposition 1, after Theorem 1: the boundary of the network's predictor is √(d/n).

The threshold ε_P of a network is where its attacked and its clean predictor, trained from the same weights,
differ as much as clean predictors spread: ‖f_ε − f_0‖ = ‖Std θ̂(0)‖_F, in root mean square over new inputs.
The spread is the linear model's given X; that clean networks have it, too, is measured.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from claims.networks import mean_square, threshold_block
from linphase import AdversarialProblem, GaussianDesign, evidence, two_layer_descent
from linphase.streams import stream
from linphase.study import Cell, Experiment, Options, Part, Report, Results, row

SAYS = "Theorem 1 holds for the predictor of a wide network: its boundary is sqrt(d/n)"
SAME = "the network's threshold is the linear model's"
LIMIT = f"{SAME} as h -> infinity"
SPREAD = "clean predictors of a wide network spread like clean linear ones"
BASE = {"criterion": "parameter", "activation": "tanh", "init": "vanishing", "xi": 1.0, "n_steps": 60}
WIDTH = 128
GRID = {(100, 2): 50, (100, 5): 50, (400, 2): 30, (400, 5): 30, (400, 20): 16, (1600, 5): 10, (1600, 20): 5}
QUICK = {(100, 2): 6, (100, 5): 6, (400, 5): 4}
GROWING = (16, 64, 256)


def spread_block(setting: Mapping[str, Any], replicates: range, seed: int) -> dict[str, np.ndarray]:
    """Mean square of f − x'θ₀ over new inputs, f a clean network, in variances of least squares."""
    n, d, width = setting["n"], setting["d"], setting["width"]
    design = GaussianDesign(n, d)
    square = np.empty(len(replicates))
    for i, k in enumerate(replicates):
        rng = stream(seed, "network-spread", n, d, width, k)
        problem = AdversarialProblem(*design.sample(rng), 0.0)
        points = rng.standard_normal((200, d))
        net = two_layer_descent(problem, width, rng, xi=setting["xi"], n_steps=60)
        square[i] = mean_square(
            net.beta[-1] - design.theta0, net.predict(points) - points @ design.theta0, points
        )
    return {"square": square / design.std_norm() ** 2}


def experiments(options: Options) -> list[Experiment]:
    """A grid of n and d at one width, three widths at one n and d, and the spread."""
    grid = QUICK if options.quick else GRID
    cells = [BASE | {"data": 0, "n": n, "d": d, "width": 64 if options.quick else WIDTH} for n, d in grid]
    growing = [BASE | {"data": h, "n": 400, "d": 5, "width": h} for h in GROWING]
    reps = 3 if options.quick else 12
    spread = [{"n": 100, "d": d, "width": 64, "xi": 1.0} for d in (2, 10)]
    return [
        Experiment(
            "network-predictor",
            threshold_block,
            cells,
            lambda s: grid[s["n"], s["d"]],
            lambda s: max(1, 12_000 // (s["n"] * s["d"])),
        ),
        Experiment("network-predictor-width", threshold_block, growing, reps, 3),
        Experiment("network-spread", spread_block, spread, 20 if options.quick else 600, 100),
    ]


def log_ratio(cell: Cell, other: str) -> np.ndarray:
    """|log| of the network's threshold over the exact one or the twin's."""
    return np.abs(np.log(cell.values["network"] / cell.values[other]))


def report(results: Results, options: Options) -> Report:
    """Exponents, agreement with the linear model on the same data, the width's limit, and the spread."""
    rows, claims = [], []
    figure: dict[str, list[Any]] = {name: [] for name in ("n", "d", "network", "low", "high", "linear")}
    cells = results["network-predictor"]
    estimates = [evidence.mean(cell.values["network"]) for cell in cells]
    for cell, e in zip(cells, estimates, strict=True):
        keys = {name: cell.setting[name] for name in ("n", "d", "width", "xi")}
        linear = evidence.mean(cell.values["exact"])
        rows += [
            row(e, experiment="eps_P, network", **keys),
            row(linear, experiment="eps_P, linear model", **keys),
        ]
        for key, value in zip(
            figure, (keys["n"], keys["d"], e.value, *e.interval(), linear.value), strict=True
        ):
            figure[key].append(value)
    n, d = (np.array(figure[name], dtype=float) for name in ("n", "d"))
    columns = {"d": np.log(d), "n": np.log(n)}
    fit = evidence.regression(columns, [e.log() for e in estimates])
    linear_fit = evidence.regression(columns, [evidence.mean(cell.values["exact"]).log() for cell in cells])
    for name, sign in (("d", 1), ("n", -1)):
        title = f"network, predictor's threshold: exponent of {name}"
        rivals = (sign * 0.25, sign * 1.0)
        note = (
            f"xi = 1, no correction for d/n; of the linear model on these data: {linear_fit[name].value:.3f}"
        )
        claims.append(evidence.equivalent(title, SAYS, fit[name], sign * 0.5, 0.06, rivals, note=note))
        rows.append(row(fit[name], experiment=title))
    parts = [
        evidence.below(
            f"n = {c.setting['n']}, d = {c.setting['d']}", SAME, evidence.mean(log_ratio(c, "exact")), 0.05
        )
        for c in cells
    ]
    claims.append(
        evidence.all_of("network, predictor's threshold: |log ratio| to the linear one", SAME, parts)
    )
    growing = results["network-predictor-width"]
    widths = [cell.setting["width"] for cell in growing]
    ratios = [evidence.mean(log_ratio(cell, "twin")) for cell in growing]
    rows += [
        row(e, experiment="eps_P: |log ratio| to the twin", n=400, d=5, width=h)
        for h, e in zip(widths, ratios, strict=True)
    ]
    title = "network, predictor's threshold: meets the twin's as h grows"
    claims.append(evidence.vanishes(title, LIMIT, widths, ratios, 0.01, rate=0.25))
    spreads = []
    for cell in results["network-spread"]:
        square = evidence.mean(cell.values["square"])
        spreads.append(evidence.equivalent(f"d = {cell.setting['d']}", SPREAD, square, 1.0, 0.2))
        keys = {name: cell.setting[name] for name in ("n", "d", "width", "xi")}
        rows.append(row(square, experiment="spread of clean predictors over the linear one, squared", **keys))
    claims.append(evidence.all_of("network, clean: the spread of predictors", SPREAD, spreads))
    return Report(
        rows, claims, {"network_predictor": {key: np.array(values) for key, values in figure.items()}}
    )


PART = Part("network_predictor", experiments, report)
