"""What a study reads and writes: damaged blocks, disks that fail, leftovers of kills, hostile records."""

import errno
import io
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from toy_study import flat

import linphase.__main__ as launcher
from linphase.study import Options, files, main, promote
from linphase.study.blocks import find, plan

STUDY = flat(figures={"wave": {"x": np.arange(3)}})


def play(*argv, code=0, study=STUDY):
    assert main(study, ["--jobs", "1", "--out", "out", *argv]) == code


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def made():
    """A finished run's blocks, and the bytes of its table."""
    play()
    return sorted(Path("out/blocks").glob("*.npz")), Path("out/table.csv").read_bytes()


# --------------------------------------------------------------------------------------- damaged blocks


def test_every_flipped_bit_of_a_block_is_noticed(made):
    (path, *_), _ = made
    options = Options(Path("out"))
    blocks = plan(STUDY.parts[0].experiments(options), options)
    whole = path.read_bytes()
    for bit in range(0, 8 * len(whole), 17):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        found, damaged = find(blocks, path.parent)
        assert len(found) == 3, bit
        assert list(damaged) == [path]


def archive(**arrays):
    packed = io.BytesIO()
    np.savez(packed, **arrays)
    return packed.getvalue()


DAMAGES = {
    "empty": lambda whole: b"",
    "garbage": lambda whole: b"garbage" * 100,
    "truncated": lambda whole: whole[:-30],
    "cut at its end": lambda whole: whole[: len(whole) // 2],
    "without a checksum": lambda whole: files.unseal(whole, files_name()),
    "of another name": lambda whole: files.seal(files.unseal(whole, files_name()), "other.npz"),
}
FORGERIES = {
    "no arrays": archive(),
    "fewer replicates": archive(x=np.zeros(9)),
    "other names": archive(z=np.zeros(10)),
    "more arrays": archive(x=np.zeros(10), y=np.zeros(10)),
    "other shapes": archive(x=np.zeros((10, 2))),
    "strings": archive(x=np.full(10, "a")),
    "objects": archive(x=np.array([None] * 10)),
    "complex numbers": archive(x=np.zeros(10, complex)),
    "an array alone": b"\x93NUMPY" + bytes(200),
    "garbage": b"garbage",
}


def files_name():
    return sorted(Path("out/blocks").glob("*.npz"))[0].name


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_block_is_computed_again_and_said(made, capsys, damage):
    (path, *_), table = made
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    again(path, table, capsys)


@pytest.mark.parametrize("forgery", FORGERIES)
@pytest.mark.parametrize("alone", [False, True])
def test_a_forged_block_is_computed_again_and_said(made, capsys, forgery, alone):
    """Its checksum is right; beside it are blocks from files, or only new ones."""
    (path, *others), table = made
    path.write_bytes(files.seal(FORGERIES[forgery], path.name))
    for other in others if alone else ():
        other.unlink()
    again(path, table, capsys)


def again(path, table, capsys):
    capsys.readouterr()
    play()
    err = capsys.readouterr().err
    assert f"flat: {path} is damaged (" in err
    assert err.endswith("), and is computed again\n")
    assert Path("out/table.csv").read_bytes() == table
    play()
    out, err = capsys.readouterr()
    assert "0 blocks to compute, 4 found" in out
    assert err == ""


@pytest.mark.parametrize("full", [False, True])
def test_a_folder_in_place_of_a_block_is_replaced(made, capsys, full):
    (path, *_), table = made
    path.unlink()
    path.mkdir()
    if full:
        (path / "file").touch()
    again(path, table, capsys)
    shutil.rmtree("out/blocks")
    path.mkdir(parents=True)
    play("--fresh")
    assert path.is_file()


def test_nothing_in_a_block_is_executed(made):
    class Malicious:
        def __reduce__(self):
            return os.system, ("echo caught > caught",)

    (path, *_), _ = made
    path.write_bytes(files.seal(archive(x=np.array([Malicious()] * 10)), path.name))
    play()
    assert not Path("caught").exists()


# -------------------------------------------------------------------------------------- disks that fail


def fails(number):
    def fail(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    return fail


def said(capsys, *words):
    err = capsys.readouterr().err
    assert err.count("\n") == 1, err
    assert all(word in err for word in words), err
    return err


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
@pytest.mark.parametrize("place", ["fsync", "replace"])
def test_a_disk_that_fails_is_one_sentence(monkeypatch, capsys, number, place):
    monkeypatch.setattr(os, place, fails(number))
    play(code=2)
    kept = "finished blocks are kept, and the same command goes on from them."
    said(capsys, "out/blocks/noise-", f".npz cannot be read or written ({os.strerror(number)}); {kept}")
    assert not list(Path("out").glob("**/*.part"))


@pytest.mark.parametrize("name", ["table.csv", "verdict.json", "figure_wave.csv", "run.json"])
def test_a_disk_that_fills_in_the_final_writing_is_one_sentence(monkeypatch, capsys, name):
    replace = os.replace

    def full(source, target):
        if Path(target).name == name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), source, None, target)
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    play(code=2)
    said(capsys, f"flat: out/{name} cannot be read or written (No space left on device)")


