"""From replicates to verdicts: estimates with their error, claims with two p-values, decisions for a family.

A claim says that a parameter lies in a region. Its two p-values test the two complementary nulls: a small
``p_support`` rejects "outside the region", a small ``p_refute`` rejects "inside". A claim is therefore never
supported by a null that was merely not rejected: too little data gives "inconclusive".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from math import isfinite, sqrt
from typing import Any, Literal, TypedDict, Unpack

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from linphase.checks import (
    SMALLEST,
    Array,
    broadcast,
    check_array,
    check_between,
    check_choice,
    check_count,
    check_kind,
    check_number,
    check_positive,
    check_real,
    check_sequence,
    check_text,
    shown,
)
from linphase.estimates import (
    Estimate,
    combine,
    distance_from_uniform,
    mean,
    median,
    ratio,
    regression,
    share,
    slope,
)

__all__ = [
    "Claim", "Estimate", "Verdict", "above", "all_of", "below", "combine", "decide", "distance_from_uniform",
    "equivalent", "grows", "hotelling_p_value", "mean", "median", "ratio", "regression", "share",
    "share_below", "slope", "t_p_value", "uniform", "vanishes",
]  # fmt: skip

Status = Literal["supported", "refuted", "inconclusive"]

_FARTHEST = float(np.finfo(np.float64).max)  # a descent that diverges ends far from its reference


@dataclass(frozen=True)
class Claim:
    """A statement on a parameter with its evidence on both sides.

    Parameters
    ----------
    name : str
        Unique in its family.
    says : str
        What the paper says.
    estimate : Estimate
        The measured parameter.
    test : str
        A sentence: region, tests, rivals.
    p_support, p_refute : float
        p-values of the nulls "outside the region" and "inside the region".
    expected : {"supported", "refuted"}
        The status that we expect.
    note : str
        Anything the reader of the table should know.
    """

    name: str
    says: str
    estimate: Estimate
    test: str
    p_support: float
    p_refute: float
    expected: Status = "supported"
    note: str = ""

    def __post_init__(self) -> None:
        for name in ("name", "says", "test", "note"):
            check_text(name, getattr(self, name))
        check_kind("estimate", self.estimate, Estimate, "an Estimate")
        for name in ("p_support", "p_refute"):
            p = check_number(name, getattr(self, name), "in [0, 1]", low=0.0, high=1.0)
            object.__setattr__(self, name, p)
        check_choice("expected", self.expected, ("supported", "refuted"))


class Extra(TypedDict, total=False):
    """What every constructor of a claim takes beside its own arguments; see `Claim`."""

    expected: Status
    note: str


def equivalent(
    name: str,
    says: str,
    estimate: Estimate,
    target: float,
    margin: float,
    rivals: Sequence[float] = (),
    **extra: Unpack[Extra],
) -> Claim:
    """Claim that the parameter lies within ``margin`` of ``target``: two one-sided tests (TOST).

    ``rivals`` are values of competing theories. They must lie outside the margin, so that support for the
    target rejects each of them a fortiori: a margin that lets a rival in raises ValueError.
    """
    _check(name, says, estimate)
    target, margin = check_number("target", target), check_positive("margin", margin)
    rivals = [check_number("rivals", rival) for rival in check_sequence("rivals", rivals, object, "numbers")]
    for rival in rivals:
        if not abs(rival - target) >= margin:
            raise ValueError(f"rivals must lie outside {target} ± {margin}, target ± margin, got {rival}")
    low, high = target - margin, target + margin
    support = max(estimate.p_above(low), estimate.p_below(high))
    # Twice the smaller, because "inside" can be left at either end.
    refute = min(1.0, 2 * min(estimate.p_below(low), estimate.p_above(high)))
    test = f"inside {target:.4g} ± {margin:.4g}, {estimate.test}"
    if rivals:
        test += "; excludes " + ", ".join(f"{rival:.4g}" for rival in rivals)
    return Claim(name, says, estimate, test, support, refute, **extra)


def below(name: str, says: str, estimate: Estimate, bound: float, **extra: Unpack[Extra]) -> Claim:
    """Claim that the parameter is less than ``bound``."""
    _check(name, says, estimate)
    bound = check_number("bound", bound)
    support, refute = estimate.p_below(bound), estimate.p_above(bound)
    return Claim(name, says, estimate, f"below {bound:.4g}, {estimate.test}", support, refute, **extra)


def above(name: str, says: str, estimate: Estimate, bound: float, **extra: Unpack[Extra]) -> Claim:
    """Claim that the parameter is greater than ``bound``."""
    _check(name, says, estimate)
    bound = check_number("bound", bound)
    support, refute = estimate.p_above(bound), estimate.p_below(bound)
    return Claim(name, says, estimate, f"above {bound:.4g}, {estimate.test}", support, refute, **extra)


def share_below(name: str, says: str, failures: int, n: int, bound: float, **extra: Unpack[Extra]) -> Claim:
    """Claim that fewer than a share ``bound`` of data sets violate a statement; ``failures`` of ``n`` did.

    This is the form of "the closed form equals the solver on every data set": with no violation
    ``p_support = (1 - bound)**n``, so 600 data sets support "fewer than 1 %" at .0025.
    """
    n = check_count("n", n)
    failures = check_count("failures", failures, least=0, most=n)
    return below(name, says, share(failures, n), bound, **extra)


def uniform(name: str, says: str, p_values: ArrayLike, margin: float, **extra: Unpack[Extra]) -> Claim:
    """Claim that the law of independent p-values is within ``margin`` of the uniform, in sup|F(p) - p|.

    p-values that share a reference set are dependent and do not qualify. Support takes about
    ``(3 / margin)**2`` p-values.
    """
    margin = check_number("margin", margin)
    return below(name, says, distance_from_uniform(p_values), margin, **extra)


def all_of(name: str, says: str, claims: Sequence[Claim], **extra: Unpack[Extra]) -> Claim:
    """Claim that several claims hold together (intersection-union test); its estimate is the first one's."""
    claims = check_sequence("claims", claims, Claim, "Claims")
    if not claims:
        raise ValueError("claims must not be empty")
    support = max(claim.p_support for claim in claims)
    refute = min(1.0, len(claims) * min(claim.p_refute for claim in claims))
    test = "; ".join(f"{claim.name} {claim.estimate.value:.4g} {claim.test}" for claim in claims)
    return Claim(name, says, claims[0].estimate, test, support, refute, **extra)


