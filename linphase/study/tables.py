"""Tables as CSV and LaTeX, with numbers in one fixed format, and how two tables compare."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from linphase.estimates import Estimate

Rows = Sequence[Mapping[str, Any]]

_SYMBOLS = {"ε": r"\varepsilon", "θ": r"\theta", "δ": r"\delta", "σ": r"\sigma", "γ": r"\gamma", "η": r"\eta"}
_SYMBOLS |= {"√": r"\surd", "×": r"\times", "≤": r"\le", "≥": r"\ge", "∞": r"\infty", "→": r"\to", "−": "-"}
_SYMBOLS |= {"‖": r"\|", "π": r"\pi", "±": r"\pm", "½": r"\frac12", "¼": r"\frac14", "^": r"\hat{}"}
_SYMBOLS |= {"~": r"\sim", "\\": r"\backslash", "<": "<", ">": ">", "|": "|"}
_ESCAPES = str.maketrans({c: f"\\{c}" for c in "&%$#_{}"} | {c: f"${tex}$" for c, tex in _SYMBOLS.items()})


def row(estimate: Estimate, **keys: Any) -> dict[str, Any]:
    """Return a row of the table: the keys, then the estimate with error, 95 % interval and replicates."""
    low, high = estimate.interval()
    numbers = {"estimate": estimate.value, "se": estimate.se, "low": low, "high": high}
    return {**keys, **numbers, "replicates": estimate.n, "failures": estimate.failures}


def number(value: Any, digits: int = 10) -> str:
    """Return a table's text for a value: numbers with ``digits`` significant digits, None empty."""
    if value is None:
        return ""
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value)).lower()
    if isinstance(value, Integral):
        return str(int(value))
    return format(float(value) + 0.0, f".{digits}g") if isinstance(value, Real) else str(value)


def columns(rows: Rows) -> list[str]:
    """Return the names of all columns, in order of first appearance."""
    return list(dict.fromkeys(name for row in rows for name in row))


def to_csv(rows: Rows) -> str:
    """Return rows as CSV; what a row lacks is empty."""
    names = columns(rows)
    return _lines([names, *([number(row.get(name)) for name in names] for row in rows)])


def _lines(cells: Iterable[Iterable[str]]) -> str:
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerows(cells)
    return text.getvalue()


def columns_to_csv(data: Mapping[str, NDArray[Any]]) -> str:
    """Return one-dimensional arrays of one length as the columns of a CSV."""
    cells = zip(*(map(number, column.tolist()) for column in data.values()), strict=True)
    return _lines([list(data), *cells])


def columns_from_csv(text: str) -> dict[str, NDArray[Any]]:
    """Return a CSV's columns: float64 where every entry is a number, else strings."""
    head, *cells = csv.reader(StringIO(text))
    return {name: _column([row[i] for row in cells]) for i, name in enumerate(head)}


def _column(entries: list[str]) -> NDArray[Any]:
    try:
        return np.array([float(entry or "nan") for entry in entries])
    except ValueError:
        return np.array(entries, dtype=np.str_)


def to_tex(parts: Mapping[str, Rows]) -> str:
    """Return each part's rows as a LaTeX tabular (booktabs), numbers with four significant digits."""
    return "\n".join(_tabular(name, rows) for name, rows in parts.items() if rows)


def _tabular(name: str, rows: Rows) -> str:
    names = columns(rows)
    kinds = ["r" if all(isinstance(row.get(c), (Real, type(None))) for row in rows) else "l" for c in names]
    lines = [f"% {name}", rf"\begin{{tabular}}{{{''.join(kinds)}}}", r"\toprule"]
    lines += [" & ".join(name.translate(_ESCAPES) for name in names) + r" \\", r"\midrule"]
    lines += [" & ".join(_tex(row.get(c)) for c in names) + r" \\" for row in rows]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _tex(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, Real):
        return number(value).translate(_ESCAPES)
    if not math.isfinite(value):
        return {"inf": r"$\infty$", "-inf": r"$-\infty$"}.get(number(value), "--")
    mantissa, _, exponent = number(value, 4).partition("e")
    return f"${mantissa}$" if not exponent else rf"${mantissa} \times 10^{{{int(exponent)}}}$"


def compare(ours: str, theirs: str) -> str:
    """Say in half a sentence how a CSV table compares with the committed one."""
    if ours == theirs:
        return "equals the committed one byte for byte"
    try:
        (head, *a), (other, *b) = csv.reader(StringIO(ours)), csv.reader(StringIO(theirs))
    except (ValueError, csv.Error):
        return "cannot be compared with the committed one, which is no table"
    if head != other or len(a) != len(b):
        return f"has other rows or columns than the committed one ({len(a)} rows here, {len(b)} there)"
    total, differing, worst, where = 0, 0, 0.0, ""
    for i, (row, row_there) in enumerate(zip(a, b, strict=True), start=1):
        for name, x, y in zip(head, row, row_there, strict=True):
            total += 1
            if x != y:
                differing += 1
                if (distance := _relative(x, y)) >= worst:
                    worst, where = distance, f"{name} of row {i}: {x} here, {y} there"
    return f"differs from the committed one in {differing} of {total} entries, most in {where}"


def _relative(x: str, y: str) -> float:
    try:
        a, b = float(x), float(y)
    except ValueError:
        return math.inf
    if not (math.isfinite(a) and math.isfinite(b)):
        return math.inf
    return abs(a - b) / max(abs(a), abs(b)) if a != b else 0.0
