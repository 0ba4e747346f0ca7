"""Claims of connectivity, overfitting and Table 2: planted results decide as they should, wrong ones too."""

from pathlib import Path

import numpy as np
import pytest

from linphase import evidence
from linphase.study import Cell, Options

pytest.importorskip("torch")

SIMULATIONS = Path(__file__).resolve().parents[1] / "simulations"
OWN = {"dataset": "digits", "data": None, "download": False, "device": "cpu", "epochs": None}
SEEDS = 12


@pytest.fixture
def rng(monkeypatch):
    monkeypatch.syspath_prepend(str(SIMULATIONS))
    return np.random.default_rng(3)


def statuses(part, name, cells, folder):
    """Verdicts by title, of a report whose figures are drawn."""
    report = part.report({name: cells}, Options(folder, own=OWN))
    part.draw(report.figures, folder)
    return {verdict.name: verdict.status for verdict in evidence.decide(report.claims)}


# ---------------------------------------------------------------------------------------------- connectivity

FLAT, HIGH = (0, 0, 0, 0, 1, 3), (0, 1, 1, 1, 1, 3)  # by multiple of ε*: 0, ¼, ½, 1, 2, 4
FALLS = (3, 3, 3, 3, 1, 0)


def paths(rng, barrier, asymmetry):
    """Cell of connectivity with planted means by multiple of ε*, in units of R and of tenths."""
    from claims import deep_connectivity as module

    k, grid = len(module.MULTIPLES), module.GRID
    values = {name: 0.02 * rng.standard_normal((SEEDS, k)) for name in ("straight", "excess")}
    values["barrier"] = np.array(barrier, dtype=float) + 0.02 * rng.standard_normal((SEEDS, k))
    for name in module.WINDOWS:
        values[name] = np.array(asymmetry) / 4 + 0.02 * rng.standard_normal((SEEDS, k))
    values["border"] = np.full((SEEDS, k), 0.5)
    values |= {name: np.ones((SEEDS, k, module.POINTS)) for name in module.CURVES}
    axis = np.broadcast_to(np.linspace(-1, 1, grid), (SEEDS, k, grid))
    bowl = 0.1 + axis[..., None] ** 2 + axis[..., None, :] ** 2
    values |= {"x": axis, "y": axis, "plane": bowl, "corners": np.zeros((SEEDS, k, 3, 2))}
    values |= {"path": np.zeros((SEEDS, k, 101, 2)), "eps_star": np.full(SEEDS, 0.1)}
    return Cell({"dataset": "digits", "network": "mlp"}, values | {"target": np.full(SEEDS, 0.3)})


@pytest.mark.parametrize(
    ("means", "expected"),
    [
        (FLAT, ("supported", "supported", "supported")),
        (HIGH, ("refuted", "refuted", "inconclusive")),
        (FALLS, ("supported", "supported", "refuted")),
    ],
)
@pytest.mark.parametrize("name", ["barrier", "asymmetry"])
def test_a_path_is_flat_up_to_eps_star_and_rises_past_it(rng, tmp_path, name, means, expected):
    from claims import deep_connectivity

    other = {"barrier": FLAT, "asymmetry": FLAT} | {name: means}
    found = statuses(deep_connectivity.PART, "connectivity", [paths(rng, **other)], tmp_path)
    titles = (
        f"{name}, eps <= eps*/2: as between clean models",
        f"{name}, eps = eps*: as between clean models",
        f"{name} rises past eps*",
    )
    assert tuple(found[title] for title in titles) == expected
    assert (tmp_path / "planes.png").exists()


def test_symmetry_must_hold_in_both_windows(rng, tmp_path):
    from claims import deep_connectivity

    cell = paths(rng, FLAT, FLAT)
    cell.values["asymmetry wide"][:, 2] += 0.2
    found = statuses(deep_connectivity.PART, "connectivity", [cell], tmp_path)
    assert found["asymmetry, eps <= eps*/2: as between clean models"] == "refuted"
    assert found["asymmetry, eps = eps*: as between clean models"] == "supported"


