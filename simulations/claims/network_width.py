"""Proposition 1: the network is its linear twin in the limit of the width, at rate 1/h.

For ε > 0 the descent is discontinuous in the signs of the residuals: network and twin that disagree on one
part by about 4ηε‖β‖‖x‖/n in that step, whatever the width. Fewer and fewer data sets meet a disagreement as h
grows, so the median over data sets falls like 1/h, and the mean keeps the floor of those that do.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from claims.draws import by
from claims.networks import distance_block
from linphase import evidence, plotting
from linphase.study import Cell, Experiment, Options, Part, Report, Results, row

N, D = 100, 5
MULTIPLES = (0.0, 0.5, 1.0, 2.0)  # of √(d/n)
LABELS = dict(zip(MULTIPLES, ("0", r"\sqrt{d/n}/2", r"\sqrt{d/n}", r"2\sqrt{d/n}"), strict=True))
WIDTHS = {64: 100, 256: 100, 1024: 70, 4096: 46}  # replicates for each ε > 0
PLAIN = ("tanh", "random")
LAYERS = {  # activation and second layer, and the exponent of h that theory gives
    PLAIN: -1.0,
    ("tanh", "balanced"): -1.0,
    ("erf", "random"): -1.0,
    ("softplus", "random"): -1.0,
    ("quadratic", "random"): -1.0,
    ("quadratic", "balanced"): -1.0,
    ("raw-softplus", "balanced"): -1.0,
    ("tanh", "equal"): -1.0,
    ("quadratic", "equal"): -0.5,
    ("raw-softplus", "random"): 0.0,
}
RATES = (-1.0, -0.5, 0.0)
SAYS = "a two-layer network is its linear twin as h -> infinity"
CLEAN = f"{SAYS}: sup_t |beta - theta| and sup_t |f - x'theta| fall as 1/h at epsilon = 0"
ATTACKED = f"{SAYS}: in the median over data sets they fall as 1/h at epsilon > 0"
CURVED = "with equal second-layer weights and phi''(0) != 0 the rate is h^(-1/2)"
OFFSET = "with phi(0) != 0 and an unbalanced layer the offset stays: no convergence"
FLOOR = "a disagreement on one residual's sign parts them by 4 eta epsilon |beta| |x|/n at any width"


def experiments(options: Options) -> list[Experiment]:
    """Widths at four ε, and at ε = 0 the other activations and second layers."""
    widths = {64: 8, 256: 8, 1024: 5} if options.quick else WIDTHS
    base = {"n": N, "d": D, "init": "vanishing", "xi": 1.0}
    plain = base | {"activation": "tanh", "signs": "random"}
    attacked = [
        plain | {"eps": m * math.sqrt(D / N), "multiple": m, "width": h, "data": h}
        for m in MULTIPLES[1:]
        for h in widths
    ]
    clean = [
        base | {"activation": activation, "signs": signs, "eps": 0.0, "multiple": 0.0, "width": h, "data": 0}
        for activation, signs in LAYERS
        for h in widths
        if (activation, signs) == PLAIN or h <= (256 if options.quick else 1024)
    ]
    few, many = (5, 8) if options.quick else (16, 40)
    return [
        Experiment(
            "network-attacked",
            distance_block,
            attacked,
            lambda s: widths[s["width"]],
            lambda s: max(1, 6000 // s["width"]),
        ),
        Experiment(
            "network-clean",
            distance_block,
            clean,
            lambda s: few if LAYERS[s["activation"], s["signs"]] == -1.0 else many,
            lambda s: max(1, 12000 // s["width"]),
        ),
    ]


def rate(cells: Sequence[Cell], name: str) -> evidence.Estimate:
    """Exponent of the width in a distance: the slope of each data set over its widths, and their mean."""
    widths = [cell.setting["width"] for cell in cells]
    distances = np.array([cell.values[name] for cell in cells])
    return evidence.mean(np.polyfit(np.log(widths), np.log(distances), 1)[0])


def median_rate(cells: Sequence[Cell], name: str) -> evidence.Estimate:
    """Exponent of the width in the median over data sets; each width has data sets of its own."""
    return _cell_rate(cells, [evidence.median(cell.values[name]) for cell in cells])


def mean_rate(cells: Sequence[Cell], name: str) -> evidence.Estimate:
    """The same of the mean."""
    return _cell_rate(cells, [evidence.mean(cell.values[name]) for cell in cells])


def _cell_rate(cells: Sequence[Cell], estimates: Sequence[evidence.Estimate]) -> evidence.Estimate:
    return evidence.slope(np.log([cell.setting["width"] for cell in cells]), [e.log() for e in estimates])


def rate_claim(
    title: str,
    says: str,
    cells: Sequence[Cell],
    target: float,
    margin: float,
    find: Callable[[Sequence[Cell], str], evidence.Estimate] = rate,
    **extra: Any,
) -> evidence.Claim:
    """Claim that parameters and predictions part from the twin's like h^target, and at no rival rate."""
    rivals = [r for r in RATES if r != target]
    parts = [
        evidence.equivalent(name, says, find(cells, name), target, margin, rivals)
        for name in ("beta", "prediction")
    ]
    return evidence.all_of(title, says, parts, **extra)


