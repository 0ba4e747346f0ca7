"""Numbers with their error: means, medians, shares, ratios and slopes of independent replicates.

An Estimate carries its own tests: ``p_below(b)`` rejects "at least b", ``p_above(b)`` rejects "at most b".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, inf, isfinite, log, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

__all__ = [
    "Distance", "Estimate", "Median", "Share", "combine", "distance_from_uniform", "mean", "median", "ratio",
    "regression", "share", "slope",
]  # fmt: skip

Array = NDArray[np.float64]


def _sample(x: ArrayLike, least: int, name: str = "x") -> Array:
    """One-dimensional sample without NaN and of at least ``least`` values."""
    try:
        values = np.asarray(x, dtype=np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a sequence of numbers, got {type(x).__name__}") from None
    if values.ndim != 1:
        raise ValueError(f"{name} must have one dimension, got shape {values.shape}")
    if values.size < least:
        raise ValueError(f"{name} has {values.size} value(s), at least {least} are needed")
    if np.isnan(values).any():
        raise ValueError(f"{name} has {np.isnan(values).sum()} NaN among {values.size} values")
    return values


def _finite(x: ArrayLike, least: int, name: str = "x") -> Array:
    values = _sample(x, least, name)
    if not np.isfinite(values).all():
        raise ValueError(f"{name} has infinite values: count them as failures, or use median")
    return values


def _in_unit(value: float, name: str) -> None:
    if not 0 < value < 1:
        raise ValueError(f"{name} must lie strictly between 0 and 1, got {value}")


@dataclass(frozen=True)
class Estimate:
    """A number with its standard error; tests and intervals are Student's t.

    Parameters
    ----------
    value, se : float
        Estimate and standard error. ``se = 0`` (replicates that do not vary) is allowed and proves nothing:
        its p-values are 1, since such a sample says nothing of its own spread. Count such data with `share`.
    df : float
        Degrees of freedom of ``se``; inf for the normal law.
    n : int
        Replicates behind the estimate.
    failures : int
        Replicates that gave no number. They are reported, and not corrected for.
    """

    value: float
    se: float
    df: float
    n: int
    failures: int = 0

    def __post_init__(self) -> None:
        if not isfinite(self.value):
            raise ValueError(f"value must be a finite number, got {self.value}")
        if not 0 <= self.se < inf:
            raise ValueError(f"se must be finite and at least 0, got {self.se}")
        if not self.df > 0:
            raise ValueError(f"df must be positive, got {self.df}")
        if self.n < 1:
            raise ValueError(f"n must be at least 1, got {self.n}")
        if self.failures < 0:
            raise ValueError(f"failures must be at least 0, got {self.failures}")

    @property
    def test(self) -> str:
        """Name of the tests behind `p_below` and `p_above`."""
        return "normal tests" if self.df == inf else f"t tests ({self.df:.3g} df)"

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Two-sided confidence interval."""
        _in_unit(level, "level")
        tail = (1 + level) / 2
        width = self.se * float(special.ndtri(tail) if self.df == inf else special.stdtrit(self.df, tail))
        return self.value - width, self.value + width

    def p_below(self, bound: float) -> float:
        """p-value of the null "the parameter is at least ``bound``": small says that it lies below."""
        return self._lower_tail(self.value - bound)

    def p_above(self, bound: float) -> float:
        """p-value of the null "the parameter is at most ``bound``": small says that it lies above."""
        return self._lower_tail(bound - self.value)

    def _lower_tail(self, distance: float) -> float:
        if self.se == 0:
            return 1.0
        t = distance / self.se
        return float(special.ndtr(t) if self.df == inf else special.stdtr(self.df, t))

    def log(self) -> Estimate:
        """Estimate of the logarithm, by the delta method."""
        if self.value <= 0:
            raise ValueError(f"the logarithm needs a positive estimate, got {self.value}")
        return Estimate(log(self.value), self.se / self.value, self.df, self.n, self.failures)


