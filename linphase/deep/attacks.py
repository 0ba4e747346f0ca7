"""Attacks on the inputs in an L∞ or L2 ball: one gradient step, or projected gradient ascent.

An `Attack` is a plan (norm, steps, step in units of ε, start, mode); `fgm` and `pgd` are the usual two by
name. Gradients are taken for the inputs alone. Examples lie on the leading axes that the labels have, so a
batch (B, …) and a stack of batches (S, B, …), one for each of S networks with its own ε, go through the same
lines.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from linphase.checks import check_amount, check_choice, check_count, check_flag
from linphase.deep.checks import (
    STRONGEST,
    Bounds,
    check_batch,
    check_bounds,
    check_generator,
    check_network,
    check_strength,
    settle,
)
from linphase.deep.fit import check_fit
from linphase.deep.losses import LOSSES, Loss, find_loss
from linphase.deep.modes import MODES, mode_of, without_weights
from linphase.deep.stack import leading

Forward = Callable[[Tensor], Tensor]

NORMS = ("linf", "l2")
MOST_STEPS, MOST_RESTARTS = 10**6, 10**4
LONGEST = 1e6
"""Steps are at most this long, in units of ε."""
TRADES_START = 1e-3
"""Standard deviation of the start of TRADES, which never is the example: there its objective is flat."""


@dataclass(frozen=True)
class Attack:
    """How adversarial inputs are made.

    Attributes
    ----------
    norm : {"linf", "l2"}
        Of the ball.
    steps : int
        Gradient steps.
    step : float
        Length of a step in units of ε, so that it scales with the ball. The customary 2/255 at 8/255 is ¼.
    random_start : bool
        Start uniformly in the ball, not at the example (TRADES: always a little beside it).
    restarts : int
        The start with the largest loss wins, example by example.
    mode : {"train", "eval", "frozen-bn"}
        See `mode_of`.
    """

    norm: str = "linf"
    steps: int = 10
    step: float = 0.25
    random_start: bool = True
    restarts: int = 1
    mode: str = "train"

    def __post_init__(self) -> None:
        check_choice("norm", self.norm, NORMS)
        check_choice("mode", self.mode, MODES)
        settle(
            self,
            steps=check_count("steps", self.steps, most=MOST_STEPS),
            step=check_amount("step", self.step, LONGEST),
            random_start=check_flag("random_start", self.random_start),
            restarts=check_count("restarts", self.restarts, most=MOST_RESTARTS),
        )

    def describe(self, eps: float) -> str:
        """Say the attack with its step resolved."""
        eps = check_strength("eps", eps)
        start = "random start" if self.random_start else "zero start"
        restarts = f", {self.restarts} restarts" if self.restarts > 1 else ""
        ball = {"linf": "L∞", "l2": "L2"}[self.norm]
        resolved = f"step {self.step:g} ε = {self.step * eps:.4g}"
        return (
            f"{self.steps}-step {ball} attack, ε = {eps:.4g}, {resolved}, {start}{restarts}, {self.mode} mode"
        )

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
        """Return adversarial inputs, detached; arguments are taken on trust.

        ``eps`` is a number or has the leading axes of the networks, as a stack has. ``forward`` evaluates in
        place of the model (compiled, or under autocast). ``starts`` are drawn if they are not given.
        """
        forward, x = model if forward is None else forward, x.detach()
        if starts is None:
            starts = self.starts(x, y, loss, generator)
        eps = _per_example(eps, x, y)
        with mode_of(model, self.mode), without_weights(model):
            clean = None
            if loss.pairs:
                with torch.no_grad():
                    clean = forward(x).clone()  # a CUDA graph reuses its output

            def objective(z: Tensor) -> Tensor:
                return loss.ascent(forward(z), y, clean, loss.beta)

            project = _projection(x, y, eps, self.norm, bounds)

            best, highest = x, None
            for k in range(self.restarts):
                z = x
                if starts is not None:
                    scale = TRADES_START if loss.name == "trades" else eps
                    z = project(x + scale * starts[k])
                z = self._ascend(objective, project, z, y, self.step * eps)
                if self.restarts == 1:
                    return z
                with torch.no_grad():
                    value = objective(z)
                better = value > highest if highest is not None else torch.ones_like(value, dtype=torch.bool)
                best = torch.where(_over(better, x), z, best)
                highest = value if highest is None else torch.maximum(value, highest)
        return best

    def starts(self, x: Tensor, y: Tensor, loss: Loss, generator: torch.Generator | None) -> Tensor | None:
        """Draw where the restarts begin, (restarts, B, …): points of the unit ball, or normal for TRADES.

        None stands for the examples themselves. Networks of a stack share the draws.
        """
        if loss.name == "trades":
            return torch.stack([_normal(x, y, generator) for _ in range(self.restarts)])
        if self.random_start:
            return torch.stack([self.in_unit_ball(x, y, generator) for _ in range(self.restarts)])
        return None

    def in_unit_ball(self, x: Tensor, y: Tensor, generator: torch.Generator | None) -> Tensor:
        """Draw uniform points of the unit ball, one an example; networks of a stack share them."""
        if self.norm == "linf":
            return 2 * torch.rand(_shared(x, y), generator=generator, device=x.device, dtype=x.dtype) - 1
        direction = _normal(x, y, generator)
        examples = y[(0,) * (y.ndim - 1)]
        radius = torch.rand(examples.shape, generator=generator, device=x.device, dtype=x.dtype)
        dimension = direction[0].numel()
        return direction * _over(radius ** (1 / dimension) / _size(direction, examples, "l2"), direction)

    def _ascend(
        self,
        objective: Callable[[Tensor], Tensor],
        project: Callable[[Tensor], Tensor],
        z: Tensor,
        y: Tensor,
        step: Tensor,
    ) -> Tensor:
        for _ in range(self.steps):
            z = z.detach().requires_grad_()
            with torch.enable_grad():
                (gradient,) = torch.autograd.grad(objective(z).sum(), z)
            z = project(torch.addcmul(z.detach(), step, _steepest(gradient, y, self.norm)))
        return z


PGD = Attack()
"""Ten steps of ε/4 from a random start."""

FGM = Attack(steps=1, step=1.0, random_start=False)
"""One full step from the example itself; its L∞ form is FGSM."""


def fgm(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    eps: float,
    norm: str = "linf",
    loss: str = "cross-entropy",
    bounds: Bounds = (0.0, 1.0),
    mode: str = "train",
) -> Tensor:
    """Fast gradient method: one step of length ``eps`` along the gradient (L2) or its sign (L∞).

    Parameters
    ----------
    model : Module
        Takes ``x`` and returns outputs with classes last (or, for "squared", of the shape of ``y``).
    x, y : tensors (B, …) and (B,)
        A batch and its labels.
    eps : float
        Radius in units of the input.
    norm : {"linf", "l2"}
    loss : {"cross-entropy", "squared", "trades", "mart"}
        What the attack ascends.
    bounds : pair of floats or None
        Box of valid inputs; None for data without one.
    mode : {"train", "eval", "frozen-bn"}
        In which the network is attacked; its own modes return afterwards. In "train" batch norm takes the
        spread of the batch, of two examples at least.

    Returns
    -------
    Tensor
        Adversarial inputs of the shape of ``x``, inside ball and box: projected, and checked.

    Raises
    ------
    ValueError, TypeError
        For bad input.
    FloatingPointError
        If the network's gradient is not finite.
    """
    plan = Attack(norm, 1, 1.0, random_start=False, mode=mode)
    return _checked(plan, model, x, y, eps, loss, bounds, None)


def pgd(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    eps: float,
    norm: str = "linf",
    steps: int = 10,
    step_size: float | None = None,
    restarts: int = 1,
    loss: str = "cross-entropy",
    bounds: Bounds = (0.0, 1.0),
    mode: str = "train",
    random_start: bool = True,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Projected gradient ascent from a random point of the ball (Madry et al., ICLR 2018).

    Parameters
    ----------
    steps, restarts : int
        Gradient steps from each start; the best start wins, example by example.
    step_size : float, optional
        Length of a step in units of the input; ε/4 by default.
    random_start : bool
        Otherwise start at the example.
    generator : torch.Generator, optional
        Of the starts; torch's own by default.

    The others, what is returned and what is raised are those of `fgm`.
    """
    step, eps = 0.25, check_strength("eps", eps)
    if step_size is not None:
        most = LONGEST * eps if eps else STRONGEST
        step_size = check_amount("step_size", step_size, most)
        step = step_size / eps if eps else step
    plan = Attack(norm, steps, step, random_start, restarts, mode)
    return _checked(plan, model, x, y, eps, loss, bounds, generator)


