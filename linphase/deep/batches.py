"""How examples are cut into batches: in order, and never so that batch norm sees a single one."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def fewest(model: nn.Module, mode: str = "train", processes: int = 1) -> int:
    """Return how many examples a batch must have: two for each process where batch norm takes their spread.

    In train mode batch norm does; in eval mode only where it keeps no statistics of its own.
    """
    takes = (
        isinstance(module, _BatchNorm) and (mode == "train" or module.running_mean is None)
        for module in model.modules()
    )
    return 2 * processes if any(takes) else 1


def sizes(n: int, size: int | None, least: int = 1) -> list[int]:
    """Return the sizes of the batches of ``n`` examples; a rest of fewer than ``least`` joins the one before.

    Without a size there is one batch.
    """
    size = n if size is None else min(size, n)
    whole, rest = divmod(n, size)
    cut = [size] * whole
    if rest >= least:
        cut.append(rest)
    else:
        cut[-1] += rest
    return cut
