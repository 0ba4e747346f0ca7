"""Networks of the paper: fully connected, the small convolutional one of MNIST, and two residual ones.

Each takes inputs in [0, 1] and returns logits. It begins with `Normalise`, so that an attack and its strength
live in [0, 1] while the layers see normalised inputs, and a checkpoint carries the constants it was trained
with. Weights are drawn from torch's global generator: ``torch.manual_seed`` before the call fixes them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from linphase.checks import check_choice, check_count, check_entries, shown
from linphase.deep.checks import check_constants, check_spreads

CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR10_STD = (0.2471, 0.2435, 0.2616)
WIDEST, LARGEST = 10**6, 10**9
"""Widths of layers, and weights of a network of fully connected ones."""
MOST_CLASSES = 10**5
ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}


class Normalise(nn.Module):
    """(x − mean) / std.

    Parameters
    ----------
    mean, std : sequences of float
        One entry for each channel of images (…, channels, height, width), or a single one for inputs of any
        shape.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        means, stds = check_constants("mean", mean), check_spreads("std", std)
        if len(means) != len(stds):
            raise ValueError(f"std must have as many entries as mean, got {len(stds)} for {len(means)}")
        self.channels = len(means)
        # A single constant has no axes: (1, 1, 1) would broadcast features (batch, d) to (1, batch, d).
        shape = (self.channels, 1, 1) if self.channels > 1 else ()
        self.register_buffer("mean", torch.tensor(means).reshape(shape))
        self.register_buffer("std", torch.tensor(stds).reshape(shape))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise a batch."""
        # Unchecked, one channel would broadcast to three.
        if self.channels > 1 and (x.ndim < 3 or x.shape[-3] != self.channels):
            raise ValueError(f"x must be images of {self.channels} channels, got shape {tuple(x.shape)}")
        return (x - self.mean) / self.std

    def extra_repr(self) -> str:
        """Constants, for print(model)."""
        return f"mean={self.mean.flatten().tolist()}, std={self.std.flatten().tolist()}"


def mlp(
    widths: Sequence[int],
    activation: str = "relu",
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
) -> nn.Sequential:
    """Fully connected network on inputs (…, features).

    Parameters
    ----------
    widths : sequence of int
        Features, hidden widths, outputs: (64, 16, 16, 10) has two hidden layers.
    activation : {"relu", "tanh"}
        Between the linear layers.
    mean, std : sequences of float
        See `Normalise`; here of a single entry.
    """
    widths = [
        check_count("every entry of widths", width, most=WIDEST)
        for width in check_entries("widths", widths, "integers")
    ]
    if len(widths) < 2:
        raise ValueError(f"widths must have an input and an output at least, got {shown(widths)}")
    if sum(inputs * outputs for inputs, outputs in pairwise(widths)) > LARGEST:
        raise ValueError(f"widths must make at most {LARGEST} weights, got {shown(widths)}")
    check_choice("activation", activation, tuple(ACTIVATIONS))
    layers: list[nn.Module] = [Normalise(mean, std)]
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


def mnist_cnn(
    width: int = 128,
    classes: int = 10,
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
) -> nn.Sequential:
    """Two strided convolutions and two linear layers, on images (batch, 1, 28, 28).

    It is the MNIST network of Wong, Rice and Kolter (ICLR 2020) with ``width`` hidden units, there 100.
    """
    width = check_count("width", width, most=MOST_CLASSES)
    classes = check_count("classes", classes, 2, MOST_CLASSES)
    return nn.Sequential(
        Normalise(mean, std),
        nn.Conv2d(1, 16, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(-3),
        nn.Linear(32 * 7 * 7, width),
        nn.ReLU(),
        nn.Linear(width, classes),
    )


def preact_resnet18(
    classes: int = 10,
    mean: Sequence[float] = CIFAR10_MEAN,
    std: Sequence[float] = CIFAR10_STD,
) -> nn.Sequential:
    """PreActResNet18 (He et al., ECCV 2016) in its form for 32 × 32 images.

    Stem of 64, two blocks each of 64, 128, 256 and 512 channels, and torch's own initialisation. The images
    have as many channels as ``mean`` has entries.
    """
    return _residual(64, (64, 128, 256, 512), 2, classes, mean, std)


def wide_resnet34(
    k: int,
    classes: int = 10,
    mean: Sequence[float] = CIFAR10_MEAN,
    std: Sequence[float] = CIFAR10_STD,
) -> nn.Sequential:
    """WideResNet34-k (Zagoruyko and Komodakis, BMVC 2016), without dropout, for 32 × 32 images.

    Stem of 16, five blocks each of 16k, 32k and 64k channels. Convolutions start from He's normal law with
    variance 2 / fan-out. The images have as many channels as ``mean`` has entries.
    """
    k = check_count("k", k, most=64)
    network = _residual(16, (16 * k, 32 * k, 64 * k), 5, classes, mean, std)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
    return network


class _Block(nn.Module):
    """Twice batch norm, ReLU and 3 × 3 convolution, beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        same = stride == 1 and inputs == outputs
        self.shortcut = None if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        active = relu(self.norm1(x))
        # Only the identity starts before the activation.
        short = x if self.shortcut is None else self.shortcut(active)
        out: Tensor = self.conv2(relu(self.norm2(self.conv1(active)))) + short
        return out


def _residual(
    stem: int,
    widths: Sequence[int],
    depth: int,
    classes: int,
    mean: Sequence[float],
    std: Sequence[float],
) -> nn.Sequential:
    """Stem, stages of ``depth`` blocks of which all but the first halve the image, pooling, linear layer."""
    classes = check_count("classes", classes, 2, MOST_CLASSES)
    normalise = Normalise(mean, std)
    blocks: list[nn.Module] = []
    for stage, (inputs, outputs) in enumerate(pairwise((stem, *widths))):
        blocks.append(_Block(inputs, outputs, stride=2 if stage else 1))
        blocks += [_Block(outputs, outputs, stride=1) for _ in range(depth - 1)]
    return nn.Sequential(
        normalise,
        nn.Conv2d(normalise.channels, stem, 3, padding=1, bias=False),
        *blocks,
        nn.BatchNorm2d(widths[-1]),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(widths[-1], classes),
    )


MODELS: dict[str, Callable[..., nn.Module]] = {
    "mlp": mlp,
    "mnist-cnn": mnist_cnn,
    "preact-resnet18": preact_resnet18,
    "wide-resnet34": wide_resnet34,
}


def model(name: str, **options: Any) -> nn.Module:
    """Return a new network by name, one of `MODELS`; the options are its function's arguments."""
    check_choice("name", name, tuple(MODELS))
    return MODELS[name](**options)
