"""Training: a loop written by hand, the record, schedules, stacks, random numbers, bad input."""

from functools import partial

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from small_runs import RECIPE, blobs, network, normed  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn.functional import cross_entropy  # noqa: E402

from linphase.deep import (  # noqa: E402
    FGM,
    Attack,
    Data,
    DivergenceError,
    Recipe,
    Stack,
    Tracker,
    evaluate,
    fgm,
    mlp,
    train,
)
from linphase.deep.evaluate import generator_on  # noqa: E402
from linphase.deep.losses import LOSSES  # noqa: E402
from linphase.streams import stream  # noqa: E402

pytestmark = pytest.mark.usefixtures("torch_state")


# ------------------------------------------------------------------------------------- a loop written by hand


def by_hand(model, data, recipe, eps, seed=0):
    """The paper's loop with the draws of `train`: weights after every epoch, and running means."""
    optimiser = torch.optim.SGD(model.parameters(), 0.2, momentum=0.9, weight_decay=5e-4)
    weights, losses = [], []
    for epoch in range(recipe.epochs):
        optimiser.param_groups[0]["lr"] = 0.2 * 0.1 ** ((epoch >= 2) + (epoch >= 4))  # 5/2 and 15/4 rounded
        order = stream(seed, "order", epoch).permutation(len(data.x))
        total = 0.0
        for start in range(0, len(order), 20):
            rows = order[start : start + 20]
            x, y = data.x[rows], data.y[rows]
            z = fgm(model, x, y, eps) if eps else x
            optimiser.zero_grad()
            loss = cross_entropy(model(z), y)
            loss.backward()
            optimiser.step()
            total += loss.item() * len(rows)
        weights.append({name: value.clone() for name, value in model.state_dict().items()})
        losses.append(total / len(order))
    return weights, losses


