"""What long studies need: flags of their own, variants, scratch folders, one torch thread, dry runs."""

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import linphase
import linphase.__main__ as launcher
from linphase.study import (
    Experiment,
    Flag,
    Local,
    Part,
    Report,
    Study,
    at_least,
    digest,
    engine,
    main,
    modules,
)

ROOT = Path(linphase.__file__).resolve().parents[1]


def folder_that_is(text):
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"must be a folder, got {text}")
    return Path(text)


FLAGS = [
    Flag("--dataset", "which data", "digits", choices=("digits", "mnist")),
    Flag("--data", "where they lie", type=folder_that_is, metavar="FOLDER"),
    Flag("--epochs", "how long", type=at_least(1), metavar="N"),
    Flag("--step", "how far", type=float, default="0.5"),
    Flag("--download", "fetch them", switch=True),
    Flag("--at-once", "of two words", switch=True),
]
SEEN = []


def block(setting, replicates, seed, local: Local):
    SEEN.append(local)
    assert local.scratch.is_dir()
    kept = local.scratch / "kept"
    before = kept.read_text() if kept.exists() else ""
    kept.write_text(f"{before}x")
    assert not (local.own["at_once"] and setting["cell"] == 1), "planted failure"
    return {"x": np.full(len(replicates), float(setting["shift"])), "calls": np.full(len(replicates), before)}


def experiments(options):
    settings = [{"cell": cell, "shift": len(options.own["dataset"])} for cell in (0, 1)]
    return [Experiment("e", block, settings, reps=4, block_size=4, local=True)]


def report(results, options):
    SEEN.append(options)
    x = results["e"][0].values["x"]
    return Report([{"x": x[0]}], [], {"line": {"x": x}})


def draw(figures, folder):
    (folder / "line.pdf").write_text(str(figures["line"]["x"]))


def study(**extra):
    extra = {"flags": FLAGS, "variants": ("dataset",)} | extra
    return Study("long", "Long.", [Part("part", experiments, report, draw)], **extra)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    SEEN.clear()
    return tmp_path


def play(*argv, code=0, **extra):
    assert main(study(**extra), ["--jobs", "1", *argv]) == code


# ------------------------------------------------------------------------------------------------ flags


def test_own_flags_arrive_and_are_recorded(here):
    play("--data", str(here), "--epochs", "3", "--at-once", code=2)  # the planted failure
    own = {"dataset": "digits", "data": here, "epochs": 3, "step": 0.5, "download": False, "at_once": True}
    assert SEEN[0].own == own
    SEEN.clear()
    play("--data", ".", "--epochs", "3", "--download")
    *blocks, options = SEEN
    assert options.own == own | {"data": Path(), "download": True, "at_once": False}
    assert all(local.own == options.own for local in blocks)
    for mapping in (options.own, blocks[0].own):
        with pytest.raises(TypeError):
            mapping["epochs"] = 4
    arguments = json.loads(Path("out/long/digits/run.json").read_text())["arguments"]
    common = {"quick": False, "reps": None, "seed": 0, "jobs": 1, "fresh": False, "figures": True}
    own = {"dataset": "digits", "epochs": 3, "step": 0.5, "download": True, "at_once": False}
    assert arguments == common | own  # but no folder


BAD = [
    (["--dataset", "x"], "argument --dataset: must be one of digits, mnist, got x"),
    (["--data", "nowhere"], "argument --data: must be a folder, got nowhere"),
    (["--epochs", "0"], "argument --epochs: must be an integer of at least 1, got 0"),
    (["--step", "x"], "argument --step: invalid float value: 'x'"),
    (["--download", "x"], "unknown argument x, allowed are -h"),
    (["--dry-run"], "unknown argument --dry-run, allowed are -h"),
]


@pytest.mark.parametrize(("argv", "sentence"), BAD, ids=[" ".join(argv) for argv, _ in BAD])
def test_bad_values_are_one_sentence(capsys, argv, sentence):
    play(*argv, code=2)
    out, err = capsys.readouterr()
    assert out == ""
    assert sentence in err
    assert err.count("\n") == 1
    assert os.listdir() == []


def test_help_shows_them(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "120")
    play("-h", dry_run=str)
    printed = " ".join(capsys.readouterr().out.split())
    assert "--dataset digits|mnist which data" in printed
    assert "--data FOLDER where they lie" in printed
    assert "--download fetch them" in printed
    assert "--dry-run" in printed
    assert "outputs (default: out/long/DATASET, or out/long-quick/DATASET)" in printed


