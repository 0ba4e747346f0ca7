"""ε* of networks: the bridge to the linear solver, crossings, answers 0 and inf, seeds, interruption."""

import copy
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from scipy.optimize import brentq

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import linphase as lp  # noqa: E402
from linphase import deep  # noqa: E402
from linphase.deep import FGM, Attack, Data, Recipe, Search, Tuning, critical_strength, mlp  # noqa: E402
from linphase.deep.crossing import CriticalStrength, Point, crossing, refinement, summary  # noqa: E402
from linphase.deep.search import AROUND, TRIES, build  # noqa: E402

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
    assert found.upper - found.lower < 1e-6 * found.eps_star
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


# -------------------------------------------------------------------------------------------------- crossings


@pytest.mark.parametrize(
    ("trace", "expected"),
    [
        ([(0, 0), (1, 2)], (0.5, 0, 1)),
        ([(1, 2), (0, 0)], (0.5, 0, 1)),  # in any order
        ([(0, 0), (1, 1), (3, 2)], (1, 1, 3)),  # at the level
        ([(0, 0), (1, 1.5), (2, 0.5), (4, 2), (5, 9)], (2, 2, 4)),  # where it falls, neighbours are pooled
        ([(0, 0), (1, 3), (2, 1), (4, 2), (5, 9)], (0.5, 0, 1)),
        ([(0, 1.5), (1, 0), (3, 1.25)], (2, 1, 3)),
        ([(0, 2), (1, 3)], (0, 0, 0)),  # none
        ([(1, 2), (2, 3)], (0, 0, 1)),
        ([(0, 0), (1, 0.5)], (np.inf, 1, np.inf)),  # all below
        ([(0, 0), (1, 1.5), (2, 0.5)], (np.inf, 2, np.inf)),
        ([(0, 1)], (np.inf, 0, np.inf)),
    ],
)
def test_crossings(trace, expected):
    assert crossing(trace, 1.0) == expected


def test_a_finer_grid_does_not_raise_a_noisy_crossing():
    """L(ε) = ε with errors of .3, R = 1: the supremum of the bare points rises by .3 from 8 points to 60."""
    rng = np.random.default_rng(0)
    means, bare = [], []
    for points in (8, 60):
        grid = np.linspace(0.1, 2, points)
        traces = [np.column_stack((grid, grid + 0.3 * rng.standard_normal(points))) for _ in range(400)]
        means.append(np.mean([crossing(trace.tolist(), 1.0)[0] for trace in traces]))
        bare.append(np.mean([trace[trace[:, 1] <= 1, 0].max(initial=0) for trace in traces]))
    assert means == pytest.approx([1, 1], abs=0.06)  # standard error .01
    assert bare[1] - bare[0] > 0.25


@pytest.mark.parametrize(
    ("trace", "expected"),
    [
        ([(0, 0), (1, 2)], 0.5),
        ([(0, 0), (1, 0.5), (4, 2)], 2.0),
        ([(1, 0.8), (4, 20)], 2.0),  # the line's is 1.03, and the loss there is not near R: the middle
        ([(1, 0.0), (4, 1.2)], 2.0),
        ([(0, 0.8), (4, 20)], 2.0),
        ([(1, 0.95), (4, 20)], 1 + 3 * 0.05 / 19.05),  # near R: the line's
    ],
)
def test_where_to_refine(trace, expected):
    assert refinement(trace, 1.0) == pytest.approx(expected)


def test_refinement_closes_in_on_a_jump():
    """As where training fails from some ε on: a line through the ends would creep up from the left."""
    trace = [(1.0, 0.1), (4.0, 20.0)]
    for _ in range(6):
        eps = refinement(trace, 1.0)
        trace.append((eps, 0.1 if eps < 3.3 else 20.0))
    _, left, right = crossing(trace, 1.0)
    assert left < 3.3 < right
    assert right / left < 1.05


