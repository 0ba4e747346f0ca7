"""ε that follows its own crossing while a network trains.

A grid of strengths costs a training run each, and what it seeks is the one ε at which the adversarial
training loss equals R. So let ε move during a single run: up while the loss of the batch is below R, down
while it is above,

    log ε ← log ε + γ (R − ℓ) / R,

a stochastic approximation, with a constant gain since the root of L(ε) = R moves along the schedule. Its mean
over the last steps is ε* of a network that was trained to the end at the moving ε.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from linphase.checks import check_amount, shown
from linphase.deep.checks import LARGEST, STRONGEST, check_strength

TAIL = 0.25
"""Share of the steps, at the end, over which ε is averaged."""
LARGEST_STEP = 0.2
"""Of log ε, so that one wild batch does not throw it."""


class Tracker:
    """ε of the next step, and its mean over the last part of the schedule.

    Parameters
    ----------
    target : float
        R, positive.
    start : float
        First ε, positive.
    gain : float
        γ.
    tail : float
        Share of the steps, at the end, over which ε and the loss are averaged.
    least : float
        ε does not fall below it. At a high learning rate the loss can stay above R at any ε; without a floor
        ε would then sink by powers, and need as many steps to rise again.
    """

    def __init__(
        self, target: float, start: float, gain: float = 0.05, tail: float = TAIL, least: float = 0.0
    ) -> None:
        self.target = check_amount("target", target, LARGEST)
        self.start = check_amount("start", start, STRONGEST)
        self.gain = check_amount("gain", gain, LARGEST)
        self.tail = check_amount("tail", tail, LARGEST)
        self.least = check_strength("least", least)
        if self.least > self.start:
            raise ValueError(f"least must lie in [0, start = {self.start:g}], got {shown(least)}")
        self.begin()

    def begin(self) -> None:
        """Forget an earlier run."""
        self.eps = torch.tensor(self.start, dtype=torch.float64)
        self.sums = torch.zeros(3, dtype=torch.float64)  # steps, ε, losses

    def observe(self, loss: Tensor, progress: float) -> None:
        """Take the mean loss of a batch that was attacked at `eps`.

        ``progress`` is the share of the schedule with this step, in (0, 1]; so the last one always counts.
        """
        loss = loss.detach().double()
        if progress > 1 - self.tail:
            self.sums = self.sums.to(loss.device) + torch.stack(
                (torch.ones_like(loss), self.eps.to(loss), loss)
            )
        step = self.gain * (self.target - loss) / self.target
        moved = self.eps.to(loss) * step.clamp(-LARGEST_STEP, LARGEST_STEP).exp()
        self.eps = moved.clamp(self.least, STRONGEST)

    def __repr__(self) -> str:
        """Settings, without the state."""
        return f"Tracker({self.target!r}, {self.start!r}, {self.gain!r}, {self.tail!r}, {self.least!r})"

    @property
    def mean(self) -> float:
        """Mean ε over the tail."""
        return float(self.sums[1] / self.sums[0])

    @property
    def loss(self) -> float:
        """Mean loss over the tail; where it differs from R, ε had not arrived."""
        return float(self.sums[2] / self.sums[0])

    def state(self) -> dict[str, Tensor]:
        """All that going on needs."""
        return {"eps": self.eps, "sums": self.sums}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a saved state."""
        self.eps, self.sums = state["eps"], state["sums"]
