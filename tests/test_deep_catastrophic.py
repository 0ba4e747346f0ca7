"""Catastrophic overfitting is told from honest training, and GradAlign is the penalty it says."""

import copy
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.functional import cosine_similarity, cross_entropy  # noqa: E402

from linphase import deep  # noqa: E402
from linphase.deep.alignment import misalignment  # noqa: E402
from linphase.deep.evaluate import generator_on  # noqa: E402
from linphase.deep.losses import LOSSES  # noqa: E402
from linphase.streams import stream  # noqa: E402

SIMULATIONS = Path(__file__).resolve().parents[1] / "simulations"
RECIPE = deep.Recipe(epochs=4, batch_size=20, lr=0.05, attack=deep.FGM, select="last")


def two_classes(n=60, d=4, gap=0.25):
    generator = torch.Generator().manual_seed(1)
    y = torch.arange(2 * n) % 2
    x = 0.5 + gap * (2.0 * y[:, None] - 1) + 0.05 * (torch.rand(2 * n, d, generator=generator) - 0.5)
    return deep.Data("two", x[:n], y[:n], x[n:], y[n:], classes=2)


@pytest.fixture(scope="module")
def data():
    return two_classes()


class Pit(nn.Module):
    """Right at the class centres, ¼ from the boundary, and beyond a narrow pit between them and it.

    A full step of 0.2 along the gradient's sign jumps over the pit; small steps fall into it.
    """

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(20.0))

    def forward(self, x):
        place = (x - 0.5).mean(-1)
        pit = torch.exp(-(((place.abs() - 0.15) / 0.03) ** 2))
        score = self.scale * place.sign() * (0.2 - 0.6 * pit)
        return torch.stack((-score, score), -1)


def test_a_network_that_resists_only_its_own_step_is_unstable():
    data = two_classes()
    recipe = RECIPE.but(epochs=1, lr=1e-9)
    judge = deep.Attack(steps=50, restarts=4, mode="eval", step=0.05)
    found = deep.catastrophic_overfitting(Pit, data, recipe, [0.001, 0.2], judge=judge)
    assert found.accuracy[0].tolist() == [1.0, 1.0]
    assert found.judged_accuracy[0, 0] == 1
    assert found.judged_accuracy[0, 1] < 0.1
    assert found.unstable.tolist() == [[False, True]]
    assert found.smallest.tolist() == [0.2]
    assert found.last_stable.tolist() == [0.001]
    assert found.clean_accuracy.min() == 1


def test_honest_training_is_stable(data):
    found = deep.catastrophic_overfitting(
        partial(deep.mlp, (4, 8, 2)), data, RECIPE.but(epochs=20, lr=0.2), [0.02, 0.05, 0.1], (0, 1)
    )
    assert found.accuracy.shape == (2, 3)
    assert found.learned.all()
    assert not found.unstable.any()
    assert np.isnan(found.detected[:, 0]).all()
    assert found.smallest.tolist() == [np.inf, np.inf]
    assert found.last_stable.tolist() == [0.1, 0.1]
    assert (found.judged_accuracy <= found.accuracy + 1e-9).all()


def test_a_network_that_learned_nothing_is_no_overfitting(data):
    """Beyond the gap of the classes nothing can be learned: both accuracies are those of guessing."""
    found = deep.catastrophic_overfitting(partial(deep.mlp, (4, 8, 2)), data, RECIPE, [0.6])
    assert found.accuracy[0, 0] <= 0.6
    assert not found.unstable.any()


@pytest.mark.parametrize("attack", [deep.FGM, deep.FGM_RANDOM, deep.Attack(steps=2)])
def test_side_by_side_and_one_by_one_agree(data, attack):
    network, recipe = partial(deep.mlp, (4, 8, 2)), RECIPE.but(attack=attack)
    call = partial(deep.catastrophic_overfitting, network, data, recipe, [0.05, 0.1], (3,))
    one, stack = call(), call(side_by_side=True)
    for name in ("accuracy", "judged_accuracy", "clean_accuracy", "train_accuracy", "detector_accuracy"):
        np.testing.assert_allclose(getattr(one, name), getattr(stack, name), atol=0.02)
        assert getattr(one, name).shape == getattr(stack, name).shape
    assert one.train_accuracy.shape == (1, RECIPE.epochs, 2)
    assert one.passes == pytest.approx(stack.passes)


def test_the_detector_looks_after_every_epoch(data):
    found = deep.catastrophic_overfitting(
        partial(deep.mlp, (4, 8, 2)), data, RECIPE.but(judged_every=3), [0.05]
    )
    assert np.isfinite(found.detector_accuracy).all()


