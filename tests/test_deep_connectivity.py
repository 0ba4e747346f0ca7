"""Paths between networks, planes through three of them, the batch norm of points between: exact cases."""

import copy
import json
import math
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from linphase import deep  # noqa: E402
from linphase.deep.search import build  # noqa: E402
from linphase.deep.surface import Surface  # noqa: E402

SIMULATIONS = Path(__file__).resolve().parents[1] / "simulations"
RECIPE = deep.Recipe(epochs=3, batch_size=16, lr=0.1, attack=deep.Attack(steps=2))
NORMED = partial(
    nn.Sequential, nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3), nn.Dropout(0.1)
)


def plain():
    return deep.mlp((6, 8, 3))


def normed():
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


@pytest.fixture(scope="module")
def data():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(90, 6, generator=generator), torch.randint(0, 3, (90,), generator=generator)
    return deep.Data("toy", x[:50], y[:50], x[50:], y[50:], classes=3)


def trained(factory, data, seed, epochs=5):
    model = build(factory, seed)
    deep.train(model, data, RECIPE.but(epochs=epochs), seed=seed)
    return model


@pytest.fixture(scope="module")
def pair(data):
    return trained(plain, data, 1), trained(plain, data, 2)


@pytest.fixture(scope="module")
def normed_pair(data):
    return trained(normed, data, 1), trained(normed, data, 2)


def weights(model):
    return {name: value.detach() for name, value in model.named_parameters()}


# ------------------------------------------------------------------------------------------------- curves


@pytest.mark.parametrize("kind", ["bezier", "chain"])
@pytest.mark.parametrize("bends", [1, 3])
def test_a_curve_starts_straight_and_ends_at_the_networks(pair, kind, bends):
    curve = deep.Curve(*pair, kind=kind, bends=bends)
    first, last = map(weights, pair)
    for t in (0.0, 0.3, 1.0):
        assert sum(curve.coefficients(t)) == pytest.approx(1)
        for name, value in curve.weights(t).items():
            torch.testing.assert_close(value.detach(), (1 - t) * first[name] + t * last[name])


def test_a_bezier_curve_is_the_polynomial_and_a_chain_passes_its_bend(pair):
    third = weights(build(plain, 9))
    curves = {kind: deep.Curve(*pair, kind=kind) for kind in ("bezier", "chain")}
    first, last = map(weights, pair)
    for curve in curves.values():
        for name, bend in zip(curve.names, curve.bends, strict=True):
            bend.data[0] = third[name]
    for name in first:
        expected = 0.49 * first[name] + 0.42 * third[name] + 0.09 * last[name]
        torch.testing.assert_close(curves["bezier"].weights(0.3)[name].detach(), expected)
        expected = 0.4 * first[name] + 0.6 * third[name]
        torch.testing.assert_close(curves["chain"].weights(0.3)[name].detach(), expected)
    torch.testing.assert_close(weights(curves["chain"].network(0.5)), weights(curves["chain"].bend()))


def test_only_bends_are_trained_and_gradients_reach_them_by_their_share(pair, data):
    curve = deep.Curve(*pair)
    assert {name.split(".")[0] for name, _ in curve.named_parameters()} == {"bends"}
    t = 0.3
    curve(data.x, t).square().sum().backward()
    network = curve.network(t)
    network(data.x).square().sum().backward()
    for bend, own in zip(curve.bends, network.parameters(), strict=True):
        torch.testing.assert_close(bend.grad[0], 2 * t * (1 - t) * own.grad)


# ------------------------------------------------------------------------------------------- connectivity


def test_between_two_copies_of_one_network_there_is_no_barrier(pair, data):
    first = pair[0]
    found = deep.mode_connectivity(first, copy.deepcopy(first), data, RECIPE.but(epochs=1, lr=1e-9))
    assert found.barrier == pytest.approx(0, abs=1e-6)
    assert found.excess == pytest.approx(0, abs=1e-6)
    assert np.ptp(found.line) < 1e-6


