"""What a study is made of: options, experiments, cells, reports, parts."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from linphase.checks import (
    MOST,
    check_callable,
    check_choice,
    check_count,
    check_flag,
    check_kind,
    check_mapping,
    check_sequence,
    check_text,
    shown,
)

if TYPE_CHECKING:
    from linphase.evidence import Claim

Setting = Mapping[str, int | float | str]
Values = dict[str, NDArray[Any]]
Figures = Mapping[str, Mapping[str, NDArray[Any]]]

COMMON = (
    "quick", "reps", "seed", "jobs", "out", "blocks", "fresh", "figures", "no_figure", "dry_run", "help",
)  # fmt: skip


_LARGEST_SEED = 2**64 - 1


@dataclass(frozen=True)
class Flag:
    """A flag of a study's own, beside the common ones.

    Attributes
    ----------
    name, help : str
        ``--two-words``, and what ``-h`` says about it.
    default : object
        Its value where it is not given; a text is parsed like a given one.
    type : callable
        From text to value; raises `argparse.ArgumentTypeError` with "must be ..., got ..." on a bad one.
    choices : sequence of str
        All values, where there are only a few; in place of ``type``.
    switch : bool
        It takes no value: True where it is given, else False.
    metavar : str, optional
        What ``-h`` writes for its value.
    """

    name: str
    help: str
    default: Any = None
    type: Callable[[str], Any] = str
    choices: Sequence[str] = ()
    switch: bool = False
    metavar: str | None = None

    def __post_init__(self) -> None:
        for name in ("name", "help"):
            check_text(name, getattr(self, name))
        if self.metavar is not None:
            check_text("metavar", self.metavar)
        check_callable("type", self.type)
        check_sequence("choices", self.choices, str, "strings")
        check_flag("switch", self.switch)
        if not re.fullmatch(r"--[a-z][a-z0-9]*(-[a-z0-9]+)*", self.name) or self.key in COMMON:
            raise ValueError(
                f"the name of a study's own flag must be a new one, like --two-words, got {shown(self.name)}"
            )

    @property
    def key(self) -> str:
        """Its name among the options: ``two_words``."""
        return self.name.removeprefix("--").replace("-", "_")


def at_least(least: int) -> Callable[[str], int]:
    """Return the type of a flag whose value is an integer of at least ``least``."""
    least = check_count("least", least, least=-MOST)

    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"must be an integer of at least {least}, got {text}")
        return int(text)

    return number


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
    own : mapping
        The study's own flags, by their `Flag.key`; read-only.
    blocks : Path, optional
        Folder of the finished blocks, by default in ``out``. Studies that share computations may share it.
    """

    out: Path
    quick: bool = False
    reps: int | None = None
    seed: int = 0
    jobs: int = 1
    fresh: bool = False
    figures: bool = True
    own: Mapping[str, Any] = field(default_factory=dict)
    blocks: Path | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "own", MappingProxyType(dict(check_mapping("own", self.own))))
        check_kind("out", self.out, Path, "a Path")
        if self.blocks is not None:
            check_kind("blocks", self.blocks, Path, "a Path")
        for name in ("quick", "fresh", "figures"):
            check_flag(name, getattr(self, name))
        if self.reps is not None:
            check_count("reps", self.reps)
        check_count("jobs", self.jobs)
        check_count("seed", self.seed, least=0, most=_LARGEST_SEED)


