"""Ctrl-C and SIGTERM at any moment of a simulation: one sentence, a status, and no process left."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import linphase
from linphase.interrupts import guard

ROOT = Path(linphase.__file__).resolve().parents[1]
COMMANDS = (["simulations/theorem1.py"], ["-m", "linphase", "theorem1"])
SENTENCES = {
    "linphase was interrupted: the same command can be given again.\n",
    "theorem1 was interrupted: finished blocks are kept, and the same command goes on from them.\n",
}


def started(command, out):
    """Start a simulation, and wait for the end of Python's own start, which answers with a traceback."""
    process = subprocess.Popen(
        [sys.executable, *command, "--quick", "--jobs", "2", "--no-figure", "--out", out],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    status = Path(f"/proc/{process.pid}/status")
    if not status.exists():
        time.sleep(0.3)
        return process
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        caught = status.read_text().partition("SigCgt:")[2].split()[0]
        if int(caught, 16) >> (signal.SIGTERM - 1) & 1:
            return process
        time.sleep(0.001)
    pytest.fail("the simulation has not set its answer to SIGTERM")


def interrupted(command, out, moment, number, times):
    process = started(command, out)
    time.sleep(moment)
    for _ in range(times):
        os.killpg(process.pid, number)
        time.sleep(0.02)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err.count("\n")) == (128 + number, 1), err
    assert err in SENTENCES
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)
    pytest.fail("a worker is alive 30 s after its parent was interrupted")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize(
    ("moment", "number", "times"),
    [
        (0, signal.SIGINT, 1),
        (0.05, signal.SIGINT, 5),
        (0.2, signal.SIGINT, 1),
        (0.5, signal.SIGINT, 5),
        (1, signal.SIGINT, 1),
        (0.3, signal.SIGTERM, 1),
    ],
)
def test_an_interrupt_while_modules_are_loaded(tmp_path, command, moment, number, times):
    interrupted(command, tmp_path / "out", moment, number, times)


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize(("number", "times"), [(signal.SIGINT, 1), (signal.SIGINT, 5), (signal.SIGTERM, 1)])
def test_an_interrupt_at_any_moment(tmp_path, command, number, times):
    for k in range(20):
        moment = random.uniform(0, 6)  # new moments every time; a failure shows them
        print(moment)
        interrupted(command, tmp_path / f"out{k}", moment, number, times)


def test_a_script_that_is_imported_and_handlers_of_others_stay(monkeypatch):
    mine = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    guard("__mp_main__")
    guard("theorem1")
    assert before == {number: signal.getsignal(number) for number in before}
    try:
        for number in before:
            signal.signal(number, lambda number, frame: mine.append(number))
        guard()
        for number in before:
            signal.raise_signal(number)
        assert mine == list(before)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_the_guard_is_light():
    """What comes before it can be interrupted with a traceback, so nothing does that takes time."""
    heavy = ["numpy", "numba", "typing", "pathlib", "linphase.streams"]
    code = f"import sys, linphase.interrupts; print([name for name in {heavy} if name in sys.modules])"
    # Without site, whose hooks may import whatever an environment has installed.
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
