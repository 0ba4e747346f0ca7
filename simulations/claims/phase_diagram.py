"""The phase diagram: how much of Δ the adversarial training loss has used up, over d/n and ε.

Colour: the mean of R̂(θ̂(ε), ε) − R̂(θ̂(0), 0) over data sets, in units of E Δ, which is known exactly.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from claims.draws import CRITERIA, FINE, SYMBOLS, limit_line
from linphase import GaussianDesign, asymptotics, interpolation_radius, plotting, solve_path
from linphase.streams import stream
from linphase.study import Experiment, Options, Part, Report, Results

N = 200
EPS = np.geomspace(0.01, 4.0, 60)
COLUMNS, QUICK_COLUMNS = 40, 10
REPLICATES = 8


def mean_excess(design: GaussianDesign) -> float:
    """E Δ over the design: variance and squared bias of θ̂(0), and what it explains of the noise."""
    share = min(1.0, design.n / design.d)
    bias = design.signal * (1 - share)
    return design.std_norm() ** 2 + bias**2 + design.noise**2 * min(1.0, design.d / design.n)


def block(setting: Mapping[str, Any], replicates: range, seed: int) -> dict[str, np.ndarray]:
    """Loss along the path less its start, and the interpolation radius."""
    n, d = setting["n"], setting["d"]
    rise, radius = np.empty((len(replicates), EPS.size)), np.zeros(len(replicates))
    for i, k in enumerate(replicates):
        X, y = GaussianDesign(n, d).sample(stream(seed, "phase", n, d, k))
        losses = solve_path(X, y, np.append(0.0, EPS)).losses
        rise[i] = losses[1:] - losses[0]
        if d > n:
            radius[i] = interpolation_radius(X, y)
    return {"rise": rise, "radius": radius}


def experiments(options: Options) -> list[Experiment]:
    """Columns of d/n from .01 to 5, none within 1 of d = n."""
    count = QUICK_COLUMNS if options.quick else COLUMNS
    widths = np.unique(np.round(N * np.geomspace(0.01, 5.0, count)).astype(int))
    settings = [{"n": N, "d": int(d)} for d in widths if abs(d - N) > 1]
    reps = 3 if options.quick else REPLICATES
    return [Experiment("phase-diagram", block, settings, reps, lambda s: 8 if s["d"] < N / 2 else 2)]


def report(results: Results, options: Options) -> Report:
    """No claim: the data of the figure."""
    cells = results["phase-diagram"]
    delta = np.array([cell.setting["d"] / N for cell in cells])
    designs = [GaussianDesign(N, cell.setting["d"]) for cell in cells]
    used = [c.values["rise"].mean(axis=0) / mean_excess(d) for c, d in zip(cells, designs, strict=True)]
    radius = np.array([np.median(cell.values["radius"]) for cell in cells])
    figure = {"delta": delta, "eps": EPS, "used": np.array(used), "radius": radius, "fine": FINE}
    figure |= {criterion: limit_line(criterion) for criterion in CRITERIA}
    return Report(figures={"phase_diagram": figure | {"zero": asymptotics.zero_radius(FINE)}})


def draw(figures: Mapping[str, Mapping[str, np.ndarray]], folder: Path) -> None:
    """Colours with the exact limits of the three thresholds and of the zero radius as lines."""
    from matplotlib.colors import LogNorm

    data = figures["phase_diagram"]
    with plotting.style():
        fig, (ax,) = plotting.new("text", 3.6)
        colours = {"cmap": "RdBu_r", "norm": LogNorm(0.02, 50), "shading": "nearest", "rasterized": True}
        image = ax.pcolormesh(data["delta"], data["eps"], np.clip(data["used"].T, 1e-3, None), **colours)
        bar = fig.colorbar(image, ax=ax, pad=0.01)
        bar.set_label(
            r"mean of $\hat R(\hat\theta(\epsilon),\epsilon)-\hat R(\hat\theta(0),0)$, in units of $E\Delta$"
        )
        line = {"color": "black", "linewidth": 1.0, "marker": ""}
        for criterion, style in zip(CRITERIA, ("-", "--", "-."), strict=True):
            ax.plot(data["fine"], data[criterion], **line, linestyle=style, label=f"${SYMBOLS[criterion]}$")
        ax.plot(data["fine"], data["zero"], **line, linestyle=":", label=r"$\hat\theta=0$ above")
        wide = data["delta"] > 1
        line |= {"color": "#009E73", "linestyle": "-"}
        ax.plot(data["delta"][wide], data["radius"][wide], **line, label=f"interpolation radius, $n={N}$")
        plotting.log_axes(ax)
        ax.set(xlabel="$d/n$", ylabel=r"$\epsilon$", xlim=(0.01, 5.0), ylim=(0.01, 4.0))
        plotting.shared_legend(fig, [ax])
        plotting.save(fig, folder, "phase_diagram")


PART = Part("phase_diagram", experiments, report, draw)
