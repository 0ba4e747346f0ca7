"""Blocks of replicates: planned, computed by workers, kept as files, gathered into cells."""

from __future__ import annotations

import os
import shutil
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from linphase.study import workers
from linphase.study.digest import sources
from linphase.study.files import FORMAT, pack, remove, seal, told, unpack, unseal, write
from linphase.study.model import Cell, Experiment, Local, Options, Setting, Values

SCRATCH = ".scratch"


class StudyError(RuntimeError):
    """A study cannot be finished; arguments: why, as half a sentence, and a traceback as text."""


@dataclass(frozen=True)
class Block:
    """Some replicates of one setting of an experiment."""

    experiment: Experiment
    setting: Setting
    replicates: range
    seed: int

    @property
    def file(self) -> str:
        """Name of its file: it digests all that determines the values, and how they are written."""
        setting = sorted((key, _plain(value)) for key, value in self.setting.items())
        key = (self.experiment.name, setting, self.replicates, self.seed, sources(self.experiment.block))
        digest = blake2b(repr((FORMAT, *key)).encode(), digest_size=16).hexdigest()
        return f"{self.experiment.name}-{self.replicates.start}-{digest}.npz"

    def __str__(self) -> str:
        setting = ", ".join(f"{key} = {value}" for key, value in self.setting.items())
        reps = f"replicates {self.replicates.start} to {self.replicates.stop - 1}"
        return f"experiment {self.experiment.name}, setting ({setting}), {reps}"


def plan(experiments: Sequence[Experiment], options: Options) -> list[Block]:
    """Return all blocks in their fixed order."""
    return [
        Block(experiment, setting, replicates, options.seed)
        for experiment in experiments
        for setting in experiment.settings
        for replicates in experiment.cuts(setting, options.reps)
    ]


def find(blocks: Sequence[Block], folder: Path) -> tuple[dict[int, Values], dict[Path, str]]:
    """Return the values of the finished blocks by place in ``blocks``, and what is wrong with damaged files.

    A damaged file counts as absent: its block is to be computed again.
    """
    found, damaged = dict[int, Values](), dict[Path, str]()
    for i, block in enumerate(blocks):
        path = folder / block.file
        try:
            if path.exists() and not path.is_file():
                raise ValueError("it is no file")
            values = unpack(unseal(path.read_bytes(), path.name))
            if not _fit(values, block.replicates):
                raise ValueError("its arrays have not an entry for each replicate")
            found[i] = values
        except FileNotFoundError:
            continue
        except OSError as error:
            damaged[path] = error.strerror or str(error)
        except ValueError as error:
            damaged[path] = str(error)
    return found, damaged


def doubtful(blocks: Sequence[Block], values: Mapping[int, Values]) -> set[int]:
    """Return the places of all blocks of those settings whose blocks have values that cannot be joined."""
    odd = set[int]()
    for places in _cells(blocks).values():
        forms = [_form(values[i]) for i in places]
        if any(form != forms[0] for form in forms):
            odd.update(places)
    return odd


def _cells(blocks: Sequence[Block]) -> dict[tuple[str, int], list[int]]:
    """Return the places of the blocks of each setting of each experiment."""
    places: dict[tuple[str, int], list[int]] = {}
    for i, block in enumerate(blocks):
        places.setdefault((block.experiment.name, id(block.setting)), []).append(i)
    return places


def _form(values: Values) -> object:
    """What arrays must share to be joined: names, shapes of an entry, and whether they are numbers."""
    return {key: (v.shape[1:], "n" if v.dtype.kind in "biuf" else v.dtype.kind) for key, v in values.items()}


def compute(
    blocks: Mapping[int, Block], folder: Path, options: Options
) -> Iterator[tuple[int, Values, float]]:
    """Compute blocks in any order, each with its seconds; each is in its file before it is yielded.

    Raises
    ------
    StudyError
        As soon as one fails; the others' files stay.
    """
    import joblib

    folder = folder.resolve()  # a worker may stand elsewhere
    scratch = {i: (folder / block.file).with_suffix(SCRATCH) for i, block in blocks.items()}
    for path in folder.glob(f"*{SCRATCH}"):  # nobody goes on from these
        own = path in scratch.values() and (options.fresh or not path.is_dir())
        if own or path.with_suffix(".npz").is_file():
            remove(path)
    tasks = (
        joblib.delayed(_task)(
            *(i, str(b), b.experiment.block, dict(b.setting), b.replicates, b.seed),
            Local(scratch[i], options.own) if b.experiment.local else None,
        )
        for i, b in blocks.items()
    )
    watched = {"initializer": workers.settle, "initargs": (os.getpid(),)}
    with joblib.parallel_config("loky", inner_max_num_threads=1, **watched), ExitStack() as stack:
        order = "generator_unordered"
        parallel = joblib.Parallel(options.jobs, return_as=order, batch_size=1, max_nbytes=None)
        with workers.start():
            done = parallel(tasks)
            stack.callback(workers.stop, done)
        for i, values, seconds in done:
            path = folder / blocks[i].file
            if path.is_dir():  # it would stand in the way
                remove(path)
            write(path, seal(pack(values), path.name))
            shutil.rmtree(scratch[i], ignore_errors=True)
            yield i, values, seconds


def gather(blocks: Sequence[Block], values: Mapping[int, Values]) -> dict[str, list[Cell]]:
    """Return the cells of each experiment, their blocks joined in the order of replicates."""
    cells: dict[str, list[Cell]] = {}
    if odd := doubtful(blocks, values):
        name = blocks[min(odd)].experiment.name
        raise StudyError(f"experiment {name} failed: its blocks return arrays of different forms", "")
    for (name, _), indices in _cells(blocks).items():
        keys = values[indices[0]].keys()
        joined = {key: np.concatenate([values[i][key] for i in indices]) for key in keys}
        cells.setdefault(name, []).append(Cell(blocks[indices[0]].setting, joined))
    return cells


def _task(
    place: int,
    name: str,
    block: Callable[..., Values],
    setting: Setting,
    replicates: range,
    seed: int,
    local: Local | None,
) -> tuple[int, Values, float]:
    start = time.perf_counter()
    try:
        if local is not None:
            local.scratch.mkdir(exist_ok=True)
        with workers.one_thread():
            found = block(setting, replicates, seed, *([local] if local else []))
        values = {key: np.ascontiguousarray(value) for key, value in found.items()}
        if not _fit(values, replicates):
            shapes = {key: value.shape for key, value in values.items()}
            raise ValueError(f"a block must return arrays with an entry a replicate, got shapes {shapes}")
        return place, values, time.perf_counter() - start
    except OSError as error:
        details = "" if error.filename else traceback.format_exc()
        raise StudyError(f"{name} failed: {told(error)}", details) from None
    except Exception as error:
        raise StudyError(f"{name} failed: {type(error).__name__}: {error}", traceback.format_exc()) from None


def _fit(values: Values, replicates: range) -> bool:
    """Tell whether values are arrays, not of objects, with an entry for each replicate."""
    good = (v.shape[:1] == (len(replicates),) and v.dtype != object for v in values.values())
    return bool(values) and all(good)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
