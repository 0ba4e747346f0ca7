"""Checks of networks: whether they are any, can be trained, and fit the data and the loss."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from linphase.checks import check_count, shown
from linphase.deep.batches import fewest
from linphase.deep.checks import FLOATS, check_network, check_reals
from linphase.deep.modes import mode_of, without_weights
from linphase.deep.stack import Stack


def check_single(name: str, model: Any) -> nn.Module:
    """Return a network that is no stack."""
    network = check_network(name, model)
    if isinstance(network, Stack):
        raise TypeError(f"{name} must be a single network, got a Stack")
    return network


def check_trained(name: str, model: Any) -> nn.Module:
    """Return a single network with finite weights."""
    network = check_single(name, model)
    for key, value in network.named_parameters():
        if not value.isfinite().all():
            raise ValueError(f"{name} must have finite weights, its {key} has NaN or infinity")
    return network


def check_trainable(name: str, model: nn.Module) -> None:
    """Raise unless a network has weights that training can move."""
    if not any(value.requires_grad for value in model.parameters()):
        raise ValueError(f"{name} must have parameters that require gradients, to be trained")


def check_factory(factory: Any) -> Callable[[], nn.Module]:
    """Return a function that takes no arguments; what it returns is checked when it is called."""
    what = "a function without arguments that returns a new network"
    if isinstance(factory, nn.Module) or not callable(factory):
        raise TypeError(f"model_factory must be {what}, got {shown(factory)}")
    try:
        inspect.signature(factory).bind()
    except TypeError:
        raise TypeError(f"model_factory must be {what}, got {shown(factory)}") from None
    except ValueError:  # some functions of C have no signature
        pass
    found: Callable[[], nn.Module] = factory
    return found


def check_fit(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    loss: str,
    name: str = "model",
    gradient: str | None = None,
    mode: str = "eval",
    forward: Callable[[Tensor], Tensor] | None = None,
) -> None:
    """Raise unless the outputs of a model fit the labels and the loss; two examples are tried, in eval mode.

    Parameters
    ----------
    name : str
        Of the argument that the model is.
    gradient : {"inputs", "weights"}, optional
        For which the outputs must have a gradient.
    mode : {"train", "eval"}
        In which the model is to run on ``x``.
    forward : callable, optional
        Evaluates in place of the model.
    """
    few = (slice(None),) * (y.ndim - 1) + (slice(2),)
    inputs, labels = x[few], y[few]
    if (least := fewest(model, mode)) > y.shape[-1]:
        raise ValueError(
            f"{name} has batch norm, so x must have at least {least} examples, got {y.shape[-1]}"
        )
    output = _tried(model, inputs, name, gradient, forward)
    name = name if forward is None else "forward"
    shape, wanted = tuple(output.shape), tuple(labels.shape)
    if loss == "squared":
        # Unchecked, outputs (B, 1) and responses (B,) would broadcast to (B, B).
        if shape != wanted:
            raise ValueError(f"{name} must return the shape {wanted} of y for loss 'squared', got {shape}")
        check_reals("y", y if y.is_floating_point() or y.is_complex() else y.double())
        return
    if y.dtype != torch.int64:
        raise TypeError(f"y must have dtype int64 for loss {loss!r}, got {y.dtype}")
    if shape[:-1] != wanted or not shape[-1]:
        raise ValueError(f"{name} must return the shape {wanted} of y and classes last, got {shape}")
    low, high = (int(value) for value in y.aminmax())
    if low < 0 or high >= shape[-1]:
        raise ValueError(
            f"y must lie in 0..{shape[-1] - 1}, the classes of {name}, got labels in {low}..{high}"
        )


def _tried(
    model: nn.Module,
    inputs: Tensor,
    name: str,
    gradient: str | None = None,
    forward: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """The output for a few inputs, which is a real tensor with the gradient that is asked for."""
    run, name = (model, name) if forward is None else (forward, "forward")
    try:
        with mode_of(model, "eval"), torch.set_grad_enabled(gradient is not None):
            if gradient == "inputs":
                with without_weights(model):
                    output = run(inputs.detach().requires_grad_())
            else:
                output = run(inputs)
    except Exception as error:
        said = " ".join(str(error).split())
        said = said if len(said) <= 200 else f"{said[:197]}..."
        raise ValueError(
            f"{name} must take inputs such as x, here of shape {tuple(inputs.shape)} and {inputs.dtype}, "
            f"it raises {type(error).__name__}: {said}"
        ) from error
    if not isinstance(output, Tensor):
        raise TypeError(f"{name} must return a tensor, got {type(output).__name__}")
    if output.dtype not in FLOATS or output.device != inputs.device:
        raise TypeError(
            f"{name} must return floating-point outputs on {inputs.device}, "
            f"got {output.dtype} on {output.device}"
        )
    if gradient is not None and not output.requires_grad:
        raise ValueError(f"{name} must be differentiable in its {gradient}, its outputs have no gradient")
    return output


def check_runs(model: nn.Module, x: Tensor, forward: Callable[[Tensor], Tensor] | None = None) -> None:
    """Raise unless a model takes inputs such as ``x``; two examples are tried, in eval mode."""
    _tried(model, x[:2], "model", forward=forward)


def check_batch_size(name: str, size: Any, least: int = 1) -> int:
    """Return a number of examples in a batch, ``least`` of which a network with batch norm needs."""
    examples = check_count(name, size)
    if examples < least:
        raise ValueError(f"{name} must be at least {least} for a network with batch norm, got {examples}")
    return examples
