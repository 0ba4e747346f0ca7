"""Theorem 1, small attack: for ε ≪ √(d/n) the two trajectories stay together.

Along ε = √(d/n) n^(−1/4), sup over t ≤ T of ‖θ⁽ᵗ⁾(ε) − θ⁽ᵗ⁾(0)‖ / ‖Std θ̂(0)‖_F falls to 0 as n grows, however
d grows with it. At the limit of the run the ratio is about ε/ε_P, so its exponent in n is near −1/4.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from linphase import (
    AdversarialProblem,
    GaussianDesign,
    critical_step,
    evidence,
    gradient_descent_batch,
    plotting,
)
from linphase.streams import stream
from linphase.study import Experiment, Options, Part, Report, Results, row

N_STEPS = 100
POWER = 0.25
SAYS = "sup over t <= T of |theta_t(eps) - theta_t(0)| / |Std theta^(0)|_F -> 0 for eps << sqrt(d/n)"
REGIMES = {
    "d = 5": {40: 5, 160: 5, 640: 5, 2560: 5, 10240: 5},
    "d = n^(1/2)": {36: 6, 144: 12, 576: 24, 2304: 48, 4900: 70},
    "d = n^(3/4)": {40: 16, 160: 45, 640: 127, 1600: 253, 4000: 503},
    "d = n/5": {30: 6, 120: 24, 480: 96, 1500: 300, 3000: 600},
    "d = 2n": {15: 30, 60: 120, 240: 480, 750: 1500, 1500: 3000},
}


def block(setting: Mapping[str, Any], replicates: range, seed: int) -> dict[str, np.ndarray]:
    """The largest distance of a run from its clean twin, in units of the spread of least squares."""
    n, d = setting["n"], setting["d"]
    design = GaussianDesign(n, d)
    eps = np.sqrt(d / n) * n**-POWER
    largest = np.empty(len(replicates))
    for i, k in enumerate(replicates):
        X, y = design.sample(stream(seed, "small-attack", n, d, k))
        step = critical_step(AdversarialProblem(X, y, eps)) / 2
        clean, attacked = gradient_descent_batch(X[None], y[None], [0.0, eps], step, N_STEPS)[0]
        largest[i] = np.linalg.norm(attacked - clean, axis=1).max()
    return {"ratio": largest / design.std_norm()}


def experiments(options: Options) -> list[Experiment]:
    """Every regime over two decades of n."""
    return [
        Experiment(
            f"small-attack-{number}",
            block,
            [
                {"regime": regime, "n": n, "d": d}
                for n, d in sizes.items()
                if not options.quick or n * d <= 20_000
            ],
            lambda s: max(8, min(100, 6_000_000 // (s["n"] * s["d"]))),
            lambda s: max(1, 400_000 // (s["n"] * s["d"])),
        )
        for number, (regime, sizes) in enumerate(REGIMES.items())
    ]


def report(results: Results, options: Options) -> Report:
    """One claim a regime: exponent of n below −.15, and the ratio at the largest n below .15."""
    claims, rows = [], []
    figure: dict[str, list[Any]] = {name: [] for name in ("regime", "n", "ratio", "low", "high")}
    for cells in results.values():
        regime = str(cells[0].setting["regime"])
        n = [cell.setting["n"] for cell in cells]
        estimates = [evidence.mean(cell.values["ratio"]) for cell in cells]
        claims.append(
            evidence.vanishes(
                f"small attack, {regime}", SAYS, n, estimates, 0.5 if options.quick else 0.2, rate=0.15
            )
        )
        for cell, e in zip(cells, estimates, strict=True):
            rows.append(
                row(e, experiment="small attack", regime=regime, n=cell.setting["n"], d=cell.setting["d"])
            )
            for key, value in zip(figure, (regime, cell.setting["n"], e.value, *e.interval()), strict=True):
                figure[key].append(value)
    return Report(rows, claims, {"small_attack": {key: np.array(values) for key, values in figure.items()}})


def draw(figures: Mapping[str, Mapping[str, np.ndarray]], folder: Path) -> None:
    """The ratio against n, with n^(−1/4)."""
    data = figures["small_attack"]
    with plotting.style():
        fig, (ax,) = plotting.new("column", 2.6)
        for index, regime in enumerate(REGIMES):
            chosen = data["regime"] == regime
            columns = (data[name][chosen] for name in ("n", "ratio", "low", "high"))
            label = "$" + regime.replace("(", "{").replace(")", "}") + "$"
            plotting.band(ax, *columns, label, index)
        n = np.array([15.0, 10240.0])
        plotting.theory(ax, n, 0.8 * n**-POWER, "$n^{-1/4}$", dashed=True)
        plotting.log_axes(ax)
        ax.set(
            xlabel="$n$", ylabel=r"$\sup_t\|\theta^{(t)}(\epsilon)-\theta^{(t)}(0)\|\,/\,\|\mathrm{Std}\|_F$"
        )
        plotting.shared_legend(fig, [ax])
        plotting.save(fig, folder, "small_attack")


PART = Part("small_attack", experiments, report, draw)
