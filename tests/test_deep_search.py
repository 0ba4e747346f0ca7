"""The search from scratch: where it begins, how it goes on, refines and gives up."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from small_search import SMALL, blobs, factory  # noqa: E402

from linphase.deep import Search, critical_strength  # noqa: E402
from linphase.deep.crossing import Point, refinement  # noqa: E402
from linphase.deep.search import AROUND, TRIES  # noqa: E402

pytestmark = pytest.mark.usefixtures("torch_state")


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
    search.roots_near = lambda examples: ()
    found = search.scratch(refine=0, tries=1)
    assert found.trace[1].eps == pytest.approx(begin)
    paid = 3.0 if (train_loss, begin) == ("running", followed) else 10.0
    assert found.passes == pytest.approx(paid + found.trace[1].history.passes)


def test_a_root_that_following_has_paid_is_not_paid_again():
    """Where a few examples cross R nowhere, following begins at the root on all."""
    search = Search(factory, blobs(), SMALL.but(epochs=1), target=50.0)
    followed, found = search.followed, search.scratch(refine=0, tries=1)
    assert not 0 < followed.eps_star < np.inf
    assert followed.passes == sum(root.passes for root in search.roots_near(512))
    assert search.roots_near(512)[1] is search.root
    assert found.passes == pytest.approx(followed.passes + found.trace[-1].history.passes)


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
