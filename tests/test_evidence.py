"""The statistics: oracles for every number, simulated error rates for every decision.

A simulated rate is compared with its nominal value through `exceeds` and `falls_short`, whose own chance of a
false alarm is 1e-4 a comparison; seeds are fixed, so a failure is a change of the code. The checks are also
shown to fail on planted errors.
"""

import json
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW

from linphase import evidence as ev
from linphase.estimates import Median

ALPHA = 0.05


def exceeds(hits, n, rate):
    """Whether ``hits`` of ``n`` are too many for a chance of at most ``rate``."""
    return stats.binom.sf(hits - 1, n, rate) < 1e-4


def falls_short(hits, n, rate):
    return stats.binom.cdf(hits, n, rate) < 1e-4


def rate_of(draw, side, n=2500, seed=1, level=ALPHA):
    """Hits of ``draw(rng)``'s claim at ``level``, and the number of draws."""
    rng = np.random.default_rng(seed)
    return sum(getattr(draw(rng), side) <= level for _ in range(n)), n


# ---------------------------------------------------------------------------------------------- estimates


def test_mean_is_student_t():
    x = np.random.default_rng(0).normal(1, 2, 9)
    e = ev.mean(x, failures=2)
    assert (e.n, e.df, e.failures) == (9, 8, 2)
    assert e.interval(0.9) == pytest.approx(stats.t.interval(0.9, 8, x.mean(), stats.sem(x)))
    assert e.p_below(1.5) == pytest.approx(stats.ttest_1samp(x, 1.5, alternative="less").pvalue)
    assert e.p_above(1.5) == pytest.approx(stats.ttest_1samp(x, 1.5, alternative="greater").pvalue)


@pytest.mark.parametrize("df", [1, 3.7, 40, np.inf])
def test_tails_stay_accurate_far_out(df):
    for t in (0.1, 2, 8, 30):
        assert ev.Estimate(0, 1, df, 5).p_below(t) == pytest.approx(stats.t.sf(t, df), rel=1e-9)


def test_equal_replicates_prove_nothing():
    e = ev.mean(np.full(7, 0.1))
    assert (e.se, e.p_below(1), e.p_above(1), e.p_below(0), e.p_above(0)) == (0, 1, 1, 1, 1)
    assert ev.decide([ev.below("a", "", e, 1)])[0].status == "inconclusive"


@pytest.mark.parametrize(("count", "n"), [(0, 20), (3, 20), (20, 20), (1, 1)])
def test_share_is_exact(count, n):
    e = ev.share(count, n)
    assert e.interval() == pytest.approx(proportion_confint(count, n, method="beta"), abs=1e-12)
    for p in (0.01, 0.3, 0.9):
        assert e.p_below(p) == pytest.approx(stats.binomtest(count, n, p, "less").pvalue)
        assert e.p_above(p) == pytest.approx(stats.binomtest(count, n, p, "greater").pvalue)
    assert e.p_below(1.5) == (count == n)  # no evidence only where the bound counts as 1


def test_median_is_free_of_the_distribution():
    rng = np.random.default_rng(2)
    n_sim, exact, normal, low = 4000, 0, 0, 0
    for x in rng.lognormal(0, 1.5, (n_sim, 41)):
        e = ev.median(x)
        a, b = e.interval()
        exact += not a <= 1 <= b
        normal += abs(e.log().value) > 1.96 * e.log().se
        low += e.p_below(1) <= ALPHA
    assert not exceeds(exact, n_sim, 0.05)
    assert not exceeds(low, n_sim, ALPHA)
    assert 0.02 < normal / n_sim < 0.07
    assert ev.median([1, 2, 3, 4, 5]).interval() == (-np.inf, np.inf)  # 5 values reach only 1 - 2/32


def test_median_takes_infinite_values_in_the_tails():
    e = ev.median([0, 1, 2, 3, 4, 5, 6, 7, np.inf])
    assert (e.value, e.interval(0.9)) == (4, (1, 7))
    assert e.p_below(5.5) == pytest.approx(stats.binom.sf(5, 9, 0.5))
    with pytest.raises(ValueError, match="infinite"):
        ev.median([1, 2, np.inf, np.inf, np.inf, np.inf])


