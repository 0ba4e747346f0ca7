"""Tables as text, their comparison, and the way of a finished run into the results."""

import sys
from pathlib import Path

import numpy as np
import pytest
from toy_study import flat

import linphase.__main__ as launcher
from linphase.study import Part, Study, main, promote, redraw, tables


def test_numbers_in_tables():
    cells = [1, np.int32(2), True, np.bool_(False), 0.1, -0.0, np.float64(1 / 3), np.inf, np.nan, None, "a,b"]
    text = tables.to_csv([{"a": cell, "b": 1} for cell in cells])
    assert text.split("\n")[:-1] == ["a,b"] + [
        f"{c},1" for c in ("1", "2", "true", "false", "0.1", "0", "0.3333333333", "inf", "nan", "", '"a,b"')
    ]
    assert tables.to_csv([{"a": 1}, {"b": 2}]) == "a,b\n1,\n,2\n"


def test_latex_tables_escape_and_align():
    tex = tables.to_tex({"p": [{"a_b": 1.5e-7, "c": "ε & 50%"}, {"a_b": np.inf, "c": None}], "empty": []})
    assert r"\begin{tabular}{rl}" in tex
    assert r"a\_b & c \\" in tex
    assert r"$1.5 \times 10^{-7}$ & $\varepsilon$ \& 50\% \\" in tex
    assert r"$\infty$ &  \\" in tex
    assert "empty" not in tex


def test_columns_survive_their_csv():
    columns = {"x": np.array([1, 2]), "y": np.array([0.1, np.nan]), "s": np.array(["a", "1"])}
    back = tables.columns_from_csv(tables.columns_to_csv(columns))
    for name, column in columns.items():
        np.testing.assert_array_equal(back[name], column)


@pytest.mark.parametrize(
    ("ours", "says"),
    [
        ("a,b\n1,2\n", "equals the committed one byte for byte"),
        ("a,b\n1,2\n3,4\n", "has other rows or columns than the committed one (2 rows here, 1 there)"),
        ("a,c\n1,2\n", "has other rows or columns than the committed one (1 rows here, 1 there)"),
        (
            "a,b\n1.1,3\n",
            "differs from the committed one in 2 of 2 entries, most in b of row 1: 3 here, 2 there",
        ),
        (
            "a,b\nx,3\n",
            "differs from the committed one in 2 of 2 entries, most in a of row 1: x here, 1 there",
        ),
        (
            "a,b\n1,nan\n",
            "differs from the committed one in 1 of 2 entries, most in b of row 1: nan here, 2 there",
        ),
    ],
)
def test_comparison_of_tables(ours, says):
    assert tables.compare(ours, "a,b\n1,2\n") == says


def test_only_full_runs_are_promoted_and_figures_are_redrawn_from_results(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(launcher, "HOME", tmp_path / "linphase")
    monkeypatch.setattr(launcher, "CHECKOUT", tmp_path / "simulations")
    results = tmp_path / "simulations" / "results" / "flat"
    results.mkdir(parents=True)
    (tmp_path / "simulations" / "flat.py").touch()

    def launch(*words):
        monkeypatch.setattr(sys, "argv", ["linphase", *words])
        code = launcher.main()
        return code, "".join(capsys.readouterr())

    usage = "python -m linphase [promote] NAME [flags], with NAME one of flat"
    assert launch() == (2, f"{usage}\n")
    assert launch("-h")[0] == 0
    assert launch("flta") == launch("promote", "flta") == (2, f"'flta' is no simulation: {usage}\n")
    assert launch("promote", "flat") == (2, "only a finished run can be promoted, out/flat holds none\n")
    main(flat(), ["--quick", "--jobs", "1"])
    code, text = launch("promote", "flat", "--out", "out/flat-quick")
    assert code == 2
    assert "only a run at full scale can be promoted" in text
    main(flat(reps=4), ["--reps", "3", "--jobs", "1"])
    assert launch("promote", "flat")[0] == 2

    def paint(figures, folder):
        (folder / "wave.pdf").write_text(str(figures["wave"]["x"]) + str(figures["sheet"]["y"]))

    study = flat(figures={"wave": {"x": np.arange(3)}, "sheet": {"y": np.eye(2)}, "old": {"x": np.arange(2)}})
    painted = Study("flat", "", [Part("part", study.parts[0].experiments, study.parts[0].report, paint)])
    main(painted, ["--jobs", "1"])
    assert not list(results.iterdir())  # a run by itself touches nothing that is committed
    assert launch("promote", "flat")[0] == 0
    kept = {path.name for path in results.iterdir()}
    assert kept == {
        "table.csv",
        "table.tex",
        "verdict.json",
        "run.json",
        "figure_wave.csv",
        "figure_sheet.npz",
        "figure_old.csv",
    }
    first = (tmp_path / "figures" / "wave.pdf").read_bytes()
    assert first == Path("out/flat/wave.pdf").read_bytes()
    assert redraw(painted, results, tmp_path / "again") == [tmp_path / "again" / "wave.pdf"]
    assert (tmp_path / "again" / "wave.pdf").read_bytes() == first

    main(flat(reps=4), ["--reps", "5", "--jobs", "1"])
    promote(Path("out/flat"), results, tmp_path / "figures")
    assert {path.name for path in results.iterdir()} == {"table.csv", "table.tex", "verdict.json", "run.json"}
    assert not list((tmp_path / "figures").iterdir())
