"""Tables 1, 3 and 4: quick runs of the scripts, and reports that planted results decide as they should."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from linphase import evidence
from linphase.study import Cell, Options, main

pytest.importorskip("torch")

SIMULATIONS = Path(__file__).resolve().parents[1] / "simulations"
OWN = {
    "dataset": "digits", "data": None, "download": False, "device": "cpu", "epochs": None, "scratch": "full"
}  # fmt: skip


@pytest.fixture
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(SIMULATIONS))
    return sys.path


def planted(exponent_n, exponent_width, rng, attack=0.6, tuned=1.0, cost=0.03):
    """Cells with ε* = n^a width^b and ten noisy seeds."""
    cells = []
    for n in (140, 350, 700, 1400):
        for width in (16, 64):
            law = (n / 140) ** exponent_n * (width / 16) ** exponent_width
            eps = 0.05 * law * np.exp(0.2 * rng.standard_normal(10))
            values = {"eps scratch": eps, "eps evaluated": eps, "eps attack-only": attack * eps}
            values |= {"target": np.full(10, 0.3)}
            factors = np.array([0.5, 1.0, 2.0])  # of ε*, where the loss crosses R
            values |= {"trace_eps": eps[:, None] * factors, "trace_loss": np.outer(np.full(10, 0.3), factors)}
            values["repeated"] = np.zeros(10, dtype=int)
            values["trace_train_accuracy"] = np.full((10, 3), 0.9)
            setting = {"dataset": "digits", "network": "mlp", "width": width, "n": n, "epochs": 60}
            noisy = np.exp(0.1 * rng.standard_normal(10))
            for name in ("follow", "FGM,1", "FGM,3", "PGD,1", "PGD,3"):
                values[f"eps {name}"] = tuned * eps * noisy
                values[f"masked {name}"] = np.zeros(10, dtype=bool)
            for name in ("scratch", "attack-only", "follow", "FGM,1", "FGM,3", "PGD,1", "PGD,3"):
                share = 1.0 if name == "scratch" else cost * np.exp(0.01 * rng.standard_normal(10))
                values |= {
                    f"passes {name}": 1000.0 * share * np.ones(10),
                    f"seconds {name}": share * np.ones(10),
                }
            cells.append(Cell(setting | {"norm": "linf", "loss": "cross-entropy"}, values))
    return cells


def decided(claims):
    return {
        claim.name.split(":")[0]: v.status for claim, v in zip(claims, evidence.decide(claims), strict=True)
    }


@pytest.mark.parametrize(
    ("n", "width", "statuses"),
    [
        (-0.3, 0.3, ("supported", "supported")),
        (0.3, -0.3, ("refuted", "refuted")),
        (0, 0, ("inconclusive",) * 2),
    ],
)
def test_signs_of_the_exponents_are_decided(scripts, tmp_path, n, width, statuses):
    from claims import deep_size

    cells = planted(n, width, np.random.default_rng(1))
    report = deep_size.report({"critical-strength": cells}, Options(tmp_path, own=OWN))
    found = decided(report.claims)
    assert found["eps* falls as n grows"] == statuses[0]
    assert found["eps* rises with the width"] == statuses[1]
    assert found["the attack-only root lies below eps*, in more than two thirds of runs"] == "supported"


def test_exponents_are_recovered(scripts):
    from claims.deep_cells import laws

    found = laws(planted(-0.4, 0.25, np.random.default_rng(2)))
    assert abs(found["n"].value + 0.4) < 4 * found["n"].se
    assert abs(found["width"].value - 0.25) < 4 * found["width"].se
    assert found["n"].se < 0.05


def test_strengths_of_0_and_infinity_are_counted(scripts):
    """A mean leaves them out; a law takes the smallest and the largest strength found in their place."""
    from claims.deep_cells import join, laws, summary

    cells = planted(-0.4, 0.25, np.random.default_rng(3))
    eps = cells[0].values["eps scratch"]
    eps[:3] = [np.inf, 0.0, np.inf]
    row = summary(eps, experiment="x")
    assert (row["replicates"], row["failures"]) == (7, 3)
    found = laws(cells)["n"]
    assert (found.n, found.failures) == (77, 3)
    usual = np.concatenate([eps[3:], join(cells[1:], "eps scratch")])
    eps[:3] = [usual.max(), usual.min(), usual.max()]
    plain = laws(cells)["n"]
    assert (plain.value, plain.se, plain.failures) == (found.value, found.se, 0)
    eps[0] = np.nan
    assert (laws(cells)["n"].n, laws(cells)["n"].failures) == (79, 1)


@pytest.mark.parametrize(("lost", "status"), [(1, "supported"), (2, "inconclusive")])
@pytest.mark.parametrize("answer", [0.0, np.inf])
def test_a_law_stays_open_where_more_than_a_tenth_of_a_cell_is_lost(scripts, tmp_path, answer, lost, status):
    from claims import deep_size

    cells = planted(-0.8, 0.25, np.random.default_rng(3))
    cells[-1].values["eps scratch"][:lost] = answer
    report = deep_size.report({"critical-strength": cells}, Options(tmp_path, own=OWN))
    assert decided(report.claims)["eps* falls as n grows"] == status


@pytest.mark.parametrize(("scale", "status"), [(1.0, "supported"), (40.0, "refuted")])
def test_the_customary_strength_is_compared(scripts, tmp_path, scale, status):
    from claims import deep_size

    cells = planted(-0.3, 0.3, np.random.default_rng(6))
    for cell in cells:
        cell.values["eps scratch"] *= scale
    report = deep_size.report({"critical-strength": cells}, Options(tmp_path, own=OWN))
    assert (
        decided(report.claims)["eps* is below the customary 0.3, in more than two thirds of runs"] == status
    )


def test_the_runs_of_the_first_seed_are_drawn(scripts, tmp_path):
    from claims import deep_size

    cells = planted(-0.3, 0.3, np.random.default_rng(7))
    cells[0].values["trace_eps"][0, 2] = np.nan  # room that a search did not need
    traces = deep_size.report({"critical-strength": cells}, Options(tmp_path, own=OWN)).figures[
        "critical_traces"
    ]
    assert traces["eps"].size == 3 * len(cells) - 1
    first = (traces["n"] == 140) & (traces["width"] == 64)
    assert np.interp(
        traces["eps_star"][first][0], traces["eps"][first], traces["loss"][first]
    ) == pytest.approx(traces["target"][first][0])


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ((0.1, 0.2, 0.3, 0.4, 0.5, 0.6), ("supported", "supported")),
        ((0.1, 0.2, 0.15, 0.4, 0.5, 0.6), ("refuted", "supported")),
        ((0.1, 0.12, 0.14, 0.16, 0.18, 0.2), ("supported", "refuted")),  # below R over the whole grid
        ((0.1, 0.4, 0.5, 0.6, 0.7, 0.8), ("supported", "refuted")),  # above it from the first strength on
    ],
)
def test_the_training_loss_rises_and_crosses(scripts, tmp_path, losses, expected):
    from claims import deep_rows

    noise = 0.005 * np.random.default_rng(8).standard_normal((10, 6))
    values = dict.fromkeys(deep_rows.NAMES, 0.3 + noise) | {"train_loss": np.array(losses) + noise[::-1]}
    report = deep_rows.report({"rows": [Cell({"dataset": "digits"}, values)]}, Options(tmp_path, own=OWN))
    assert tuple(v.status for v in evidence.decide(report.claims)) == expected


@pytest.mark.parametrize(
    ("factor", "little", "more"), [(1.3, "supported", "supported"), (0.3, "refuted", "refuted")]
)
def test_robust_losses_are_compared_at_one_level(scripts, factor, little, more):
    """That of cross-entropy's clean model; the other losses have others, which are not asked."""
    from claims import deep_robust

    rng, cells = np.random.default_rng(9), []
    for loss in ("cross-entropy", *deep_robust.LOSSES):
        stars = 0.25 * (1 if loss == "cross-entropy" else factor) * np.exp(0.05 * rng.standard_normal(10))
        eps = np.array([0.0, 1.0, 4.0]) * stars[:, None]
        values = {"trace_eps": eps, "trace_evaluated": 0.25 * eps / stars[:, None]}
        values |= {"target": np.full(10, 0.25 if loss == "cross-entropy" else 0.9)}
        setting = {"dataset": "digits", "network": "mlp", "width": 16, "n": 440, "epochs": 9, "norm": "linf"}
        cells.append(Cell(setting | {"loss": loss}, values))
    rows, claims = deep_robust.compare({"critical-strength": cells[:1], "robust-loss": cells[1:]})
    assert [row["loss"] for row in rows if row["experiment"].startswith("eps*")] == [
        "cross-entropy",
        "trades",
        "mart",
    ]
    assert [v.status for v in evidence.decide(claims)] == [little, more]


