"""Table 4: what ε* costs by fine-tuning the clean model, and how far it is from training from scratch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from claims.deep_cells import columns_of, entry, join, keys_of, log_ratio, open_if_lost, summary
from claims.deep_sets import Net, nets, seeds_of, setting
from claims.deep_strength import METHODS, TUNINGS, block
from linphase import evidence, plotting
from linphase.study import Cell, Experiment, Options, Part, Report, Results, row

SAYS = "a few short fine-tunings and a line find eps* at a fifth of the cost of training from scratch"
OURS = "letting eps follow the crossing during one fine-tuning by FGM finds eps* at a fifth of the cost"
SIZES, SEEDS = {"digits": (1400, 440)}, {"digits": 24, "mnist": 2, "fashion-mnist": 2}
MARGIN = float(np.log(1.5))
COST = 0.2
ONCE = ": one run where following leads, and a line"
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
    cells, once = results["critical-strength"], options.own["scratch"] == "once"
    rows, points, claims = [], [], []
    for cell in cells:
        for method in METHODS:
            name = f"eps*, {method}" + (ONCE if once and method == "scratch" else "")
            keys = {"experiment": name} | keys_of(cell)
            rows.append(summary(cell.values[f"eps {method}"], **keys))
        repeated = cell.values["masked follow"]
        counts = {"estimate": int(repeated.sum()), "replicates": repeated.size}
        keys = {"experiment": "seeds followed again by the recipe's attack"} | keys_of(cell) | {"paper": None}
        rows.append(keys | counts)
        rows += _losses(cell) if once else []
    for norm in dict.fromkeys(cell.setting["norm"] for cell in cells):
        own = [cell for cell in cells if cell.setting["norm"] == norm]
        scratch = join(own, "eps scratch")
        searched = np.isfinite(scratch) & (scratch > 0)  # otherwise scratch has hardly a cost to compare with
        if once or searched.sum() < 2:
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
            if method in TUNINGS and (claim := _claim(own, norm, method, share)):
                claims.append(claim)
    return Report(rows, claims, {"critical_methods": columns_of(points)} if points else {})


def _losses(cell: Cell) -> list[dict[str, Any]]:
    """R, and the training losses on the line: of the clean network and at the followed strength."""
    ends = {"R, clean test loss": cell.values["target"]}
    ends["training loss, clean"] = cell.values["trace_loss"][:, 0]
    ends["training loss, from scratch at the followed strength"] = cell.values["trace_loss"][:, 1]
    return [
        entry(values, experiment=name, **keys_of(cell) | {"paper": None}) for name, values in ends.items()
    ]


def _error(cell: Cell, method: str) -> evidence.Estimate | None:
    return log_ratio(cell.values[f"eps {method}"], cell.values["eps scratch"])


def _claim(cells: Sequence[Cell], norm: str, method: str, share: evidence.Estimate) -> evidence.Claim | None:
    """Error network by network, so that none cancels another's, and cost; no claim if one has no error."""
    says, name = OURS if method == "follow" else SAYS, NAMES.get(method, method)
    parts = []
    for cell in cells:
        error, s = _error(cell, method), cell.setting
        if error is None:
            return None
        network = f"log ratio, width {s['width']}, n = {s['n']}"
        parts.append(open_if_lost(evidence.equivalent(network, says, error, 0.0, MARGIN)))
    parts.append(evidence.below("share of the passes", says, share, COST))
    # On digits the short runs find too small an eps*: a finding, made on the first run.
    short = method != "follow" and cells[0].setting["dataset"] == "digits"
    title = f"{norm}, {name}: within a factor of 1.5 for each network, at a fifth of the passes"
    return evidence.all_of(title, says, parts, expected="refuted" if short else "supported")


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
            ax.set(xlabel=rf"passes, % of those of scratch ({ball})", xlim=(0, 108 * data["cost"].max()))
        axes[0].set_ylabel(r"$\epsilon^*$ / $\epsilon^*$ from scratch")
        if len(norms) > 1:
            plotting.letters(axes)
        plotting.shared_legend(fig, axes)
        plotting.save(fig, folder, "critical_methods")


PART = Part("methods", experiments, report, draw)
