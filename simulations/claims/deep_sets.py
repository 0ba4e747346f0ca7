"""Data sets, networks and recipes of the deep simulations, and the flags that choose among them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
    Flag("--device", "where to train", "auto", choices=("auto", "cpu", "cuda")),
    Flag("--epochs", "length of the schedule (default: by data set)", None, at_least(1), metavar="N"),
)
SIZES = Flag("--sizes", "all training sets, or all but the largest", "all", choices=("all", "small"))
"""Of the tables with several sizes."""
ONCE = Flag(
    "--scratch", "train anew until ε* is bracketed, or once where following leads", "full",
    choices=("full", "once"),
)  # fmt: skip
"""Of tables that train from scratch at one strength after the other: a large network affords one run."""
UPDATES = 440
"""On digits, whatever n is: with equal epochs a small training set gets too few updates to be fitted."""
EPOCHS = {50_000: 20, 10_000: 30, 1_000: 100}
"""On MNIST and Fashion-MNIST by n, for the same reason."""
CIFAR_EPOCHS = {50_000: 15, 25_000: 20, 10_000: 30}
"""Likewise: after 15 epochs on 10,000 images the training loss is hardly below the test loss."""
WARM_UP = {"mnist": 1 / 3, "fashion-mnist": 1 / 3, "svhn": 1 / 3}
"""Share of the schedule over which ε rises; without it training on MNIST stays at chance at 60/255."""
STEPS = {"digits": 5}
"""Of the attack; ten elsewhere."""
MIXED = ("cifar10", "cifar100", "svhn")
"""Trained in bfloat16, images with their channels last."""


@dataclass(frozen=True)
class Net:
    """A network at a size of the training set, with the number of seeds it gets.

    ``width`` is that of the layers the paper varies: hidden units of the fully connected part, k of
    WideResNet34-k, channels of the first stage of PreActResNet18.
    """

    network: str
    width: int
    n: int
    seeds: int


def _small(network: str, widths: tuple[int, ...], seeds: Mapping[int, int]) -> list[Net]:
    return [Net(network, width, n, reps) for n, reps in seeds.items() for width in widths]


NETS = {
    "digits": _small("mlp", (16, 64), {1400: 10, 440: 10, 140: 10}),
    "mnist": _small("mnist-cnn", (128, 16), {50_000: 1, 10_000: 3, 1_000: 3}),
    "fashion-mnist": _small("mnist-cnn", (128, 16), {50_000: 1, 10_000: 3, 1_000: 3}),
    "cifar10": [
        Net("preact-resnet18", 64, 10_000, 1),
        Net("preact-resnet18", 64, 50_000, 1),
        Net("wide-resnet34", 1, 50_000, 1),
    ],
    "cifar100": [Net("preact-resnet18", 64, 25_000, 1), Net("preact-resnet18", 64, 50_000, 1)],
    "svhn": [Net("preact-resnet18", 64, 50_000, 1)],
}
"""The networks and sizes of Table 3, largest first, so that no worker ends with the longest block."""


def nets(options: Options) -> list[Net]:
    """Return the networks of the data set at the sizes asked for; a quick run takes the two smallest."""
    every = NETS[options.own["dataset"]]
    sizes = sorted({net.n for net in every})
    if options.own.get("sizes") == "small":
        sizes = sizes[:-1] or sizes
    kept = sizes[:2] if options.quick else sizes
    return [net for net in every if net.n in kept]


def setting(net: Net, options: Options, **others: Any) -> dict[str, Any]:
    """Return the setting of a block."""
    dataset = options.own["dataset"]
    usual = {"norm": "linf", "loss": "cross-entropy", "epochs": epochs(options, net.n)}
    if options.own.get("scratch") == "once":
        usual["once"] = True
    return {"dataset": dataset, "network": net.network, "width": net.width, "n": net.n} | usual | others


def seeds_of(options: Options, others: Mapping[str, int] | None = None) -> Callable[[Mapping[str, Any]], int]:
    """Return the number of seeds of a setting: of its network, unless ``others`` has one for the data set.

    A network with a single seed, as it is large, keeps that.
    """
    dataset = options.own["dataset"]
    number = (others or {}).get(dataset)
    known = {
        (net.network, net.width, net.n): number if number and net.seeds > 1 else net.seeds
        for net in NETS[dataset]
    }

    def seeds(s: Mapping[str, Any]) -> int:
        own = known[s["network"], s["width"], s["n"]]
        return min(2, own) if options.quick else own

    return seeds


def epochs(options: Options, n: int) -> int:
    """Length of the schedule at a size of the training set; a quick run halves it."""
    usual = {"digits": round(UPDATES / -(-n // 128)), "mnist": EPOCHS.get(n, 10)}
    usual["fashion-mnist"] = usual["mnist"]
    usual["cifar10"] = usual["cifar100"] = CIFAR_EPOCHS.get(n, 15)
    own = usual.get(options.own["dataset"], 15)
    return int(options.own["epochs"] or (own // 2 if options.quick else own))


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


def attack_steps(setting: Mapping[str, Any]) -> int:
    """Steps of the training attack."""
    return STEPS.get(setting["dataset"], 10)


def judged(setting: Mapping[str, Any]) -> int | None:
    """Test examples attacked after each epoch: of a small set, scoring would cost more than training."""
    return None if setting["dataset"] == "digits" else min(2000, setting["n"] // 2)


def judged_every(setting: Mapping[str, Any]) -> int:
    """Epochs between scores: some forty of a long schedule."""
    return max(1, setting["epochs"] // 40)


def recipe(setting: Mapping[str, Any]) -> deep.Recipe:
    """Return the paper's recipe over the setting's epochs, with its norm and loss."""
    mixed = setting["dataset"] in MIXED
    mode = "eval" if setting["loss"] in ("trades", "mart") else "train"  # as their authors attack
    return deep.Recipe(
        setting["epochs"],
        lr=0.01 if setting["dataset"] == "svhn" else 0.1,
        attack=deep.Attack(setting["norm"], attack_steps(setting), mode=mode),
        loss=setting["loss"],
        eps_warmup=round(WARM_UP.get(setting["dataset"], 0) * setting["epochs"]),
        precision="bfloat16" if mixed else "float32",
        channels_last=mixed,
        cuda_graphs=True,
        judged_examples=judged(setting),
        judged_every=judged_every(setting),
    )


def factory(setting: Mapping[str, Any], data: deep.Data) -> Callable[[], nn.Module]:
    """Return what makes the setting's network."""
    width, constants = setting["width"], {"mean": data.mean, "std": data.std}
    classes = int(data.classes or 10)
    if setting["network"] == "mlp":
        return partial(model, "mlp", widths=(data.x[0].numel(), width, width, classes), **constants)
    options = {"mnist-cnn": {"width": width}, "wide-resnet34": {"k": width}}.get(setting["network"], {})
    return partial(model, setting["network"], classes=classes, **options, **constants)
