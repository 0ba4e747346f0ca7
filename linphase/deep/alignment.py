"""GradAlign: a penalty on how the input gradient turns within the ball of the attack.

One gradient step is a good attack where the network is nearly linear in the ball. FGSM training collapses
when it leaves that regime, and the penalty

    λ (1 − mean cos(∇ₓ ℓ(x), ∇ₓ ℓ(x + η))),   η uniform in the ball,

holds it there (Andriushchenko and Flammarion, NeurIPS 2020).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from linphase.deep.attacks import Attack, Forward, _in_unit_ball
from linphase.deep.checks import Bounds
from linphase.deep.losses import LOSSES, Loss

Penalty = Callable[[nn.Module], Tensor]


class Penalised(nn.Module):
    """A network whose next forward in training has a penalty's gradient added in the backward."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.pending: Penalty | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the network."""
        output: Tensor = self.network(x)
        penalty, self.pending = self.pending, None
        if penalty is None or not (self.training and torch.is_grad_enabled()):
            return output
        joined: Tensor = _Join.apply(output, penalty(self.network))  # type: ignore[no-untyped-call]
        return joined


class _Join(torch.autograd.Function):
    """Identity of its first argument, that passes a gradient of 1 to its second."""

    @staticmethod
    def forward(ctx: Any, output: Tensor, penalty: Tensor) -> Tensor:
        return output.view_as(output)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        return gradients[0], gradients[0].new_ones(())


@dataclass(frozen=True)
class Aligned(Attack):
    """An attack that hands the penalty on its batch to a `Penalised` network, whose next forward trains.

    Attributes
    ----------
    weight : float
        λ.
    """

    weight: float = 0.2

    @classmethod
    def of(cls, attack: Attack, weight: float) -> Self:
        """Return an attack with the penalty."""
        return cls(**{field.name: getattr(attack, field.name) for field in fields(attack)}, weight=weight)

    def starts(self, x: Tensor, y: Tensor, loss: Loss, generator: torch.Generator | None) -> Tensor:
        """Draw where the restarts begin, and as one entry more the points η of the penalty."""
        nearby = _in_unit_ball(x, y, self.norm, generator)[None]
        own = super().starts(x, y, loss, generator)
        return torch.cat((nearby.expand(self.restarts, *x.shape) * 0 if own is None else own, nearby))

    def run(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        eps: float | Tensor,
        loss: Loss = LOSSES["cross-entropy"],
        bounds: Bounds = (0.0, 1.0),
        generator: torch.Generator | None = None,
        forward: Forward | None = None,
        starts: Tensor | None = None,
    ) -> Tensor:
        """Return adversarial inputs; see `Attack.run`."""
        if starts is None:
            starts = self.starts(x, y, loss, generator)
        z = super().run(model, x, y, eps, loss, bounds, forward=forward, starts=starts[:-1])
        if isinstance(model, Penalised):
            nearby = x + eps * starts[-1]
            nearby = nearby if bounds is None else nearby.clamp(*bounds)
            model.pending = partial(misalignment, x=x, y=y, nearby=nearby, loss=loss, weight=self.weight)
        return z


def misalignment(
    network: nn.Module, x: Tensor, y: Tensor, nearby: Tensor, loss: Loss, weight: float = 1.0
) -> Tensor:
    """λ times 1 less the mean cosine between the input gradients at ``x`` and at ``nearby``."""

    def gradient(point: Tensor) -> Tensor:
        point = point.detach().requires_grad_()
        total = loss.judge(network(point), y).sum()
        return torch.autograd.grad(total, point, create_graph=True)[0].flatten(1)

    cosine = cosine_similarity(gradient(x), gradient(nearby), dim=1, eps=1e-12)
    return weight * (1 - cosine.mean())
