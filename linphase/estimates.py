"""Numbers with their error: means, medians, shares, ratios and slopes of independent replicates.

An Estimate carries its own tests: ``p_below(b)`` rejects "at least b", ``p_above(b)`` rejects "at most b".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, inf, isfinite, log, nextafter, sqrt

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from linphase.checks import (
    LARGEST,
    Array,
    check_between,
    check_columns,
    check_count,
    check_mapping,
    check_number,
    check_numbers,
    check_real,
    check_sequence,
    shown,
)

__all__ = [
    "Distance", "Estimate", "Median", "Share", "combine", "distance_from_uniform", "mean", "median", "ratio",
    "regression", "share", "slope",
]  # fmt: skip


def _sample(x: ArrayLike, least: int, name: str = "x") -> Array:
    """One-dimensional sample of at least ``least`` values: infinite or at most 1e45 in size, and no NaN."""
    values = check_numbers(name, x)
    if values.ndim != 1:
        raise ValueError(f"{name} must have one dimension, got shape {values.shape}")
    if values.size < least:
        raise ValueError(f"{name} has {values.size} value(s), at least {least} are needed")
    if np.isnan(values).any():
        raise ValueError(f"{name} has {np.isnan(values).sum()} NaN among {values.size} values")
    finite = np.abs(values[np.isfinite(values)])
    if (finite > LARGEST).any():
        raise ValueError(f"{name} must be at most {LARGEST:g} in size, got {finite.max():g}")
    return values


def _finite(x: ArrayLike, least: int, name: str = "x") -> Array:
    """Such a sample without infinite values."""
    values = _sample(x, least, name)
    if not np.isfinite(values).all():
        raise ValueError(f"{name} has infinite values: count them as failures, or use median")
    return check_real(name, values, 1)


def _check_estimates(name: str, estimates: Sequence[Estimate]) -> list[Estimate]:
    return check_sequence(name, estimates, Estimate, "Estimates")


_FEWEST = 5  # values that have a median with an error


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
        checked: dict[str, float] = {
            "value": check_number("value", self.value, "a finite number"),
            "se": check_number("se", self.se, "finite and at least 0", low=0.0),
            "df": check_number("df", self.df, "positive", low=nextafter(0.0, 1.0), high=inf),
            "n": check_count("n", self.n),
            "failures": check_count("failures", self.failures, least=0),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @property
    def test(self) -> str:
        """Name of the tests behind `p_below` and `p_above`."""
        return "normal tests" if self.df == inf else f"t tests ({self.df:.3g} df)"

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Two-sided confidence interval; an end too large for double precision is infinite."""
        level = check_between("level", level)
        tail = (1 + level) / 2
        width = self.se * float(special.ndtri(tail) if self.df == inf else special.stdtrit(self.df, tail))
        return self.value - width, self.value + width

    def p_below(self, bound: float) -> float:
        """p-value of the null "the parameter is at least ``bound``": small says that it lies below."""
        return self._lower_tail(self.value - check_number("bound", bound))

    def p_above(self, bound: float) -> float:
        """p-value of the null "the parameter is at most ``bound``": small says that it lies above."""
        return self._lower_tail(check_number("bound", bound) - self.value)

    def _lower_tail(self, distance: float) -> float:
        if self.se == 0:
            return 1.0
        t = distance / self.se
        return float(special.ndtr(t) if self.df == inf else special.stdtr(self.df, t))

    def log(self) -> Estimate:
        """Estimate of the logarithm, by the delta method."""
        if self.value <= 0 or self.se / self.value == inf:
            raise ValueError(
                f"value must be positive and se / value finite for a logarithm, got {self.value} ± {self.se}"
            )
        return Estimate(log(self.value), self.se / self.value, self.df, self.n, self.failures)