@pytest.mark.parametrize("eps", [0.0, 0.1])
@pytest.mark.parametrize("seed", [0, 7])
def test_a_loop_written_by_hand_gives_the_same_weights(eps, seed):
    data, recipe = blobs(), RECIPE.but(attack=FGM, select="last")
    ours, theirs = network(), network()
    history = train(ours, data, recipe, eps, seed=seed)
    weights, losses = by_hand(theirs, data, recipe, eps, seed)
    # The loop by hand rounds differently, in its cross-entropy and its steps.
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(value, weights[-1][name], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(history.train_loss, losses, rtol=1e-6)
    assert history.lr.tolist() == pytest.approx([0.2, 0.2, 0.02, 0.02, 0.002])
    best = network()
    history = train(best, data, recipe.but(select="best"), eps, seed=seed)
    for name, value in best.state_dict().items():
        torch.testing.assert_close(value, weights[history.best][name], rtol=1e-5, atol=1e-6)


def test_pgd_in_training_draws_from_the_stream_of_its_epoch():
    data, recipe = (
        blobs(),
        RECIPE.but(epochs=1, batch_size=None, select="last", weight_decay=0.0, momentum=0.0),
    )
    ours, theirs = network(), network()
    train(ours, data, recipe, 0.1, seed=3)
    rows = stream(3, "order", 0).permutation(len(data.x))
    x, y = data.x[rows], data.y[rows]
    z = recipe.attack.run(theirs, x, y, 0.1, generator=generator_on(x.device, 3, "draws", 0))
    gradients = torch.autograd.grad(cross_entropy(theirs(z), y), list(theirs.parameters()))
    for p, q, g in zip(theirs.parameters(), ours.parameters(), gradients, strict=True):
        torch.testing.assert_close(q, p - 0.2 * g, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("loss", ["trades", "mart"])
def test_pairs_are_descended_as_their_formula_says(loss):
    data, recipe = (
        blobs(),
        RECIPE.but(epochs=1, batch_size=None, select="last", weight_decay=0.0, momentum=0.0),
    )
    recipe, ours, theirs = recipe.but(loss=loss), network(), network()
    history = train(ours, data, recipe, 0.1)
    rows = stream(0, "order", 0).permutation(len(data.x))
    x, y, loss = data.x[rows], data.y[rows], LOSSES[loss]
    z = recipe.attack.run(theirs, x, y, 0.1, loss, generator=generator_on(x.device, 0, "draws", 0))
    value = loss.descent(theirs(z), y, theirs(x), loss.beta).mean()
    gradients = torch.autograd.grad(value, list(theirs.parameters()))
    assert float(history.train_loss[0]) == pytest.approx(
        float(cross_entropy(theirs(z), y).detach()), rel=1e-6
    )
    for p, q, g in zip(theirs.parameters(), ours.parameters(), gradients, strict=True):
        torch.testing.assert_close(q, p - 0.2 * g, rtol=1e-5, atol=1e-7)


# ------------------------------------------------------------------------------------------------- the record


@pytest.mark.parametrize("select", ["best", "last"])
def test_the_record_is_of_the_selected_weights(select):
    data, model = blobs(), network()
    recipe = RECIPE.but(epochs=12, lr=0.9, select=select)
    history = train(model, data, recipe, 0.1)
    assert history.best == (history.test_loss.argmin() if select == "best" else 11)
    assert select == "last" or history.best < 11  # or the case tests nothing
    judge = partial(evaluate, model, attack=recipe.attack, eps=0.1)
    assert float(judge(data.x_test, data.y_test).loss) == history.at_best("test_loss")
    assert float(judge(data.x_test, data.y_test).accuracy) == history.at_best("test_accuracy")
    assert float(judge(data.x, data.y).loss) == history.evaluated_loss
    assert float(evaluate(model, data.x_test, data.y_test).loss) == history.at_best("clean_test_loss")
    assert history.eps == np.float32(0.1)
    assert history.train_loss.shape == (12,)
    assert history.seconds > 0


def test_the_running_mean_weighs_examples_alike():
    """50 examples in batches of 20, 20 and 10; no step is taken, so it is the loss of one model."""
    data, model = blobs(), network()
    expected = float(cross_entropy(model(data.x), data.y).detach())
    history = train(model, data, RECIPE.but(epochs=1, lr=1e-12))
    assert float(history.train_loss[0]) == pytest.approx(expected, rel=1e-6)
    assert float(history.train_accuracy[0]) == float((model(data.x).argmax(1) == data.y).double().mean())


def test_passes_are_counted_as_documented():
    data = blobs(50)  # 60 of test
    plan = Attack(steps=3, restarts=2)
    monitor = RECIPE.but(epochs=2, attack=plan)
    silent = monitor.but(monitor=False, select="last")
    assert train(network(), data, silent, 0.1).passes == 2 * (6 + 1)
    assert train(network(), data, silent).passes == 2
    assert train(network(), data, silent.but(loss="trades"), 0.1).passes == 2 * (6 + 2)
    judged = 2 * (7 + 1) * 60 / 50 + 7  # attacked and clean after each epoch; the training set at the end
    assert train(network(), data, monitor, 0.1).passes == pytest.approx(2 * 7 + judged)
    assert train(network(), data, monitor.but(judged_examples=30), 0.1).passes == pytest.approx(
        2 * 7 + 2 * (7 * 30 + 60) / 50 + 7
    )
    assert train(Stack(network(), 4), data, silent, 0.1).passes == 2 * (6 + 1)


def test_no_scores_without_a_monitor():
    history = train(network(), blobs(), RECIPE.but(monitor=False, select="last"), 0.1)
    assert np.isnan(history.test_loss).all()
    assert np.isnan(history.evaluated_loss)
    assert np.isfinite(history.train_loss).all()


def test_scores_after_every_so_many_epochs_and_the_last():
    """The training is the same; of the epochs that are scored the best is kept."""
    often, seldom = (train(network(), blobs(), RECIPE.but(judged_every=k), 0.1) for k in (1, 2))
    scored = [1, 3, 4]  # of five
    assert np.array_equal(seldom.train_loss, often.train_loss)
    assert np.array_equal(np.flatnonzero(np.isfinite(seldom.test_loss)), scored)
    assert np.array_equal(seldom.test_loss[scored], often.test_loss[scored])
    assert seldom.best == scored[int(often.test_loss[scored].argmin())]
    assert seldom.passes < often.passes


def test_a_run_that_scores_seldom_goes_on_to_the_same_numbers(tmp_path):
    """Stopped between two scores; its warm-up holds the only earlier one, so the last epoch is the best."""
    plan = RECIPE.but(judged_every=3, eps_warmup=3)
    whole, lines = train(network(), blobs(), plan, 0.1), []

    def stop(line):
        lines.append(line)
        if len(lines) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(network(), blobs(), plan, 0.1, tmp_path / "run.pt", report=stop)
    again = train(network(), blobs(), plan, 0.1, tmp_path / "run.pt")
    assert again.best == whole.best == 4
    assert np.array_equal(again.train_loss, whole.train_loss)
    assert np.array_equal(again.test_loss, whole.test_loss, equal_nan=True)
    assert ["test" in line for line in lines] == [False, False, True, False]


def test_clean_training_is_judged_clean():
    history = train(network(), blobs(), RECIPE)
    assert np.array_equal(history.test_loss, history.clean_test_loss)


def test_a_report_says_each_epoch():
    lines = []
    train(network(), blobs(), RECIPE, 0.1, report=lines.append)
    assert [line.split()[1] for line in lines] == ["1/5", "2/5", "3/5", "4/5", "5/5"]
    assert "rate 0.2 " in lines[0]
    train(Stack(network(), 2), blobs(), RECIPE.but(epochs=1), 0.1, report=lines.append)


# ------------------------------------------------------------------------------------------------- schedules


@pytest.mark.parametrize(
    ("epochs", "drops"), [(200, (100, 150)), (20, (10, 15)), (4, (2, 3)), (2, (1, 2)), (1, (1, 1))]
)
def test_milestones_scale(epochs, drops):
    recipe = Recipe(epochs=epochs)
    expected = [0.1 * 0.1 ** sum(epoch >= drop for drop in drops) for epoch in range(epochs)]
    assert [recipe.rate(epoch) for epoch in range(epochs)] == pytest.approx(expected)
    assert recipe.rate(0) == 0.1


def test_warm_up():
    recipe = RECIPE.but(eps_warmup=3)
    assert [recipe.strength(0.4, epoch) for epoch in range(5)] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4])
    assert RECIPE.strength(0.4, 0) == 0.4


