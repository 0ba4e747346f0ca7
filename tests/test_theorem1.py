"""ε_P scales as √(d/n): the check accepts the truth and rejects planted rates and constants."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import linphase as lp
from linphase import asymptotics, critical, evidence

SIMULATIONS = Path(__file__).resolve().parents[1] / "simulations"
GRID = {(500, 2): 60, (1000, 5): 60, (2000, 2): 60, (2000, 20): 24, (8000, 5): 24, (8000, 40): 8}


@pytest.fixture(scope="module")
def parts():
    sys.path.insert(0, str(SIMULATIONS))
    try:
        from claims import boundary, p_values

        yield boundary, p_values
    finally:
        sys.path.remove(str(SIMULATIONS))


@pytest.fixture(scope="module")
def thresholds():
    cells = []
    for (n, d), reps in GRID.items():
        design = lp.GaussianDesign(n, d)
        found = [
            critical.critical_strength(
                *design.sample(lp.stream(1, "test", n, d, k)), noise=1.0, criterion="parameter"
            )
            for k in range(reps)
        ]
        cells.append(evidence.mean(found))
    return cells


def fit(cells, factor):
    """Exponents of d and n and the constant, after dividing by ``factor`` (k,)."""
    n, d = np.array(list(GRID), dtype=float).T
    scaled = [evidence.Estimate(e.value / f, e.se / f, e.df, e.n) for e, f in zip(cells, factor, strict=True)]
    exponents = evidence.regression({"d": np.log(d), "n": np.log(n)}, [e.log() for e in scaled])
    root = np.sqrt(d / n)
    per_root = [
        evidence.Estimate(e.value / q, e.se / q, e.df, e.n) for e, q in zip(scaled, root, strict=True)
    ]
    return exponents["d"], exponents["n"], evidence.combine(np.full(len(root), 1 / len(root)), per_root)


def statuses(cells, factor):
    """Verdicts on the two exponents and the constant; any of them is wrong with probability at most 1 %."""
    d, n, constant = fit(cells, factor)
    claims = [
        evidence.equivalent("exponent of d", "1/2", d, 0.5, 0.05, (0.25, 1.0)),
        evidence.equivalent("exponent of n", "-1/2", n, -0.5, 0.05, (-0.25, -1.0)),
        evidence.equivalent(
            "constant", "sqrt(pi/2)", constant, math.sqrt(math.pi / 2), 0.05, (1.0, math.sqrt(math.pi))
        ),
    ]
    return [verdict.status for verdict in evidence.decide(claims, alpha=0.01)]


def bracket(boundary):
    n, d = np.array(list(GRID), dtype=float).T
    return boundary.next_order(np.sqrt(d / n))


def test_threshold_scales_as_root_d_over_n(parts, thresholds):
    assert statuses(thresholds, bracket(parts[0])) == ["supported"] * 3


@pytest.mark.parametrize("rate", [0.25, 1.0])
def test_planted_rates_are_refuted(parts, thresholds, rate):
    n, d = np.array(list(GRID), dtype=float).T
    found = statuses(thresholds, bracket(parts[0]) * (d / n) ** (0.5 - rate))
    assert found[:2] == ["refuted"] * 2


@pytest.mark.parametrize("wrong", [0.8, 1.2])
def test_planted_constants_are_refuted(parts, thresholds, wrong):
    assert statuses(thresholds, bracket(parts[0]) * wrong)[2] == "refuted"


def test_too_few_replicates_are_inconclusive(parts, thresholds):
    noisy = [evidence.Estimate(e.value, 20 * e.se, e.df, e.n) for e in thresholds]
    assert statuses(noisy, bracket(parts[0])) == ["inconclusive"] * 3


def test_next_order_is_that_of_the_exact_limit(parts):
    boundary = parts[0]
    delta = np.array([1e-4, 1e-3, 1e-2])
    exact = asymptotics.critical_strength(delta, criterion="parameter") / np.sqrt(delta) / boundary.CONSTANT
    error = np.abs(boundary.next_order(np.sqrt(delta)) - exact)
    assert (error < 0.5 * delta**1.5).all()


def test_least_squares_errors_have_the_law_of_least_squares(parts):
    n, d, size = 20, 3, 4000
    drawn = parts[1].least_squares_errors(lp.stream(3, "law"), n, d, size)
    rng = lp.stream(3, "truth")
    X = rng.standard_normal((size, n, d))
    truth = np.stack([np.linalg.lstsq(X[k], rng.standard_normal(n))[0] for k in range(size)])
    # False alarm rate 1e-3 each: the length, and one coordinate.
    assert stats.ks_2samp(np.linalg.norm(drawn, axis=1), np.linalg.norm(truth, axis=1)).pvalue > 1e-3
    assert stats.ks_2samp(drawn[:, 0], truth[:, 0]).pvalue > 1e-3


def test_quick_run_of_the_script(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(SIMULATIONS))
    import theorem1

    from linphase.study import main

    assert main(theorem1.STUDY, ["--quick", "--jobs", "1", "--out", str(tmp_path / "run")]) == 0
    verdicts = json.loads((tmp_path / "run" / "verdict.json").read_text())
    text = json.dumps(verdicts)
    for part in (
        "small attack",
        "convergence",
        "zero radius",
        "large attack",
        "boundary",
        "p-values",
        "Remark 2",
    ):
        assert part in text
    names = {path.stem for path in (tmp_path / "run").glob("*.png")}
    assert names >= {"trajectories", "distances", "p_values", "boundary", "small_attack", "noise", "wander"}
