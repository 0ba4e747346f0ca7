"""TRADES and MART: what training with another robust loss does to ε*."""

from typing import Any

import numpy as np

from claims.deep_cells import keys_of, log_ratio, summary
from claims.deep_sets import nets, seeds_of, setting
from claims.deep_strength import block
from linphase import evidence
from linphase.deep.crossing import crossing
from linphase.study import Cell, Experiment, Options, Part, Report, Results, row

LOSSES = ("cross-entropy", "trades", "mart")
LITTLE = "TRADES and MART move eps* little"
RAISE = "TRADES and MART raise eps* slightly (.7 and .8 for .5, in units of 1/255, on CIFAR-10)"
MIDDLE = {"digits": 440, "cifar10": 50_000, "cifar100": 50_000, "svhn": 50_000}
"""Size of the training set, on the data sets that get this part."""


def experiments(options: Options) -> list[Experiment]:
    """One network, three losses, on common seeds."""
    net = next((net for net in nets(options) if net.n == MIDDLE.get(options.own["dataset"])), None)
    if net is None:
        return []
    grid = [setting(net, options, loss=loss, tuned=False) for loss in LOSSES]
    return [Experiment("robust-loss", block, grid, seeds_of(options), 1, local=True)]


def report(results: Results, options: Options) -> Report:
    """ε* by the training loss evaluated again, under an attack on the cross-entropy.

    R is that of the clean model trained by cross-entropy, for every loss: MART has another clean model.
    """
    cells = {cell.setting["loss"]: cell for cell in results.get("robust-loss", ())}
    if not cells:
        return Report()
    rows: list[dict[str, Any]] = []
    claims = []
    target = cells["cross-entropy"].values["target"]
    plain = _crossings(cells["cross-entropy"], target)
    for loss, cell in cells.items():
        values = _crossings(cell, target)
        rows.append(summary(values, experiment="eps*, evaluated training loss", **keys_of(cell)))
        ratio = None if loss == "cross-entropy" else log_ratio(values, plain)
        if ratio is not None:
            rows.append(row(ratio, experiment=f"log(eps* {loss} / cross-entropy)", **keys_of(cell)))
            title = f"{loss}: eps* within a factor of 2 of cross-entropy's, mean log ratio"
            claims.append(evidence.equivalent(title, LITTLE, ratio, 0.0, float(np.log(2))))
            # On digits both lower it: a finding, made on the first run.
            expected: evidence.Status = "refuted" if cell.setting["dataset"] == "digits" else "supported"
            claims.append(evidence.above(f"{loss}: raises eps*", RAISE, ratio, 0.0, expected=expected))
    return Report(rows, claims)


def _crossings(cell: Cell, target: np.ndarray) -> np.ndarray:
    """ε* of each seed at a given R."""
    stars = []
    for eps, losses, level in zip(
        cell.values["trace_eps"], cell.values["trace_evaluated"], target, strict=True
    ):
        trace = [point for point in zip(eps, losses, strict=True) if np.isfinite(point[0])]
        stars.append(crossing(trace, level)[0])
    return np.array(stars)


PART = Part("robust", experiments, report)