@pytest.mark.parametrize(
    "make",
    [
        lambda: Flag("dataset", ""),
        lambda: Flag("--no-figure", ""),
        lambda: Flag("--dry-run", "", switch=True),
        lambda: study(flags=[FLAGS[0], FLAGS[0]]),
        lambda: study(variants=("data",)),
        lambda: study(variants=("dataset", "nothing")),
        lambda: study(flags=[Flag("--dataset", "", choices=("digits",))]),
        lambda: study(flags=[Flag("--dataset", "", "..", choices=("..",))]),
    ],
)
def test_flags_are_checked(make):
    with pytest.raises(ValueError, match="must"):
        make()


def test_a_dry_run_prints_and_writes_nothing(capsys):
    play("--dry-run", "--dataset", "mnist", dry_run=lambda options: f"{options.own['dataset']}: 3 h")
    assert capsys.readouterr().out == "mnist: 3 h\n"
    assert os.listdir() == []


def test_the_record_says_what_the_study_adds(here):
    play(facts=lambda options: {"device": f"{options.own['dataset']} machine"})
    assert json.loads(Path("out/long/digits/run.json").read_text())["device"] == "digits machine"


# --------------------------------------------------------------------------------------------- variants


def names(folder):
    return sorted(path.name for path in Path(folder).iterdir())


FILES = ["figure_line.csv", "run.json", "table.csv", "table.tex", "verdict.json"]


def test_variants_lie_side_by_side(here, monkeypatch, capsys):
    (here / "simulations").mkdir()
    (here / "simulations" / "long.py").touch()
    monkeypatch.setattr(launcher, "HOME", here / "linphase")
    monkeypatch.setattr(launcher, "CHECKOUT", here / "simulations")
    monkeypatch.setattr(engine, "simulations", lambda: [here / "simulations"])

    def promote(*words):
        monkeypatch.setattr(sys, "argv", ["linphase", "promote", "long", *words])
        return launcher.main()

    assert promote() == 2
    assert "out/long holds none" in capsys.readouterr().err
    play()
    play("--quick")
    play("--dataset", "mnist")
    assert names("out") == ["long", "long-quick"]
    assert names("out/long") == ["digits", "mnist"]
    assert names("out/long-quick") == ["digits"]
    assert names("out/long/mnist") == sorted([*FILES, "blocks", "line_mnist.pdf"])
    assert "no committed table" in capsys.readouterr().out

    assert promote("--out", "out/long/digits") == 0
    assert names("simulations/results/long") == ["digits"]
    assert promote() == 0  # the latest
    assert names("simulations/results/long") == ["digits", "mnist"]
    assert names("simulations/results/long/mnist") == FILES
    assert names("figures") == ["line_digits.pdf", "line_mnist.pdf"]
    assert promote("--out", "out/long/mnist") == 0
    assert names("figures") == ["line_digits.pdf", "line_mnist.pdf"]
    capsys.readouterr()
    for name in ("digits", "mnist"):
        play("--dataset", name)
        assert "table.csv equals the committed one byte for byte." in capsys.readouterr().out

    before = {name: Path("figures", name).read_bytes() for name in names("figures")}
    for name in before:
        Path("figures", name).unlink()
    build(monkeypatch, here, capsys)
    assert {name: Path("figures", name).read_bytes() for name in names("figures")} == before
    assert before["line_digits.pdf"] != before["line_mnist.pdf"]