@dataclass(frozen=True)
class Share(Estimate):
    """A binomial proportion; tests exact, interval Clopper-Pearson. Made by `share`."""

    count: int = field(default=0, kw_only=True)

    @property
    def test(self) -> str:
        """Name of the tests."""
        return "exact binomial tests"

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Clopper-Pearson interval."""
        _in_unit(level, "level")
        tail = (1 - level) / 2
        low = special.betaincinv(self.count, self.n - self.count + 1, tail) if self.count else 0
        high = special.betainccinv(self.count + 1, self.n - self.count, tail) if self.count < self.n else 1
        return float(low), float(high)

    def p_below(self, bound: float) -> float:
        """Exact binomial p-value of "the share is at least ``bound``"."""
        return float(special.bdtr(self.count, self.n, min(max(bound, 0), 1)))

    def p_above(self, bound: float) -> float:
        """Exact binomial p-value of "the share is at most ``bound``"."""
        return _at_least(self.count, self.n, min(max(bound, 0), 1))


@dataclass(frozen=True)
class Median(Estimate):
    """A median; sign tests and an interval of order statistics, both free of the distribution.

    ``se`` (Price and Bonett, 2001: the width of such an interval) serves only where medians are combined.
    """

    sample: Array = field(repr=False, compare=False, kw_only=True)

    @property
    def test(self) -> str:
        """Name of the tests."""
        return "sign tests"

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Interval between two order statistics, of coverage at least ``level``; may be infinite."""
        _in_unit(level, "level")
        ranks = np.arange((self.n + 1) // 2)
        k = int((2 * special.bdtr(ranks, self.n, 0.5) <= 1 - level).sum())
        return (float(self.sample[k - 1]), float(self.sample[-k])) if k else (-inf, inf)

    def p_below(self, bound: float) -> float:
        """Sign-test p-value of "the median is at least ``bound``"."""
        return _at_least(int((self.sample < bound).sum()), self.n, 0.5)

    def p_above(self, bound: float) -> float:
        """Sign-test p-value of "the median is at most ``bound``"."""
        return _at_least(int((self.sample > bound).sum()), self.n, 0.5)

    def log(self) -> Median:
        """Median of the logarithms."""
        if self.sample[0] <= 0:
            raise ValueError(f"the logarithm needs positive values, got {self.sample[0]}")
        return median(np.log(self.sample), self.failures)


@dataclass(frozen=True)
class Distance(Estimate):
    """sup|F^(p) - p| of n independent p-values. Made by `distance_from_uniform`.

    The true distance d is reached at one p, so the observed one falls short of d by x with probability at
    most exp(-2nx²) (Hoeffding); it exceeds d by x with at most 2 exp(-2nx²) (Dvoretzky, Kiefer and Wolfowitz
    with Massart's constant: DKW).
    ``se`` is the largest standard error of F^ at a point; no test uses it.
    """

    @property
    def test(self) -> str:
        """Name of the tests."""
        return "Hoeffding and DKW bounds"

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Interval from the DKW bound."""
        _in_unit(level, "level")
        width = sqrt(log(2 / (1 - level)) / (2 * self.n))
        return max(self.value - width, 0.0), min(self.value + width, 1.0)

    def p_below(self, bound: float) -> float:
        """Hoeffding p-value of "the distance is at least ``bound``"."""
        return exp(-2 * self.n * max(bound - self.value, 0) ** 2)

    def p_above(self, bound: float) -> float:
        """DKW p-value of "the distance is at most ``bound``"."""
        return min(1.0, 2 * exp(-2 * self.n * max(self.value - bound, 0) ** 2))


def _at_least(count: int, n: int, p: float) -> float:
    """P(Binomial(n, p) >= count)."""
    return float(special.bdtrc(count - 1, n, p)) if count else 1.0


def mean(x: ArrayLike, failures: int = 0) -> Estimate:
    """Mean of independent replicates, at least 2, with n - 1 degrees of freedom."""
    values = _finite(x, 2)
    # The rounding of a mean can give equal values a spread of 1e-17.
    se = float(values.std(ddof=1)) / sqrt(values.size) if np.ptp(values) > 0 else 0.0
    return Estimate(float(values.mean()), se, values.size - 1, values.size, failures)


def ratio(x: ArrayLike, y: ArrayLike, failures: int = 0) -> Estimate:
    """E[x]/E[y] of paired replicates (delta method); one data set gives one pair, however they correlate."""
    top, bottom = _finite(x, 2, "x"), _finite(y, 2, "y")
    if top.shape != bottom.shape:
        raise ValueError(f"x and y must be pairs, got {top.size} and {bottom.size} values")
    if bottom.mean() == 0:
        raise ValueError("y has mean 0, so the ratio does not exist")
    value = float(top.mean() / bottom.mean())
    spread = mean(top - value * bottom).se
    return Estimate(value, spread / abs(float(bottom.mean())), top.size - 1, top.size, failures)


def median(x: ArrayLike, failures: int = 0) -> Median:
    """Median of at least 5 independent replicates; infinite values are welcome in the tails."""
    values = np.sort(_sample(x, 5))
    n = values.size
    rank = max(1, round((n + 1) / 2 - sqrt(n)))
    if not np.isfinite(values[[rank - 1, -rank]]).all():
        raise ValueError("x has too many infinite values for the error of its median")
    z = -float(special.ndtri(special.bdtr(rank - 1, n, 0.5)))
    se = float(values[-rank] - values[rank - 1]) / (2 * z)
    return Median(float(np.median(values)), se, inf, n, failures, sample=values)


def share(count: int, n: int, failures: int = 0) -> Share:
    """Share of ``n`` independent replicates in which something happened, ``count`` times."""
    if n < 1 or not 0 <= count <= n:
        raise ValueError(f"count must lie between 0 and n, and n be at least 1, got {count} of {n}")
    p = count / n
    return Share(p, sqrt(p * (1 - p) / n), inf, int(n), failures, count=int(count))


def distance_from_uniform(p_values: ArrayLike) -> Distance:
    """Distance sup|F^(p) - p| of independent p-values; those that share a reference set are dependent."""
    p = np.sort(_finite(p_values, 1, "p_values"))
    if p[0] < 0 or p[-1] > 1:
        raise ValueError(f"p_values must lie in [0, 1], got values from {p[0]:.4g} to {p[-1]:.4g}")
    steps = np.arange(p.size + 1) / p.size
    value = float(max((steps[1:] - p).max(), (p - steps[:-1]).max()))
    return Distance(value, 0.5 / sqrt(p.size), inf, p.size)


def combine(coefficients: ArrayLike, estimates: Sequence[Estimate]) -> Estimate:
    """Linear combination of independent estimates, with Satterthwaite's degrees of freedom."""
    c = _finite(coefficients, 1, "coefficients")
    if c.size != len(estimates):
        raise ValueError(f"coefficients has {c.size} values for {len(estimates)} estimates")
    parts = (c * [e.se for e in estimates]) ** 2
    variance = float(parts.sum())
    # In units of the variance, so that tiny errors do not underflow when squared.
    shares = parts / variance if variance > 0 else parts
    curvature = float((shares**2 / [e.df for e in estimates]).sum())
    return Estimate(
        float(c @ [e.value for e in estimates]),
        sqrt(variance),
        1 / curvature if curvature > 0 else inf,
        sum(e.n for e in estimates),
        sum(e.failures for e in estimates),
    )


def regression(
    columns: Mapping[str, ArrayLike], cells: Sequence[Estimate], weights: ArrayLike | None = None
) -> dict[str, Estimate]:
    """Least-squares coefficients of independent cell estimates on several columns and an intercept.

    Each coefficient is a fixed linear combination of the cells, and its error comes from the cells' own
    errors: no common variance is assumed, and the error stays right where the line is only an approximation
    (the coefficient is then that of the closest line over these cells). For an exponent pass ``cell.log()``
    and logarithms in the columns. Cells that share their replicates are dependent: fit each replicate and
    take the `mean` of the slopes instead.

    Parameters
    ----------
    columns : mapping of str to array (k,)
        Regressors, a name each.
    cells : sequence of k Estimates
        Responses.
    weights : array (k,), optional
        Positive, fixed before the data are seen (such as replicates times dimension); equal by default.

    Returns
    -------
    dict
        An Estimate for "intercept" and for each column.

    Raises
    ------
    ValueError
        If shapes differ, a weight is not positive, or the columns do not determine the coefficients.
    """
    k = len(cells)
    names = ["intercept", *columns]
    design = np.column_stack([np.ones(k), *(_column(values, k, name) for name, values in columns.items())])
    w = np.ones(k) if weights is None else _column(weights, k, "weights")
    if not (w > 0).all():
        raise ValueError("weights must be positive")
    root = np.sqrt(w)[:, None]
    if np.linalg.matrix_rank(root * design) < len(names):
        raise ValueError(f"{k} cells do not determine {len(names)} coefficients: {', '.join(names)}")
    rows = np.linalg.pinv(root * design) * root.T
    return {name: combine(row, cells) for name, row in zip(names, rows, strict=True)}


def _column(values: ArrayLike, k: int, name: str) -> Array:
    column = _finite(values, 1, name)
    if column.size != k:
        raise ValueError(f"{name} has {column.size} values for {k} cells")
    return column


def slope(x: ArrayLike, cells: Sequence[Estimate], weights: ArrayLike | None = None) -> Estimate:
    """Slope of independent cell estimates in ``x``; see `regression`."""
    return regression({"x": x}, cells, weights)["x"]
