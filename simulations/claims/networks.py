"""What the claims of Proposition 1 share: networks beside their linear twins, and the thresholds of both.

Thresholds measure distances between predictors as root mean squares over new inputs x ~ N(0, I). The linear
part β'x has that in closed form; new points serve for the rest, f(x) − β'x, only.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy.optimize import brentq

from linphase import AdversarialProblem, GaussianDesign, critical, gradient_descent, two_layer_descent
from linphase.designs import fixed_design_std_norm
from linphase.streams import stream
from linphase.two_layer import ACTIVATIONS, TwoLayerNet

N_STEPS = 60
STEP = 0.1  # of the twin; the network's is STEP/φ'(0)²
NEW_POINTS = 25
THRESHOLD_STEP = 0.15


def distance_block(setting: Mapping[str, Any], replicates: range, seed: int) -> dict[str, np.ndarray]:
    """Largest distance to the twin over t ≤ T, of β and of predictions at new points.

    For ε > 0 also whether the two ever disagree on the sign of a residual, and by how much a disagreement
    parts them in one step: 4ηε‖β‖√d/n. Settings with the same ``data`` share their data sets.
    """
    n, d, width, eps = (setting[name] for name in ("n", "d", "width", "eps"))
    names = ("beta", "prediction", "disagree", "jump")
    found = np.empty((len(names), len(replicates)))
    for i, k in enumerate(replicates):
        rng = stream(seed, "network-distance", n, d, setting["data"], k)  # the same data at every ε
        X, y = GaussianDesign(n, d).sample(rng)
        points = rng.standard_normal((NEW_POINTS, d))
        if eps > 0:  # the gradient jumps where a residual changes sign
            points = np.vstack([points, X])
        net = two_layer_descent(
            AdversarialProblem(X, y, eps),
            width,
            stream(seed, "network-start", n, d, width, k),
            activation=setting["activation"],
            signs=setting["signs"],
            init=setting["init"],
            xi=setting["xi"],
            step=STEP / ACTIVATIONS[setting["activation"]].slope ** 2,
            n_steps=N_STEPS,
            points=points,
        )
        thetas = net.twin.thetas
        linear = thetas @ points.T
        new, old = np.s_[:, :NEW_POINTS], np.s_[:, NEW_POINTS:]
        found[0, i] = np.linalg.norm(net.beta - thetas, axis=1).max()
        found[1, i] = np.sqrt(((net.predictions[new] - linear[new]) ** 2).mean(axis=1)).max()
        found[2, i] = eps > 0 and ((net.predictions[old] > y) != (linear[old] > y)).any()
        found[3, i] = 4 * STEP * eps * np.linalg.norm(thetas[-1]) * math.sqrt(d) / n
    return dict(zip(names, found, strict=True))


@dataclass(frozen=True)
class Fit:
    """A trained model: coefficient β (d,), predictions at the new points (m,), training losses."""

    beta: np.ndarray
    values: np.ndarray
    loss: float
    clean_loss: float


Trainer = Callable[[float], Fit]
"""Training at a given ε, all else fixed."""


def threshold_block(setting: Mapping[str, Any], replicates: range, seed: int) -> dict[str, np.ndarray]:
    """Threshold of the exact linear minimiser, of the network and of its twin on the same data.

    All runs of a replicate share data, initial weights and new points, whatever their ε; 0 and ∞ are answers.
    """
    n, d, criterion = setting["n"], setting["d"], setting["criterion"]
    design = GaussianDesign(n, d)
    found = np.empty((3, len(replicates)))
    for i, k in enumerate(replicates):
        rng = stream(seed, "network-threshold", n, d, setting["data"], k)
        X, y = design.sample(rng)
        points = rng.standard_normal((200, d))
        exact = critical.find(X, y, design.theta0, design.noise, criterion=criterion).eps
        guess = exact if 0 < exact < math.inf else math.sqrt(d / n)
        largest = 1 / math.sqrt(THRESHOLD_STEP) - np.linalg.norm(X, 2) / math.sqrt(n)  # descent stays bounded
        start = seed, "network-threshold-start", n, d, setting["width"], k
        found[0, i] = exact
        for place, train in enumerate(trainers(setting, X, y, points, start), start=1):
            excess = _excess(criterion, cache(train), design, X, points)
            found[place, i] = crossing(excess, guess, largest)
    return dict(zip(("exact", "network", "twin"), found, strict=True))


def trainers(
    setting: Mapping[str, Any], X: np.ndarray, y: np.ndarray, points: np.ndarray, start: tuple[Any, ...]
) -> tuple[Trainer, Trainer]:
    """The network and its linear twin; ``start`` is the key of the initial weights."""
    clean = AdversarialProblem(X, y, 0.0)

    def descend(eps: float, n_steps: int) -> TwoLayerNet:
        own = {name: setting[name] for name in ("activation", "init", "xi")}
        problem = AdversarialProblem(X, y, eps)
        return two_layer_descent(
            problem, setting["width"], stream(*start), step=THRESHOLD_STEP, n_steps=n_steps, **own
        )

    beta = descend(0.0, 1).beta[0]

    def network(eps: float) -> Fit:
        net = descend(eps, setting["n_steps"])
        return Fit(net.beta[-1], net.predict(points), net.losses[-1], net.loss(clean))

    def twin(eps: float) -> Fit:
        problem = AdversarialProblem(X, y, eps)
        theta = gradient_descent(problem, THRESHOLD_STEP, setting["n_steps"], start=beta).thetas[-1]
        return Fit(theta, points @ theta, problem.loss(theta), clean.loss(theta))

    return network, twin


def _excess(
    criterion: str, train: Trainer, design: GaussianDesign, X: np.ndarray, points: np.ndarray
) -> Callable[[float], float]:
    """The criterion's quantity less its level, as a function of ε (see `linphase.critical`)."""
    clean = train(0.0)
    if criterion == "parameter":
        spread = fixed_design_std_norm(X, design.noise)

        def distance(eps: float) -> float:
            fit = train(eps)
            return math.sqrt(mean_square(fit.beta - clean.beta, fit.values - clean.values, points)) - spread

        return distance
    error = mean_square(clean.beta - design.theta0, clean.values - points @ design.theta0, points)
    risk = error + design.noise**2
    name = {"loss": "loss", "clean-loss": "clean_loss"}[criterion]
    return lambda eps: getattr(train(eps), name) - risk


def mean_square(beta: np.ndarray, values: np.ndarray, points: np.ndarray) -> float:
    """Mean square over x ~ N(0, I) of a predictor: its linear part β'x, its values at points (m, d)."""
    rest = (values**2).mean() - ((points @ beta) ** 2).mean()
    return max(0.0, float(beta @ beta + rest))


def crossing(excess: Callable[[float], float], guess: float, largest: float) -> float:
    """Where a function of ε passes 0 from below, to 1e-4 relative.

    0 if it does not start below, inf if it is still below at ``largest``. The bracket grows from the guess.
    """
    if excess(0.0) >= 0:
        return 0.0

    def value(log: float) -> float:
        return excess(math.exp(log))

    top = math.log(largest)
    low = high = min(math.log(guess), top)
    reach = 0.05
    while low == high or value(low) >= 0:
        low -= reach
        reach *= 2
    reach = 0.05
    while value(high) < 0:
        if high >= top:
            return math.inf
        high = min(high + reach, top)
        reach *= 2
    return math.exp(brentq(value, low, high, xtol=1e-4))