def test_an_attack_only_root_above_is_refuted(scripts, tmp_path):
    from claims import deep_size

    cells = planted(-0.3, 0.3, np.random.default_rng(4), attack=1.5)
    report = deep_size.report({"critical-strength": cells}, Options(tmp_path, own=OWN))
    assert (
        decided(report.claims)["the attack-only root lies below eps*, in more than two thirds of runs"]
        == "refuted"
    )


@pytest.mark.parametrize(("star", "status"), [(np.inf, "supported"), (0.0, "refuted")])
def test_the_bound_by_the_attack_only_root_counts_strengths_of_0_and_infinity(
    scripts, tmp_path, star, status
):
    from claims import deep_size

    cells = planted(-0.3, 0.3, np.random.default_rng(4))
    for cell in cells:
        cell.values["eps evaluated"] = np.full(10, star)
    report = deep_size.report({"critical-strength": cells}, Options(tmp_path, own=OWN))
    claims = decided(report.claims)
    assert claims["the attack-only root lies below eps*, in more than two thirds of runs"] == status


@pytest.mark.parametrize(("power", "status"), [(0.5, "supported"), (-0.5, "refuted")])
def test_the_growth_with_the_schedule_is_decided_on_common_seeds(scripts, tmp_path, power, status):
    from claims import deep_size

    rng = np.random.default_rng(8)
    cells = planted(-0.3, 0.3, rng)
    usual = cells[-1]
    lengths = []
    for epochs in (20, 180):
        star = usual.values["eps scratch"] * (epochs / 60) ** power * np.exp(0.1 * rng.standard_normal(10))
        lengths.append(Cell(usual.setting | {"epochs": epochs}, usual.values | {"eps scratch": star}))
    lengths[0].values["eps scratch"][2] = np.inf
    results = {"critical-strength": cells, "schedule": lengths}
    report = deep_size.report(results, Options(tmp_path, own=OWN))
    (growth,) = [row for row in report.rows if row["experiment"] == "exponent of the epochs in eps*"]
    assert abs(growth["estimate"] - power) < 4 * growth["se"] < 0.2
    assert (growth["replicates"], growth["failures"]) == (9, 1)
    assert decided(report.claims)["eps* grows with the schedule"] == "inconclusive"  # for the lost seed
    lengths[0].values["eps scratch"][2] = 0.05 * (1 / 3) ** power
    whole = deep_size.report(results, Options(tmp_path, own=OWN))
    assert decided(whole.claims)["eps* grows with the schedule"] == status

    drawn = report.figures["critical_lengths"]
    assert drawn["epochs"].tolist() == [20] * 9 + [60] * 10 + [180] * 10
    assert set(drawn["eps"][9:19]) == set(usual.values["eps scratch"])
    deep_size.draw(report.figures, tmp_path)
    assert (tmp_path / "critical_sizes.png").exists()


