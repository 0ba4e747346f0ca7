"""ε* of small networks: its methods, their cost, seeds, interruption, bad input."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from small_runs import Killed  # noqa: E402
from small_search import SMALL, blobs, factory  # noqa: E402
from torch import nn  # noqa: E402

from linphase import deep  # noqa: E402
from linphase.deep import FGM, Search, Tuning, critical_strength  # noqa: E402
from linphase.deep.search import build  # noqa: E402

pytestmark = pytest.mark.usefixtures("torch_state")


@pytest.mark.parametrize("train_loss", ["running", "evaluated"])
def test_the_trace_holds_the_loss_that_was_asked_for(train_loss):
    found = critical_strength(factory, blobs(), SMALL, grid=(0.1,), refine=0, train_loss=train_loss)
    for point in found.trace:
        losses = {"running": point.history.at_best("train_loss"), "evaluated": point.history.evaluated_loss}
        assert losses["running"] != losses["evaluated"]
        assert point.loss == losses[train_loss]


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


@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        (
            {"method": "guess"},
            ValueError,
            "method must be one of 'scratch', 'finetune', 'attack-only', got 'guess'",
        ),
        ({"seeds": ()}, ValueError, r"seeds must be a nonempty sequence of integers, got \(\)"),
        ({"seeds": 3}, TypeError, "seeds must be a nonempty sequence of integers, got 3"),
        ({"seeds": ("a",)}, TypeError, "every entry of seeds must be an integer, got 'a'"),
        (
            {"grid": (0.2, 0.1)},
            ValueError,
            r"grid must be rising strengths above 0, got \(0.2, 0.1\)",
        ),
        ({"grid": (0.1, np.inf)}, ValueError, "every entry of grid must be finite and at least 0, got inf"),
        ({"grid": (0.0, 0.1)}, ValueError, "grid must be rising strengths above 0"),
        ({"grid": ()}, ValueError, "grid must be a nonempty sequence of rising strengths above 0"),
        (
            {
                "model_factory": lambda: nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3)),
                "side_by_side": True,
            },
            ValueError,
            "model must have no batch norm to be stacked",
        ),
        ({"refine": -1}, ValueError, "refine must be at least 0, got -1"),
        ({"train_loss": "mean"}, ValueError, "train_loss must be one of 'running', 'evaluated', got 'mean'"),
        ({"tolerance": 0}, ValueError, "tolerance must be positive and finite, got 0"),
        (
            {"model_factory": 3},
            TypeError,
            "model_factory must be a function without arguments .*, got 3",
        ),
        ({"trained": nn.Linear(5, 3)}, ValueError, "trained must be None for method 'scratch'"),
        (
            {"trained": nn.Linear(5, 3), "seeds": (0, 1), "method": "finetune"},
            ValueError,
            r"seeds must be one where a trained model is given, got \[0, 1\]",
        ),
        (
            {"trained": nn.Linear(5, 2), "method": "finetune"},
            ValueError,
            r"y must lie in 0..1, the classes of trained, got labels in 0..2",
        ),
        ({"recipe": SMALL.but(select="last", monitor=False)}, ValueError, "recipe must have monitor=True"),
    ],
)
def test_bad_input_has_its_sentence(changes, error, sentence):
    with pytest.raises(error, match=sentence):
        critical_strength(**({"model_factory": factory, "data": blobs(), "recipe": SMALL} | changes))