def test_training_lowers_the_path_and_leaves_the_ends(pair, data):
    before = [copy.deepcopy(weights(model)) for model in pair]
    found = deep.mode_connectivity(*pair, data, RECIPE.but(epochs=60), points=11)
    assert found.loss.max() < 0.8 * found.line.max() or found.excess < 1e-3
    assert found.curve_loss[-5:].mean() < found.curve_loss[:5].mean()
    for end, model, old in zip((0, -1), pair, before, strict=True):
        own = deep.evaluate(model, data.x, data.y)
        assert found.loss[end] == pytest.approx(float(own.loss), rel=1e-6)
        assert found.line[end] == pytest.approx(float(own.loss), rel=1e-6)
        assert all(torch.equal(value, old[name]) for name, value in weights(model).items())
    high = found.loss.max()
    assert found.barrier == pytest.approx(high - (found.loss[0] + found.loss[-1]) / 2)


def test_the_weight_penalty_is_that_of_the_point(pair, data):
    """Without a gradient of the loss, a step moves a bend by rate × decay × c(t) × w(t)."""
    from linphase.deep.connectivity import _Run

    flat = deep.Data("flat", torch.zeros(4, 6), torch.zeros(4, dtype=torch.int64), data.x, data.y, classes=3)
    recipe = RECIPE.but(weight_decay=0.5, momentum=0.0, batch_size=None)
    curve = deep.Curve(*pair)
    old = [bend.detach().clone() for bend in curve.bends]
    point = curve.weights(0.3)
    _Run(curve, flat, recipe, 0.0, 0)._step(0.3, flat.x, flat.y, torch.Generator())
    # The first layer's weights have no gradient at x = 0.
    expected = old[0][0] - 0.1 * 0.5 * 0.42 * point[curve.names[0]].detach()
    torch.testing.assert_close(curve.bends[0].detach()[0], expected)


@pytest.mark.parametrize("eps", [0.0, 0.1])
def test_going_on_mid_path_gives_the_same_bits(normed_pair, data, tmp_path, eps):
    full = deep.mode_connectivity(*normed_pair, data, RECIPE, eps=eps, bends=2, points=5)
    file = tmp_path / "path.pt"

    class KilledError(Exception):
        pass

    def kill(line):
        if "epoch 2/" in line:
            raise KilledError

    with pytest.raises(KilledError):
        deep.mode_connectivity(*normed_pair, data, RECIPE, eps=eps, bends=2, checkpoint=file, report=kill)
    again = deep.mode_connectivity(*normed_pair, data, RECIPE, eps=eps, bends=2, points=5, checkpoint=file)
    for name in ("loss", "accuracy", "test_loss", "line", "curve_loss"):
        assert np.array_equal(getattr(full, name), getattr(again, name))
    for one, other in zip(full.curve.bends, again.curve.bends, strict=True):
        assert torch.equal(one, other)
    assert again.passes == full.passes
    with pytest.raises(deep.CheckpointError, match="is of another run: its path is"):
        deep.mode_connectivity(*normed_pair[::-1], data, RECIPE, eps=eps, bends=2, checkpoint=file)


def test_an_attacked_path_is_scored_under_attack(pair, data):
    clean = deep.mode_connectivity(*pair, data, RECIPE, points=3)
    attacked = deep.mode_connectivity(*pair, data, RECIPE, eps=0.2, points=3)
    assert (attacked.line > clean.line).all()
    own = deep.evaluate(pair[0], data.x, data.y, 0.2, RECIPE.judging)
    assert attacked.loss[0] == pytest.approx(float(own.loss), rel=1e-6)


# --------------------------------------------------------------------------------------------- batch norm


