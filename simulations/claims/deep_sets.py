"""Data sets, networks and recipes of the deep simulations, and the flags that choose among them."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from linphase import deep
from linphase.deep.checks import find_device
from linphase.deep.data import NAMES
from linphase.deep.models import model
from linphase.streams import stream
from linphase.study import Flag, Local, Options, at_least

FLAGS = (
    Flag("--dataset", "what to train on (default: digits, which needs no download)", "digits", choices=NAMES),
    Flag("--data", "folder with the official files", type=Path, metavar="FOLDER"),
    Flag("--download", "fetch the official files into that folder", switch=True),
    Flag("--device", "where to train", "auto", choices=("auto", "cpu", "cuda", "mps")),
    Flag(
        "--epochs", "length of the schedule (default: 60 for digits, 15 else)", type=at_least(1), metavar="N"
    ),
)
EPOCHS = {"digits": 60}
STEPS = {"digits": 5}
"""Of the attack."""


def epochs_of(options: Options) -> int:
    """Length of the schedule."""
    chosen = options.own["epochs"] or EPOCHS.get(options.own["dataset"], 15)
    return int(chosen if options.own["epochs"] or not options.quick else max(2, chosen // 6))


def integer(seed: int, *key: int | float | str) -> int:
    """Return the seed of torch for a seed and a key."""
    return int(stream(seed, *key).integers(2**31))


def examples(setting: Mapping[str, Any], seed: int, local: Local) -> deep.Data:
    """Return ``n`` training examples drawn with a seed, and the test set; digits are split anew."""
    name, n = setting["dataset"], setting["n"]
    data = (
        deep.digits(seed) if name == "digits" else deep.load(name, local.own["data"], local.own["download"])
    )
    return data.subset(n, seed).to(find_device(local.own["device"]))


def recipe(setting: Mapping[str, Any]) -> deep.Recipe:
    """Return the paper's recipe over the setting's epochs, with its norm and loss."""
    attack = deep.Attack(setting["norm"], STEPS.get(setting["dataset"], 10))
    rate = 0.01 if setting["dataset"] == "svhn" else 0.1
    judged = None if setting["dataset"] == "digits" else 2000
    return deep.Recipe(
        setting["epochs"], lr=rate, attack=attack, loss=setting["loss"], judged_examples=judged
    )


def factory(setting: Mapping[str, Any], data: deep.Data) -> Callable[[], nn.Module]:
    """Return what makes the setting's network: its ``width`` is that of the layer the paper varies."""
    width, constants = setting["width"], {"mean": data.mean, "std": data.std}
    classes = int(data.classes or 10)
    if setting["network"] == "mlp":
        return partial(model, "mlp", widths=(data.x[0].numel(), width, width, classes), **constants)
    options = {"mnist-cnn": {"width": width}, "wide-resnet34": {"k": width}}.get(setting["network"], {})
    return partial(model, setting["network"], classes=classes, **options, **constants)