def report(results: Results, options: Options) -> Report:
    """Rates at each ε, the floor, and the second layers."""
    layers = {layer: [cell for cell in results["network-clean"] if _layer(cell) == layer] for layer in LAYERS}
    attacked = by(results["network-attacked"], "multiple")
    claims = [
        rate_claim(
            "network, clean: distance to the twin falls as 1/h",
            CLEAN,
            layers[PLAIN],
            -1.0,
            0.1,
            note="xi = 1",
        )
    ]
    for multiple, cells in attacked.items():
        title = f"network, eps = {multiple:g} sqrt(d/n): median distance falls as 1/h"
        note = f"xi = 1; exponent of the mean: {mean_rate(cells, 'beta').value:.2f}"
        claims.append(rate_claim(title, ATTACKED, cells, -1.0, 0.35, median_rate, note=note))
    floor = _floor(attacked.values())
    first, last = sorted(floor)[-2:]
    exponent = evidence.slope(np.log([first, last]), [floor[first].log(), floor[last].log()])
    title = "network, eps > 0: where signs disagree the distance does not fall"
    note = f"xi = 1; in units of one step's parting, over all epsilon; {floor[last].value:.2f} at h = {last}"
    claims.append(evidence.equivalent(title, FLOOR, exponent, 0.0, 0.5, (-1.0, -0.5), note=note))
    claims += _layer_claims(layers)
    rows = [
        entry
        for cell in (*results["network-clean"], *results["network-attacked"])
        for entry in distance_rows(cell)
    ]
    title = "distance after a disagreement, in units of one step's parting"
    rows += [row(e, experiment=title, n=N, d=D, width=h) for h, e in floor.items()]
    return Report(rows, claims, {"network_width": _figure({0.0: layers[PLAIN]} | attacked)})


def _layer(cell: Cell) -> tuple[Any, Any]:
    return cell.setting["activation"], cell.setting["signs"]


def distance_rows(cell: Cell) -> list[dict[str, Any]]:
    """Distances, and how often the signs of residuals disagree."""
    keys = {name: cell.setting[name] for name in ("n", "d", "width", "xi", "activation", "signs", "multiple")}
    rows = []
    for name in ("beta", "prediction"):
        rows.append(row(evidence.mean(cell.values[name]), experiment=f"distance of {name}, mean", **keys))
        rows.append(row(evidence.median(cell.values[name]), experiment=f"distance of {name}, median", **keys))
    if keys["multiple"] > 0:
        rows.append(row(_share(cell), experiment="share of data sets with a disagreement of signs", **keys))
    return rows


def _share(cell: Cell) -> evidence.Estimate:
    disagree = cell.values["disagree"]
    return evidence.share(int(disagree.sum()), disagree.size)


