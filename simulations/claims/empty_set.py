"""How often {ε : R̂(θ̂(ε), ε) ≤ R(θ̂(0), 0)} is empty, so that ε* = 0: where Δ < 0.

Exact law: Δ/σ² = 1 + χ²_d/χ²_{n−d+1} − χ²_{n−d}/n, independent. So P(Δ < 0) → ½ for d ≪ √n.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import special

from claims.draws import thresholds
from linphase import GaussianDesign, evidence
from linphase.streams import stream
from linphase.study import Experiment, Options, Part, Report, Results, row

SIZES = (100, 400, 1600)
DIMENSIONS = (2, 5, 20)
SAYS = (
    "not in the paper: the set that defines epsilon* is empty, with a chance that nears 1/2 for d << sqrt(n)"
)


def excess_cdf(x: np.ndarray, n: int, d: int) -> np.ndarray:
    """P(Δ ≤ x), σ = 1, by 200 Gauss nodes on the quantiles of χ²_d/χ²_{n−d+1}."""
    nodes, weights = np.polynomial.legendre.leggauss(200)
    beta = special.betaincinv(d / 2, (n - d + 1) / 2, (nodes + 1) / 2)
    tail = special.chdtrc(n - d, n * np.maximum(1 + beta / (1 - beta) - np.asarray(x)[..., None], 0.0))
    return np.asarray(tail @ weights / 2)


def block(setting: Mapping[str, Any], replicates: range, seed: int) -> dict[str, np.ndarray]:
    """ε* and Δ of each data set."""
    n, d = setting["n"], setting["d"]
    design = GaussianDesign(n, d)
    eps = thresholds(design, [stream(seed, "empty-set", n, d, k) for k in replicates], ("loss",))["loss"]
    delta = np.empty(len(replicates))
    for i, k in enumerate(replicates):
        X, y = design.sample(stream(seed, "empty-set", n, d, k))
        theta = np.linalg.solve(X.T @ X, X.T @ y)
        delta[i] = design.risk(theta) - ((y - X @ theta) ** 2).mean()
    return {"eps": eps, "delta": delta}


def experiments(options: Options) -> list[Experiment]:
    """Nine sizes."""
    settings = [{"n": n, "d": d} for n in SIZES for d in DIMENSIONS]
    reps = 200 if options.quick else 3000
    return [Experiment("empty-set", block, settings, reps, lambda s: 400_000 // s["n"])]


def report(results: Results, options: Options) -> Report:
    """ε* = 0 where Δ < 0 and nowhere else; its share and the law of Δ are the exact ones."""
    rows, parts, ranks, wrong = [], [], [], 0
    for cell in results["empty-set"]:
        n, d, delta = cell.setting["n"], cell.setting["d"], cell.values["delta"]
        empty = cell.values["eps"] == 0
        wrong += int((empty != (delta < 0)).sum())
        exact = float(excess_cdf(np.array(0.0), n, d))
        share = evidence.share(int(empty.sum()), empty.size)
        rows.append(row(share, experiment="eps* = 0", n=n, d=d, limit=exact))
        parts.append(evidence.equivalent(f"{n} x {d}", SAYS, share, exact, 0.06))
        ranks.append(excess_cdf(delta, n, d))
    law = np.concatenate(ranks)
    claims = [
        evidence.share_below("eps* = 0 where Delta < 0, and only there", SAYS, wrong, law.size, 0.002),
        evidence.all_of("eps* = 0: probability as computed", SAYS, parts),
        evidence.uniform("Delta has its exact law", SAYS, law, 0.03),
    ]
    return Report(rows, claims)


PART = Part("empty_set", experiments, report)