@pytest.mark.parametrize("name", ["blocks", "run.json", "table.csv", "figure_wave.csv"])
def test_what_stands_in_the_way_is_one_sentence(capsys, name):
    Path("out").mkdir()
    if name == "blocks":
        Path("out", name).touch()
    else:
        Path("out", name).mkdir()
    play(code=2)
    said(capsys, f"flat: out/{name} cannot be read or written (")


def test_a_folder_for_blocks_that_goes_in_mid_run_is_one_sentence(capsys):
    def block(setting, replicates, seed):
        shutil.rmtree("out/blocks")
        Path("out/blocks").touch()
        return {"x": np.zeros(len(replicates))}

    play(code=2, study=flat(block=block))
    said(capsys, "out/blocks/noise-", "cannot be read or written (Not a directory)")


def test_a_block_that_cannot_read_its_file_is_one_sentence(capsys):
    def block(setting, replicates, seed):
        return {"x": np.load("missing.npy")}

    play(code=2, study=flat(block=block))
    said(capsys, "replicates 0 to 9 failed: missing.npy cannot be read or written (No such file")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_an_output_that_is_full_is_one_sentence():
    places = [str(Path(files.__file__).parents[2]), str(Path(__file__).parent)]
    code = "import sys, toy_study, linphase.study as s; sys.exit(s.main(toy_study.flat()))"
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code, "--jobs", "1"],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(places)},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    kept = "finished blocks are kept, and the same command goes on from them."
    assert (done.returncode, done.stderr) == (2, f"flat: No space left on device; {kept}\n")


# -------------------------------------------------------------------------------- whole or absent files


def test_content_is_on_the_disk_before_the_name_and_the_name_at_the_end(monkeypatch):
    calls = []

    def noted(name, real):
        def call(*args):
            calls.append((name, stat_of(args[0])))
            return real(*args)

        return call

    def stat_of(what):
        status = os.stat(what)
        return "folder" if os.path.isdir(what) else status.st_size

    for name in ("fsync", "replace"):
        monkeypatch.setattr(os, name, noted(name, getattr(os, name)))
    files.write(Path("file"), b"12345")
    assert calls == [("fsync", 5), ("replace", 5), ("fsync", "folder")]


def test_leftovers_of_kills_go_and_those_of_the_living_stay():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    names = {
        f"a.{files.HERE}-{process.pid}-abc.part": False,
        f"a.b.npz.{files.HERE}-{process.pid}-abc_1.part": False,
        f"a.{files.HERE}-{os.getpid()}-abc.part": True,
        f"a.{files.HERE}-1-abc.part": True,  # of another user
        f"old.{files.HERE}-{os.getpid()}-abc.part": False,  # the number has a new owner
        f"a.other-{process.pid}-abc.part": True,
        f"old.other-{process.pid}-abc.part": False,
        "old.film.part": True,  # none of ours
        f"old.{files.HERE}.txt": True,
    }
    for name in names:
        Path(name).touch()
        if name.startswith("old."):
            os.utime(name, (0, time.time() - 2 * files.DAY))
    Path(f"folder.{files.HERE}-{process.pid}-abc.part").mkdir()
    files.sweep(Path())
    files.sweep(Path("missing"))
    kept = {path.name for path in Path().iterdir() if path.is_file()}
    assert kept == {name for name, stays in names.items() if stays}


KILLED = """
import os, signal, sys
from pathlib import Path
from linphase.study import files
os.fsync = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
files.write(Path(sys.argv[1]), b"half")
"""