def test_the_detector_names_the_first_epoch():
    from linphase.deep.catastrophic import _result

    weak, strong = np.array([[0.9], [0.9], [0.9]]), np.array([[0.8], [0.1], [0.8]])
    trial = {"train": weak, "detector": strong, "passes": 1.0}
    trial |= {"accuracy": np.array([0.9]), "judged": np.array([0.5]), "clean": np.array([1.0])}
    found = _result([trial], np.array([0.1]), 1, 10, 0.5, RECIPE)
    assert found.detected.tolist() == [[2.0]]
    assert found.unstable.tolist() == [[False]]  # it recovered
    found = _result([trial], np.array([0.1]), 1, 10, 0.5, RECIPE.but(eps_warmup=2))
    assert np.isnan(found.detected).all()  # trained at a smaller ε than the alarm attacks with


def test_a_strength_at_which_nothing_is_learned_is_not_stable():
    from linphase.deep.catastrophic import _result

    def trial(accuracy, judged):
        ends = {"accuracy": np.array(accuracy), "judged": np.array(judged), "clean": np.array(0.9)}
        return {"train": np.full(2, accuracy), "detector": np.full(2, judged), "passes": 1.0} | ends

    trials = [trial(0.9, 0.8), trial(0.11, 0.0), trial(0.9, 0.8)]
    found = _result(trials, np.array([1.0, 2.0, 3.0]), 1, 10, 0.5, RECIPE)
    assert found.learned.tolist() == [[True, False, True]]
    assert not found.unstable.any()
    assert found.smallest.tolist() == [np.inf]
    assert found.last_stable.tolist() == [1.0]


def test_results_of_several_seeds_and_strengths_stand_where_they_belong():
    from linphase.deep.catastrophic import _result

    def trial(value):
        rows = np.full(2, value)
        ends = {name: np.array(value) for name in ("accuracy", "judged", "clean")}
        return {"train": rows, "detector": rows, "passes": 1.0} | ends

    found = _result([trial(v) for v in (0.1, 0.2, 0.3, 0.4)], np.array([1.0, 2.0]), 2, 10, 0.5, RECIPE)
    assert found.accuracy.tolist() == [[0.1, 0.2], [0.3, 0.4]]
    assert found.train_accuracy.tolist() == [[[0.1, 0.2]] * 2, [[0.3, 0.4]] * 2]
    assert found.passes == 4