def test_warm_up_in_training():
    """The first epoch of a warm-up of one is that of half the strength; its test is of the whole one."""
    data, recipe = blobs(), RECIPE.but(epochs=2)
    warm = train(network(), data, recipe.but(eps_warmup=1), 0.2)
    half, whole = (train(network(), data, recipe, eps) for eps in (0.1, 0.2))
    assert warm.train_loss[0] == half.train_loss[0]
    assert half.test_loss[0] < warm.test_loss[0]
    assert whole.train_loss[0] > half.train_loss[0]


def test_no_epoch_of_the_warm_up_is_the_best():
    """Its training loss is of another ε. Here all epochs are alike, and the first that may be is the best."""
    recipe = RECIPE.but(epochs=5, eps_warmup=2, lr=1e-12, weight_decay=0.0)
    assert train(network(), blobs(), recipe.but(eps_warmup=0), 0.1).test_loss.argmin() < 2
    assert train(network(), blobs(), recipe, 0.1).best == 2


# ------------------------------------------------------------------------------------------------ divergence


def test_divergence_stops_and_keeps_the_last_good_checkpoint(tmp_path):
    data, path = blobs(), tmp_path / "a.pt"
    recipe = RECIPE.but(epochs=50, milestones=(0.04,), decay=1e30, momentum=0.0)
    with pytest.raises(DivergenceError, match=r"training diverged in epoch [3-5] at eps = 0\.1"):
        train(network(), data, recipe, 0.1, path)
    state = torch.load(path, weights_only=True)["state"]
    assert len(state["rows"]) >= 2
    assert state["rows"][:, [0, 1, 3, 5]].isfinite().all()
    assert all(value.isfinite().all() for value in state["model"].values())


def test_weights_that_burst_at_the_last_step_are_seen_without_a_monitor(tmp_path):
    data, path, model, steps = blobs(), tmp_path / "a.pt", network(), []

    def burst(gradient):
        steps.append(1)
        return gradient * (torch.inf if len(steps) == 6 else 1)  # the last of three in the second epoch

    model[1].weight.register_hook(burst)
    with pytest.raises(DivergenceError, match="training diverged in epoch 2"):
        train(model, data, RECIPE.but(monitor=False, select="last"), 0.1, path)
    assert len(torch.load(path, weights_only=True)["state"]["rows"]) == 1


# ---------------------------------------------------------------------------------------------------- stacks


