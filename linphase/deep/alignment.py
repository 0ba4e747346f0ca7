"""GradAlign: a penalty on how the input gradient turns within the ball of the attack.

One gradient step is a good attack where the network is nearly linear in the ball. FGSM training collapses
when it leaves that regime, and the penalty

    λ (1 − mean cos(∇ₓ ℓ(x), ∇ₓ ℓ(x + η))),   η uniform in the ball, x + η clipped to the box,

holds it there (Andriushchenko and Flammarion, NeurIPS 2020, whose code does not clip).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from linphase.deep.losses import Loss


def misalignment(network: nn.Module, x: Tensor, y: Tensor, nearby: Tensor, loss: Loss) -> Tensor:
    """Return 1 less the cosine between the input gradients at ``x`` and at ``nearby``, example by example.

    Where a gradient vanishes there is no cosine, and no penalty. It can be differentiated for the weights.
    """

    def gradient(point: Tensor) -> Tensor:
        point = point.detach().requires_grad_()
        total = loss.judge(network(point), y).sum()
        found = torch.autograd.grad(total, point, create_graph=True)[0].flatten(1)
        # Of a confident network they are tiny: at unit scale, so that no floor of the norms is met.
        largest = found.detach().abs().amax(1, keepdim=True)
        return found / torch.where(largest > 0, largest, 1.0)

    here, there = gradient(x), gradient(nearby)
    flat = (here == 0).all(1) | (there == 0).all(1)
    return torch.where(flat, 0.0, 1 - cosine_similarity(here, there, dim=1))
