"""The table of the fuzz: every public function and class outside `linphase.deep`, each with a valid call."""

import math
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import FunctionType

import numpy as np
from fuzz import Entry
from matplotlib.figure import Figure

import linphase as lp
from linphase import asymptotics, critical, designs, estimates, evidence, plotting, two_layer
from linphase.study import model

Array = np.ndarray
NONE = type(None)


def numbers(*shape):
    """Random numbers that float32 holds exactly."""
    return np.round(64 * lp.stream(0, "fuzz", *shape).standard_normal(shape)) / 64


def rng():
    return lp.stream(1)


X, Y, THETA = numbers(8, 3), numbers(8), numbers(3)
STACK, ROWS = numbers(2, 8, 3), numbers(2, 8)
PROBLEM, CLEAN = lp.AdversarialProblem(X, Y, 0.25), lp.AdversarialProblem(X, Y, 0.0)
DESIGN = lp.GaussianDesign(8, 3)
NET = lp.two_layer_descent(PROBLEM, 4, rng(), n_steps=3)
TANH = two_layer.ACTIVATIONS["tanh"]
CELLS = [evidence.Estimate(1.0 / k, 0.125, 9.0, 10) for k in (1, 2, 4)]
NORMAL = evidence.Estimate(1.0, 0.5, math.inf, 30, 1)
SHARE, MEDIAN = evidence.share(3, 20), evidence.median([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
DISTANCE = evidence.distance_from_uniform([0.125, 0.5, 0.75])
CLAIM = evidence.below("a", "says", NORMAL, 2.0)
OTHER = evidence.above("b", "says", NORMAL, 2.0)
VERDICT = evidence.decide([CLAIM])[0]
NAMED = {"name": "a", "says": "b"}
EXTRA = {"expected": "refuted", "note": "c"}


def given(**arguments):
    """A base call with new copies of arrays, lists and generators."""
    make = {Array: np.copy, list: list, dict: dict}

    def base():
        return {
            name: rng() if value is rng else make.get(type(value), lambda v: v)(value)
            for name, value in arguments.items()
        }

    return base


def trained(*arguments, **named):
    """A trajectory with its losses, which are computed when asked for."""
    run = lp.gradient_descent(*arguments, **named)
    return run, run.losses


def network(**named):
    """A trained network with its linear twin."""
    net = lp.two_layer_descent(**named)
    return net, net.beta, net.losses


def designed(method):
    """A method of a design that takes no argument: what it says of the design."""
    return lambda **named: getattr(lp.GaussianDesign(**named), method)()


DATA = {"X": X, "y": Y}
STACKED = {"X": STACK, "y": ROWS}
KNOWN = {"theta0": THETA, "noise": 0.5, "X_test": None, "y_test": None}
HELD_OUT = {"theta0": None, "noise": 0.5, "X_test": numbers(5, 3), "y_test": numbers(5)}
RUN = {"step": 0.0625, "n_steps": 4, "start": THETA}
SIZES = {"n": 8, "d": 3, "signal": 1.5, "noise": 0.5}
MOMENTS = {"delta": np.array([0.5, 2.0]), "signal": np.array([1.0, 2.0]), "noise": 0.5}
NETWORK = {
    "problem": PROBLEM,
    "width": 4,
    "rng": rng,
    "activation": "tanh",
    "signs": "balanced",
    "init": "vanishing",
}
NETWORK |= {
    "xi": 1.0,
    "step": 0.0625,
    "n_steps": 3,
    "attack": "pgd",
    "attack_steps": 2,
    "points": numbers(2, 3),
}

LINEAR = {
    "AdversarialProblem": Entry(lp.AdversarialProblem, given(**DATA, eps=0.25), lp.AdversarialProblem),
    "AdversarialProblem.loss": Entry(PROBLEM.loss, given(theta=THETA), float),
    "AdversarialProblem.subgradient": Entry(PROBLEM.subgradient, given(theta=THETA), Array),
    "AdversarialProblem.dual_bound": Entry(PROBLEM.dual_bound, given(u=Y), float),
    "GaussianDesign": Entry(lp.GaussianDesign, given(**SIZES), lp.GaussianDesign),
    "GaussianDesign.sample": Entry(DESIGN.sample, given(rng=rng), tuple),
    "GaussianDesign.risk": Entry(DESIGN.risk, given(theta=numbers(2, 1, 3), eps=np.array([0.0, 0.5])), Array),
    "GaussianDesign.risk_minimiser": Entry(DESIGN.risk_minimiser, given(eps=0.5), Array),
    "GaussianDesign.std_norm": Entry(designed("std_norm"), given(**SIZES), float),
    "fixed_design_std_norm": Entry(designs.fixed_design_std_norm, given(X=X, noise=0.5), float),
    "solve": Entry(lp.solve, given(problem=PROBLEM, tol=1e-10, strict=True), lp.Solution),
    "solve_batch": Entry(
        lp.solve_batch, given(**STACKED, eps=np.array([0.25, 0.5]), tol=1e-10), lp.Batch, alike=False
    ),
    "solve_path": Entry(
        lp.solve_path, given(**DATA, eps=np.array([0.0, 0.25, 0.5]), n_eps=3, tol=1e-10), lp.Path, alike=False
    ),
    "zero_radius": Entry(lp.zero_radius, given(**DATA), float),
    "interpolation_radius": Entry(lp.interpolation_radius, given(X=X.T.copy(), y=THETA), float, beside="inf"),
    "critical_strength": Entry(
        lp.critical_strength, given(**DATA, **KNOWN, criterion="loss"), float, beside="inf", alike=False
    ),
    "critical_strength_batch": Entry(
        lp.critical_strength_batch,
        given(**STACKED, **KNOWN, criterion="loss"),
        Array,
        beside="inf",
        alike=False,
    ),
    "find": Entry(
        critical.find,
        given(**DATA, **HELD_OUT, criterion="clean-loss"),
        critical.CriticalStrength,
        "inf",
        False,
    ),
    "find_all": Entry(
        critical.find_all, given(**DATA, **KNOWN, criteria=["loss", "parameter"]), list, "inf", False
    ),
    "critical_step": Entry(lp.critical_step, given(problem=PROBLEM, batch_size=4), float, beside="inf"),
    "gradient_descent": Entry(
        trained, given(problem=PROBLEM, **RUN, batch_size=4, rng=rng), tuple, beside="inf"
    ),
    "gradient_descent clean": Entry(trained, given(problem=CLEAN, **RUN), tuple, beside="inf"),
    "gradient_descent_batch": Entry(
        lp.gradient_descent_batch, given(**STACKED, eps=np.array([0.0, 0.5]), **RUN), Array
    ),
    "noise_augmented_descent": Entry(
        lp.noise_augmented_descent, given(**DATA, eps=np.array([0.0, 0.5]), rng=rng, **RUN), Array
    ),
    "two_layer_descent": Entry(network, given(**NETWORK), tuple),
    "TwoLayerNet.predict": Entry(NET.predict, given(X=X), Array),
    "TwoLayerNet.loss": Entry(NET.loss, given(problem=PROBLEM, attack="pgd", attack_steps=2), float),
    "Activation": Entry(TANH, given(z=X), Array, "inf, nan"),
    "Activation.derivative": Entry(TANH.derivative, given(z=X), Array, "inf, nan"),
    "stream": Entry(
        lambda seed, key: lp.stream(seed, key, "b"), given(seed=1, key=0.5), np.random.Generator, alike=False
    ),
    "asymptotics.predict": Entry(
        asymptotics.predict, given(eps=np.array([0.25, 0.5]), **MOMENTS), asymptotics.Prediction, alike=False
    ),
    "asymptotics.critical_strength": Entry(
        asymptotics.critical_strength, given(**MOMENTS, criterion="parameter"), (Array, float), "inf"
    ),
    "asymptotics.zero_radius": Entry(asymptotics.zero_radius, given(**MOMENTS), (Array, float)),
}

SAMPLE = numbers(7)
FITTED = {"columns": {"x": np.array([0.0, 1.0, 2.0])}, "cells": CELLS, "weights": np.array([1.0, 2.0, 1.0])}
ESTIMATE = {"value": 1.0, "se": 0.5, "df": 9.0, "n": 10, "failures": 1}
TREND = {"x": np.array([1.0, 2.0, 4.0]), "cells": CELLS, "bound": 0.5, "rate": 0.25}
COV = np.array([[2.0, 0.5], [0.5, 1.0]])


def of(kind, estimate):
    """The entries of an estimate's methods."""
    return {
        f"{kind}.interval": Entry(estimate.interval, given(level=0.875), tuple, beside="inf"),
        f"{kind}.p_below": Entry(estimate.p_below, given(bound=2.0), float),
        f"{kind}.p_above": Entry(estimate.p_above, given(bound=2.0), float),
    }


ESTIMATES = {
    "Estimate": Entry(estimates.Estimate, given(**ESTIMATE), estimates.Estimate, alike=False),
    "Share": Entry(estimates.Share, given(**ESTIMATE, count=5), estimates.Share, alike=False),
    "Median": Entry(
        estimates.Median, given(**ESTIMATE, sample=np.arange(10.0)), estimates.Median, alike=False
    ),
    "Distance": Entry(
        estimates.Distance, given(**ESTIMATE | {"value": 0.5}), estimates.Distance, alike=False
    ),
    "Estimate.log": Entry(
        lambda **named: estimates.Estimate(**named).log(), given(**ESTIMATE), estimates.Estimate
    ),
    "Share.log": Entry(
        lambda **named: estimates.Share(**named).log(),
        given(**ESTIMATE, count=5),
        estimates.Estimate,
        alike=False,
    ),
    "Median.log": Entry(
        lambda **named: estimates.Median(**named).log(),
        given(**ESTIMATE, sample=np.arange(1.0, 11.0)),
        estimates.Median,
        alike=False,
    ),
    "Distance.log": Entry(
        lambda **named: estimates.Distance(**named).log(), given(**ESTIMATE), estimates.Estimate, alike=False
    ),
    **of("Estimate", CELLS[0]),
    **of("Share", SHARE),
    **of("Median", MEDIAN),
    **of("Distance", DISTANCE),
    "mean": Entry(estimates.mean, given(x=SAMPLE, failures=1), estimates.Estimate),
    "ratio": Entry(
        estimates.ratio, given(x=SAMPLE, y=SAMPLE**2, failures=1), estimates.Estimate, alike=False
    ),
    "median": Entry(estimates.median, given(x=SAMPLE, failures=1), estimates.Median),
    "share": Entry(estimates.share, given(count=3, n=20, failures=1), estimates.Share),
    "distance_from_uniform": Entry(
        estimates.distance_from_uniform, given(p_values=np.array([0.125, 0.5, 0.75])), estimates.Distance
    ),
    "combine": Entry(
        estimates.combine, given(coefficients=np.array([1.0, -0.5, 2.0]), estimates=CELLS), estimates.Estimate
    ),
    "regression": Entry(estimates.regression, given(**FITTED), dict, called=("x", "a")),
    "slope": Entry(
        estimates.slope,
        given(x=np.array([0.0, 1.0, 2.0]), cells=CELLS, weights=np.array([1.0, 2.0, 1.0])),
        estimates.Estimate,
    ),
}

EVIDENCE = {
    "Claim": Entry(
        evidence.Claim,
        given(**NAMED, estimate=NORMAL, test="t", p_support=0.5, p_refute=0.25, **EXTRA),
        evidence.Claim,
    ),
    "equivalent": Entry(
        evidence.equivalent,
        given(**NAMED, estimate=NORMAL, target=1.0, margin=0.5, rivals=[2.0, 3.0], **EXTRA),
        evidence.Claim,
    ),
    "below": Entry(evidence.below, given(**NAMED, estimate=NORMAL, bound=2.0, **EXTRA), evidence.Claim),
    "above": Entry(evidence.above, given(**NAMED, estimate=NORMAL, bound=2.0, **EXTRA), evidence.Claim),
    "share_below": Entry(
        evidence.share_below, given(**NAMED, failures=1, n=50, bound=0.125, **EXTRA), evidence.Claim
    ),
    "uniform": Entry(
        evidence.uniform,
        given(**NAMED, p_values=np.array([0.125, 0.5, 0.75]), margin=0.125, **EXTRA),
        evidence.Claim,
    ),
    "all_of": Entry(evidence.all_of, given(**NAMED, claims=[CLAIM, OTHER], **EXTRA), evidence.Claim),
    "vanishes": Entry(evidence.vanishes, given(**NAMED, **TREND, **EXTRA), evidence.Claim),
    "grows": Entry(evidence.grows, given(**NAMED, **TREND, **EXTRA), evidence.Claim),
    "decide": Entry(evidence.decide, given(claims=[CLAIM, OTHER], alpha=0.125, level=0.875), list),
    "hotelling_p_value": Entry(
        evidence.hotelling_p_value, given(theta=numbers(4, 2), mean=numbers(2), cov=COV, n_reference=9), Array
    ),
    "t_p_value": Entry(
        evidence.t_p_value, given(value=SAMPLE, mean=0.5, sd=np.arange(1.0, 8.0), n_reference=9), Array
    ),
}


class Quick(Figure):
    """A figure whose files are written at once."""

    def draw_without_rendering(self):
        pass

    def savefig(self, buffer, **named):
        buffer.write(b"drawn")


@cache
def panel(name):
    """Axes; making new ones at each call would take most of the time of the fuzz."""
    return Figure().add_subplot()


def drawn(function, **arguments):
    """An entry of a function that draws on axes."""
    base = given(**arguments)
    return Entry(function, lambda: {"ax": panel(function)} | base(), NONE)


def saved(fig, folder, name):
    """Save into a folder beneath the present one; absolute folders lead nowhere."""
    return plotting.save(fig, folder, name)


LINE = np.array([1.0, 2.0, 4.0])
CURVE = {"x": LINE, "low": LINE - 0.5, "high": LINE + 0.5, "label": "a", "index": 1}

PLOTTING = {
    "new": Entry(plotting.new, given(width="text", height=2.0, rows=1, cols=2), tuple),
    "save": Entry(plotting.save, lambda: {"fig": Quick(), "folder": Path("figures"), "name": "a"}, list),
    "look": Entry(plotting.look, given(index=2), dict),
    "band": drawn(plotting.band, **CURVE, mean=LINE),
    "points": drawn(plotting.points, **CURVE, y=LINE),
    "theory": drawn(plotting.theory, x=LINE, y=LINE, label="a", dashed=True),
    "threshold": drawn(plotting.threshold, x=0.5, label="a"),
    "loglog_fit": drawn(plotting.loglog_fit, **CURVE, y=LINE, slope=1.0, constant=1.0),
    "trajectory": drawn(plotting.trajectory, path=numbers(4, 2), label="a", index=1),
    "letters": Entry(plotting.letters, lambda: {"axes": [panel("left"), panel("right")]}, NONE),
    "shared_legend": Entry(plotting.shared_legend, lambda: {"fig": Figure(), "axes": [panel("left")]}, NONE),
    "log_axes": drawn(plotting.log_axes, which="xy"),
}


def block(setting, replicates, seed):
    """A block that computes nothing."""
    return {}


def parts(options):
    """The experiments of a part."""
    return []


def report(results, options):
    """The report of a part."""
    return model.Report()


EXPERIMENT = model.Experiment("e", block, [{"n": 1}], 5, 2)
FLAG = model.Flag("--data-set", "which", "a", choices=("a", "b"))
PART = model.Part("p", parts, report)
STUDY = model.Study("s", "about", [PART], flags=[FLAG], variants=["data_set"])

STUDIES = {
    "Flag": Entry(
        model.Flag,
        given(name="--two-words", help="h", default=None, type=int, choices=[], switch=False, metavar="N"),
        model.Flag,
        alike=False,
    ),
    "at_least": Entry(model.at_least, given(least=1), FunctionType),
    "Options": Entry(
        model.Options,
        given(
            out=Path("out"),
            quick=True,
            reps=3,
            seed=1,
            jobs=1,
            fresh=False,
            figures=True,
            own={"a": 1},
            blocks=Path("b"),
        ),
        model.Options,
        alike=False,
    ),
    "Local": Entry(model.Local, given(scratch=Path("a"), own={"a": 1}), model.Local),
    "Experiment": Entry(
        model.Experiment,
        given(name="e", block=block, settings=[{"n": 1}, {"n": 2}], reps=5, block_size=2, local=False),
        model.Experiment,
        alike=False,
    ),
    "Experiment.replicates": Entry(EXPERIMENT.replicates, given(setting={"n": 1}, override=3), int),
    "Experiment.cuts": Entry(EXPERIMENT.cuts, given(setting={"n": 1}, override=3), list),
    "Cell": Entry(model.Cell, given(setting={"n": 1}, values={"x": LINE}), model.Cell, "inf, nan"),
    "Report": Entry(
        model.Report,
        given(rows=[{"n": 1}], claims=[CLAIM], figures={"a": {"x": LINE}}),
        model.Report,
        "inf, nan",
        alike=False,
    ),
    "Part": Entry(model.Part, given(name="p", experiments=parts, report=report, draw=None), model.Part),
    "Study": Entry(
        model.Study,
        given(
            name="s",
            about="a",
            parts=[PART],
            warm=None,
            flags=[FLAG],
            variants=["data_set"],
            dry_run=None,
            facts=None,
        ),
        model.Study,
    ),
    "Study.variant_of": Entry(STUDY.variant_of, given(own={"data_set": "b"}), str),
}

# What holds a study takes numbers as they are.
STUDIES = {name: replace(entry, beside="inf, nan") for name, entry in STUDIES.items()}

TABLE = {
    f"{module}: {name}": entry
    for module, entries in [
        ("linear", LINEAR),
        ("estimates", ESTIMATES),
        ("evidence", EVIDENCE),
        ("plotting", PLOTTING),
        ("study", STUDIES),
    ]
    for name, entry in entries.items()
}
