"""GradAlign: a penalty on how the input gradient turns within the ball of the attack.

One gradient step is a good attack where the network is nearly linear in the ball. FGSM training collapses
when it leaves that regime, and the penalty

    λ (1 − mean cos(∇ₓ ℓ(x), ∇ₓ ℓ(x + η))),   η uniform in the ball,

holds it there (Andriushchenko and Flammarion, NeurIPS 2020).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from linphase.deep.losses import Loss


def misalignment(network: nn.Module, x: Tensor, y: Tensor, nearby: Tensor, loss: Loss) -> Tensor:
    """Return 1 less the cosine between the input gradients at ``x`` and at ``nearby``, example by example.

    It can be differentiated for the weights.
    """

    def gradient(point: Tensor) -> Tensor:
        point = point.detach().requires_grad_()
        total = loss.judge(network(point), y).sum()
        return torch.autograd.grad(total, point, create_graph=True)[0].flatten(1)

    return 1 - cosine_similarity(gradient(x), gradient(nearby), dim=1, eps=1e-12)