def test_the_summary_of_seeds():
    def result(eps, lower, upper):
        return CriticalStrength(eps, lower, upper, (), eps + 1, "scratch", 2.0, 3.0, 4.0)

    runs = [result(1.0, 0.5, 1.5), result(3.0, 2.5, 3.5), result(np.inf, 9.0, np.inf)]
    whole = summary(runs)
    assert (whole.eps_star, whole.lower, whole.upper) == (3.0, 0.5, np.inf)
    assert (whole.seconds, whole.passes, whole.clean_passes) == (6.0, 9.0, 12.0)
    assert whole.runs == tuple(runs)
    assert whole.trace == ()


# ------------------------------------------------------------------------------------------- small networks


def blobs(seed=0):
    """Three classes that overlap, in [0, 1]⁵."""
    g = torch.Generator().manual_seed(seed)
    centres = torch.rand(3, 5, generator=g)
    y, y_test = (torch.randint(3, (n,), generator=g) for n in (40, 200))
    x, x_test = (
        (centres[labels] + 0.25 * torch.randn(len(labels), 5, generator=g)).clamp(0, 1)
        for labels in (y, y_test)
    )
    return Data("blobs", x, y, x_test, y_test, classes=3)


SMALL = Recipe(
    epochs=10, batch_size=10, lr=0.2, attack=Attack(steps=2), precision="float64", weight_decay=0.0
)
factory = partial(mlp, (5, 8, 3))


@pytest.mark.parametrize("grid", [None, (0.05, 0.1, 0.2)])
def test_side_by_side_agrees_with_one_by_one(grid):
    """Where the strengths are given; by default the two try and refine by strengths of their own."""
    runs = [
        critical_strength(factory, blobs(), SMALL, grid=grid or (0.1, 0.2, 0.3), refine=0, side_by_side=flag)
        for flag in (False, True)
    ]
    assert 0 < runs[0].eps_star < np.inf
    assert runs[1].eps_star == pytest.approx(runs[0].eps_star, rel=1e-6)
    assert all(point.history.eps == point.eps for run in runs for point in run.trace)
    for one, other in zip(runs[0].trace, runs[1].trace, strict=True):
        assert other.eps == pytest.approx(one.eps, rel=1e-6)
        assert other.loss == pytest.approx(one.loss, rel=1e-6)
        assert other.history.best == one.history.best
    assert runs[1].passes == pytest.approx(runs[0].passes)


@pytest.mark.parametrize(
    ("crossing", "powers"), [(0.15, (0, 1, 2)), (0.09, (0, -1)), (0.105, (0, 1)), (99.0, range(TRIES))]
)
def test_a_search_goes_from_where_following_led_to_the_other_side(crossing, powers, monkeypatch):
    """By factors of 1.3, up while L is below R and down while it is above."""
    search = Search(factory, blobs(), SMALL.but(epochs=1))
    search.clean = replace(search.clean, target=crossing, point=Point(0.0, 0.0))
    search.followed = replace(search.attack_only(), eps_star=0.1, passes=3.0)
    monkeypatch.setattr(search, "_loss", lambda history: float(history.eps))
    found = search.scratch(refine=0)
    tried = sorted(0.1 * 1.3**k for k in powers)
    assert [point.eps for point in found.trace] == pytest.approx([0.0, *tried])
    assert found.eps_star == pytest.approx(crossing if crossing < 99 else np.inf)
    assert found.passes == pytest.approx(3 + sum(point.history.passes for point in found.trace[1:]))


@pytest.mark.parametrize(("crossing", "stacks"), [(0.1, [1.0]), (0.3, [1.0, 2.5]), (0.03, [1.0, 0.4])])
def test_a_search_side_by_side_goes_on_by_stacks(crossing, stacks, monkeypatch):
    search = Search(factory, blobs(), SMALL.but(epochs=1))
    search.clean = replace(search.clean, target=crossing, point=Point(0.0, 0.0))
    search.followed = replace(search.attack_only(), eps_star=0.1)
    monkeypatch.setattr(search, "_loss", lambda history: float(history.eps))
    found = search.scratch(refine=0, side_by_side=True)
    tried = sorted(0.1 * scale * factor for scale in stacks for factor in AROUND)
    assert [point.eps for point in found.trace] == pytest.approx([0.0, *tried])
    assert found.eps_star == pytest.approx(crossing)


