"""Where a loss crosses a level, where to look next, and several seeds in one result."""

import numpy as np
import pytest

pytest.importorskip("torch")

from linphase.deep.crossing import CriticalStrength, crossing, refinement, summary


@pytest.mark.parametrize(
    ("trace", "expected"),
    [
        ([(0, 0), (1, 2)], (0.5, 0, 1)),
        ([(1, 2), (0, 0)], (0.5, 0, 1)),  # in any order
        ([(0, 0), (1, 1), (3, 2)], (1, 1, 3)),  # at the level
        ([(0, 0), (1, 1.5), (2, 0.5), (4, 2), (5, 9)], (2, 2, 4)),  # where it falls, neighbours are pooled
        ([(0, 0), (1, 3), (2, 1), (4, 2), (5, 9)], (0.5, 0, 1)),
        ([(0, 1.5), (1, 0), (3, 1.25)], (2, 1, 3)),
        ([(0, 2), (1, 3)], (0, 0, 0)),  # none
        ([(1, 2), (2, 3)], (0, 0, 1)),
        ([(0, 0), (1, 0.5)], (np.inf, 1, np.inf)),  # all below
        ([(0, 0), (1, 1.5), (2, 0.5)], (np.inf, 2, np.inf)),
        ([(0, 1)], (np.inf, 0, np.inf)),
    ],
)
def test_crossings(trace, expected):
    assert crossing(trace, 1.0) == expected


def test_a_finer_grid_does_not_raise_a_noisy_crossing():
    """L(ε) = ε with errors of .3, R = 1: the supremum of the bare points rises by .3 from 8 points to 60."""
    rng = np.random.default_rng(0)
    means, bare = [], []
    for points in (8, 60):
        grid = np.linspace(0.1, 2, points)
        traces = [np.column_stack((grid, grid + 0.3 * rng.standard_normal(points))) for _ in range(400)]
        means.append(np.mean([crossing(trace.tolist(), 1.0)[0] for trace in traces]))
        bare.append(np.mean([trace[trace[:, 1] <= 1, 0].max(initial=0) for trace in traces]))
    assert means == pytest.approx([1, 1], abs=0.06)  # standard error .01
    assert bare[1] - bare[0] > 0.25


@pytest.mark.parametrize(
    ("trace", "expected"),
    [
        ([(0, 0), (1, 2)], 0.5),
        ([(0, 0), (1, 0.5), (4, 2)], 2.0),
        ([(1, 0.8), (4, 20)], 2.0),  # the line's is 1.03, and the loss there is not near R: the middle
        ([(1, 0.0), (4, 1.2)], 2.0),
        ([(0, 0.8), (4, 20)], 2.0),
        ([(1, 0.95), (4, 20)], 1 + 3 * 0.05 / 19.05),  # near R: the line's
    ],
)
def test_where_to_refine(trace, expected):
    assert refinement(trace, 1.0) == pytest.approx(expected)


def test_refinement_closes_in_on_a_jump():
    """As where training fails from some ε on: a line through the ends would creep up from the left."""
    trace = [(1.0, 0.1), (4.0, 20.0)]
    for _ in range(6):
        eps = refinement(trace, 1.0)
        trace.append((eps, 0.1 if eps < 3.3 else 20.0))
    _, left, right = crossing(trace, 1.0)
    assert left < 3.3 < right
    assert right / left < 1.05


def test_the_summary_of_seeds():
    def result(eps, lower, upper):
        return CriticalStrength(eps, lower, upper, (), eps + 1, "scratch", 2.0, 3.0, 4.0)

    runs = [result(1.0, 0.5, 1.5), result(3.0, 2.5, 3.5), result(np.inf, 9.0, np.inf)]
    whole = summary(runs)
    assert (whole.eps_star, whole.lower, whole.upper) == (3.0, 0.5, np.inf)
    assert (whole.seconds, whole.passes, whole.clean_passes) == (6.0, 9.0, 12.0)
    assert whole.runs == tuple(runs)
    assert whole.trace == ()