def vanishes(
    name: str,
    says: str,
    x: ArrayLike,
    cells: Sequence[Estimate],
    bound: float,
    rate: float = 0.0,
    **extra: Unpack[Extra],
) -> Claim:
    """Claim that a positive quantity falls to 0 as ``x`` grows.

    Its exponent in ``x`` (see `slope`) is below ``-rate``, its value at the largest ``x`` below ``bound``.
    """
    bound, rate = check_number("bound", bound), check_number("rate", rate)
    exponent, last = _trend(x, cells)
    parts = [below("exponent", says, exponent, 0.0 - rate), below("last value", says, last, bound)]
    return all_of(name, says, parts, **extra)


def grows(
    name: str,
    says: str,
    x: ArrayLike,
    cells: Sequence[Estimate],
    bound: float,
    rate: float = 0.0,
    **extra: Unpack[Extra],
) -> Claim:
    """Claim that a positive quantity grows without bound with ``x``.

    Its exponent in ``x`` (see `slope`) is above ``rate``, its value at the largest ``x`` above ``bound``.
    """
    bound, rate = check_number("bound", bound), check_number("rate", rate)
    exponent, last = _trend(x, cells)
    parts = [above("exponent", says, exponent, rate), above("last value", says, last, bound)]
    return all_of(name, says, parts, **extra)


def _check(name: str, says: str, estimate: Estimate) -> None:
    check_text("name", name)
    check_text("says", says)
    check_kind("estimate", estimate, Estimate, "an Estimate")


def _trend(x: ArrayLike, cells: Sequence[Estimate]) -> tuple[Estimate, Estimate]:
    """Exponent of the cells in x, and the cell at the largest x."""
    values = check_real("x", x, 1)
    if not (values > 0).all():
        raise ValueError(f"x must be positive, got {values.min():g}")
    cells = check_sequence("cells", cells, Estimate, "Estimates")
    try:
        logs = [cell.log() for cell in cells]
    except ValueError as error:
        raise ValueError(f"cells must have logarithms: {error}") from None
    return slope(np.log(values), logs), cells[int(values.argmax())]


# ----------------------------------------------------------------------------------------------- verdicts


@dataclass(frozen=True)
class Verdict(Claim):
    """A claim that was decided within its family; (low, high) is the estimate's own interval at ``level``."""

    low: float = field(kw_only=True)
    high: float = field(kw_only=True)
    level: float = field(kw_only=True)
    alpha: float = field(kw_only=True)
    family: int = field(kw_only=True)
    status: Status = field(kw_only=True)

    @property
    def ok(self) -> bool:
        """Whether the status is the expected one."""
        return self.status == self.expected

    def as_dict(self) -> dict[str, Any]:
        """Flat dictionary of JSON types: name, says, the estimate's fields, the others; None for infinity."""
        e = self.estimate
        items: dict[str, Any] = {"name": self.name, "says": self.says}
        items |= {"value": float(e.value), "se": float(e.se), "df": float(e.df)}
        items |= {"n": int(e.n), "failures": int(e.failures)}
        items |= {f.name: getattr(self, f.name) for f in fields(self) if f.name != "estimate"}
        items["ok"] = self.ok
        return {k: None if isinstance(v, float) and not isfinite(v) else v for k, v in items.items()}


