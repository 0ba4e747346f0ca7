"""The phase transition from clean to adversarial training: exact solvers, simulators and tests."""

from __future__ import annotations

TYPE_CHECKING = False  # as type checkers know it; to import `typing` takes longer than all else here
if TYPE_CHECKING:
    from typing import Any

    from linphase import asymptotics
    from linphase.batch import Batch, solve_batch
    from linphase.critical import critical_strength, critical_strength_batch
    from linphase.descent import (
        Trajectory,
        critical_step,
        gradient_descent,
        gradient_descent_batch,
        noise_augmented_descent,
    )
    from linphase.designs import GaussianDesign
    from linphase.path import Path, solve_path
    from linphase.problem import AdversarialProblem
    from linphase.radii import interpolation_radius, zero_radius
    from linphase.solver import CertificateError, Solution, solve
    from linphase.streams import stream
    from linphase.two_layer import two_layer_descent

__version__ = "0.1.0"

__all__ = [
    "AdversarialProblem",
    "Batch",
    "CertificateError",
    "GaussianDesign",
    "Path",
    "Solution",
    "Trajectory",
    "asymptotics",
    "critical_step",
    "critical_strength",
    "critical_strength_batch",
    "gradient_descent",
    "gradient_descent_batch",
    "interpolation_radius",
    "noise_augmented_descent",
    "solve",
    "solve_batch",
    "solve_path",
    "stream",
    "two_layer_descent",
    "zero_radius",
]

_HOMES = {
    "batch": ("Batch", "solve_batch"),
    "critical": ("critical_strength", "critical_strength_batch"),
    "descent": (
        "Trajectory", "critical_step", "gradient_descent", "gradient_descent_batch",
        "noise_augmented_descent",
    ),
    "designs": ("GaussianDesign",),
    "path": ("Path", "solve_path"),
    "problem": ("AdversarialProblem",),
    "radii": ("interpolation_radius", "zero_radius"),
    "solver": ("CertificateError", "Solution", "solve"),
    "streams": ("stream",),
    "two_layer": ("two_layer_descent",),
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for.

    So the package takes no time to import, and a command has its hand on Ctrl-C before it loads what does.
    """
    from importlib import import_module

    if name == "asymptotics":
        return import_module("linphase.asymptotics")
    for module, names in _HOMES.items():
        if name in names:
            value = globals()[name] = getattr(import_module(f"linphase.{module}"), name)
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
