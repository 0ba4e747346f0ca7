"""Figure 2 right: the p-value that θ⁽ᵀ⁾(ε) has the law of θ⁽ᵀ⁾(0).

Hotelling's prediction against 300 clean runs. A replicate draws its own reference set, so replicates are
independent; the p-values of one replicate share their reference and count through their mean.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from linphase import GaussianDesign, evidence, gradient_descent_batch, plotting, solve_batch
from linphase.streams import stream
from linphase.study import Experiment, Options, Part, Report, Results, row

N, DIMENSIONS, REFERENCE, ATTACKED = 100, (2, 5, 10), 300, 10
N_STEPS, STEP = 100, 0.2
LOGS = np.arange(-3.0, 2.01, 0.25)
RANDOM_LEVELS = {2: 0.052, 5: 0.055, 10: 0.059}  # P(p < .05) at n = 100 under a random design
WIDE_N, WIDE_DIMENSIONS = 4000, (2, 10, 50, 200)
SAYS = "the p-value of theta_T(eps) starts to fall dramatically at log(eps/eps*) = 0"
UNIFORM = "under eps = 0 the p-values are uniform"
ORDER = "the p-value's transition sits at sqrt(d/n) whatever d is"


def least_squares_errors(rng: np.random.Generator, n: int, d: int, size: int) -> np.ndarray:
    """Draws (size, d) of θ̂(0) − θ₀, σ = 1, Gaussian design: multivariate t, n − d + 1 degrees of freedom."""
    return rng.standard_normal((size, d)) / np.sqrt(rng.chisquare(n - d + 1, (size, 1)))


def block(setting: Mapping[str, Any], replicates: range, seed: int) -> dict[str, np.ndarray]:
    """Mean p-value over ten attacked runs at each ε, one reference set a replicate."""
    n, d = setting["n"], setting["d"]
    design = GaussianDesign(n, d)
    eps = math.sqrt(d / n) * np.exp(LOGS)
    p = np.empty((len(replicates), LOGS.size))
    for i, k in enumerate(replicates):
        rng = stream(seed, "p-values", n, d, k)
        X, y = _samples(design, rng, REFERENCE)
        reference = gradient_descent_batch(X, y, [0.0], STEP, N_STEPS)[:, 0, -1]
        X, y = _samples(design, rng, ATTACKED)
        attacked = gradient_descent_batch(X, y, eps, STEP, N_STEPS)[:, :, -1]
        p[i] = _p_values(attacked, reference).mean(axis=0)
    return {"p": p}


def _samples(design: GaussianDesign, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    X = rng.standard_normal((size, design.n, design.d))
    return X, X @ design.theta0 + design.noise * rng.standard_normal((size, design.n))


def _p_values(theta: np.ndarray, reference: np.ndarray) -> np.ndarray:
    cov = np.atleast_2d(np.cov(reference, rowvar=False))
    return evidence.hotelling_p_value(theta, reference.mean(axis=0), cov, len(reference))


def null_block(setting: Mapping[str, Any], replicates: range, seed: int) -> dict[str, np.ndarray]:
    """p-values of one more clean run, each against a reference of its own: fixed and random design."""
    n, d = setting["n"], setting["d"]
    p = np.empty(len(replicates))
    # The fixed design's run is linear in y: row j of the map is the run on the j-th unit response.
    X = stream(seed, "null-design", n, d).standard_normal((n, d))
    runs = gradient_descent_batch(np.repeat(X[None], n, 0), np.eye(n), [0.0], STEP, N_STEPS)[:, 0, -1]
    for i, k in enumerate(replicates):
        rng = stream(seed, "null", setting["design"], n, d, k)
        if setting["design"] == "fixed":
            thetas = rng.standard_normal((REFERENCE + 1, n)) @ runs
        else:
            thetas = least_squares_errors(rng, n, d, REFERENCE + 1)
        p[i] = _p_values(thetas[-1], thetas[:-1])
    return {"p": p}


def wide_block(setting: Mapping[str, Any], replicates: range, seed: int) -> dict[str, np.ndarray]:
    """p-value of exact minimisers at ε = √(d/n) and at ε = d^(1/4)/√n; the reference set grows with d."""
    n, d = setting["n"], setting["d"]
    design = GaussianDesign(n, d)
    eps = np.array([math.sqrt(d / n), d**0.25 / math.sqrt(n)])
    p = np.empty((len(replicates), 2))
    for i, k in enumerate(replicates):
        rng = stream(seed, "wide", n, d, k)
        reference = design.theta0 + least_squares_errors(rng, n, d, max(REFERENCE, 10 * d))
        X, y = design.sample(rng)
        thetas = solve_batch(np.stack([X, X]), np.stack([y, y]), eps).thetas
        p[i] = _p_values(thetas, reference)
    return {"root": p[:, 0], "quarter": p[:, 1]}


def experiments(options: Options) -> list[Experiment]:
    """The figure, the null, and larger d."""
    figure = [{"n": N, "d": d} for d in DIMENSIONS]
    null = [{"design": design, "n": N, "d": d} for design in ("fixed", "random") for d in DIMENSIONS]
    wide = [{"n": WIDE_N, "d": d} for d in WIDE_DIMENSIONS]
    return [
        Experiment("p-values", block, figure, 12 if options.quick else 60, 6),
        Experiment("p-null", null_block, null, 250 if options.quick else 8000, 500),
        Experiment(
            "p-wide", wide_block, wide, 8 if options.quick else 60, lambda s: 20 if s["d"] < 100 else 4
        ),
    ]


def report(results: Results, options: Options) -> Report:
    """The fall at 0 for each d, the law at ε = 0, and the drift with d."""
    claims, rows = [], []
    figure: dict[str, np.ndarray] = {"log": LOGS}
    for cell in results["p-values"]:
        n, d = cell.setting["n"], cell.setting["d"]
        means = [evidence.mean(column) for column in cell.values["p"].T]
        low, high = zip(*(e.interval() for e in means), strict=True)
        figure |= {
            f"p_{d}": np.array([e.value for e in means]),
            f"low_{d}": np.array(low),
            f"high_{d}": np.array(high),
        }
        rows += [
            row(e, experiment="p-value", n=n, d=d, log=float(x)) for e, x in zip(means, LOGS, strict=True)
        ]
        at = {x: means[int(np.argmin(np.abs(LOGS - x)))] for x in (-1.5, 0.0, 1.0)}
        powerless = int((cell.values["p"][:, -1] > 0.05).sum())
        parts = [
            evidence.equivalent("p at 0", SAYS, at[0.0], 0.3, 0.15),
            evidence.above("p at -1.5", SAYS, at[-1.5], 0.4),
            evidence.below("p at 1", SAYS, at[1.0], 0.1),
            evidence.share_below("p at 2 above .05", SAYS, powerless, len(cell.values["p"]), 0.15),
        ]
        claims.append(evidence.all_of(f"p-values, d = {d}: fall at log(eps/eps*) = 0", SAYS, parts))
    for cell in results["p-null"]:
        s, p = cell.setting, cell.values["p"]
        title = f"p-values at eps = 0, {s['design']} design, d = {s['d']}"
        claims.append(evidence.uniform(title, UNIFORM, p, 0.05 if s["design"] == "random" else 0.04))
        rows.append(row(claims[-1].estimate, experiment=title, n=s["n"], d=s["d"]))
        small = evidence.share(int((p < 0.05).sum()), p.size)
        rows.append(row(small, experiment=f"{title}: share below .05", n=s["n"], d=s["d"]))
        level = 0.05 if s["design"] == "fixed" else RANDOM_LEVELS[s["d"]]
        note = (
            "theta^(0) is multivariate t under a random design: slightly more than 5 % of p-values below .05"
        )
        claims.append(
            evidence.equivalent(f"{title}: share below .05", UNIFORM, small, level, 0.012, note=note)
        )
    wide = {}
    for cell in results["p-wide"]:
        d = cell.setting["d"]
        wide[d] = {name: evidence.mean(cell.values[name]) for name in ("root", "quarter")}
        for name, label in (("root", "sqrt(d/n)"), ("quarter", "d^(1/4)/sqrt(n)")):
            rows.append(row(wide[d][name], experiment=f"p-value at eps = {label}", n=WIDE_N, d=d))
    least, most = WIDE_DIMENSIONS[0], WIDE_DIMENSIONS[-1]
    drift = evidence.combine([1.0, -1.0], [wide[least]["root"], wide[most]["root"]])
    claims.append(
        evidence.below(
            f"p-values at eps = sqrt(d/n): the same at d = {least} and {most}",
            ORDER,
            drift,
            0.15,
            expected="refuted",
            note="the threshold of a chi-square type test is d^(1/4)/sqrt(n), not sqrt(d/n)",
        )
    )
    parts = [evidence.above(f"d = {d}", ORDER, wide[d]["quarter"], 0.2) for d in WIDE_DIMENSIONS]
    claims.append(
        evidence.all_of(
            "p-values at eps = d^(1/4)/sqrt(n): above .2 at every d",
            "corrected: the p-value turns at d^(1/4)/sqrt(n) or above",
            parts,
        )
    )
    figure_wide = {"d": np.array(WIDE_DIMENSIONS, dtype=float)}
    for name in ("root", "quarter"):
        figure_wide[name] = np.array([wide[d][name].value for d in WIDE_DIMENSIONS])
        figure_wide[f"{name}_low"], figure_wide[f"{name}_high"] = np.array(
            [wide[d][name].interval() for d in WIDE_DIMENSIONS]
        ).T
    return Report(rows, claims, {"p_values": figure, "p_wide": figure_wide})


def draw(figures: Mapping[str, Mapping[str, np.ndarray]], folder: Path) -> None:
    """Figure 2 right, and the same test at larger d."""
    data, wide = figures["p_values"], figures["p_wide"]
    with plotting.style():
        fig, (left, right) = plotting.new("text", 2.6, cols=2)
        for index, d in enumerate(DIMENSIONS):
            plotting.band(
                left, data["log"], data[f"p_{d}"], data[f"low_{d}"], data[f"high_{d}"], f"$d={d}$", index
            )
        plotting.threshold(left, 0.0)
        left.set(xlabel=r"$\log(\epsilon/\sqrt{d/n})$", ylabel="mean $p$-value", ylim=(0, None))
        left.legend()
        for index, (name, label) in enumerate(
            (("root", r"$\sqrt{d/n}$"), ("quarter", r"$d^{1/4}/\sqrt{n}$"))
        ):
            plotting.points(
                right,
                wide["d"],
                wide[name],
                wide[f"{name}_low"],
                wide[f"{name}_high"],
                rf"$\epsilon=${label}",
                index,
            )
        plotting.log_axes(right, "x")
        right.set(xlabel=f"$d$   ($n={WIDE_N}$)", ylabel="mean $p$-value", ylim=(0, None))
        right.legend()
        plotting.letters([left, right])
        plotting.save(fig, folder, "p_values")


PART = Part("p_values", experiments, report, draw)
