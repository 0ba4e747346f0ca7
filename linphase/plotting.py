"""Figures of a paper from finished tables: nothing is computed here, and nothing global is touched.

Work inside ``with style():``, since Matplotlib reads its settings when a line, a legend or a tick is made::

    with style():
        fig, (ax,) = new("column")
        band(ax, t, mean, low, high, "$d=5$", 0)
        theory(ax, t, limit, "theory")
        ax.legend()
        save(fig, "figures", "trajectories")

Figures have no pyplot state and no window; a Jupyter cell that ends with ``fig`` shows it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import cache, partial
from io import BytesIO
from math import ceil, floor, log10
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import style as mpl_style
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from linphase.checks import (
    LARGEST,
    Array,
    check_choice,
    check_count,
    check_flag,
    check_kind,
    check_number,
    check_numbers,
    check_positive,
    check_sequence,
    check_text,
    shown,
)

__all__ = [
    "WIDTHS", "band", "letters", "log_axes", "loglog_fit", "look", "new", "points", "save", "shared_legend",
    "style", "theory", "threshold", "trajectory",
]  # fmt: skip

WIDTHS = {"column": 3.3, "text": 6.8}
"""Inches."""

_TALLEST = 100
_MOST_PANELS = 26  # in a row or column; so many have letters

_STYLE = Path(__file__).with_name("paper.mplstyle")
# No date, and no version of the software that drew it.
_METADATA: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
}


def style() -> AbstractContextManager[None]:
    """Context in which figures take the paper's style; the user's own settings return afterwards."""
    return mpl_style.context(["default", _STYLE])


def new(
    width: str = "column", height: float | None = None, rows: int = 1, cols: int = 1, **share: Any
) -> tuple[Figure, list[Axes]]:
    """Figure and its axes in reading order: ``fig, (left, right) = new("text", cols=2)``.

    Parameters
    ----------
    width : {"column", "text"}
        3.3 or 6.8 in.
    height : float, optional
        Inches; by default each panel is 3/4 as high as wide.
    rows, cols : int
        Grid of panels.
    **share
        To `Figure.subplots`: ``sharex``, ``sharey``, ``width_ratios`` and so on.
    """
    check_choice("width", width, tuple(WIDTHS))
    rows, cols = check_count("rows", rows, most=_MOST_PANELS), check_count("cols", cols, most=_MOST_PANELS)
    if height is not None:
        height = check_number("height", height, f"positive and at most {_TALLEST} inches", 1e-3, _TALLEST)
    inches = WIDTHS[width]
    with style():
        fig = Figure(figsize=(inches, height or 0.75 * inches / cols * rows))
        FigureCanvasAgg(fig)
        axes = fig.subplots(rows, cols, squeeze=False, **share)
    return fig, list(axes.flat)


def save(fig: Figure, folder: str | os.PathLike[str], name: str) -> list[Path]:
    """Write ``name.pdf`` and ``name.png`` into ``folder``; the same figure always gives the same bytes.

    Either file appears whole or not at all. The layout is final from here on. Returns the paths.
    """
    check_kind("fig", fig, Figure, "a Figure")
    folder = _folder(folder)
    if Path(check_text("name", name)).name != name or not name.isprintable() or len(name) > 200:
        raise ValueError(f"name must be that of a file without its folder, got {shown(name)}")
    folder.mkdir(parents=True, exist_ok=True)
    # A layout starts from the last one, so the second file would differ with the first.
    with style():
        fig.draw_without_rendering()
    fig.set_layout_engine("none")
    paths = []
    for kind, metadata in _METADATA.items():
        buffer = BytesIO()
        with style():
            fig.savefig(buffer, format=kind, metadata=metadata)
        path = folder / f"{name}.{kind}"
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        part.write_bytes(buffer.getvalue())
        part.replace(path)
        paths.append(path)
    return paths


def look(index: int) -> dict[str, Any]:
    """Colour, line style and marker number ``index`` of the cycle, as keywords of `Axes.plot`."""
    index = check_count("index", index, least=0)
    return {key: values[index % len(values)] for key, values in _cycle().items()}


@cache
def _cycle() -> dict[str, list[Any]]:
    with style():
        return dict(mpl.rcParams["axes.prop_cycle"].by_key())


def band(
    ax: Axes, x: ArrayLike, mean: ArrayLike, low: ArrayLike, high: ArrayLike, label: str = "", index: int = 0
) -> None:
    """Monte Carlo curve with its interval as a band, and some eight markers."""
    _check_axes(ax, label)
    x, mean, low, high = _aligned(x=x, mean=mean, low=low, high=high)
    own = look(index)
    # Markers of different curves sit at different places.
    every = max(1, x.size // 8)
    ax.plot(x, mean, **own, markevery=(int(index) * every // 3 % every, every), label=label, zorder=3)
    ax.fill_between(x, low, high, color=own["color"], alpha=0.25, linewidth=0, zorder=2)


def points(
    ax: Axes, x: ArrayLike, y: ArrayLike, low: ArrayLike, high: ArrayLike, label: str = "", index: int = 0
) -> None:
    """Estimates at a few places, with their intervals as bars and no line between them."""
    _check_axes(ax, label)
    x, y, low, high = _aligned(x=x, y=y, low=low, high=high)
    if (low > y).any() or (high < y).any():
        raise ValueError("y must lie between low and high, got a point outside")
    chosen = look(index) | {"linestyle": "none"}
    ax.plot(x, y, **chosen, label=label, zorder=3)
    ax.errorbar(x, y, yerr=[y - low, high - y], fmt="none", ecolor=chosen["color"], elinewidth=0.8, zorder=2)


def theory(ax: Axes, x: ArrayLike, y: ArrayLike, label: str = "", dashed: bool = False) -> None:
    """Thin black line over the data."""
    _check_axes(ax, label)
    x, y = _aligned(x=x, y=y)
    line = "--" if check_flag("dashed", dashed) else "-"
    ax.plot(x, y, color="black", linewidth=0.7, linestyle=line, marker="", label=label, zorder=4)


def threshold(ax: Axes, x: float, label: str = "") -> None:
    """Thin dotted vertical line, behind the data."""
    _check_axes(ax, label)
    x = check_number("x", x, f"finite and at most {LARGEST:g} in size", -LARGEST, LARGEST)
    ax.axvline(x, color="0.35", linewidth=0.7, linestyle=":", label=label, zorder=1)


def loglog_fit(
    ax: Axes,
    x: ArrayLike,
    y: ArrayLike,
    low: ArrayLike,
    high: ArrayLike,
    slope: float,
    constant: float,
    label: str = "",
    index: int = 0,
) -> None:
    """Estimates with intervals and the fitted law ``constant * x**slope`` on logarithmic axes."""
    slope, constant = check_number("slope", slope), check_positive("constant", constant)
    (places,) = _aligned(x=x)
    if not (places.size and np.isfinite(places).all() and places.min() > 0):
        raise ValueError("x must hold positive finite numbers, for a logarithmic axis")
    ends = np.array([places.min(), places.max()])
    with np.errstate(over="ignore", under="ignore"):
        law = constant * ends**slope
    if not np.isfinite(law).all() or not law.all():
        raise ValueError(
            f"slope and constant must give a law of finite positive values, got {slope} and {constant}"
        )
    points(ax, x, y, low, high, label, index)
    chosen = look(index) | {"marker": "", "linewidth": 0.9}
    ax.plot(ends, law, **chosen, zorder=2)
    log_axes(ax)


def trajectory(ax: Axes, path: ArrayLike, label: str = "", index: int = 0) -> None:
    """Path (k, 2) in the plane, open at its start and marked at its end; both axes get the same unit."""
    _check_axes(ax, label)
    steps = _drawable("path", path)
    if steps.ndim != 2 or steps.shape[1] != 2 or not steps.size:
        raise ValueError(f"path must have shape (k, 2), got {steps.shape}")
    ax.plot(*steps.T, **look(index), markevery=[-1], label=label, zorder=3)
    ax.set_aspect("equal", adjustable="datalim")


def letters(axes: Sequence[Axes]) -> None:
    """Letter the panels (a), (b), and so on; there are at most 26."""
    axes = check_sequence("axes", axes, Axes, "matplotlib Axes")
    if len(axes) > _MOST_PANELS:
        raise ValueError(f"axes must be at most {_MOST_PANELS}, got {len(axes)}")
    for number, ax in enumerate(axes):
        ax.set_title(f"({chr(ord('a') + number)})", loc="left")


def shared_legend(fig: Figure, axes: Sequence[Axes]) -> None:
    """One legend above all panels, in as few rows as fit, each label once."""
    check_kind("fig", fig, Figure, "a Figure")
    entries: dict[str, Any] = {}
    for ax in check_sequence("axes", axes, Axes, "matplotlib Axes"):
        entries |= {label: handle for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    for rows in range(1, len(entries) + 1):
        cols = ceil(len(entries) / rows)
        legend = fig.legend(entries.values(), entries.keys(), loc="outside upper center", ncols=cols)
        if cols == 1 or legend.get_window_extent().width <= fig.bbox.width:
            return
        legend.remove()


def log_axes(ax: Axes, which: str = "xy") -> None:
    """Make axes logarithmic: labels at decades, and at 2 and 5 times those where few would show."""
    _check_axes(ax)
    for name in check_choice("which", which, ("xy", "x", "y")):
        getattr(ax, f"set_{name}scale")("log")
        axis: Axis = getattr(ax, f"{name}axis")
        axis.set_major_formatter(partial(_log_label, axis))
        axis.set_minor_formatter(partial(_log_label, axis))


def _log_label(axis: Axis, value: float, _position: int | None) -> str:
    low, high = sorted(axis.get_view_interval())
    short = high < 30 * low or floor(log10(high)) == ceil(log10(low))  # little to label otherwise
    exponent = floor(log10(value) + 1e-9)
    mantissa = round(value / 10.0**exponent)
    if mantissa not in ((1, 2, 5) if short else (1,)):
        return ""
    if short and low >= 1e-3 and high < 1e4:
        return f"{value:g}"
    return f"$10^{{{exponent}}}$" if mantissa == 1 else f"${mantissa}\\times10^{{{exponent}}}$"


def _folder(folder: str | os.PathLike[str]) -> Path:
    check_kind("folder", folder, (str, os.PathLike), "a path")
    path = Path(folder)
    if not str(path).isprintable() or max(map(len, path.parts), default=0) > 200:
        raise ValueError(
            f"folder must be a printable path with names of at most 200 letters, got {shown(folder)}"
        )
    return path


def _check_axes(ax: Axes, label: str = "") -> None:
    check_kind("ax", ax, Axes, "matplotlib Axes")
    check_text("label", label)


def _drawable(name: str, values: ArrayLike) -> Array:
    """Array of numbers; those that are not finite are gaps."""
    array = check_numbers(name, values)
    if (np.abs(array[np.isfinite(array)]) > LARGEST).any():
        raise ValueError(f"{name} must be at most {LARGEST:g} in size where it is finite")
    return array


def _aligned(**columns: ArrayLike) -> list[Array]:
    """Arrays of one common length."""
    arrays = {name: _drawable(name, values) for name, values in columns.items()}
    shapes = {name: array.shape for name, array in arrays.items()}
    if len(set(shapes.values())) > 1 or len(next(iter(shapes.values()))) != 1:
        raise ValueError(f"{', '.join(shapes)} must be columns of one length, got {[*shapes.values()]}")
    return list(arrays.values())
