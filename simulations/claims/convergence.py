"""Theorem 1, convergence: descent from 0 reaches the exact minimiser, or wanders around 0 beyond its radius.

Step: half the critical one, 1/(√λmax + ε)²/2; T = 300 steps leave (1 − 2ηλmin)ᵀ of the start, below 1e-10 at
the sizes used. With kinks a constant step ends in an orbit; steps η/(1 + t/τ) end at the minimiser.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from linphase import (
    AdversarialProblem,
    GaussianDesign,
    critical_step,
    evidence,
    gradient_descent,
    gradient_descent_batch,
    plotting,
    solve,
)
from linphase.streams import stream
from linphase.study import Experiment, Options, Part, Report, Results, row

N_STEPS = 300
WANDER = {"n": 2000, "d": 5, "eps": 1.2, "step": 0.1}
DECREASING = 4000
SAYS = "theta_T(0) -> theta^(0) and theta_T(eps) -> theta^(eps)"
WANDERS = "a training trajectory wandering around 0 under a large attack"
SIZES = {"d < n": (400, 20), "d/n = 1/4": (200, 50), "SGD, d < n": (400, 20)}


def block(setting: Mapping[str, Any], replicates: range, seed: int) -> dict[str, np.ndarray]:
    """Distance of the last iterate from the minimiser, in units of the spread of least squares."""
    n, d = setting["n"], setting["d"]
    design = GaussianDesign(n, d)
    distance = np.empty(len(replicates))
    for i, k in enumerate(replicates):
        X, y = design.sample(stream(seed, "convergence", n, d, k))
        problem = AdversarialProblem(X, y, setting["multiple"] * math.sqrt(d / n))
        if setting["batch"] == 0:
            run = gradient_descent(problem, n_steps=N_STEPS)
        else:
            order = stream(seed, "convergence-order", n, d, k)
            step = critical_step(problem, setting["batch"]) / (1 + np.arange(DECREASING) / 40)
            run = gradient_descent(problem, step, DECREASING, batch_size=setting["batch"], rng=order)
        distance[i] = np.linalg.norm(run.thetas[-1] - solve(problem).theta)
    return {"distance": distance / design.std_norm()}


def wander_block(setting: Mapping[str, Any], replicates: range, seed: int) -> dict[str, np.ndarray]:
    """Size of the iterates beyond the zero radius: constant step, and decreasing steps."""
    n, d, eps, step = setting["n"], setting["d"], setting["eps"], setting["step"]
    size, constant, decreasing = np.empty((3, len(replicates)))
    curves = np.empty((len(replicates), 2, DECREASING + 1))
    for i, k in enumerate(replicates):
        X, y = GaussianDesign(n, d).sample(stream(seed, "wander", n, d, k))
        problem = AdversarialProblem(X, y, eps)
        schedules = (np.full(DECREASING, step), step / (1 + np.arange(DECREASING) / 20))
        for which, schedule in enumerate(schedules):
            run = gradient_descent_batch(X[None], y[None], [problem.eps], schedule, DECREASING)[0, 0]
            curves[i, which] = np.linalg.norm(run, axis=1)
        predicted = step * problem.eps * np.abs(y).mean() / (1 - step * (1 + problem.eps**2))
        size[i] = predicted
        constant[i] = curves[i, 0, DECREASING // 2 :].mean() / predicted
        decreasing[i] = curves[i, 1, -1] / predicted
    return {"predicted": size, "constant": constant, "decreasing": decreasing, "curves": curves}


def experiments(options: Options) -> list[Experiment]:
    """Clean and attacked runs below ε_P, full batch and mini-batches; runs beyond the zero radius."""
    settings = [
        {"case": case, "n": n, "d": d, "multiple": multiple, "batch": n // 8 if "SGD" in case else 0}
        for case, (n, d) in SIZES.items()
        for multiple in (0.0, 0.5)
        if multiple > 0 or "SGD" not in case
    ]
    reps = 20 if options.quick else 60
    return [
        Experiment("convergence", block, settings, reps, 10),
        Experiment("wander", wander_block, [WANDER], reps // 4, 5),
    ]


def report(results: Results, options: Options) -> Report:
    """Distances below .01 of the spread; size of the orbit; arrival of decreasing steps."""
    claims, rows = [], []
    for cell in results["convergence"]:
        s = cell.setting
        distance = evidence.mean(cell.values["distance"])
        attack = "clean" if s["multiple"] == 0 else f"eps = {s['multiple']:g} sqrt(d/n)"
        rows.append(
            row(distance, experiment="convergence", regime=s["case"], n=s["n"], d=s["d"], attack=attack)
        )
        bound = 1e-6 if s["multiple"] == 0 else 0.02
        claims.append(evidence.below(f"convergence, {s['case']}, {attack}", SAYS, distance, bound))
    wander = results["wander"][0].values
    for kind, claim in (
        (
            "constant step: orbit of the predicted size",
            lambda e, t: evidence.equivalent(t, WANDERS, e, 1.0, 0.1),
        ),
        ("decreasing steps arrive at 0", lambda e, t: evidence.below(t, SAYS, e, 0.02)),
    ):
        estimate = evidence.mean(wander["constant" if "constant" in kind else "decreasing"])
        title = f"beyond the zero radius, {kind}"
        rows.append(row(estimate, experiment=title, n=WANDER["n"], d=WANDER["d"]))
        claims.append(claim(estimate, title))
    curves = {"curves": wander["curves"].mean(axis=0), "predicted": wander["predicted"].mean(keepdims=True)}
    return Report(rows, claims, {"wander": curves})


def draw(figures: Mapping[str, Mapping[str, np.ndarray]], folder: Path) -> None:
    """Size of the iterates beyond the zero radius."""
    data = figures["wander"]
    t = np.unique(np.geomspace(1, DECREASING, 120).astype(int))
    with plotting.style():
        fig, (ax,) = plotting.new("column", 2.4)
        for index, label in enumerate((rf"$\eta={WANDER['step']:g}$", r"$\eta/(1+t/20)$")):
            y = data["curves"][index][t]
            plotting.band(ax, t, y, y, y, label, index)
        plotting.theory(ax, t, np.full(t.shape, data["predicted"][0]), "predicted orbit", dashed=True)
        plotting.log_axes(ax)
        ax.set(xlabel="step $t$", ylabel=r"$\|\theta^{(t)}(\epsilon)\|$")
        ax.legend()
        plotting.save(fig, folder, "wander")


PART = Part("convergence", experiments, report, draw)