@pytest.mark.parametrize("side_by_side", [False, True])
def test_a_search_trains_nothing_where_the_clean_loss_exceeds_the_level(side_by_side):
    search = Search(factory, blobs(), SMALL.but(epochs=1))
    search.clean = replace(search.clean, target=search.clean.point.loss / 2)
    found = search.scratch(side_by_side=side_by_side)
    assert (found.eps_star, len(found.trace), found.passes) == (0.0, 1, 0.0)


@pytest.mark.parametrize("train_loss", ["running", "evaluated"])
def test_the_trace_holds_the_loss_that_was_asked_for(train_loss):
    found = critical_strength(factory, blobs(), SMALL, grid=(0.1,), refine=0, train_loss=train_loss)
    for point in found.trace:
        losses = {"running": point.history.at_best("train_loss"), "evaluated": point.history.evaluated_loss}
        assert losses["running"] != losses["evaluated"]
        assert point.loss == losses[train_loss]


@pytest.mark.parametrize("tuning", [Tuning(0.1, lr=1e-12), Tuning(0.1, FGM, False, (1.5,), lr=1e-12)])
def test_fine_tuning_starts_from_the_clean_model_and_leaves_it(tuning):
    """Without a step its loss is that of the attacked clean model; with steps the search keeps that model."""
    search, data = Search(factory, blobs(), SMALL.but(batch_size=None)), blobs().to("cpu", torch.float64)
    eps = 1.5 * search.root_on(512, 0.05).eps_star
    attacked = deep.evaluate(search.clean.model, data.x, data.y, eps, FGM)
    assert search.finetune(tuning).trace[-1][:2] == pytest.approx((eps, float(attacked.loss)), rel=1e-9)
    before = copy.deepcopy(search.clean.model.state_dict())
    search.finetune(replace(tuning, lr=1.0))
    assert all(torch.equal(value, before[name]) for name, value in search.clean.model.state_dict().items())


def test_a_stack_refines_evenly_inside_the_bracket():
    call = partial(critical_strength, factory, blobs(), SMALL, grid=(0.2, 0.4), side_by_side=True)
    coarse, fine = call(refine=0), call(refine=1)
    new = sorted({point.eps for point in fine.trace} - {point.eps for point in coarse.trace})
    assert new == pytest.approx(np.linspace(coarse.lower, coarse.upper, 6)[1:-1])
    assert fine.upper - fine.lower == pytest.approx((coarse.upper - coarse.lower) / 5)


def test_refinement_goes_to_the_crossing():
    coarse = critical_strength(factory, blobs(), SMALL, grid=(0.2, 0.4), refine=0)
    fine = critical_strength(factory, blobs(), SMALL, grid=(0.2, 0.4), refine=1)
    new = {point.eps for point in fine.trace} - {point.eps for point in coarse.trace}
    assert new == {refinement(coarse.trace, coarse.target)}
    assert fine.upper - fine.lower < coarse.upper - coarse.lower
    assert fine.passes > coarse.passes


def test_several_seeds():
    both = critical_strength(factory, blobs(), SMALL, "attack-only", seeds=(0, 1))
    single = [critical_strength(factory, blobs(), SMALL, "attack-only", seeds=(seed,)) for seed in (0, 1)]
    assert [run.eps_star for run in both.runs] == [run.eps_star for run in single]
    assert single[0].eps_star != single[1].eps_star
    assert both.eps_star == pytest.approx(np.mean([run.eps_star for run in single]))


