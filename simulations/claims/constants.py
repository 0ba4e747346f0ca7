"""The three thresholds against their exact limits, from d/n = .01 to 5, at three signal-to-noise ratios.

In the limit ε* and ε_C are infinite where least squares is worse than θ = 0: for d < n from s²/(s² + σ²) on,
and for d > n unless s > σ and d/n > s²/(s² − σ²), where they come back. Medians, which neither data sets with
ε* = 0 nor those with ε* = ∞ disturb; a cell with ∞ for more than a quarter gives its share of ∞ instead.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from claims.draws import CRITERIA, FINE, NAMES, SYMBOLS, by, limit_line, thresholds
from linphase import GaussianDesign, asymptotics, evidence, plotting
from linphase.streams import stream
from linphase.study import Experiment, Options, Part, Report, Results, row

SIGNALS = (0.5, 1.0, 2.0)  # the noise is 1
GRID = {  # (n, d): replicates
    (2000, 20): 600,
    (1000, 30): 400,
    (600, 60): 300,
    (600, 90): 300,
    (400, 120): 100,
    (400, 180): 120,
    (300, 180): 100,
    (300, 210): 150,
    (200, 250): 150,
    (200, 300): 100,
    (200, 400): 80,
    (200, 600): 80,
    (150, 750): 80,
}
MORE = {(2000, 20): 4500, (1000, 30): 1500}  # of ε* alone, where it varies most
QUICK = ((600, 60), (300, 90), (150, 450))
MARGIN = 0.2
CLEARLY = 1.05  # least squares' risk over that of 0, from where on "infinite" is tested
SAYS = "the threshold has the exact limit that theory predicts"


def block(setting: Mapping[str, Any], replicates: range, seed: int) -> dict[str, np.ndarray]:
    """The three thresholds of each data set."""
    n, d, s = setting["n"], setting["d"], setting["signal"]
    return thresholds(GaussianDesign(n, d, s), [stream(seed, "constants", n, d, s, k) for k in replicates])


def loss_block(setting: Mapping[str, Any], replicates: range, seed: int) -> dict[str, np.ndarray]:
    """ε* of each data set."""
    n, d, s = setting["n"], setting["d"], setting["signal"]
    rngs = [stream(seed, "constants-loss", n, d, s, k) for k in replicates]
    return thresholds(GaussianDesign(n, d, s), rngs, ("loss",))


def experiments(options: Options) -> list[Experiment]:
    """Every d/n and signal; at small d/n more of ε*."""

    def settings(sizes: Iterable[tuple[int, int]]) -> list[dict[str, Any]]:
        return [{"signal": s, "n": n, "d": d} for s in SIGNALS for n, d in sizes]

    def size(setting: Mapping[str, Any]) -> int:
        return max(1, 800_000 // (setting["n"] * min(setting["n"], setting["d"]) + 1000))

    if options.quick:
        return [Experiment("constants", block, settings(QUICK), 20, size)]
    return [
        Experiment("constants", block, settings(GRID), lambda s: GRID[s["n"], s["d"]], size),
        Experiment("constants-loss", loss_block, settings(MORE), lambda s: MORE[s["n"], s["d"]], 250),
    ]


def report(results: Results, options: Options) -> Report:
    """Medians in units of the limit, one claim for each threshold and signal; where the limit is infinite."""
    rows, claims, infinite = [], [], []
    figure: dict[str, list[Any]] = {key: [] for key in ("signal", "criterion", "delta", "eps", "low", "high")}
    more = {tuple(cell.setting.values()): cell.values["loss"] for cell in results.get("constants-loss", ())}
    for signal, cells in by(results["constants"], "signal").items():
        for criterion in CRITERIA:
            parts = []
            for cell in cells:
                n, d, values = cell.setting["n"], cell.setting["d"], cell.values[criterion]
                if criterion == "loss" and (signal, n, d) in more:
                    values = np.append(values, more[signal, n, d])
                limit = float(asymptotics.critical_strength(d / n, signal, criterion=criterion))
                keys = {"signal": signal, "n": n, "d": d, "limit": limit}
                lost = evidence.share(int(np.isinf(values).sum()), values.size)
                point = (np.inf, np.inf, np.inf) if lost.value > 0.5 else (np.nan, np.nan, np.nan)
                if lost.count:
                    rows.append(row(lost, experiment=f"{NAMES[criterion]} infinite", **keys))
                if np.isinf(limit):
                    if asymptotics.predict(0.0, d / n, signal).clean_risk > CLEARLY * (signal**2 + 1):
                        infinite.append(evidence.above(f"signal {signal:g}, {n} x {d}", "", lost, 0.5))
                elif lost.value <= 0.25:
                    ratio = evidence.median(values / limit)
                    parts.append(evidence.equivalent(f"{n} x {d}", SAYS, ratio, 1.0, MARGIN))
                    rows.append(row(ratio, experiment=f"{NAMES[criterion]} over its limit", **keys))
                    point = (ratio.value * limit, *(end * limit for end in ratio.interval()))
                for key, value in zip(figure, (signal, criterion, d / n, *point), strict=True):
                    figure[key].append(value)
            title = f"{NAMES[criterion]}, signal/noise = {signal:g}: exact limit, d/n = .01 to 5"
            claims.append(evidence.all_of(title, SAYS, parts))
    says = "eps* and eps_C are infinite where least squares is worse than 0, and come back at large d/n"
    claims.append(evidence.all_of("eps* and eps_C infinite where the limit is", says, infinite))
    limits = {f"{criterion} {s:g}": limit_line(criterion, s) for s in SIGNALS for criterion in CRITERIA}
    limits["delta"] = FINE
    figures = {"thresholds": {key: np.array(values) for key, values in figure.items()}, "limits": limits}
    return Report(rows, claims, figures)


def draw(figures: Mapping[str, Mapping[str, np.ndarray]], folder: Path) -> None:
    """A panel a signal-to-noise ratio; open symbols at the top where most thresholds are infinite."""
    data, limits = figures["thresholds"], figures["limits"]
    with plotting.style():
        fig, axes = plotting.new("text", 2.7, cols=3, sharey=True)
        for ax, signal in zip(axes, SIGNALS, strict=True):
            for index, criterion in enumerate(CRITERIA):
                chosen = (data["signal"] == signal) & (data["criterion"] == criterion)
                delta, eps, low, high = (data[name][chosen] for name in ("delta", "eps", "low", "high"))
                seen, lost = np.isfinite(eps), np.isinf(eps)
                ends = low[seen], np.minimum(high[seen], 10.0)
                plotting.points(ax, delta[seen], eps[seen], *ends, f"${SYMBOLS[criterion]}$", index)
                open_ones = plotting.look(index) | {"linestyle": "none", "markerfacecolor": "none"}
                ax.plot(delta[lost], np.full(lost.sum(), 6.5 - index), **open_ones)
                plotting.theory(ax, limits["delta"], limits[f"{criterion} {signal:g}"])
            plotting.theory(ax, limits["delta"], np.sqrt(limits["delta"]), r"$\sqrt{d/n}$", dashed=True)
            plotting.log_axes(ax)
            ax.set(xlabel=rf"$d/n$   ($\|\theta_0\|/\sigma={signal:g}$)", ylim=(0.004, 9.0))
        axes[0].plot([], [], **open_ones | {"color": "0.35"}, label="infinite")
        plotting.theory(axes[0], [], [], "exact limit")
        axes[0].set_ylabel(r"$\epsilon$")
        plotting.letters(axes)
        plotting.shared_legend(fig, axes)
        plotting.save(fig, folder, "thresholds")


PART = Part("constants", experiments, report, draw)
