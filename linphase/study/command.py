"""The command line of a study."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NoReturn

from linphase.interrupts import guard
from linphase.study.blocks import StudyError
from linphase.study.engine import run
from linphase.study.files import told
from linphase.study.model import Options, Study, at_least

KEPT = "finished blocks are kept, and the same command goes on from them"


def main(study: Study, argv: Sequence[str] | None = None) -> int:
    """Run a study from the command line and return its exit code.

    Returns
    -------
    int
        0; 1 if a claim contradicts its expectation or stays inconclusive at full scale (see `run`); 2 for bad
        input or a failed block; 130 after Ctrl-C.
    """
    for output in (sys.stdout, sys.stderr):
        if hasattr(output, "reconfigure"):
            output.reconfigure(errors="replace")  # claims have Greek letters, a terminal may not
    stopped = f"{study.name} was interrupted: {KEPT}."
    if argv is None:  # this process is the command's own
        guard(sentence=stopped)
    try:
        options, dry = _options(study, argv)
        if dry and study.dry_run is not None:
            print(study.dry_run(options))
            return 0
        code = run(study, options)
        sys.stdout.flush()
        return code
    except SystemExit as ready:  # argparse: -h or bad input
        return int(ready.code or 0)
    except KeyboardInterrupt:  # where somebody else's process is interrupted
        print(stopped, file=sys.stderr)
        return 130
    except StudyError as error:
        sentence, details = error.args
        print(f"{details}{study.name}: {sentence}; {KEPT}.", file=sys.stderr)
    except BrokenProcessPool:
        reason = "a worker was killed, perhaps for want of memory (try --jobs 1)"
        print(f"{study.name}: {reason}; {KEPT}.", file=sys.stderr)
    except OSError as error:
        print(f"{study.name}: {told(error)}; {KEPT}.", file=sys.stderr)
        _give_up_output()
    return 2


def _give_up_output() -> None:
    """Turn away from a standard output that cannot be written: Python would try again at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one sentence."""
        self.exit(2, f"{self.prog}: {message}\n")


def _options(study: Study, argv: Sequence[str] | None) -> tuple[Options, bool]:
    """Return the options, and whether the run is to be dry."""
    out, quick_out = Path("out") / study.name, Path("out") / f"{study.name}-quick"
    kind = "".join(study.variants[:1]).upper()
    shown = ", or ".join(str(folder / kind) for folder in (out, quick_out))
    parser = _Parser(description=study.about, allow_abbrev=False)
    add = parser.add_argument
    add("--quick", action="store_true", help="small grids, few replicates: proves little")
    add("--reps", type=at_least(1), metavar="N", help="replicates per setting (default: varies)")
    add("--seed", type=at_least(0), default=0, metavar="N", help="seed of all random numbers (default: 0)")
    add("--jobs", type=at_least(1), metavar="N", help="worker processes (default: one for each core)")
    add("--out", type=Path, metavar="FOLDER", help=f"outputs (default: {shown})")
    add("--blocks", type=Path, metavar="FOLDER", help="finished blocks, to share (default: OUT/blocks)")
    add("--fresh", action="store_true", help="compute again the blocks that an earlier run has finished")
    add("--no-figure", action="store_true", help="draw no figures")
    for flag in study.flags:
        if flag.switch:
            add(flag.name, action="store_true", help=flag.help)
        else:
            metavar = flag.metavar or "|".join(flag.choices) or None
            parse = _one_of(flag.choices) if flag.choices else flag.type
            add(flag.name, type=parse, default=flag.default, metavar=metavar, help=flag.help)
    if study.dry_run is not None:
        add("--dry-run", action="store_true", help="say what a run would cost, and do not run")
    given, unknown = parser.parse_known_args(argv)
    if unknown:
        flags = ", ".join(flag for action in parser._actions for flag in action.option_strings)
        parser.error(f"unknown argument {unknown[0]}, allowed are {flags}")
    own = {flag.key: getattr(given, flag.key) for flag in study.flags}
    folder = given.out or (quick_out if given.quick else out) / study.variant_of(own)
    dry = getattr(given, "dry_run", False)
    for name, place in (("--out", folder), ("--blocks", given.blocks)):
        if place and not dry and (reason := _unwritable(place)):
            parser.error(f"argument {name}: must be a folder that can be written, got {place} ({reason})")
    jobs, figures = given.jobs or _cores(), not given.no_figure
    options = Options(
        folder, given.quick, given.reps, given.seed, jobs, given.fresh, figures, own, given.blocks
    )
    return options, dry


def _one_of(choices: Sequence[str]) -> Callable[[str], str]:
    def choice(text: str) -> str:
        if text not in choices:
            raise argparse.ArgumentTypeError(f"must be one of {', '.join(choices)}, got {text}")
        return text

    return choice


def _unwritable(folder: Path) -> str | None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        return error.strerror
    return None


def _cores() -> int:
    import joblib

    return int(joblib.cpu_count())