def build(monkeypatch, root, capsys):
    """Run figures/build.py as if it lay in ``root``, where the study is a simulation."""
    spec = importlib.util.spec_from_file_location("build", ROOT / "figures" / "build.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setattr(script, "ROOT", root)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setitem(sys.modules, "long", argparse.Namespace(STUDY=study()))
    script.main()
    assert capsys.readouterr().out == "figures/line_digits.pdf\nfigures/line_mnist.pdf\n"


# ---------------------------------------------------------------------------------------------- scratch


def calls(out="out/long/digits"):
    files = sorted(Path(out, "blocks").glob("*.npz"))
    return [str(np.load(path)["calls"][0]) for path in files]


def test_scratch_goes_with_success_and_stays_with_failure(capsys):
    play("--at-once", code=2)
    blocks = Path("out/long/digits/blocks")
    (kept,) = blocks.glob("*.scratch")
    assert (kept / "kept").read_text() == "x"
    assert len(list(blocks.glob("*.npz"))) == 1  # the other block's scratch went
    play()
    assert sorted(calls()) == ["", "x"]  # it has seen what it had kept
    assert not list(blocks.glob("*.scratch"))
    assert SEEN[1].scratch == kept.resolve()
    play("--step", "2", "--download")  # local matters name no block
    assert "0 blocks to compute, 2 found" in capsys.readouterr().out


def test_fresh_begins_from_nothing():
    play("--at-once", code=2)
    play("--fresh")
    assert calls() == ["", ""]


def test_leftover_scratch_of_a_finished_block_goes():
    play()
    blocks = Path("out/long/digits/blocks")
    (done, _), other = blocks.glob("*.npz"), blocks / "e-0-0123.scratch"
    for folder in (done.with_suffix(".scratch"), other):
        folder.mkdir()
        (folder / "kept").touch()
    play()
    assert list(blocks.glob("*.scratch")) == [other]  # of a block that this run does not know


def test_an_experiment_without_local_has_no_scratch():
    def plain(setting, replicates, seed):
        assert not list(Path("out").glob("**/*.scratch"))
        return {"x": np.zeros(len(replicates))}

    part = Part("part", lambda options: [Experiment("e", plain, [{}])], lambda results, options: Report())
    assert main(Study("short", "", [part]), ["--jobs", "1"]) == 0


def test_the_study_engine_is_no_part_of_a_digest(monkeypatch):
    walk = digest._Walk(block)
    walk.visit(block)
    assert not any("study" in name for name in walk.modules)
    found, _ = modules.closure(["linphase.deep.checkpoints"])
    assert "linphase.deep.checkpoints" in found
    assert not any("study" in name for name in found)


@pytest.mark.parametrize(("limit", "terminal", "lines"), [(60, False, 0), (-1, False, 2), (-1, True, 0)])
def test_long_blocks_say_that_they_are_finished(monkeypatch, capsys, limit, terminal, lines):
    monkeypatch.setattr(engine, "LONG", limit)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    play()
    out = capsys.readouterr().out
    assert out.count("blocks are finished") == lines
    if lines:
        setting = "experiment e, setting (cell = 0, shift = 6), replicates 0 to 3"
        assert f"{setting}: 0 s; 1 of 2 blocks are finished\n" in out


# --------------------------------------------------------------------------------- workers and processes

SCRIPT = """
import os, sys, time
import numpy as np
from linphase.study import Experiment, Flag, Part, Report, Study, main
if os.environ.get("TOY_EAGER"):
    import torch
    torch.set_num_threads(2)

def steps(setting, replicates, seed, local):
    file = local.scratch / "step"
    first = int(file.read_text()) if file.exists() else 0
    for step in range(first, 20):
        time.sleep(float(local.own["sleep"]))
        file.with_suffix(".new").write_text(str(step + 1))
        file.with_suffix(".new").replace(file)
    return {"x": np.full(len(replicates), setting["cell"]), "resumed": np.full(len(replicates), first)}

def train(setting, replicates, seed, local):
    import torch  # nothing else may have done so
    g = torch.Generator().manual_seed(setting["cell"])
    X, w = torch.randn(20_000, 50, generator=g), torch.zeros(50, requires_grad=True)
    ((X @ w - X[:, 0]).square().mean() + (X @ w).logsumexp(0)).backward()
    total = torch.cat([w.grad, (X * X).sum().reshape(1), torch.linalg.inv(X.T @ X)[0]]).numpy()
    return {"x": total[None], "threads": np.array([torch.get_num_threads()])}

cells = [{"cell": cell} for cell in range(3)]
block = train if os.environ.get("TOY_TRAIN") else steps
part = Part("p", lambda options: [Experiment("e", block, cells, local=True)], lambda r, o: Report())
study = Study("toy", "", [part], flags=[Flag("--sleep", "", "0")])
if __name__ == "__main__":
    code = main(study)
    if os.environ.get("TOY_EAGER"):
        assert torch.get_num_threads() == 2
    sys.exit(code)
"""


def start(*words, **environment):
    Path("toy.py").write_text(SCRIPT)
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "2")
    return subprocess.Popen(
        [sys.executable, "toy.py", *words],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | threads | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ended(process):
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, ""), out + err


def test_a_killed_block_resumes_from_its_scratch():
    process = start("--jobs", "2", "--sleep", "0.2")
    scratch = Path("out/toy/blocks")
    while not any(int(path.read_text()) >= 2 for path in scratch.glob("*.scratch/step")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    reached = sorted(int(path.read_text()) for path in scratch.glob("*.scratch/step"))
    assert 2 <= reached[-1] < 20
    ended(start("--jobs", "1"))
    values = [np.load(path) for path in scratch.glob("*.npz")]
    assert sorted(int(v["resumed"][0]) for v in values if v["resumed"][0]) == reached
    assert sorted(int(v["x"][0]) for v in values) == [0, 1, 2]
    assert not list(scratch.glob("*.scratch"))


def test_workers_change_no_byte_of_a_torch_block():
    pytest.importorskip("torch")
    runs = [("1", {"TOY_EAGER": "1"}), ("1", {}), ("2", {"TOY_EAGER": "1"})]
    for i, (jobs, environment) in enumerate(runs):
        ended(start("--jobs", jobs, "--out", f"out{i}", TOY_TRAIN="1", **environment))
    first, *others = ({p.name: p.read_bytes() for p in Path(f"out{i}/blocks").iterdir()} for i in range(3))
    assert len(first) == 3
    for name in first:
        assert np.load(Path("out0/blocks", name))["threads"] == [1]
    for other in others:
        assert other == first
