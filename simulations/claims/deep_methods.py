"""Table 4: what ε* costs by fine-tuning the clean model, and how far it is from training from scratch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from claims.deep_cells import columns_of, join, keys_of, log_ratio, summary
from claims.deep_sets import Net, nets, seeds_of, setting
from claims.deep_strength import METHODS, TUNINGS, block
from linphase import evidence, plotting
from linphase.study import Cell, Experiment, Options, Part, Report, Results, row

SAYS = "a few short fine-tunings and a line find eps* with 80 % less time than training from scratch"
OURS = "letting eps follow the crossing during one fine-tuning by FGM finds eps* with 80 % fewer passes"
SIZES, SEEDS = {"digits": (1400, 440)}, {"digits": 24}
MARGIN = float(np.log(1.5))
COST = 0.2
NAMES = {"follow": "FGM, following"}


def experiments(options: Options) -> list[Experiment]:
    """Both norms on digits; elsewhere L∞, which Table 3 has computed already."""
    every = nets(options)
    sizes = SIZES.get(options.own["dataset"], tuple({net.n for net in every}))
    chosen: list[Net] = [net for net in every if net.n in sizes]
    norms = ("linf", "l2") if options.own["dataset"] == "digits" else ("linf",)
    grid = [setting(net, options, norm=norm, tuned=True) for norm in norms for net in chosen]
    return [Experiment("critical-strength", block, grid, seeds_of(options, SEEDS), 1, local=True)]


def report(results: Results, options: Options) -> Report:
    """Error and cost of each method, against scratch on the same seeds."""
    cells = results["critical-strength"]
    rows, points, claims = [], [], []
    for cell in cells:
        for method in METHODS:
            keys = {"experiment": f"eps*, {method}"} | keys_of(cell)
            rows.append(summary(cell.values[f"eps {method}"], **keys))
    for norm in dict.fromkeys(cell.setting["norm"] for cell in cells):
        own = [cell for cell in cells if cell.setting["norm"] == norm]
        scratch = join(own, "eps scratch")
        searched = np.isfinite(scratch) & (scratch > 0)  # otherwise scratch has hardly a cost to compare with
        if searched.sum() < 2:
            continue
        for method in METHODS[1:]:
            error = log_ratio(join(own, f"eps {method}"), scratch)
            if error is None:
                continue
            share, seconds = (
                evidence.mean(
                    join(own, f"{unit} {method}")[searched] / join(own, f"{unit} scratch")[searched]
                )
                for unit in ("passes", "seconds")
            )
            rows.append(row(error, experiment=f"log(eps* {method} / scratch)", norm=norm))
            for cell in own:
                if each := _error(cell, method):
                    rows.append(row(each, experiment=f"log(eps* {method} / scratch)", **keys_of(cell)))
            rows.append(row(share, experiment=f"passes of {method} / scratch", norm=norm))
            rows.append(row(seconds, experiment=f"seconds of {method} / scratch", norm=norm))
            low, high = error.interval()
            points.append(
                {
                    "method": NAMES.get(method, method), "norm": norm, "cost": share.value,
                    "ratio": np.exp(error.value), "low": np.exp(low), "high": np.exp(high),
                }
            )  # fmt: skip
            if method == "follow":
                claims += _following(own, norm, share)
            elif method in TUNINGS:
                title = f"{norm}, {method}: passes below 20 % of those of scratch"
                claims.append(evidence.below(title, SAYS, share, COST))
    return Report(rows, claims, {"critical_methods": columns_of(points)} if points else {})


def _error(cell: Cell, method: str) -> evidence.Estimate | None:
    return log_ratio(cell.values[f"eps {method}"], cell.values["eps scratch"])


def _following(cells: Sequence[Cell], norm: str, share: evidence.Estimate) -> list[evidence.Claim]:
    """Error network by network, so that none cancels another's, and cost; no claim if one has no error."""
    parts = [evidence.below("share of the passes", OURS, share, COST)]
    for cell in cells:
        error, s = _error(cell, "follow"), cell.setting
        if error is None:
            return []
        name = f"log ratio, width {s['width']}, n = {s['n']}"
        parts.insert(-1, evidence.equivalent(name, OURS, error, 0.0, MARGIN))
    title = f"{norm}: following eps, within a factor of 1.5 for each network, 80 % fewer passes"
    return [evidence.all_of(title, OURS, parts)]


def draw(figures: Mapping[str, Mapping[str, np.ndarray]], folder: Path) -> None:
    """Cost against accuracy: a point a method, both as shares of scratch."""
    if "critical_methods" not in figures:
        return  # no seed of a quick run had an ε* to compare with
    data = figures["critical_methods"]
    norms: list[Any] = list(dict.fromkeys(data["norm"].tolist()))
    with plotting.style():
        fig, axes = plotting.new("text" if len(norms) > 1 else "column", 2.5, cols=len(norms), sharey=True)
        for ax, norm in zip(axes, norms, strict=True):
            for index, method in enumerate(dict.fromkeys(data["method"].tolist())):
                chosen = (data["norm"] == norm) & (data["method"] == method)
                ends = (data[name][chosen] for name in ("ratio", "low", "high"))
                plotting.points(ax, 100 * data["cost"][chosen], *ends, method, index)
            ax.axhline(1.0, color="black", linewidth=0.7)
            plotting.log_axes(ax, "y")
            ball = {"linf": r"$L_\infty$", "l2": r"$L_2$"}[norm]
            ax.set(xlabel=rf"passes, % of those of scratch ({ball})", xlim=(0, None))
        axes[0].set_ylabel(r"$\epsilon^*$ / $\epsilon^*$ from scratch")
        if len(norms) > 1:
            plotting.letters(axes)
        plotting.shared_legend(fig, axes)
        plotting.save(fig, folder, "critical_methods")


PART = Part("methods", experiments, report, draw)
