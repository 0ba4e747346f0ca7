"""Several copies of one network that train side by side, each with an ε of its own.

Small networks spend their time in the overhead of each operation. A stack of S copies runs every operation
once, as a batched product, and gradients of the summed loss are those of each copy alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from linphase.checks import check_count
from linphase.deep.checks import check_network
from linphase.deep.models import Normalise

POINTWISE = (nn.ReLU, nn.Tanh)
"""Layers that treat every entry alike, so that they take a stack as it is."""
MOST = 10**4
"""Members of a stack."""
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class Stack(nn.Module):
    """``members`` copies of a network, their weights stacked along a new first axis.

    Takes inputs (S, B, …) and returns outputs (S, B, …). `train` trains a stack as it trains a network, with
    one ε for each member: ``train(Stack(model, 3), data, recipe, eps=torch.tensor([0, .1, .2]))``. Batches
    and random starts (in units of ε) are common to the members.

    Parameters
    ----------
    model : Module
        The network at its initialisation, without buffers that change, such as those of batch norm.
    members : int
        Number S of copies.

    Raises
    ------
    ValueError
        If the network has batch norm, whose statistics cannot be shared, or one parameter under two names.
    """

    def __init__(self, model: nn.Module, members: int) -> None:
        super().__init__()
        model = check_network("model", model)
        if isinstance(model, Stack):
            raise TypeError("model must be a single network, got a Stack")
        members = check_count("members", members, most=MOST)
        if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules()):
            raise ValueError("model must have no batch norm to be stacked, train its copies one by one")
        self.members = members
        self.names = dict(model.named_parameters())
        every = [name for name, _ in model.named_parameters(remove_duplicate=False)]
        if twice := [name for name in every if name not in self.names]:
            raise ValueError(f"model must have no parameter twice to be stacked, got {', '.join(twice)}")
        # Registered under one flat name each; the network itself is only the form of the computation.
        self.weights = nn.ParameterList(
            nn.Parameter(value.detach().expand(members, *value.shape).clone())
            for value in self.names.values()
        )
        self._form = [model]  # in a list, so that its own parameters are not ours
        self._constants = list(dict(model.named_buffers()))
        for k, value in enumerate(model.buffers()):
            self.register_buffer(f"constant_{k}", value.clone(), persistent=False)
        self._chain = _is_chain(model)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of all members."""
        form = self._form[0]
        if form.training != self.training:  # it is no module of ours, so our modes do not reach it
            form.train(self.training)
        if self._chain and x.ndim == 3:
            return self._along(form._modules, x)

        def one(weights: tuple[Tensor, ...], inputs: Tensor) -> Tensor:
            named = dict(zip(self.names, weights, strict=True))
            result: Tensor = functional_call(form, named | self._fixed(), (inputs,))
            return result

        result: Tensor = vmap(one, randomness="same")(tuple(self.parameters()), x)
        return result

    def _along(self, layers: Mapping[str, Any], x: Tensor) -> Tensor:
        """Outputs of a chain, by one product a layer: `vmap` would run several operations for each."""
        # Iterating over a list of parameters is slow.
        named = dict(zip(self.names, self.parameters(), strict=True)) | self._fixed()
        for name, layer in layers.items():
            if isinstance(layer, nn.Linear):
                x = torch.baddbmm(named[f"{name}.bias"][:, None], x, named[f"{name}.weight"].mT)
            elif isinstance(layer, Normalise):
                x = (x - named[f"{name}.mean"]) / named[f"{name}.std"]
            else:
                x = layer(x)
        return x

    def _fixed(self) -> dict[str, Tensor]:
        return {name: self.get_buffer(f"constant_{k}") for k, name in enumerate(self._constants)}

    def member(self, index: int) -> dict[str, Tensor]:
        """State of one member, counted from 0, as its network's ``load_state_dict`` takes it."""
        index = check_count("index", index, 0, self.members - 1)
        weights = {
            name: value[index].detach().clone() for name, value in zip(self.names, self.weights, strict=True)
        }
        return weights | self._fixed()


def _is_chain(model: nn.Module) -> bool:
    """Tell whether a model is a sequence of fully connected and pointwise layers, and nothing else.

    Types by identity, since a subclass may compute something else, as may hooks and replaced methods.
    """

    def usual(layer: nn.Module) -> bool:
        if type(layer) is nn.Linear:
            return [name for name, _ in layer.named_parameters()] == ["weight", "bias"]
        return type(layer) in POINTWISE or (type(layer) is Normalise and layer.channels == 1)

    touched = any("forward" in vars(m) or any(getattr(m, hooks) for hooks in HOOKS) for m in model.modules())
    return type(model) is nn.Sequential and all(usual(layer) for layer in model) and not touched


def form_of(model: nn.Module) -> nn.Module:
    """Return the network that a stack has copies of; a network itself."""
    return model._form[0] if isinstance(model, Stack) else model


def leading(model: nn.Module) -> torch.Size:
    """Leading axes that a model adds to its batches: (S,) for a stack, none for a network."""
    return torch.Size([model.members] if isinstance(model, Stack) else [])
