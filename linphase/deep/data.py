"""Data sets as tensors: scikit-learn's digits; MNIST, Fashion-MNIST, CIFAR and SVHN from official files."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from linphase.checks import check_choice, check_count, check_flag, check_kind, shown
from linphase.deep import augment, sources
from linphase.deep.checks import (
    Bounds,
    check_bounds,
    check_constants,
    check_device,
    check_dtype,
    check_inputs,
    check_reals,
    check_seed,
    check_spreads,
    check_tensor,
    settle,
)
from linphase.deep.models import CIFAR10_MEAN, CIFAR10_STD
from linphase.streams import stream


class _Constants(TypedDict):
    classes: int
    augment: str | None
    mean: tuple[float, ...]
    std: tuple[float, ...]


_SETS: dict[str, _Constants] = {
    "mnist": {"classes": 10, "augment": None, "mean": (0.0,), "std": (1.0,)},
    "fashion-mnist": {"classes": 10, "augment": None, "mean": (0.0,), "std": (1.0,)},
    "cifar10": {"classes": 10, "augment": "crop-flip", "mean": CIFAR10_MEAN, "std": CIFAR10_STD},
    "cifar100": {
        "classes": 100,
        "augment": "crop-flip-rotate",
        "mean": (0.5071, 0.4865, 0.4409),
        "std": (0.2673, 0.2564, 0.2762),
    },
    "svhn": {"classes": 10, "augment": None, "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)},
}
NAMES = ("digits", *_SETS)


@dataclass(frozen=True, eq=False)
class Data:
    """Training and test set of a problem.

    Parameters
    ----------
    name : str
        Of the data set; part of the key of the random streams that draw from it.
    x, y : tensors
        Training set: floating-point inputs (n, …), images as (n, channels, height, width); labels (n,) of
        dtype int64, or real responses if ``classes`` is None.
    x_test, y_test : tensors
        Test set.
    classes : int or None
        Number of classes; None is regression.
    bounds : (float, float) or None
        Interval that holds all inputs, and all attacked ones; None for unscaled features.
    augment : {"crop-flip", "crop-flip-rotate"}, optional
        Augmentation of images in training; see `linphase.deep.augment`.
    mean, std : tuples of float
        Constants by which a model normalises its inputs, one for each channel or a single one.
    """

    name: str
    x: Tensor = field(repr=False)
    y: Tensor = field(repr=False)
    x_test: Tensor = field(repr=False)
    y_test: Tensor = field(repr=False)
    classes: int | None
    bounds: Bounds = (0.0, 1.0)
    augment: str | None = None
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        check_kind("name", self.name, str, "a string")
        classes = None if self.classes is None else check_count("classes", self.classes, 2)
        bounds = check_bounds(self.bounds)
        settle(
            self,
            classes=classes,
            bounds=bounds,
            mean=check_constants("mean", self.mean),
            std=check_spreads("std", self.std),
            x=check_inputs("x", self.x, bounds),
            x_test=check_inputs("x_test", self.x_test, bounds),
        )
        settle(
            self, y=self._labels("y", self.y, self.x), y_test=self._labels("y_test", self.y_test, self.x_test)
        )
        if self.x.device != self.x_test.device:
            raise ValueError(f"x_test must lie on the device of x, {self.x.device}, got {self.x_test.device}")
        if self.x.shape[1:] != self.x_test.shape[1:]:
            shapes = f"{tuple(self.x.shape)} and {tuple(self.x_test.shape)}"
            raise ValueError(f"x and x_test must agree but in their first axis, got shapes {shapes}")
        augment.check_kind(self.augment, self.x)
        channels = self.x.shape[1] if self.x.ndim == 4 else 1
        for name, constants in (("mean", self.mean), ("std", self.std)):
            if len(constants) not in (1, channels):
                raise ValueError(f"{name} must have one entry or {channels}, got {shown(constants)}")

    def _labels(self, name: str, y: Any, x: Tensor) -> Tensor:
        """Check the labels of inputs; return them without the history of a gradient."""
        labels = check_tensor(name, y)
        if labels.shape != (len(x),):
            raise ValueError(
                f"{name} must have shape ({len(x)},), an entry for each input, got {tuple(labels.shape)}"
            )
        if labels.device != x.device:
            raise ValueError(f"{name} must lie on the device of its inputs, {x.device}, got {labels.device}")
        if self.classes is None:
            if not labels.is_floating_point():
                raise TypeError(f"{name} must be floating-point if classes is None, got {labels.dtype}")
            return check_reals(name, labels).detach()
        if labels.dtype != torch.int64:
            raise TypeError(f"{name} must have dtype int64, got {labels.dtype}")
        low, high = (int(value) for value in labels.aminmax())
        if low < 0 or high >= self.classes:
            raise ValueError(f"{name} must lie in 0..{self.classes - 1}, got labels in {low}..{high}")
        return labels

    @property
    def n(self) -> int:
        """Size of the training set."""
        return len(self.x)

    def to(
        self,
        device: str | torch.device,
        dtype: torch.dtype | None = None,
        channels_last: bool = False,
    ) -> Data:
        """Return the data on a device, in another type if one is given.

        Parameters
        ----------
        device : str or device
            Where the tensors go.
        dtype : dtype, optional
            Floating-point type of inputs and real responses; labels stay int64.
        channels_last : bool
            Lay images out in memory with their channels last.
        """
        device, dtype = check_device(device), None if dtype is None else check_dtype(dtype)
        layout = (
            torch.channels_last
            if check_flag("channels_last", channels_last) and self.x.ndim == 4
            else torch.preserve_format
        )
        kind = dtype if self.classes is None else None
        return replace(
            self,
            x=self.x.to(device, dtype, memory_format=layout),
            y=self.y.to(device, kind),
            x_test=self.x_test.to(device, dtype, memory_format=layout),
            y_test=self.y_test.to(device, kind),
        )

    def subset(self, n: int, seed: int) -> Data:
        """Return the data with ``n`` of the training examples, drawn without replacement; the test set stays.

        Classes have the shares that they have in the whole set, up to rounding. The draw is fixed by seed,
        name and n; the examples keep their order.
        """
        n, seed = check_count("n", n), check_seed("seed", seed)
        if n > self.n:
            raise ValueError(f"n must be at most {self.n}, the size of the training set, got {n}")
        labels = np.zeros(self.n, np.int64) if self.classes is None else self.y.cpu().numpy()
        chosen = torch.from_numpy(_stratified(labels, n, stream(seed, "subset", self.name, n))).to(
            self.x.device
        )
        return replace(self, x=self.x[chosen], y=self.y[chosen])


def digits(seed: int = 0, n_test: int = 397) -> Data:
    """Return scikit-learn's 1797 digits of 8 × 8 pixels, as 64 features in [0, 1].

    Parameters
    ----------
    seed : int
        Of the split, which is stratified.
    n_test : int
        Size of the test set.
    """
    seed, n_test = check_seed("seed", seed), check_count("n_test", n_test)
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    if n_test >= len(labels):
        raise ValueError(f"n_test must be less than {len(labels)}, the number of digits, got {n_test}")
    test = np.zeros(len(labels), bool)
    test[_stratified(labels, n_test, stream(seed, "split", "digits"))] = True
    x, y = torch.from_numpy(pixels / 16).float(), torch.from_numpy(labels).long()
    return Data("digits", x[~test], y[~test], x[test], y[test], classes=10)


def load(name: str, folder: str | Path | None = None, download: bool = False) -> Data:
    """Load a data set: images (n, channels, height, width) of dtype float32 in [0, 1].

    Parameters
    ----------
    name : {"digits", "mnist", "fashion-mnist", "cifar10", "cifar100", "svhn"}
        The data set. "digits" comes with scikit-learn, as 64 features, and needs no folder.
    folder : path, optional
        Where the official files lie, in the layout of torchvision: ``MNIST/raw``, ``FashionMNIST/raw``,
        ``cifar-10-batches-py``, ``cifar-100-python``, ``SVHN`` (or the folder itself).
    download : bool
        Fetch files that are missing from their official addresses.

    Returns
    -------
    Data
        The official training and test sets, whole.

    Raises
    ------
    ValueError
        If there is no such data set, or no folder is given.
    ChecksumError
        If a file is not the official one, which is found out before anything is parsed.
    FileNotFoundError
        If folder or file is missing, and is not to be downloaded.
    """
    check_choice("name", name, NAMES)
    folder, download = sources.check_place(folder, download)
    if name == "digits":
        return digits()
    (images, labels), (test_images, test_labels) = sources.read(name, folder, download)
    x, y = _unit(images), torch.from_numpy(labels)
    return Data(name, x, y, _unit(test_images), torch.from_numpy(test_labels), **_SETS[name])


def _unit(images: NDArray[np.uint8]) -> Tensor:
    """Bytes as float32 in [0, 1]."""
    return torch.tensor(images, dtype=torch.float32).div_(255)


def _stratified(labels: NDArray[np.int64], n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Sorted indices of ``n`` examples; each class has its share of them by the largest remainders."""
    classes, sizes = np.unique(labels, return_counts=True)
    counts, remainders = np.divmod(sizes * n, len(labels))
    ranked = np.lexsort((rng.random(len(classes)), -remainders))  # ties by lot
    counts[ranked[: n - counts.sum()]] += 1
    chosen = [
        rng.permutation(np.flatnonzero(labels == label))[:count]
        for label, count in zip(classes, counts, strict=True)
    ]
    return np.sort(np.concatenate(chosen))
