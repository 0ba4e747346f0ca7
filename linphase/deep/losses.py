"""Losses of adversarial training: what the attack ascends and what training descends, per example.

Every function takes outputs with the classes (or, for the squared loss, nothing) on the last axis and any
leading axes, those of the labels, and returns a loss with these leading axes. `LOSSES` has them by name:

================  =============================  =====================================================
name              the attack ascends             training descends
================  =============================  =====================================================
cross-entropy     CE(x')                         CE(x')
squared           (y − f(x'))²                   (y − f(x'))²
trades            KL(p(x) ‖ p(x'))               CE(x) + β KL(p(x) ‖ p(x')), β = 6
mart              CE(x')                         CE(x') − log(1 − max_{k≠y} p_k(x'))
                                                 + β KL(p(x) ‖ p(x')) (1 − p_y(x)), β = 5
================  =============================  =====================================================

TRADES is of Zhang et al. (ICML 2019), MART of Wang et al. (ICLR 2020). Probabilities stay logarithms
throughout, so that no logit makes a NaN. For ε*, a model that was trained with any of the first, third and
fourth is judged by the adversarial cross-entropy (``judge``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from linphase.checks import check_choice

PerExample = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(output: Tensor, y: Tensor) -> Tensor:
    """−log p_y, shape of ``y``."""
    return -_of_class(_log_softmax(output), y)


def squared(output: Tensor, y: Tensor) -> Tensor:
    """(y − f)²; the output has the shape of ``y``."""
    return (y - output) ** 2


def divergence(clean: Tensor, adversarial: Tensor) -> Tensor:
    """KL(p ‖ q) of the distributions that two outputs stand for."""
    p, q = _log_softmax(clean), _log_softmax(adversarial)
    return (p.exp() * (p - q)).sum(-1)


def boosted_cross_entropy(output: Tensor, y: Tensor) -> Tensor:
    """−log p_y − log(1 − max_{k≠y} p_k), the margin term of MART."""
    others = output.scatter(-1, y[..., None], -torch.inf)
    rival = others.argmax(-1, keepdim=True)
    # 1 − p of the rival is the total of all the others: a sum, where the difference would cancel.
    rest = output.scatter(-1, rival, -torch.inf).logsumexp(-1) - output.logsumexp(-1)
    return cross_entropy(output, y) - rest


def _log_softmax(output: Tensor) -> Tensor:
    """Over the classes, which come to the front: along a short last axis a CPU takes ten times as long."""
    return functional.log_softmax(output.movedim(-1, 0).contiguous(), 0).movedim(0, -1)


def _of_class(values: Tensor, y: Tensor) -> Tensor:
    return values.gather(-1, y[..., None]).squeeze(-1)


@dataclass(frozen=True)
class Loss:
    """One row of the table.

    Attributes
    ----------
    judge : callable of (output, y)
        The loss by which a trained model is judged.
    ascent, descent : callable of (adversarial output, y, clean output, beta)
        Per example; the clean output is None where ``pairs`` is false.
    pairs : bool
        Whether they need the clean output.
    beta : float
        Customary weight of the divergence.
    """

    name: str
    judge: PerExample
    ascent: Callable[[Tensor, Tensor, Any, float], Tensor]
    descent: Callable[[Tensor, Tensor, Any, float], Tensor]
    pairs: bool = False
    beta: float = 0.0


def _plain(name: str, loss: PerExample) -> Loss:
    return Loss(name, loss, lambda f, y, _, __: loss(f, y), lambda f, y, _, __: loss(f, y))


def _mart(adversarial: Tensor, y: Tensor, clean: Tensor, beta: float) -> Tensor:
    doubt = 1 - _of_class(_log_softmax(clean), y).exp()
    return boosted_cross_entropy(adversarial, y) + beta * divergence(clean, adversarial) * doubt


LOSSES = {
    loss.name: loss
    for loss in (
        _plain("cross-entropy", cross_entropy),
        _plain("squared", squared),
        Loss(
            "trades",
            cross_entropy,
            lambda f, _, clean, __: divergence(clean, f),
            lambda f, y, clean, beta: cross_entropy(clean, y) + beta * divergence(clean, f),
            pairs=True,
            beta=6.0,
        ),
        Loss("mart", cross_entropy, lambda f, y, _, __: cross_entropy(f, y), _mart, pairs=True, beta=5.0),
    )
}


def find_loss(name: Any) -> Loss:
    """Return a loss by name, or raise."""
    return LOSSES[check_choice("loss", name, tuple(LOSSES))]
