"""How a network is trained: schedule, optimiser, attack, loss, precision."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from linphase.checks import (
    check_amount,
    check_choice,
    check_count,
    check_entries,
    check_flag,
    check_kind,
    check_nonnegative,
    check_number,
    shown,
)
from linphase.deep.attacks import PGD, Attack, Forward
from linphase.deep.checks import settle
from linphase.deep.losses import Loss, find_loss

SELECTIONS = ("best", "last")
FASTEST = 1e30
"""The rate is at most this large: a float32 holds it."""
PRECISIONS = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.float32}
"""Data type of weights and inputs; "bfloat16" is mixed: the forward runs under autocast."""
COUNTS = ("epochs", "test_batch_size", "judged_every")
FLAGS = ("augment", "channels_last", "compile", "cuda_graphs", "monitor")


@dataclass(frozen=True)
class Recipe:
    """Settings of a training run; the defaults are the paper's (those of Rice, Wong and Kolter, ICML 2020).

    Attributes
    ----------
    epochs : int
        Length of the schedule.
    batch_size : int or None
        Examples a step; None for all of them. Of a network with batch norm, which takes their spread, a step
        has two at least: a single one that is left at the end joins the step before it.
    lr, momentum, weight_decay : float
        Stochastic gradient descent.
    milestones : tuple of float
        Shares of the epochs after which the rate is multiplied by ``decay``: the schedule scales with its
        length. The first epoch has the full rate.
    decay : float
    loss : {"cross-entropy", "squared", "trades", "mart"}
    attack : Attack
        Makes the training inputs.
    test_attack : Attack, optional
        Judges, always in eval mode; by default the training attack.
    align : float
        Weight of the penalty of GradAlign, made to keep one-step training from collapsing; see
        `linphase.deep.alignment`. For one network, not a stack.
    eps_warmup : int
        Epochs over which ε rises linearly from 0 (SVHN needs it). None of them is selected as the best. A
        search from scratch repeats a run that nevertheless learns nothing with one of two thirds of them all.
    augment : bool
        Apply the data set's own augmentation.
    select : {"best", "last"}
        Keep the weights of the epoch with the smallest adversarial test loss, as the paper does, or the last.
    precision : {"float32", "float64", "bfloat16"}
        With float32 torch lets convolutions on CUDA round to TF32, unless
        ``torch.backends.cudnn.allow_tf32`` is false.
    channels_last, compile : bool
        Memory format of images; torch.compile.
    cuda_graphs : bool
        Record the step of training once and replay it, where there is CUDA and a single process: to the same
        numbers, faster for small kernels. For networks whose forward does not depend on values (no
        ``.item()``, no coin tossed in Python), which is why it is not the default.
    test_batch_size : int
        Examples at once where no gradient of the weights is needed.
    monitor : bool
        Score the test set after every epoch, and the training set at the end. Needed to select the best
        epoch; fine-tuning saves its cost.
    judged_examples : int, optional
        Attack only the first so many test examples after each epoch; all by default.
    judged_every : int
        Score the test set only after every so many epochs, and after the last; the others have NaN and are
        not selected. On a small training set the scores cost more than the training.
    """

    epochs: int = 200
    batch_size: int | None = 128
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    milestones: tuple[float, ...] = (0.5, 0.75)
    decay: float = 0.1
    loss: str = "cross-entropy"
    attack: Attack = PGD
    test_attack: Attack | None = None
    align: float = 0.0
    eps_warmup: int = 0
    augment: bool = True
    select: str = "best"
    precision: str = "float32"
    channels_last: bool = False
    compile: bool = False
    cuda_graphs: bool = False
    test_batch_size: int = 1000
    monitor: bool = True
    judged_examples: int | None = None
    judged_every: int = 1

    def __post_init__(self) -> None:
        counts: dict[str, Any] = {name: check_count(name, getattr(self, name)) for name in COUNTS}
        for name in ("batch_size", "judged_examples"):
            size = getattr(self, name)
            counts[name] = None if size is None else check_count(name, size)
        check_kind("attack", self.attack, Attack, "an Attack")
        if self.test_attack is not None:
            check_kind("test_attack", self.test_attack, Attack, "an Attack or None")
        find_loss(self.loss)
        check_choice("select", self.select, SELECTIONS)
        check_choice("precision", self.precision, tuple(PRECISIONS))
        settle(
            self,
            **counts,
            eps_warmup=check_count("eps_warmup", self.eps_warmup, 0),
            lr=check_amount("lr", self.lr, FASTEST),
            momentum=check_number("momentum", self.momentum, "in [0, 1)", 0.0),
            weight_decay=_weight("weight_decay", self.weight_decay),
            milestones=_milestones(self.milestones),
            decay=check_amount("decay", self.decay, FASTEST),
            align=_weight("align", self.align),
            **{name: check_flag(name, getattr(self, name)) for name in FLAGS},
        )
        if self.momentum >= 1:
            raise ValueError(f"momentum must be in [0, 1), got {shown(self.momentum)}")
        if math.log(self.lr) + len(self.milestones) * math.log(self.decay) > math.log(FASTEST):
            raise ValueError(f"decay must leave the rate at most {FASTEST:g}, got {shown(self.decay)}")
        if self.eps_warmup >= self.epochs:
            raise ValueError(f"eps_warmup must be less than epochs = {self.epochs}, got {self.eps_warmup}")
        if self.select == "best" and not self.monitor:
            raise ValueError("select must be 'last' where monitor is false: the best epoch needs its scores")

    @property
    def objective(self) -> Loss:
        """The loss."""
        return find_loss(self.loss)

    @property
    def judge(self) -> Loss:
        """The plain loss by which models are judged whatever they were trained with."""
        return find_loss("squared" if self.loss == "squared" else "cross-entropy")

    @property
    def judging(self) -> Attack:
        """The attack that judges."""
        return replace(self.attack, mode="eval") if self.test_attack is None else self.test_attack

    @property
    def dtype(self) -> torch.dtype:
        """Of weights and inputs."""
        return PRECISIONS[self.precision]

    def rate(self, epoch: int) -> float:
        """Learning rate of an epoch, counted from 0."""
        passed = sum(epoch >= max(1, round(share * self.epochs)) for share in self.milestones)
        return float(self.lr * self.decay**passed)

    def strength(self, eps: Any, epoch: int) -> Any:
        """ε of an epoch, counted from 0: the full one but for the warm-up."""
        return eps * min(1.0, (epoch + 1) / (self.eps_warmup + 1))

    def judges(self, epoch: int) -> bool:
        """Tell whether the test set is scored after an epoch, counted from 0."""
        return self.monitor and ((epoch + 1) % self.judged_every == 0 or epoch + 1 == self.epochs)

    def forward_of(self, model: nn.Module) -> Forward:
        """Return the model's forward, compiled and under autocast as the recipe says."""
        if not self.compile and self.precision != "bfloat16":
            return model
        device = next(model.parameters()).device.type
        run: Forward = torch.compile(model) if self.compile else model
        if self.precision != "bfloat16":
            return run

        def mixed(x: Tensor) -> Tensor:
            with torch.autocast(device, torch.bfloat16):
                output: Tensor = run(x)
            return output.float()

        return mixed

    def but(self, **changes: Any) -> Self:
        """Return the recipe with some settings changed."""
        return replace(self, **changes)


def _weight(name: str, value: Any) -> float:
    weight = check_nonnegative(name, value)
    if weight > FASTEST:
        raise ValueError(f"{name} must be at most {FASTEST:g}, got {shown(value)}")
    return weight


def _milestones(values: Any) -> tuple[float, ...]:
    if isinstance(values, (tuple, list)) and not values:  # the rate stays
        return ()
    shares = tuple(
        check_amount("every entry of milestones", share, 1.0)
        for share in check_entries("milestones", values, "shares of the epochs")
    )
    if list(shares) != sorted(shares):
        raise ValueError(f"milestones must be rising shares of the epochs in (0, 1], got {shown(values)}")
    return shares
