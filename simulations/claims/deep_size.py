"""Table 3: ε* by data set, network and sample size."""

from typing import Any

from claims.deep_sets import epochs_of
from claims.deep_strength import block
from linphase.study import Experiment, Options, Part, Report, Results

# Replicates by data set, then by training examples.
SIZES: dict[str, dict[int, int]] = {
    "digits": {100: 10, 200: 10, 400: 10, 800: 10, 1400: 10},
    "mnist": {50_000: 1, 10_000: 2, 3_000: 3, 1_000: 4},
}
WIDTHS = {"digits": (16, 128), "mnist": (128, 16)}
LENGTHS = {"mnist": (5, 45)}
"""Schedules beside the usual one, at one size and width."""


def settings(options: Options) -> list[dict[str, Any]]:
    """The grid of a data set: all sizes and widths, and other schedules at one of them."""
    dataset = options.own["dataset"]
    common = {"dataset": dataset, "norm": "linf", "loss": "cross-entropy", "tuned": dataset != "digits"}
    common["network"] = "mlp" if dataset == "digits" else "mnist-cnn"
    epochs = epochs_of(options)
    grid = [(n, width, epochs) for n in SIZES[dataset] for width in WIDTHS[dataset]]
    grid += [(3_000, 128, length) for length in LENGTHS.get(dataset, ())]
    return [common | {"n": n, "width": width, "epochs": length} for n, width, length in grid]


def experiments(options: Options) -> list[Experiment]:
    """A block a seed."""
    sizes = SIZES[options.own["dataset"]]
    reps = lambda s: 2 if options.quick else sizes[s["n"]]
    return [Experiment("critical-strength", block, settings(options), reps, 1, local=True)]


def report(results: Results, options: Options) -> Report:
    return Report([], [], {})


PART = Part("critical", experiments, report)
