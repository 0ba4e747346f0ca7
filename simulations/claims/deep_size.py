"""Table 3: ε* by network and sample size, from scratch and by attacking the clean model alone."""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from claims import deep_robust, deep_schedule
from claims.deep_cells import (
    columns_of,
    few_are_lost,
    finite,
    interval,
    join,
    keys_of,
    laws,
    log_ratio,
    open_if_lost,
    summary,
)
from claims.deep_sets import nets, seeds_of, setting
from claims.deep_strength import block
from linphase import asymptotics, evidence, plotting
from linphase.study import Cell, Experiment, Options, Part, Report, Results, row

CLASSES = {"cifar100": 100}
CUSTOMARY = {"mnist": 0.3, "fashion-mnist": 0.1, "cifar10": 8 / 255, "cifar100": 8 / 255, "svhn": 8 / 255}
"""Strengths that papers train with; for digits that of MNIST."""
N_SAYS = "eps* falls as n grows"
WIDTH_SAYS = "width raises eps* (on MNIST; little on CIFAR-10)"
SHORT = {"scratch": "from scratch", "attack-only": "clean model attacked"}


def experiments(options: Options) -> list[Experiment]:
    """A block a seed; other schedules and losses have experiments of their own."""
    tuned = options.own["dataset"] != "digits"
    grid = [setting(net, options, tuned=tuned) for net in nets(options)]
    every = [Experiment("critical-strength", block, grid, seeds_of(options), 1, local=True)]
    # The slowest blocks first, so that no worker ends with one of them.
    return [*deep_robust.experiments(options), *every, *deep_schedule.experiments(options)]


def report(results: Results, options: Options) -> Report:
    """The table, the exponents, and the paper's qualitative statements."""
    cells = results["critical-strength"]
    rows, points = [], []
    for cell in [*cells, *results.get("schedule", ())]:
        for method in SHORT:
            rows.append(summary(cell.values[f"eps {method}"], experiment=f"eps*, {method}", **keys_of(cell)))
        rows.append(summary(cell.values["target"], experiment="R, clean test loss", **keys_of(cell)))
        rows += _at_chance(cell)
    for cell in cells:
        points += [_point(cell, method) for method in SHORT]
    claims = _laws(cells, rows)
    if not few_are_lost(cells):
        claims = [open_if_lost(claim) for claim in claims]
    claims += _bound(cells, rows)
    claims += _customary(cells, options)
    for part in (deep_schedule, deep_robust):
        more_rows, more_claims = part.compare(results)
        rows, claims = rows + more_rows, claims + more_claims
    figures = {"critical_sizes": columns_of(points), "critical_lengths": deep_schedule.points(results)}
    figures["critical_traces"] = _traces(cells)
    return Report(rows, claims, figures)


def _point(cell: Cell, method: str) -> dict[str, Any]:
    value, low, high = interval(finite(cell.values[f"eps {method}"])[0])
    s = cell.setting
    return {"method": method, "width": s["width"], "n": s["n"], "eps": value, "low": low, "high": high}


def _traces(cells: list[Cell]) -> dict[str, np.ndarray]:
    """The runs from scratch of the first seed of each network and size."""
    points = []
    for cell in cells:
        first = {"target": cell.values["target"][0], "eps_star": cell.values["eps scratch"][0]}
        first |= {"width": cell.setting["width"], "n": cell.setting["n"]}
        trace = zip(cell.values["trace_eps"][0], cell.values["trace_loss"][0], strict=True)
        points += [first | {"eps": eps, "loss": loss} for eps, loss in trace if np.isfinite(eps)]
    return columns_of(points)


