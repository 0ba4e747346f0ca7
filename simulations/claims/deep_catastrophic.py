"""Table 2: from which strength on FGSM training overfits catastrophically, against ε*; ε* found by FGM."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from claims.deep_cells import entry, interval, log_ratio, open_if_lost
from claims.deep_costs import searching, training
from claims.deep_sets import attack_steps
from claims.deep_start import Start, method, setting
from linphase import deep, evidence, plotting
from linphase.study import Cell, Experiment, Local, Options, Part, Report, Results

GRIDS = {
    "digits": (0.05, 0.1, 0.15, 0.2, 0.25, 0.3),
    "mnist": (0.1, 0.15, 0.2, 0.25),
    "fashion-mnist": (0.05, 0.1, 0.15, 0.2),
}
CIFAR = tuple(k / 255 for k in (1, 2, 4, 8, 12, 16))
SIZES = {"digits": (1400, 440), "mnist": (10_000, 1_000), "fashion-mnist": (10_000, 1_000)}
SEEDS = {"digits": 12, "mnist": 4, "fashion-mnist": 4}
TRAININGS: dict[str, tuple[deep.Attack | None, float]] = {
    "FGSM": (deep.FGM, 0.0),
    "FGSM, random start": (deep.FGM_RANDOM, 0.0),
    "FGSM with GradAlign": (deep.FGM, 0.5),
    "PGD": (None, 0.0),
}
"""Training attack (None: the recipe's own) and weight of the penalty."""
ONE_STEP = ("FGSM", "FGSM, random start")
COLUMNS = ("accuracy", "judged_accuracy", "clean_accuracy", "detected")
PAPER = {50_000: (0.5 / 255, 8 / 255), 10_000: (3.3 / 255, 12 / 255)}
"""Table 2 (CIFAR-10, PreActResNet18, 200 epochs): ε* and the smallest unstable ε by n."""
MARGIN = math.log(1.2)
CONTROLLED = {"digits": 0.25, "mnist": 0.25}
"""Strength at which PGD training is the control; elsewhere the largest of the grid."""
SAYS = "eps* is below the smallest unstable eps of FGSM training"
SUFFICES = "FGM suffices to find eps*"
CONTROL = "the instability is that of the single step: PGD training at the same eps does better"


def block(setting: Mapping[str, Any], replicates: range, seed: int, local: Local) -> dict[str, np.ndarray]:
    """ε* with PGD and with FGM, and the fate of each training.

    Arrays ``eps_star``, ``eps_fgm``, ``target``; for each training ``smallest NAME``, ``last_stable NAME``
    and (replicates, strengths) ``COLUMN NAME``.
    """
    rows = [_one(setting, k, seed, local) for k in replicates]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _one(setting: Mapping[str, Any], replicate: int, seed: int, local: Local) -> dict[str, Any]:
    start = Start("catastrophic", setting, replicate, seed, local)
    norm, search = start.recipe.attack.norm, start.search()
    found: dict[str, Any] = {"eps_star": start.eps_star(search), "target": search.clean.target}
    # Both searches select their epochs and score by the same attack: only training differs.
    fast = start.search(attack=replace(deep.FGM, norm=norm), test_attack=start.recipe.judging)
    found["eps_fgm"] = start.eps_star(fast) if start.small else np.nan
    for name, (attack, weight) in TRAININGS.items():
        result = deep.catastrophic_overfitting(
            start.new,
            start.data,
            start.recipe.but(
                attack=replace(attack, norm=norm) if attack else start.recipe.attack, align=weight
            ),
            strengths(setting),
            (start.seed,),
            side_by_side=start.small and not weight,
            checkpoints=start.folder,
            report=start.report,
        )
        found |= {f"{column} {name}": getattr(result, column)[0] for column in COLUMNS}
        found |= {f"smallest {name}": result.smallest[0], f"last_stable {name}": result.last_stable[0]}
    return found


def strengths(setting: Mapping[str, Any]) -> tuple[float, ...]:
    """Grid of a data set, the paper's for colour images; every so many of it."""
    return GRIDS.get(setting["dataset"], CIFAR)[:: -setting["every"]][::-1]


def grid(options: Options) -> list[dict[str, Any]]:
    """Two sizes of the training set, the larger first; a quick run has the smaller, at half the strengths."""
    sizes = SIZES.get(options.own["dataset"], (50_000, 10_000))
    return [
        setting(options, n, every=2 if options.quick else 1) for n in (sizes[-1:] if options.quick else sizes)
    ]


def seeds(options: Options) -> int:
    """Number of seeds."""
    return 2 if options.quick else SEEDS.get(options.own["dataset"], 1)


def experiments(options: Options) -> list[Experiment]:
    """A block a seed and size."""
    return [Experiment("catastrophic", block, grid(options), seeds(options), 1, local=True)]


def passes(s: Mapping[str, Any]) -> float:
    """Passes over the training data that a seed takes."""
    small = s["network"] == "mlp"
    searches = searching(s, small) * (1 + 2 / (1 + attack_steps(s)) * small)
    runs = [training(s, (attack or deep.PGD).steps + 4 * bool(w), 10, 1) for attack, w in TRAININGS.values()]
    judge = 1000 * 501 / s["n"] * len(TRAININGS)
    return searches + (sum(runs) + judge) * len(strengths(s))


def report(results: Results, options: Options) -> Report:
    """The table; ε* against the smallest unstable strength, the control, ε* by FGM."""
    cells = results["catastrophic"]
    rows, figures = [], {}
    for cell in cells:
        rows += _rows(cell)
        figures[f"catastrophic_{cell.setting['n']}"] = _figure(cell)
    if min(cell.values["eps_star"].size for cell in cells) < 2:
        return Report(rows, [], figures)
    claims = [_order(cell, name) for name in ONE_STEP for cell in cells]
    claims += [_control(cells, "PGD"), _suffices(cells)]
    return Report(rows, [claim for claim in claims if claim], figures)


def _rows(cell: Cell) -> list[dict[str, Any]]:
    values, n, dataset = cell.values, cell.setting["n"], cell.setting["dataset"]
    star, unstable = PAPER.get(n, (None, None)) if dataset == "cifar10" else (None, None)
    eps = values["eps_star"]
    rows = [_strength(eps, experiment=f"eps*, {method(cell.setting)}", n=n, paper=star)]
    if np.isfinite(values["eps_fgm"]).any():
        rows.append(_strength(values["eps_fgm"], experiment="eps*, trained by FGM", n=n))
    for name in TRAININGS:
        for end, title in (("last_stable", "last stable eps"), ("smallest", "smallest unstable eps")):
            keys = {"training": name, "n": n}
            paper = unstable if (name, end) == ("FGSM", "smallest") else None
            found = values[f"{end} {name}"]
            rows.append(_strength(found, experiment=title, paper=paper, **keys))
            rows.append(_strength(_over(found, eps), experiment=f"{title} over eps*", **keys))
        for k, strength in enumerate(strengths(cell.setting)):
            keys = {"training": name, "n": n, "eps": strength}
            for column, title in zip(
                COLUMNS,
                ("accuracy under its own attack", "accuracy under PGD-50, 10 restarts", "clean accuracy",
                 "epoch of the first alarm"),
                strict=True,
            ):  # fmt: skip
                rows.append(entry(values[f"{column} {name}"][:, k], experiment=title, **keys))
    return rows


def _strength(values: np.ndarray, **keys: Any) -> dict[str, Any]:
    """A row with the mean over seeds; with the median where some are infinite, which then are no failures.

    NaN is one: an ε* that was not found, or a ratio to one. Seeds that agree on a strength of the grid have
    no spread, and say nothing within its spacing.
    """
    known = values[~np.isnan(values)]
    infinite = int(np.isinf(known).sum())
    if not known.size or (not infinite and np.ptp(known) > 0):
        return entry(values, **keys)
    if infinite:
        keys["experiment"] += f", median ({infinite} of {known.size} infinite)"
    lost = values.size - known.size
    return keys | {"estimate": float(np.median(known)), "replicates": known.size, "failures": lost}


def _over(top: np.ndarray, eps: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return top / eps


def _order(cell: Cell, name: str) -> evidence.Claim:
    """ε* against the smallest unstable strength, which lies between two of the grid.

    Supported if ε* is below the last stable one, refuted if it is above the first unstable one. No seed is
    left out: an infinite ε* is above all strengths, and one of 0 below.
    """
    values, n = cell.values, cell.setting["n"]
    smallest, stable = values[f"smallest {name}"], values[f"last_stable {name}"]
    ends = (_over(end, values["eps_star"]) for end in (stable, smallest))
    count = int(np.isfinite(smallest).sum())
    note = (
        f"eps* {method(cell.setting)}; log of the last stable eps of the grid over eps* (to refute: of the "
        f"first unstable); up to {strengths(cell.setting)[-1]:.3g} {count} of {smallest.size} seeds meet an "
        f"unstable one, median {np.median(smallest):.3g}"
    )
    return replace(_between(f"eps* < smallest unstable eps, {name}, n = {n}", *ends), note=note)


def _between(name: str, low: np.ndarray, high: np.ndarray) -> evidence.Claim:
    """Claim that a ratio between two known ends is above 1, in the mean of its logarithm.

    Where some seed has a lower end of 0 (its first strength is not stable, or ε* infinite) nothing supports
    the claim, and where some has an infinite upper end (no strength is unstable, or ε* is 0) nothing refutes
    it.
    """
    silent = evidence.Estimate(0.0, 0.0, low.size - 1, low.size)  # a spread of 0 proves nothing
    lower, upper = (
        evidence.mean(np.log(end)) if (end > 0).all() and np.isfinite(end).all() else silent
        for end in (low, high)
    )
    support, refute = (evidence.above(name, SAYS, end, 0.0) for end in (lower, upper))
    return replace(
        refute if lower is silent else support, p_support=support.p_support, p_refute=refute.p_refute
    )


def _control(cells: Sequence[Cell], name: str) -> evidence.Claim:
    """Judged accuracy of another training less that of FGSM, at one strength for all seeds."""
    gains, places = [], []
    for cell in cells:
        grid = strengths(cell.setting)
        k = int(np.searchsorted(grid, CONTROLLED.get(cell.setting["dataset"], grid[-1])))
        pair = [cell.values[f"judged_accuracy {kind}"][:, k] for kind in (name, "FGSM")]
        gains.append(pair[0] - pair[1])
        places.append(f"{grid[k]:.3g}")
    note = f"accuracy under PGD-50 less that of FGSM training, at eps = {', '.join(dict.fromkeys(places))}"
    title = f"{name} training at least .05 better than FGSM, at one large eps"
    return evidence.above(title, CONTROL, evidence.mean(np.concatenate(gains)), 0.05, note=note)


def _suffices(cells: Sequence[Cell]) -> evidence.Claim | None:
    pairs = np.concatenate([[c.values["eps_fgm"], c.values["eps_star"]] for c in cells], axis=1)
    ratio = log_ratio(*pairs)
    if ratio is None:
        return None
    note = "log of eps* by FGM training over eps* by PGD training, from scratch; margin 20 %"
    return open_if_lost(
        evidence.equivalent("FGM suffices to find eps*", SUFFICES, ratio, 0.0, MARGIN, note=note)
    )


def _figure(cell: Cell) -> dict[str, np.ndarray]:
    eps = np.array(strengths(cell.setting))
    star = interval(np.where(np.isfinite(cell.values["eps_star"]), cell.values["eps_star"], np.nan))
    columns = {"eps": eps, "eps_star": np.full(eps.size, star[0])}
    for name in TRAININGS:
        for column in ("judged_accuracy", "accuracy"):
            triples = np.array([interval(values) for values in cell.values[f"{column} {name}"].T]).T
            for end, numbers in zip(("", " low", " high"), triples, strict=True):
                columns[f"{column} {name}{end}"] = numbers
    return columns


def draw(figures: Mapping[str, Mapping[str, np.ndarray]], folder: Path) -> None:
    """Accuracy under PGD against the training strength; ε* as a dotted line."""
    panels = {int(name.rpartition("_")[2]): name for name in figures if name.startswith("catastrophic_")}
    with plotting.style():
        fig, axes = plotting.new("text" if len(panels) > 1 else "column", 2.7, cols=len(panels), sharey=True)
        for ax, n in zip(axes, sorted(panels), strict=True):
            data = figures[panels[n]]
            for index, name in enumerate(TRAININGS):
                columns = [data[f"judged_accuracy {name}{end}"] for end in ("", " low", " high")]
                plotting.band(ax, data["eps"], *columns, name, index)
            own = plotting.look(0) | {"linewidth": 0.7, "markerfacecolor": "white"}
            ax.plot(data["eps"], data["accuracy FGSM"], **own, label="FGSM, under FGSM")
            plotting.threshold(ax, float(data["eps_star"][0]), r"$\epsilon^*$")
            ax.set(xlabel=rf"$\epsilon$ of training and attack   ($n={n}$)", ylim=(0, 1))
            ax.set_xlim(0, None)
        axes[0].set(ylabel="test accuracy under PGD-50")
        plotting.letters(axes)
        plotting.shared_legend(fig, axes)
        plotting.save(fig, folder, "catastrophic")


PART = Part("catastrophic", experiments, report, draw)
