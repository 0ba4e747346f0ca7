import importlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import linphase
import linphase.__main__ as launcher
from linphase import evidence
from linphase.streams import stream
from linphase.study import (
    Experiment,
    Options,
    Part,
    Report,
    Study,
    digest,
    main,
    modules,
    promote,
    redraw,
    row,
    tables,
)

ROOT = Path(linphase.__file__).resolve().parents[1]

PARTS = '''
"""A docstring."""
import os, time
from functools import cache
import numba
import numpy as np
from numba import njit
from threadpoolctl import threadpool_info
import toyparts.helpers as helpers
import linphase as lp
from linphase import evidence
from linphase.streams import stream
from linphase.study import Experiment, Part, Report, row

SCALES = {"half": 0.5, "one": 1.0}
NAMES = {"a", "b", "c"}
CAPTION = "caption"

@njit(cache=True)
def kernel(x):
    return x * 1.0

@cache
def shift():
    return 0.25

class Law:
    def __init__(self, width):
        self.width = width
    def draw(self, rng, size=3):
        return rng.normal(0, self.width, size)

LAW = Law(1.0)

def block(setting, replicates, seed, power=1):
    """Draw."""  # with care
    time.sleep(float(os.environ.get("TOY_SLEEP", 0)))
    assert setting["d"] != int(os.environ.get("TOY_FAIL", 0)) or replicates.start == 0, "planted failure"
    draws = [LAW.draw(stream(seed, "spread", setting["d"], r), setting["d"]) for r in replicates]
    values = [helpers.mean(kernel(x)) * SCALES["half"] + shift() for x in draws]
    theta = [lp.solve(lp.AdversarialProblem(np.eye(2) + x[0], x[:2], 0.1)).theta for x in draws]
    return {"mean": np.array(values), "theta": np.array(theta), "blas": np.array([blas(x) for x in draws]),
            "known": np.full(len(values), len(NAMES & set("ab"))), "threads": np.full(len(values), threads())}

def threads():
    return max(numba.get_num_threads(), *(pool["num_threads"] for pool in threadpool_info()))

def blas(x):
    return np.linalg.svd(np.outer(x, x + 1.0))[1][0]

def experiments(options):
    return [Experiment("spread", block, [{"d": d} for d in (2, 5, 40)], reps=40, block_size=10)]

def report(results, options):
    rows, claims = [], []
    for cell in results["spread"]:
        e = evidence.mean(cell.values["mean"])
        total = cell.values["theta"].sum() + cell.values["blas"].sum()
        rows.append(row(e, **cell.setting, quantity="mean") | {"sum": total})
        claims.append(evidence.equivalent(f"d = {cell.setting['d']}", "The mean of θ̂ is ¼.", e, 0.25, 0.5))
    curve = {"d": np.array([2, 5, 40]), "mean": np.array([r["estimate"] for r in rows])}
    return Report(rows, claims, {"curve": curve, "theta": {"theta": results["spread"][0].values["theta"]}})

def draw(figures, folder):
    from matplotlib.figure import Figure
    figure = Figure((2, 2))
    axes = figure.subplots()
    axes.plot(figures["curve"]["d"], figures["curve"]["mean"], label=CAPTION)
    axes.plot(figures["theta"]["theta"])
    figure.savefig(folder / "toy.png")

part = Part("spread", experiments, report, draw)
'''
HELPERS = """
def mean(x):
    return x.mean()

def other(x):
    return x.sum()
"""
SCRIPT = """
import sys
import numpy as np
from linphase import evidence
from linphase.streams import stream
from linphase.study import Experiment, Part, Report, Study, main, row
from toyparts import spread

def coin(setting, replicates, seed):
    return {"heads": np.array([flip(seed, r) for r in replicates])}

def flip(seed, r):
    return stream(seed, "coin", r).random() < 0.5

def report(results, options):
    heads = results["coin"][0].values["heads"]
    e = evidence.share(int(heads.sum()), len(heads))
    return Report([row(e, quantity="heads")], [evidence.equivalent("coin", "Fair.", e, 0.5, 0.2)])

coins = Part("coin", lambda options: [Experiment("coin", coin, [{}], reps=200, block_size=50)], report)
study = Study("toy", "A toy study.", [spread.part, coins], warm=lambda: spread.kernel(np.ones(2)))
if __name__ == "__main__":
    sys.exit(main(study))
"""
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
STABLE = ("table.csv", "table.tex", "verdict.json", "figure_curve.csv", "figure_theta.npz", "toy.png")


