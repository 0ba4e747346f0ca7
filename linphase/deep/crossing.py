"""Where an adversarial training loss crosses a level, and what is known of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.optimize import isotonic_regression

from linphase.deep.history import History

NEAR = 0.1
"""Share of R within which a loss is near it."""


class Point(NamedTuple):
    """A strength with its training loss, and the run's history if it was trained."""

    eps: float
    loss: float
    history: History | None = None


@dataclass(frozen=True)
class CriticalStrength:
    """ε* with what it came from.

    Attributes
    ----------
    eps_star : float
        0 if already the clean training loss exceeds R, inf if the largest ε tried does not reach it, NaN if
        following did not arrive at the crossing. Over several seeds the median.
    lower, upper : float
        Bracket: neighbouring strengths between which L crosses R; 0 and infinity after fine-tuning, which has
        none. Over several seeds the extremes of theirs.
    trace : tuple of Point
        Where L was found, ε rising. Empty over several seeds: each has its own.
    target : float
        R, the clean test loss of the clean model; over several seeds the mean.
    method : str
    seconds, passes : float
        Cost, without that of the clean model for the methods that start from it: wall time (with that of the
        training found in checkpoints), and passes forward and backward over the training data.
    clean_passes : float
        Cost of the clean model; 0 if it was given.
    runs : tuple of CriticalStrength
        One for each seed, if there are several.
    masked : bool
        Following by a weaker attack than the recipe's ended with a network that resists that attack alone,
        and was repeated by the recipe's. Over several seeds, whether any was.
    repeated : tuple of float
        Strengths at which training from scratch, with a warm-up, stayed at the loss of guessing, and was
        repeated with a longer one. Over several seeds those of all.
    """

    eps_star: float
    lower: float
    upper: float
    trace: tuple[Point, ...]
    target: float
    method: str
    seconds: float
    passes: float
    clean_passes: float = 0.0
    runs: tuple[CriticalStrength, ...] = ()
    masked: bool = False
    repeated: tuple[float, ...] = ()


def crossing(trace: Sequence[tuple[float, float] | Point], target: float) -> tuple[float, float, float]:
    """Return where the line through the points of a trace leaves the level, and the two ε around it.

    It is sup{ε : L(ε) ≤ R} of the isotonic regression: L cannot fall where training finds its minimum, and
    where the noise of training makes it fall, neighbours are pooled. The supremum of the bare points would
    rise with their number. A run that fails below strengths that train is no such noise, and pulls the answer
    down: the trace shows it.

    0 if no point lies at or below R, infinite if the last one does.
    """
    points = sorted((point[0], point[1]) for point in trace)
    rising = isotonic_regression([loss for _, loss in points]).x.tolist()
    points = [(eps, loss) for (eps, _), loss in zip(points, rising, strict=True)]
    inside = [k for k, (_, loss) in enumerate(points) if loss <= target]
    if not inside:
        return 0.0, 0.0, points[0][0]
    if inside[-1] == len(points) - 1:
        return np.inf, points[-1][0], np.inf
    (left, low), (right, high) = points[inside[-1]], points[inside[-1] + 1]
    return left + (right - left) * (target - low) / (high - low), left, right


def refinement(trace: Sequence[tuple[float, float] | Point], target: float) -> float:
    """Return the strength to try next: the interpolated crossing, or the middle of its bracket.

    The middle if the interpolated one lies in an outer quarter whose end is not near R: there the loss bends,
    as where training fails from some ε on, and a line through such a loss would creep up from one side.
    """
    eps, left, right = crossing(trace, target)
    end = left if eps - left < right - eps else right
    loss = next(point[1] for point in trace if point[0] == end)
    if abs(eps - end) >= (right - left) / 4 or abs(loss - target) <= NEAR * target:
        return eps
    return float(np.sqrt(left * right)) if left > 0 else right / 2


def summary(runs: Sequence[CriticalStrength]) -> CriticalStrength:
    """Return one result for the results of several seeds."""
    return CriticalStrength(
        float(np.median([run.eps_star for run in runs])),
        min(run.lower for run in runs),
        max(run.upper for run in runs),
        (),
        float(np.mean([run.target for run in runs])),
        runs[0].method,
        sum(run.seconds for run in runs),
        sum(run.passes for run in runs),
        sum(run.clean_passes for run in runs),
        tuple(runs),
        any(run.masked for run in runs),
        tuple(eps for run in runs for eps in run.repeated),
    )
