"""Curves between two networks in the space of weights: Bézier curves and polygonal chains."""

from __future__ import annotations

import copy
from math import comb
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from linphase.checks import check_choice, check_count, check_number, shown
from linphase.deep.surface import check_alike

KINDS = ("bezier", "chain")
MOST = 1000
"""Bends of a curve."""


class Curve(nn.Module):
    """w(t) = Σ c_i(t) w_i, 0 ≤ t ≤ 1, over the first network, free bends, and the last network.

    "bezier" has c_i(t) = C(k, i) tⁱ (1 − t)^(k − i), with one bend (1 − t)² w₀ + 2t(1 − t) w₁ + t² w₂;
    "chain" goes straight from each w_i to the next, all legs in equal time. (Garipov et al., NeurIPS 2018,
    count the ends among the bends.)

    Parameters
    ----------
    first, last : Module
        Networks of one architecture, copied. They stay fixed.
    kind : {"bezier", "chain"}
    bends : int
        Free points between them; they start on the straight line. None is the line itself.
    """

    def __init__(self, first: nn.Module, last: nn.Module, kind: str = "bezier", bends: int = 1) -> None:
        super().__init__()
        check_alike(first=first, last=last)
        self.kind = check_choice("kind", kind, KINDS)
        self.count = check_count("bends", bends, 0, MOST) + 2
        self._form = [copy.deepcopy(first)]  # in a list, so that its own parameters are not ours
        self.names = [name for name, _ in first.named_parameters()]
        self.bends = nn.ParameterList()
        ends = zip(first.parameters(), last.parameters(), strict=True)
        for k, (start, end) in enumerate(ends):
            self.register_buffer(f"first_{k}", start.detach().clone(), persistent=False)
            self.register_buffer(f"last_{k}", end.detach().clone(), persistent=False)
            shares = torch.linspace(0, 1, self.count, dtype=start.dtype, device=start.device)[1:-1]
            shares = shares.reshape(-1, *[1] * start.ndim)
            self.bends.append(nn.Parameter(start.detach() + shares * (end - start).detach()))

    def coefficients(self, t: float) -> list[float]:
        """Return c_i(t) of all points, which sum to 1."""
        k, t = self.count - 1, check_number("t", t, "in [0, 1]", 0.0)
        if t > 1:
            raise ValueError(f"t must be in [0, 1], got {shown(t)}")
        if self.kind == "bezier":
            return [comb(k, i) * t**i * (1 - t) ** (k - i) for i in range(self.count)]
        return [max(0.0, 1 - abs(k * t - i)) for i in range(self.count)]

    def weights(self, t: float) -> dict[str, Tensor]:
        """Return the parameters at t by name, differentiable in the bends."""
        start, *inner, end = self.coefficients(t)
        found = {}
        for k, (name, bends) in enumerate(zip(self.names, self.bends, strict=True)):
            point = start * self.get_buffer(f"first_{k}") + end * self.get_buffer(f"last_{k}")
            for share, bend in zip(inner, bends, strict=True):
                if share:
                    point = point + share * bend
            found[name] = point
        return found

    def forward(self, x: Tensor, t: float) -> Tensor:
        """Outputs of the network at t."""
        return self.call(self.weights(t), x)

    def call(self, weights: dict[str, Tensor], x: Tensor) -> Tensor:
        """Outputs of the architecture under weights; in train mode its batch norm moves its statistics."""
        output: Tensor = functional_call(self._form[0], weights, (x,))
        return output

    @property
    def form(self) -> nn.Module:
        """The architecture, whose modes and batch-norm statistics calls use."""
        return self._form[0]

    def network(self, t: float) -> nn.Module:
        """Return a new network with the weights at t; its batch-norm statistics are to be recomputed."""
        return self._filled(self.weights(t))

    def bend(self, index: int = 0) -> nn.Module:
        """Return a new network with the weights of a bend, which a Bézier curve does not pass through."""
        if self.count == 2:
            raise ValueError(f"index must be that of a bend, this line has none, got {shown(index)}")
        index = check_count("index", index, 0, self.count - 3)
        return self._filled({n: bends[index] for n, bends in zip(self.names, self.bends, strict=True)})

    def _filled(self, weights: dict[str, Tensor]) -> nn.Module:
        network = copy.deepcopy(self.form)
        with torch.no_grad():
            for name, value in network.named_parameters():
                value.copy_(weights[name])
        return network

    def train(self, mode: bool = True) -> Any:
        """Set the architecture's mode with the curve's own."""
        self._form[0].train(mode)
        return super().train(mode)
