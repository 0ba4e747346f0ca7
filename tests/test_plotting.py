"""Figures: printed size, embedded fonts, the same bytes each time, no trace in the user's Matplotlib."""

import os
import re
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

from linphase import plotting as pl


def demo():
    with pl.style():
        fig, axes = pl.new("text", cols=3, height=2.2)
        left, middle, right = axes
        x = np.linspace(0, 5, 30)
        for k in range(3):
            pl.band(left, x, x + k, x + k - 0.2, x + k + 0.2, rf"$\varepsilon={k}$", k)
        pl.theory(left, x, x + 1, "theory")
        pl.threshold(left, 2)
        n = np.array([100, 200, 800])
        y = n**-0.5
        pl.loglog_fit(middle, n, y, 0.9 * y, 1.1 * y, -0.5, 1.0, r"$\varepsilon_{\mathrm{P}}$", 1)
        pl.trajectory(right, np.column_stack([x, np.sin(x)]), "clean", 2)
        left.set_xlabel("step $t$")
        pl.letters(axes)
        pl.shared_legend(fig, axes)
    return fig


def drawn_elsewhere(folder, seed):
    """Bytes of the demonstration drawn by a process with another hash seed and the user's own settings."""
    code = (
        "import sys, matplotlib; matplotlib.rcParams.update({'font.size': 20, 'savefig.bbox': 'tight'})\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import test_plotting as t\n"
        "t.pl.save(t.demo(), sys.argv[1], 'demo')"
    )
    path = os.pathsep.join([str(Path(pl.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    env = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": path}
    subprocess.run([sys.executable, "-c", code, folder], check=True, env=env)
    return [(folder / f"demo.{kind}").read_bytes() for kind in ("pdf", "png")]


def test_redrawn_figures_have_the_same_bytes(tmp_path):
    here = [path.read_bytes() for path in pl.save(demo(), tmp_path / "here", "demo")]
    assert drawn_elsewhere(tmp_path / "one", "1") == drawn_elsewhere(tmp_path / "two", "2") == here


def test_saving_twice_gives_the_same_bytes_and_nothing_else(tmp_path):
    fig = demo()
    first = [path.read_bytes() for path in pl.save(fig, tmp_path, "demo")]
    assert [path.read_bytes() for path in pl.save(fig, tmp_path, "demo")] == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demo.pdf", "demo.png"]


def test_no_dates(tmp_path):
    pdf, png = (path.read_bytes() for path in pl.save(demo(), tmp_path, "demo"))
    assert not re.search(rb"CreationDate|ModDate|Producer|Creator", pdf)
    assert b"tEXt" not in png
    assert b"tIME" not in png


def test_fonts_are_embedded_as_type_42(tmp_path):
    fig = demo()
    pdf = pl.save(fig, tmp_path, "demo")[0].read_bytes()
    fonts = set(re.findall(rb"/BaseFont /[A-Z]+\+(\w+)", pdf))
    assert fonts
    assert all(font.startswith(b"STIX") for font in fonts), fonts
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    with mpl.rc_context({"pdf.fonttype": 3}):  # the check sees a wrong type
        fig.savefig(tmp_path / "wrong.pdf")
    assert b"/Type3" in (tmp_path / "wrong.pdf").read_bytes()


@pytest.mark.parametrize(("width", "inches"), [("column", 3.3), ("text", 6.8)])
def test_printed_size(tmp_path, width, inches):
    fig, (ax,) = pl.new(width, height=2)
    ax.set_ylabel("a label\nthat needs\nroom")
    pdf, png = (path.read_bytes() for path in pl.save(fig, tmp_path, "demo"))
    box = [float(v) for v in re.search(rb"/MediaBox \[([^]]*)\]", pdf)[1].split()]
    assert box == pytest.approx([0, 0, 72 * inches, 144])
    assert int.from_bytes(png[16:20], "big") == pytest.approx(300 * inches, abs=1)


def test_default_panels_are_three_to_four():
    fig, axes = pl.new("text", rows=3, cols=2, sharex=True)
    assert fig.get_size_inches() == pytest.approx([6.8, 0.75 * 3.4 * 3])
    assert len(axes) == 6


def test_style_does_not_leak():
    before = dict(mpl.rcParams)
    demo()
    assert dict(mpl.rcParams) == before
    with pytest.raises(ZeroDivisionError), pl.style():
        mpl.rcParams["pdf.fonttype"] / (mpl.rcParams["pdf.fonttype"] - 42)
    assert dict(mpl.rcParams) == before


def test_style_file_is_understood(caplog):
    with pl.style():
        assert mpl.rcParams["font.family"] == ["STIXGeneral"]
    assert not caplog.records  # Matplotlib logs what it cannot read, and goes on


def test_no_window_and_no_pyplot():
    code = "import linphase.plotting, sys; linphase.plotting.new(); print('matplotlib.pyplot' in sys.modules)"
    env = os.environ | {"PYTHONPATH": str(Path(pl.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.strip() == "False"


def test_looks_differ_without_colour():
    looks = [pl.look(k) for k in range(6)]
    for key in ("color", "linestyle", "marker"):
        assert len({str(look[key]) for look in looks}) == 6
    assert pl.look(6) == looks[0]


def test_band_draws_what_the_table_says():
    _, (ax,) = pl.new()
    pl.band(ax, [1, 2, 3], [4, 5, 6], [3, 4, 5], [6, 7, 8], "a", 0)
    assert ax.lines[0].get_xydata().tolist() == [[1, 4], [2, 5], [3, 6]]
    (area,) = ax.collections
    assert {tuple(v) for v in area.get_paths()[0].vertices} >= {(1, 3), (3, 5), (1, 6), (3, 8)}


def test_loglog_fit_draws_the_law_and_the_bars():
    _, (ax,) = pl.new()
    pl.loglog_fit(ax, [4, 1], [2.1, 1], [2, 0.9], [2.3, 1.2], 0.5, 1.0, "a")
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    law = next(line for line in ax.lines if line.get_marker() in ("", "None"))
    assert law.get_xydata() == pytest.approx(np.array([[1, 1], [4, 2]]))
    bars = np.vstack(ax.collections[0].get_segments())
    assert bars == pytest.approx(np.array([[4, 2], [4, 2.3], [1, 0.9], [1, 1.2]]))
    assert ax.get_legend_handles_labels()[1] == ["a"]


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0.9, 9, ["1", "2", "5"]),
        (0.015, 0.3, ["0.02", "0.05", "0.1", "0.2"]),
        (1e-6, 1.1e-5, [r"$10^{-6}$", r"$2\times10^{-6}$", r"$5\times10^{-6}$", "$10^{-5}$"]),
        (1, 1e4, ["$10^{0}$", "$10^{1}$", "$10^{2}$", "$10^{3}$", "$10^{4}$"]),
    ],
)
def test_logarithmic_labels_are_few_and_plain(low, high, labels):
    fig, (ax,) = pl.new()
    pl.log_axes(ax, "x")
    ax.set_xlim(low, high)
    fig.canvas.draw()
    ticks = [t for minor in (False, True) for t in ax.xaxis.get_ticklabels(minor=minor)]
    shown = sorted((t.get_position()[0], t.get_text()) for t in ticks if t.get_text())
    assert [text for at, text in shown if low <= at <= high] == labels


def test_shared_legend_stays_on_the_page():
    with pl.style():
        fig, axes = pl.new("column", cols=2)
        for ax in axes:
            for k in range(5):
                pl.band(ax, [0, 1], [0, k], [0, k], [0, k], f"a long label {k}", k)
        pl.shared_legend(fig, axes)
    (legend,) = fig.legends
    assert len(legend.get_texts()) == 5
    assert legend.get_window_extent().width <= fig.bbox.width


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda ax: pl.new("page"), "width must be one of 'column', 'text', got 'page'"),
        (lambda ax: pl.new(rows=0), "rows must be at least 1, got 0"),
        (lambda ax: pl.new(height=0), "height must be positive"),
        (lambda ax: pl.band(ax, [1, 2], [1, 2], [1], [1, 2]), "x, mean, low, high must be columns"),
        (lambda ax: pl.points(ax, 1, 1, 1, 1), "x, y, low, high must be columns"),
        (lambda ax: pl.theory(ax, [1], [1, 2]), "x, y must be columns"),
        (lambda ax: pl.trajectory(ax, [1, 2]), r"path must have shape \(k, 2\)"),
        (lambda ax: pl.points(ax, [1], [1], [2], [3]), "y must lie between low and high"),
        (lambda ax: pl.loglog_fit(ax, [0], [1], [1], [1], 1, 1), "x must hold positive finite numbers"),
        (lambda ax: pl.log_axes(ax, "z"), "which must be one of 'xy', 'x', 'y', got 'z'"),
        (lambda ax: pl.look(-1), "index must be at least 0, got -1"),
        (lambda ax: pl.letters([ax] * 27), "axes must be at most 26, got 27"),
        (lambda ax: pl.save(ax.figure, "figures", "a/b"), "name must be that of a file without its folder"),
    ],
)
def test_bad_input_is_one_clear_sentence(call, says):
    _, (ax,) = pl.new()
    with pytest.raises(ValueError, match=says):
        call(ax)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda ax: pl.threshold(None, 1), "ax must be matplotlib Axes, got None"),
        (lambda ax: pl.threshold(ax, "1"), "x must be a real number, got '1'"),
        (lambda ax: pl.letters(ax), "axes must be a list or tuple of matplotlib Axes, got <Axes"),
        (lambda ax: pl.save(ax, "figures", "a"), "fig must be a Figure, got <Axes"),
        (lambda ax: pl.theory(ax, [1j], [1]), "x must hold real numbers, got list"),
        (lambda ax: pl.theory(ax, [1], np.ma.masked_array([1], [True])), "y must not be a masked array"),
    ],
)
def test_wrong_kinds_are_one_clear_sentence(call, says):
    _, (ax,) = pl.new()
    with pytest.raises(TypeError, match=f"^{says}"):
        call(ax)