def _at_chance(cell: Cell) -> list[dict[str, Any]]:
    """How many runs from scratch classify at chance, and how many ε* lie just below such a strength.

    Below strengths that train, such a run lowers the crossing. Just above ε*, it says that training fails
    there, so that ε* is where training ends rather than where its loss passes R.
    """
    eps, star = cell.values["trace_eps"], cell.values["eps scratch"]
    chance = 1.5 / CLASSES.get(cell.setting["dataset"], 10)
    attacked = eps > 0  # NaN is room that a search did not need
    stuck = attacked & (cell.values["trace_train_accuracy"] < chance)
    beyond = np.where(eps > star[:, None], eps, np.inf)
    ends = np.take_along_axis(stuck, beyond.argmin(axis=1)[:, None], axis=1)[:, 0]
    ends &= np.isfinite(beyond.min(axis=1))
    counts = {
        "runs from scratch that stayed at chance": (stuck.sum(), attacked.sum()),
        "runs repeated with a longer warm-up": (cell.values["repeated"].sum(), attacked.sum()),
        "seeds whose next strength above eps* stayed at chance": (ends.sum(), star.size),
    }
    named = keys_of(cell) | {"paper": None}
    return [
        {"experiment": title} | named | {"estimate": int(count), "replicates": int(of)}
        for title, (count, of) in counts.items()
    ]


def _laws(cells: list[Cell], rows: list[dict[str, Any]]) -> list[evidence.Claim]:
    claims = []
    found = laws(cells)
    for key, exponent in found.items():
        rows.append(row(exponent, experiment=f"exponent of {key} in eps*"))
    rows += _slopes(cells)
    if "n" in found:
        claims.append(
            evidence.below("eps* falls as n grows: least-squares exponent of n", N_SAYS, found["n"], 0.0)
        )
    if "width" in found:
        title = "eps* rises with the width: least-squares exponent of the width"
        claims.append(evidence.above(title, WIDTH_SAYS, found["width"], 0.0))
    return claims


def _slopes(cells: list[Cell]) -> list[dict[str, Any]]:
    """Rows of the exponent of n from each size to the next, by width: a single law need not hold."""
    rows = []
    for width in sorted({cell.setting["width"] for cell in cells}):
        own = sorted((c for c in cells if c.setting["width"] == width), key=lambda c: c.setting["n"])
        for low, high in pairwise(own):
            kept = [finite(cell.values["eps scratch"])[0] for cell in (low, high)]
            if min(sizes := [values.size for values in kept]) < 2:
                continue
            first, last = (evidence.mean(np.log(values)) for values in kept)
            step = float(np.log(high.setting["n"] / low.setting["n"]))
            se = float(np.hypot(first.se, last.se)) / step
            slope = evidence.Estimate((last.value - first.value) / step, se, min(sizes) - 1, sum(sizes))
            keys = {"width": width, "n": high.setting["n"]}
            rows.append(row(slope, experiment="exponent of n in eps*, from the next smaller n", **keys))
    return rows


def _bound(cells: list[Cell], rows: list[dict[str, Any]]) -> list[evidence.Claim]:
    """Attacking the clean model alone bounds ε* from below, up to the error of optimisation.

    Of the loss evaluated again, as the root is: the running loss of an epoch is another one. Networks are
    counted, so that an infinite ε* has its say.
    """
    says = "since the clean model is no minimiser at eps > 0, its root lies below eps*"
    root, star = (join(cells, f"eps {method}") for method in ("attack-only", "evaluated"))
    ratio = log_ratio(root, star)
    if ratio is not None:
        rows.append(row(ratio, experiment="log(eps* attack-only / scratch, evaluated)"))
    if root.size < 5:
        return []
    title = "the attack-only root lies below eps*, in more than two thirds of runs"
    return [evidence.share_below(title, says, int((~(root < star)).sum()), root.size, 1 / 3)]


def _customary(cells: list[Cell], options: Options) -> list[evidence.Claim]:
    strength = CUSTOMARY.get(options.own["dataset"], 0.3)
    says = "customary attack strengths exceed eps*"
    every = join(cells, "eps scratch")
    if every.size < 5:
        return []
    exceeding = int((every >= strength).sum())
    title = f"eps* is below the customary {strength:.3g}, in more than two thirds of runs"
    return [evidence.share_below(title, says, exceeding, every.size, 1 / 3)]


def draw(figures: Mapping[str, Mapping[str, np.ndarray]], folder: Path) -> None:
    """ε* by size, width and schedule; the runs behind it."""
    with plotting.style():
        _draw_sizes(figures, folder)
        _draw_traces(figures["critical_traces"], folder)


