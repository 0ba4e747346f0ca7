"""The two-layer network of Proposition 1, its adversarial training, and the linear model it becomes.

    f(x) = h^(-1/2) Σ_j a_j φ(x'θ_j),   a_j = ±1 fixed,   θ_j(0) ~ N(0, I / (d h^(1 + ξ))).

Close to 0 the network is the linear model with the effective coefficient β = φ'(0) h^(-1/2) Σ_j a_j θ_j, and
descent on θ with step η moves β as linear descent with step η φ'(0)²: its linear twin. This needs φ(0) = 0 or
Σ_j a_j = 0; otherwise the offset φ(0) h^(-1/2) Σ_j a_j stays.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from linphase._kernels import two_layer as kernel
from linphase.checks import (
    Array,
    check_choice,
    check_count,
    check_kind,
    check_nonnegative,
    check_numbers,
    check_real,
    check_rng,
    check_steps,
)
from linphase.descent import Trajectory, critical_step, gradient_descent
from linphase.problem import AdversarialProblem


@dataclass(frozen=True)
class Activation:
    """A smooth activation φ: call it for its values.

    Attributes
    ----------
    name : str
    code : int
        Its number in the kernel, which holds φ - φ(0) and φ'.
    at_zero, slope : float
        φ(0) and φ'(0).
    """

    name: str
    code: int
    at_zero: float
    slope: float

    def __call__(self, z: ArrayLike) -> Array:
        """Return φ(z), of the shape of z; NaN where z is NaN."""
        values, _ = self._evaluate(z)
        return np.asarray(values + self.at_zero)

    def derivative(self, z: ArrayLike) -> Array:
        """Return φ'(z), of the shape of z; NaN where z is NaN."""
        _, slopes = self._evaluate(z)
        return slopes

    def _evaluate(self, z: ArrayLike) -> tuple[Array, Array]:
        values = check_numbers("z", z).copy()
        slopes = np.empty_like(values)
        kernel.activate(self.code, values.reshape(-1), slopes.reshape(-1))
        return values, slopes


ACTIVATIONS = {
    activation.name: activation
    for activation in (
        Activation("tanh", kernel.TANH, 0.0, 1.0),
        Activation("erf", kernel.ERF, 0.0, 2 / math.sqrt(math.pi)),
        Activation("softplus", kernel.SOFTPLUS, 0.0, 0.5),  # log((1 + e^z) / 2)
        Activation("raw-softplus", kernel.SOFTPLUS, math.log(2), 0.5),  # log(1 + e^z)
        Activation("quadratic", kernel.QUADRATIC, 0.0, 1.0),  # z + z²/2
        Activation("linear", kernel.LINEAR, 0.0, 1.0),
    )
}


@dataclass(frozen=True, eq=False)
class TwoLayerNet:
    """A trained network and its way there.

    Attributes
    ----------
    problem : AdversarialProblem
    activation : Activation
    theta : (h, d)
        Final first layer, a row for each hidden unit.
    signs : (h,)
        Second layer a.
    beta : (n_steps + 1, d)
        Effective coefficient at the start and after every update.
    losses : (n_steps + 1,)
        Adversarial training loss, a mean over rows, under the attack that was trained against.
    predictions : (n_steps + 1, m)
        f at the ``points``.
    step : (n_steps,)
        Step size η of each update of θ.
    attack_steps : int
        Of the attack trained against; 1 is FGM.
    """

    problem: AdversarialProblem
    activation: Activation
    theta: Array
    signs: Array
    beta: Array
    losses: Array
    predictions: Array
    step: Array
    attack_steps: int

    @cached_property
    def twin(self) -> Trajectory:
        """Linear descent on the same problem from β(0) with step η φ'(0)²; computed when first asked for."""
        step = self.step * self.activation.slope**2
        return gradient_descent(self.problem, step, len(step), start=self.beta[0])

    def predict(self, X: ArrayLike) -> Array:
        """Predictions (m,) of the trained network at X (m, d)."""
        return self._forward(_points(X, self.problem.d))

    def loss(
        self,
        problem: AdversarialProblem | None = None,
        attack: str | None = None,
        attack_steps: int = 20,
    ) -> float:
        """Adversarial loss of the trained network, a mean over rows.

        Parameters
        ----------
        problem : AdversarialProblem, optional
            Data and strength, for example fresh data, or the training data at ε = 0; by default the problem
            it was trained on.
        attack, attack_steps
            As in `two_layer_descent`; by default the attack it was trained against.
        """
        problem = self.problem if problem is None else _check_problem(problem)
        steps = self.attack_steps if attack is None else _attack_steps(attack, attack_steps)
        X = _points(problem.X, self.problem.d)
        y, eps, W, v, c = problem.y, problem.eps, *self._weights()
        P, f, G = np.empty_like(X), np.empty(len(X)), np.empty_like(X)
        kernel.attack(self.activation.code, X, y, eps, W, v, c, steps, P, f, G)
        return float(((self._forward(P) - y) ** 2).mean())

    def _forward(self, points: Array) -> Array:
        f = np.empty(len(points))
        no_gradients = np.empty((0, 0)), np.empty((0, 0, 0))
        kernel.forward(self.activation.code, points, *self._weights(), f, *no_gradients)
        return f

    def _weights(self) -> tuple[Array, Array, float]:
        return np.ascontiguousarray(self.theta.T), *_second_layer(self.signs, self.activation)


