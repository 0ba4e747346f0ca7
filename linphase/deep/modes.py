"""In which mode a network is attacked: batch norm makes it matter, so every attack names it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from linphase.checks import check_choice

MODES = ("train", "eval", "frozen-bn")


@contextmanager
def mode_of(model: nn.Module, mode: str) -> Iterator[None]:
    """Put a model into a mode, and every module of it back into its own afterwards.

    "train" uses and updates the batch statistics, as the paper's code does while it attacks; "eval" uses the
    running ones; "frozen-bn" is train (dropout and the like) but for batch norm, which is as in eval.
    """
    check_choice("mode", mode, MODES)
    before = [(module, module.training) for module in model.modules()]
    try:
        model.train(mode != "eval")
        if mode == "frozen-bn":
            for module, _ in before:
                if isinstance(module, _BatchNorm):
                    module.eval()
        yield
    finally:
        for module, training in before:
            module.training = training


@contextmanager
def without_weights(model: nn.Module) -> Iterator[None]:
    """Take the weights for constants: a compiled network has one backward, for all that needs a gradient."""
    before = [value for value in model.parameters() if value.requires_grad]
    try:
        for value in before:
            value.requires_grad_(False)
        yield
    finally:
        for value in before:
            value.requires_grad_(True)
