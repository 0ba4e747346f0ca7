"""Figure 4: the path between the clean model and adversarial ones, and the plane that holds it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from claims.deep_cells import entry, interval, open_if_lost
from claims.deep_costs import searching, training
from claims.deep_sets import attack_steps
from claims.deep_start import Start, method, setting, usable
from linphase import deep, evidence, plotting
from linphase.study import Experiment, Local, Options, Part, Report, Results

MULTIPLES = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
"""Strengths in units of ε*; at 0 the other model is a clean one too."""
SHOWN = (0.0, 1.0, 2.0, 4.0)
COLOUR = {"multiples": (0.0, 0.5, 1.0, 4.0, 16.0), "shown": (0.0, 1.0, 4.0, 16.0)}
"""For colour images: at the paper's ε* = .5/255, its 0, .5, 2 and 8 (/255)."""
SIZES = {"digits": 440, "mnist": 10_000, "fashion-mnist": 10_000}
SEEDS = {"digits": 24, "mnist": 4, "fashion-mnist": 4}
LENGTH = {"digits": 300}
"""Epochs of the path's training; elsewhere those of the models."""
POINTS, GRID = 41, 31
WINDOWS = {"asymmetry": 0.3, "asymmetry wide": 1.0}
"""How far the planes' windows extend beyond the networks. The low-loss region goes on beyond either."""
EXAMPLES = 2_000
"""Of the training set, that score path and plane."""
CURVES = ("loss", "test_loss", "line")
BELOW = "below eps* the path between clean and adversarial model is as that between two clean ones"
RISES = "past eps* the loss on the path rises"
SHAPE = "below eps* the low-loss region is as symmetric as between two clean models"
SKEW = "past eps* the low-loss region loses its symmetry"
MARGIN = {"barrier": 0.1, "asymmetry": 0.1}


def block(setting: Mapping[str, Any], replicates: range, seed: int, local: Local) -> dict[str, np.ndarray]:
    """ε* and R; by multiple of ε*, in units of R, barrier, excess and straight barrier; losses; planes.

    The asymmetry of the low-loss region is NaN where the window holds none.
    """
    rows = [_one(setting, k, seed, local) for k in replicates]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _one(setting: Mapping[str, Any], replicate: int, seed: int, local: Local) -> dict[str, Any]:
    start = Start("connectivity", setting, replicate, seed, local)
    search = start.search()
    eps, target, clean = start.eps_star(search), search.clean.target, search.clean.model
    multiples, k = multiples_of(setting["dataset"]), len(multiples_of(setting["dataset"]))
    found: dict[str, Any] = {"eps_star": eps, "target": target}
    found |= {name: np.full(k, np.nan) for name in ("barrier", "excess", "straight", "border", *WINDOWS)}
    found |= {name: np.full((k, POINTS), np.nan) for name in CURVES}
    found |= {name: np.full((k, GRID), np.nan) for name in ("x", "y")} | {
        "corners": np.full((k, 3, 2), np.nan)
    }
    found |= {"plane": np.full((k, GRID, GRID), np.nan), "path": np.full((k, 101, 2), np.nan)}
    if not usable(eps):
        return found
    # Another initialisation and order, the same for all strengths: two clean models at ε = 0.
    others, _ = start.train([m * eps for m in multiples], start.seed + 1, start.recipe)
    plan = start.recipe.but(epochs=setting["path_epochs"], select="last")
    examples = None if start.small else EXAMPLES
    for i, other in enumerate(others):
        connection = deep.mode_connectivity(
            clean, other, start.data, plan, points=POINTS, examples=examples, seed=start.seed,
            checkpoint=start.path(f"path-{i}"), report=start.report,
        )  # fmt: skip
        plane = deep.loss_plane(
            clean, other, connection.curve.bend(), start.data, plan, path=connection.curve, grid=GRID,
            margin=max(WINDOWS.values()), examples=examples, checkpoint=start.path(f"plane-{i}"),
        )  # fmt: skip
        ends = (connection.loss[0] + connection.loss[-1]) / 2
        found["barrier"][i] = connection.barrier / target
        found["excess"][i] = connection.excess / target
        found["straight"][i] = (connection.line.max() - ends) / target
        found["border"][i] = plane.border(target)
        for name, margin in WINDOWS.items():
            found[name][i] = plane.asymmetry(target, margin)
        for name in CURVES:
            found[name][i] = getattr(connection, name)
        found["x"][i], found["y"][i], found["plane"][i] = plane.x, plane.y, plane.loss
        found["corners"][i], found["path"][i] = plane.corners, plane.path
    return found