def test_recomputed_batch_norm_is_that_of_a_fresh_pass(normed_pair, data):
    model = copy.deepcopy(normed_pair[0])
    before = model[1].momentum
    deep.recompute_batch_norm(model, data.x, batch_size=len(data.x))
    inputs = model[0](data.x).detach()
    torch.testing.assert_close(model[1].running_mean, inputs.mean(0))
    torch.testing.assert_close(model[1].running_var, inputs.var(0))
    assert model[1].momentum == before
    assert [module.training for module in model] == [module.training for module in normed_pair[0]]
    # By unequal batches: each by its size.
    deep.recompute_batch_norm(model, data.x, batch_size=32)
    torch.testing.assert_close(model[1].running_mean, inputs.mean(0))
    within = (32 * inputs[:32].var(0) + 18 * inputs[32:].var(0)) / 50
    torch.testing.assert_close(model[1].running_var, within)


def test_every_point_has_its_own_batch_norm(normed_pair, data):
    curve = deep.Curve(*normed_pair)
    surface = Surface(normed_pair[0], data, RECIPE)
    surface.at(curve.weights(0.9))  # leaves its statistics behind
    fresh = curve.network(0.4)
    deep.recompute_batch_norm(fresh, data.x)
    own = deep.evaluate(fresh, data.x, data.y)
    assert surface.at(curve.weights(0.4)).train_loss == pytest.approx(float(own.loss), rel=1e-6)


def test_a_network_without_batch_norm_is_left_alone(pair, data):
    before = {name: value.clone() for name, value in pair[0].state_dict().items()}
    deep.recompute_batch_norm(pair[0], data.x)
    assert all(torch.equal(value, before[name]) for name, value in pair[0].state_dict().items())


# ------------------------------------------------------------------------------------------------- planes


@pytest.mark.parametrize("eps", [0.0, 0.1])
def test_the_corners_of_a_plane_are_the_networks(pair, data, eps):
    third = build(plain, 9)
    plane = deep.loss_plane(*pair, third, data, RECIPE, grid=5, eps=eps)
    for loss, model in zip(plane.corner_loss, (*pair, third), strict=True):
        own = deep.evaluate(model, data.x, data.y, eps, RECIPE.judging)
        assert loss == pytest.approx(float(own.loss), rel=1e-4)
    flat = [torch.cat([value.flatten() for value in weights(m).values()]) for m in (*pair, third)]
    for i in range(3):
        for j in range(i):
            distance = float((flat[i] - flat[j]).norm())
            assert math.dist(plane.corners[i], plane.corners[j]) == pytest.approx(distance, rel=1e-5)


def test_the_grid_is_symmetric_and_its_points_are_those_of_the_plane(pair, data):
    curve = deep.Curve(*pair)
    curve.bends[0].data += 0.3
    plane = deep.loss_plane(*pair, curve.bend(), data, RECIPE, path=curve, grid=4)
    width = plane.corners[1, 0]
    np.testing.assert_allclose(plane.x + plane.x[::-1], width)
    (x0, _), (x1, _), (x2, y2) = plane.corners
    assert plane.x[0] < min(x0, x1, x2)
    assert plane.x[-1] > max(x0, x1, x2)
    assert plane.y[0] < 0 < y2 < plane.y[-1]
    # A point of the plane as a combination of the three networks.
    a, b = plane.y[2] / y2, None
    b = (plane.x[1] - a * x2) / width
    mixed = copy.deepcopy(pair[0])
    first, last, third = weights(pair[0]), weights(pair[1]), weights(curve.bend())
    for name, value in mixed.named_parameters():
        value.data = first[name] + b * (last[name] - first[name]) + a * (third[name] - first[name])
    own = deep.evaluate(mixed, data.x, data.y)
    assert plane.loss[2, 1] == pytest.approx(float(own.loss), rel=1e-4)
    # The path lies in the plane: its middle is (w0 + 2 w1 + w2)/4.
    np.testing.assert_allclose(plane.path[50], plane.corners.T @ [0.25, 0.25, 0.5], rtol=1e-4)
    np.testing.assert_allclose(plane.path[[0, -1]], plane.corners[:2], atol=1e-4)


