"""Exponents of three thresholds, regime by regime.

ε_P and (for d ≫ √n) ε_C scale as √(d/n). The paper's ε* does not: it compares Δ with a loss that grows like
2 √(2/π) ε ‖θ₀‖σ, first order in ε. So ε* scales as d/n for √n ≪ d ≪ n, and as 1/√n for d ≪ √n, where Δ is of
order 1/√n and of either sign:

    √n ε* → (√π/2)(σ/‖θ₀‖)(Z + u)⁺,  u = √2 d/√n,   of mean (√π/2)(σ/‖θ₀‖) g(u),  g(u) = φ(u) + uΦ(u).

There ε_C is 0 with ε*, and of order n^(−1/4) otherwise. Means run over all data sets, zeros included; where d
is fixed, over those with Δ > 0.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special

from claims.draws import CRITERIA, FINE, NAMES, SYMBOLS, by, limit_line, thresholds
from linphase import GaussianDesign, evidence, plotting
from linphase.streams import stream
from linphase.study import Cell, Experiment, Options, Part, Report, Results, row

SAYS = "epsilon* = Theta(sqrt(d/n))"
FIXED = 2
REGIMES = {  # n: (d, replicates)
    f"d = {FIXED}": {400: (2, 2000), 1600: (2, 1000), 6400: (2, 500), 25600: (2, 150)},
    "d = n^(1/2)": {100: (10, 2000), 400: (20, 2000), 1600: (40, 600), 6400: (80, 150)},
    "d = n^(3/4)": {256: (64, 300), 625: (125, 150), 1296: (216, 60), 2401: (343, 30), 4096: (512, 12)},
    "d = n/10": {100: (10, 1000), 400: (40, 300), 1600: (160, 60)},
}
FEW_N, FEW = 1600, {1: 3000, 2: 3000, 4: 3000, 12: 3000, 40: 1000}  # d: replicates
EXPONENTS = {  # regime: of what, and criterion: (exponent, margin, rivals)
    f"d = {FIXED}": (
        "n",
        {
            "loss": (-0.5, 0.1, (-0.25, -1.0)),
            "parameter": (-0.5, 0.05, (-0.25, -1.0)),
            "clean-loss": (-0.25, 0.1, (-0.5, 0.0)),
        },
    ),
    "d = n^(1/2)": (
        "d/n",
        {"loss": (1.0, 0.15, (0.5,)), "parameter": (0.5, 0.1, (0.25, 1.0))},
    ),
    "d = n^(3/4)": (
        "d/n",
        {
            "loss": (1.0, 0.3, (0.5,)),
            "parameter": (0.5, 0.1, (0.25, 1.0)),
            "clean-loss": (0.5, 0.1, (0.25, 1.0)),
        },
    ),
}


def block(setting: Mapping[str, Any], replicates: range, seed: int) -> dict[str, np.ndarray]:
    """The three thresholds of each data set."""
    n, d = setting["n"], setting["d"]
    return thresholds(GaussianDesign(n, d), [stream(seed, "exponents", n, d, k) for k in replicates])


def few_block(setting: Mapping[str, Any], replicates: range, seed: int) -> dict[str, np.ndarray]:
    """ε* of each data set."""
    n, d = setting["n"], setting["d"]
    return thresholds(GaussianDesign(n, d), [stream(seed, "few", n, d, k) for k in replicates], ("loss",))


def experiments(options: Options) -> list[Experiment]:
    """Four regimes of growth, and small d at one n."""
    cells = [
        {"regime": regime, "n": n, "d": d}
        for regime, sizes in REGIMES.items()
        for n, (d, _) in sizes.items()
        if not options.quick or n * d <= 300_000
    ]
    share = 40 if options.quick else 1

    def size(setting: Mapping[str, Any]) -> int:
        return max(1, 2_000_000 // (setting["n"] * setting["d"] + 2000))

    return [
        Experiment(
            "exponents",
            block,
            cells,
            lambda s: max(6, REGIMES[s["regime"]][s["n"]][1] // share),
            size,
        ),
        Experiment(
            "few",
            few_block,
            [{"n": FEW_N, "d": d} for d in FEW],
            lambda s: FEW[s["d"]] // share,
            size,
        ),
    ]


def mean_root_n(d: int, n: int) -> float:
    """Limit of E √n ε* for d of order √n, s = σ = 1."""
    u = math.sqrt(2 / n) * d
    density = math.exp(-(u**2) / 2) / math.sqrt(2 * math.pi)
    return math.sqrt(math.pi) / 2 * (density + u * float(special.ndtr(u)))


def statistic(values: np.ndarray, regime: str) -> evidence.Estimate:
    """Mean threshold; for fixed d over the data sets with Δ > 0."""
    finite = values[np.isfinite(values)]
    kept = finite[finite > 0] if regime == f"d = {FIXED}" else finite
    return evidence.mean(kept, failures=values.size - finite.size)


def report(results: Results, options: Options) -> Report:
    """An exponent for each threshold and regime, and the law of ε* at small d."""
    rows, claims = [], []
    figure: dict[str, list[Any]] = {
        name: [] for name in ("regime", "criterion", "n", "d", "eps", "low", "high")
    }
    for regime, cells in by(results["exponents"], "regime").items():
        variable, expected = EXPONENTS.get(regime, ("n", {}))
        x = np.array([c.setting["n"] if variable == "n" else c.setting["d"] / c.setting["n"] for c in cells])
        for criterion in CRITERIA:
            estimates = [statistic(cell.values[criterion], regime) for cell in cells]
            for cell, e in zip(cells, estimates, strict=True):
                n, d = cell.setting["n"], cell.setting["d"]
                rows.append(row(e, experiment=NAMES[criterion], regime=regime, n=n, d=d))
                for key, value in zip(figure, (regime, criterion, n, d, e.value, *e.interval()), strict=True):
                    figure[key].append(value)
            exponent = evidence.slope(np.log(x), [e.log() for e in estimates])
            title = f"{NAMES[criterion]}, {regime}: exponent of {variable}"
            rows.append(row(exponent, experiment=title))
            if criterion in expected:
                region = expected[criterion]
                claims.append(evidence.equivalent(title, _says(criterion, regime), exponent, *region))
    claims += _few(results["few"], rows)
    figures = {"exponents": {key: np.array(values) for key, values in figure.items()}}
    limits = {criterion: limit_line(criterion) for criterion in CRITERIA}
    return Report(rows, claims, figures | {"exponent_limits": {"delta": FINE, **limits}})


def _says(criterion: str, regime: str) -> str:
    if criterion == "loss" and regime != f"d = {FIXED}":
        return "corrected: epsilon* scales as d/n for sqrt(n) <= d << n, not as sqrt(d/n)"
    if criterion == "clean-loss" and regime == f"d = {FIXED}":
        return "corrected: where it is not 0, the clean-excess threshold scales as n^(-1/4) for d << sqrt(n)"
    return SAYS


def _few(cells: Sequence[Cell], rows: list[dict[str, Any]]) -> list[evidence.Claim]:
    """At d ≪ √n the threshold ε* hardly depends on d, and follows its law up to d = √n."""
    says = "corrected: epsilon* is of order 1/sqrt(n) for d << sqrt(n), whatever d is"
    parts, means = [], []
    for cell in cells:
        n, d = cell.setting["n"], cell.setting["d"]
        mean = evidence.mean(cell.values["loss"])
        scale = math.sqrt(n) / mean_root_n(d, n)
        ratio = evidence.combine([scale], [mean])
        parts.append(evidence.equivalent(f"d = {d}: over the limit", says, ratio, 1.0, 0.15, (0.8, 1.25)))
        rows.append(row(mean, experiment="eps*, few columns", n=n, d=d))
        rows.append(row(ratio, experiment="eps*, few columns, over the limit", n=n, d=d))
        means.append(mean)
    smallest = slice(0, 3)
    d = np.array([cell.setting["d"] for cell in cells[smallest]], dtype=float)
    exponent = evidence.slope(np.log(d), [e.log() for e in means[smallest]])
    rows.append(row(exponent, experiment="eps*, few columns: exponent of d"))
    return [
        evidence.equivalent(f"eps*, d <= {d[-1]:g}: exponent of d", says, exponent, 0.0, 0.25, (0.5, 1.0)),
        evidence.all_of("eps*, d <= sqrt(n): the law of its mean", says, parts),
    ]


def draw(figures: Mapping[str, Mapping[str, np.ndarray]], folder: Path) -> None:
    """One panel a threshold, against d/n: what is straight with slope ½ there is the paper's law."""
    data, limits = figures["exponents"], figures["exponent_limits"]
    ratio = data["d"] / data["n"]
    with plotting.style():
        fig, axes = plotting.new("text", 2.5, cols=3, sharey=True)
        for ax, criterion in zip(axes, CRITERIA, strict=True):
            for index, regime in enumerate(REGIMES):
                chosen = (data["regime"] == regime) & (data["criterion"] == criterion)
                columns = (ratio[chosen], *(data[name][chosen] for name in ("eps", "low", "high")))
                label = "$" + regime.replace("(", "{").replace(")", "}") + "$"
                plotting.points(ax, *columns, label, index)
            plotting.theory(ax, limits["delta"], limits[criterion], "exact limit")
            plotting.theory(ax, limits["delta"], np.sqrt(limits["delta"]), r"$\sqrt{d/n}$", dashed=True)
            plotting.log_axes(ax)
            ax.set(xlabel="$d/n$", ylabel=f"${SYMBOLS[criterion]}$", xlim=(5e-5, 0.7), ylim=(0.003, 2.0))
        plotting.letters(axes)
        plotting.shared_legend(fig, axes)
        plotting.save(fig, folder, "exponents")


PART = Part("exponents", experiments, report, draw)