def multiples_of(dataset: str) -> tuple[float, ...]:
    """Strengths of a data set in units of ε*."""
    return MULTIPLES if dataset in SIZES else COLOUR["multiples"]


def grid(options: Options) -> list[dict[str, Any]]:
    """One network and size."""
    dataset = options.own["dataset"]
    chosen = setting(options, SIZES.get(dataset, 50_000))
    length = LENGTH.get(dataset, chosen["epochs"])
    return [chosen | {"path_epochs": length // 8 if options.quick else length}]


def seeds(options: Options) -> int:
    """Number of seeds."""
    return 2 if options.quick else SEEDS.get(options.own["dataset"], 1)


def experiments(options: Options) -> list[Experiment]:
    """A block a seed."""
    return [Experiment("connectivity", block, grid(options), seeds(options), 1, local=True)]


def passes(s: Mapping[str, Any]) -> float:
    """Passes over the training data that a seed takes."""
    others = len(multiples_of(s["dataset"]))
    scored = (2 * POINTS + GRID**2) * 3 * (1 if s["network"] == "mlp" else EXAMPLES / s["n"])
    runs = training(s, 0) + (others - 1) * training(s, attack_steps(s)) + others * (s["path_epochs"] + scored)
    return searching(s, s["network"] == "mlp") + runs


def report(results: Results, options: Options) -> Report:
    """Barrier and asymmetry by ε/ε*, their differences from ε = 0 below ε* and their rise above it."""
    (cell,) = results["connectivity"]
    values, dataset = cell.values, cell.setting["dataset"]
    multiples = multiples_of(dataset)
    good = np.isfinite(values["barrier"][:, 0])
    rows = [
        entry(np.where(good, values["eps_star"], np.nan), experiment=f"eps*, {method(cell.setting)}"),
        entry(values["target"], experiment="R, clean test loss"),
    ]
    titles = {
        "barrier": "barrier on the path, in units of R",
        "excess": "highest loss on the path above the higher end, in units of R",
        "straight": "barrier on the straight line, in units of R",
        "border": "share of the window's border with loss <= R",
    } | {name: f"asymmetry of the region with loss <= R, window {w:g}" for name, w in WINDOWS.items()}
    columns: dict[str, np.ndarray] = {"multiple": np.array(multiples)}
    for name, title in titles.items():
        for k, multiple in enumerate(multiples):
            keys = {"experiment": title, "multiple of eps*": multiple}
            rows.append(entry(values[name][:, k], **keys))
        triples = np.array([interval(column) for column in values[name].T]).T
        columns |= {f"{name}{end}": t for end, t in zip(("", "_low", "_high"), triples, strict=True)}
    figures = {"connectivity": columns} | (_planes(cell.values, multiples, good) if good.any() else {})
    claims = _claims(values, multiples, good) if good.sum() > 1 and 2.0 in multiples else []
    return Report(rows, claims, figures)


def _planes(
    values: Mapping[str, np.ndarray], multiples: tuple[float, ...], good: np.ndarray
) -> dict[str, Any]:
    """Planes and paths of the first seed."""
    first = int(np.argmax(good))
    names = ("x", "y", "plane", "corners", "path", *CURVES)
    figure = {name: values[name][first] for name in names}
    figure |= {"target": values["target"][first], "multiple": np.array(multiples)}
    return {"planes": figure}


def _claims(
    values: Mapping[str, np.ndarray], multiples: tuple[float, ...], good: np.ndarray
) -> list[evidence.Claim]:
    claims = []
    for kind, names, same, moves, unit in (
        ("barrier", ("barrier",), BELOW, RISES, "in units of R"),
        ("asymmetry", tuple(WINDOWS), SHAPE, SKEW, "of the region with loss <= R, in two windows"),
    ):
        kept = good & np.isfinite([values[name] for name in names]).all(axis=(0, 2))
        if kept.sum() < 2:
            continue
        # From one multiple of ε* to another, on the same seeds.
        change = {
            (name, a, b): evidence.mean(
                values[name][kept, multiples.index(b)] - values[name][kept, multiples.index(a)],
                failures=int((~kept).sum()),
            )
            for name in names
            for a in multiples
            for b in multiples
        }
        note = f"{unit}; change from eps = 0 on the same seeds"
        for title, at in (("eps <= eps*/2", (0.25, 0.5)), ("eps = eps*", (1.0,))):
            near = [
                evidence.equivalent(f"{m:g} eps*, {name}", same, change[name, 0.0, m], 0.0, MARGIN[kind])
                for name in names
                for m in at
            ]
            title = f"{kind}, {title}: as between clean models"
            claims.append(evidence.all_of(title, same, near, note=note))
        steps = [
            evidence.above(f"{a:g} to {b:g} eps*, {name}", moves, change[name, a, b], 0.0)
            for name in names
            for a, b in ((1.0, 2.0), (2.0, 4.0))
        ]
        note = f"{unit}; from step to step, on the same seeds"
        if kind == "barrier":
            note += "; past eps* it is the adversarial end's own loss (see the excess above the higher end)"
        claims.append(evidence.all_of(f"{kind} rises past eps*", moves, steps, note=note))
    return [open_if_lost(claim) for claim in claims]


def draw(figures: Mapping[str, Mapping[str, np.ndarray]], folder: Path) -> None:
    """Planes with contours and path; barrier and asymmetry against ε/ε*."""
    with plotting.style():
        if "planes" in figures:
            _draw_planes(figures["planes"], folder)
        data = figures["connectivity"]
        fig, (left, right) = plotting.new("text", 2.6, cols=2)
        labels = {"straight": "straight line", "barrier": "trained path"}
        labels |= {"excess": "trained path, above its higher end"}
        for index, (name, label) in enumerate(labels.items()):
            columns = [np.maximum(data[f"{name}{end}"], 0) for end in ("", "_low", "_high")]
            plotting.band(left, data["multiple"], *columns, label, index)
        for index, (name, window) in enumerate(WINDOWS.items(), start=len(labels)):
            if name in data:  # figure data of an earlier run may have one window only
                columns = [data[f"{name}{end}"] for end in ("", "_low", "_high")]
                plotting.band(right, data["multiple"], *columns, f"window {window:g}", index)
        for ax in (left, right):
            plotting.threshold(ax, 1.0)
            ax.set(xlabel=r"$\epsilon/\epsilon^*$")
        left.set_yscale("symlog", linthresh=0.1)
        ticks = (0, 0.1, 1, 10)
        left.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        left.set(ylabel="barrier / clean test loss", ylim=(-0.004, None))
        right.set(ylabel="asymmetry of the low-loss region", ylim=(0, 1.02))
        plotting.letters([left, right])
        plotting.shared_legend(fig, [left, right])
        plotting.save(fig, folder, "connectivity")


def _draw_planes(data: Mapping[str, np.ndarray], folder: Path) -> None:
    """Clean training loss in units of R; a black line at R; the path white, its bend a cross."""
    multiples, target = data["multiple"].tolist(), float(data["target"])
    shown = [m for m in (SHOWN if 2.0 in multiples else COLOUR["shown"]) if m in multiples]
    levels = np.geomspace(0.03, 30, 13)
    fig, axes = plotting.new("text", 2.1, cols=len(shown))
    for ax, multiple in zip(axes, shown, strict=True):
        k = multiples.index(multiple)
        # Clipped just inside: what lies outside the levels would be left white, as the path is.
        x, y, losses = data["x"][k], data["y"][k], np.clip(data["plane"][k] / target, 0.0301, 29.9)
        filled = ax.contourf(x, y, losses, levels, cmap="viridis_r", norm="log")
        ax.contour(x, y, losses, [1.0], colors="black", linewidths=0.9)
        ax.plot(*data["path"][k].T, color="white", linestyle="-", marker="", linewidth=1.2)
        ends, bend = data["corners"][k][:2], data["corners"][k][2:]
        ax.plot(*ends.T, color="white", linestyle="", marker="o", markeredgecolor="black", markersize=4)
        ax.plot(*bend.T, color="white", linestyle="", marker="x", markersize=4)
        ax.set_title(rf"$\epsilon={multiple:g}\,\epsilon^*$" if multiple else r"$\epsilon=0$", loc="right")
        ax.set(xlabel="distance of weights")
    bar = fig.colorbar(filled, ax=axes, ticks=(0.1, 1, 10), label="clean training loss / $R$")
    bar.ax.set_yticklabels(["0.1", "1", "10"])
    plotting.letters(axes)
    plotting.save(fig, folder, "planes")


PART = Part("connectivity", experiments, report, draw)
