"""Proposition 1: Figures 2 right and 3 for the network: p-values of its predictor and of its loss.

The predictor enters by its values at d fixed test points, as many as tell linear predictors apart: T² is that
of θ⁽ᵀ⁾ if the network is linear. A replicate draws a reference set of clean networks of its own, 300 as in
the paper; their twins see the same data.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from linphase import AdversarialProblem, GaussianDesign, evidence, plotting, two_layer_descent
from linphase.streams import stream
from linphase.study import Experiment, Options, Part, Report, Results, row

N, DIMENSIONS, WIDTH = 100, (2, 5, 10), 64
N_STEPS, STEP = 50, 0.2
LOGS = np.array([-3.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0])
TESTS = {"predictor": "$f$ at test points", "loss": "the training loss"}
FALLS = "the p-value of the network's predictor starts to fall dramatically at log(eps/eps*) = 0"
LOSS = "the p-value of the network's training loss is close to 0 at log(eps/eps*) = 0"
SAME = "the network's p-values are the linear model's"
DRIFT = "the p-value of the network's loss falls at the same multiple of sqrt(d/n) for every d"


def block(setting: Mapping[str, Any], replicates: range, seed: int) -> dict[str, np.ndarray]:
    """Mean p-values over attacked runs at each ε, of network and twin, by test."""
    n, d, size, many = setting["n"], setting["d"], setting["reference"], setting["attacked"]
    points = stream(seed, "network-test-points", d).standard_normal((d, d))
    eps = math.sqrt(d / n) * np.exp(LOGS)
    p = np.empty((2, 2, len(replicates), LOGS.size))  # network or twin, predictor or loss
    for i, k in enumerate(replicates):
        key = seed, "network-p-values", n, d, k
        clean = [_pair(setting, points, 0.0, (*key, j)) for j in range(size)]
        attacked = [_pair(setting, points, e, (*key, size + j)) for e in eps for j in range(many)]
        for model in range(2):
            values, losses = (np.array([pair[model][q] for pair in clean]) for q in range(2))
            new_values, new_losses = (np.array([pair[model][q] for pair in attacked]) for q in range(2))
            cov = np.atleast_2d(np.cov(values, rowvar=False))
            found = (
                evidence.hotelling_p_value(new_values, values.mean(axis=0), cov, size),
                evidence.t_p_value(new_losses, losses.mean(), losses.std(ddof=1), size),
            )
            for test in range(2):
                p[model, test, i] = found[test].reshape(LOGS.size, many).mean(axis=1)
    return {
        f"{model}_{test}": p[m, q]
        for m, model in enumerate(("network", "twin"))
        for q, test in enumerate(TESTS)
    }


def _pair(
    setting: Mapping[str, Any], points: np.ndarray, eps: float, key: tuple[Any, ...]
) -> list[tuple[np.ndarray, float]]:
    """Predictions at the test points and final training loss of one network, and of its twin."""
    rng = stream(*key)
    X, y = GaussianDesign(setting["n"], setting["d"]).sample(rng)
    problem = AdversarialProblem(X, y, eps)
    net = two_layer_descent(problem, setting["width"], rng, xi=setting["xi"], step=STEP, n_steps=N_STEPS)
    theta = net.twin.thetas[-1]
    return [(net.predict(points), net.losses[-1]), (points @ theta, problem.loss(theta))]


def experiments(options: Options) -> list[Experiment]:
    """Three d, as in the paper."""
    sizes = {"reference": 30, "attacked": 3} if options.quick else {"reference": 300, "attacked": 12}
    settings = [sizes | {"n": N, "d": d, "width": WIDTH, "xi": 1.0} for d in DIMENSIONS]
    return [Experiment("network-p-values", block, settings, 3 if options.quick else 16, 1)]


def report(results: Results, options: Options) -> Report:
    """The fall at 0 for each d, the same for network and twin, and the drift of the loss with d."""
    rows, claims = [], []
    figure: dict[str, np.ndarray] = {"log": LOGS}
    zero = int(np.argmin(np.abs(LOGS)))
    at_zero, same = {}, []
    for cell in results["network-p-values"]:
        d = cell.setting["d"]
        means = {name: [evidence.mean(column) for column in p.T] for name, p in cell.values.items()}
        for name, estimates in means.items():
            low, high = zip(*(e.interval() for e in estimates), strict=True)
            columns = {"": [e.value for e in estimates], "_low": low, "_high": high}
            figure |= {f"{name}_{d}{end}": np.array(column) for end, column in columns.items()}
            title = "p-value of the {1}, {0}".format(*name.split("_"))
            rows += [
                row(e, experiment=title, n=N, d=d, width=WIDTH, xi=1.0, log=float(x))
                for e, x in zip(estimates, LOGS, strict=True)
            ]
        at = {
            x: {test: means[f"network_{test}"][int(np.argmin(np.abs(LOGS - x)))] for test in TESTS}
            for x in LOGS
        }
        parts = [
            evidence.equivalent("p at 0", FALLS, at[0.0]["predictor"], 0.35, 0.15),
            evidence.above("p at -2", FALLS, at[-2.0]["predictor"], 0.35),
            evidence.below("p at 1", FALLS, at[1.0]["predictor"], 0.1),
        ]
        claims.append(evidence.all_of(f"network, p-value of the predictor, d = {d}", FALLS, parts))
        parts = [
            evidence.above("p at -3", LOSS, at[-3.0]["loss"], 0.35),
            evidence.below("p at 0", LOSS, at[0.0]["loss"], 0.35),
            evidence.below("p at 1", LOSS, at[1.0]["loss"], 0.05),
        ]
        claims.append(evidence.all_of(f"network, p-value of the loss, d = {d}", LOSS, parts))
        at_zero[d] = at[0.0]["loss"]
        for test in TESTS:
            difference = evidence.mean(
                cell.values[f"network_{test}"][:, zero] - cell.values[f"twin_{test}"][:, zero]
            )
            same.append(evidence.equivalent(f"{test}, d = {d}", SAME, difference, 0.0, 0.05))
    claims.append(evidence.all_of("network and twin: difference of p-values at eps = sqrt(d/n)", SAME, same))
    least, most = DIMENSIONS[0], DIMENSIONS[-1]
    drift = evidence.combine([1.0, -1.0], [at_zero[least], at_zero[most]])
    title = f"network, p-value of the loss at eps = sqrt(d/n): the same at d = {least} and {most}"
    note = "the loss moves by a multiple of sqrt(d) standard deviations there: its scale is 1/sqrt(n)"
    claims.append(evidence.below(title, DRIFT, drift, 0.08, expected="refuted", note=note))
    return Report(rows, claims, {"network_p_values": figure})


def draw(figures: Mapping[str, Mapping[str, np.ndarray]], folder: Path) -> None:
    """Mean p-values of the network's predictor and of its loss; those of its twin as thin lines."""
    data = figures["network_p_values"]
    with plotting.style():
        fig, axes = plotting.new("text", 2.6, cols=2, sharey=True)
        for ax, test in zip(axes, TESTS, strict=True):
            for index, d in enumerate(DIMENSIONS):
                columns = (data[f"network_{test}_{d}{end}"] for end in ("", "_low", "_high"))
                plotting.band(ax, data["log"], *columns, f"$d={d}$", index)
            for d in DIMENSIONS:
                plotting.theory(ax, data["log"], data[f"twin_{test}_{d}"], "linear twin")
            plotting.threshold(ax, 0.0)
            ax.set(
                xlabel=r"$\log(\epsilon/\sqrt{d/n})$",
                ylabel=f"mean $p$-value of {TESTS[test]}",
                ylim=(0, None),
            )
            ax.tick_params(labelleft=True)
        plotting.letters(axes)
        plotting.shared_legend(fig, axes)
        plotting.save(fig, folder, "network_p_values")


PART = Part("network_p_values", experiments, report, draw)
