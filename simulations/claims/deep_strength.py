"""One computation behind Tables 1, 3 and 4: ε* of a network by every method, seed by seed."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from claims.deep_costs import searching
from claims.deep_sets import attack_steps
from claims.deep_start import Start
from linphase import deep
from linphase.deep.crossing import crossing
from linphase.deep.search import AROUND, TRIES
from linphase.study import Local

POINTS = 2 + TRIES * len(AROUND)
"""Room for the strengths of a search: the clean one, its stacks, and a refinement."""
COLUMNS = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")
TUNINGS: dict[str, deep.Tuning | None] = {
    "follow": None,
    "FGM,1": deep.Tuning(0.05, deep.FGM, follow=False, strengths=(1.0,), lr=0.1),
    "FGM,3": deep.Tuning(0.05, deep.FGM, follow=False, strengths=(0.5, 1.0, 1.5), lr=0.1),
    "PGD,1": deep.Tuning(0.05, deep.PGD, follow=False, strengths=(1.0,), lr=0.1),
    "PGD,3": deep.Tuning(0.05, deep.PGD, follow=False, strengths=(0.5, 1.0, 1.5), lr=0.1),
}
METHODS = ("scratch", "attack-only", *TUNINGS)


def block(setting: Mapping[str, Any], replicates: range, seed: int, local: Local) -> dict[str, np.ndarray]:
    """ε* by each method with its cost, R, and the runs from scratch behind them; a seed a row.

    Arrays: ``eps METHOD``, ``passes METHOD``, ``seconds METHOD``, ``masked METHOD``, ``target``,
    ``clean_passes``, ``repeated`` (runs with a longer warm-up), ``eps evaluated`` (from scratch, by the
    training loss evaluated again), and (replicates, `POINTS`) by strength ``trace_eps``, ``trace_loss``,
    ``trace_evaluated``, ``trace_epoch`` and ``trace_COLUMN``.
    """
    rows = [_one(setting, k, seed, local) for k in replicates]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def passes(setting: Mapping[str, Any]) -> float:
    """Passes over the training data that a seed takes."""
    short = 0.05 * setting["epochs"] * (1 + 3) * (2 + 1 + attack_steps(setting))
    return searching(setting) + setting["tuned"] * short


def _one(setting: Mapping[str, Any], replicate: int, seed: int, local: Local) -> dict[str, Any]:
    start = Start("critical-strength", setting, replicate, seed, local)
    search = start.search()
    if start.recipe.loss != "cross-entropy":
        # Compared at one level, by the loss evaluated again: MART has another clean model.
        search = start.search(start.search(loss="cross-entropy").clean.target, "evaluated")
    found = {"attack-only": search.attack_only()}
    for name, tuning in (TUNINGS if setting["tuned"] else {}).items():
        if tuning is not None and name.startswith("PGD"):
            tuning = replace(tuning, attack=start.recipe.attack)
        found[name] = search.finetune(tuning)
    # One strength after the other where its cost is measured: a stack trains more than a search needs.
    if start.small and not setting["tuned"]:
        found["scratch"] = search.scratch(refine=0, side_by_side=True)
    elif setting.get("once"):
        found["scratch"] = search.scratch(refine=0, tries=1)
    else:
        found["scratch"] = search.scratch(refine=1)
    return _row(found)


def _row(found: Mapping[str, deep.CriticalStrength]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for method, result in found.items():
        row |= {f"eps {method}": result.eps_star, f"passes {method}": result.passes}
        row |= {f"seconds {method}": result.seconds, f"masked {method}": result.masked}
    scratch = found["scratch"]
    row |= {"target": scratch.target, "clean_passes": scratch.clean_passes}
    row["repeated"] = len(scratch.repeated)
    points = scratch.trace
    histories = [point.history for point in points if point.history is not None]
    evaluated = [float(history.evaluated_loss) for history in histories]
    row["eps evaluated"] = crossing(
        [(p.eps, loss) for p, loss in zip(points, evaluated, strict=True)], scratch.target
    )[0]
    columns = {"eps": [p.eps for p in points], "loss": [p.loss for p in points], "evaluated": evaluated}
    columns["epoch"] = [float(history.best + 1) for history in histories]
    columns |= {name: [float(history.at_best(name)) for history in histories] for name in COLUMNS}
    for name, values in columns.items():
        row[f"trace_{name}"] = np.pad(values, (0, POINTS - len(values)), constant_values=np.nan)
    return row
