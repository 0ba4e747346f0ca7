"""Loss and accuracy of a model on data, clean or under attack, without gradients of the weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from linphase.checks import check_callable, check_kind, shown
from linphase.deep.attacks import Attack, Forward
from linphase.deep.batches import fewest, sizes
from linphase.deep.checks import Bounds, check_batch, check_bounds, check_eps, check_network, check_seed
from linphase.deep.distributed import share, total
from linphase.deep.fit import check_batch_size, check_fit
from linphase.deep.losses import LOSSES, Loss
from linphase.deep.modes import mode_of
from linphase.deep.stack import leading
from linphase.streams import stream


@dataclass(frozen=True)
class Score:
    """Mean loss and accuracy, tensors with the leading axes of the model; accuracy is NaN in regression."""

    loss: Tensor
    accuracy: Tensor


def evaluate(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    eps: float | Tensor = 0.0,
    attack: Attack | None = None,
    loss: Loss = LOSSES["cross-entropy"],
    bounds: Bounds = (0.0, 1.0),
    batch_size: int = 1000,
    seed: int = 0,
    forward: Forward | None = None,
) -> Score:
    """Return the mean of ``loss.judge`` over examples attacked with strength ``eps``.

    Attacked and scored in eval mode, whatever the attack's own, so that no model changes by being judged.
    The same seed gives the same random starts (in units of ε), so that scores at several ε share them.

    Parameters
    ----------
    x, y : tensors (n, …) and (n,)
        A stack scores all its members on them.
    eps : float or tensor (S,)
        0 needs no attack.

    Raises
    ------
    ValueError, TypeError
        For bad input.
    """
    model = check_network("model", model)
    axes = leading(model)
    eps, bounds, seed = check_eps(eps, axes), check_bounds(bounds, open_ends=True), check_seed("seed", seed)
    if attack is not None:
        check_kind("attack", attack, Attack, "an Attack or None")
    elif bool(torch.as_tensor(eps).any()):
        raise ValueError(f"attack must be given where eps is above 0, got eps = {shown(eps)}")
    check_kind("loss", loss, Loss, "a Loss, as LOSSES of linphase.deep.losses has them")
    if forward is not None:
        check_callable("forward", forward)
    x = check_batch(x, y, bounds)
    batch_size = check_batch_size("batch_size", batch_size, fewest(model, "eval"))
    attacked = "inputs" if bool(torch.as_tensor(eps).any()) else None
    check_fit(model, spread(x, axes), spread(y, axes), loss.name, gradient=attacked, forward=forward)
    return score(model, x, y, eps, attack, loss, bounds, batch_size, seed, forward)


def score(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    eps: float | Tensor,
    attack: Attack | None,
    loss: Loss,
    bounds: Bounds,
    batch_size: int,
    seed: int,
    forward: Forward | None = None,
) -> Score:
    """`evaluate` with its arguments taken on trust."""
    attack = replace(attack, mode="eval") if attack is not None and torch.as_tensor(eps).any() else None
    forward = model if forward is None else forward
    generator = generator_on(x.device, seed, "evaluate")
    axes = leading(model)
    sums = torch.zeros(2, *axes, dtype=torch.float64, device=x.device)
    judge = Loss("judge", loss.judge, lambda f, t, _, __: loss.judge(f, t), loss.descent)
    with mode_of(model, "eval"):
        cut = sizes(len(x), batch_size, fewest(model, "eval"))
        for inputs, labels in zip(torch.split(x, cut), torch.split(y, cut), strict=True):
            inputs, labels = spread(inputs, axes), spread(labels, axes)
            starts = None if attack is None else attack.starts(inputs, labels, judge, generator)
            inputs, labels = share(inputs, len(axes)), share(labels, len(axes))
            if attack is not None:
                starts = None if starts is None else share(starts, 1)
                inputs = attack.run(model, inputs, labels, eps, judge, bounds, forward=forward, starts=starts)
            with torch.no_grad():
                output = forward(inputs)
                sums[0] += loss.judge(output, labels).sum(-1)
                sums[1] += hits(output, labels).sum(-1)
    sums = total(sums)
    return Score(sums[0] / len(x), sums[1] / len(x))


def spread(values: Tensor, axes: torch.Size) -> Tensor:
    """One batch for all members of a stack, without a copy."""
    return values.expand(*axes, *values.shape) if axes else values


def hits(output: Tensor, y: Tensor) -> Tensor:
    """1 where the largest output is the label's, NaN in regression."""
    if output.shape == y.shape:
        return torch.full_like(output, torch.nan)
    return (output.argmax(-1) == y).to(output.dtype)


def generator_on(device: torch.device, seed: int, *key: Any) -> torch.Generator:
    """Return torch's generator on a device for a seed and a key, as `stream` returns NumPy's."""
    return torch.Generator(device).manual_seed(int(stream(seed, *key).integers(2**63)))
