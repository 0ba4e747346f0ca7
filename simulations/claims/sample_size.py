"""Remark 1: ε* falls as n grows, at fixed d."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from claims.draws import by, thresholds
from linphase import GaussianDesign, evidence
from linphase.streams import stream
from linphase.study import Experiment, Options, Part, Report, Results, row

SIZES = {400: 1000, 1600: 1000, 6400: 300}  # n: replicates
DIMENSIONS = (2, 10, 50)
SAYS = "epsilon* falls as n grows"


def block(setting: Mapping[str, Any], replicates: range, seed: int) -> dict[str, np.ndarray]:
    """ε* of each data set."""
    n, d = setting["n"], setting["d"]
    rngs = [stream(seed, "sample-size", n, d, k) for k in replicates]
    return thresholds(GaussianDesign(n, d), rngs, ("loss",))


def experiments(options: Options) -> list[Experiment]:
    """Three d, sixteen-fold n."""
    settings = [{"n": n, "d": d} for d in DIMENSIONS for n in SIZES]
    share = 10 if options.quick else 1
    return [
        Experiment(
            "sample-size",
            block,
            settings,
            lambda s: SIZES[s["n"]] // share,
            lambda s: max(1, 4_000_000 // (s["n"] * s["d"] + 4000)),
        )
    ]


def report(results: Results, options: Options) -> Report:
    """At each d the mean over data sets falls from each n to the next."""
    rows, parts = [], []
    for d, cells in by(results["sample-size"], "d").items():
        means = [evidence.mean(cell.values["loss"]) for cell in cells]
        rows += [row(e, experiment="eps*", n=c.setting["n"], d=d) for c, e in zip(cells, means, strict=True)]
        for before, after, cell in zip(means, means[1:], cells[1:], strict=False):
            fall = evidence.combine([1.0, -1.0], [after, before])
            parts.append(evidence.below(f"d = {d}, to n = {cell.setting['n']}", SAYS, fall, 0.0))
    note = "at fixed d; at fixed d/n it settles on a constant"
    return Report(rows, [evidence.all_of("Remark 1: eps* falls as n grows", SAYS, parts, note=note)])


PART = Part("sample_size", experiments, report)
