"""ε* of linear models in torch: the three methods meet the solver; answers 0 and inf."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from scipy.optimize import brentq

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import linphase as lp  # noqa: E402
from linphase.deep import FGM, Data, Recipe, Tuning, critical_strength  # noqa: E402

L2 = replace(FGM, norm="l2")

pytestmark = pytest.mark.usefixtures("torch_state")


class Linear(nn.Module):
    """xᵀθ without a constant."""

    def __init__(self, d):
        super().__init__()
        self.map = nn.Linear(d, 1, bias=False)

    def forward(self, x):
        return self.map(x).squeeze(-1)


class Problem:
    """Least squares with its own closed forms."""

    def __init__(self, seed, n, d):
        rng = np.random.default_rng(seed)
        self.X, theta = rng.standard_normal((n, d)), rng.standard_normal(d)
        self.y = self.X @ theta + rng.standard_normal(n)
        self.X_test = rng.standard_normal((200, d))
        self.y_test = self.X_test @ theta + rng.standard_normal(200)
        self.theta = np.linalg.lstsq(self.X, self.y)[0]
        self.d = d

    @property
    def data(self):
        arrays = (self.X, self.y, self.X_test, self.y_test)
        return Data("linear", *map(torch.from_numpy, arrays), classes=None, bounds=None)

    @property
    def model(self):
        model = Linear(self.d).double()
        with torch.no_grad():
            model.map.weight.copy_(torch.from_numpy(self.theta))
        return model

    @property
    def target(self):
        return np.mean((self.y_test - self.X_test @ self.theta) ** 2)

    @property
    def eps_star(self):
        return lp.critical_strength(self.X, self.y, X_test=self.X_test, y_test=self.y_test)

    @property
    def root(self):
        """Of ε ↦ (1/n) Σ (|r_i| + ε‖θ‖)² − R for the clean model."""
        r, size = np.abs(self.y - self.X @ self.theta), np.linalg.norm(self.theta)
        return brentq(lambda eps: np.mean((r + eps * size) ** 2) - self.target, 0, 100, xtol=1e-15)


GRADIENT_DESCENT = Recipe(
    epochs=100,
    batch_size=None,
    lr=0.1,
    momentum=0.5,
    weight_decay=0.0,
    milestones=(0.5, 0.7, 0.85),
    loss="squared",
    attack=L2,
    select="last",
    precision="float64",
    judged_examples=1,
)
EASY, HARD = partial(Problem, 5, 24, 3), partial(Problem, 20, 30, 15)


# ------------------------------------------------------------------------------------------------ the bridge


@pytest.mark.parametrize("train_loss", ["evaluated", "running"])
def test_scratch_meets_the_solver(train_loss):
    problem = EASY()
    found = critical_strength(
        partial(Linear, 3), problem.data, GRADIENT_DESCENT, train_loss=train_loss, refine=5
    )
    assert found.target == pytest.approx(problem.target, rel=1e-7)
    assert found.eps_star == pytest.approx(problem.eps_star, rel=1e-6)
    assert found.lower <= found.eps_star * (1 + 1e-9)
    assert found.upper >= found.eps_star
    assert found.method == "scratch"
    # Every point of the trace is a point of the solver's path.
    for point in found.trace:
        fit = lp.solve(lp.AdversarialProblem(problem.X, problem.y, point.eps))
        assert point.loss == pytest.approx(fit.loss, rel=1e-6)


def test_scratch_meets_the_solver_where_residuals_vanish():
    """d = n/2: the minimiser sits on kinks of the loss, and gradient descent zigzags to it."""
    problem = HARD()
    recipe = GRADIENT_DESCENT.but(epochs=250, lr=0.05)
    found = critical_strength(
        partial(Linear, 15), problem.data, recipe, train_loss="evaluated", grid=(0.43, 0.47), refine=2
    )
    assert found.eps_star == pytest.approx(problem.eps_star, rel=1e-4)


@pytest.mark.parametrize("make", [EASY, HARD])
def test_attack_only_is_the_root_of_the_clean_model(make):
    problem = make()
    found = critical_strength(
        partial(Linear, problem.d),
        problem.data,
        GRADIENT_DESCENT,
        "attack-only",
        trained=problem.model,
        tolerance=1e-12,
    )
    assert found.eps_star == pytest.approx(problem.root, rel=1e-9)
    assert found.eps_star < problem.eps_star  # a lower bound
    assert found.lower <= found.eps_star <= found.upper
    losses = {point.eps: point.loss for point in found.trace}
    slack = 1e-12 * problem.target  # the last secant step may land on the root itself
    assert losses[found.lower] <= problem.target + slack
    assert losses[found.upper] >= problem.target - slack
    assert found.clean_passes == 0
    assert found.passes == 2 * len(found.trace) - 1  # one step and one forward, none of the former at ε = 0


def test_attack_only_trains_the_clean_model_if_there_is_none():
    problem = EASY()
    found = critical_strength(
        partial(Linear, 3), problem.data, GRADIENT_DESCENT, "attack-only", tolerance=1e-10
    )
    assert found.eps_star == pytest.approx(problem.root, rel=1e-6)
    assert found.clean_passes > 0


def test_following_arrives_at_the_solver():
    """Within 0.2 %: ε moves by 5 % of the relative excess a step, and has 600 of them."""
    problem = HARD()
    recipe = GRADIENT_DESCENT.but(epochs=600, lr=0.05)
    found = critical_strength(
        partial(Linear, 15),
        problem.data,
        recipe,
        "finetune",
        trained=problem.model,
        tuning=Tuning(length=1.0, attack=L2),
    )
    assert found.eps_star == pytest.approx(problem.eps_star, rel=2e-3)
    assert found.trace[-1].loss == pytest.approx(found.target, rel=2e-3)
    assert (found.lower, found.upper) == (0.0, np.inf)


@pytest.mark.parametrize("make", [EASY, HARD])
def test_extrapolation_meets_the_solver_to_its_curvature(make):
    """Within 3 %: L is convex, and a line through strengths around the root misses its bend."""
    problem = make()
    tuning = Tuning(length=2.0, attack=L2, follow=False, strengths=(0.75, 1.0, 1.25), lr=0.5)
    found = critical_strength(
        partial(Linear, problem.d),
        problem.data,
        GRADIENT_DESCENT,
        "finetune",
        trained=problem.model,
        tuning=tuning,
    )
    assert found.eps_star == pytest.approx(problem.eps_star, rel=0.03)
    assert len(found.trace) == 4
    # The line itself, from the points that it shows.
    eps, loss = np.array([point[:2] for point in found.trace]).T
    slope, intercept = np.polyfit(eps, loss, 1)
    assert found.eps_star == pytest.approx((found.target - intercept) / slope, rel=1e-12)


# ------------------------------------------------------------------------------------------ answers 0 and inf


@pytest.mark.parametrize("method", ["scratch", "finetune", "attack-only"])
def test_nothing_below_the_clean_training_loss(method):
    """The test responses are the model's own, so R = 0 and no ε is small enough."""
    problem = EASY()
    problem.y_test = problem.X_test @ problem.theta
    assert problem.eps_star == 0
    found = critical_strength(partial(Linear, 3), problem.data, GRADIENT_DESCENT, method)
    assert (found.eps_star, found.lower) == (0, 0)
    assert len(found.trace) == 1


def test_above_every_strength_tried():
    """R is larger than the loss of θ = 0, which no minimiser exceeds."""
    problem = EASY()
    problem.y_test = problem.y_test + 100
    assert problem.eps_star == np.inf
    found = critical_strength(partial(Linear, 3), problem.data, GRADIENT_DESCENT, grid=(0.1, 0.5))
    assert (found.eps_star, found.lower, found.upper) == (np.inf, 0.5, np.inf)
    assert [point.eps for point in found.trace] == [0, 0.1, 0.5]


@pytest.mark.parametrize(("norm", "farthest"), [("linf", 1.0), ("l2", 3**0.5)])
def test_no_attack_in_the_box_reaches_the_level(norm, farthest):
    x, y = torch.rand(20, 3, dtype=torch.float64), torch.zeros(20, dtype=torch.float64)
    data = Data("box", x, y, x, y + 100, classes=None)
    model = Linear(3).double()
    recipe = GRADIENT_DESCENT.but(attack=replace(L2, norm=norm))
    for method in ("attack-only", "finetune"):
        found = critical_strength(partial(Linear, 3), data, recipe, method, trained=model)
        assert (found.eps_star, found.upper) == (np.inf, np.inf)
        assert found.lower == pytest.approx(farthest)