def test_a_seed_fixes_the_network_and_leaves_torch_alone():
    state = torch.get_rng_state()
    a, b, c = build(factory, 0), build(factory, 0), build(factory, 1)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(a[1].weight, b[1].weight)
    assert not torch.equal(a[1].weight, c[1].weight)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("scratch", {"grid": (0.1, 0.2, 0.3)}),
        ("scratch", {"grid": (0.1, 0.2, 0.3), "side_by_side": True}),
        ("finetune", {"tuning": Tuning(1.0)}),
        ("finetune", {"tuning": Tuning(1.0, FGM, False, (0.5, 1.0))}),
        ("attack-only", {}),
    ],
)
def test_an_interrupted_search_comes_to_the_same(tmp_path, method, options):
    whole = critical_strength(factory, blobs(), SMALL, method, **options)

    class Killed(Exception):  # noqa: N818
        pass

    def counting(limit):
        said = []

        def report(line):
            said.append(line)
            if len(said) == limit:
                raise Killed

        return report

    interruptions = 0
    for limit in (3, 5, 9, 12, 99):
        try:
            found = critical_strength(
                factory, blobs(), SMALL, method, checkpoints=tmp_path, report=counting(limit), **options
            )
        except Killed:
            interruptions += 1
    assert interruptions >= 2
    assert found.eps_star == whole.eps_star
    assert (found.target, found.passes, found.clean_passes) == (
        whole.target,
        whole.passes,
        whole.clean_passes,
    )
    assert [point[:2] for point in found.trace] == [point[:2] for point in whole.trace]


def test_methods_of_one_search_share_a_folder(tmp_path):
    """Fine-tuning with the settings of training starts elsewhere and must not be taken for it."""
    recipe = SMALL.but(select="last", monitor=False, attack=FGM)
    model = build(factory, 0)
    deep.train(model, blobs(), SMALL)
    options = {"trained": model, "tuning": Tuning(1.0, FGM, False, (1.0,))}
    found = critical_strength(factory, blobs(), recipe, "finetune", checkpoints=tmp_path, **options)
    deep.train(model, blobs(), SMALL)  # a better one
    again = critical_strength(factory, blobs(), recipe, "finetune", checkpoints=tmp_path, **options)
    assert again.trace[-1].loss != found.trace[-1].loss
    for strength in (1.0, 1.5):  # followed from two starts
        critical_strength(
            factory,
            blobs(),
            recipe,
            "finetune",
            checkpoints=tmp_path,
            trained=model,
            tuning=Tuning(1.0, strengths=(strength,)),
        )


@pytest.mark.parametrize("epochs", [1, 2, 3, 5])
def test_short_schedules_have_an_answer(epochs):
    """Their tail is shorter than an epoch."""
    model = build(factory, 0)
    deep.train(model, blobs(), SMALL)
    recipe = SMALL.but(epochs=epochs)
    found = critical_strength(factory, blobs(), recipe, "finetune", trained=model)
    assert 0 < found.eps_star < 1
    assert found.lower <= found.eps_star <= found.upper


