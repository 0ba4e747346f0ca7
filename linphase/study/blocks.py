"""Blocks of replicates: planned, computed by workers, kept as files, gathered into cells."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from linphase.study.digest import sources
from linphase.study.files import pack, sweep, unpack, write
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
        """Name of its file: it digests all that determines the values."""
        setting = sorted((key, _plain(value)) for key, value in self.setting.items())
        key = (self.experiment.name, setting, self.replicates, self.seed, sources(self.experiment.block))
        digest = blake2b(repr(key).encode(), digest_size=16).hexdigest()
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


def find(blocks: Sequence[Block], folder: Path) -> dict[int, Values]:
    """Return the values of the finished blocks by place in ``blocks``; damaged files count as absent."""
    found = ((i, block, unpack(folder / block.file)) for i, block in enumerate(blocks))
    return {i: values for i, block, values in found if values and _fit(values, block.replicates)}


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
    sweep(folder)
    scratch = {i: (folder / block.file).with_suffix(SCRATCH) for i, block in blocks.items()}
    for path in folder.glob(f"*{SCRATCH}"):  # nobody goes on from these
        if path.with_suffix(".npz").is_file() or (options.fresh and path in scratch.values()):
            shutil.rmtree(path)
    parent = os.getpid()
    tasks = (
        joblib.delayed(_task)(
            *(i, str(b), parent, b.experiment.block, dict(b.setting), b.replicates, b.seed),
            Local(scratch[i], options.own) if b.experiment.local else None,
        )
        for i, b in blocks.items()
    )
    with joblib.parallel_config("loky", inner_max_num_threads=1):
        order = "generator_unordered"
        parallel = joblib.Parallel(options.jobs, return_as=order, batch_size=1, max_nbytes=None)
        with _interrupt_ignored():
            done = parallel(tasks)  # starts the workers
        try:
            for i, values, seconds in done:
                write(folder / blocks[i].file, pack(values))
                shutil.rmtree(scratch[i], ignore_errors=True)
                yield i, values, seconds
        finally:
            with warnings.catch_warnings():  # joblib's, that what is interrupted is not finished
                warnings.simplefilter("ignore")
                done.close()


def gather(blocks: Sequence[Block], values: Mapping[int, Values]) -> dict[str, list[Cell]]:
    """Return the cells of each experiment, their blocks joined in the order of replicates."""
    places: dict[tuple[str, int], list[int]] = {}
    for i, block in enumerate(blocks):
        places.setdefault((block.experiment.name, id(block.setting)), []).append(i)
    cells: dict[str, list[Cell]] = {}
    for (name, _), indices in places.items():
        keys = values[indices[0]].keys()
        if any(values[i].keys() != keys for i in indices):
            raise StudyError(f"experiment {name} failed: its blocks return arrays of different names", "")
        joined = {key: np.concatenate([values[i][key] for i in indices]) for key in keys}
        cells.setdefault(name, []).append(Cell(blocks[indices[0]].setting, joined))
    return cells


@contextmanager
def one_thread() -> Iterator[None]:
    """Run under one thread of BLAS, Numba and torch: the number of threads can change the last digits.

    What a block imports is loaded by then: its digest has followed it.
    """
    import scipy.linalg  # noqa: F401  (only a BLAS that is loaded can be limited)
    from threadpoolctl import threadpool_limits

    numba, torch = sys.modules.get("numba"), sys.modules.get("torch")
    pools = [torch] if torch else []
    if numba and numba.config.NUMBA_NUM_THREADS > 1:
        pools.append(numba)
    before = [pool.get_num_threads() for pool in pools]
    with threadpool_limits(1), ExitStack() as stack:
        for pool, threads in zip(pools, before, strict=True):
            stack.callback(pool.set_num_threads, threads)
            pool.set_num_threads(1)
        yield


@contextmanager
def _interrupt_ignored() -> Iterator[None]:
    """Ignore Ctrl-C for a moment: processes that are started in it do so from their first import on."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _task(
    place: int,
    name: str,
    parent: int,
    block: Callable[..., Values],
    setting: Setting,
    replicates: range,
    seed: int,
    local: Local | None,
) -> tuple[int, Values, float]:
    if parent != os.getpid():
        _settle(parent)
    start = time.perf_counter()
    try:
        if local is not None:
            local.scratch.mkdir(exist_ok=True)
        with one_thread():
            found = block(setting, replicates, seed, *([local] if local else []))
        values = {key: np.ascontiguousarray(value) for key, value in found.items()}
        if not _fit(values, replicates):
            shapes = {key: value.shape for key, value in values.items()}
            raise ValueError(f"a block must return arrays with an entry a replicate, got shapes {shapes}")
        return place, values, time.perf_counter() - start
    except Exception as error:
        raise StudyError(f"{name} failed: {type(error).__name__}: {error}", traceback.format_exc()) from None


def _fit(values: Values, replicates: range) -> bool:
    """Tell whether values are arrays, not of objects, with an entry for each replicate."""
    good = (v.shape[:1] == (len(replicates),) and v.dtype != object for v in values.values())
    return bool(values) and all(good)


@cache
def _settle(parent: int) -> None:
    """Once a worker: leave Ctrl-C to the parent, and do not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def follow() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