def test_a_seed_without_a_low_region_leaves_symmetry_open(rng, tmp_path):
    from claims import deep_connectivity

    cell = paths(rng, FLAT, FLAT)
    cell.values["asymmetry"][0, 5] = np.nan
    found = statuses(deep_connectivity.PART, "connectivity", [cell], tmp_path)
    assert {status for name, status in found.items() if "asymmetry" in name} == {"inconclusive"}
    assert found["barrier rises past eps*"] == "supported"


# ----------------------------------------------------------------------------------------------- overfitting


def histories(rng, growth, epochs=20):
    """Cell of overfitting whose gap grows by a factor after the reference epoch, by multiple of ε*."""
    from claims import deep_overfitting as module

    late = np.arange(epochs) >= module.windows(epochs)[0].stop
    gaps = 0.2 * np.where(late, np.array(growth, dtype=float)[:, None], 1.0)
    gaps = gaps * (1 + 0.02 * rng.standard_normal((SEEDS, len(growth), epochs)))
    train = np.full(gaps.shape, 0.1)
    values = {"train": train, "test": train + gaps, "eps_star": np.full(SEEDS, 0.1)}
    setting = {"dataset": "digits", "network": "mlp", "epochs": epochs}
    return Cell(setting, values | {"target": np.full(SEEDS, 0.3)})


@pytest.mark.parametrize(
    ("growth", "expected"),
    [
        ((1, 1, 1, 1, 1.5, 2), ("supported", "supported", "supported")),
        ((1, 1, 1.4, 1.4, 1.5, 2), ("refuted", "refuted", "supported")),
        ((1, 1, 1, 1, 1, 1), ("supported", "supported", "refuted")),
        ((1, 1, 1, 1, 1.5, 1), ("supported", "supported", "refuted")),
        ((1.5, 1, 1, 1, 1.2, 1.2), ("refuted", "refuted", "refuted")),
        ((1.5, 1.5, 1.5, 1.5, 1.5, 1.5), ("supported", "supported", "inconclusive")),
    ],
)
def test_gaps_stay_up_to_eps_star_and_grow_past_it(rng, tmp_path, growth, expected):
    from claims import deep_overfitting

    found = statuses(deep_overfitting.PART, "overfitting", [histories(rng, growth)], tmp_path)
    assert tuple(found.values()) == expected


def test_schedules_are_those_of_multiples_of_eps_star(rng, tmp_path):
    from claims.deep_start import setting

    mnist = OWN | {"dataset": "mnist"}
    for options, epochs in (
        (Options(tmp_path, own=mnist), 10),
        (Options(tmp_path, own=mnist, quick=True), 5),
        (Options(tmp_path, own=mnist | {"epochs": 7}), 7),
        (Options(tmp_path, own=mnist | {"epochs": 7}, quick=True), 7),
    ):
        assert setting(options, 10_000)["epochs"] == epochs


# ------------------------------------------------------------------------------------------------ Table 2


def trainings(rng, star=0.04, unstable=0.2, fgm=1.0, held=0.3, sizes=(1400, 440)):
    """Cells of Table 2: ε*, FGSM unstable from a strength on, ε* by FGM, what PGD training holds there."""
    from claims import deep_catastrophic as module

    cells = []
    for n in sizes:
        setting = {"dataset": "digits", "network": "mlp", "n": n, "every": 1}
        eps = np.array(module.strengths(setting))
        stable = eps[eps < unstable]
        values = {"eps_star": star * np.exp(0.1 * rng.standard_normal(SEEDS)), "target": np.full(SEEDS, 0.3)}
        values["eps_fgm"] = fgm * values["eps_star"] * np.exp(0.05 * rng.standard_normal(SEEDS))
        for name in module.TRAININGS:
            single = name in module.ONE_STEP
            for column in module.COLUMNS:
                values[f"{column} {name}"] = 0.8 + 0.01 * rng.standard_normal((SEEDS, eps.size))
            if single:
                values[f"judged_accuracy {name}"] -= held * (eps >= unstable)
            values[f"smallest {name}"] = np.full(SEEDS, unstable if single else np.inf)
            values[f"last_stable {name}"] = np.full(SEEDS, stable[-1] if single and stable.size else 0.0)
        cells.append(Cell(setting, values))
    return cells


