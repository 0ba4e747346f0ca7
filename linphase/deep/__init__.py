"""The torch backend: attacks, training and the critical strength ε* of deep networks."""

from linphase.deep.attacks import FGM, PGD, Attack, fgm, pgd
from linphase.deep.catastrophic import FGM_RANDOM, CatastrophicOverfitting, catastrophic_overfitting
from linphase.deep.checkpoints import CheckpointError
from linphase.deep.connectivity import Connection, mode_connectivity
from linphase.deep.critical import critical_strength
from linphase.deep.crossing import CriticalStrength, Point
from linphase.deep.curve import Curve
from linphase.deep.data import Data, digits, load
from linphase.deep.evaluate import Score, evaluate
from linphase.deep.history import History
from linphase.deep.models import mlp, mnist_cnn, preact_resnet18, wide_resnet34
from linphase.deep.plane import Plane, loss_plane
from linphase.deep.recipe import Recipe
from linphase.deep.search import Search
from linphase.deep.sources import ChecksumError
from linphase.deep.stack import Stack
from linphase.deep.surface import recompute_batch_norm
from linphase.deep.tracking import Tracker
from linphase.deep.training import DivergenceError, train
from linphase.deep.tuning import Tuning

__all__ = [
    "FGM", "FGM_RANDOM", "PGD", "Attack", "CatastrophicOverfitting", "CheckpointError", "ChecksumError",
    "Connection", "CriticalStrength", "Curve", "Data", "DivergenceError", "History", "Plane", "Point",
    "Recipe", "Score", "Search", "Stack", "Tracker", "Tuning", "catastrophic_overfitting",
    "critical_strength", "digits", "evaluate", "fgm", "load", "loss_plane", "mlp", "mnist_cnn",
    "mode_connectivity", "pgd", "preact_resnet18", "recompute_batch_norm", "train", "wide_resnet34",
]  # fmt: skip
