"""Checks of what belongs to networks: strengths, bounds, seeds, tensors, devices.

As in `linphase.checks`, each returns what the code works with or raises one sentence that names the argument.
Whether a network fits the data is checked in `linphase.deep.fit`.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from linphase.checks import (
    check_amount,
    check_choice,
    check_count,
    check_entries,
    check_kind,
    check_nonnegative,
    check_number,
    check_path,
    shown,
)

Bounds = tuple[float, float] | None

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""Types of inputs and responses."""
LARGEST = 1e12
"""Inputs, responses and constants are at most this large: the squares of a float32 stay finite."""
STRONGEST = 1e15
"""ε is at most this large: so are the squares of attacks in a float32 finite."""
MOST_SEEDS = 2**128
"""Seeds are at most this large, as those are that NumPy draws from the system."""


def settle(record: Any, **checked: Any) -> None:
    """Put checked values into a frozen record where its own are no plain numbers, such as those of NumPy.

    Plain ones stay as they were given, as does what a record prints, by which checkpoints know it.
    """

    def plain(value: Any) -> bool:
        return type(value) in (bool, int, float, str) or (type(value) is tuple and all(map(plain, value)))

    for name, value in checked.items():
        if not plain(getattr(record, name)):
            object.__setattr__(record, name, value)


# -------------------------------------------------------------------------------------- numbers and the like


def check_seed(name: str, seed: Any) -> int:
    """Return an integer."""
    return check_count(name, seed, -MOST_SEEDS, MOST_SEEDS)


def check_seeds(seeds: Any) -> list[int]:
    """Return a sequence of integers as a list."""
    return [check_seed("every entry of seeds", seed) for seed in check_entries("seeds", seeds, "integers")]


def check_strength(name: str, eps: Any) -> float:
    """Return a number of at least 0, and not beyond what the arithmetic of attacks holds."""
    strength = check_nonnegative(name, eps)
    if strength > STRONGEST:
        raise ValueError(f"{name} must be at most {STRONGEST:g}, got {shown(eps)}")
    return strength


def check_strengths(name: str, values: Any) -> list[float]:
    """Return rising strengths above 0."""
    strengths = [
        check_strength(f"every entry of {name}", value)
        for value in check_entries(name, values, "rising strengths above 0")
    ]
    if not all(a < b for a, b in zip([0.0, *strengths], strengths, strict=False)):
        raise ValueError(f"{name} must be rising strengths above 0, got {shown(values)}")
    return strengths


def check_eps(eps: Any, axes: torch.Size) -> float | Tensor:
    """Return a strength, or a tensor of one for each member of a stack, which has ``axes``."""
    if not isinstance(eps, Tensor) or eps.ndim == 0:
        return check_strength("eps", eps)
    strengths = check_tensor("eps", eps)
    if strengths.is_complex() or strengths.dtype == torch.bool:
        raise TypeError(f"eps must hold real numbers, got {strengths.dtype}")
    if strengths.shape != axes:
        raise ValueError(f"eps must be a number or have shape {tuple(axes)}, got {tuple(strengths.shape)}")
    if not ((strengths >= 0) & (strengths <= STRONGEST)).all():
        raise ValueError(f"eps must be finite and from 0 to {STRONGEST:g}, got {shown(strengths.tolist())}")
    return strengths.detach()


def check_size(name: str, value: Any) -> float:
    """Return a number that is not too large in size."""
    number = check_number(name, value)
    if abs(number) > LARGEST:
        raise ValueError(f"{name} must be at most {LARGEST:g} in size, got {shown(value)}")
    return number


def check_bounds(bounds: Any, open_ends: bool = False) -> Bounds:
    """Return an interval or None."""
    if bounds is None:
        return None
    allowed = (
        "(low, high) with low < high or None" if open_ends else "finite (low, high) with low < high, or None"
    )
    ends = check_entries("bounds", bounds, "two numbers (or None)")
    if len(ends) != 2:
        raise ValueError(f"bounds must be {allowed}, got {shown(bounds)}")
    low, high = (
        end
        if open_ends and isinstance(end, float) and math.isinf(end)
        else check_size("every entry of bounds", end)
        for end in ends
    )
    if not low < high:
        raise ValueError(f"bounds must be {allowed}, got {shown(bounds)}")
    return low, high


def check_constants(name: str, values: Any) -> tuple[float, ...]:
    """Return the means by which inputs are normalised."""
    return tuple(
        check_size(f"every entry of {name}", value) for value in check_entries(name, values, "numbers")
    )


def check_spreads(name: str, values: Any) -> tuple[float, ...]:
    """Return the standard deviations by which inputs are normalised."""
    spreads = tuple(
        check_amount(f"every entry of {name}", value, LARGEST)
        for value in check_entries(name, values, "positive numbers")
    )
    if min(spreads) < 1 / LARGEST:  # a float32 would be 0 below 1e-45
        raise ValueError(f"every entry of {name} must be at least {1 / LARGEST:g}, got {min(spreads):g}")
    return spreads


def check_file(name: str, value: Any) -> Path | None:
    """Return the path of a file that can be written, or None."""
    path = None if value is None else check_path(name, value)
    if path is not None and path.is_dir():
        raise ValueError(f"{name} must be a file's path, got the folder {shown(str(value))}")
    return path if path is None else _writable(name, path)


