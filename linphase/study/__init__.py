"""Studies: grids of settings times replicates, from keyed random streams to tables, verdicts and figures.

A simulation assembles a `Study` from parts, one for each claim, and hands it to `main`. Its replicates are
computed in blocks by worker processes; a finished block is a file, so a killed run goes on where it stopped
and ends with the same table.
"""

from linphase.study.blocks import StudyError
from linphase.study.command import main
from linphase.study.engine import run
from linphase.study.model import (
    Cell,
    Experiment,
    Figures,
    Flag,
    Local,
    Options,
    Part,
    Report,
    Results,
    Setting,
    Study,
    Values,
    at_least,
)
from linphase.study.record import promote, redraw
from linphase.study.tables import row

__all__ = [
    "Cell", "Experiment", "Figures", "Flag", "Local", "Options", "Part", "Report", "Results", "Setting",
    "Study", "StudyError", "Values", "at_least", "main", "promote", "redraw", "row", "run",
]  # fmt: skip