@pytest.mark.parametrize("loss", ["cross-entropy", "trades", "mart"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_member_trains_as_a_network_alone(loss, norm):
    data, eps = blobs(), [0.0, 0.05, 0.2]
    recipe = RECIPE.but(loss=loss, attack=Attack(norm, 3, restarts=2), lr=0.3, precision="float64")
    stack = Stack(network(activation="tanh"), 3)
    together = train(stack, data, recipe, torch.tensor(eps, dtype=torch.float64), seed=4)
    for k, strength in enumerate(eps):
        model = network(activation="tanh")
        alone, member = train(model, data, recipe, strength, seed=4), together.member(k)
        for name, value in stack.member(k).items():
            torch.testing.assert_close(value, model.state_dict()[name].to(value), rtol=1e-7, atol=1e-9)
        for name in (
            "eps",
            "lr",
            "train_loss",
            "train_accuracy",
            "test_loss",
            "clean_test_loss",
            "evaluated_loss",
        ):
            np.testing.assert_allclose(getattr(member, name), getattr(alone, name), rtol=1e-7)
        assert member.best == alone.best
        assert member.at_best("test_loss") == pytest.approx(float(alone.at_best("test_loss")))


def test_a_stack_in_float32_and_with_dropout():
    """Masks are common to the members, and those of a network alone."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(5, 16), nn.Dropout(0.2), nn.Tanh(), nn.Linear(16, 3))
    stack = Stack(model, 2)
    together = train(stack, blobs(), RECIPE, torch.tensor([0.0, 0.1]))
    alone = train(model, blobs(), RECIPE, 0.1)
    np.testing.assert_allclose(together.member(1).train_loss, alone.train_loss, rtol=1e-4)
    np.testing.assert_allclose(together.member(1).test_loss, alone.test_loss, rtol=1e-4)


def test_one_strength_serves_all_members():
    history = train(Stack(network(), 3), blobs(), RECIPE, 0.1)
    assert history.eps.tolist() == pytest.approx([0.1] * 3)
    assert np.array_equal(history.member(0).train_loss, history.member(2).train_loss)


# ------------------------------------------------------------------------------------------ random numbers


def test_masks_of_dropout_belong_to_seed_and_epoch():
    """All examples are one, so the order does not matter, and the weights stay."""
    x, y = torch.full((20, 5), 0.5), torch.ones(20, dtype=torch.int64)
    data, recipe = Data("one", x, y, x, y, classes=3), RECIPE.but(epochs=2, batch_size=None, lr=1e-12)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.3), nn.Linear(8, 3))
    runs = [train(model, data, recipe, seed=seed) for seed in (0, 0, 1)]
    assert runs[0].train_loss[0] == runs[1].train_loss[0]
    losses = [*runs[0].train_loss, runs[2].train_loss[0]]
    assert np.ptp(losses) > 1e-3
    assert len({round(float(loss), 6) for loss in losses}) == 3


def test_training_leaves_random_states_alone():
    model, state = normed(), torch.get_rng_state()
    train(model, blobs(), RECIPE.but(epochs=1), 0.1)
    assert torch.equal(torch.get_rng_state(), state)


# ------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        ({"eps": -0.1}, ValueError, "eps must be finite and at least 0, got -0.1"),
        (
            {"eps": torch.tensor([0.1, 0.2])},
            ValueError,
            r"eps must be a number or have shape \(\), got \(2,\)",
        ),
        ({"seed": 0.5}, TypeError, "seed must be an integer, got 0.5"),
        ({"model": mlp((5, 2))}, ValueError, "y must lie in 0..1, the classes of model, got labels in 0..2"),
        ({"recipe": RECIPE.but(loss="squared")}, ValueError, r"model must return the shape \(2,\) of y"),
        (
            {"model": Stack(mlp((5, 3)), 2), "tracker": Tracker(1.0, 0.1)},
            ValueError,
            "tracker must be None for a stack",
        ),
    ],
)
def test_bad_input_has_its_sentence(changes, error, sentence):
    with pytest.raises(error, match=sentence):
        train(**({"model": mlp((5, 3)), "data": blobs(), "recipe": RECIPE} | changes))


@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        ({"epochs": 0}, ValueError, "epochs must be at least 1, got 0"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
        ({"lr": 0.0}, ValueError, "lr must be positive and finite, got 0.0"),
        ({"momentum": 1.0}, ValueError, r"momentum must be in \[0, 1\), got 1.0"),
        ({"weight_decay": -1.0}, ValueError, "weight_decay must be finite and at least 0, got -1.0"),
        ({"weight_decay": np.inf}, ValueError, "weight_decay must be finite and at least 0, got inf"),
        ({"attack": "linf"}, TypeError, "attack must be an Attack, got 'linf'"),
        ({"test_attack": 3}, TypeError, "test_attack must be an Attack or None, got 3"),
        ({"milestones": (0.75, 0.5)}, ValueError, r"milestones must be rising shares .* got \(0.75, 0.5\)"),
        ({"milestones": (100, 150)}, ValueError, "every entry of milestones must be at most 1, got 100"),
        ({"loss": "hinge"}, ValueError, "loss must be one of"),
        ({"eps_warmup": -1}, ValueError, "eps_warmup must be at least 0, got -1"),
        ({"epochs": 3, "eps_warmup": 3}, ValueError, "eps_warmup must be less than epochs = 3, got 3"),
        ({"select": "first"}, ValueError, "select must be one of 'best', 'last', got 'first'"),
        ({"monitor": False}, ValueError, "select must be 'last' where monitor is false"),
        (
            {"precision": "float16"},
            ValueError,
            "precision must be one of 'float32', 'float64', 'bfloat16', got 'float16'",
        ),
        ({"judged_every": 0}, ValueError, "judged_every must be at least 1, got 0"),
        ({"judged_examples": 0}, ValueError, "judged_examples must be at least 1, got 0"),
    ],
)
def test_bad_recipes_have_their_sentence(changes, error, sentence):
    with pytest.raises(error, match=sentence):
        Recipe(**changes)