def test_runs_at_chance_are_counted(scripts, tmp_path):
    from claims import deep_size

    cells = planted(-0.3, 0.3, np.random.default_rng(9))
    cells[0].values["trace_train_accuracy"][:4, 1] = 0.11
    cells[0].values["trace_eps"][0, 1] = np.nan  # room that a search did not need
    rows = deep_size.report({"critical-strength": cells}, Options(tmp_path, own=OWN)).rows
    counted = [row for row in rows if row["experiment"] == "runs from scratch that stayed at chance"]
    assert [row["estimate"] for row in counted] == [3] + [0] * 7
    assert [row["replicates"] for row in counted] == [29] + [30] * 7


def test_an_eps_star_below_a_failed_run_is_counted(scripts, tmp_path):
    from claims import deep_size

    cells = planted(-0.3, 0.3, np.random.default_rng(10))
    cells[1].values["trace_train_accuracy"][2:5, 2] = 0.11  # at twice ε*
    cells[1].values["trace_train_accuracy"][6, 0] = 0.11  # at half of it
    cells[1].values["eps scratch"][4] = np.inf
    rows = deep_size.report({"critical-strength": cells}, Options(tmp_path, own=OWN)).rows
    counted = [row for row in rows if row["experiment"].startswith("seeds whose next strength")]
    assert [row["estimate"] for row in counted] == [0, 2] + [0] * 6
    assert {row["replicates"] for row in counted} == {10}


def test_other_schedules_are_tried_on_the_seeds_of_the_usual_one(scripts, tmp_path):
    from claims import deep_schedule
    from claims.deep_sets import nets

    options = Options(tmp_path, own=OWN | {"dataset": "mnist", "sizes": "small"})
    (experiment,) = deep_schedule.experiments(options)
    (net,) = [n for n in nets(options) if (n.width, n.n) == (128, 1000)]
    assert [s["epochs"] for s in experiment.settings] == list(deep_schedule.LENGTHS["mnist"])
    assert {(s["width"], s["n"]) for s in experiment.settings} == {(128, 1000)}
    assert {experiment.replicates(s, None) for s in experiment.settings} == {net.seeds}
    assert deep_schedule.experiments(Options(tmp_path, own=OWN)) == []


