"""TRADES and MART: what training with another robust loss does to ε*."""

from typing import Any

import numpy as np

from claims.deep_cells import keys_of, log_ratio, open_if_lost, summary
from claims.deep_sets import nets, seeds_of, setting
from claims.deep_strength import block
from linphase import evidence
from linphase.deep.crossing import crossing
from linphase.study import Cell, Experiment, Options, Results, Setting, row

LOSSES = ("trades", "mart")
STAR = "eps*, evaluated training loss"
LITTLE = "TRADES and MART move eps* little"
RAISE = "TRADES and MART raise eps* slightly (.7 and .8 for .5, in units of 1/255, on CIFAR-10)"
MIDDLE = {"digits": 440, "cifar10": 50_000, "cifar100": 50_000, "svhn": 50_000}
"""Size of the training set, on the data sets where these are tried."""


def experiments(options: Options) -> list[Experiment]:
    """Both losses for one network; the cross-entropy's runs are among those of `deep_size`."""
    net = next((net for net in nets(options) if net.n == MIDDLE.get(options.own["dataset"])), None)
    if net is None:
        return []
    grid = [setting(net, options, loss=loss, tuned=False) for loss in LOSSES]
    return [Experiment("robust-loss", block, grid, seeds_of(options), 1, local=True)]


def compare(results: Results) -> tuple[list[dict[str, Any]], list[evidence.Claim]]:
    """Rows and claims: ε* by the training loss evaluated again, under an attack on the cross-entropy.

    R is that of the clean model trained by cross-entropy, for every loss: MART has another clean model.
    """
    rows: list[dict[str, Any]] = []
    little, more = [], []
    for cell in results.get("robust-loss", ()):
        loss = cell.setting["loss"]
        other = next(c for c in results["critical-strength"] if _same(c.setting, cell.setting))
        target = other.values["target"]
        plain, values = _crossings(other, target), _crossings(cell, target)
        if not rows:
            rows.append(summary(plain, experiment=STAR, **keys_of(other)))
        rows.append(summary(values, experiment=STAR, **keys_of(cell)))
        ratio = log_ratio(values, plain)
        if ratio is not None:
            rows.append(row(ratio, experiment=f"log(eps* {loss} / cross-entropy)", **keys_of(cell)))
            name = f"{loss}, log ratio"
            near = evidence.equivalent(name, LITTLE, ratio, 0.0, float(np.log(2)))
            little.append(open_if_lost(near))
            more.append(open_if_lost(evidence.above(name, RAISE, ratio, 0.0)))
    if len(little) < len(LOSSES):
        return rows, []
    # On digits they lower it: a finding, made on the first run.
    digits = results["robust-loss"][0].setting["dataset"] == "digits"
    expected: evidence.Status = "refuted" if digits else "supported"
    return rows, [
        evidence.all_of("TRADES, MART: eps* within a factor of 2 of cross-entropy's", LITTLE, little),
        evidence.all_of("TRADES, MART: raise eps*", RAISE, more, expected=expected),
    ]


def _same(one: Setting, other: Setting) -> bool:
    """Tell whether two settings differ in the loss alone."""
    return all(one[key] == other[key] for key in ("network", "width", "n", "epochs", "norm"))


def _crossings(cell: Cell, target: np.ndarray) -> np.ndarray:
    """ε* of each seed at a given R."""
    stars = []
    for eps, losses, level in zip(
        cell.values["trace_eps"], cell.values["trace_evaluated"], target, strict=True
    ):
        trace = [point for point in zip(eps, losses, strict=True) if np.isfinite(point[0])]
        stars.append(crossing(trace, level)[0])
    return np.array(stars)
