"""Stacks: networks side by side are what each is alone; what cannot be stacked is refused."""

from collections import OrderedDict

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from linphase.deep import Attack, Stack, mlp  # noqa: E402
from linphase.deep.losses import LOSSES  # noqa: E402
from linphase.deep.models import Normalise  # noqa: E402

pytestmark = pytest.mark.usefixtures("torch_state")


def generator():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("loss", ["cross-entropy", "trades", "mart"])
def test_every_member_of_a_stack_has_its_own_ball(norm, loss):
    model = mlp((6, 8, 4), "tanh").double()
    x, y = torch.rand(16, 6, dtype=torch.float64), torch.randint(4, (16,))
    eps = torch.tensor([0.0, 0.1, 0.5], dtype=torch.float64)
    stack = Stack(model, 3)
    with torch.no_grad():
        for weights in stack.weights:
            weights *= torch.tensor([1.0, 2.0, 3.0]).reshape(-1, *[1] * (weights.ndim - 1))
    plan = Attack(norm, 5, restarts=2)
    xs, ys = x.expand(3, *x.shape), y.expand(3, *y.shape)
    found = plan.run(stack, xs, ys, eps, LOSSES[loss], generator=generator())
    for k in range(3):
        model.load_state_dict(stack.member(k))
        alone = plan.run(model, x, y, float(eps[k]), LOSSES[loss], generator=generator())
        torch.testing.assert_close(found[k], alone, rtol=1e-9, atol=1e-12)
    assert torch.equal(found[0], x)


class Doubled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


class Backwards(nn.Sequential):
    def forward(self, x):
        for layer in reversed(self):
            x = layer(x)
        return x


def hooked():
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))
    model[0].register_forward_hook(lambda layer, inputs, output: 2 * output)
    return model


def replaced():
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))
    model[1].forward = torch.cos
    return model


RELU = nn.ReLU()
CHAINS = {
    "plain": mlp((6, 8, 4), "tanh", (0.3,), (0.5,)),
    "one layer twice": nn.Sequential(nn.Linear(6, 8), RELU, nn.Linear(8, 8), RELU, nn.Linear(8, 4)),
    "names": nn.Sequential(OrderedDict([("1", nn.Linear(6, 6)), ("0", nn.Linear(6, 6))])),
}
OTHERS = {
    "no bias": nn.Sequential(nn.Linear(6, 8, bias=False), nn.ReLU(), nn.Linear(8, 4)),
    "layer of a subclass": nn.Sequential(Doubled(6, 8), nn.ReLU(), nn.Linear(8, 4)),
    "sequence of a subclass": Backwards(nn.Linear(8, 4), nn.Linear(6, 8)),
    "nested": nn.Sequential(nn.Sequential(nn.Linear(6, 8), nn.ReLU()), nn.Linear(8, 4)),
    "softmax": nn.Sequential(nn.Linear(6, 4), nn.Softmax(0)),
    "hook": hooked(),
    "replaced method": replaced(),
}


@pytest.mark.parametrize("name", list(CHAINS | OTHERS))
@pytest.mark.parametrize("shape", [(5, 6), (5, 2, 6)])
def test_a_stack_computes_what_its_members_do(name, shape):
    """By products over all members where the network is a chain of layers, else by `vmap`."""
    model = (CHAINS | OTHERS)[name].double()
    stack = Stack(model, 3)
    assert stack._chain == (name in CHAINS)
    g = generator()
    with torch.no_grad():
        for weights in stack.weights:
            weights.copy_(torch.randn(weights.shape, generator=g, dtype=torch.float64))
    x = torch.rand(3, *shape, generator=g, dtype=torch.float64, requires_grad=True)
    found = stack(x)
    (gradient,) = torch.autograd.grad(found.square().sum(), x)
    for k in range(3):
        model.load_state_dict(stack.member(k))
        alone = model(x[k])
        torch.testing.assert_close(found[k], alone)
        (own,) = torch.autograd.grad(alone.square().sum(), x)
        torch.testing.assert_close(gradient[k], own[k])


@pytest.mark.parametrize("layer", [nn.Flatten(-3), nn.AdaptiveAvgPool2d(1)])
def test_constants_go_where_a_stack_goes_and_leave_the_network_alone(layer):
    model = nn.Sequential(Normalise((0.1, 0.2, 0.3), (1.0, 2.0, 3.0)), layer)
    for form, x in ((model, torch.rand(2, 5, 3, 4, 4)), (mlp((6, 4)), torch.rand(2, 5, 6))):
        stack = Stack(form, 2).to("meta")
        assert stack(x.to("meta")).device.type == "meta"
        assert all(value.device.type == "meta" for value in stack.member(0).values())
        assert all(value.device.type == "cpu" for value in form.state_dict().values())


def test_channels_are_those_of_an_image_and_not_the_members():
    with pytest.raises(ValueError, match="x must be images of 3 channels"):
        Stack(nn.Sequential(Normalise((0.1, 0.2, 0.3), (1.0, 2.0, 3.0)), nn.Linear(6, 4)), 3)(
            torch.rand(3, 5, 6)
        )


def test_a_stack_in_eval_mode_drops_nothing():
    model = nn.Sequential(nn.Linear(6, 50), nn.Dropout(0.5), nn.Linear(50, 4))
    stack, x = Stack(model, 2), torch.rand(5, 6)
    stack.eval()
    torch.testing.assert_close(stack(x.expand(2, 5, 6))[1], model.eval()(x))
    stack.train()
    assert not torch.equal(stack(x.expand(2, 5, 6)), stack(x.expand(2, 5, 6)))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = self.second = nn.Linear(6, 6)

    def forward(self, x):
        return self.second(self.first(x))


def test_what_cannot_be_stacked_is_refused():
    with pytest.raises(ValueError, match="model must have no batch norm to be stacked"):
        Stack(nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4)), 2)
    with pytest.raises(
        ValueError, match=r"model must have no parameter twice to be stacked, got second\.weight"
    ):
        Stack(Tied(), 2)
    with pytest.raises(ValueError, match="members must be at least 1, got 0"):
        Stack(mlp((6, 4)), 0)
