"""Theorem 2 as displayed, at its two sides.

With Δ = R(θ̂(0), 0) − R̂(θ̂(0), 0), the paper says that (R̂(θ̂(ε), ε) − R̂(θ̂(0), 0))/Δ → 0 for ε ≪ √(d/n), and not
for ε ≫ √(d/n), however d and n grow. We follow the median of |ratio| over data sets along ε = √(d/n) n^(∓γ).

The numerator grows like ε, first order, so the ratio is of order √d n^(−γ) where d ≪ √n, and √(n/d) n^(−γ)
from there on: between d = Θ(1) and d = Θ(n) there is room for a γ with a ratio that grows. We take half of
that room. In the corrected statement the clean excess R̂(θ̂(ε), 0) − R̂(θ̂(0), 0), which grows like ε², takes the
place of the numerator.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from claims.draws import by
from linphase import GaussianDesign, asymptotics, evidence, plotting, solve_path
from linphase.streams import stream
from linphase.study import Experiment, Options, Part, Report, Results, row

SAYS = "(R^(theta^(0),0) - R^(theta^(eps),eps)) / Delta -> 0 for eps << sqrt(d/n), however d and n grow"
LARGE = "the same ratio does not go to 0 for eps >> sqrt(d/n)"
CORRECTED = "corrected: (R^(theta^(eps),0) - R^(theta^(0),0)) / Delta -> 0 for eps << sqrt(d/n)"
CORRECTED_LARGE = (
    "corrected: the clean excess over Delta does not go to 0 for eps >> sqrt(d/n), if d is not << sqrt(n)"
)
QUANTITIES = ("small", "large", "clean small", "clean large")
REGIMES = {  # γ, whether the displayed statement holds, and n: (d, replicates)
    "d = 5": (
        1 / 4,
        True,
        {100: (5, 1000), 400: (5, 1000), 1600: (5, 1000), 6400: (5, 400), 25600: (5, 150)},
    ),
    "d = n^(1/2)": (
        1 / 8,
        False,
        {36: (6, 1000), 100: (10, 1000), 400: (20, 1000), 1600: (40, 500), 6400: (80, 120)},
    ),
    "d = n^(3/4)": (
        1 / 16,
        False,
        {81: (27, 1000), 256: (64, 500), 625: (125, 200), 1296: (216, 60), 2401: (343, 30)},
    ),
    "d = n/10": (1 / 4, True, {50: (5, 1000), 200: (20, 500), 800: (80, 100), 3200: (320, 30)}),
    "d = 2n": (1 / 4, True, {25: (50, 300), 50: (100, 200), 100: (200, 100), 200: (400, 50), 400: (800, 30)}),
}


def block(setting: Mapping[str, Any], replicates: range, seed: int) -> dict[str, np.ndarray]:
    """|R̂(θ̂(ε), ε) − R̂(θ̂(0), 0)|/|Δ| and its clean twin on either side of √(d/n)."""
    n, d, power = setting["n"], setting["d"], setting["power"]
    design = GaussianDesign(n, d)
    eps = np.sqrt(d / n) * np.array([0.0, n**-power, n**power])
    ratios = np.empty((len(replicates), 4))
    for i, k in enumerate(replicates):
        X, y = design.sample(stream(seed, "two-sides", n, d, k))
        path = solve_path(X, y, eps)
        clean = ((y - path.thetas @ X.T) ** 2).mean(axis=1)
        excess = design.risk(path.thetas[0]) - path.losses[0]
        ratios[i] = np.append(path.losses[1:] - path.losses[0], clean[1:] - clean[0]) / excess
    return dict(zip(QUANTITIES, np.abs(ratios).T, strict=True))


def experiments(options: Options) -> list[Experiment]:
    """Every regime over two decades of n."""
    cells = [
        {"regime": regime, "power": power, "n": n, "d": d}
        for regime, (power, _, sizes) in REGIMES.items()
        for n, (d, _) in sizes.items()
        if not options.quick or n * d <= 350_000
    ]
    share = 20 if options.quick else 1
    return [
        Experiment(
            "two-sides",
            block,
            cells,
            lambda s: max(8, REGIMES[s["regime"]][2][s["n"]][1] // share),
            lambda s: max(1, 4_000_000 // (s["n"] * s["d"] + 4000)),
        )
    ]


def report(results: Results, options: Options) -> Report:
    """The displayed statement regime by regime, and the corrected one."""
    rows, claims = [], []
    figure: dict[str, list[Any]] = {key: [] for key in ("regime", "quantity", "n", "ratio", "low", "high")}
    clean_small, clean_large, large = [], [], []
    for regime, cells in by(results["two-sides"], "regime").items():
        power, holds, _ = REGIMES[regime]
        n = np.array([cell.setting["n"] for cell in cells], dtype=float)
        medians = {q: [evidence.median(cell.values[q]) for cell in cells] for q in QUANTITIES}
        for quantity, estimates in medians.items():
            for cell, e in zip(cells, estimates, strict=True):
                size, d = cell.setting["n"], cell.setting["d"]
                rows.append(row(e, experiment=f"ratio, {quantity}", regime=regime, n=size, d=d))
                for key, value in zip(figure, (regime, quantity, size, e.value, *e.interval()), strict=True):
                    figure[key].append(value)
        claims.append(
            evidence.vanishes(
                f"Theorem 2, eps << sqrt(d/n), {regime}",
                SAYS,
                n,
                medians["small"],
                0.5,
                rate=power / 4,
                expected="supported" if holds else "refuted",
                note="" if holds else "grows: refuted as displayed for sqrt(n) << d << n, and at d = sqrt(n)",
            )
        )
        if regime == "d = 2n":  # exactly 0 where ε is below the interpolation radius
            clean_small.append(evidence.below(regime, CORRECTED, medians["clean small"][-1], 0.2))
        else:
            clean_small.append(evidence.vanishes(regime, CORRECTED, n, medians["clean small"], 0.2))
        large.append(_stays(regime, LARGE, n, medians["large"]))
        if regime != "d = 5":
            clean_large.append(_stays(regime, CORRECTED_LARGE, n, medians["clean large"]))
    claims += [
        evidence.all_of("Theorem 2, eps >> sqrt(d/n), every regime", LARGE, large),
        evidence.all_of("clean excess, eps << sqrt(d/n), every regime", CORRECTED, clean_small),
        evidence.all_of("clean excess, eps >> sqrt(d/n), d >= sqrt(n)", CORRECTED_LARGE, clean_large),
    ]
    figures = {"two_sides": {key: np.array(values) for key, values in figure.items()}}
    return Report(rows, claims, figures | {"two_sides_limits": _limits()})


def _limits() -> dict[str, np.ndarray]:
    """The ratios with all but n^(−γ) at its limit for this d/n, up to sizes that no simulation reaches."""
    n = np.geomspace(30, 1e12, 60)
    lines = {"n": n}
    deltas = {"d = n^(1/2)": n**-0.5, "d = n^(3/4)": n**-0.25, "d = n/10": 0.1, "d = 2n": 2.0}
    for regime, delta in deltas.items():
        clean = asymptotics.predict(0.0, delta)
        attacked = asymptotics.predict(np.sqrt(delta) * n ** -REGIMES[regime][0], delta)
        for quantity, field in (("small", "train_loss"), ("clean small", "clean_train_loss")):
            rise = getattr(attacked, field) - clean.train_loss
            lines[f"{regime} {quantity}"] = rise / (clean.clean_risk - clean.train_loss)
    return lines


def _stays(regime: str, says: str, n: np.ndarray, cells: list[evidence.Estimate]) -> evidence.Claim:
    """The ratio does not fall: its exponent is above −.05 and its last value above .4."""
    exponent = evidence.slope(np.log(n), [cell.log() for cell in cells])
    parts = [
        evidence.above("exponent", says, exponent, -0.05),
        evidence.above("last value", says, cells[-1], 0.4),
    ]
    return evidence.all_of(regime, says, parts)


def draw(figures: Mapping[str, Mapping[str, np.ndarray]], folder: Path) -> None:
    """The ratio along ε = √(d/n) n^(−γ): as displayed, and with the clean excess; exact limits far beyond."""
    data, limits = figures["two_sides"], figures["two_sides_limits"]
    with plotting.style():
        fig, axes = plotting.new("text", 2.7, cols=2)
        for ax, quantity in zip(axes, ("small", "clean small"), strict=True):
            for index, (regime, (power, _, _)) in enumerate(REGIMES.items()):
                chosen = (data["regime"] == regime) & (data["quantity"] == quantity)
                columns = (data[name][chosen] for name in ("n", "ratio", "low", "high"))
                label = "$" + regime.replace("(", "{").replace(")", "}") + rf"$, $\gamma={power:g}$"
                plotting.points(ax, *columns, label, index)
                if f"{regime} {quantity}" in limits:
                    plotting.theory(ax, limits["n"], limits[f"{regime} {quantity}"])
            plotting.log_axes(ax)
            ax.set(xlabel="$n$", ylim=(1e-4, 50))
        plotting.theory(axes[0], [], [], "exact limit")
        axes[0].set_ylabel(r"$|\hat R(\hat\theta(\epsilon),\epsilon)-\hat R(\hat\theta(0),0)|\,/\,|\Delta|$")
        axes[1].set_ylabel(r"$|\hat R(\hat\theta(\epsilon),0)-\hat R(\hat\theta(0),0)|\,/\,|\Delta|$")
        plotting.letters(axes)
        plotting.shared_legend(fig, axes)
        plotting.save(fig, folder, "two_sides")


PART = Part("two_sides", experiments, report, draw)
