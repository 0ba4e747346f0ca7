"""ε* of small networks: the search, its cost, seeds, interruption, bad input."""

import copy
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from small_runs import Killed  # noqa: E402
from torch import nn  # noqa: E402

from linphase import deep  # noqa: E402
from linphase.deep import FGM, Attack, Data, Recipe, Search, Tuning, critical_strength, mlp  # noqa: E402
from linphase.deep.crossing import Point, refinement  # noqa: E402
from linphase.deep.search import AROUND, TRIES, build  # noqa: E402

pytestmark = pytest.mark.usefixtures("torch_state")


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
    ("crossing", "powers"),
    [
        (0.12, (0, 1)),
        (0.15, (0, 1, 3)),
        (0.09, (0, -1)),
        (0.002, (0, -1, -3, -7, -15)),
        (1e20, [2**k - 1 for k in range(TRIES)]),
    ],
)
def test_a_search_goes_from_where_following_led_to_the_other_side(crossing, powers, monkeypatch):
    """Up while L is below R and down while it is above, by 1.3 and then by its squares."""
    search = Search(factory, blobs(), SMALL.but(epochs=1))
    search.clean = replace(search.clean, target=crossing, point=Point(0.0, 0.0))
    search.followed = replace(search.attack_only(), eps_star=0.1, passes=3.0)
    monkeypatch.setattr(search, "_loss", lambda history: float(history.eps))
    found = search.scratch(refine=0)
    tried = sorted(0.1 * 1.3**k for k in powers)
    assert [point.eps for point in found.trace] == pytest.approx([0.0, *tried])
    assert found.eps_star == pytest.approx(crossing if crossing < 1 else np.inf)
    assert found.passes == pytest.approx(3 + sum(point.history.passes for point in found.trace[1:]))


@pytest.mark.parametrize(("crossing", "stacks"), [(0.1, [1]), (0.3, [1, 3]), (0.03, [1, 1 / 3])])
def test_a_search_side_by_side_goes_on_by_stacks(crossing, stacks, monkeypatch):
    search = Search(factory, blobs(), SMALL.but(epochs=1))
    search.clean = replace(search.clean, target=crossing, point=Point(0.0, 0.0))
    begin = replace(search.attack_only(), eps_star=0.1)
    monkeypatch.setattr(search, "finetune", lambda tuning: begin)
    monkeypatch.setattr(search, "_loss", lambda history: float(history.eps))
    found = search.scratch(refine=0, side_by_side=True)
    tried = sorted(0.1 * scale * factor for scale in stacks for factor in AROUND)
    assert [point.eps for point in found.trace] == pytest.approx([0.0, *tried])
    assert found.eps_star == pytest.approx(crossing)


@pytest.mark.parametrize(
    ("train_loss", "followed", "begin"),
    [
        ("running", 0.1, 0.1),
        ("running", 0.01, 0.01),
        ("running", np.nan, 0.05),
        ("running", np.inf, 0.05),
        ("evaluated", 0.1, 0.1),
        ("evaluated", 0.01, 0.05),
        ("evaluated", np.nan, 0.05),
    ],
)
def test_a_search_begins_at_the_attack_only_root_where_following_fails(train_loss, followed, begin):
    """Where it gives no strength, or one below a root that bounds ε* from below."""
    search = Search(factory, blobs(), SMALL.but(epochs=1), train_loss=train_loss)
    search.clean = replace(search.clean, target=1.0, point=Point(0.0, 0.0))
    search.root = replace(search.attack_only(), eps_star=0.05, passes=7.0)
    search.followed = replace(search.root, eps_star=followed, passes=3.0)
    found = search.scratch(refine=0, tries=1)
    assert found.trace[1].eps == pytest.approx(begin)
    paid = 3.0 if (train_loss, begin) == ("running", followed) else 10.0
    assert found.passes == pytest.approx(paid + found.trace[1].history.passes)


def test_a_search_without_any_hint_begins_at_a_hundredth_of_the_box():
    search = Search(factory, blobs(), SMALL.but(epochs=1))
    search.clean = replace(search.clean, target=1.0, point=Point(0.0, 0.0))
    search.root = search.followed = replace(search.attack_only(), eps_star=np.inf)
    assert search.scratch(refine=0, tries=1).trace[1].eps == pytest.approx(0.01)


@pytest.mark.parametrize("side_by_side", [False, True])
def test_a_search_trains_nothing_where_the_clean_loss_exceeds_the_level(side_by_side):
    search = Search(factory, blobs(), SMALL.but(epochs=1))
    search.clean = replace(search.clean, target=search.clean.point.loss / 2)
    found = search.scratch(side_by_side=side_by_side)
    assert (found.eps_star, len(found.trace), found.passes) == (0.0, 1, 0.0)


