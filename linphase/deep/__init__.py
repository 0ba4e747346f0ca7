"""The torch backend: attacks, training and the critical strength ε* of deep networks."""

from linphase.deep.attacks import FGM, PGD, Attack, fgm, pgd
from linphase.deep.checkpoints import CheckpointError
from linphase.deep.critical import critical_strength
from linphase.deep.crossing import CriticalStrength, Point
from linphase.deep.data import Data, digits, load
from linphase.deep.evaluate import Score, evaluate
from linphase.deep.models import mlp, mnist_cnn, preact_resnet18, wide_resnet34
from linphase.deep.recipe import Recipe
from linphase.deep.search import Search, Tuning
from linphase.deep.sources import ChecksumError
from linphase.deep.stack import Stack
from linphase.deep.tracking import Tracker
from linphase.deep.training import DivergenceError, History, train

__all__ = [
    "FGM", "PGD", "Attack", "CheckpointError", "ChecksumError", "CriticalStrength", "Data", "DivergenceError",
    "History", "Point", "Recipe", "Score", "Search", "Stack", "Tracker", "Tuning", "critical_strength",
    "digits", "evaluate", "fgm", "load", "mlp", "mnist_cnn", "pgd", "preact_resnet18", "train",
    "wide_resnet34",
]  # fmt: skip