def test_ratio_interval_covers_for_correlated_pairs():
    rng = np.random.default_rng(3)
    n_sim, missed, unpaired = 3000, 0, 0
    for _ in range(n_sim):
        common = rng.normal(0, 1, 50)
        x, y = 4 + common + 0.3 * rng.normal(size=50), 2 + 0.4 * common
        e = ev.ratio(x, y)
        low, high = e.interval()
        missed += not low <= 2 <= high
        unpaired += e.se > 0.8 * np.hypot(ev.mean(x).se / 2, ev.mean(y).se)
    assert not exceeds(missed, n_sim, 0.065)  # delta method at n = 50
    assert not falls_short(missed, n_sim, 0.04)
    assert unpaired == 0


def test_combination_of_two_means_is_welch():
    rng = np.random.default_rng(4)
    x, y = rng.normal(0, 1, 6), rng.normal(0.5, 4, 11)
    welch = stats.ttest_ind(x, y, equal_var=False, alternative="less")
    e = ev.combine([1, -1], [ev.mean(x), ev.mean(y)])
    assert e.df == pytest.approx(welch.df)
    assert e.p_below(0) == pytest.approx(welch.pvalue)
    assert e.n == 17
    tiny = ev.combine([1e-90, -1e-90], [ev.mean(x), ev.mean(y)])
    assert tiny.df == pytest.approx(welch.df)


def test_regression_is_weighted_least_squares():
    rng = np.random.default_rng(5)
    a, b, y, w = rng.normal(size=(4, 7))
    cells = [ev.Estimate(v, 0.1, np.inf, 10) for v in y]
    fit = ev.regression({"a": a, "b": b}, cells, np.exp(w))
    design, root = np.column_stack([np.ones(7), a, b]), np.exp(w / 2)
    expected = np.linalg.lstsq(root[:, None] * design, root * y)[0]
    assert [fit[k].value for k in ("intercept", "a", "b")] == pytest.approx(expected)
    equal = ev.regression({"a": a, "b": b}, cells)
    cov = 0.01 * np.linalg.inv(design.T @ design)
    assert [e.se for e in equal.values()] == pytest.approx(np.sqrt(np.diag(cov)))


def test_slope_interval_covers_with_unequal_spread_and_curvature():
    """Few replicates, spreads from 0.1 to 3, a truth that is no line: the closest line's slope is covered."""
    x, sd = np.arange(6.0), np.array([0.1, 0.1, 0.3, 0.3, 1, 3])
    truth = 0.5 * x + 0.1 * x**2
    target = np.polyfit(x, truth, 1)[0]
    rng = np.random.default_rng(6)
    n_sim, missed, pooled = 1500, 0, 0
    for _ in range(n_sim):
        samples = truth[:, None] + sd[:, None] * rng.normal(size=(6, 5))
        low, high = ev.slope(x, [ev.mean(s) for s in samples]).interval()
        missed += not low <= target <= high
        line = stats.linregress(np.repeat(x, 5), samples.ravel())
        pooled += abs(line.slope - target) > line.stderr * stats.t.ppf(0.975, 28)
    assert not exceeds(missed, n_sim, 0.055)
    assert not falls_short(missed, n_sim, 0.03)
    assert exceeds(pooled, n_sim, 0.055)  # the usual error, which pools the spread, is wrong here


# ------------------------------------------------------------------------------------------- error rates


def test_equivalence_is_tost():
    x = np.random.default_rng(7).normal(0.1, 1, 30)
    claim = ev.equivalent("a", "", ev.mean(x), 0.2, 0.5)
    assert claim.p_support == pytest.approx(DescrStatsW(x).ttost_mean(-0.3, 0.7)[0])


def normal_mean(rng, centre, n=8):
    return ev.mean(rng.normal(centre, 1, n))


def trend(rng, exponent, last, n=5):
    """Cells at x = 1, 4, 16, 64 of a power law with a given exponent and last value."""
    x = np.array([1.0, 4, 16, 64])
    truth = last * (x / 64) ** exponent
    return x, [ev.mean(t * (1 + 0.05 * rng.normal(size=n))) for t in truth]