@dataclass(frozen=True)
class Local:
    """What a block may use, but what must not determine its values.

    Attributes
    ----------
    scratch : Path
        A folder of this block alone. It goes once the block's values are in their file, and stays if the run
        is killed or the block fails: the block may then resume from what it has put there.
    own : mapping
        The study's own flags, read-only: where the data lie, which device computes. What determines values,
        as the name of a data set, belongs into the setting.
    """

    scratch: Path
    own: Mapping[str, Any]

    def __post_init__(self) -> None:
        check_kind("scratch", self.scratch, Path, "a Path")
        check_mapping("own", self.own)


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
        With ``local`` it is called as ``block(setting, replicates, seed, local)``.
    settings : sequence of mappings
        The grid; values are numbers or strings.
    reps, block_size : int or callable of a setting
        Replicates per setting, and how many of them make a block (aim at about a second).
    local : bool
        Give the block a `Local`: a folder for its checkpoints and the study's own flags.
    """

    name: str
    block: Callable[..., Values]
    settings: Sequence[Setting]
    reps: int | Callable[[Setting], int] = 1
    block_size: int | Callable[[Setting], int] = 100
    local: bool = False

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.-]+", check_text("name", self.name)):
            raise ValueError(
                f"an experiment's name must be letters, digits, _ . or -, got {shown(self.name)}"
            )
        check_callable("block", self.block)
        check_flag("local", self.local)
        for name in ("reps", "block_size"):
            if not callable(getattr(self, name)):
                check_count(name, getattr(self, name))
        settings = [
            check_mapping("settings", s)
            for s in check_sequence("settings", self.settings, object, "mappings")
        ]
        keys = [tuple(sorted((key, repr(value)) for key, value in s.items())) for s in settings]
        if len(set(keys)) < len(keys):
            raise ValueError(f"settings of experiment {shown(self.name)} must differ from each other")

    def replicates(self, setting: Setting, override: int | None = None) -> int:
        """Return the number of replicates of a setting; ``override`` leaves a single replicate alone."""
        check_mapping("setting", setting)
        own = check_count("reps", self.reps(setting)) if callable(self.reps) else self.reps
        return own if override is None or own == 1 else check_count("override", override)

    def cuts(self, setting: Setting, override: int | None = None) -> list[range]:
        """Return the blocks of a setting as ranges of replicates."""
        reps = self.replicates(setting, override)
        size = self.block_size
        if callable(size):
            size = check_count("block_size", size(setting))
        return [range(start, min(start + size, reps)) for start in range(0, reps, size)]


@dataclass(frozen=True)
class Cell:
    """The values of one setting, over all its replicates in order."""

    setting: Setting
    values: Values

    def __post_init__(self) -> None:
        check_mapping("setting", self.setting)
        check_mapping("values", self.values)


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

    def __post_init__(self) -> None:
        for name in ("rows", "claims"):
            check_sequence(name, getattr(self, name), object, "items")
        check_mapping("figures", self.figures)


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

    def __post_init__(self) -> None:
        check_text("name", self.name)
        check_callable("experiments", self.experiments)
        check_callable("report", self.report)
        if self.draw is not None:
            check_callable("draw", self.draw)


@dataclass(frozen=True)
class Study:
    """A simulation: its parts, and the paragraph that ``-h`` prints.

    Attributes
    ----------
    warm : callable, optional
        Compiles the kernels in the parent, so that the workers find them in the cache.
    flags : sequence of Flag
        Flags of its own, whose values are in ``options.own``.
    variants : sequence of str, optional
        Keys of flags with choices, one of them its default, by which the study has variants: each has its
        outputs and results in a subfolder of the study's, and its name at the end of its figures' names. The
        name is the first flag's value, and those of the others where they differ from their defaults.
    facts : callable, optional
        ``facts(options)`` returns what else the run's record is to say, such as the device that computed.
    dry_run : callable, optional
        ``dry_run(options)`` returns what ``--dry-run`` prints instead of running: what a run would cost.
    """

    name: str
    about: str
    parts: Sequence[Part]
    warm: Callable[[], None] | None = None
    flags: Sequence[Flag] = ()
    variants: Sequence[str] = ()
    dry_run: Callable[[Options], str] | None = None
    facts: Callable[[Options], Mapping[str, Any]] | None = None

    def __post_init__(self) -> None:
        check_text("name", self.name)
        check_text("about", self.about)
        check_sequence("parts", self.parts, Part, "Parts")
        check_sequence("flags", self.flags, Flag, "Flags")
        check_sequence("variants", self.variants, str, "strings")
        for name in ("warm", "dry_run", "facts"):
            if getattr(self, name) is not None:
                check_callable(name, getattr(self, name))
        keys = [flag.key for flag in self.flags]
        if len(set(keys)) < len(keys):
            raise ValueError(f"flags of a study must have distinct names, got {shown(keys)}")
        told = [flag for flag in self.flags if flag.default in flag.choices and _folders(flag.choices)]
        if strange := set(self.variants) - {flag.key for flag in told}:
            raise ValueError(
                "variants must be keys of flags with a default among their choices, which can name folders, "
                f"got {shown(sorted(strange))}"
            )

    def variant_of(self, own: Mapping[str, Any]) -> str:
        """Return the name of the variant that flags choose; empty if the study has none."""
        check_mapping("own", own)
        usual = {flag.key: flag.default for flag in self.flags}
        choices = {flag.key: flag.choices for flag in self.flags}
        chosen = [(key, check_choice(f"{key} in own", own.get(key), choices[key])) for key in self.variants]
        return "-".join(value for i, (key, value) in enumerate(chosen) if i == 0 or value != usual[key])


def _folders(names: Sequence[str]) -> bool:
    return all(re.fullmatch(r"\w[\w.-]*", name) for name in names)
