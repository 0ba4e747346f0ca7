"""Figure 5: how the generalisation gap grows after the first decay of the rate, below and above ε*."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from claims.deep_cells import entry, interval, open_if_lost
from claims.deep_costs import searching, training
from claims.deep_sets import attack_steps
from claims.deep_start import Start, method, setting, usable
from linphase import evidence, plotting
from linphase.study import Experiment, Local, Options, Part, Report, Results, row

MULTIPLES = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0)
"""Strengths in units of ε*."""
SIZES = {"digits": 440, "mnist": 10_000, "fashion-mnist": 10_000}
SEEDS = {"digits": 16, "mnist": 4, "fashion-mnist": 4}
MARGIN = 0.1
"""Within which ratios count as equal; growth is growth beyond it."""
WINDOW = 0.1
"""Share of the epochs over which gaps are averaged: at the end, and after the first decay of the rate.

The paper compares with the first epoch after it, which there has 391 updates. An epoch of a small set has a
few, and ends inside the transient of the decay.
"""
FLAT = "training at eps <= eps* overfits no more than clean training: the gap grows as at eps = 0"
GROWS = "training at eps > eps* overfits: the ratio of gaps grows"


def block(setting: Mapping[str, Any], replicates: range, seed: int, local: Local) -> dict[str, np.ndarray]:
    """ε*, R, and (replicates, multiples, epochs) the adversarial training and test loss after each epoch."""
    shape = (len(replicates), len(MULTIPLES), setting["epochs"])
    found = {"eps_star": np.empty(len(replicates)), "target": np.empty(len(replicates))}
    found |= {name: np.full(shape, np.nan) for name in ("train", "test")}
    for i, k in enumerate(replicates):
        start = Start("overfitting", setting, k, seed, local)
        search = start.search()
        eps = start.eps_star(search)
        found["eps_star"][i], found["target"][i] = eps, search.clean.target
        if usable(eps):
            plan = start.recipe.but(judged_every=1)
            _, histories = start.train([m * eps for m in MULTIPLES], start.seed, plan)
            found["train"][i] = [history.train_loss for history in histories]
            found["test"][i] = [history.test_loss for history in histories]
    return found


def grid(options: Options) -> list[dict[str, Any]]:
    """One network and size."""
    return [setting(options, SIZES.get(options.own["dataset"], 50_000))]


def seeds(options: Options) -> int:
    """Number of seeds."""
    return 2 if options.quick else SEEDS.get(options.own["dataset"], 1)


def experiments(options: Options) -> list[Experiment]:
    """A block a seed."""
    return [Experiment("overfitting", block, grid(options), seeds(options), 1, local=True)]


def passes(s: Mapping[str, Any]) -> float:
    """Passes over the training data that a seed takes."""
    runs = training(s, 0, every=1) + (len(MULTIPLES) - 1) * training(s, attack_steps(s), every=1)
    return searching(s, s["network"] == "mlp") + runs


def report(results: Results, options: Options) -> Report:
    """The ratio at the end: within the margin of that at ε = 0 up to ε*, above it beyond."""
    (cell,) = results["overfitting"]
    values, epochs = cell.values, cell.setting["epochs"]
    good = np.isfinite(values["train"][:, 0, 0])
    gaps = (values["test"] - values["train"])[good]
    start, last = windows(epochs)
    first, final = gaps[:, :, start].mean(axis=2), gaps[:, :, last].mean(axis=2)
    rows = [
        entry(np.where(good, values["eps_star"], np.nan), experiment=f"eps*, {method(cell.setting)}"),
        entry(values["target"], experiment="R, clean test loss"),
    ]
    lost = int((~good).sum())
    estimates, beyond = {}, {}
    columns = {"epoch": np.arange(1.0, epochs + 1), "reference": np.full(epochs, start.start + 1.0)}
    for k, multiple in enumerate(MULTIPLES):
        keys = {"multiple of eps*": multiple}
        rows.append(entry(first[:, k], experiment="gap after the first decay", **keys))
        rows.append(entry(final[:, k], experiment="gap at the end", **keys))
        triples = np.array([_ratio(gaps[:, k, e], first[:, k], lost) for e in range(epochs)]).T
        for name, column in zip(("ratio", "low", "high"), triples, strict=True):
            columns[f"{name}_{multiple:g}"] = column
        if len(gaps) > 1:
            estimates[multiple] = evidence.ratio(final[:, k], first[:, k], lost)
            rows.append(row(estimates[multiple], experiment="ratio of gaps at the end", **keys))
            if k:  # seed by seed: a schedule may let the gap of clean training grow as well
                excess = final[:, k] / first[:, k] - final[:, 0] / first[:, 0]
                beyond[multiple] = evidence.mean(excess, failures=lost)
                title = "ratio of gaps at the end, less that at eps = 0"
                rows.append(row(beyond[multiple], experiment=title, **keys))
    return Report(rows, _claims(estimates, beyond) if estimates else [], {"overfitting": columns})


def windows(epochs: int) -> tuple[slice, slice]:
    """Epochs, counted from 0, of the reference (from the first at the lower rate on) and of the end."""
    decay, length = min(epochs - 1, max(1, round(0.5 * epochs))), max(1, round(WINDOW * epochs))
    return slice(decay, decay + length), slice(epochs - length, epochs)


def _ratio(top: np.ndarray, bottom: np.ndarray, lost: int) -> tuple[float, float, float]:
    """Ratio of the mean gaps with its interval."""
    if len(top) > 1:
        estimate = evidence.ratio(top, bottom, lost)
        return estimate.value, *estimate.interval()
    return interval(top / bottom)


def _claims(
    ratios: Mapping[float, evidence.Estimate], beyond: Mapping[float, evidence.Estimate]
) -> list[evidence.Claim]:
    """Up to ε* as in clean training; past it growth, and more of it than there."""
    note = "final over reference gap, less that ratio at eps = 0, seed by seed"
    flat = [evidence.equivalent(f"eps = {m:g} eps*", FLAT, beyond[m], 0.0, MARGIN) for m in MULTIPLES[1:3]]
    grows = [evidence.above(f"{m:g} eps*, less that at 0", GROWS, beyond[m], 0.0) for m in MULTIPLES[4:]]
    grows += [evidence.above(f"eps = {m:g} eps*", GROWS, ratios[m], 1 + MARGIN) for m in MULTIPLES[4:]]
    at = "ratio of gaps, eps = eps*: as in clean training"
    claims = [
        evidence.all_of("ratio of gaps, eps <= eps*/2: as in clean training", FLAT, flat, note=note),
        evidence.equivalent(at, FLAT, beyond[1.0], 0.0, MARGIN, note=note),
        evidence.all_of("ratio of gaps, eps >= 1.5 eps*: grows, more than at 0", GROWS, grows, note=note),
    ]
    return [open_if_lost(claim) for claim in claims]


def draw(figures: Mapping[str, Mapping[str, np.ndarray]], folder: Path) -> None:
    """Ratio against epoch from the reference on, for each ε; at the end against ε/ε*."""
    data = figures["overfitting"]
    epoch, (_, last) = data["epoch"], windows(data["epoch"].size)
    shown = epoch >= data["reference"][0]
    with plotting.style():
        fig, (left, right) = plotting.new("text", 2.7, cols=2, width_ratios=(3, 2), sharey=True)
        for index, multiple in enumerate(MULTIPLES):
            columns = [data[f"{name}_{multiple:g}"] for name in ("ratio", "low", "high")]
            label = rf"$\epsilon={multiple:g}\,\epsilon^*$" if multiple else r"$\epsilon=0$"
            plotting.band(left, epoch[shown], *(column[shown] for column in columns), label, index)
            ends = ([column[last].mean()] for column in columns)
            plotting.points(right, [multiple], *ends, "", index)
        clean = data["ratio_0"][last].mean()
        left.axhline(1.0, color="black", linewidth=0.7, zorder=1)
        right.axhline(clean, color="black", linewidth=0.7, zorder=1)
        right.axhspan(clean - MARGIN, clean + MARGIN, color="0.92", linewidth=0, zorder=0)
        left.set(xlabel="epoch", ylabel="gap / gap after the first decay")
        left.locator_params("x", integer=True)
        right.set(xlabel=r"$\epsilon/\epsilon^*$")
        plotting.threshold(right, 1.0)
        plotting.letters([left, right])
        plotting.shared_legend(fig, [left, right])
        plotting.save(fig, folder, "overfitting")


PART = Part("overfitting", experiments, report, draw)
