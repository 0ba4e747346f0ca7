"""Small networks, data and runs that several test files share."""

import numpy as np
import torch
from torch import nn

from linphase.deep import Attack, Data, Recipe, mlp

RECIPE = Recipe(epochs=5, batch_size=20, lr=0.2, attack=Attack(steps=2))


def blobs(n=50, seed=0, tests=60):
    """Three classes that overlap, in [0, 1]⁵."""
    g = torch.Generator().manual_seed(seed)
    centres = torch.rand(3, 5, generator=g)
    y, y_test = (torch.randint(3, (size,), generator=g) for size in (n, tests))
    x, x_test = ((centres[k] + 0.25 * torch.randn(len(k), 5, generator=g)).clamp(0, 1) for k in (y, y_test))
    return Data("blobs", x, y, x_test, y_test, classes=3)


def network(seed=0, activation="relu"):
    torch.manual_seed(seed)
    return mlp((5, 8, 3), activation)


def normed(seed=0):
    """With batch norm and dropout: statistics and random masks are part of the state."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.ReLU(), nn.Linear(8, 3))


def convolutional(seed=0):
    """On images of three channels, with batch norm."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 3),
    )


def same_weights(a, b):
    return all(
        torch.equal(v, w) for v, w in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )


def same_history(a, b):
    return all(
        np.array_equal(value, getattr(b, name), equal_nan=True)
        for name, value in vars(a).items()
        if name != "seconds"
    )


class Killed(Exception):  # noqa: N818
    """Raised where a process would be killed."""


def killing(epoch):
    def report(line):
        if line.startswith(f"epoch {epoch}/"):
            raise Killed

    return report
