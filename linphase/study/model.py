"""What a study is made of: options, experiments, cells, reports, parts."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from linphase.evidence import Claim

Setting = Mapping[str, int | float | str]
Values = dict[str, NDArray[Any]]
Figures = Mapping[str, Mapping[str, NDArray[Any]]]


@dataclass(frozen=True)
class Options:
    """How a study is run; each field is a flag of the command line.

    Attributes
    ----------
    out : Path
        Folder of the outputs and of the finished blocks.
    quick : bool
        Small grids and few replicates: a check that all runs, not evidence.
    reps : int or None
        Replicates per setting in place of each experiment's own number. An experiment of one replicate, which
        is no Monte Carlo, keeps it.
    seed, jobs : int
        Seed of all draws; worker processes.
    fresh : bool
        Compute every block anew.
    figures : bool
        Draw the figures.
    """

    out: Path
    quick: bool = False
    reps: int | None = None
    seed: int = 0
    jobs: int = 1
    fresh: bool = False
    figures: bool = True

    def __post_init__(self) -> None:
        for name, value, least in (("reps", self.reps, 1), ("jobs", self.jobs, 1), ("seed", self.seed, 0)):
            if name == "reps" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
                raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")


@dataclass(frozen=True)
class Experiment:
    """One computation over a grid of settings, with replicates in blocks.

    Attributes
    ----------
    name : str
        Letters, digits, ``_ . -``; unique in a study.
    block : callable
        ``block(setting, replicates, seed)`` returns arrays by name whose leading axis runs over
        ``replicates``. It draws only from ``stream(seed, ...)`` keyed by the replicate, so that no value
        depends on how the replicates are cut into blocks. Top level of a module or script.
    settings : sequence of mappings
        The grid; values are numbers or strings.
    reps, block_size : int or callable of a setting
        Replicates per setting, and how many of them make a block (aim at about a second).
    """

    name: str
    block: Callable[[Mapping[str, Any], range, int], Values]
    settings: Sequence[Setting]
    reps: int | Callable[[Setting], int] = 1
    block_size: int | Callable[[Setting], int] = 100

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.-]+", self.name):
            raise ValueError(f"an experiment's name must be letters, digits, _ . or -, got {self.name!r}")
        keys = [tuple(sorted((key, repr(value)) for key, value in s.items())) for s in self.settings]
        if len(set(keys)) < len(keys):
            raise ValueError(f"settings of experiment {self.name} must differ from each other")

    def replicates(self, setting: Setting, override: int | None = None) -> int:
        """Return the number of replicates of a setting; ``override`` leaves a single replicate alone."""
        own = self.reps(setting) if callable(self.reps) else self.reps
        return own if override is None or own == 1 else override

    def cuts(self, setting: Setting, override: int | None = None) -> list[range]:
        """Return the blocks of a setting as ranges of replicates."""
        reps = self.replicates(setting, override)
        size = self.block_size(setting) if callable(self.block_size) else self.block_size
        if reps < 1 or size < 1:
            raise ValueError(f"reps and block_size of {self.name} must be at least 1, got {reps} and {size}")
        return [range(start, min(start + size, reps)) for start in range(0, reps, size)]


@dataclass(frozen=True)
class Cell:
    """The values of one setting, over all its replicates in order."""

    setting: Setting
    values: Values


Results = Mapping[str, Sequence[Cell]]


@dataclass(frozen=True)
class Report:
    """What a part makes of its results.

    Attributes
    ----------
    rows : list of dict
        Rows of the table: the setting, then estimates with n, se, low, high, failures.
    claims : list of Claim
        The claims to decide.
    figures : dict
        Figure name to columns: all that drawing it needs.
    """

    rows: Sequence[Mapping[str, Any]] = ()
    claims: Sequence[Claim] = ()
    figures: Figures = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """One claim of the paper, or a few that share computations.

    Attributes
    ----------
    experiments : callable
        ``experiments(options)``: what to compute.
    report : callable
        ``report(results, options)``: results of this part's experiments, by name, to rows, claims, figures.
    draw : callable, optional
        ``draw(figures, folder)`` draws files into a folder from the figure data of the whole study alone.
    """

    name: str
    experiments: Callable[[Options], Sequence[Experiment]]
    report: Callable[[Results, Options], Report]
    draw: Callable[[Figures, Path], None] | None = None


@dataclass(frozen=True)
class Study:
    """A simulation: its parts, and the paragraph that ``-h`` prints.

    ``warm`` compiles the kernels in the parent, so that the workers find them in the cache.
    """

    name: str
    about: str
    parts: Sequence[Part]
    warm: Callable[[], None] | None = None
