"""Checks of arguments that simulators share: counts, scales, generators, step sizes."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from linphase.problem import Array, check_real


def check_count(name: str, value: Any) -> None:
    """Raise unless ``value`` is an integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")


def check_scale(name: str, value: Any) -> None:
    """Raise unless ``value`` is a finite number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{name} must be finite and at least 0, got {value}")


def check_rng(rng: Any) -> None:
    """Raise unless ``rng`` is a NumPy generator."""
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng must be a numpy Generator, as stream() returns, got {rng!r}")


def check_steps(step: ArrayLike, n_steps: int) -> Array:
    """Return one positive step size for each of ``n_steps`` updates, or raise."""
    steps = check_real("step", np.atleast_1d(step), 1)
    if len(steps) not in (1, n_steps):
        raise ValueError(f"step must be a number or have shape ({n_steps},), got {len(steps)} entries")
    if not (steps > 0).all():
        raise ValueError(f"step must be positive, got {steps.min()}")
    return np.ascontiguousarray(np.broadcast_to(steps, n_steps))
