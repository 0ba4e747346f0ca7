"""Checks of what users pass to the torch backend: strengths, norms, bounds, batches, devices."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor, nn

from linphase.deep.modes import mode_of

NORMS = ("linf", "l2")
Bounds = tuple[float, float] | None


def check_eps(eps: Any, name: str = "eps") -> None:
    """Raise unless ``eps`` is a finite number of at least 0, or a tensor of such."""
    if isinstance(eps, Tensor):
        if not (eps.isfinite().all() and (eps >= 0).all()):
            raise ValueError(f"{name} must be finite and at least 0, got {eps.tolist()}")
    elif isinstance(eps, bool) or not isinstance(eps, Real):
        raise TypeError(f"{name} must be a number, got {eps!r}")
    elif not (math.isfinite(float(eps)) and float(eps) >= 0):
        raise ValueError(f"{name} must be finite and at least 0, got {eps}")


def check_norm(norm: Any) -> None:
    """Raise unless ``norm`` is known."""
    if norm not in NORMS:
        raise ValueError(f"norm must be one of {', '.join(NORMS)}, got {norm!r}")


def check_count(name: str, value: Any, least: int = 1) -> None:
    """Raise unless ``value`` is an integer of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if int(value) < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")


def check_positive(name: str, value: Any) -> None:
    """Raise unless ``value`` is a positive finite number."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not (math.isfinite(float(value)) and float(value) > 0):
        raise ValueError(f"{name} must be positive and finite, got {value}")


def check_batch(x: Any, y: Any, bounds: Bounds) -> None:
    """Raise unless ``x`` is a floating-point batch inside ``bounds`` with a label for each example."""
    for name, value in (("x", x), ("y", y)):
        if not isinstance(value, Tensor):
            raise TypeError(f"{name} must be a tensor, got {type(value).__name__}")
    if not x.is_floating_point():
        raise TypeError(f"x must be floating-point, got {x.dtype}")
    if y.ndim < 1 or x.shape[: y.ndim] != y.shape or not y.numel():
        raise ValueError(f"x must have an example for each label, got x {tuple(x.shape)}, y {tuple(y.shape)}")
    if not x.isfinite().all():
        raise ValueError("x must be finite, it has NaN or infinity")
    if bounds is not None:
        low, high = bounds
        if not low < high:
            raise ValueError(f"bounds must be (low, high) with low < high or None, got {bounds}")
        if x.min() < low or x.max() > high:
            found = f"[{x.min().item():.4g}, {x.max().item():.4g}]"
            raise ValueError(f"x must lie in bounds [{low:g}, {high:g}], got values in {found}")


def check_fit(model: nn.Module, x: Tensor, y: Tensor, loss: str) -> None:
    """Raise unless the outputs of a model fit the labels and the loss; one example is tried, in eval mode."""
    one = (slice(None),) * (y.ndim - 1) + (slice(1),)
    with mode_of(model, "eval"), torch.no_grad():
        shape = tuple(model(x[one]).shape)
    labels = tuple(y[one].shape)
    if loss == "squared":
        # Unchecked, outputs (B, 1) and responses (B,) would broadcast to (B, B).
        if shape != labels:
            raise ValueError(f"the output must have the shape {labels} of y for loss 'squared', got {shape}")
        return
    if y.dtype != torch.int64:
        raise TypeError(f"y must have dtype int64 for loss {loss!r}, got {y.dtype}")
    if shape[:-1] != labels:
        raise ValueError(f"the output must have shape {labels} and classes last, got {shape}")
    low, high = (int(value) for value in y.aminmax())
    if low < 0 or high >= shape[-1]:
        raise ValueError(f"y must lie in the model's classes 0..{shape[-1] - 1}, got labels in {low}..{high}")


def find_device(name: str) -> torch.device:
    """Return the device that "auto", "cpu" or "cuda" stands for, or raise if the machine lacks it.

    Apple's "mps" is none of them: sums over an epoch are in float64, which it does not have.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device must be auto, cpu or cuda, got {name!r}")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device must be one this machine has, got {name!r}, which torch does not find")
    return torch.device(name)


def describe_device(device: torch.device) -> str:
    """Return a device's kind, and the name of a GPU."""
    return f"cuda, {torch.cuda.get_device_name(device)}" if device.type == "cuda" else device.type
