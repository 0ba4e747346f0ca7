"""Figures 1, 7 and 2 left: trajectories in the plane, and their distance from the clean one at every step."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from linphase import GaussianDesign, gradient_descent_batch, plotting, solve_batch
from linphase.streams import stream
from linphase.study import Experiment, Options, Part, Report, Results

N_STEPS = 100
STEP = 0.1
ATTACKS = {"clean": 0.0, "small": 0.2, "medium": 2.0, "large": 10.0}  # multiples of √(d/n)
STRENGTHS = (0.25, 0.5, 1.0, 2.0, 4.0)
SIZES = ((100, 2), (100, 10), (1000, 10))


def path_block(setting: Mapping[str, Any], replicates: range, seed: int) -> dict[str, np.ndarray]:
    """Four runs on one data set in the plane, and the points they aim at."""
    n, d = setting["n"], setting["d"]
    X, y = GaussianDesign(n, d).sample(stream(seed, "plane", n, d, 0))
    eps = np.array(list(ATTACKS.values())) * np.sqrt(d / n)
    paths = gradient_descent_batch(X[None], y[None], eps, STEP, N_STEPS)
    minimisers = solve_batch(np.repeat(X[None], len(eps), 0), np.repeat(y[None], len(eps), 0), eps).thetas
    return {"path": paths, "minimiser": minimisers[None]}


def distance_block(setting: Mapping[str, Any], replicates: range, seed: int) -> dict[str, np.ndarray]:
    """‖θ⁽ᵗ⁾(0) − θ⁽ᵗ⁾(ε)‖/‖θ⁽ᵗ⁾(0)‖ at t = 1..T for every ε."""
    n, d = setting["n"], setting["d"]
    data = [GaussianDesign(n, d).sample(stream(seed, "distance", n, d, k)) for k in replicates]
    X, y = (np.stack(part) for part in zip(*data, strict=True))
    eps = np.append(0.0, np.array(STRENGTHS) * np.sqrt(d / n))
    thetas = gradient_descent_batch(X, y, eps, STEP, N_STEPS)[:, :, 1:]
    clean = thetas[:, :1]
    return {"distance": np.linalg.norm(thetas[:, 1:] - clean, axis=-1) / np.linalg.norm(clean, axis=-1)}


def experiments(options: Options) -> list[Experiment]:
    """One data set in the plane; 100 for each size, as in the paper."""
    sizes = [{"n": n, "d": d} for n, d in SIZES]
    return [
        Experiment("trajectories-plane", path_block, [{"n": 100, "d": 2}]),
        Experiment("trajectories-distance", distance_block, sizes, 20 if options.quick else 100, 20),
    ]


def report(results: Results, options: Options) -> Report:
    """No claim: the data of two figures."""
    plane = results["trajectories-plane"][0].values
    figures = {"plane": {"path": plane["path"][0], "minimiser": plane["minimiser"][0]}}
    distances = {}
    for cell in results["trajectories-distance"]:
        values = cell.values["distance"]
        key = f"{cell.setting['n']}_{cell.setting['d']}"
        distances[f"mean_{key}"] = values.mean(axis=0)
        distances[f"se_{key}"] = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    return Report(figures=figures | {"distances": distances})


def draw(figures: Mapping[str, Mapping[str, np.ndarray]], folder: Path) -> None:
    """Figure 1/7 and Figure 2 left."""
    with plotting.style():
        fig, (ax,) = plotting.new("column", 2.9)
        plane = figures["plane"]
        for index, (name, multiple) in enumerate(ATTACKS.items()):
            label = name if multiple == 0 else rf"{name}, $\epsilon={multiple:g}\sqrt{{d/n}}$"
            plotting.trajectory(ax, plane["path"][index], label, index)
            ax.plot(*plane["minimiser"][index], "+", color="black", markersize=5, zorder=5)
        ax.set(xlabel=r"$\theta_1$", ylabel=r"$\theta_2$")
        plotting.shared_legend(fig, [ax])
        plotting.save(fig, folder, "trajectories")

        fig, axes = plotting.new("text", 2.5, cols=len(SIZES), sharey=True)
        t = np.arange(1, N_STEPS + 1)
        for ax, (n, d) in zip(axes, SIZES, strict=True):
            mean, se = (figures["distances"][f"{kind}_{n}_{d}"] for kind in ("mean", "se"))
            for index, multiple in enumerate(STRENGTHS):
                low, high = mean[index] - 1.96 * se[index], mean[index] + 1.96 * se[index]
                label = rf"$\epsilon={multiple:g}\sqrt{{d/n}}$"
                plotting.band(ax, t, mean[index], low, high, label, index)
            ax.set(xlabel=f"step $t$   ($n={n}$, $d={d}$)")
        axes[0].set(ylabel=r"$\|\theta^{(t)}(0)-\theta^{(t)}(\epsilon)\|\,/\,\|\theta^{(t)}(0)\|$")
        plotting.letters(axes)
        plotting.shared_legend(fig, axes)
        plotting.save(fig, folder, "distances")


PART = Part("trajectories", experiments, report, draw)