def power_law_p(rng, n, margin):
    """p-values whose law is ``margin`` away from the uniform: a share ``margin`` is moved to 0."""
    return rng.uniform(size=n) * (rng.uniform(size=n) > margin)


BOUNDARY = {
    # a claim, the side that would be wrong, the rate of being wrong
    "equivalent, upper end": (lambda r: ev.equivalent("a", "", normal_mean(r, 3), 0, 3), "p_support", ALPHA),
    "equivalent, lower end": (lambda r: ev.equivalent("a", "", normal_mean(r, -3), 0, 3), "p_support", ALPHA),
    "equivalent refuted, wide": (
        lambda r: ev.equivalent("a", "", normal_mean(r, 3), 0, 3), "p_refute", ALPHA / 2,
    ),
    "equivalent refuted, thin": (
        lambda r: ev.equivalent("a", "", normal_mean(r, 0), 0, 1e-9), "p_refute", ALPHA,
    ),
    "below": (lambda r: ev.below("a", "", normal_mean(r, 1), 1), "p_support", ALPHA),
    "below refuted": (lambda r: ev.below("a", "", normal_mean(r, 1), 1), "p_refute", ALPHA),
    "above": (lambda r: ev.above("a", "", normal_mean(r, 1), 1), "p_support", ALPHA),
    "above refuted": (lambda r: ev.above("a", "", normal_mean(r, 1), 1), "p_refute", ALPHA),
    "vanishes, wrong exponent": (
        lambda r: ev.vanishes("a", "", *trend(r, -0.3, 1), 9, 0.3), "p_support", 0.06,
    ),
    "vanishes, wrong last value": (lambda r: ev.vanishes("a", "", *trend(r, -3, 1), 1), "p_support", ALPHA),
    "grows, wrong exponent": (lambda r: ev.grows("a", "", *trend(r, 0.3, 1), 0.1, 0.3), "p_support", 0.06),
    "grows, wrong last value": (lambda r: ev.grows("a", "", *trend(r, 3, 1), 1), "p_support", ALPHA),
}  # fmt: skip
BOUNDED = {
    "share_below": (lambda r: ev.share_below("a", "", r.binomial(300, 0.02), 300, 0.02), "p_support"),
    "share_below refuted": (lambda r: ev.share_below("a", "", r.binomial(300, 0.02), 300, 0.02), "p_refute"),
    "uniform": (lambda r: ev.uniform("a", "", power_law_p(r, 400, 0.1), 0.1), "p_support"),
    "uniform refuted": (lambda r: ev.uniform("a", "", power_law_p(r, 400, 0.1), 0.1), "p_refute"),
    "uniform refuted, margin 0": (lambda r: ev.uniform("a", "", r.uniform(size=400), 1e-9), "p_refute"),
    "median above": (lambda r: ev.above("a", "", ev.median(r.normal(size=30)), 0), "p_support"),
    "vanishes refuted": (lambda r: ev.vanishes("a", "", *trend(r, -0.3, 1), 1, 0.3), "p_refute"),
    "all_of": (
        lambda r: ev.all_of("a", "", [ev.below(k, "", normal_mean(r, 0), 0) for k in "ab"]), "p_support",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BOUNDARY)
def test_false_alarms_at_the_boundary_have_the_stated_rate(case):
    """At the edge of the claimed region a wrong decision comes at alpha: no more, and little less.

    The exponents rest on the delta method and Satterthwaite's df, with 20 observations: .06 in place of .05.
    """
    draw, side, rate = BOUNDARY[case]
    hits, n = rate_of(draw, side)
    assert not exceeds(hits, n, rate)
    assert not falls_short(hits, n, 0.8 * rate)


@pytest.mark.parametrize("case", BOUNDED)
def test_false_alarms_stay_below_the_stated_rate(case):
    """Exact and distribution-free tests are conservative."""
    draw, side = BOUNDED[case]
    hits, n = rate_of(draw, side, n=2000)
    assert not exceeds(hits, n, ALPHA)


def test_rate_check_sees_a_wrong_test():
    """The checks above fail for a test that takes the normal law in place of Student's t."""

    def careless(rng):
        e = normal_mean(rng, 1)
        return ev.below("a", "", ev.Estimate(e.value, e.se, np.inf, e.n), 1)

    assert exceeds(*rate_of(careless, "p_support"), ALPHA)


def test_family_wise_error_is_held():
    """20 claims, half of them on the edge: a wrong verdict in at most alpha of the families."""
    rng = np.random.default_rng(8)
    n_sim, wrong, uncorrected = 1500, 0, 0
    for _ in range(n_sim):
        claims = [ev.below(str(k), "", normal_mean(rng, 0), 0) for k in range(10)]  # on the edge: not below 0
        claims += [ev.below(str(k), "", normal_mean(rng, -k / 8), 0) for k in range(10, 20)]  # true
        status = [v.status for v in ev.decide(claims)]
        wrong += "supported" in status[:10] or "refuted" in status[10:]
        uncorrected += any(c.p_support <= ALPHA for c in claims[:10])
    assert not exceeds(wrong, n_sim, ALPHA)
    assert exceeds(uncorrected, n_sim, 0.25)


def test_decision_is_never_stricter_than_holm():
    """With 2K p-values Holm's first K steps are at most alpha/(K + 1), below the alpha/K used here."""
    from statsmodels.stats.multitest import multipletests

    rng = np.random.default_rng(9)
    for _ in range(50):
        claims = [ev.below(str(k), "", normal_mean(rng, rng.normal(0, 2)), 0) for k in range(8)]
        p = [q for c in claims for q in (c.p_support, c.p_refute)]
        holm = multipletests(p, ALPHA, "holm")[0].reshape(8, 2).any(axis=1)
        decided = np.array([v.status != "inconclusive" for v in ev.decide(claims)])
        assert (decided | ~holm).all()


# ------------------------------------------------------------------------------------------------ verdicts


def fitted(exponent, seed=10, spread=0.05, constant=1.25, m=60):
    """Fit of a planted law constant * (d/n)^exponent with log-normal replicates."""
    rng = np.random.default_rng(seed)
    delta = np.geomspace(1e-4, 1e-2, 6)
    samples = constant * delta[:, None] ** exponent * np.exp(spread * rng.normal(size=(6, m)))
    return ev.regression({"delta": np.log(delta)}, [ev.mean(s).log() for s in samples])


@pytest.mark.parametrize(("exponent", "status"), [(0.5, "supported"), (0.25, "refuted"), (1.0, "refuted")])
def test_planted_rates(exponent, status):
    claim = ev.equivalent("rate", "√(d/n)", fitted(exponent)["delta"], 0.5, 0.03, rivals=(0.25, 1))
    (verdict,) = ev.decide([claim])
    assert verdict.status == status
    assert verdict.ok == (status == "supported")
    assert "excludes 0.25, 1" in verdict.test


@pytest.mark.parametrize(("constant", "status"), [(1.25, "supported"), (1.0, "refuted"), (1.6, "refuted")])
def test_planted_constants(constant, status):
    estimate = fitted(0.5, constant=constant)["intercept"]
    (verdict,) = ev.decide([ev.equivalent("constant", "", estimate, np.log(1.25), 0.1)])
    assert verdict.status == status


def test_wide_interval_is_inconclusive():
    """Truth ½, and an interval that reaches the rivals: no verdict, though ½ is "not rejected"."""
    estimate = fitted(0.5, spread=3, m=4)["delta"]
    (verdict,) = ev.decide([ev.equivalent("rate", "", estimate, 0.5, 0.03)])
    assert verdict.low < 0.5 < verdict.high
    assert (verdict.status, verdict.ok) == ("inconclusive", False)


def test_support_means_that_the_interval_lies_inside():
    """From two claims on, at alpha = 1 - level."""
    rng = np.random.default_rng(11)
    for _ in range(300):
        claims = [ev.equivalent(k, "", normal_mean(rng, 0, 30), 0, 0.5) for k in "ab"]
        for v in ev.decide(claims):
            if v.status == "supported":
                assert -0.5 < v.low < v.high < 0.5


def test_trends_need_both_the_slope_and_the_end():
    x = np.array([1.0, 10, 100])
    values = {"falls": (1, 0.1, 0.01), "floor": (1, 0.5, 0.4), "flat": (0.01, 0.01, 0.01)}
    cells = {kind: [ev.Estimate(v, 0.01 * v, 30, 31) for v in row] for kind, row in values.items()}
    claims = [ev.vanishes(kind, "", x, c, bound=0.05, rate=0.1) for kind, c in cells.items()]
    assert [v.status for v in ev.decide(claims)] == ["supported", "refuted", "refuted"]
    # The largest x counts as the end, in whatever order the cells come.
    back = ev.vanishes("a", "", x[::-1], cells["falls"][::-1], bound=0.05)
    assert back.p_support == pytest.approx(ev.vanishes("a", "", x, cells["falls"], bound=0.05).p_support)
    grow = ev.grows("a", "", x, [ev.Estimate(v, 0.01 * v, 30, 31) for v in (1, 3, 9)], bound=5)
    assert [v.status for v in ev.decide([grow])] == ["supported"]
    assert "last value 9 above 5" in grow.test


def test_share_below_without_a_violation():
    claim = ev.share_below("a", "", 0, 600, 0.01)
    assert claim.p_support == pytest.approx(0.99**600)
    assert ev.decide([claim])[0].status == "supported"
    assert ev.decide([ev.share_below("a", "", 20, 600, 0.01)])[0].status == "refuted"


def test_uniform_agrees_with_kolmogorov_smirnov():
    p = np.random.default_rng(12).uniform(size=4000)
    claim = ev.uniform("a", "", p, 0.05)
    assert claim.estimate.value == pytest.approx(stats.kstest(p, "uniform").statistic)
    assert ev.decide([claim])[0].status == "supported"
    assert ev.decide([ev.uniform("a", "", p**1.3, 0.05)])[0].status == "refuted"


def test_verdict_is_plain_json():
    claims = [
        ev.below("normal", "says", ev.Estimate(np.float64(1), 0.1, np.inf, np.int64(5)), 2, note="why"),
        ev.above("median", "says", ev.median([1, 2, 3, 4, 5]), 9, expected="refuted"),
    ]
    first, second = (json.loads(json.dumps(v.as_dict(), allow_nan=False)) for v in ev.decide(claims))
    assert first["df"] is None
    assert (first["value"], first["n"], first["note"]) == (1, 5, "why")
    assert (first["status"], first["ok"]) == ("supported", True)
    assert (second["low"], second["high"], second["status"]) == (None, None, "inconclusive")
    assert list(first)[:7] == ["name", "says", "value", "se", "df", "n", "failures"]
    assert {"low", "high", "level", "alpha", "family", "test", "p_support", "p_refute"} <= set(first)
    assert ev.decide([]) == []


# ------------------------------------------------------------------------------ p-values of an observation


def reference(rng, m, b, d):
    """m new observations and, for each, a reference sample of its own: mean and covariance."""
    root = np.eye(d) + 0.5 * rng.normal(size=(d, d))
    x = rng.normal(size=(m, b, d)) @ root + 3
    mean = x.mean(axis=1)
    centred = x - mean[:, None]
    return rng.normal(size=(m, d)) @ root + 3, mean, np.matmul(centred.swapaxes(1, 2), centred) / (b - 1)


def test_p_values_are_uniform_under_the_null():
    """DKW at false-alarm rate 1e-4 a comparison; the chi-squared and normal laws are caught."""
    m, b, d = 20_000, 20, 5
    theta, mean, cov = reference(np.random.default_rng(13), m, b, d)
    p = ev.hotelling_p_value(theta, mean, cov, b)
    assert p.shape == (m,)
    assert ev.distance_from_uniform(p).p_above(0) > 1e-4
    chi2 = stats.chi2.sf(np.einsum("mi,mij,mj->m", theta - mean, np.linalg.inv(cov), theta - mean), d)
    assert ev.distance_from_uniform(chi2).p_above(0) < 1e-4
    sd = np.sqrt(cov[:, 0, 0])
    p = ev.t_p_value(theta[:, 0], mean[:, 0], sd, b)
    assert ev.distance_from_uniform(p).p_above(0) > 1e-4
    normal = 2 * stats.norm.sf(abs(theta[:, 0] - mean[:, 0]) / sd)
    assert ev.distance_from_uniform(normal).p_above(0) < 1e-4


def test_hotelling_in_one_dimension_is_t():
    value = np.linspace(-3, 3, 7)
    p = ev.hotelling_p_value(value[:, None], [0.2], [[1.7**2]], 12)
    assert p == pytest.approx(ev.t_p_value(value, 0.2, 1.7, 12))


def test_hotelling_is_affine_invariant_and_sees_a_shift():
    rng = np.random.default_rng(14)
    theta, mean, cov = reference(rng, 1, 50, 4)
    a, shift = rng.normal(size=(4, 4)), rng.normal(size=4)
    p = ev.hotelling_p_value(theta[0], mean[0], cov[0], 50)
    assert p.shape == ()
    moved = ev.hotelling_p_value(a @ theta[0] + shift, a @ mean[0] + shift, a @ cov[0] @ a.T, 50)
    assert moved == pytest.approx(p)
    assert ev.hotelling_p_value(theta[0] + 20, mean[0], cov[0], 50) < 1e-6


# ------------------------------------------------------------------------------------------------ bad input


GOOD = ev.Estimate(1, 0.1, 5, 6)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: ev.mean([1]), "x has 1 value"),
        (lambda: ev.mean([1, np.nan, 2]), "x has 1 NaN among 3"),
        (lambda: ev.mean([1, np.inf]), "x has infinite"),
        (lambda: ev.mean([[1, 2]]), "x must have one dimension"),
        (lambda: ev.median([1, 2, 3, 4]), "at least 5"),
        (lambda: ev.ratio([1, 2], [1, 2, 3]), "x and y must be pairs"),
        (lambda: ev.ratio([1, 2], [1, -1]), "y has mean 0"),
        (lambda: ev.share(5, 4), "count must be at most 4, got 5"),
        (lambda: ev.share(0, 0), "n must be at least 1, got 0"),
        (lambda: ev.combine([1], [GOOD, GOOD]), "coefficients has 1"),
        (lambda: ev.slope([1, 2, 3], [GOOD, GOOD]), "x has 3 values for 2 cells"),
        (lambda: ev.slope([1, 1], [GOOD, GOOD]), "do not determine"),
        (lambda: ev.slope([1, 2], [GOOD, GOOD], [1, 0]), "weights must be positive"),
        (lambda: ev.Estimate(np.nan, 1, 1, 2), "value must be a finite"),
        (lambda: ev.Estimate(1, -1, 1, 2), "se must be"),
        (lambda: ev.Estimate(1, 1, 0, 2), "df must be"),
        (lambda: ev.Estimate(1, 1, 1, 0), "n must be"),
        (lambda: ev.Estimate(1, 1, 1, 1, -1), "failures must be"),
        (lambda: ev.Estimate(-1, 1, 1, 2).log(), "positive"),
        (lambda: ev.median([-1, 1, 2, 3, 4]).log(), "positive"),
        (lambda: GOOD.interval(1), "level must be strictly between 0 and 1, got 1"),
        (lambda: ev.equivalent("a", "", GOOD, np.nan, 1), "target"),
        (lambda: ev.equivalent("a", "", GOOD, 1, 0), "margin must be positive"),
        (lambda: ev.equivalent("a", "", GOOD, 0.5, 0.3, rivals=[0.25]), "rivals must lie outside 0.5 ± 0.3"),
        (lambda: ev.below("a", "", GOOD, np.nan), "bound must be"),
        (lambda: ev.above("a", "", GOOD, np.inf), "bound must be"),
        (lambda: ev.below("a", "", GOOD, 1, expected="true"), "expected must be"),
        (lambda: ev.Claim("a", "", GOOD, "", 2, 0), r"p_support must be in \[0, 1\], got 2"),
        (lambda: ev.Claim("a", "", GOOD, "", 0, -1), r"p_refute must be in \[0, 1\], got -1"),
        (lambda: ev.uniform("a", "", [0.5, 1.2], 0.1), "p_values must lie"),
        (lambda: ev.uniform("a", "", [], 0.1), "p_values has 0"),
        (lambda: ev.all_of("a", "", []), "claims must not be empty"),
        (lambda: ev.vanishes("a", "", [0, 1], [GOOD, GOOD], 1), "x must be positive"),
        (lambda: ev.decide([ev.below("a", "", GOOD, 1)] * 2), r"distinct names, repeated: \['a'\]"),
        (lambda: ev.decide([], alpha=0), "alpha must be strictly between 0 and 1, got 0"),
        (lambda: ev.hotelling_p_value([1, 2], [0, 0], np.eye(3), 9), "cov of shape"),
        (lambda: ev.hotelling_p_value([1, 2], [0, 0], np.eye(2), 2), "n_reference must be at least 3, got 2"),
        (lambda: ev.hotelling_p_value([1, 2], [0, 0], np.ones((2, 2)), 9), "positive definite"),
        (lambda: ev.hotelling_p_value([1, np.nan], [0, 0], np.eye(2), 9), "theta must be finite"),
        (lambda: ev.hotelling_p_value([1, 2], [0, 0], [[1, 0.5], [0, 1]], 9), "cov must be symmetric"),
        (lambda: ev.t_p_value(1, 0, 1, 1), "n_reference must be at least 2"),
        (lambda: ev.t_p_value(1, 0, 0, 9), "sd must be positive, got 0"),
    ],
)
def test_bad_input_is_one_clear_sentence(call, says):
    with pytest.raises(ValueError, match=says) as error:
        call()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: ev.below("a", "", 1.0, 1), "estimate must be an Estimate, got 1.0"),
        (lambda: ev.below(1, "", GOOD, 1), "name must be a string, got 1"),
        (lambda: ev.below("a", "", GOOD, None), "bound must be a real number, got None"),
        (lambda: ev.decide(GOOD), r"claims must be a list or tuple of Claims, got Estimate\(.*"),
        (lambda: ev.combine([1], [1.0]), r"estimates must be a list or tuple of Estimates, got \[1.0\]"),
        (lambda: ev.regression([1], [GOOD]), r"columns must be a mapping from strings, got \[1\]"),
        (lambda: ev.median(np.ma.masked_array([1.0] * 9, [True] * 9)), "x must not be a masked array: .*"),
        (lambda: ev.mean([1 + 2j, 1]), r"x must hold real numbers, got list \[.*\]"),
        (lambda: ev.share(3.0, 5), "count must be an integer, got 3.0"),
        (lambda: GOOD.p_below("1"), "bound must be a real number, got '1'"),
    ],
)
def test_wrong_kinds_are_one_clear_sentence(call, says):
    with pytest.raises(TypeError, match=f"^{says}$"):
        call()


