"""Proposition 1: its tests accept the measured rates and refute planted ones; its thresholds are roots."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

import linphase as lp
from linphase import evidence
from linphase.study import Cell, Options, main

SIMULATIONS = Path(__file__).resolve().parents[1] / "simulations"
WIDTHS = (32, 128, 512)
NETWORK = {"n": 60, "d": 3, "activation": "tanh", "signs": "random", "init": "vanishing", "xi": 1.0}


@pytest.fixture(scope="module")
def claims():
    sys.path.insert(0, str(SIMULATIONS))
    try:
        import claims.network_losses
        import claims.network_predictor
        import claims.network_width
        import claims.networks

        yield claims
    finally:
        sys.path.remove(str(SIMULATIONS))


def status(claim):
    (verdict,) = evidence.decide([claim], alpha=0.01)
    return verdict.status


@pytest.fixture(scope="module")
def clean(claims):
    settings = [NETWORK | {"eps": 0.0, "data": 0, "width": h} for h in WIDTHS]
    return [Cell(s, claims.networks.distance_block(s, range(10), 1)) for s in settings]


def planted(cells, power):
    """The same cells with distances that fall by h^power less."""
    names = ("beta", "prediction")
    return [
        Cell(c.setting, c.values | {name: c.values[name] * c.setting["width"] ** power for name in names})
        for c in cells
    ]


@pytest.mark.parametrize(("power", "expected"), [(0.0, "supported"), (0.5, "refuted"), (1.0, "refuted")])
def test_the_rate_of_clean_networks_is_one_over_width(claims, clean, power, expected):
    claim = claims.network_width.rate_claim("rate", "", planted(clean, power), -1.0, 0.1)
    assert status(claim) == expected


@pytest.mark.parametrize(("power", "expected"), [(0.0, "supported"), (0.5, "refuted"), (1.0, "refuted")])
def test_the_rate_of_the_median_survives_a_floor(claims, power, expected):
    """One data set in five keeps a distance of 1 at any width: the median does not mind, the mean does."""
    rng = lp.stream(1, "floor")
    cells = []
    for h in (64, 256, 1024, 4096):
        distances = {name: rng.lognormal(0, 0.3, 60) / h for name in ("beta", "prediction")}
        for column in distances.values():
            column[:12] = 1.0
        cells.append(Cell({"width": h}, distances))
    width = claims.network_width
    assert (
        status(width.rate_claim("rate", "", planted(cells, power), -1.0, 0.3, width.median_rate)) == expected
    )
    assert width.mean_rate(cells, "beta").value > -0.2


@pytest.mark.parametrize(("rate", "expected"), [(0.5, "supported"), (0.25, "refuted"), (1.0, "refuted")])
def test_the_predictors_exponent_is_one_half_and_no_rival(claims, rate, expected):
    rng = lp.stream(2, "thresholds")
    predictor = claims.network_predictor

    def cell(scale, **setting):
        exact = scale * rng.lognormal(0, 0.05, 20)
        values = {
            "exact": exact,
            "twin": exact,
            "network": exact * rng.lognormal(0, 0.1 / setting["width"], 20),
        }
        return Cell(setting, values)

    grid = [cell((d / n) ** rate, n=n, d=d, width=64, xi=1.0) for n, d in predictor.GRID]
    growing = [cell(0.1, n=400, d=5, width=h, xi=1.0) for h in predictor.GROWING]
    spread = [Cell({"n": 100, "d": 2, "width": 64, "xi": 1.0}, {"square": rng.chisquare(200, 600) / 200})]
    results = {"network-predictor": grid, "network-predictor-width": growing, "network-spread": spread}
    report = predictor.report(results, Options(Path()))
    found = {verdict.name: verdict.status for verdict in evidence.decide(report.claims)}
    exponents = [found.pop(f"network, predictor's threshold: exponent of {name}") for name in "dn"]
    assert exponents == [expected] * 2
    assert set(found.values()) == {"supported"}


@pytest.mark.parametrize("criterion", ["parameter", "loss", "clean-loss"])
def test_network_and_twin_have_the_same_threshold(claims, criterion):
    """Exactly for a linear activation; nearly for a wide tanh; not for a lazy one's losses."""
    base = {"n": 100, "d": 10, "width": 64, "data": 0, "criterion": criterion, "n_steps": 60}
    base |= {"activation": "tanh", "init": "vanishing", "xi": 1.0}

    def thresholds(**changed):
        return claims.networks.threshold_block(base | changed, range(3), 1)

    linear = thresholds(activation="linear")
    np.testing.assert_allclose(linear["network"], linear["twin"], rtol=1e-8)
    np.testing.assert_allclose(linear["twin"], linear["exact"], rtol=0.03)
    assert (linear["exact"] > 0).all()
    wide = thresholds()
    np.testing.assert_array_equal(wide["exact"], linear["exact"])
    np.testing.assert_allclose(wide["network"], wide["twin"], rtol=0.05)
    assert (wide["network"] != wide["twin"]).all()
    if criterion != "parameter":
        lazy = thresholds(init="lazy")
        assert (lazy["network"] > 1.2 * lazy["twin"]).all()


def test_crossings(claims):
    crossing = claims.networks.crossing
    for guess in (0.01, 0.3, 0.9):
        assert crossing(lambda eps: eps**2 - 0.25, guess, 10.0) == pytest.approx(0.5, rel=1e-4)
    assert crossing(lambda eps: eps, 0.3, 10.0) == 0.0
    assert crossing(lambda eps: -1.0, 0.3, 10.0) == math.inf
    assert crossing(lambda eps: eps - 4.9, 7.0, 5.0) == pytest.approx(4.9, rel=1e-4)


def test_mean_square(claims):
    """Exact for a linear predictor; for x₁ + x₁² it is E x₁² + E x₁⁴ = 4, five standard errors of 2e-2."""
    mean_square = claims.networks.mean_square
    points = lp.stream(3, "points").standard_normal((200_000, 2))
    beta = np.array([3.0, 4.0])
    assert mean_square(beta, points[:10] @ beta, points[:10]) == pytest.approx(25, rel=1e-12)
    values = points[:, 0] + points[:, 0] ** 2
    for beta in ([1.0, 0.0], [0.0, 0.0]):
        assert mean_square(np.array(beta), values, points) == pytest.approx(4, abs=0.15)


def test_quick_run_of_the_script(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(SIMULATIONS))
    import proposition1

    assert main(proposition1.STUDY, ["--quick", "--jobs", "1", "--out", str(tmp_path / "run")]) == 0
    verdicts = json.loads((tmp_path / "run" / "verdict.json").read_text())["verdicts"]
    names = " ".join(verdict["name"] for verdict in verdicts)
    for claim in ("1/h", "predictor's threshold", "eps*", "eps_C", "xi = 0", "lazy", "p-value", "FGM misses"):
        assert claim in names
    drawn = {path.stem for path in (tmp_path / "run").glob("*.png")}
    assert drawn >= {"network_width", "network_paths", "network_thresholds", "network_p_values"}