def test_an_interrupted_call_goes_on_to_the_same_numbers(data, tmp_path):
    call = partial(
        deep.catastrophic_overfitting, partial(deep.mlp, (4, 8, 2)), data, RECIPE.but(align=0.2), [0.05, 0.1]
    )
    full = call()

    def kill(line):
        if line.startswith("epoch 3/"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        call(checkpoints=tmp_path, report=kill)
    again = call(checkpoints=tmp_path)
    for name in ("accuracy", "judged_accuracy", "train_accuracy", "detector_accuracy"):
        assert np.array_equal(getattr(full, name), getattr(again, name))


# ---------------------------------------------------------------------------------------------- GradAlign


def test_the_penalty_is_one_less_the_cosine_of_the_input_gradients(data):
    torch.manual_seed(0)
    network = deep.mlp((4, 8, 2), "tanh")
    x, y, nearby = data.x[:6], data.y[:6], data.x[:6] + 0.1
    gradients = []
    for point in (x, nearby):
        point = point.clone().requires_grad_()
        gradients.append(torch.autograd.grad(cross_entropy(network(point), y, reduction="sum"), point)[0])
    expected = 1 - cosine_similarity(*gradients)
    found = misalignment(network, x, y, nearby, LOSSES["cross-entropy"])
    torch.testing.assert_close(found, expected)
    linear = nn.Linear(4, 2)  # its input gradients are parallel everywhere
    assert misalignment(linear, x, y, nearby, LOSSES["cross-entropy"]).abs().max() < 1e-6


def test_the_penalty_does_not_depend_on_the_size_of_the_gradients(data):
    """A confident network's are tiny, and where one vanishes there is no angle to speak of."""
    torch.manual_seed(0)
    x, y = data.x[:6].double(), data.y[:6]
    linear = nn.Linear(4, 2).double()
    with torch.no_grad():
        linear.weight.copy_(40 * torch.tensor([[1.0], [-1.0]]).expand(2, 4))
        linear.bias.copy_(-80 * torch.tensor([1.0, -1.0]))
    sure = linear(x).argmax(1)
    size = torch.autograd.grad(cross_entropy(linear(x.requires_grad_()), sure), x)[0].abs().amax(1)
    assert 0 < size.min() < 1e-12
    x = x.detach()
    assert misalignment(linear, x, sure, x + 0.01, LOSSES["cross-entropy"]).max() < 1e-12
    with torch.no_grad():
        linear.weight.zero_()
    penalty = misalignment(linear, x, y, x + 0.1, LOSSES["cross-entropy"])
    assert penalty.tolist() == [0.0] * 6
    penalty.sum().backward()
    assert torch.isfinite(linear.weight.grad).all()


def test_a_step_descends_on_loss_and_penalty(data):
    """One step over all examples against the same by hand; the attack itself is as without the penalty."""
    torch.manual_seed(0)
    network = deep.mlp((4, 8, 2), "tanh")
    ours = copy.deepcopy(network)
    recipe = deep.Recipe(1, batch_size=None, lr=0.5, momentum=0, weight_decay=0, attack=deep.FGM, align=0.3)
    deep.train(ours, data, recipe, 0.1, seed=3)
    z = deep.fgm(network, data.x, data.y, 0.1)
    order = torch.from_numpy(stream(3, "order", 0).permutation(data.n))
    draws = 2 * torch.rand(data.x.shape, generator=generator_on(data.x.device, 3, "draws", 0)) - 1
    nearby = torch.empty_like(data.x)
    nearby[order] = (data.x[order] + 0.1 * draws).clamp(0, 1)
    penalty = misalignment(network, data.x, data.y, nearby, LOSSES["cross-entropy"]).mean()
    (cross_entropy(network(z), data.y) + 0.3 * penalty).backward()
    for found, value in zip(ours.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(found, value - 0.5 * value.grad)


def test_the_penalty_aligns(data):
    torch.manual_seed(0)
    turned = []
    for align in (0.0, 5.0):
        network = deep.mlp((4, 8, 2), "tanh")
        deep.train(network, data, RECIPE.but(align=align), 0.2, seed=1)
        nearby = data.x + 0.2 * (2 * torch.rand(data.x.shape, generator=torch.Generator().manual_seed(2)) - 1)
        turned.append(misalignment(network, data.x, data.y, nearby, LOSSES["cross-entropy"]).mean())
    assert turned[1] < turned[0] / 2


# ---------------------------------------------------------------------------------------------- bad input


def test_bad_input_has_its_sentence(data):
    call = partial(deep.catastrophic_overfitting, partial(deep.mlp, (4, 8, 2)), data, RECIPE)
    regression = deep.Data("r", data.x, data.y.float(), data.x_test, data.y_test.float(), classes=None)
    factory = partial(deep.mlp, (4, 8, 2))
    cases = [
        (partial(call, []), ValueError,
         r"eps must be a nonempty sequence of rising strengths above 0, got \[\]"),
        (partial(call, [0.2, 0.1]), ValueError, r"eps must be rising strengths above 0, got \[0.2, 0.1\]"),
        (partial(call, [0.0, 0.1]), ValueError, "eps must be rising strengths above 0"),
        (partial(call, [0.1], ()), ValueError, r"seeds must be a nonempty sequence of integers, got \(\)"),
        (partial(RECIPE.but, align=-1), ValueError, "align must be finite and at least 0, got -1"),
        (partial(deep.train, deep.Stack(deep.mlp((4, 2)), 2), data, RECIPE.but(align=1.0), 0.1), ValueError,
         "recipe.align must be 0 for a stack, got 1.0"),
        (partial(call, [0.1], share=1.0), ValueError, "share must be strictly between 0 and 1, got 1.0"),
        (partial(deep.catastrophic_overfitting, partial(deep.mlp, (4, 8, 2)), data, RECIPE.but(align=0.2),
                 [0.1], side_by_side=True), ValueError, "side_by_side must be False where recipe.align > 0"),
        (partial(call, [0.1], judged_examples=0), ValueError, "judged_examples must be at least 1, got 0"),
        (partial(deep.catastrophic_overfitting, "mlp", data, RECIPE, [0.1]), TypeError,
         "model_factory must be a function without arguments .*, got 'mlp'"),
        (partial(deep.catastrophic_overfitting, factory, regression, RECIPE, [0.1]), ValueError,
         "data must have classes"),
        (partial(deep.catastrophic_overfitting, factory, data, RECIPE.but(loss="mart"), [0.1]), ValueError,
         "recipe.loss must be cross-entropy, got 'mart'"),
    ]  # fmt: skip
    for wrong, kind, sentence in cases:
        with pytest.raises(kind, match=sentence):
            wrong()


def test_quick_run_of_the_script(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(SIMULATIONS))
    import table2

    from linphase.study import main

    arguments = ["--quick", "--jobs", "1", "--device", "cpu", "--out", str(tmp_path / "run")]
    assert main(table2.STUDY, arguments) == 0
    verdicts = json.loads((tmp_path / "run" / "verdict.json").read_text())["verdicts"]
    text = json.dumps(verdicts)
    for part in ("smallest unstable eps", "FGM suffices"):
        assert part in text
    assert {path.stem for path in (tmp_path / "run").glob("*.png")} == {"catastrophic_digits"}
