"""The phase transition from clean to adversarial training: exact solvers, simulators and tests."""

from linphase.batch import Batch, Path, solve_batch, solve_path
from linphase.problem import AdversarialProblem
from linphase.radii import interpolation_radius, zero_radius
from linphase.solver import CertificateError, Solution, solve

__all__ = [
    "AdversarialProblem",
    "Batch",
    "CertificateError",
    "Path",
    "Solution",
    "interpolation_radius",
    "solve",
    "solve_batch",
    "solve_path",
    "zero_radius",
]
