"""Proposition 1: trajectories of the network's effective coefficient and of its linear twin in the plane."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from linphase import AdversarialProblem, GaussianDesign, plotting, two_layer_descent
from linphase.streams import stream
from linphase.study import Experiment, Options, Part, Report, Results

N, D, N_STEPS, STEP = 100, 2, 60, 0.1
WIDTHS = (4, 32, 256)
PANELS = {"clean": ("vanishing", 0.0), "attacked": ("vanishing", 2.0), "lazy": ("lazy", 2.0)}  # ε in √(d/n)


def block(setting: Mapping[str, Any], replicates: range, seed: int) -> dict[str, np.ndarray]:
    """Networks of several widths and their twins on one data set."""
    X, y = GaussianDesign(N, D).sample(stream(seed, "network-plane", N, D))
    problem = AdversarialProblem(X, y, setting["multiple"] * math.sqrt(D / N))
    paths = np.empty((len(WIDTHS), 2, N_STEPS + 1, D))
    for i, width in enumerate(WIDTHS):
        start = stream(seed, "network-plane-start", width)
        net = two_layer_descent(
            problem, width, start, init=setting["init"], xi=0.0, step=STEP, n_steps=N_STEPS
        )
        paths[i] = net.beta, net.twin.thetas
    return {"paths": paths[None]}


def experiments(options: Options) -> list[Experiment]:
    """One data set in the plane, clean, attacked, and attacked from the customary scale."""
    settings = [{"panel": panel, "init": init, "multiple": m} for panel, (init, m) in PANELS.items()]
    return [Experiment("network-paths", block, settings)]


def report(results: Results, options: Options) -> Report:
    """No claim: the data of a figure."""
    paths = {cell.setting["panel"]: cell.values["paths"][0] for cell in results["network-paths"]}
    return Report(figures={"network_paths": paths})


def draw(figures: Mapping[str, Mapping[str, np.ndarray]], folder: Path) -> None:
    """Networks in colour, twins as thin lines."""
    with plotting.style():
        fig, axes = plotting.new("text", 2.6, cols=len(PANELS))
        for ax, (panel, (_, multiple)) in zip(axes, PANELS.items(), strict=True):
            networks, twins = np.swapaxes(figures["network_paths"][panel], 0, 1)
            for index, width in enumerate(WIDTHS):
                plotting.trajectory(ax, networks[index], f"$h={width}$", index)
            for twin in twins:
                plotting.theory(ax, *twin.T, "linear twin")
            attack = r"\epsilon=0" if multiple == 0 else rf"\epsilon={multiple:g}\sqrt{{d/n}}"
            ax.set(xlabel=rf"$\beta_1$   ({'lazy, ' if panel == 'lazy' else ''}${attack}$)")
        axes[0].set(ylabel=r"$\beta_2$")
        plotting.letters(axes)
        plotting.shared_legend(fig, axes)
        plotting.save(fig, folder, "network_paths")


PART = Part("network_paths", experiments, report, draw)
