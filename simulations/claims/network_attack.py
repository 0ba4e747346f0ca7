"""Proposition 1: one gradient step is the attack where the network is near-linear; not where it is lazy.

The share of a trained network's loss that one step (FGM) misses and 20 projected steps (PGD) find, and by how
much the losses under PGD of networks trained against FGM and against PGD differ.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from linphase import AdversarialProblem, GaussianDesign, evidence, plotting, two_layer_descent
from linphase.streams import stream
from linphase.study import Experiment, Options, Part, Report, Results, row

N, D, WIDTH, N_STEPS = 100, 5, 64, 100
MULTIPLES = (0.5, 1.0, 2.0, 4.0, 8.0)  # of √(d/n)
TRAINED = (1.0, 8.0)  # those at which networks are trained against PGD as well
STARTS = {"near-linear": ("vanishing", 1.0), "lazy": ("lazy", 0.0)}
LABELS = {"near-linear": r"vanishing start, $\xi=1$", "lazy": "lazy"}
NEAR, TRAIN_NEAR = 0.001, 0.02
SAYS = "FGM finds all but .1 % of the loss that 20-step PGD finds on a near-linear network, up to 8 sqrt(d/n)"
TRAINING = "training against FGM is training against PGD: the loss under PGD differs by less than 2 %"


def block(setting: Mapping[str, Any], replicates: range, seed: int) -> dict[str, np.ndarray]:
    """Share of the loss that FGM misses at each ε, and of the loss that training against it leaves."""
    n, d = setting["n"], setting["d"]
    missed, gain = np.empty((2, len(replicates), len(MULTIPLES)))
    left = np.empty((len(replicates), len(TRAINED)))
    for i, k in enumerate(replicates):
        X, y = GaussianDesign(n, d).sample(stream(seed, "network-attack", n, d, k))
        clean = AdversarialProblem(X, y, 0.0)
        for j, multiple in enumerate(MULTIPLES):
            problem = AdversarialProblem(X, y, multiple * math.sqrt(d / n))
            settings = {"init": setting["init"], "xi": setting["xi"], "n_steps": N_STEPS}
            start = seed, "network-attack-start", n, d, setting["width"], k
            net = two_layer_descent(problem, setting["width"], stream(*start), **settings)
            fgm, pgd = net.loss(), net.loss(attack="pgd")
            missed[i, j] = (pgd - fgm) / pgd
            gain[i, j] = (pgd - fgm) / (pgd - net.loss(clean))
            if multiple in TRAINED:
                other = two_layer_descent(problem, setting["width"], stream(*start), attack="pgd", **settings)
                left[i, TRAINED.index(multiple)] = pgd / other.losses[-1] - 1
    return {"missed": missed, "gain": gain, "left": left}


def experiments(options: Options) -> list[Experiment]:
    """A near-linear and a lazy network on the same data."""
    settings = [
        {"start": start, "n": N, "d": D, "width": WIDTH, "init": init, "xi": xi}
        for start, (init, xi) in STARTS.items()
    ]
    return [Experiment("network-attack", block, settings, 3 if options.quick else 16, 2)]


def report(results: Results, options: Options) -> Report:
    """Both shares, near-linear and lazy."""
    rows, claims = [], []
    figure: dict[str, list[Any]] = {name: [] for name in ("start", "multiple", "missed", "low", "high")}
    for cell in results["network-attack"]:
        start = cell.setting["start"]
        keys = {"n": N, "d": D, "width": WIDTH, "start": start}
        missed = [evidence.mean(column) for column in cell.values["missed"].T]
        gain = [evidence.mean(column) for column in cell.values["gain"].T]
        left = [evidence.mean(np.abs(column)) for column in cell.values["left"].T]
        for multiple, e, g in zip(MULTIPLES, missed, gain, strict=True):
            rows.append(row(e, experiment="share of the loss that FGM misses", multiple=multiple, **keys))
            rows.append(
                row(g, experiment="share of the attack's gain that FGM misses", multiple=multiple, **keys)
            )
            for key, value in zip(figure, (start, multiple, e.value, *e.interval()), strict=True):
                figure[key].append(value)
        for multiple, e in zip(TRAINED, left, strict=True):
            rows.append(row(e, experiment="|loss of FGM- over PGD-trained - 1|", multiple=multiple, **keys))
        lazy = start == "lazy"
        tested = [m for m in MULTIPLES if not lazy or m >= 4]
        parts = [evidence.below(f"{m:g} sqrt(d/n)", SAYS, missed[MULTIPLES.index(m)], NEAR) for m in tested]
        expected = "refuted" if lazy else "supported"
        note = (
            f"at 8 sqrt(d/n) it misses {missed[-1].value:.2g} of the loss, {gain[-1].value:.2g} of the gain"
        )
        title = f"network, {start}: share of the loss that FGM misses"
        claims.append(evidence.all_of(title, SAYS, parts, expected=expected, note=note))
        parts = [
            evidence.below(f"{m:g} sqrt(d/n)", TRAINING, e, TRAIN_NEAR)
            for m, e in zip(TRAINED, left, strict=True)
            if not lazy or m >= 4
        ]
        title = f"network, {start}: training against FGM in place of PGD"
        claims.append(evidence.all_of(title, TRAINING, parts, expected=expected))
    return Report(rows, claims, {"network_attack": {key: np.array(values) for key, values in figure.items()}})


def draw(figures: Mapping[str, Mapping[str, np.ndarray]], folder: Path) -> None:
    """Share of the loss that FGM misses against ε."""
    data = figures["network_attack"]
    with plotting.style():
        fig, (ax,) = plotting.new("column", 2.4)
        for index, start in enumerate(STARTS):
            rows = data["start"] == start
            columns = (np.maximum(data[name][rows], 1e-10) for name in ("multiple", "missed", "low", "high"))
            plotting.band(ax, *columns, LABELS[start], index)
        plotting.log_axes(ax)
        ax.set(xlabel=r"$\epsilon/\sqrt{d/n}$", ylabel="share of the loss FGM misses")
        ax.legend()
        plotting.save(fig, folder, "network_attack")


PART = Part("network_attack", experiments, report, draw)