def _floor(groups: Iterable[Sequence[Cell]]) -> dict[int, evidence.Estimate]:
    """By width: distance in jumps of data sets that met a disagreement, a mean over the ε where they did."""
    floor = {}
    for cells in zip(*groups, strict=True):  # one width, several ε
        met = np.array([cell.values["disagree"] for cell in cells]) > 0
        jumps = np.array([cell.values["beta"] / cell.values["jump"] for cell in cells])
        floor[cells[0].setting["width"]] = evidence.mean(
            np.ma.array(jumps, mask=~met).mean(axis=0).compressed()
        )
    return floor


def _layer_claims(layers: Mapping[Any, Sequence[Cell]]) -> list[evidence.Claim]:
    """One claim for all φ and signs with rate 1/h; one each for those without."""
    parts, others = [], []
    for layer, target in LAYERS.items():
        name = f"{layer[0]}, {layer[1]} signs"
        if target == -1.0:
            parts.append(rate_claim(name, CLEAN, layers[layer], target, 0.25))
        elif target == -0.5:
            others.append(rate_claim(f"network, {name}: rate h^(-1/2)", CURVED, layers[layer], target, 0.25))
        else:
            others.append(rate_claim(f"network, {name}: no convergence", OFFSET, layers[layer], target, 0.4))
    return [
        evidence.all_of("network, clean: 1/h for every activation and layer", CLEAN, parts, note="xi = 1"),
        *others,
    ]


def _figure(groups: Mapping[float, Sequence[Cell]]) -> dict[str, np.ndarray]:
    columns: dict[str, list[float]] = {}
    for multiple, cells in groups.items():
        for cell in cells:
            mean, median = evidence.mean(cell.values["beta"]), evidence.median(cell.values["beta"])
            share = _share(cell)
            entry = {
                "multiple": multiple,
                "width": cell.setting["width"],
                "mean": mean.value,
                "median": median.value,
            }
            entry |= dict(zip(("low", "high"), median.interval(), strict=True)) | {"share": share.value}
            entry |= dict(zip(("share_low", "share_high"), share.interval(), strict=True))
            for key, value in entry.items():
                columns.setdefault(key, []).append(value)
    return {key: np.array(values) for key, values in columns.items()}


def draw(figures: Mapping[str, Mapping[str, np.ndarray]], folder: Path) -> None:
    """Distance against width, and the share of data sets with a disagreement of signs."""
    data = figures["network_width"]
    with plotting.style():
        fig, (left, right) = plotting.new("text", 2.7, cols=2)
        for index, multiple in enumerate(MULTIPLES):
            rows = data["multiple"] == multiple
            h, mean, median, low, high, share, share_low, share_high = (
                data[name][rows]
                for name in ("width", "mean", "median", "low", "high", "share", "share_low", "share_high")
            )
            label = rf"$\epsilon={LABELS[multiple]}$"
            plotting.band(left, h, median, low, high, label, index)
            if multiple > 0:
                hollow = plotting.look(index) | {"markerfacecolor": "white", "linewidth": 0.6}
                left.plot(h, mean, **hollow, zorder=4, label="means" if multiple == 1 else "")
                plotting.band(right, h, share, share_low, share_high, "", index)
        ends = np.array([data["width"].min(), data["width"].max()])
        plotting.theory(left, ends, 2 / ends, "$h^{-1}$", dashed=True)
        plotting.log_axes(left)
        plotting.log_axes(right, "x")
        left.set(xlabel="width $h$", ylabel=r"$\sup_t\|\beta^{(t)}-\theta^{(t)}\|$")
        right.set(xlabel="width $h$", ylabel="share with a sign disagreement", ylim=(0, 1.02))
        plotting.letters([left, right])
        plotting.shared_legend(fig, [left, right])
        plotting.save(fig, folder, "network_width")


PART = Part("network_width", experiments, report, draw)