def test_the_given_model_is_left_alone():
    model = build(factory, 0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for method in ("finetune", "attack-only"):
        critical_strength(factory, blobs(), SMALL, method, trained=model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(("precision", "same"), [("float32", True), ("bfloat16", False)])
def test_the_clean_model_is_scored_in_the_precision_of_the_recipe(monkeypatch, precision, same):
    from linphase.deep import search as module

    seen = []

    def spying(model, x, *rest):
        forward = rest[-1]
        seen.append((torch.equal(forward(x), model(x)), forward(x).dtype))
        return score(model, x, *rest)

    score = module.score
    monkeypatch.setattr(module, "score", spying)
    critical_strength(factory, blobs(), SMALL.but(precision=precision), "attack-only")
    assert set(seen) == {(same, torch.float32)}


@pytest.mark.parametrize("loss", ["trades", "mart"])
def test_trades_and_mart_are_judged_by_cross_entropy(loss):
    recipe = SMALL.but(loss=loss)
    search = Search(factory, blobs(), recipe)
    data = blobs().to("cpu", torch.float64)
    R = float(deep.evaluate(search.clean.model, data.x_test, data.y_test).loss)
    assert search.clean.target == pytest.approx(R, rel=1e-12)
    root = search.attack_only().eps_star
    attacked = deep.evaluate(search.clean.model, data.x, data.y, root, recipe.attack)
    assert float(attacked.loss) == pytest.approx(R, rel=1e-2)
    assert 0 < search.finetune().eps_star < np.inf


def test_the_cost_of_a_method_holds_all_it_used():
    """Whether or not another method has paid for it."""
    first = Search(factory, blobs(), SMALL)
    alone = first.finetune()
    second = Search(factory, blobs(), SMALL)
    second.attack_only()
    assert second.finetune().passes == alone.passes
    training = 10 * 2  # epochs of one attack step and an update
    assert alone.passes == pytest.approx(first.root_on(512, 0.05).passes + training)


def test_a_few_examples_say_where_fine_tuning_starts():
    """At their share of the cost; if they lie above R where all together do not, all are asked."""
    data = blobs()
    search = Search(factory, data, SMALL, seed=1)
    few, every = search.root_on(20, 0.05), search.root_on(40, 0.05)
    assert few.passes < every.passes
    assert few.passes % 0.5 == 0  # of 20 examples in 40
    assert search.finetune(Tuning(examples=20)).passes == pytest.approx(few.passes + 20)
    root, above = search.root, replace(few, eps_star=0.0)
    search.root_on = lambda examples, tolerance: above
    assert search.finetune(Tuning(examples=20)).passes == pytest.approx(few.passes + root.passes + 20)


@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        (
            {"method": "guess"},
            ValueError,
            "method must be one of scratch, finetune, attack-only, got 'guess'",
        ),
        ({"seeds": ()}, ValueError, r"seeds must be a sequence of integers, got \(\)"),
        ({"seeds": 3}, ValueError, "seeds must be a sequence of integers, got 3"),
        ({"seeds": ("a",)}, TypeError, "seed must be an integer, got 'a'"),
        ({"grid": (0.2, 0.1)}, ValueError, r"grid must be rising strengths above 0, got \[0.2, 0.1\]"),
        ({"grid": (0.0, 0.1)}, ValueError, "grid must be rising strengths above 0"),
        ({"grid": ()}, ValueError, "grid must be rising strengths above 0"),
        ({"refine": -1}, ValueError, "refine must be at least 0, got -1"),
        ({"train_loss": "mean"}, ValueError, "train_loss must be one of running, evaluated, got 'mean'"),
        ({"tolerance": 0}, ValueError, "tolerance must be positive and finite, got 0"),
        ({"model_factory": 3}, TypeError, "model_factory must be callable, got 3"),
        ({"trained": nn.Linear(5, 3)}, ValueError, "trained must be None for method 'scratch'"),
        (
            {"trained": nn.Linear(5, 3), "seeds": (0, 1), "method": "finetune"},
            ValueError,
            r"seeds must be one where a trained model is given, got \[0, 1\]",
        ),
        (
            {"trained": nn.Linear(5, 2), "method": "finetune"},
            ValueError,
            r"y must lie in the model's classes 0..1, got labels in 0..2",
        ),
        ({"recipe": SMALL.but(select="last", monitor=False)}, ValueError, "recipe must have monitor=True"),
    ],
)
def test_bad_input_has_its_sentence(changes, error, sentence):
    with pytest.raises(error, match=sentence):
        critical_strength(**({"model_factory": factory, "data": blobs(), "recipe": SMALL} | changes))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"length": 0}, "length must be positive"),
        ({"lr": -1.0}, "lr must be positive"),
        ({"strengths": ()}, r"strengths must be positive numbers, got \(\)"),
        ({"strengths": (0.0,)}, r"strengths must be positive numbers, got \(0.0,\)"),
    ],
)
def test_bad_tuning_has_its_sentence(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        Tuning(**arguments)
