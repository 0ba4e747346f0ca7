"""A study from its experiments to its files and its exit code."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar

from linphase.study.blocks import Block, StudyError, compute, doubtful, find, gather, plan
from linphase.study.files import prepare
from linphase.study.model import Cell, Experiment, Options, Report, Study, Values
from linphase.study.record import recorded, redraw, save, save_run, simulations
from linphase.study.show import claims_table
from linphase.study.tables import compare
from linphase.study.workers import one_thread

LONG = 60.0
"""Seconds from which a block is worth a line in a log."""


def run(study: Study, options: Options) -> int:
    """Run a study, write its outputs to ``options.out`` and print its claims.

    Returns
    -------
    int
        1 if a claim contradicts its expectation, or is inconclusive although neither ``quick`` nor fewer
        replicates excuse it; else 0.

    Raises
    ------
    StudyError
        If a block fails, or there are too few replicates for a report.
    """
    start = time.perf_counter()
    experiments = _distinct("part", ((part.name, list(part.experiments(options))) for part in study.parts))
    every = _distinct("experiment", ((e.name, e) for part in experiments.values() for e in part))
    blocks = plan(list(every.values()), options)
    folder = options.blocks or options.out / "blocks"
    for place in (options.out, folder):
        prepare(place)
    found, damaged = ({}, {}) if options.fresh else find(blocks, folder)
    for path, reason in damaged.items():
        _say_again(study, path, reason)
    values = _compute(study, options, blocks, found, folder)
    for i in sorted(found.keys() & doubtful(blocks, values)):
        _say_again(study, folder / blocks[i].file, "its arrays do not fit those of the blocks beside it")
        del found[i], values[i]
    if len(values) < len(blocks):
        values = _compute(study, options, blocks, values, folder)

    reports = _reports(study, options, gather(blocks, values), experiments)
    from linphase.evidence import decide

    verdicts = decide([claim for report in reports.values() for claim in report.claims])
    rows = {name: report.rows for name, report in reports.items()}
    figures = _distinct("figure", (item for report in reports.values() for item in report.figures.items()))
    files = save(options.out, study, rows, verdicts, figures)
    variant = study.variant_of(options.own)
    if options.figures:
        files += redraw(study, options.out, options.out, variant)
    seconds = time.perf_counter() - start
    digest = blake2b("".join(block.file for block in blocks).encode(), digest_size=16).hexdigest()
    counts = {"computed": len(blocks) - len(found), "found": len(found)}
    facts: dict[str, Any] = {"study": study.name} | ({"variant": variant} if variant else {})
    full = not (options.quick or any(_fewer(e, options) for e in every.values()))
    facts |= {"seconds": round(seconds, 2), "blocks": counts, "digest": digest, "full_scale": full}
    save_run(options, files, facts | dict(study.facts(options) if study.facts else {}))

    print(claims_table(verdicts))
    print(f"{seconds:.0f} s; {', '.join(path.name for path in files)} and run.json are in {options.out}")
    if not options.quick:
        print(_comparison(study, options))
    return int(any(v.status != v.expected and (full or v.status != "inconclusive") for v in verdicts))


def _say_again(study: Study, path: Path, reason: str) -> None:
    print(f"{study.name}: {path} is damaged ({reason}), and is computed again", file=sys.stderr, flush=True)


T = TypeVar("T")


def _distinct(kind: str, items: Iterable[tuple[str, T]]) -> dict[str, T]:
    found: dict[str, T] = {}
    for name, item in items:
        if name in found:
            raise ValueError(f"{kind}s of a study must have distinct names, {name!r} comes twice")
        found[name] = item
    return found


def _compute(
    study: Study, options: Options, blocks: Sequence[Block], found: Mapping[int, Values], folder: Path
) -> dict[int, Values]:
    from tqdm import tqdm

    values = dict(found)
    missing = {i: block for i, block in enumerate(blocks) if i not in found}
    counts = f"{len(missing)} blocks to compute, {len(found)} found"
    print(f"{study.name}: {counts}, {options.jobs} worker(s)", flush=True)
    if missing and study.warm is not None:
        study.warm()
    terminal = sys.stderr.isatty()
    with tqdm(total=len(missing), unit="block", leave=False, disable=not terminal) as bar:
        for i, result, seconds in compute(missing, folder, options):
            values[i] = result
            bar.update()
            if seconds > LONG and not terminal:
                count = f"{len(values)} of {len(blocks)} blocks are finished"
                print(f"{blocks[i]}: {seconds:.0f} s; {count}", flush=True)
    return values


def _reports(
    study: Study,
    options: Options,
    cells: Mapping[str, Sequence[Cell]],
    experiments: Mapping[str, Sequence[Experiment]],
) -> dict[str, Report]:
    reports = {}
    for part in study.parts:
        own = {experiment.name: cells[experiment.name] for experiment in experiments[part.name]}
        try:
            with one_thread():
                reports[part.name] = part.report(own, options)
        except ValueError as error:
            if not any(_fewer(experiment, options) for experiment in experiments[part.name]):
                raise
            sentence = f"--reps {options.reps} is too few for the report of {part.name}: {error}"
            raise StudyError(sentence, "") from error
    return reports


def _fewer(experiment: Experiment, options: Options) -> bool:
    """Tell whether --reps gives an experiment fewer replicates than its own number."""
    return any(experiment.replicates(s, options.reps) < experiment.replicates(s) for s in experiment.settings)


def _comparison(study: Study, options: Options) -> str:
    inside = Path("results", study.name, study.variant_of(options.own))
    folders = [folder / inside for folder in simulations()]
    committed = next((folder for folder in folders if (folder / "table.csv").is_file()), None)
    if committed is None:
        return "There is no committed table to compare with."
    ours, theirs = ((f / "table.csv").read_text("utf-8", errors="replace") for f in (options.out, committed))
    arguments = recorded(committed).get("arguments")
    seed = arguments.get("seed", options.seed) if isinstance(arguments, dict) else options.seed
    other = f" (which has seed {seed})" if seed != options.seed else ""
    return f"table.csv {compare(ours, theirs)}{other}."
