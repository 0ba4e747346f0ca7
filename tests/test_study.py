"""A study: runs that are killed or repeated, the command and its exit codes, what is refused."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from toy_study import flat, noise, toy_in

import linphase
from linphase import evidence
from linphase.study import Experiment, Options, Study, files, main

ROOT = Path(linphase.__file__).resolve().parents[1]
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
STABLE = ("table.csv", "table.tex", "verdict.json", "figure_curve.csv", "figure_theta.npz", "toy.png")


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
    gone, live = (f"{files.HERE}-{number}-abcdefgh.part" for number in (process.pid, os.getpid()))
    for name in (f"table.csv.{gone}", f"blocks/half.npz.{gone}", f"blocks/half.npz.{live}"):
        (out / name).write_bytes(b"half a file")
    printed, _ = ended(start(toy, "--jobs", "2"))
    assert "16 blocks" not in printed
    assert outputs(out) == outputs(whole), tried
    assert [path.name for path in out.glob("**/*.part")] == [f"half.npz.{live}"]  # of another run


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


@pytest.mark.parametrize(("number", "times"), [(signal.SIGINT, 5), (signal.SIGTERM, 1)])
def test_interrupt_is_one_sentence(toy, number, times):
    process = start(toy, "--jobs", "2", TOY_SLEEP="0.5")
    await_blocks(process, toy / "out" / "toy", 1)
    for _ in range(times):
        os.killpg(process.pid, number)  # what a terminal sends: to parent and workers
        time.sleep(0.01)
    _, err = ended(process, 128 + number)
    assert err == "toy was interrupted: finished blocks are kept, and the same command goes on from them.\n"
    assert finished(toy / "out" / "toy")
    await_end(process.pid)


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
        lambda: Options(Path(), jobs=0),
        lambda: Experiment("a/b", noise, [{}]),
        lambda: Experiment("e", noise, [{"n": 1}, {"n": 1}]),
        lambda: Experiment("e", noise, [{}], reps=0).cuts({}),
    ],
)
def test_a_study_is_checked(make):
    with pytest.raises(ValueError, match="must"):
        make()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Options(Path(), jobs=1.5), "jobs must be an integer, got 1.5"),
        (lambda: Options("out"), "out must be a Path, got 'out'"),
        (lambda: Experiment("e", None, [{}]), "block must be callable, got None"),
        (lambda: Experiment("e", noise, [1]), "settings must be a mapping from strings, got 1"),
        (lambda: Study("s", "", ["p"]), r"parts must be a list or tuple of Parts, got \['p'\]"),
    ],
)
def test_wrong_kinds_are_one_clear_sentence(make, says):
    with pytest.raises(TypeError, match=f"^{says}$"):
        make()


def test_names_in_a_study_are_distinct(tmp_path):
    part = flat().parts[0]
    with pytest.raises(ValueError, match="parts of a study must have distinct names"):
        main(Study("twice", "", [part, part]), ["--jobs", "1", "--out", str(tmp_path)])