@pytest.mark.parametrize(
    ("changes", "order", "others"),
    [
        ({}, "supported", ("supported", "supported")),
        ({"star": 0.3}, "refuted", ("supported", "supported")),
        ({"unstable": 0.05, "star": 0.04}, "inconclusive", ("supported", "supported")),
        ({"unstable": 0.05, "star": 0.001}, "inconclusive", ("supported", "supported")),
        ({"unstable": 0.05, "star": 0.06}, "refuted", ("supported", "supported")),
        ({"unstable": np.inf, "star": 0.5}, "inconclusive", ("refuted", "supported")),
        ({"fgm": 2.0}, "supported", ("supported", "refuted")),
        ({"held": 0.0}, "supported", ("refuted", "supported")),
    ],
)
def test_eps_star_lies_below_the_smallest_unstable_strength(rng, tmp_path, changes, order, others):
    from claims import deep_catastrophic

    found = statuses(deep_catastrophic.PART, "catastrophic", trainings(rng, **changes), tmp_path)
    assert tuple(found.values()) == (order,) * 4 + others


@pytest.mark.parametrize(("star", "status"), [(np.inf, "refuted"), (0.0, "supported")])
def test_an_infinite_or_vanishing_eps_star_is_not_left_out(rng, tmp_path, star, status):
    """∞ lies above every strength, 0 below: the first forbids support, the second refutation."""
    from claims import deep_catastrophic

    cells = trainings(rng, star=0.3 if status == "refuted" else 0.04)
    found = statuses(deep_catastrophic.PART, "catastrophic", cells, tmp_path)
    assert set(list(found.values())[:4]) == {status}
    for cell in cells:
        cell.values["eps_star"][0] = star
    found = statuses(deep_catastrophic.PART, "catastrophic", cells, tmp_path)
    assert set(list(found.values())[:4]) == {"inconclusive"}
    assert found["FGM suffices to find eps*"] == "inconclusive"


def test_a_strength_that_some_seeds_do_not_reach_has_its_median(rng, tmp_path):
    from claims import deep_catastrophic

    cells = trainings(rng, sizes=(440,))
    smallest = cells[0].values["smallest FGSM"]
    smallest[: SEEDS // 2 + 1] = np.inf
    rows = deep_catastrophic.report({"catastrophic": cells}, Options(tmp_path, own=OWN)).rows
    (row,) = [r for r in rows if r.get("training") == "FGSM" and r["experiment"].startswith("smallest")
              and "over" not in r["experiment"]]  # fmt: skip
    assert row["estimate"] == np.inf
    assert row["experiment"].endswith(f"median ({SEEDS // 2 + 1} of {SEEDS} infinite)")
    (row,) = [r for r in rows if r.get("training") == "FGSM" and r["experiment"] == "last stable eps"]
    assert "se" not in row  # all seeds agree on a strength of the grid


def test_a_strength_that_was_not_found_is_a_failure(rng):
    from claims.deep_catastrophic import _strength

    some = _strength(np.array([0.1, np.nan, np.inf, np.inf]), experiment="eps*")
    assert some == {
        "experiment": "eps*, median (2 of 3 infinite)", "estimate": np.inf, "replicates": 3, "failures": 1
    }  # fmt: skip
    mean = _strength(np.array([0.1, 0.3, np.nan]), experiment="eps*")
    assert (mean["estimate"], mean["replicates"], mean["failures"]) == (pytest.approx(0.2), 2, 1)
    none = _strength(np.full(2, np.nan), experiment="eps*")
    assert (none["replicates"], none["failures"]) == (0, 2)


def test_sizes_are_decided_one_by_one(rng, tmp_path):
    from claims import deep_catastrophic

    cells = trainings(rng, sizes=(1400,)) + trainings(rng, star=0.3, sizes=(440,))
    found = statuses(deep_catastrophic.PART, "catastrophic", cells, tmp_path)
    assert list(found.values())[:4] == ["supported", "refuted"] * 2