def decide(claims: Sequence[Claim], alpha: float = 0.05, level: float = 0.95) -> list[Verdict]:
    """Verdicts for a family of K claims: the chance that any of them is wrong is at most ``alpha``.

    A claim is supported if ``p_support <= alpha / K``, refuted if ``p_refute <= alpha / K``. Of its two nulls
    exactly one is true, so K of the 2K nulls are true, and Holm's procedure with Shaffer's (1986) count of
    the nulls that can still be true compares with alpha / K at every step. (Plain Holm over the 2K p-values
    is stricter: its first K steps run from alpha / 2K to alpha / (K + 1).)
    """
    claims = check_sequence("claims", claims, Claim, "Claims")
    alpha, level = check_between("alpha", alpha), check_between("level", level)
    names = [claim.name for claim in claims]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"claims must have distinct names, repeated: {shown(sorted(repeated))}")
    return [_verdict(claim, alpha, level, len(claims)) for claim in claims]


def _verdict(claim: Claim, alpha: float, level: float, family: int) -> Verdict:
    status: Status = "inconclusive"
    if claim.p_support <= alpha / family:
        status = "supported"
    elif claim.p_refute <= alpha / family:
        status = "refuted"
    low, high = claim.estimate.interval(level)
    own = {f.name: getattr(claim, f.name) for f in fields(Claim)}
    return Verdict(**own, low=low, high=high, level=level, alpha=alpha, family=family, status=status)


# -------------------------------------------------------------------------- p-values of a new observation


def hotelling_p_value(theta: ArrayLike, mean: ArrayLike, cov: ArrayLike, n_reference: int) -> Array:
    """p-value that ``theta`` has the normal law of a reference sample (Hotelling's prediction).

    Parameters
    ----------
    theta : array (..., d)
        New observations, independent of the reference.
    mean, cov : arrays (..., d) and (..., d, d)
        Mean and covariance (divisor ``n_reference - 1``) of the reference; leading axes broadcast against
        those of ``theta``, so that each row may have a reference of its own.
    n_reference : int
        Size B > d of the reference sample.

    Returns
    -------
    array (...)
        From T² B(B - d) / (d (B² - 1)) ~ F(d, B - d), T² = (theta - mean)' cov⁻¹ (theta - mean).
    """
    theta = check_array("theta", theta, _FARTHEST)
    mean, covariance = check_array("mean", mean), check_array("cov", cov)
    if theta.ndim < 1 or mean.ndim < 1 or covariance.ndim < 2:
        raise ValueError(
            f"theta and mean must have an axis and cov two, got shapes {theta.shape}, {mean.shape} "
            f"and {covariance.shape}"
        )
    theta, mean = broadcast(theta=theta, mean=mean)
    d = theta.shape[-1]
    if covariance.shape[-2:] != (d, d):
        raise ValueError(f"cov of shape {covariance.shape} does not fit theta and mean of {theta.shape}")
    broadcast(**{"theta and mean": theta[..., None], "cov": covariance})
    variances = np.diagonal(covariance, axis1=-2, axis2=-1)
    if not variances.min() >= SMALLEST:
        raise ValueError(f"cov must be positive definite, with variances of at least {SMALLEST:g}")
    root = np.sqrt(variances)
    skew = np.abs(covariance - np.swapaxes(covariance, -1, -2)) / root[..., None, :] / root[..., None]
    if skew.max() > 1e-9:
        raise ValueError(f"cov must be symmetric, got correlations that differ by {skew.max():.2g}")
    b = check_count("n_reference", n_reference, least=d + 1)
    difference = np.clip(theta - mean, -1e100, 1e100)  # farther off, the p-value is 0 as well
    try:
        whiten = np.linalg.inv(np.linalg.cholesky(covariance))
    except np.linalg.LinAlgError:
        raise ValueError("cov must be positive definite") from None
    t2 = (np.matmul(whiten, difference[..., None])[..., 0] ** 2).sum(axis=-1)
    return np.asarray(special.fdtrc(d, b - d, t2 * b * (b - d) / (d * (b**2 - 1.0))))


def t_p_value(value: ArrayLike, mean: ArrayLike, sd: ArrayLike, n_reference: int) -> Array:
    """Two-sided p-value that ``value`` has the normal law of a reference sample of size B = ``n_reference``.

    ``sd`` has divisor B - 1; (value - mean) / (sd √(1 + 1/B)) is Student's t with B - 1 degrees of freedom.
    Arguments broadcast.
    """
    n_reference = check_count("n_reference", n_reference, least=2)
    value, mean, sd = check_array("value", value, _FARTHEST), check_array("mean", mean), check_array("sd", sd)
    if not sd.min() > 0:
        raise ValueError(f"sd must be positive, got {sd.min():g}")
    value, mean, sd = broadcast(value=value, mean=mean, sd=sd)
    with np.errstate(over="ignore"):
        t = (value - mean) / (sd * sqrt(1 + 1 / n_reference))
    return np.asarray(2 * special.stdtr(n_reference - 1, -abs(t)))