class Pit(nn.Module):
    """On the line: right at the class centres ±¼, with a narrow pit that a full step of 0.2 jumps over."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(20.0))

    def forward(self, x):
        place = x.mean(-1) - 0.5
        pit = torch.exp(-(((place.abs() - 0.15) / 0.03) ** 2))
        score = self.scale * place.sign() * (0.2 - 0.6 * pit)
        return torch.stack((-score, score), -1)


def test_a_blind_attack_is_told_by_the_recipes():
    y = torch.arange(40) % 2
    x = 0.5 + 0.25 * (2.0 * y[:, None] - 1) + torch.zeros(40, 4)
    data, recipe = Data("two", x, y, x, y, classes=2), SMALL.but(attack=Attack(steps=20, step=0.1))
    search = Search(Pit, data, recipe)
    trail = search_trail(search)
    assert search._blind(FGM, Pit(), 0.2, 20, trail)
    assert trail.passes == pytest.approx((2 + 20 + 1) * 20 / 40)
    assert not search._blind(FGM, Pit(), 0.01, 20, trail)  # no pit so near
    assert not search._blind(Attack(steps=20), Pit(), 0.2, 20, trail)  # not weaker


def search_trail(search):
    from linphase.deep.trail import Clean, Trail

    search.__dict__["clean"] = Clean(Pit(), 1.0, Point(0.0, 0.1), 0.0)
    return Trail(search.clean)


def test_following_that_is_masked_is_repeated_by_the_recipes_attack(monkeypatch):
    recipe = SMALL.but(attack=Attack(steps=2), batch_size=20)
    by_fgm, by_pgd = (
        Search(factory, blobs(), recipe).finetune(Tuning(attack=a)) for a in (FGM, recipe.attack)
    )
    assert not by_fgm.masked
    assert not by_pgd.masked
    monkeypatch.setattr(Search, "_blind", lambda *arguments: True)
    found = Search(factory, blobs(), recipe).finetune()
    assert found.masked
    assert found.eps_star == by_pgd.eps_star != by_fgm.eps_star
    root = Search(factory, blobs(), recipe).root_on(512, 0.05).passes
    assert found.passes == pytest.approx(root + 10 * (1 + 2 + 3))  # control, FGM, PGD; the check is patched
    assert critical_strength(factory, blobs(), recipe, "finetune", seeds=(0, 1)).masked


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
    recipe, data = SMALL.but(batch_size=None), blobs().to("cpu", torch.float64)
    search = Search(factory, blobs(), recipe, train_loss="evaluated")
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


def test_the_cost_of_an_interrupted_search_holds_what_its_checkpoints_spare(tmp_path):
    options = {"grid": (0.1, 0.2), "refine": 0, "checkpoints": tmp_path}
    for _ in range(2):
        found = critical_strength(factory, blobs(), SMALL, "scratch", **options)
        assert found.seconds >= sum(point.history.seconds for point in found.trace if point.eps)


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
    recipe = SMALL.but(loss=loss, epochs=30)
    search = Search(factory, blobs(), recipe)
    data = blobs().to("cpu", torch.float64)
    R = float(deep.evaluate(search.clean.model, data.x_test, data.y_test).loss)
    assert search.clean.target == pytest.approx(R, rel=1e-12)
    root = search.attack_only().eps_star
    attacked = deep.evaluate(search.clean.model, data.x, data.y, root, recipe.attack)
    assert float(attacked.loss) == pytest.approx(R, rel=1e-2)
    assert 0 < search.finetune().eps_star < np.inf


def test_a_run_that_learns_nothing_is_repeated_with_a_longer_warm_up():
    """At so large an ε that nothing can be learned both stay at guessing; a small one is trained once."""
    recipe = SMALL.but(epochs=9, eps_warmup=3, lr=0.05)
    found = Search(factory, blobs(), recipe).scratch((0.01, 0.9), refine=0)
    assert found.repeated == (0.9,)
    assert found.passes == pytest.approx(3 * Search(factory, blobs(), recipe).scratch((0.01,), 0).passes)
    plain = Search(factory, blobs(), recipe.but(eps_warmup=0)).scratch((0.01, 0.9), refine=0)
    assert plain.repeated == ()
    longest = Search(factory, blobs(), recipe.but(eps_warmup=6)).scratch((0.9,), refine=0)
    assert longest.repeated == ()
    assert found.trace[-1].loss == longest.trace[-1].loss  # the repeated one


def test_the_level_can_be_given():
    """R of another loss's clean model, say; for a model that is given as well."""
    own = Search(factory, blobs(), SMALL)
    other = Search(factory, blobs(), SMALL, target=1.2 * own.clean.target)
    assert other.clean.target == 1.2 * own.clean.target
    assert other.attack_only().eps_star > own.attack_only().eps_star
    assert Search(factory, blobs(), SMALL, trained=own.clean.model, target=0.7).finetune().target == 0.7
    with pytest.raises(ValueError, match="target must be positive and finite, got -1"):
        Search(factory, blobs(), SMALL, target=-1)


