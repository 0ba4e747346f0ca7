"""A small study that several test files run: as text, in a folder of its own, and as an object."""

import numpy as np

from linphase import evidence
from linphase.streams import stream
from linphase.study import Experiment, Part, Report, Study, row

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


def toy_in(folder):
    (folder / "toyparts").mkdir()
    (folder / "toyparts" / "spread.py").write_text(PARTS)
    (folder / "toyparts" / "helpers.py").write_text(HELPERS)
    (folder / "toy.py").write_text(SCRIPT)
    return folder


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