def _draw_sizes(figures: Mapping[str, Mapping[str, np.ndarray]], folder: Path) -> None:
    """ε* by size and width, beside the shape of the linear model's limit; seeds against their schedule."""
    data, lengths = figures["critical_sizes"], figures["critical_lengths"]
    both = lengths["epochs"].size > 0
    fig, axes = plotting.new("text" if both else "column", 2.7, cols=2 if both else 1)
    ax = axes[0]
    # Against the size of the training set, or where there is one size against the width.
    by, other = ("n", "width") if np.unique(data["n"]).size > 1 else ("width", "n")
    pairs = [(value, method) for value in np.unique(data[other])[::-1] for method in SHORT]
    for index, (value, method) in enumerate(pairs):
        chosen = (data["method"] == method) & (data[other] == value)
        x, eps, low, high = (data[name][chosen] for name in (by, "eps", "low", "high"))
        title = f"{other} = {value:g}, {SHORT[method]}"
        beside = 1.05 ** (index - (len(pairs) - 1) / 2)  # so that bars of one size do not hide each other
        plotting.points(ax, x * beside, eps, np.maximum(low, eps / 10), high, title, index)
    if by == "n":
        widest = (data["method"] == "scratch") & (data["width"] == data["width"].max())
        plotting.theory(ax, *_linear(data["n"][widest], data["eps"][widest]), "linear model (scaled)")
    plotting.log_axes(ax)
    ax.set(xlabel="$n$" if by == "n" else "width", ylabel=r"$\epsilon^*$")
    if both:
        axes[1].plot(lengths["epochs"], lengths["eps"], **plotting.look(0) | {"linestyle": "none"})
        axes[1].set(xlabel=rf"epochs of the schedule   ($n={lengths['n'][0]:g}$)", ylabel=r"$\epsilon^*$")
        axes[1].set(xlim=(0, 1.1 * lengths["epochs"].max()), ylim=(0, 1.1 * lengths["eps"].max()))
        plotting.letters(axes)
    plotting.shared_legend(fig, axes)
    plotting.save(fig, folder, "critical_sizes")


def _draw_traces(data: Mapping[str, np.ndarray], folder: Path) -> None:
    """Adversarial training loss against ε, a panel a size; R as a level line, ε* where they cross."""
    sizes, widths = np.unique(data["n"]), np.unique(data["width"])[::-1]
    fig, axes = plotting.new("text" if sizes.size > 1 else "column", 2.5, cols=sizes.size, sharey=True)
    for ax, n in zip(axes, sizes, strict=True):
        for index, width in enumerate(widths):
            chosen = (data["n"] == n) & (data["width"] == width)
            if not chosen.any():
                continue
            color = plotting.look(index)["color"]
            ax.plot(
                data["eps"][chosen], data["loss"][chosen], **plotting.look(index), label=f"width {width:g}"
            )
            ax.axhline(data["target"][chosen][0], color=color, linewidth=0.7, zorder=1)
            if np.isfinite(star := data["eps_star"][chosen][0]):
                ax.axvline(star, color=color, linewidth=0.7, linestyle=":", zorder=1)
        ax.set(xlabel=rf"$\epsilon$   ($n={n:g}$)", yscale="log", xlim=(0, None))
        ax.locator_params(axis="x", nbins=6)
    axes[0].set_ylabel("adversarial training loss")
    plain = {"color": "0.35", "linewidth": 0.7, "marker": ""}
    axes[0].plot([], [], **plain, linestyle="-", label="clean test loss $R$")
    axes[0].plot([], [], **plain, linestyle=":", label=r"$\epsilon^*$")
    if sizes.size > 1:
        plotting.letters(axes)
    plotting.shared_legend(fig, axes)
    plotting.save(fig, folder, "critical_traces")


def _linear(n: np.ndarray, eps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Exact limit of the linear model's ε* at d/n = n₀/(4n), n₀ the smallest size, through the last point."""
    fine = np.geomspace(n.min(), n.max(), 60)
    limit = np.asarray(asymptotics.critical_strength(n.min() / (4 * fine)), dtype=float)
    good = np.isfinite(limit)
    return fine[good], limit[good] * eps[n.argmax()] / limit[-1]


PART = Part("size", experiments, report, draw)