@pytest.mark.parametrize("folder", ["out", "out/blocks", "results", "figures"])
def test_a_kill_in_writing_leaves_nothing_for_long(made, folder):
    Path(folder).mkdir(exist_ok=True)
    environment = os.environ | {"PYTHONPATH": str(Path(files.__file__).parents[2])}
    subprocess.run([sys.executable, "-c", KILLED, f"{folder}/table.csv"], env=environment, check=False)
    assert list(Path(folder).glob("*.part"))
    play()
    promote(Path("out"), Path("results"), Path("figures"))
    assert not list(Path(folder).glob("*.part"))


# -------------------------------------------------------------------------------------- hostile records


@pytest.mark.parametrize(
    "changes",
    [
        {"variant": "../elsewhere"},
        {"variant": ".."},
        {"variant": "."},
        {"variant": "a/b"},
        {"variant": "/dev/null/x"},
        {"variant": "link"},
        {"variant": 3},
        {"variant": None},
        {"variant": ["digits"]},
        {"variant": "di\0gits"},
        {"variant": "digits\n"},
        {"files": ["../out/table.csv"]},
        {"files": ["/etc/hostname"]},
        {"files": ["linked"]},
        {"files": ["blocks"]},
        {"files": ["missing"]},
        {"files": [""]},
        {"files": ["."]},
        {"files": [".."]},
        {"files": [3]},
        {"files": [["table.csv"]]},
        {"files": "table.csv"},
        {"files": None},
        {"files": {"table.csv": 1}},
        {"full_scale": "no"},
    ],
    ids=str,
)
def test_a_hostile_record_is_not_promoted(made, capsys, monkeypatch, changes):
    results = Path("simulations/results/flat")
    results.mkdir(parents=True)
    (results / "table.csv").write_text("old")
    (results / "link").symlink_to(Path("elsewhere").resolve(), target_is_directory=True)
    Path("elsewhere").mkdir()
    Path("secret").write_text("secret")
    Path("out/linked").symlink_to(Path("secret").resolve())
    record = json.loads(Path("out/run.json").read_text()) | changes
    Path("out/run.json").write_text(json.dumps(record))
    before = sorted(Path().glob("**/*"))
    with pytest.raises(ValueError, match=r"only|must"):
        promote(Path("out"), results, Path("figures"))
    assert sorted(Path().glob("**/*")) == before
    assert (results / "table.csv").read_text() == "old"

    monkeypatch.setattr(launcher, "HOME", Path("linphase"))
    monkeypatch.setattr(launcher, "CHECKOUT", Path("simulations"))
    Path("simulations/flat.py").touch()
    monkeypatch.setattr(sys, "argv", ["linphase", "promote", "flat", "--out", "out"])
    assert launcher.main() == 2
    said(capsys, "")


@pytest.mark.parametrize("names", [["../keep", "..", ".", "/keep", "a/../../keep"], "keep", None, 3, [None]])
def test_a_hostile_record_removes_nothing(made, names):
    """A run removes the files of the one before it, which are those that its record names."""
    for name in ("keep", "out/keep", "out/k"):
        Path(name).touch()
    record = json.loads(Path("out/run.json").read_text()) | {"files": names}
    Path("out/run.json").write_text(json.dumps(record))
    play()
    assert all(Path(name).exists() for name in ("keep", "out/keep", "out/k"))


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 100_000, "\0"])
def test_a_record_that_cannot_be_read_is_none(made, text):
    Path("out/run.json").write_text(text)
    with pytest.raises(ValueError, match="only a finished run"):
        promote(Path("out"), Path("results"), Path("figures"))


def test_promotion_to_a_disk_that_fails_is_one_sentence(made, capsys, monkeypatch):
    monkeypatch.setattr(launcher, "HOME", Path("linphase"))
    monkeypatch.setattr(launcher, "CHECKOUT", Path("simulations"))
    Path("simulations").mkdir()
    Path("simulations/flat.py").touch()
    Path("figures").touch()
    monkeypatch.setattr(sys, "argv", ["linphase", "promote", "flat", "--out", "out"])
    capsys.readouterr()
    assert launcher.main() == 2
    assert said(capsys) == "figures cannot be read or written (Not a directory)\n"
