"""Modes of a model under attack, and scores: nothing about the model changes but what a mode says."""

import copy
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from small_runs import blobs, network, normed  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn.functional import cross_entropy  # noqa: E402

from linphase.deep import FGM, PGD, Attack, Data, evaluate, fgm, pgd  # noqa: E402
from linphase.deep.losses import LOSSES  # noqa: E402
from linphase.deep.modes import MODES, mode_of  # noqa: E402

pytestmark = pytest.mark.usefixtures("torch_state")


def batch(n=16, dtype=torch.float32):
    data = blobs(n)
    return data.x.to(dtype), data.y


@pytest.mark.parametrize("mode", MODES)
def test_who_updates_the_statistics(mode):
    model, (x, y) = normed(), batch()
    model[2].eval()  # a module in a mode of its own
    before, modes = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()]
    pgd(model, x, y, 0.1, mode=mode, steps=3)
    fgm(model, x, y, 0.1, mode=mode)
    same = all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert same == (mode != "train")
    assert int(model[1].num_batches_tracked) == (4 if mode == "train" else 0)
    assert [m.training for m in model.modules()] == modes


def test_modes_mean_what_they_say():
    model = normed()
    model[2].eval()
    for mode, expected in {"train": (True, True), "eval": (False, False), "frozen-bn": (False, True)}.items():
        with mode_of(model, mode):
            assert (model[1].training, model[2].training) == expected
        assert model[1].training
        assert not model[2].training


@pytest.mark.parametrize("mode", MODES)
def test_modes_return_after_an_exception(mode):
    class Breaks(nn.Module):
        def forward(self, x):
            raise RuntimeError("broken")

    model = nn.Sequential(normed().eval(), Breaks())
    model[0][1].train()
    modes = [m.training for m in model.modules()]
    with pytest.raises(ValueError, match=r"model must take inputs .*, it raises RuntimeError: broken"):
        fgm(model, *batch(), 0.1, mode=mode)
    with pytest.raises(RuntimeError, match="broken"):
        Attack(mode=mode).run(model, *batch(), 0.1)
    assert [m.training for m in model.modules()] == modes


def test_judging_changes_no_model():
    model, (x, y) = normed(), batch()
    before = copy.deepcopy(model.state_dict())
    a = evaluate(model, x, y, 0.1, PGD)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert model.training
    b = evaluate(model.eval(), x, y, 0.1, replace(PGD, mode="eval"))
    assert torch.equal(a.loss, b.loss)


def test_scores_do_not_depend_on_batches():
    model, (x, y) = network().double(), batch(50, dtype=torch.float64)
    whole = evaluate(model, x, y, 0.1, FGM)
    parts = evaluate(model, x, y, 0.1, FGM, batch_size=7)
    torch.testing.assert_close(parts.loss, whole.loss, rtol=1e-12, atol=0)
    assert parts.accuracy == whole.accuracy
    z = fgm(model, x, y, 0.1, mode="eval")
    assert float(whole.loss) == pytest.approx(float(cross_entropy(model(z), y).detach()), rel=1e-12)
    assert float(whole.accuracy) == float((model(z).argmax(1) == y).double().mean())
    clean = evaluate(model, x, y)
    assert float(clean.loss) == pytest.approx(float(cross_entropy(model(x), y).detach()), rel=1e-12)


def test_scores_share_their_starts():
    """The same start in units of ε: the score is continuous in ε."""
    model, (x, y) = network().double(), batch(50, dtype=torch.float64)
    losses = [float(evaluate(model, x, y, eps, PGD, batch_size=20).loss) for eps in (0.1, 0.1 + 1e-9)]
    assert 0 < losses[1] - losses[0] < 1e-7
    assert losses[0] == float(evaluate(model, x, y, 0.1, PGD, batch_size=20).loss)
    assert losses[0] != float(evaluate(model, x, y, 0.1, PGD, batch_size=20, seed=1).loss)


@pytest.mark.parametrize("loss", ["trades", "mart"])
def test_judged_by_the_plain_loss(loss):
    model, (x, y) = network(), batch(50)
    for plan in (FGM, PGD):
        a = evaluate(model, x, y, 0.1, plan, LOSSES[loss])
        assert torch.equal(a.loss, evaluate(model, x, y, 0.1, plan).loss)


def test_evaluation_refuses_what_attacks_refuse():
    model, (x, y) = network(), batch()
    with pytest.raises(ValueError, match=r"x must lie in bounds \[0, 1\]"):
        evaluate(model, x + 1, y, 0.1, PGD)
    with pytest.raises(ValueError, match=r"y must lie in 0..2, the classes of model"):
        evaluate(model, x, y + 1, 0.1, PGD)
    with pytest.raises(ValueError, match="eps must be finite"):
        evaluate(model, x, y, -0.1, PGD)
    with pytest.raises(ValueError, match=r"attack must be given where eps is above 0, got eps = 0\.1"):
        evaluate(model, x, y, 0.1)
    with pytest.raises(ValueError, match=r"y must lie in 0\.\.2"):
        Data("toy", x, y + 3, x, y, 3)