def test_asymmetry_is_the_area_in_one_of_two_mirror_images():
    def plane(loss):
        grid, empty = np.arange(float(len(loss))), np.empty((0, 2))
        return deep.Plane(grid, grid, loss, loss, loss, empty, empty, empty, 0.0, 0.0)

    loss = np.full((4, 4), 5.0)
    assert math.isnan(plane(loss).asymmetry(1.0))
    loss[1, 1:3] = 0.5
    assert plane(loss).asymmetry(1.0) == 0
    loss[2, 0] = 0.5
    assert plane(loss).asymmetry(1.0) == pytest.approx(2 / 4)
    assert plane(loss).asymmetry(6.0) == 0
    loss[:] = 5.0
    loss[:, :2] = 0.5
    assert plane(loss).asymmetry(1.0) == 1
    levels = plane(loss).levels(4)
    np.testing.assert_allclose(np.diff(np.log(levels)), np.log(10) / 4)


def test_asymmetry_and_border_know_where_the_grid_ends():
    """A low half plane that ends at the bisector, but for one cell beyond the narrow window."""
    corners, empty = np.array([[0.0, 0.0], [4.0, 0.0], [2.0, 4.0]]), np.empty((0, 2))
    axis = np.arange(-2.0, 7.0)  # of a margin ½
    loss = np.full((9, 9), 5.0)
    loss[3:6, 4] = 0.5
    loss[4, 8] = 0.5
    plane = deep.Plane(axis, axis, loss, loss, loss, corners, empty, empty, 0.0, 0.0)
    assert plane.asymmetry(1.0) == plane.asymmetry(1.0, 0.5) == pytest.approx(2 / 5)
    assert plane.asymmetry(1.0, 0.25) == 0
    assert plane.border(1.0) == pytest.approx(1 / 32)
    with pytest.raises(ValueError, match=r"margin must be at most that of the plane's own grid, got 0.6"):
        plane.asymmetry(1.0, 0.6)


def test_a_window_of_the_plane_is_that_of_a_smaller_margin(pair, data):
    third = build(plain, 9)
    wide = deep.loss_plane(*pair, third, data, RECIPE, grid=13, margin=1.0)
    rows, columns = wide._within(0.5)
    width, height = wide.corners[1, 0], wide.corners[2, 1]
    assert wide.x[columns][0] >= wide.x[0] + 0.5 * width - 1e-9 * width
    np.testing.assert_allclose(wide.x[columns] + wide.x[columns][::-1], width)
    assert wide.y[rows][0] >= -0.5 * height
    assert wide.y[rows][-1] <= 1.5 * height
    assert wide._within(1.0)[0].all()
    assert wide._within(1.0)[1].all()


def test_a_plane_goes_on_from_its_rows(pair, data, tmp_path, monkeypatch):
    third, file = build(plain, 9), tmp_path / "plane.pt"
    full = deep.loss_plane(*pair, third, data, RECIPE, grid=4, checkpoint=file)
    count = []
    own = Surface.at
    monkeypatch.setattr(Surface, "at", lambda self, w: count.append(1) or own(self, w))
    again = deep.loss_plane(*pair, third, data, RECIPE, grid=4, checkpoint=file)
    assert len(count) == 3  # the corners
    assert np.array_equal(full.loss, again.loss)
    with pytest.raises(deep.CheckpointError, match="its plane is"):
        deep.loss_plane(*pair, third, data, RECIPE, grid=5, checkpoint=file)


# ---------------------------------------------------------------------------------------------- bad input


