"""Remark 2: Gaussian noise of the same length has no such transition."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from linphase import GaussianDesign, evidence, gradient_descent_batch, noise_augmented_descent, plotting
from linphase.streams import stream
from linphase.study import Experiment, Options, Part, Report, Results, row

SAYS = "random noise of the same length does not hurt training: no transition at sqrt(d/n)"
MULTIPLES = np.exp(np.arange(-2.0, 2.01, 0.5))
N_STEPS, STEP = 100, 0.1
SIZES = ((100, 5), (1000, 5), (1000, 50))


def block(setting: Mapping[str, Any], replicates: range, seed: int) -> dict[str, np.ndarray]:
    """Distance of the last iterate from the clean one, noise beside attack, in units of ‖Std θ̂(0)‖_F."""
    n, d = setting["n"], setting["d"]
    design = GaussianDesign(n, d)
    eps = np.append(0.0, MULTIPLES * math.sqrt(d / n))
    # Small steps average the noise of single steps out, as training does; all runs share them.
    steps = STEP / (1 + np.arange(N_STEPS) / 20)
    distances = np.empty((2, len(replicates), MULTIPLES.size))
    for i, k in enumerate(replicates):
        X, y = design.sample(stream(seed, "noise", n, d, k))
        attacked = gradient_descent_batch(X[None], y[None], eps, steps, N_STEPS)[0, :, -1]
        noisy = noise_augmented_descent(X, y, eps, stream(seed, "noise-draws", n, d, k), steps, N_STEPS)[
            :, -1
        ]
        for which, thetas in enumerate((attacked, noisy)):
            distances[which, i] = np.linalg.norm(thetas[1:] - attacked[0], axis=1)
    attack, noise = distances / design.std_norm()
    return {"attack": attack, "noise": noise}


def experiments(options: Options) -> list[Experiment]:
    """Three sizes."""
    reps = 20 if options.quick else 60
    return [Experiment("noise", block, [{"n": n, "d": d} for n, d in SIZES], reps, 10)]


def report(results: Results, options: Options) -> Report:
    """At ε = e √(d/n) the attack moves the estimate by more than its spread, the noise by less than half."""
    claims, rows, figures = [], [], {}
    at = int(np.argmin(np.abs(MULTIPLES - math.e)))
    for cell in results["noise"]:
        n, d = cell.setting["n"], cell.setting["d"]
        columns = {"multiple": MULTIPLES}
        estimates = {}
        for kind in ("attack", "noise"):
            means = [evidence.mean(column) for column in cell.values[kind].T]
            low, high = zip(*(e.interval() for e in means), strict=True)
            columns |= {
                kind: np.array([e.value for e in means]),
                f"{kind}_low": np.array(low),
                f"{kind}_high": np.array(high),
            }
            estimates[kind] = means[at]
            rows.append(row(means[at], experiment=f"noise: {kind} at e sqrt(d/n)", n=n, d=d))
        figures[f"noise_{n}_{d}"] = columns
        parts = [
            evidence.below("noise", SAYS, estimates["noise"], 0.5),
            evidence.above("attack", SAYS, estimates["attack"], 1.0),
        ]
        claims.append(
            evidence.all_of(f"Remark 2, n = {n}, d = {d}", SAYS, parts, note="in units of |Std theta^(0)|_F")
        )
    return Report(rows, claims, figures)


def draw(figures: Mapping[str, Mapping[str, np.ndarray]], folder: Path) -> None:
    """Distance against ε for attack and noise."""
    with plotting.style():
        fig, axes = plotting.new("text", 2.4, cols=len(SIZES), sharey=True)
        for ax, (n, d) in zip(axes, SIZES, strict=True):
            data = figures[f"noise_{n}_{d}"]
            for index, (kind, label) in enumerate((("attack", "adversarial"), ("noise", "Gaussian noise"))):
                columns = (data[name] for name in ("multiple", kind, f"{kind}_low", f"{kind}_high"))
                plotting.band(ax, *columns, label, index)
            plotting.threshold(ax, 1.0)
            plotting.log_axes(ax)
            ax.set(xlabel=rf"$\epsilon/\sqrt{{d/n}}$   ($n={n}$, $d={d}$)")
        axes[0].set(ylabel=r"$\|\theta^{(T)}(\epsilon)-\theta^{(T)}(0)\|\,/\,\|\mathrm{Std}\|_F$")
        plotting.letters(axes)
        plotting.shared_legend(fig, axes)
        plotting.save(fig, folder, "noise")


PART = Part("noise", experiments, report, draw)
