"""Augmentation of whole batches of images on their device, each image by its own draw."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from linphase.checks import shown

KINDS = ("crop-flip", "crop-flip-rotate")
PAD = 4
DEGREES = 15.0


def augment(x: Tensor, kind: str | None, generator: torch.Generator) -> Tensor:
    """Return an augmented batch; values stay in the range that they have, as does the layout in memory.

    Parameters
    ----------
    x : tensor (batch, channels, height, width)
        Images.
    kind : {"crop-flip", "crop-flip-rotate"} or None
        Random crop after padding by 4 reflected pixels and horizontal flip with probability 1/2; then
        rotation by up to 15° either way, the corners filled by reflection; None returns the batch itself.
    generator : Generator
        Source of the draws, on the device of the batch.
    """
    check_kind(kind, x)
    if kind is None:
        return x
    batch, device = len(x), x.device
    down, right = torch.randint(-PAD, PAD + 1, (2, batch), generator=generator, device=device)
    flipped = torch.randint(0, 2, (batch,), generator=generator, device=device).bool()
    result = shift(x, down, right, flipped)
    if kind == "crop-flip-rotate":
        # Drawn in float32 at any precision of the images, so that they are rotated alike.
        turn = torch.rand(batch, generator=generator, device=device, dtype=torch.float32)
        result = rotate(result, (2 * turn - 1) * DEGREES)
    layout = torch.contiguous_format if x.is_contiguous() else torch.channels_last
    return result.contiguous(memory_format=layout)


def check_kind(kind: Any, x: Tensor) -> None:
    """Raise unless ``kind`` is known and fits inputs ``x``."""
    if kind is None:
        return
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"augment must be one of {', '.join(KINDS)} or None, got {shown(kind)}")
    if x.ndim != 4 or min(x.shape[2:]) <= PAD:
        raise ValueError(
            f"augment must be None unless inputs are images (n, channels, height, width) of more than {PAD} "
            f"pixels a side, got {kind!r} for shape {tuple(x.shape)}"
        )


def shift(x: Tensor, down: Tensor, right: Tensor, flipped: Tensor) -> Tensor:
    """Move the window by ``down`` and ``right`` pixels over each reflected image, then flip where asked."""
    height, width = x.shape[2:]
    columns = torch.arange(width, device=x.device)
    columns = torch.where(flipped[:, None], width - 1 - columns, columns)
    rows = _reflected(down[:, None] + torch.arange(height, device=x.device), height)
    columns = _reflected(right[:, None] + columns, width)
    images = torch.arange(len(x), device=x.device)[:, None, None]
    # Channels last and back: each pixel is read with all of its channels, and no padded copy is made.
    return x.movedim(1, -1)[images, rows[:, :, None], columns[:, None, :]].movedim(-1, 1)


def rotate(x: Tensor, degrees: Tensor) -> Tensor:
    """Turn each image counter-clockwise about its centre, bilinearly, its outside reflected at the edges."""
    height, width = x.shape[2:]
    radians = degrees.to(x.dtype) * (math.pi / 180)
    cos, sin, none = radians.cos(), radians.sin(), torch.zeros_like(radians)
    # Coordinates of grid_sample go from -1 to 1 along either side: the ratio makes it a rotation in pixels.
    rows = (cos, -sin * (height / width), none, sin * (width / height), cos, none)
    matrices = torch.stack(rows, 1).reshape(-1, 2, 3)
    grid = affine_grid(matrices, list(x.shape), align_corners=False)
    turned = grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    low, high = x.aminmax()
    return turned.clamp(low, high)  # the weights sum to 1 only up to rounding


def _reflected(index: Tensor, size: int) -> Tensor:
    """Pixel that stands at an index up to ``size`` - 1 outside: reflection about the border pixel."""
    return size - 1 - (size - 1 - index.abs()).abs()