def toy_in(folder):
    (folder / "toyparts").mkdir()
    (folder / "toyparts" / "spread.py").write_text(PARTS)
    (folder / "toyparts" / "helpers.py").write_text(HELPERS)
    (folder / "toy.py").write_text(SCRIPT)
    return folder


@pytest.fixture
def toy(tmp_path):
    return toy_in(tmp_path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Folder of an undisturbed run with one worker."""
    folder = toy_in(tmp_path_factory.mktemp("toy"))
    out, err = ended(start(folder, "--jobs", "1"))
    assert err == ""  # no progress bar, no warning
    assert "16 blocks to compute, 0 found" in out
    assert "4 of 4 claims are as expected" in out
    assert "no committed table" in out
    return folder / "out" / "toy"


def start(folder, *words, **environment):
    return subprocess.Popen(
        [sys.executable, *(words if words[0] == "-c" else ("toy.py", *words))],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | dict.fromkeys(THREADS, "2") | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        start_new_session=True,
    )


def ended(process, code=0):
    out, err = process.communicate(timeout=120)
    assert process.returncode == code, out + err
    return out, err


def outputs(folder):
    return {name: (folder / name).read_bytes() for name in STABLE}


def finished(folder):
    return sorted(path.name for path in folder.glob("blocks/*.npz"))


# ------------------------------------------------------------------------------------------------- runs


def test_workers_and_reruns_change_no_byte(toy, whole):
    ended(start(toy, "--jobs", "2", PYTHONHASHSEED="7"))
    out = toy / "out" / "toy"
    assert outputs(out) == outputs(whole)
    assert finished(out) == finished(whole)
    for name in finished(out):
        assert (out / "blocks" / name).read_bytes() == (whole / "blocks" / name).read_bytes()
        if name.startswith("spread"):
            assert (np.load(out / "blocks" / name)["threads"] == 1).all()

    shutil.copytree(whole, toy / "results" / "toy")  # beside the script: what is committed
    files = [out / "blocks" / name for name in finished(out)]
    files[0].write_bytes(files[0].read_bytes()[:-30])
    files[1].write_bytes(b"")
    damaged = bytearray(files[2].read_bytes())
    damaged[200] ^= 1
    files[2].write_bytes(damaged)
    printed, _ = ended(start(toy, "--jobs", "1"))
    assert "3 blocks to compute, 13 found" in printed
    assert "table.csv equals the committed one byte for byte." in printed
    assert outputs(out) == outputs(whole)

    printed, _ = ended(start(toy, "--jobs", "1", "--seed", "1", "--no-figure"))
    assert "16 blocks to compute, 0 found" in printed
    assert "differs from the committed one in" in printed
    assert "(which has seed 0)" in printed
    assert not (out / "toy.png").exists()  # it showed other numbers
    record = json.loads((out / "run.json").read_text())
    assert record["arguments"]["seed"] == 1
    assert {"numpy", "numba", "python"} <= record["versions"].keys()


def test_killed_at_any_moment_it_ends_with_the_same_table(toy, whole):
    out = toy / "out" / "toy"
    moments = random.Random()  # new moments every time; a failure shows them
    tried = []
    for jobs in ("2", "1"):
        before = len(finished(out))
        process = start(toy, "--jobs", jobs, TOY_SLEEP="0.1")
        await_blocks(process, out, before + 1)
        tried.append(moments.uniform(0, 0.2))
        time.sleep(tried[-1])
        process.kill()  # SIGKILL to the parent alone
        process.communicate(timeout=60)
        await_end(process.pid)
    assert 2 <= len(finished(out)) < 16, tried
    assert not (out / "table.csv").exists()
    (out / "blocks" / "half.npz.part").write_bytes(b"half a block")
    printed, _ = ended(start(toy, "--jobs", "2"))
    assert "16 blocks" not in printed
    assert outputs(out) == outputs(whole), tried
    assert not list(out.glob("**/*.part"))


def await_blocks(process, out, number):
    while len(finished(out)) < number:
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)


def await_end(session):
    """Wait until no process of a session is left; its workers must notice that their parent is gone."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            os.killpg(session, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)
    pytest.fail("a worker is alive 30 s after its parent was killed")


def test_interrupt_is_one_sentence(toy):
    process = start(toy, "--jobs", "2", TOY_SLEEP="0.5")
    await_blocks(process, toy / "out" / "toy", 1)
    os.killpg(process.pid, signal.SIGINT)  # what a terminal sends: to parent and workers
    _, err = ended(process, 130)
    assert err == "toy was interrupted: finished blocks are kept, and the same command goes on from them.\n"
    assert finished(toy / "out" / "toy")


def test_a_failing_block_is_named_and_the_others_are_kept(toy):
    _, err = ended(start(toy, "--jobs", "2", TOY_FAIL="5"), 2)
    where = (
        "toy: experiment spread, setting (d = 5), replicates 10 to 19 failed: AssertionError: planted failure"
    )
    assert err.splitlines()[-1].startswith(where)
    assert 'assert setting["d"]' in err  # the traceback of the worker
    assert finished(toy / "out" / "toy")
    assert not (toy / "out" / "toy" / "table.csv").exists()


def test_launched_by_name(toy):
    launch = "import sys, pathlib, linphase.__main__ as m; m.CHECKOUT = pathlib.Path(); sys.exit(m.main())"
    out, _ = ended(start(toy, "-c", launch, "toy", "--jobs", "2", "--no-figure"))
    assert "4 of 4 claims are as expected" in out


def test_the_import_is_light(tmp_path):
    slow = "{'joblib', 'tqdm', 'matplotlib', 'pandas', 'statsmodels', 'torch', 'linphase.evidence'}"
    out, _ = ended(start(tmp_path, "-c", f"import sys, linphase.study; print({slow} & set(sys.modules))"))
    assert out == "set()\n"


# ----------------------------------------------------------------------------------------------- digest


@pytest.fixture
def digest_of(tmp_path, monkeypatch):
    """Digest of the toy block after an edit, each in modules that are imported afresh."""
    monkeypatch.syspath_prepend(tmp_path)

    def digest_of(edit=lambda text: text, helpers=HELPERS):
        folder = tmp_path / "toyparts"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / "spread.py").write_text(edit(PARTS))
        (folder / "helpers.py").write_text(helpers)
        for name in [name for name in sys.modules if name.partition(".")[0] == "toyparts"]:
            del sys.modules[name]
        importlib.invalidate_caches()
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        return digest.sources(importlib.import_module("toyparts.spread").block)

    yield digest_of
    for name in [name for name in sys.modules if name.partition(".")[0] == "toyparts"]:
        del sys.modules[name]


