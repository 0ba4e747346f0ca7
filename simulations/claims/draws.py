"""What the claims of Theorem 2 share: the thresholds of many data sets, their names and exact limits."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from linphase import GaussianDesign, asymptotics, critical
from linphase.study import Cell

CRITERIA = ("loss", "parameter", "clean-loss")
SYMBOLS = {"loss": r"\epsilon^*", "parameter": r"\epsilon_P", "clean-loss": r"\epsilon_C"}
NAMES = {"loss": "eps*", "parameter": "eps_P", "clean-loss": "eps_C"}

FINE = np.concatenate([np.geomspace(0.008, 0.995, 300), [1.0], np.geomspace(1.005, 6.0, 150)])
"""d/n for the lines of exact limits."""


def limit_line(criterion: str, signal: float = 1.0) -> np.ndarray:
    """Exact limit of a threshold along FINE; NaN where it is infinite, and at d = n, where there is none."""
    line, there = np.full(FINE.size, np.nan), FINE != 1
    line[there] = asymptotics.critical_strength(FINE[there], signal, criterion=criterion)
    return np.where(np.isfinite(line), line, np.nan)


def thresholds(
    design: GaussianDesign, rngs: Iterable[np.random.Generator], criteria: Sequence[str] = CRITERIA
) -> dict[str, np.ndarray]:
    """Critical strengths of one data set for each generator, by criterion."""
    found = [
        [
            f.eps
            for f in critical.find_all(*design.sample(rng), design.theta0, design.noise, criteria=criteria)
        ]
        for rng in rngs
    ]
    return dict(zip(criteria, np.array(found).T, strict=True))


def by(cells: Sequence[Cell], key: str) -> dict[Any, list[Cell]]:
    """Cells grouped by a key of their settings, in order."""
    groups: dict[Any, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell.setting[key], []).append(cell)
    return groups