def test_small_sizes_leave_out_the_largest(scripts, tmp_path):
    import table3
    from claims.deep_sets import nets

    def sizes(dataset, **own):
        return {net.n for net in nets(Options(tmp_path, own=OWN | {"dataset": dataset} | own))}

    assert sizes("mnist") - sizes("mnist", sizes="small") == {50_000}
    assert sizes("digits", sizes="all") - sizes("digits", sizes="small") == {1400}
    assert sizes("svhn", sizes="small") == {50_000}  # the only one
    chosen = OWN | {"dataset": "mnist", "sizes": "small"}
    assert table3.STUDY.variant_of(chosen) == "mnist-small"
    assert table3.STUDY.variant_of(chosen | {"sizes": "all"}) == "mnist"


@pytest.mark.parametrize(
    ("ratio", "cost", "status"),
    [(1.0, 0.03, "supported"), (2.0, 0.03, "refuted"), (1.0, 0.3, "refuted"), (0.4, 0.03, "refuted")],
)
def test_fine_tuning_must_be_near_and_cheap(scripts, tmp_path, ratio, cost, status):
    from claims import deep_methods

    cells = planted(-0.3, 0.3, np.random.default_rng(5), tuned=ratio, cost=cost)
    report = deep_methods.report({"critical-strength": cells}, Options(tmp_path, own=OWN))
    assert [v.status for v in evidence.decide(report.claims)] == [status] * 5


def test_a_single_training_from_scratch_is_told_with_its_chord_and_decides_nothing(scripts, tmp_path):
    from claims import deep_methods
    from claims.deep_sets import NETS, setting

    cells = planted(-0.5, 0.3, np.random.default_rng(0))
    report = deep_methods.report(
        {"critical-strength": cells}, Options(tmp_path, own=OWN | {"scratch": "once"})
    )
    names = [row["experiment"] for row in report.rows[:11]]
    assert "eps*, scratch: one run where following leads, and a line" in names
    assert "training loss, from scratch at the followed strength" in names
    assert report.claims == []
    assert report.figures == {}
    for choice, told in (("full", {}), ("once", {"once": True})):
        own = setting(NETS["digits"][0], Options(tmp_path, own=OWN | {"scratch": choice}), tuned=True)
        assert own.items() >= told.items()
        assert ("once" in own) == bool(told)


def test_one_network_far_from_scratch_refutes(scripts, tmp_path):
    from claims import deep_methods

    cells = planted(-0.3, 0.3, np.random.default_rng(6))
    cells[3].values["eps follow"] *= 2
    report = deep_methods.report({"critical-strength": cells}, Options(tmp_path, own=OWN))
    refuted = [v.name for v in evidence.decide(report.claims) if v.status == "refuted"]
    assert len(refuted) == 1
    assert "following" in refuted[0]


@pytest.mark.parametrize(
    ("name", "figures"),
    [
        ("table1", {"critical_losses"}),
        ("table3", {"critical_sizes", "critical_traces"}),
        ("table4", {"critical_methods"}),
    ],
)
def test_quick_run_of_the_script(scripts, tmp_path, name, figures):
    study = __import__(name).STUDY
    code = main(study, ["--quick", "--epochs", "4", "--jobs", "1", "--out", str(tmp_path / "run")])
    assert code in (0, 1)  # so short a schedule may well contradict the paper
    verdicts = json.loads((tmp_path / "run" / "verdict.json").read_text())["verdicts"]
    assert verdicts or name == "table4"  # whose claims need an error for each network
    assert len((tmp_path / "run" / "table.csv").read_text().splitlines()) > 5
    assert {path.stem for path in (tmp_path / "run").glob("*.png")} == {f"{f}_digits" for f in figures}


def test_dry_run_says_the_cost_and_writes_nothing(scripts, tmp_path, capsys):
    import table3

    assert main(table3.STUDY, ["--dry-run", "--dataset", "cifar10", "--out", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    assert "preact-resnet18" in said
    assert "passes" in said
    assert not (tmp_path / "run").exists()


def test_missing_data_is_one_sentence(scripts, tmp_path, capsys):
    import table1

    arguments = [
        "--dataset",
        "mnist",
        "--data",
        str(tmp_path / "none"),
        "--jobs",
        "1",
        "--out",
        str(tmp_path),
    ]
    assert main(table1.STUDY, arguments) == 2
    assert "none" in capsys.readouterr().err.strip().splitlines()[-1]