@dataclass(frozen=True)
class Share(Estimate):
    """A binomial proportion; tests exact, interval Clopper-Pearson. Made by `share`."""

    count: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "count", check_count("count", self.count, least=0, most=self.n))

    @property
    def test(self) -> str:
        """Name of the tests."""
        return "exact binomial tests"

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Clopper-Pearson interval."""
        level = check_between("level", level)
        tail = (1 - level) / 2
        low = special.betaincinv(self.count, self.n - self.count + 1, tail) if self.count else 0
        high = special.betainccinv(self.count + 1, self.n - self.count, tail) if self.count < self.n else 1
        return float(low), float(high)

    def p_below(self, bound: float) -> float:
        """Exact binomial p-value of "the share is at least ``bound``"."""
        return float(special.bdtr(self.count, self.n, min(max(check_number("bound", bound), 0), 1)))

    def p_above(self, bound: float) -> float:
        """Exact binomial p-value of "the share is at most ``bound``"."""
        return _at_least(self.count, self.n, min(max(check_number("bound", bound), 0), 1))


@dataclass(frozen=True)
class Median(Estimate):
    """A median; sign tests and an interval of order statistics, both free of the distribution.

    ``se`` (Price and Bonett, 2001: the width of such an interval) serves only where medians are combined.
    """

    sample: Array = field(repr=False, compare=False, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        sample = np.sort(_sample(self.sample, _FEWEST, "sample"))
        if sample.size != self.n:
            raise ValueError(f"n must be the size of sample, got {self.n} and {sample.size} values")
        object.__setattr__(self, "sample", sample)

    @property
    def test(self) -> str:
        """Name of the tests."""
        return "sign tests"

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Interval between two order statistics, of coverage at least ``level``; may be infinite."""
        level = check_between("level", level)
        ranks = np.arange((self.n + 1) // 2)
        k = int((2 * special.bdtr(ranks, self.n, 0.5) <= 1 - level).sum())
        return (float(self.sample[k - 1]), float(self.sample[-k])) if k else (-inf, inf)

    def p_below(self, bound: float) -> float:
        """Sign-test p-value of "the median is at least ``bound``"."""
        return _at_least(int((self.sample < check_number("bound", bound)).sum()), self.n, 0.5)

    def p_above(self, bound: float) -> float:
        """Sign-test p-value of "the median is at most ``bound``"."""
        return _at_least(int((self.sample > check_number("bound", bound)).sum()), self.n, 0.5)

    def log(self) -> Median:
        """Median of the logarithms."""
        if self.sample[0] <= 0:
            raise ValueError(f"sample must be positive for a logarithm, got {self.sample[0]}")
        return median(np.log(self.sample), self.failures)


@dataclass(frozen=True)
class Distance(Estimate):
    """sup|F^(p) - p| of n independent p-values. Made by `distance_from_uniform`.

    The true distance d is reached at one p, so the observed one falls short of d by x with probability at
    most exp(-2nx²) (Hoeffding); it exceeds d by x with at most 2 exp(-2nx²) (Dvoretzky, Kiefer and Wolfowitz
    with Massart's constant: DKW).
    ``se`` is the largest standard error of F^ at a point; no test uses it.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.value <= 1:
            raise ValueError(f"value must lie in [0, 1], got {self.value}")

    @property
    def test(self) -> str:
        """Name of the tests."""
        return "Hoeffding and DKW bounds"

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Interval from the DKW bound."""
        level = check_between("level", level)
        width = sqrt(log(2 / (1 - level)) / (2 * self.n))
        return max(self.value - width, 0.0), min(self.value + width, 1.0)

    def p_below(self, bound: float) -> float:
        """Hoeffding p-value of "the distance is at least ``bound``"."""
        return self._tail(check_number("bound", bound) - self.value)

    def p_above(self, bound: float) -> float:
        """DKW p-value of "the distance is at most ``bound``"."""
        return min(1.0, 2 * self._tail(self.value - check_number("bound", bound)))

    def _tail(self, x: float) -> float:
        return exp(-2 * self.n * x * x) if x > 0 else 1.0


def _at_least(count: int, n: int, p: float) -> float:
    """P(Binomial(n, p) >= count)."""
    return float(special.bdtrc(count - 1, n, p)) if count else 1.0


def mean(x: ArrayLike, failures: int = 0) -> Estimate:
    """Mean of independent replicates, at least 2, with n - 1 degrees of freedom."""
    values = _finite(x, 2)
    return Estimate(float(values.mean()), _spread(values), values.size - 1, values.size, failures)


def _spread(values: Array) -> float:
    """Standard error of the mean."""
    if not np.ptp(values) > 0:  # the rounding of a mean can give equal values a spread of 1e-17
        return 0.0
    unit = _unit(values)
    return unit * float((values / unit).std(ddof=1)) / sqrt(values.size)


def _unit(values: Array) -> float:
    """A power of 2 of the size of the largest value: in it, nothing is rounded and squares do not vanish."""
    return float(np.ldexp(1.0, np.frexp(np.abs(values).max())[1] - 1))


def ratio(x: ArrayLike, y: ArrayLike, failures: int = 0) -> Estimate:
    """E[x]/E[y] of paired replicates (delta method); one data set gives one pair, however they correlate."""
    top, bottom = _finite(x, 2, "x"), check_columns("y", _finite(y, 2, "y"), 1)
    if top.shape != bottom.shape:
        raise ValueError(f"x and y must be pairs, got {top.size} and {bottom.size} values")
    if bottom.mean() == 0:
        raise ValueError("y has mean 0, so the ratio does not exist")
    below = float(bottom.mean())
    value = float(top.mean()) / below
    with np.errstate(over="ignore", invalid="ignore"):
        se = _spread(top - value * bottom) / abs(below)
    if not isfinite(se):
        raise ValueError(f"x and y must have a finite ratio, got means of {top.mean():g} and {below:g}")
    return Estimate(value, se, top.size - 1, top.size, failures)


def median(x: ArrayLike, failures: int = 0) -> Median:
    """Median of at least 5 independent replicates; infinite values are welcome in the tails."""
    values = np.sort(_sample(x, _FEWEST))
    n = values.size
    rank = max(1, round((n + 1) / 2 - sqrt(n)))
    if not np.isfinite(values[[rank - 1, -rank]]).all():
        raise ValueError("x has too many infinite values for the error of its median")
    z = -float(special.ndtri(special.bdtr(rank - 1, n, 0.5)))
    se = float(values[-rank] - values[rank - 1]) / (2 * z)
    return Median(float(np.median(values)), se, inf, n, failures, sample=values)


def share(count: int, n: int, failures: int = 0) -> Share:
    """Share of ``n`` independent replicates in which something happened, ``count`` times."""
    n = check_count("n", n)
    count = check_count("count", count, least=0, most=n)
    p = count / n
    return Share(p, sqrt(p * (1 - p) / n), inf, n, failures, count=count)


def distance_from_uniform(p_values: ArrayLike) -> Distance:
    """Distance sup|F^(p) - p| of independent p-values; those that share a reference set are dependent."""
    p = np.sort(_sample(p_values, 1, "p_values"))
    if p[0] < 0 or p[-1] > 1:
        raise ValueError(f"p_values must lie in [0, 1], got values from {p[0]:.4g} to {p[-1]:.4g}")
    steps = np.arange(p.size + 1) / p.size
    value = float(max((steps[1:] - p).max(), (p - steps[:-1]).max()))
    return Distance(value, 0.5 / sqrt(p.size), inf, p.size)


def combine(coefficients: ArrayLike, estimates: Sequence[Estimate]) -> Estimate:
    """Linear combination of independent estimates, with Satterthwaite's degrees of freedom."""
    c = check_real("coefficients", coefficients, 1)
    estimates = _check_estimates("estimates", estimates)
    if c.size != len(estimates):
        raise ValueError(f"coefficients has {c.size} values for {len(estimates)} estimates")
    with np.errstate(over="ignore", invalid="ignore"):
        value, errors = float(c @ [e.value for e in estimates]), np.abs(c * [e.se for e in estimates])
        unit = _unit(errors)
        squares = (errors / unit) ** 2
        total = float(squares.sum())
        se = unit * sqrt(total)
    if not (isfinite(value) and isfinite(se)):
        raise ValueError(
            f"coefficients and estimates must combine to a finite number, got {value:g} ± {se:g}"
        )
    curvature = float(((squares / total) ** 2 / [e.df for e in estimates]).sum()) if total > 0 else 0.0
    return Estimate(
        value,
        se,
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
    TypeError, ValueError
        If shapes differ, a weight is not positive, or the columns do not determine the coefficients.
    """
    columns, cells = check_mapping("columns", columns), _check_estimates("cells", cells)
    if "intercept" in columns:
        raise ValueError("columns must not have the name 'intercept', which each regression has on its own")
    k = len(cells)
    names = ["intercept", *columns]
    design = np.column_stack([np.ones(k), *(_column(values, k, name) for name, values in columns.items())])
    w = np.ones(k) if weights is None else _column(weights, k, "weights")
    if not (w > 0).all():
        raise ValueError(f"weights must be positive, got {w.min():g}")
    root = np.sqrt(w)[:, None]
    if np.linalg.matrix_rank(root * design) < len(names):
        raise ValueError(
            f"{k} cells do not determine {len(names)} coefficients by these columns and weights, "
            f"got {shown([*columns])}"
        )
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
