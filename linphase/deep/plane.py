"""The loss in the plane through three networks, and the shape of its low region."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from linphase.checks import check_amount, check_count, check_kind, check_positive, shown
from linphase.deep import checkpoints
from linphase.deep.checks import check_file, check_seed, check_strength
from linphase.deep.curve import Curve
from linphase.deep.data import Data
from linphase.deep.recipe import Recipe
from linphase.deep.surface import Losses, Surface, check_alike

Array = NDArray[np.float64]

MOST_POINTS, MOST_LEVELS = 10**4, 10**6
WIDEST = 1e3
"""Margins are at most this wide."""


@dataclass(frozen=True)
class Plane:
    """Losses on a grid of the plane through first, last and third network.

    Coordinates are distances between weights. The first network lies at the origin, the last at (x, 0), the
    third above it; the grid is symmetric about the perpendicular bisector of the first two.

    Attributes
    ----------
    x, y : arrays (k,)
        Coordinates of the grid.
    loss, accuracy, test_loss : arrays (k, k)
        On the training (and test) set at (y, x).
    corners : array (3, 2)
        Coordinates of first, last and third.
    corner_loss : array (3,)
        Training losses there.
    path : array (m, 2)
        Projection of the path on the plane; empty if none was given.
    eps : float
        Strength of the attack under which losses were taken.
    passes : float
        Cost, forward and backward over the training data.
    """

    x: Array
    y: Array
    loss: Array
    accuracy: Array
    test_loss: Array
    corners: Array
    corner_loss: Array
    path: Array
    eps: float
    passes: float

    def asymmetry(self, level: float, margin: float | None = None) -> float:
        """Return how far the region of training loss up to ``level`` is from being its own mirror image.

        The mirror swaps the first network and the last. With A the region inside the grid and A' its image,
        it is the area that lies in just one of them over the area that lies in either: 0 for a symmetric
        region, 1 if the two are apart, NaN if there is no such region. A region that reaches the border of
        the grid (see `border`) goes on beyond it, and its asymmetry depends on where the grid ends:
        ``margin`` takes the part of it that extends so far beyond the networks, in units of `loss_plane`'s.
        """
        level = check_positive("level", level)
        low = self.loss <= level
        if margin is not None:
            low = low[np.ix_(*self._within(margin))]
        mirrored = low[:, ::-1]
        either = int((low | mirrored).sum())
        return int((low ^ mirrored).sum()) / either if either else math.nan

    def border(self, level: float) -> float:
        """Return the share of the grid's border where the training loss is at most ``level``."""
        level = check_positive("level", level)
        low = self.loss <= level
        return float(np.concatenate([low[0], low[-1], low[1:-1, 0], low[1:-1, -1]]).mean())

    def _within(self, margin: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Rows and columns up to a margin, which is at most that of the grid."""
        margin = check_amount("margin", margin, WIDEST)
        (left, bottom, right, top), slack = _window(self.corners, margin), 1e-9 * self.corners[1, 0]
        if left < self.x[0] - slack:
            raise ValueError(f"margin must be at most that of the plane's own grid, got {shown(margin)}")
        rows = (self.y >= bottom - slack) & (self.y <= top + slack)
        return rows, (self.x >= left - slack) & (self.x <= right + slack)

    def levels(self, count: int = 8) -> Array:
        """Return losses for contours, equally spaced in the logarithm above the lowest."""
        count = check_count("count", count, 2, MOST_LEVELS)
        low, high = float(self.loss.min()), float(np.quantile(self.loss, 0.9))
        tiny = np.finfo(np.float64).tiny
        return np.geomspace(max(low, tiny), max(high, 1.001 * low, 2 * tiny), count + 1)[1:]


def loss_plane(
    first: nn.Module,
    last: nn.Module,
    third: nn.Module,
    data: Data,
    recipe: Recipe,
    *,
    path: Curve | None = None,
    grid: int = 21,
    margin: float = 0.3,
    eps: float = 0.0,
    examples: int | None = None,
    seed: int = 0,
    checkpoint: str | Path | None = None,
) -> Plane:
    """Evaluate the loss in the plane through three networks.

    Parameters
    ----------
    first, last, third : Module
        Networks of one architecture that do not lie on a line. With a path of one bend, the third is the
        bend, ``path.bend()``, and the plane holds the path.
    data, recipe : Data, Recipe
        See `Surface`. Batch-norm statistics are recomputed at every point.
    path : Curve, optional
        To be projected on the plane.
    grid : int
        Points a side.
    margin : float
        By how much the grid extends beyond the three networks, in units of their distances: of the first two
        from each other, and of the third from their line.
    eps : float
        Evaluate under attack of this strength; 0 is the clean loss.
    examples : int, optional
        Evaluate on the first so many examples only.
    seed : int
        Of the attack's random starts.
    checkpoint : path, optional
        File that keeps each finished row of the grid.

    Raises
    ------
    ValueError, TypeError
        For bad input.
    CheckpointError
        If the checkpoint is of another plane.
    """
    networks = {"first": first, "last": last, "third": third}
    check_alike(**networks)
    check_kind("data", data, Data, "a Data")
    check_kind("recipe", recipe, Recipe, "a Recipe")
    if path is not None:
        check_kind("path", path, Curve, "a Curve or None")
        check_alike(first=first, path=path.form)
    grid = check_count("grid", grid, 2, MOST_POINTS)
    margin = check_amount("margin", margin, WIDEST)
    eps, seed, file = (
        check_strength("eps", eps),
        check_seed("seed", seed),
        check_file("checkpoint", checkpoint),
    )
    surface = Surface(first, data, recipe, eps, examples, seed)
    basis = _Basis(*(_parameters(network, data.x.device) for network in networks.values()))
    corners = np.array([[0, 0], [basis.width, 0], basis.third])
    left, bottom, right, top = _window(corners, margin)
    x, y = np.linspace(left, right, grid), np.linspace(bottom, top, grid)
    corner_scores = [surface.at(basis.point(*corner)) for corner in corners]
    rows: list[list[list[float]]] = []
    identity = {"plane": f"{grid}, {margin}, {corners.tolist()}", "recipe": repr(recipe), "eps": str(eps)}
    identity |= {"seed": str(seed), "losses": str([score.train_loss for score in corner_scores])}

    def restore(state: Mapping[str, Any]) -> None:
        row = [[0.0] * len(Losses._fields)] * grid
        checkpoints.check_form(state, {"rows": [row] * min(len(state["rows"]), grid)})
        rows.extend(state["rows"])

    if file is not None:
        checkpoints.resume(file, identity, data.x.device, restore)
    for row in y[len(rows) :]:
        rows.append([list(surface.at(basis.point(column, row))) for column in x])
        if file is not None:
            checkpoints.save(file, identity, {"rows": rows})
    train_loss, train_accuracy, test_loss, _ = np.moveaxis(np.array(rows), -1, 0)
    times = np.linspace(0, 1, 101) if path is not None else np.empty(0)
    drawn = [basis.coordinates(path.weights(float(t))) for t in times if path is not None]
    share = len(surface.train_set[0]) / data.n
    return Plane(
        x,
        y,
        train_loss,
        train_accuracy,
        test_loss,
        corners,
        np.array([score.train_loss for score in corner_scores]),
        np.array(drawn).reshape(-1, 2),
        float(eps),
        (grid**2 + 3) * share * surface.passes,
    )


def _window(corners: Array, margin: float) -> tuple[float, float, float, float]:
    """Left, bottom, right and top of a grid that extends by a margin beyond the networks."""
    width, (across, height) = corners[1, 0], corners[2]
    right = max(width, across, width - across) + margin * width
    return float(width - right), float(-margin * height), float(right), float((1 + margin) * height)


class _Basis:
    """Orthonormal basis of the plane through three points of the weight space."""

    def __init__(self, first: dict[str, Tensor], last: dict[str, Tensor], third: dict[str, Tensor]) -> None:
        self.origin = first
        along, up = _difference(last, first), _difference(third, first)
        self.width = math.sqrt(_product(along, along))
        reach = _product(along, up) / self.width if self.width else 0.0
        self.along = {name: value / self.width for name, value in along.items()} if self.width else along
        up = {name: value - reach * self.along[name] for name, value in up.items()}
        height = math.sqrt(_product(up, up))
        if not height > 1e-6 * self.width > 0:
            raise ValueError("first, last and third must be networks that do not lie on one line of weights")
        self.up = {name: value / height for name, value in up.items()}
        self.third = (reach, height)

    def point(self, x: Any, y: Any) -> dict[str, Tensor]:
        """Return the weights at coordinates."""
        a, b = float(x), float(y)
        return {n: (w + a * self.along[n] + b * self.up[n]).to(w.dtype) for n, w in self.origin.items()}

    def coordinates(self, weights: dict[str, Tensor]) -> tuple[float, float]:
        """Return the coordinates of the projection of weights."""
        away = _difference({name: value.detach() for name, value in weights.items()}, self.origin)
        return _product(away, self.along), _product(away, self.up)


def _parameters(network: nn.Module, device: torch.device) -> dict[str, Tensor]:
    return {name: value.detach().to(device) for name, value in network.named_parameters()}


def _difference(a: dict[str, Tensor], b: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.double() - b[name].double() for name, value in a.items()}


def _product(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    return float(torch.stack([(value * b[name]).sum() for name, value in a.items()]).sum())
