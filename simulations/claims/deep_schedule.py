"""How ε* grows with the length of the schedule, at one size of the training set."""

from typing import Any

import numpy as np

from claims.deep_cells import columns_of, finite, open_if_lost
from claims.deep_sets import nets, setting
from claims.deep_strength import block
from linphase import evidence
from linphase.study import Cell, Experiment, Options, Results, row

LENGTHS = {"mnist": (25, 50)}
"""Schedules beside the usual one, for the wide network at n = 1,000, on the seeds of the usual one."""
SAYS = "eps* belongs to a schedule: a longer one fits more and finds a larger eps*"


def experiments(options: Options) -> list[Experiment]:
    """The other lengths; the usual one is among the runs of `deep_size`."""
    net = next((net for net in nets(options) if (net.width, net.n) == (128, 1_000)), None)
    lengths = LENGTHS.get(options.own["dataset"], ())
    if net is None or not lengths or options.quick or options.own["epochs"]:
        return []
    grid = [setting(net, options, tuned=False, epochs=length) for length in lengths]
    return [Experiment("schedule", block, grid, net.seeds, 1, local=True)]


def points(results: Results) -> dict[str, np.ndarray]:
    """ε* of each seed by the length of its schedule."""
    known = [
        {"n": cell.setting["n"], "epochs": cell.setting["epochs"], "eps": eps}
        for cell in _cells(results)
        for eps in finite(cell.values["eps scratch"])[0]
    ]
    return columns_of(known) if known else {"n": np.array([]), "epochs": np.array([]), "eps": np.array([])}


def compare(results: Results) -> tuple[list[dict[str, Any]], list[evidence.Claim]]:
    """The exponent of the length in ε*: a slope a seed, as the seeds are those of every length."""
    cells = _cells(results)
    if len(cells) < 2:
        return [], []
    seeds = min(cell.values["eps scratch"].size for cell in cells)
    eps = np.array([cell.values["eps scratch"][:seeds] for cell in cells])
    usual = (np.isfinite(eps) & (eps > 0)).all(axis=0)
    if usual.sum() < 2:
        return [], []
    lengths = np.log([cell.setting["epochs"] for cell in cells])
    slopes = np.polyfit(lengths, np.log(eps[:, usual]), 1)[0]
    growth = evidence.mean(slopes, failures=int((~usual).sum()))
    keys = {key: cells[0].setting[key] for key in ("network", "width", "n")}
    title = "eps* grows with the schedule: exponent of the epochs"
    return (
        [row(growth, experiment="exponent of the epochs in eps*", **keys)],
        [open_if_lost(evidence.above(title, SAYS, growth, 0.0))],
    )


def _cells(results: Results) -> list[Cell]:
    """The cells of the network and size for which several schedules were tried, shortest first."""
    lengths = list(results.get("schedule", ()))
    same = [(cell.setting["n"], cell.setting["width"]) for cell in lengths[:1]]
    usual = [c for c in results["critical-strength"] if (c.setting["n"], c.setting["width"]) in same]
    return sorted([*usual, *lengths], key=lambda cell: cell.setting["epochs"])