REACHED = {
    "block": ('SCALES["half"] +', 'SCALES["half"] -'),
    "default": ("power=1", "power=2"),
    "constant": ('"half": 0.5', '"half": 0.25'),
    "set": ('{"a", "b", "c"}', '{"a", "b"}'),
    "kernel": ("x * 1.0", "x * 1.5"),
    "kernel options": ("cache=True", "cache=True, fastmath=True"),
    "behind a cache": ("return 0.25", "return 0.5"),
    "object": ("LAW = Law(1.0)", "LAW = Law(2.0)"),
    "method": ("rng.normal(0,", "rng.normal(1,"),
}
NOT_REACHED = {
    "caption": ('"caption"', '"another caption"'),
    "claim": ("0.25, 0.5))", "0.25, 0.75))"),
    "grid": ("(2, 5, 40)", "(2, 5, 40, 80)"),
    "drawing": ("(2, 2)", "(3, 3)"),
    "comment": ("# with care", "# without"),
    "docstring": ('"""Draw."""', '"""Draw a sample."""'),
    "line": ("CAPTION =", "\n\nCAPTION ="),
}


@pytest.mark.parametrize("edit", REACHED.values(), ids=REACHED)
def test_an_edit_of_what_a_block_reaches_changes_the_digest(digest_of, edit):
    assert edit[0] in PARTS
    assert digest_of(lambda text: text.replace(*edit)) != digest_of()


@pytest.mark.parametrize("edit", NOT_REACHED.values(), ids=NOT_REACHED)
def test_an_edit_of_what_it_does_not_reach_leaves_the_digest(digest_of, edit):
    assert edit[0] in PARTS
    assert digest_of(lambda text: text.replace(*edit)) == digest_of()


def test_a_helper_counts_only_if_it_is_reached(digest_of):
    assert digest_of(helpers=HELPERS.replace("x.mean()", "x.mean() + 1")) != digest_of()
    assert digest_of(helpers=HELPERS.replace("x.sum()", "x.sum() + 1")) == digest_of()