def test_extreme_numbers_are_refused_or_right():
    assert ev.mean([1e-170, 2e-170]).se == pytest.approx(5e-171, rel=1e-12)  # a square would vanish
    with pytest.raises(ValueError, match=r"^x must be at most 1e\+45 in size, got 1e\+61$"):
        ev.mean([1e61, 0.0])
    with pytest.raises(ValueError, match=r"^sample has 3 value"):
        Median(1.0, 1.0, 9.0, 3, sample=[1, 2, 3])
    assert ev.combine([1e-90, 1e-90], [ev.Estimate(0, 1e-90, 5, 6)] * 2).se == pytest.approx(2**0.5 * 1e-180)
    far = ev.distance_from_uniform([0.5])
    assert (far.p_below(1e300), far.p_above(-1e300)) == (0.0, 0.0)


def test_rounding_makes_no_covariance_asymmetric():
    cov = np.array([[1.0, 1e-17], [-1e-17, 1e-6]])
    assert ev.hotelling_p_value([0.5, 0.0], [0, 0], cov, 20) == ev.hotelling_p_value(
        [0.5, 0], [0, 0], np.diag([1, 1e-6]), 20
    )


def test_words_are_no_numbers():
    with pytest.raises(TypeError, match=r"x must hold real numbers, got list \['a', 'b'\]"):
        ev.mean(["a", "b"])


def test_import_is_light():
    heavy = "{'scipy.stats', 'statsmodels', 'matplotlib'}"
    code = f"import linphase.evidence, sys; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
