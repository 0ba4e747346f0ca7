"""Theorem 1, large attack: zero where d/n stays away from 0, many standard errors away where d/n → 0."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from linphase import AdversarialProblem, GaussianDesign, evidence, solve, zero_radius
from linphase.streams import stream
from linphase.study import Cell, Experiment, Options, Part, Report, Results, row

EXACT = "the minimiser is 0 from the zero radius |X'y|_2/|y|_1 on, and not before"
VANISHES = "|theta^(eps)| -> 0 for eps >> sqrt(d/n), liminf d/n > 0"
RATIO = "|theta^(eps) - theta^(0)|/|theta^(0)| -> 0 for eps >> sqrt(d/n), liminf d/n > 0"
DIVERGES = "|theta^(eps) - theta^(0)|/|Std theta^(0)|_F -> infinity for eps >> sqrt(d/n), d/n -> 0"
SHAPES = {"d = n/2": 0.5, "d = 2n": 2.0}
LENGTHS = (20, 60, 200, 600)
POWER = 0.25
REGIMES = {
    "d = 5": {100: 5, 400: 5, 1600: 5, 6400: 5, 25600: 5},
    "d = n^(1/2)": {100: 10, 400: 20, 1600: 40, 6400: 80, 14400: 120},
}


def zero_block(setting: Mapping[str, Any], replicates: range, seed: int) -> dict[str, np.ndarray]:
    """Whether the solver is 0 just beyond the zero radius and not just before it."""
    n, d = setting["n"], setting["d"]
    right = np.empty(len(replicates), dtype=bool)
    for i, k in enumerate(replicates):
        X, y = GaussianDesign(n, d).sample(stream(seed, "zero", n, d, k))
        radius = zero_radius(X, y)
        before, beyond = (solve(AdversarialProblem(X, y, f * radius)) for f in (0.9999, 1.0001))
        right[i] = before.theta.any() and not beyond.theta.any()
        # From below the solver meets the closed form by continuity: ‖θ‖ is of the order of 1 − ε/radius.
        right[i] &= np.linalg.norm(before.theta) < 0.01
    return {"right": right}


def large_block(setting: Mapping[str, Any], replicates: range, seed: int) -> dict[str, np.ndarray]:
    """‖θ̂(ε)‖ and the distance to θ̂(0), absolute, relative and in standard errors, at ε = √(d/n) nᵖ."""
    n, d = setting["n"], setting["d"]
    design = GaussianDesign(n, d)
    norm, relative, standard = np.empty((3, len(replicates)))
    for i, k in enumerate(replicates):
        X, y = design.sample(stream(seed, "large", n, d, k))
        clean = solve(AdversarialProblem(X, y, 0.0)).theta
        theta = solve(AdversarialProblem(X, y, math.sqrt(d / n) * n ** setting["power"])).theta
        norm[i] = np.linalg.norm(theta)
        relative[i] = np.linalg.norm(theta - clean) / np.linalg.norm(clean)
        standard[i] = np.linalg.norm(theta - clean) / design.std_norm()
    return {"norm": norm, "relative": relative, "standard": standard}


def experiments(options: Options) -> list[Experiment]:
    """Both shapes and both regimes."""
    n = 40 if options.quick else 60
    shapes = [{"shape": shape, "n": n, "d": int(delta * n)} for shape, delta in SHAPES.items()]
    lengths = LENGTHS[:3] if options.quick else LENGTHS
    growing = [
        {"shape": shape, "n": n, "d": int(delta * n), "power": POWER}
        for shape, delta in SHAPES.items()
        for n in lengths
    ]
    far = [
        {"regime": regime, "n": n, "d": d, "power": 0.2}
        for regime, sizes in REGIMES.items()
        for n, d in sizes.items()
        if not options.quick or n * d <= 100_000
    ]
    many = 150 if options.quick else 800
    return [
        Experiment("zero-radius", zero_block, shapes, many, 50),
        Experiment("large-wide", large_block, growing, lambda s: many if s["n"] <= 200 else many // 2, 20),
        Experiment("large-narrow", large_block, far, lambda s: 40 if s["n"] < 5000 else 12, 4),
    ]


def report(results: Results, options: Options) -> Report:
    """Shares of data sets for what holds exactly, exponents for what diverges."""
    claims, rows = [], []
    for cell in results["zero-radius"]:
        right = cell.values["right"]
        title = f"zero radius, {cell.setting['shape']}: closed form meets solver"
        claims.append(evidence.share_below(title, EXACT, int((~right).sum()), right.size, 0.02))
        rows.append(row(claims[-1].estimate, experiment=title, n=cell.setting["n"], d=cell.setting["d"]))
    for cell in results["large-wide"]:
        for name in ("norm", "relative"):
            keys = {key: cell.setting[key] for key in ("shape", "n", "d")}
            rows.append(row(evidence.mean(cell.values[name]), experiment=f"large attack: {name}", **keys))
    for shape in SHAPES:
        last = [cell for cell in results["large-wide"] if cell.setting["shape"] == shape][-1]
        claims += _wide_claims(shape, last)
    for regime in REGIMES:
        cells = [cell for cell in results["large-narrow"] if cell.setting["regime"] == regime]
        n = [cell.setting["n"] for cell in cells]
        estimates = [evidence.mean(cell.values["standard"]) for cell in cells]
        rows += [
            row(
                e,
                experiment="large attack: standard errors",
                regime=regime,
                n=c.setting["n"],
                d=c.setting["d"],
            )
            for c, e in zip(cells, estimates, strict=True)
        ]
        claims.append(evidence.grows(f"large attack, {regime}", DIVERGES, n, estimates, 2.0, rate=0.1))
    return Report(rows, claims)


def _wide_claims(shape: str, cell: Cell) -> list[evidence.Claim]:
    norm, relative = cell.values["norm"], cell.values["relative"]
    n = norm.size
    zero = int((norm > 0).sum())
    near_zero, near_one = int((relative > 0.5).sum()), int((np.abs(relative - 1) > 1e-9).sum())
    return [
        evidence.share_below(
            f"large attack, {shape}: minimiser is 0",
            VANISHES,
            zero,
            n,
            0.02,
            note="share of data sets with theta != 0",
        ),
        evidence.share_below(
            f"large attack, {shape}: second ratio -> 0, as printed",
            RATIO,
            near_zero,
            n,
            0.02,
            expected="refuted",
            note="share of data sets with ratio > 1/2; the proof's minimiser is 0, so the ratio is 1",
        ),
        evidence.share_below(
            f"large attack, {shape}: second ratio -> 1",
            "corrected: the ratio goes to 1",
            near_one,
            n,
            0.02,
            note="share of data sets with ratio off 1",
        ),
    ]


PART = Part("large_attack", experiments, report)