def test_bad_input_has_its_sentence(pair, data, tmp_path):
    first, last = pair
    connect = partial(deep.mode_connectivity, first, last, data, RECIPE)
    plane = partial(deep.loss_plane, first, last)
    wide = deep.mlp((6, 9, 3))
    cases = [
        (partial(deep.mode_connectivity, first, wide, data, RECIPE), ValueError,
         r"networks of one architecture, they differ in 1.weight: \(8, 6\) and \(9, 6\)"),
        (partial(deep.mode_connectivity, first, normed(), data, RECIPE), ValueError, "of one architecture"),
        (partial(deep.mode_connectivity, first, deep.mlp((6, 8, 3), "tanh"), data, RECIPE), ValueError,
         "they differ in 2: ReLU and Tanh"),
        (partial(deep.mode_connectivity, first, deep.mlp((6, 8, 3), mean=(0.5,)), data, RECIPE), ValueError,
         "first and last must have the same constants, they differ in 0.mean"),
        (partial(deep.mode_connectivity, first, "model.pt", data, RECIPE), TypeError,
         r"last must be a network \(Module\), got 'model.pt'"),
        (partial(connect, bends=0), ValueError, "bends must be at least 1, got 0"),
        (partial(connect, kind="line"), ValueError, "kind must be one of 'bezier', 'chain', got 'line'"),
        (partial(connect, points=2), ValueError, "points must be at least 3, got 2"),
        (partial(connect, eps=-1.0), ValueError, "eps must be finite and at least 0, got -1.0"),
        (partial(connect, examples=0), ValueError, "examples must be at least 1, got 0"),
        (partial(plane, last, data, RECIPE), ValueError, "third must be networks that do not"),
        (partial(plane, None, data, RECIPE), TypeError, "third must be a network"),
        (partial(plane, wide, data, RECIPE), ValueError, "third must be networks of one architecture"),
        (partial(plane, build(plain, 9), data, RECIPE, margin=0), ValueError, "margin must be positive"),
        (partial(deep.mode_connectivity, normed(), normed(), data,
                 RECIPE.but(attack=deep.Attack(mode="eval")), eps=0.1), ValueError,
         "recipe.attack.mode must be train where networks have batch norm, .* got 'eval'"),
        (partial(plane, build(plain, 9), data, RECIPE, grid=1), ValueError, "grid must be at least 2, got 1"),
        (partial(deep.Curve(first, last).bend, 1), ValueError, "index must be at most 0, got 1"),
    ]  # fmt: skip
    for call, kind, sentence in cases:
        with pytest.raises(kind, match=sentence):
            call()
    (tmp_path / "broken.pt").write_bytes(b"no checkpoint")
    with pytest.raises(deep.CheckpointError, match="cannot be read"):
        connect(checkpoint=tmp_path / "broken.pt")


def test_a_path_that_diverges_says_so(pair, data):
    with pytest.raises(deep.DivergenceError, match="training of the path diverged in epoch 1"):
        deep.mode_connectivity(*pair, data, RECIPE.but(lr=1e30))


# -------------------------------------------------------------------------------------------- the scripts


@pytest.mark.parametrize(
    ("script", "words", "pictures"),
    [
        ("connectivity", ("barrier", "asymmetry"), {"connectivity_digits", "planes_digits"}),
        ("overfitting", ("ratio of gaps",), {"overfitting_digits"}),
    ],
)
def test_quick_run_of_a_script(tmp_path, monkeypatch, script, words, pictures):
    monkeypatch.syspath_prepend(str(SIMULATIONS))
    study = __import__(script).STUDY

    from linphase.study import main

    assert main(study, ["--quick", "--jobs", "1", "--device", "cpu", "--out", str(tmp_path / "run")]) == 0
    text = (tmp_path / "run" / "verdict.json").read_text()
    assert all(word in text for word in words)
    assert json.loads(text)["study"] == script
    assert {path.stem for path in (tmp_path / "run").glob("*.png")} == pictures


def test_dry_runs_say_the_passes(capsys, monkeypatch):
    monkeypatch.syspath_prepend(str(SIMULATIONS))
    from linphase.study import main

    for script in ("connectivity", "overfitting", "table2"):
        study = __import__(script).STUDY
        assert main(study, ["--dry-run", "--dataset", "cifar10", "--epochs", "3"]) == 0
        assert "preact-resnet18 64 on cifar10, n = 50000, 3 epochs: 1 seed(s)" in capsys.readouterr().out
    assert "linphase" in sys.modules
