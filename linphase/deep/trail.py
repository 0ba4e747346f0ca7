"""What a method of the search for ε* has seen and spent."""

from __future__ import annotations

import time
from dataclasses import dataclass

from torch import nn

from linphase.deep.crossing import CriticalStrength, Point, crossing


@dataclass(frozen=True)
class Clean:
    """The clean model with R and L(0)."""

    model: nn.Module
    target: float
    point: Point
    passes: float


class Trail:
    """Points of a method and their cost, from the clean model on."""

    def __init__(self, clean: Clean) -> None:
        self.target, self.clean_passes = clean.target, clean.passes
        self.points, self.passes, self.seconds = [clean.point], 0.0, 0.0
        self.start, self.repeated = time.perf_counter(), list[float]()

    def add(self, point: Point) -> None:
        """Put a point in its place."""
        self.points = sorted([*self.points, point], key=lambda p: p.eps)

    def pay(self, other: CriticalStrength) -> None:
        """Take over the cost of another result, whenever it was found."""
        self.start = time.perf_counter()
        self.passes, self.seconds = self.passes + other.passes, self.seconds + other.seconds

    def crossing(self) -> tuple[float, float, float]:
        """Return where the points' losses cross R, and the strengths around it."""
        return crossing(self.points, self.target)

    def result(self, method: str, eps_star: float, lower: float, upper: float) -> CriticalStrength:
        """Return ε* with all that was seen and spent up to now."""
        return CriticalStrength(
            float(eps_star),
            float(lower),
            float(upper),
            tuple(self.points),
            self.target,
            method,
            self.seconds + time.perf_counter() - self.start,
            self.passes,
            self.clean_passes,
            repeated=tuple(sorted(self.repeated)),
        )