def two_layer_descent(
    problem: AdversarialProblem,
    width: int,
    rng: np.random.Generator,
    *,
    activation: str = "tanh",
    signs: str = "random",
    init: str = "vanishing",
    xi: float = 1.0,
    step: ArrayLike | None = None,
    n_steps: int = 100,
    attack: str = "fgm",
    attack_steps: int = 20,
    points: ArrayLike | None = None,
) -> TwoLayerNet:
    """Train the first layer of a two-layer network by full-batch descent on the adversarial squared loss.

    Each update attacks all rows, then moves θ by -η times the gradient of (1/n) Σ (f(x_i + z_i) - y_i)² with
    the attack z held fixed. The same state of rng gives the same initial θ at any ε, activation and choice of
    signs. Memory is about 8 (n + 2 d) h bytes.

    Parameters
    ----------
    problem : AdversarialProblem
    width : int
        Hidden units h.
    rng : numpy.random.Generator
        The initial weights; see `linphase.streams.stream`.
    activation : str
        One of `ACTIVATIONS`: "tanh", "erf", "softplus" (centred), "raw-softplus" (φ(0) = log 2), "quadratic"
        (z + z²/2), "linear".
    signs : {"random", "balanced", "equal"}
        Second layer: independent fair signs, as many of either sign (even width), or all +1.
    init : {"vanishing", "lazy"}
        θ_j(0) ~ N(0, I / (d h^(1 + ξ))), or the customary N(0, I / d), under which x'θ_j does not vanish.
    xi : float
        ξ ≥ 0; "lazy" ignores it.
    step : float or (n_steps,), optional
        Step size η of θ, or one for each update. By default the one that gives the twin its default: half of
        `critical_step` over φ'(0)².
    n_steps : int
        Number of updates.
    attack : {"fgm", "pgd"}
        Inner maximisation in the L2 ball of radius ε. FGM moves each row by ε along ± the gradient of f in x,
        the way that enlarges its residual (exact to first order in ε). PGD goes on from there with steps
        ε/√2, ε/√3, …, each projected on the ball, and keeps the best point met: on the same network it never
        does worse.
    attack_steps : int
        Number of PGD steps.
    points : (m, d), optional
        Where the predictor is recorded at every step.

    Returns
    -------
    TwoLayerNet

    Raises
    ------
    TypeError, ValueError
        If an argument is not of these.
    FloatingPointError
        If the weights or losses are not finite: the step is too large.
    """
    _check_problem(problem)
    width = check_count("width", width)
    check_rng(rng)
    phi = ACTIVATIONS[check_choice("activation", activation, tuple(ACTIVATIONS))]
    check_choice("signs", signs, ("random", "balanced", "equal"))
    if signs == "balanced" and width % 2:
        raise ValueError(f"width must be even for signs='balanced', got {width}")
    check_choice("init", init, ("vanishing", "lazy"))
    xi = check_nonnegative("xi", xi)
    n_steps = check_count("n_steps", n_steps)
    if step is None:
        critical = critical_step(problem)
        step = critical / 2 / phi.slope**2 if math.isfinite(critical) else 1.0
    steps = check_steps(step, n_steps)
    ascent = _attack_steps(attack, attack_steps)
    record = np.empty((0, problem.d)) if points is None else _points(points, problem.d, "points")

    W = rng.standard_normal((problem.d, width))
    W *= (1 if init == "lazy" else width ** (-(1 + xi) / 2)) / math.sqrt(problem.d)
    a = np.ones(width)
    if signs == "random":
        a = rng.choice([-1.0, 1.0], width)
    elif signs == "balanced":
        a[::2] = -1.0

    sums = np.empty((n_steps + 1, problem.d))
    losses = np.empty(n_steps + 1)
    predictions = np.empty((n_steps + 1, len(record)))
    data = phi.code, problem.X, problem.y, problem.eps
    kernel.descend(*data, W, *_second_layer(a, phi), steps, ascent, record, sums, losses, predictions)
    finite = np.isfinite(sums).all(axis=1) & np.isfinite(losses)
    if not finite.all():
        raise FloatingPointError(
            f"the network diverged at step {finite.argmin()}: step is up to {steps.max():.6g}, the critical "
            f"one of its linear twin is {critical_step(problem) / phi.slope**2:.6g}"
        )
    return TwoLayerNet(problem, phi, W.T, a, phi.slope * sums, losses, predictions, steps, ascent)


def _second_layer(signs: Array, activation: Activation) -> tuple[Array, float]:
    """Output weights a / √h and the offset φ(0) Σ a / √h."""
    v = signs / math.sqrt(len(signs))
    return v, activation.at_zero * float(v.sum())


def _attack_steps(attack: str, attack_steps: int) -> int:
    check_choice("attack", attack, ("fgm", "pgd"))
    steps = check_count("attack_steps", attack_steps)
    return steps if attack == "pgd" else 1


def _points(X: ArrayLike, d: int, name: str = "X") -> Array:
    points = check_real(name, X, 2)
    if points.shape[1] != d:
        raise ValueError(f"{name} must have {d} columns, got shape {points.shape}")
    return points


def _check_problem(problem: AdversarialProblem) -> AdversarialProblem:
    return check_kind("problem", problem, AdversarialProblem, "an AdversarialProblem")