def test_the_cost_of_a_method_holds_all_it_used():
    """Whether or not another method has paid for it."""
    first = Search(factory, blobs(), SMALL)
    alone = first.finetune()
    second = Search(factory, blobs(), SMALL)
    second.attack_only()
    assert second.finetune().passes == alone.passes
    training = 10 * (1 + 2)  # 10 epochs without an attack, and 10 of one attack step and an update
    check = (1 + 1) + (1 + 2)  # of the network under FGM and under the recipe's two steps
    assert alone.passes == pytest.approx(first.root_on(512, 0.05).passes + training + check)


def followed_levels(monkeypatch, search, tuning):
    levels = []
    follow = search._follow
    monkeypatch.setattr(
        search, "_follow", lambda t, level, *rest: levels.append(level) or follow(t, level, *rest)
    )
    search.finetune(tuning)
    return levels


def test_the_level_is_lowered_by_what_longer_training_alone_gains(monkeypatch):
    search, tuning = Search(factory, blobs(), SMALL.but(epochs=12)), Tuning(0.5)
    clean, model = search.clean, copy.deepcopy(search.clean.model)
    history = deep.train(model, blobs(), tuning.recipe(search.recipe))
    gain = clean.point.loss - history.train_loss[-2:].mean()  # of 6 epochs a quarter
    assert gain > 0.01
    assert followed_levels(monkeypatch, search, tuning) == pytest.approx([clean.target - gain])
    monkeypatch.undo()
    assert followed_levels(monkeypatch, search, replace(tuning, control=False)) == [clean.target]


def test_following_has_no_answer_where_it_did_not_arrive():
    """One epoch of small steps cannot lower the loss to so low a level; a clean loss above R is ε* = 0."""
    search = Search(factory, blobs(), SMALL)
    low = 1.01 * search.clean.point.loss
    search.clean = replace(search.clean, target=low)
    found = search.finetune(Tuning(0.1, strengths=(30.0,), lr=1e-6, control=False))
    assert np.isnan(found.eps_star)
    assert found.trace[-1].loss > 1.5 * low
    search.clean = replace(search.clean, target=0.99 * search.clean.point.loss)
    assert search.finetune(Tuning(0.1)).eps_star == 0


@pytest.mark.slow
def test_following_finds_the_crossing_of_a_schedule_that_does_not_fit():
    """20 epochs on digits, which 40 fit: by the longer training alone ε* would be 1.6 times too large."""
    ratios = []
    for seed in range(4):
        data = deep.digits(seed).subset(1400, seed)
        network = partial(deep.mlp, (64, 64, 64, 10))
        search = Search(network, data, Recipe(20, attack=Attack(steps=5)), seed)
        scratch = search.scratch(refine=1, side_by_side=True).eps_star
        ratios.append([search.finetune(Tuning(control=c)).eps_star / scratch for c in (True, False)])
    controlled, plain = np.median(ratios, axis=0)  # where R is near L(0) a ratio is of two small numbers
    assert 1 / 1.3 < controlled < 1.3
    assert plain > 1.4


def test_a_few_examples_say_where_fine_tuning_starts():
    """At their share of the cost; if they lie above R where all together do not, all are asked."""
    data = blobs()
    search = Search(factory, data, SMALL, seed=1)
    few, every = search.root_on(20, 0.05), search.root_on(40, 0.05)
    assert few.passes < every.passes
    assert few.passes % 0.5 == 0  # of 20 examples in 40
    assert search.finetune(Tuning(examples=20)).passes == pytest.approx(few.passes + 30 + 2.5)
    root, above = search.root, replace(few, eps_star=0.0)
    search.root_on = lambda examples, tolerance: above
    assert search.finetune(Tuning(examples=20)).passes == pytest.approx(few.passes + root.passes + 30 + 2.5)


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
        (
            {"grid": (0.2, 0.1)},
            ValueError,
            r"grid must be rising strengths above 0 and finite, got \[0.2, 0.1\]",
        ),
        ({"grid": (0.1, np.inf)}, ValueError, "grid must be rising strengths above 0 and finite"),
        ({"grid": (0.0, 0.1)}, ValueError, "grid must be rising strengths above 0"),
        ({"grid": ()}, ValueError, "grid must be rising strengths above 0"),
        (
            {
                "model_factory": lambda: nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3)),
                "side_by_side": True,
            },
            ValueError,
            "model must have no batch norm to be stacked",
        ),
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
        ({"follow": 1}, "follow must be True or False, got 1"),
        ({"control": (1.0,)}, r"control must be True or False, got \(1.0,\)"),
        ({"lr": -1.0}, "lr must be positive"),
        ({"strengths": ()}, r"strengths must be positive numbers, got \(\)"),
        ({"strengths": (0.0,)}, r"strengths must be positive numbers, got \(0.0,\)"),
        ({"strengths": (np.inf,)}, r"strengths must be positive numbers, got \(inf,\)"),
    ],
)
def test_bad_tuning_has_its_sentence(arguments, sentence):
    with pytest.raises((ValueError, TypeError), match=sentence):
        Tuning(**arguments)
