"""The phase transition from clean to adversarial training: exact solvers, simulators and tests."""

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
