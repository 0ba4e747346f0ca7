"""The loss of a network at weights other than its own: points of a curve, points of a plane."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from linphase.checks import check_callable, check_count
from linphase.deep.attacks import Forward
from linphase.deep.batches import fewest, sizes
from linphase.deep.checks import check_inputs, check_network
from linphase.deep.data import Data
from linphase.deep.evaluate import score
from linphase.deep.fit import check_batch_size, check_fit, check_runs, check_trained
from linphase.deep.recipe import Recipe

Weights = Mapping[str, Tensor]


class Losses(NamedTuple):
    """Mean loss and accuracy on the training and on the test set."""

    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float


class Surface:
    """Training and test loss as functions of the weights of one architecture.

    Parameters
    ----------
    network : Module
        Gives the architecture; it is copied.
    data, recipe : Data, Recipe
        Of the recipe the loss, the judging attack, the precision and ``test_batch_size``. Inputs are not
        augmented.
    eps : float
        Strength of the judging attack.
    examples : int, optional
        The first so many examples of the training and of the test set; all by default.
    seed : int
        Of the attack's random starts: the same at every point.
    """

    def __init__(
        self,
        network: nn.Module,
        data: Data,
        recipe: Recipe,
        eps: float = 0.0,
        examples: int | None = None,
        seed: int = 0,
    ) -> None:
        few = slice(None if examples is None else check_count("examples", examples))
        data = data.to(data.x.device, recipe.dtype)
        self.probe = copy.deepcopy(network).to(data.x.device, recipe.dtype)
        self.train_set, self.test_set = (data.x[few], data.y[few]), (data.x_test[few], data.y_test[few])
        gradient = "inputs" if eps else None
        # Batch norm takes its statistics from the training set.
        check_fit(self.probe, *self.train_set, recipe.judge.name, "first", gradient, mode="train")
        check_fit(self.probe, *self.test_set, recipe.judge.name, "first", gradient)
        check_batch_size("recipe.test_batch_size", recipe.test_batch_size, fewest(self.probe))
        self.bounds, self.recipe, self.eps, self.seed = data.bounds, recipe, eps, seed
        self.forward = under_precision(self.probe, recipe, data.x.device)
        steps = recipe.judging.steps * recipe.judging.restarts if eps else 0
        normalised = any(True for _ in batch_norms(self.probe))
        self.passes = (1 + steps) * (1 + len(self.test_set[0]) / len(self.train_set[0])) + normalised
        """Cost of a point, in passes over the training examples it sees."""

    def at(self, weights: Weights) -> Losses:
        """Return the losses at weights, with the batch-norm statistics that belong to them."""
        with torch.no_grad():
            for name, value in self.probe.named_parameters():
                value.copy_(weights[name])
        size = self.recipe.test_batch_size
        recompute(self.probe, self.train_set[0], size, self.forward)
        numbers: list[float] = []
        for x, y in (self.train_set, self.test_set):
            found = score(
                self.probe, x, y, self.eps, self.recipe.judging, self.recipe.judge, self.bounds, size,
                self.seed, self.forward,
            )  # fmt: skip
            numbers += [float(found.loss), float(found.accuracy)]
        return Losses(*numbers)


def recompute_batch_norm(
    model: nn.Module, x: Tensor, batch_size: int = 1000, forward: Forward | None = None
) -> None:
    """Set the running statistics of batch norm to the means, over batches of ``x``, of the batch statistics.

    Each batch counts by its size. A point between two trained networks has no statistics of its own, and
    those of either end would make its loss meaningless (Garipov et al., NeurIPS 2018). Networks without batch
    norm are left as they are, at no cost.

    Parameters
    ----------
    model : Module
        Its weights stay.
    x : tensor (n, …)
        Inputs, two at least.
    batch_size : int
        Examples at once; a rest of a single one joins the batch before it.
    forward : callable, optional
        Evaluates in place of the model, as under autocast.
    """
    check_network("model", model)
    x = check_inputs("x", x)
    least = fewest(model)
    batch_size = check_batch_size("batch_size", batch_size, least)
    if len(x) < least:
        raise ValueError(f"x must have at least {least} examples for a model with batch norm, got {len(x)}")
    if forward is not None:
        check_callable("forward", forward)
    if least > 1:
        check_runs(model, x, forward)
    recompute(model, x, batch_size, forward)


def recompute(model: nn.Module, x: Tensor, batch_size: int, forward: Forward | None = None) -> None:
    """`recompute_batch_norm` with its arguments taken on trust."""
    layers = list(batch_norms(model))
    if not layers:
        return
    forward = model if forward is None else forward
    before = [(layer, layer.momentum, layer.training) for layer in layers]
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    for layer in layers:
        layer.reset_running_stats()
        layer.train()
    try:
        with torch.no_grad():
            seen = 0
            for batch in torch.split(x, sizes(len(x), batch_size, fewest(model))):
                seen += len(batch)
                for layer in layers:
                    layer.momentum = len(batch) / seen
                forward(batch)
    finally:
        for layer, momentum, _ in before:
            layer.momentum = momentum
        for module, training in modes:
            module.training = training


def batch_norms(model: nn.Module) -> Iterator[_BatchNorm]:
    """The batch-norm layers that keep statistics."""
    for module in model.modules():
        if isinstance(module, _BatchNorm) and module.track_running_stats:
            yield module


def under_precision(forward: Forward, recipe: Recipe, device: torch.device) -> Forward:
    """A forward in the recipe's precision; it is not compiled."""
    if recipe.precision != "bfloat16":
        return forward

    def mixed(x: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            output = forward(x)
        return output.float()

    return mixed


def check_alike(**networks: nn.Module) -> None:
    """Raise unless networks have one architecture and, but for batch norm, the same constants.

    Their weights must be finite.
    """
    for name, network in networks.items():
        check_trained(name, network)
    (name, first), *others = networks.items()
    for other_name, other in others:
        names = f"{name} and {other_name}"
        ours, theirs = _form(first), _form(other)
        if ours != theirs:
            key = next(key for key in [*ours, *theirs] if ours.get(key) != theirs.get(key))
            raise ValueError(
                f"{names} must be networks of one architecture, they differ in {key}: "
                f"{ours.get(key, 'absent')} and {theirs.get(key, 'absent')}"
            )
        for key, value in _constants(first).items():
            if not torch.equal(value, _constants(other)[key].to(value)):
                raise ValueError(f"{names} must have the same constants, they differ in {key}")


def _form(network: nn.Module) -> dict[str, str]:
    form = {key or "the network": type(module).__name__ for key, module in network.named_modules()}
    return form | {key: str(tuple(value.shape)) for key, value in network.state_dict().items()}


def _constants(network: nn.Module) -> dict[str, Tensor]:
    moving = {id(buffer) for layer in batch_norms(network) for buffer in layer.buffers()}
    return {key: value for key, value in network.named_buffers() if id(value) not in moving}