def check_folder(name: str, value: Any) -> Path | None:
    """Return the path of a folder, which need not be there yet, or None."""
    path = None if value is None else check_path(name, value)
    if path is not None and path.is_file():
        raise ValueError(f"{name} must be a folder's path, got the file {shown(str(value))}")
    return path if path is None else _writable(name, path)


def _writable(name: str, path: Path) -> Path:
    for parent in path.parents:
        if parent.is_file():
            raise ValueError(
                f"{name} must lie in a folder, got {shown(str(path))} in the file {parent.name!r}"
            )
    return path


# --------------------------------------------------------------------------------------------------- tensors


def check_tensor(name: str, value: Any) -> Tensor:
    """Return a dense tensor that has data."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a tensor, got {shown(value)}")
    if value.layout is not torch.strided or value.is_meta:
        kind = "meta" if value.is_meta else str(value.layout)
        raise TypeError(f"{name} must be a dense tensor with data, got one that is {kind}")
    return value


def check_reals(name: str, value: Any) -> Tensor:
    """Return a floating-point tensor of finite entries."""
    reals = check_tensor(name, value)
    if reals.dtype not in FLOATS:
        raise TypeError(f"{name} must be floating-point of 16 to 64 bits, got {reals.dtype}")
    if reals.numel():
        low, high = (float(end) for end in reals.detach().aminmax())  # NaN if there is one
        if not math.isfinite(high - low):
            raise ValueError(f"{name} must be finite, it has NaN or infinity")
        if max(-low, high) > LARGEST:
            raise ValueError(
                f"{name} must be at most {LARGEST:g} in size, got an entry of {max(-low, high):g}"
            )
    return reals


def check_inputs(name: str, x: Any, bounds: Bounds = None) -> Tensor:
    """Return inputs (n, …), one at least, inside bounds, without the history of a gradient."""
    inputs = check_reals(name, x)
    if inputs.ndim < 2 or not inputs.numel():
        raise ValueError(f"{name} must have shape (n, …) with entries, got {tuple(inputs.shape)}")
    inputs = inputs.detach() if inputs.requires_grad else inputs
    if bounds is not None:
        low, high = inputs.aminmax()
        # Compared as tensors: in the precision of x, in which a bound such as 0.3 is rounded like x.
        if low < bounds[0] or high > bounds[1]:
            allowed = f"[{bounds[0]:g}, {bounds[1]:g}]"
            raise ValueError(f"{name} must lie in bounds {allowed}, got values in [{low:.4g}, {high:.4g}]")
    return inputs


def check_batch(x: Any, y: Any, bounds: Bounds) -> Tensor:
    """Return inputs inside bounds, with a label for each example; without the history of a gradient."""
    inputs, labels = check_inputs("x", x, bounds), check_tensor("y", y)
    shapes = tuple(inputs.shape), tuple(labels.shape)
    if labels.ndim < 1 or shapes[0][: labels.ndim] != shapes[1] or not labels.numel():
        raise ValueError(f"x must have an example for each label, got x {shapes[0]}, y {shapes[1]}")
    if inputs.device != labels.device:
        raise ValueError(f"y must lie on the device of x, {inputs.device}, got {labels.device}")
    return inputs


def check_network(name: str, model: Any) -> nn.Module:
    """Return a network whose weights exist."""
    network: nn.Module = check_kind(name, model, nn.Module, "a network (Module)")
    for value in [*network.parameters(), *network.buffers()]:
        if is_lazy(value):
            raise ValueError(f"{name} must be initialised, it has a lazy layer: run it on a batch first")
        if value.is_meta:
            raise ValueError(f"{name} must have weights with data, got some on the device meta")
    return network


def check_generator(generator: Any, x: Tensor) -> None:
    """Raise unless a generator is None or one of torch on the device of ``x``."""
    if generator is None:
        return
    check_kind("generator", generator, torch.Generator, "a Generator of torch or None")
    if generator.device.type != x.device.type:
        raise ValueError(f"generator must be on the device of x, {x.device}, got {generator.device}")


# --------------------------------------------------------------------------------------------------- devices


def check_device(device: Any) -> torch.device:
    """Return a device of this machine on which tensors have data."""
    if not isinstance(device, (str, torch.device)):
        raise TypeError(f"device must be a string or a device of torch, got {shown(device)}")
    try:
        found = torch.empty(0, device=device).device
    except Exception:  # torch has an error of another type for each kind of device
        found = torch.device("meta")
    if found.type == "meta":
        raise ValueError(f"device must be one that this machine has, such as 'cpu', got {shown(device)}")
    return torch.device(device)


def check_dtype(dtype: Any) -> torch.dtype:
    """Return a floating-point type of torch."""
    check_kind("dtype", dtype, torch.dtype, "a dtype of torch")
    if dtype not in FLOATS:
        raise ValueError(f"dtype must be a floating-point type of 16 to 64 bits, got {dtype}")
    return dtype  # type: ignore[no-any-return]


def find_device(name: str) -> torch.device:
    """Return the device that "auto", "cpu" or "cuda" stands for, or raise if the machine lacks it.

    Apple's "mps" is none of them: sums over an epoch are in float64, which it does not have.
    """
    check_choice("device", name, ("auto", "cpu", "cuda"))
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device must be one this machine has, got {name!r}, which torch does not find")
    return torch.device(name)


def describe_device(device: torch.device) -> str:
    """Return a device's kind, and the name of a GPU."""
    return f"cuda, {torch.cuda.get_device_name(device)}" if device.type == "cuda" else device.type