@pytest.mark.parametrize(
    ("module", "counts"),
    [("_kernels/regression.py", True), ("streams.py", True), ("solver.py", True), ("problem.py", True)]
    + [(name, False) for name in ("evidence.py", "plotting.py", "study/tables.py", "__init__.py")],
)
def test_modules_of_the_package_count_if_they_compute(digest_of, tmp_path, monkeypatch, module, counts):
    before = digest_of()
    copy = tmp_path / "copy"
    shutil.copytree(ROOT / "linphase", copy, ignore=shutil.ignore_patterns("__pycache__"))
    with (copy / module).open("a") as file:
        file.write("# a comment\n")
    monkeypatch.setattr(modules, "HOME", copy)
    forget_modules()
    assert digest_of() == before
    with (copy / module).open("a") as file:
        file.write("PLANTED = 1\n")
    forget_modules()
    assert (digest_of() != before) == counts
    forget_modules()


def forget_modules():
    modules.source.cache_clear()
    modules._imports.cache_clear()


def test_imports_are_followed_wherever_they_stand(tmp_path, monkeypatch):
    texts = {
        "__init__": "from linphase.a import x",
        "a": "import os, linphase.b as b\nfrom . import c\nfrom linphase.study.files import write",
        "b": "def f():\n    from linphase.deep.d import g",
        "c": "from linphase import plotting, e\nimport numpy.linalg",
        "deep/__init__": "",
        "study/__init__": "",
        "study/files": "import shutil",
        "deep/d": "from ..f import h\nfrom .i import j",
        **dict.fromkeys(("e", "f", "deep/i", "plotting", "unrelated"), ""),
    }
    (tmp_path / "deep").mkdir()
    (tmp_path / "study").mkdir()
    for name, text in texts.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setattr(modules, "HOME", tmp_path)
    forget_modules()
    found, libraries = modules.closure(["linphase.a"])
    forget_modules()
    assert found == {f"linphase.{name}" for name in ("a", "b", "c", "deep", "deep.d", "e", "f", "deep.i")}
    assert libraries == {"os", "numpy"}


LOCK = time.sleep, threading.Lock()


def test_what_cannot_be_told_is_refused():
    def block(setting, replicates, seed):
        return {"x": np.array([LOCK for _ in replicates])}

    with pytest.raises(TypeError, match="whose content cannot be told: put it into the setting"):
        digest.sources(block)


def test_settings_and_seed_and_replicates_name_the_block(tmp_path):
    def names(settings, seed=0, **options):
        study = flat(settings=settings)
        main(study, ["--out", str(tmp_path), "--seed", str(seed), "--jobs", "1", *options.get("argv", ())])
        found = finished(tmp_path)
        shutil.rmtree(tmp_path / "blocks")
        return set(found)

    first = names([{"n": 1, "d": 2.0}])
    assert names([{"d": np.float64(2), "n": np.int64(1)}]) == first
    for other in (
        names([{"n": 1, "d": 2}]),
        names([{"n": 2, "d": 2.0}]),
        names([{"n": 1, "d": 2.0}], seed=1),
    ):
        assert not other & first


# ----------------------------------------------------------------------------------- command and verdicts


def noise(setting, replicates, seed):
    return {"x": np.array([stream(seed, "noise", r).normal() for r in replicates])}


def flat(claim=None, name="flat", settings=({"n": 1},), block=noise, reps=40, figures=None):
    """A study of normal draws, with one claim on their mean, 0."""
    claim = claim or (lambda e: evidence.equivalent("mean", "It is 0.", e, 0.0, 1.0))

    def report(results, options):
        estimate = evidence.mean(results["noise"][0].values["x"])
        return Report([row(estimate, quantity="mean")], [claim(estimate)], figures or {})

    part = Part("part", lambda options: [Experiment("noise", block, settings, reps, 10)], report)
    return Study(name, "Draws.", [part])


def refuted(e, **extra):
    return evidence.equivalent("mean", "It is 3.", e, 3.0, 1.0, **extra)


def unclear(e):
    return evidence.equivalent("mean", "It is 0.", e, 0.0, 0.01)


