"""Figure 3: whether R̂(θ⁽ᵀ⁾(ε), ε) has the law of R̂(θ⁽ᵀ⁾(0), 0).

A t prediction against 300 clean runs. The clean loss has standard deviation √(2/n) σ², and an attack adds
about 2 √(2/π) ε ‖θ₀‖σ, m = (2/√π)(‖θ₀‖/σ) √n ε standard deviations. So the p-value, of mean
2Φ(m/√2)Φ(−m/√2), turns at ε of order 1/√n. That is √(d/n) only while d is small.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special

from claims.p_values import ATTACKED, DIMENSIONS, LOGS, N_STEPS, REFERENCE, STEP, N
from linphase import GaussianDesign, evidence, gradient_descent_batch, plotting
from linphase.streams import stream
from linphase.study import Experiment, Options, Part, Report, Results, row

ROOT_N = np.arange(-2.0, 2.01, 0.25)  # log(√n ε)
SAYS = "the p-value of the adversarial training loss is close to 0 at log(eps/eps*) = 0"
UNIFORM = "under eps = 0 the p-values are uniform"
COLLAPSE = "the p-value's transition sits at sqrt(d/n) whatever d is"
SHIFT = "corrected: it sits at eps of order 1/sqrt(n) whatever d is"


def block(setting: Mapping[str, Any], replicates: range, seed: int) -> dict[str, np.ndarray]:
    """Mean p-value over ten attacked runs at each ε, one reference set a replicate."""
    n, d = setting["n"], setting["d"]
    design = GaussianDesign(n, d)
    eps = np.append(math.sqrt(d / n) * np.exp(LOGS), np.exp(ROOT_N) / math.sqrt(n))
    p = np.empty((len(replicates), eps.size))
    for i, k in enumerate(replicates):
        rng = stream(seed, "loss-p-values", n, d, k)
        clean = final_losses(design, rng, REFERENCE, np.zeros(1))[:, 0]
        attacked = final_losses(design, rng, ATTACKED, eps)
        p[i] = evidence.t_p_value(attacked, clean.mean(), clean.std(ddof=1), REFERENCE).mean(axis=0)
    return {"root": p[:, : LOGS.size], "root_n": p[:, LOGS.size :]}


def final_losses(design: GaussianDesign, rng: np.random.Generator, size: int, eps: np.ndarray) -> np.ndarray:
    """R̂(θ⁽ᵀ⁾(ε), ε) of ``size`` data sets at each ε, (size, k)."""
    X, y = (np.stack(part) for part in zip(*(design.sample(rng) for _ in range(size)), strict=True))
    thetas = gradient_descent_batch(X, y, eps, STEP, N_STEPS)[:, :, -1]
    reach = eps * np.linalg.norm(thetas, axis=-1)
    return np.asarray(
        ((np.abs(y[:, None] - thetas @ X.swapaxes(1, 2)) + reach[..., None]) ** 2).mean(axis=-1)
    )


def null_block(setting: Mapping[str, Any], replicates: range, seed: int) -> dict[str, np.ndarray]:
    """p-value of one more clean loss, each against a reference of its own, on one X."""
    n, d = setting["n"], setting["d"]
    p = np.empty(len(replicates))
    left = np.linalg.qr(stream(seed, "loss-null-design", n, d).standard_normal((n, d)))[0]
    for i, k in enumerate(replicates):
        noise = stream(seed, "loss-null", n, d, k).standard_normal((REFERENCE + 1, n))
        losses = (noise**2).mean(axis=1) - ((noise @ left) ** 2).sum(axis=1) / n
        p[i] = evidence.t_p_value(losses[-1], losses[:-1].mean(), losses[:-1].std(ddof=1), REFERENCE)
    return {"p": p}


def predicted(root_n_eps: np.ndarray) -> np.ndarray:
    """Mean p-value at √n ε, s = σ = 1."""
    half = np.sqrt(2 / math.pi) * root_n_eps  # m/√2
    return np.asarray(2 * special.ndtr(half) * special.ndtr(-half))


def experiments(options: Options) -> list[Experiment]:
    """The figure and the null."""
    settings = [{"n": N, "d": d} for d in DIMENSIONS]
    return [
        Experiment("loss-p-values", block, settings, 8 if options.quick else 80, 4),
        Experiment("loss-p-null", null_block, settings, 500 if options.quick else 6000, 500),
    ]


def report(results: Results, options: Options) -> Report:
    """Uniformity, the p-values at √(d/n), and where the transition sits."""
    rows, claims, corrected = [], [], []
    figure: dict[str, np.ndarray] = {"root": LOGS, "root_n": ROOT_N, "predicted": predicted(np.exp(ROOT_N))}
    at_root, at_root_n = {}, {}
    for cell in results["loss-p-null"]:
        d, p = cell.setting["d"], cell.values["p"]
        claims.append(evidence.uniform(f"p-values of the loss at eps = 0, d = {d}", UNIFORM, p, 0.05))
        rows.append(
            row(claims[-1].estimate, experiment="p-value at eps = 0: distance from uniform", n=N, d=d)
        )
    for cell in results["loss-p-values"]:
        d = cell.setting["d"]
        for name, logs in (("root", LOGS), ("root_n", ROOT_N)):
            means = [evidence.mean(column) for column in cell.values[name].T]
            ends = np.array([e.interval() for e in means]).T
            figure |= {f"{name}_{d}": np.array([e.value for e in means])}
            figure |= {f"{name}_low_{d}": ends[0], f"{name}_high_{d}": ends[1]}
            axis = "log(eps/sqrt(d/n))" if name == "root" else "log(eps sqrt(n))"
            rows += [
                row(e, experiment=f"p-value of the loss against {axis}", n=N, d=d, log=float(x))
                for e, x in zip(means, logs, strict=True)
            ]
        figure[f"predicted_{d}"] = predicted(math.sqrt(d) * np.exp(LOGS))
        at_root[d] = evidence.mean(cell.values["root"][:, int(np.argmin(np.abs(LOGS)))])
        at_root_n[d] = evidence.mean(cell.values["root_n"][:, int(np.argmin(np.abs(ROOT_N)))])
        claims.append(
            evidence.below(
                f"p-value of the loss at eps = sqrt(d/n), d = {d}",
                SAYS,
                at_root[d],
                0.15,
                expected="refuted" if d == 2 else "supported",
            )
        )
        part = evidence.equivalent(f"d = {d}", SHIFT, at_root_n[d], float(predicted(np.array(1.0))), 0.08)
        corrected.append(part)
    least, most = DIMENSIONS[0], DIMENSIONS[-1]
    drift = evidence.combine([1.0, -1.0], [at_root[least], at_root[most]])
    claims += [
        evidence.equivalent(
            f"p-value of the loss at eps = sqrt(d/n): the same at d = {least} and {most}",
            COLLAPSE,
            drift,
            0.0,
            0.1,
            expected="refuted",
            note="the threshold of this test is 1/sqrt(n), not sqrt(d/n)",
        ),
        evidence.all_of("p-value of the loss at eps = 1/sqrt(n): as predicted, at every d", SHIFT, corrected),
    ]
    return Report(rows, claims, {"loss_p_values": figure})


def draw(figures: Mapping[str, Mapping[str, np.ndarray]], folder: Path) -> None:
    """Figure 3, and the same against √n ε, where the curves meet."""
    data = figures["loss_p_values"]
    with plotting.style():
        fig, axes = plotting.new("text", 2.6, cols=2, sharey=True)
        for ax, name in zip(axes, ("root", "root_n"), strict=True):
            for index, d in enumerate(DIMENSIONS):
                columns = (data[f"{name}{kind}_{d}"] for kind in ("", "_low", "_high"))
                plotting.band(ax, data[name], *columns, f"$d={d}$", index)
            plotting.threshold(ax, 0.0)
        for d in DIMENSIONS:
            plotting.theory(axes[0], data["root"], data[f"predicted_{d}"], "predicted shift")
        plotting.theory(axes[1], data["root_n"], data["predicted"], "predicted shift")
        axes[0].set(xlabel=r"$\log(\epsilon\,/\sqrt{d/n})$", ylabel="mean $p$-value of the loss")
        axes[1].set(xlabel=r"$\log(\sqrt{n}\,\epsilon)$")
        axes[0].set_ylim(0, None)
        plotting.letters(axes)
        plotting.shared_legend(fig, axes)
        plotting.save(fig, folder, "loss_p_values")


PART = Part("loss_p_values", experiments, report, draw)