def _checked(
    plan: Attack,
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    eps: float,
    loss: str,
    bounds: Bounds,
    generator: torch.Generator | None,
) -> Tensor:
    eps, bounds = check_strength("eps", eps), check_bounds(bounds, open_ends=True)
    check_network("model", model)
    x = check_batch(x, y, bounds)
    if (axes := leading(model)) and y.shape[:-1] != axes:
        raise ValueError(f"y must have shape ({axes[0]}, n) where model is a Stack, got {tuple(y.shape)}")
    check_generator(generator, x)
    check_fit(model, x, y, find_loss(loss).name, gradient="inputs", mode=plan.mode)
    z = plan.run(model, x, y, eps, find_loss(loss), bounds, generator)
    if not z.isfinite().all():
        raise FloatingPointError(f"the gradient of the {loss} loss for the inputs is not finite")
    excess = _size((z - x).double(), y, plan.norm) - eps
    # An input near 1 moves in steps of its own precision, whatever ε.
    rounding = 2 * torch.finfo(x.dtype).eps * (_size(x.double(), y, plan.norm) + eps)
    if (excess > rounding).any():
        raise FloatingPointError(f"the attack left its ball of radius {eps} by {excess.max().item():.3g}")
    return z


def _size(change: Tensor, y: Tensor, norm: str) -> Tensor:
    """Norm of each example, shape of ``y``."""
    flat = change.flatten(y.ndim)
    return flat.abs().amax(-1) if norm == "linf" else flat.norm(dim=-1)


