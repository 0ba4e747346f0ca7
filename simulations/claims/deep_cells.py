"""What tables of ε* share: seeds to rows, and log-linear laws over networks and sizes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import statsmodels.api as sm

from linphase import evidence
from linphase.study import Cell, row

PAPER = {
    ("cifar10", "preact-resnet18", 64, 50_000): 0.5,
    ("cifar10", "preact-resnet18", 64, 10_000): 3.3,
    ("cifar10", "wide-resnet34", 1, 50_000): 1.1,
    ("cifar100", "preact-resnet18", 64, 25_000): 4.0,
    ("cifar100", "preact-resnet18", 64, 50_000): 1.0,
    ("mnist", "mnist-cnn", 128, 50_000): 48.0,
    ("mnist", "mnist-cnn", 16, 50_000): 26.1,
    ("svhn", "preact-resnet18", 64, 50_000): 4.9,
}
"""Table 3: 255 ε*, L∞, after 200 epochs."""


def finite(values: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the values that are neither 0 nor infinite, and how many are."""
    kept = values[np.isfinite(values) & (values > 0)]
    return kept, values.size - kept.size


def entry(values: np.ndarray, **keys: Any) -> dict[str, Any]:
    """Return a row with the mean over seeds; NaN counts as a failure, and a single seed has no error."""
    kept = values[np.isfinite(values)]
    lost = values.size - kept.size
    if kept.size > 1:
        return row(evidence.mean(kept, failures=lost), **keys)
    value = float(kept[0]) if kept.size else np.nan
    return keys | {"estimate": value, "replicates": int(kept.size), "failures": lost}


def summary(strengths: np.ndarray, **keys: Any) -> dict[str, Any]:
    """Return a row with the mean ε*; a seed where it is 0 or infinite counts as a failure."""
    if not finite(strengths)[0].size:
        lost = strengths.size
        return keys | {"estimate": float(np.median(strengths)), "replicates": 0, "failures": lost}
    usual = np.isfinite(strengths) & (strengths > 0)
    return entry(np.where(usual, strengths, np.nan), **keys)


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """Return the mean over seeds with its interval, which is empty for a single one; NaN is left out."""
    kept = values[np.isfinite(values)]
    if kept.size > 1:
        mean = evidence.mean(kept)
        return mean.value, *mean.interval()
    return (float(kept[0]) if kept.size else np.nan,) * 3


def keys_of(cell: Cell) -> dict[str, Any]:
    """Columns that say which network a row is about, with the paper's ε* where it has one."""
    s = cell.setting
    known = PAPER.get((s["dataset"], s["network"], s["width"], s["n"])) if s["norm"] == "linf" else None
    named = {key: s[key] for key in ("network", "width", "n", "epochs", "norm", "loss")}
    return named | {"paper": None if known is None else known / 255}


def laws(cells: Sequence[Cell], name: str = "eps scratch") -> dict[str, evidence.Estimate]:
    """Exponents of n and of the width in ε*: least squares of log ε* on both logarithms, a seed a point.

    Errors are of the fit, so what the law leaves unexplained widens them, and robust (HC3): seeds vary more
    at some sizes than at others. A variable that does not vary has no exponent. A seed whose ε* is 0 or
    infinite has the smallest or the largest that any other has, and is counted.
    """
    kept, lost = finite(join(cells, name))
    if not kept.size:
        return {}
    known = [cell.values[name][~np.isnan(cell.values[name])] for cell in cells]
    y = np.log(np.concatenate(known).clip(kept.min(), kept.max()))
    columns = {}
    for key in ("n", "width"):
        column = np.repeat([np.log(cell.setting[key]) for cell in cells], [eps.size for eps in known])
        if np.ptp(column) > 0:
            columns[key] = column
    if y.size <= len(columns) + 1:
        return {}
    fit = sm.OLS(y, sm.add_constant(np.column_stack(list(columns.values())))).fit(cov_type="HC3", use_t=True)
    return {
        key: evidence.Estimate(float(fit.params[k]), float(fit.bse[k]), float(fit.df_resid), kept.size, lost)
        for k, key in enumerate(columns, start=1)
    }


def few_are_lost(cells: Sequence[Cell], name: str = "eps scratch") -> bool:
    """Tell whether no cell has more than a tenth of its seeds at 0 or ∞, where others stand for them."""
    return all(finite(cell.values[name])[1] <= 0.1 * cell.values[name].size for cell in cells)


def open_if_lost(claim: evidence.Claim) -> evidence.Claim:
    """Return a claim, left open if seeds are lost to it: an ε* of 0 or ∞ may be what speaks against it."""
    return replace(claim, p_support=1.0, p_refute=1.0) if claim.estimate.failures else claim


def log_ratio(top: np.ndarray, bottom: np.ndarray) -> evidence.Estimate | None:
    """Mean of log(top/bottom) over seeds, pairs with a 0 or an infinity counted as failures; None below 2."""
    good = np.isfinite(top) & np.isfinite(bottom) & (top > 0) & (bottom > 0)
    if good.sum() < 2:
        return None
    return evidence.mean(np.log(top[good] / bottom[good]), failures=int((~good).sum()))


def join(cells: Sequence[Cell], name: str) -> np.ndarray:
    """Values of all cells under a name."""
    return np.concatenate([cell.values[name] for cell in cells])


def columns_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Return rows as columns, for a figure."""
    return {key: np.array([row[key] for row in rows]) for key in rows[0]}
