"""The digest that names a block: it follows what the block reaches, and nothing else."""

import importlib
import shutil
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from toy_study import HELPERS, PARTS

import linphase
from linphase.study import digest, modules

ROOT = Path(linphase.__file__).resolve().parents[1]


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