def _steepest(gradient: Tensor, y: Tensor, norm: str) -> Tensor:
    """Direction of unit norm along which the loss rises fastest; 0 where the gradient is 0."""
    if norm == "linf":
        return gradient.sign().add_(gradient, alpha=0)  # the sign of NaN is 0
    # The largest entry goes first, since squares of a tiny gradient underflow.
    scale = _over(_size(gradient, y, "linf"), gradient)
    gradient = gradient / torch.where(scale > 0, scale, 1.0)
    length = _over(_size(gradient, y, "l2"), gradient)
    return gradient / torch.where(length > 0, length, 1.0)


def _projection(x: Tensor, y: Tensor, eps: Tensor, norm: str, bounds: Bounds) -> Callable[[Tensor], Tensor]:
    """Return the map to the nearest point of the ball, then of the box: inside both, as the box holds x."""
    if norm == "linf":
        low, high = x - eps, x + eps
        if bounds is not None:
            low, high = low.clamp(*bounds), high.clamp(*bounds)
        return lambda z: z.clamp(low, high)

    def nearest(z: Tensor) -> Tensor:
        change = z - x
        length = _over(_size(change, y, "l2"), x)
        z = torch.where(length > eps, x + change * (eps / length.clamp_min(1e-30)), z)
        return z if bounds is None else z.clamp(*bounds)

    return nearest


def _normal(x: Tensor, y: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.randn(_shared(x, y), generator=generator, device=x.device, dtype=x.dtype)


def _shared(x: Tensor, y: Tensor) -> torch.Size:
    """Shape of one network's batch."""
    return x.shape[y.ndim - 1 :]


def _over(values: Tensor, x: Tensor) -> Tensor:
    """Values of examples, shaped so that they broadcast over the inputs."""
    return values.reshape(values.shape + (1,) * (x.ndim - values.ndim))


def _per_example(eps: Any, x: Tensor, y: Tensor) -> Tensor:
    return _over(torch.as_tensor(eps, dtype=x.dtype, device=x.device), x)
