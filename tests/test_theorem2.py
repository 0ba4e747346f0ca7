"""ε_C scales as √(d/n) and ε* as d/n or 1/√n: the checks accept the truth and reject planted rates."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

import linphase as lp
from linphase import evidence

SIMULATIONS = Path(__file__).resolve().parents[1] / "simulations"
GROWING = {(2500, 150): 20, (1600, 160): 20, (800, 160): 30, (400, 160): 40}  # d ≫ √n: replicates
FEW = {(400, 2): 500, (1600, 2): 500, (6400, 2): 250}  # d ≪ √n


@pytest.fixture(scope="module")
def parts():
    sys.path.insert(0, str(SIMULATIONS))
    try:
        from claims import constants, draws, empty_set, exponents, loss_p_values, phase_diagram

        yield {
            "constants": constants,
            "draws": draws,
            "empty_set": empty_set,
            "exponents": exponents,
            "loss_p_values": loss_p_values,
            "phase_diagram": phase_diagram,
        }
    finally:
        sys.path.remove(str(SIMULATIONS))


def measure(parts, grid, regime):
    """Estimates of ε* and ε_C for each cell of a grid."""
    cells = {"loss": [], "clean-loss": []}
    for (n, d), reps in grid.items():
        rngs = [lp.stream(2, "test", n, d, k) for k in range(reps)]
        values = parts["draws"].thresholds(lp.GaussianDesign(n, d), rngs, tuple(cells))
        for criterion, estimates in cells.items():
            estimates.append(parts["exponents"].statistic(values[criterion], regime))
    return cells


@pytest.fixture(scope="module")
def growing(parts):
    return measure(parts, GROWING, "d >> sqrt(n)")


@pytest.fixture(scope="module")
def few(parts):
    return measure(parts, FEW, "d = 2")


def status(x, cells, target, margin, rivals, planted=0.0):
    """Verdict on the exponent of cells in x, multiplied by x**planted; wrong at a rate of at most .0025."""
    planted_cells = [
        evidence.combine([factor], [e]).log()
        for factor, e in zip(np.asarray(x) ** planted, cells, strict=True)
    ]
    claim = evidence.equivalent(
        "exponent", "", evidence.slope(np.log(x), planted_cells), target, margin, rivals
    )
    return evidence.decide([claim], alpha=0.0025)[0].status


RATIOS = [d / n for n, d in GROWING]
SIZES = [float(n) for n, _ in FEW]


def test_clean_excess_threshold_scales_as_root_d_over_n(growing):
    cells = growing["clean-loss"]
    assert status(RATIOS, cells, 0.5, 0.15, (0.25, 1.0)) == "supported"
    assert status(RATIOS, cells, 0.5, 0.15, (0.25, 1.0), planted=-0.25) == "refuted"
    assert status(RATIOS, cells, 0.5, 0.15, (0.25, 1.0), planted=0.5) == "refuted"


def test_literal_threshold_scales_as_d_over_n_between_the_ends(growing):
    cells = growing["loss"]
    assert status(RATIOS, cells, 1.0, 0.4, (0.5,)) == "supported"
    assert status(RATIOS, cells, 0.5, 0.4, (1.0,)) == "refuted"  # the paper's rate
    assert status(RATIOS, cells, 1.0, 0.4, (0.5,), planted=-0.75) == "refuted"


def test_for_few_columns_the_literal_threshold_falls_as_root_n(few):
    assert status(SIZES, few["loss"], -0.5, 0.2, (-0.25, -1.0)) == "supported"
    assert status(SIZES, few["loss"], -0.5, 0.2, (-0.25, -1.0), planted=-0.5) == "refuted"
    assert status(SIZES, few["loss"], -0.5, 0.2, (-0.25, -1.0), planted=0.5) == "refuted"


def test_for_few_columns_the_clean_excess_threshold_falls_as_the_fourth_root_of_n(few):
    assert status(SIZES, few["clean-loss"], -0.25, 0.1, (-0.5, 0.0)) == "supported"
    assert status(SIZES, few["clean-loss"], -0.25, 0.1, (-0.5, 0.0), planted=-0.25) == "refuted"


def test_too_few_replicates_are_inconclusive(growing):
    noisy = [evidence.Estimate(e.value, 20 * e.se, e.df, e.n) for e in growing["loss"]]
    assert status(RATIOS, noisy, 1.0, 0.4, (0.5,)) == "inconclusive"


def test_the_law_of_delta_and_its_mean(parts):
    """Against 8000 draws of least squares; false alarms 1e-3 each."""
    for n, d in ((30, 4), (12, 30)):
        design = lp.GaussianDesign(n, d, signal=1.0, noise=1.0)
        rng, size = lp.stream(3, "delta", n, d), 8_000
        X = rng.standard_normal((size, n, d))
        y = X @ design.theta0 + rng.standard_normal((size, n))
        theta = np.matmul(np.linalg.pinv(X), y[..., None])[..., 0]
        residuals = y - np.matmul(X, theta[..., None])[..., 0]
        delta = design.risk(theta) - (residuals**2).mean(axis=1)
        error = delta.mean() - parts["phase_diagram"].mean_excess(design)
        assert abs(error) < 3.3 * delta.std() / math.sqrt(size)
        if d < n:
            distance = evidence.distance_from_uniform(parts["empty_set"].excess_cdf(delta, n, d))
            assert distance.p_above(0.0) > 1e-3
            assert (
                evidence.distance_from_uniform(parts["empty_set"].excess_cdf(1.1 * delta, n, d)).p_above(0.0)
                < 1e-3
            )


def test_means_in_closed_form_are_those_of_their_laws(parts):
    """E(Z + u)⁺ and the mean p-value under a shift, against 10⁶ draws; false alarms 1e-3 each."""
    z, reference = lp.stream(3, "laws").standard_normal((2, 1_000_000))
    n, d = 400, 10
    positive = math.sqrt(math.pi) / 2 * np.maximum(z + math.sqrt(2 / n) * d, 0.0)
    error = positive.mean() - parts["exponents"].mean_root_n(d, n)
    assert abs(error) < 3.3 * positive.std() / 1e3
    shift = 2 / math.sqrt(math.pi) * 0.7
    farther = np.abs(reference) > np.abs(z + shift)
    error = farther.mean() - parts["loss_p_values"].predicted(np.array(0.7))
    assert abs(error) < 3.3 * farther.std() / 1e3


def test_final_losses_are_those_of_descent(parts):
    module, design = parts["loss_p_values"], lp.GaussianDesign(30, 3)
    losses = module.final_losses(design, lp.stream(4, "losses"), 2, np.array([0.0, 0.4]))
    rng = lp.stream(4, "losses")
    data = [design.sample(rng) for _ in range(2)]
    for row, (X, y) in zip(losses, data, strict=True):
        for loss, eps in zip(row, (0.0, 0.4), strict=True):
            run = lp.gradient_descent(lp.AdversarialProblem(X, y, eps), module.STEP, module.N_STEPS)
            assert loss == pytest.approx(run.losses[-1], rel=1e-6)


def test_lines_of_limits_break_where_there_is_no_limit(parts):
    line, fine = parts["draws"].limit_line("loss", 2.0), parts["draws"].FINE
    assert np.isnan(line[(fine > 0.81) & (fine < 1.32)]).all()
    assert np.isfinite(line[(fine < 0.79) | (fine > 1.34)]).all()


def test_quick_run_of_the_script(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(SIMULATIONS))
    import theorem2

    from linphase.study import main

    assert main(theorem2.STUDY, ["--quick", "--jobs", "1", "--out", str(tmp_path / "run")]) == 0
    verdicts = json.loads((tmp_path / "run" / "verdict.json").read_text())["verdicts"]
    text = json.dumps(verdicts)
    for part in ("Theorem 2", "clean excess", "exponent", "exact limit", "Remark 1", "p-value", "Delta"):
        assert part in text
    names = {path.stem for path in (tmp_path / "run").glob("*.png")}
    assert names == {"two_sides", "exponents", "thresholds", "phase_diagram", "loss_p_values"}
