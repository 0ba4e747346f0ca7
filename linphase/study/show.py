"""The table of claims, as a terminal shows it."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from linphase.study.tables import number

if TYPE_CHECKING:
    from linphase.evidence import Verdict


def claims_table(verdicts: Sequence[Verdict], width: int | None = None) -> str:
    """Return verdicts as text of at most ``width`` columns, by default the terminal's."""
    width = width or min(max(shutil.get_terminal_size((100, 24)).columns, 72), 120)
    lines = [("", "claim", "estimate", "interval", "status", "expected")]
    for v in verdicts:
        interval = f"[{number(v.low, 3)}, {number(v.high, 3)}]"
        mark = " " if v.status == v.expected else "!"
        lines.append((mark, v.name, number(v.estimate.value, 3), interval, v.status, v.expected))
    widths = [max(len(line[k]) for line in lines) for k in range(6)]
    widths[1] = min(widths[1], width - sum(widths[2:]) - widths[0] - 10)
    text = []
    for line, says in zip(lines, ["", *(v.says for v in verdicts)], strict=True):
        name = line[1] if len(line[1]) <= widths[1] else line[1][: widths[1] - 1] + "…"
        cells = (line[0], name, *line[2:])
        aligned = [cell.ljust(w) for cell, w in zip(cells, widths, strict=True)]
        aligned[2] = aligned[2].strip().rjust(widths[2])
        text.append("  ".join(aligned).rstrip())
        text += textwrap.wrap(says, width, initial_indent=" " * 6, subsequent_indent=" " * 6)
    good = sum(v.status == v.expected for v in verdicts)
    return "\n".join([*text, f"{good} of {len(verdicts)} claims are as expected."])