@pytest.mark.parametrize(
    ("claim", "argv", "code"),
    [
        (None, [], 0),
        (refuted, [], 1),
        (refuted, ["--quick"], 1),
        (refuted, ["--reps", "20"], 1),
        (lambda e: refuted(e, expected="refuted"), [], 0),
        (lambda e: evidence.equivalent("mean", "It is 0.", e, 0.0, 1.0, expected="refuted"), [], 1),
        (unclear, [], 1),
        (unclear, ["--quick"], 0),
        (unclear, ["--reps", "20"], 0),
        (unclear, ["--reps", "40"], 1),
    ],
)
def test_exit_code(tmp_path, capsys, claim, argv, code):
    assert main(flat(claim), [*argv, "--jobs", "1", "--out", str(tmp_path)]) == code
    status = json.loads((tmp_path / "verdict.json").read_text())["verdicts"][0]["status"]
    printed = capsys.readouterr().out
    assert status in printed
    assert f"{1 - code if claim is not unclear else 0} of 1 claims are as expected." in printed


BAD = [
    (["--reps", "0"], "argument --reps: must be an integer of at least 1, got 0"),
    (["--reps", "2.5"], "argument --reps: must be an integer of at least 1, got 2.5"),
    (["--jobs", "0"], "argument --jobs: must be an integer of at least 1, got 0"),
    (["--seed", "-1"], "argument --seed: must be an integer of at least 0, got -1"),
    (["--rep", "3"], "unknown argument --rep, allowed are -h, --help, --quick, --reps, --seed, --jobs"),
    (["extra"], "unknown argument extra, allowed are"),
    (["--out", "file/folder"], "argument --out: must be a folder that can be written, got file/folder"),
    (["--out", "file"], "argument --out: must be a folder that can be written, got file"),
]


@pytest.mark.parametrize(("argv", "sentence"), BAD, ids=[" ".join(argv) for argv, _ in BAD])
def test_bad_input_is_one_sentence(tmp_path, monkeypatch, capsys, argv, sentence):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    assert main(flat(), argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert sentence in err
    assert err.count("\n") == 1
    assert os.listdir() == ["file"]


def test_help_explains(capsys):
    assert main(flat(), ["-h"]) == 0
    printed = capsys.readouterr().out
    assert all(flag in printed for flag in ("Draws.", "--quick", "--fresh", "--no-figure", "--out FOLDER"))


def test_too_few_replicates_for_a_report(tmp_path, capsys):
    assert main(flat(), ["--reps", "1", "--jobs", "1", "--out", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert "--reps 1 is too few for the report of part: x has 1 value(s), at least 2 are needed" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "wrong", [lambda r: {}, lambda r: {"x": np.zeros(3)}, lambda r: {"x": np.array([None] * len(r))}]
)
def test_a_block_must_return_an_entry_a_replicate(tmp_path, capsys, wrong):
    study = flat(block=lambda setting, replicates, seed: wrong(replicates))
    assert main(study, ["--jobs", "1", "--out", str(tmp_path)]) == 2
    assert "must return arrays with an entry a replicate" in capsys.readouterr().err


def test_cutting_into_blocks_changes_nothing_and_single_replicates_stay():
    one = Experiment("e", noise, [{"n": 1}], reps=1)
    many = Experiment("e", noise, [{"n": 3}], reps=lambda s: 10 * s["n"], block_size=lambda s: 4 * s["n"])
    assert one.replicates({"n": 1}, 50) == 1
    assert many.cuts({"n": 3}) == [range(0, 12), range(12, 24), range(24, 30)]
    assert many.cuts({"n": 3}, 13) == [range(0, 12), range(12, 13)]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Options(Path(), reps=0),
        lambda: Options(Path(), jobs=1.5),
        lambda: Experiment("a/b", noise, [{}]),
        lambda: Experiment("e", noise, [{"n": 1}, {"n": 1}]),
        lambda: Experiment("e", noise, [{}], reps=0).cuts({}),
    ],
)
def test_a_study_is_checked(make):
    with pytest.raises(ValueError, match="must"):
        make()


def test_names_in_a_study_are_distinct(tmp_path):
    part = flat().parts[0]
    with pytest.raises(ValueError, match="parts of a study must have distinct names"):
        main(Study("twice", "", [part, part]), ["--jobs", "1", "--out", str(tmp_path)])


# -------------------------------------------------------------------------------------- tables and results


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

    main(flat(), ["--jobs", "1"])
    promote(Path("out/flat"), results, tmp_path / "figures")
    assert {path.name for path in results.iterdir()} == {"table.csv", "table.tex", "verdict.json", "run.json"}
    assert not list((tmp_path / "figures").iterdir())
