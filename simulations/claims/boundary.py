"""Theorem 1: the boundary is √(d/n).

ε_P solves ‖θ̂(ε) − θ̂(0)‖ = ‖Std θ̂(0)‖_F on the exact solution path of one data set. Expanding the limit of
θ̂(ε) for d/n → δ in q = √δ (s = σ = 1, κ = π/2 − 1),

    ε_P/√δ = √(π/2) [1 − κ q + (2κ² + κ/2 − (2 − π/2)) q² + O(q³)],

so raw slopes approach ½ slowly; claims marked "next order" divide the bracket out.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from linphase import asymptotics, critical, evidence, plotting
from linphase.designs import GaussianDesign
from linphase.streams import stream
from linphase.study import Experiment, Options, Part, Report, Results, row

CONSTANT = math.sqrt(math.pi / 2)
KAPPA = math.pi / 2 - 1
SECOND = 2 * KAPPA**2 + KAPPA / 2 - (2 - math.pi / 2)
SAYS = "epsilon* = Theta(sqrt(d/n))"

GRID = {(1000, 5): 60, (1000, 10): 60, (4000, 5): 40, (4000, 10): 40, (4000, 40): 30}
GRID |= {(16000, 5): 24, (16000, 20): 16, (16000, 80): 8, (64000, 5): 8, (64000, 20): 6}
QUICK = {(500, 2): 12, (500, 5): 12, (2000, 2): 12, (2000, 20): 8, (8000, 5): 6}
CURVES: dict[str, dict[tuple[int, int], int]] = {
    "d = n^(3/4)": {(6400, 716): 30, (2500, 354): 80, (800, 150): 300, (200, 53): 1500},
    "d = n^(1/2)": {(25600, 160): 10, (6400, 80): 20, (1600, 40): 80, (400, 20): 300, (256, 16): 400},
    "d = n/10": {(4000, 400): 40, (1600, 160): 80, (400, 40): 300, (40, 4): 2000},
}


def next_order(q: float | np.ndarray) -> Any:
    """The bracket above."""
    return 1 - KAPPA * q + SECOND * q**2


def block(setting: Mapping[str, Any], replicates: range, seed: int) -> dict[str, np.ndarray]:
    """ε_P of each data set."""
    n, d = setting["n"], setting["d"]
    design = GaussianDesign(n, d)
    found = [
        critical.find(*design.sample(stream(seed, "boundary", n, d, k)), noise=1.0, criterion="parameter")
        for k in replicates
    ]
    return {"eps": np.array([f.eps for f in found])}


def experiments(options: Options) -> list[Experiment]:
    """The grid of n and d, and three regimes of growth."""
    grid = QUICK if options.quick else GRID
    planned = [
        Experiment(
            "boundary-grid",
            block,
            [{"n": n, "d": d} for n, d in grid],
            lambda s: grid[s["n"], s["d"]],
            _block_size,
        )
    ]
    for number, (regime, sizes) in enumerate(CURVES.items()):
        planned.append(
            Experiment(
                f"boundary-{number}",
                block,
                [
                    {"regime": regime, "n": n, "d": d}
                    for n, d in sizes
                    if not options.quick or n * d <= 130_000
                ],
                lambda s, sizes=sizes: min(sizes[s["n"], s["d"]], 40 if options.quick else 2000),
                _block_size,
            )
        )
    return planned


def _block_size(setting: Mapping[str, Any]) -> int:
    return max(1, 2_000_000 // (setting["n"] * setting["d"]))


def _scaled(estimates: Sequence[evidence.Estimate], factors: np.ndarray) -> list[evidence.Estimate]:
    return [
        evidence.Estimate(e.value / f, e.se / f, e.df, e.n) for e, f in zip(estimates, factors, strict=True)
    ]


def report(results: Results, options: Options) -> Report:
    """Exponents of d and n, raw and with the next order; the constant; the three regimes."""
    claims: list[evidence.Claim] = []
    rows: list[dict[str, Any]] = []
    figure: dict[str, list[Any]] = {name: [] for name in ("regime", "n", "d", "eps", "low", "high")}
    for cells in results.values():
        regime = str(cells[0].setting.get("regime", "grid"))
        n, d = (np.array([cell.setting[name] for cell in cells], dtype=float) for name in ("n", "d"))
        estimates = [evidence.mean(cell.values["eps"]) for cell in cells]
        for cell, e in zip(cells, estimates, strict=True):
            keys = {"regime": regime, "n": cell.setting["n"], "d": cell.setting["d"]}
            rows.append(row(e, experiment="eps_P", **keys))
            for key, value in zip(figure, (*keys.values(), e.value, *e.interval()), strict=True):
                figure[key].append(value)
        if regime == "grid":
            claims += _grid_claims(n, d, estimates)
        elif regime == "d = n/10":
            claims.append(_settles(regime, n, estimates))
        else:
            cells_log = [e.log() for e in _scaled(estimates, next_order(np.sqrt(d / n)))]
            slope = evidence.slope(np.log(d / n), cells_log)
            title = f"boundary, {regime}: exponent of d/n"
            claims.append(evidence.equivalent(title, SAYS, slope, 0.5, 0.03, (0.25, 1.0), note="next order"))
    rows += [row(claim.estimate, experiment=claim.name) for claim in claims]
    return Report(rows, claims, {"boundary": {key: np.array(values) for key, values in figure.items()}})


def _grid_claims(
    n: np.ndarray, d: np.ndarray, estimates: Sequence[evidence.Estimate]
) -> list[evidence.Claim]:
    """Exponents of d and of n, raw and with the next order, and the constant."""
    claims = []
    corrected = _scaled(estimates, next_order(np.sqrt(d / n)))
    for kind, cells in (("raw", estimates), ("next order", corrected)):
        fit = evidence.regression({"d": np.log(d), "n": np.log(n)}, [cell.log() for cell in cells])
        for name, sign in (("d", 1), ("n", -1)):
            title = f"boundary: exponent of {name}, {kind}"
            rivals = (sign * 0.25, sign * 1.0)
            claims.append(evidence.equivalent(title, SAYS, fit[name], sign * 0.5, 0.03, rivals))
    constant = evidence.combine(np.full(n.size, 1 / n.size), _scaled(corrected, np.sqrt(d / n)))
    title, note = "boundary: leading constant", "sqrt(pi/2), with the next order"
    return [*claims, evidence.equivalent(title, SAYS, constant, CONSTANT, 0.02, (1.0, 2.0), note=note)]


def _settles(regime: str, n: np.ndarray, estimates: Sequence[evidence.Estimate]) -> evidence.Claim:
    """Where d/n is constant, ε_P/√(d/n) stays and is what the exact limit says."""
    root = math.sqrt(0.1)
    limit = float(asymptotics.critical_strength(0.1, criterion="parameter")) / root
    ratio = _scaled(estimates, np.full(n.size, root))[int(n.argmax())]
    slope = evidence.slope(np.log(n), [e.log() for e in estimates])
    parts = [
        evidence.equivalent("eps_P/sqrt(d/n)", SAYS, ratio, limit, 0.03),
        evidence.equivalent("exponent of n", SAYS, slope, 0.0, 0.03, (-0.25, 0.25)),
    ]
    return evidence.all_of(f"boundary, {regime}: a constant", SAYS, parts, note=f"exact limit {limit:.4f}")


def draw(figures: Mapping[str, Mapping[str, np.ndarray]], folder: Path) -> None:
    """Thresholds against d/n on logarithmic axes, and what is left of them after √(d/n)."""
    data = figures["boundary"]
    ratio = data["d"] / data["n"]
    with plotting.style():
        fig, (left, right) = plotting.new("text", 2.7, cols=2)
        labels = {"grid": "grid of $n$, $d$", "d = n^(1/2)": "$d=n^{1/2}$", "d = n^(3/4)": "$d=n^{3/4}$"}
        labels |= {"d = n/10": "$d=n/10$"}
        for index, (regime, label) in enumerate(labels.items()):
            chosen = data["regime"] == regime
            x, root = ratio[chosen], np.sqrt(ratio[chosen])
            y, low, high = (data[name][chosen] for name in ("eps", "low", "high"))
            plotting.points(left, x, y, low, high, label, index)
            plotting.points(right, x, y / root, low / root, high / root, label, index)
        x = np.geomspace(0.8 * ratio.min(), 1.25 * ratio.max(), 200)
        limit = asymptotics.critical_strength(x, criterion="parameter")
        plotting.theory(left, x, limit, "exact limit")
        plotting.theory(left, x, CONSTANT * np.sqrt(x), r"$\sqrt{\pi/2}\,\sqrt{d/n}$", dashed=True)
        plotting.theory(right, x, limit / np.sqrt(x), "exact limit")
        plotting.theory(right, x, np.full_like(x, CONSTANT), r"$\sqrt{\pi/2}\,\sqrt{d/n}$", dashed=True)
        plotting.log_axes(left)
        plotting.log_axes(right, "x")
        left.set(xlabel="$d/n$", ylabel=r"$\epsilon_P$")
        right.set(xlabel="$d/n$", ylabel=r"$\epsilon_P\,/\sqrt{d/n}$")
        plotting.letters([left, right])
        plotting.shared_legend(fig, [left, right])
        plotting.save(fig, folder, "boundary")


PART = Part("boundary", experiments, report, draw)
