"""Fine-tuning: ε that follows the crossing, its level, attacks that are blind, short runs."""

import copy
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from small_search import SMALL, blobs, factory  # noqa: E402
from torch import nn  # noqa: E402

from linphase import deep  # noqa: E402
from linphase.deep import FGM, Attack, Data, Recipe, Search, Tuning, critical_strength  # noqa: E402
from linphase.deep.crossing import Point  # noqa: E402

pytestmark = pytest.mark.usefixtures("torch_state")


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
    search = Search(factory, data, SMALL, seed=1)
    search.root_on = lambda examples, tolerance: above if examples < 40 else root
    assert search.finetune(Tuning(examples=20)).passes == pytest.approx(few.passes + root.passes + 30 + 2.5)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"length": 0}, "length must be positive"),
        ({"follow": 1}, "follow must be True or False, got 1"),
        ({"control": (1.0,)}, r"control must be True or False, got \(1.0,\)"),
        ({"lr": -1.0}, "lr must be positive"),
        ({"strengths": ()}, r"strengths must be a nonempty sequence of positive numbers, got \(\)"),
        ({"strengths": (0.0,)}, "every entry of strengths must be positive and finite, got 0.0"),
        ({"strengths": (np.inf,)}, "every entry of strengths must be positive and finite, got inf"),
    ],
)
def test_bad_tuning_has_its_sentence(arguments, sentence):
    with pytest.raises((ValueError, TypeError), match=sentence):
        Tuning(**arguments)
