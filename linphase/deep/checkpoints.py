"""Training states as files that are whole or absent, and that refuse to go on with another run.

Every draw of an epoch is a function of the seed and the epoch's number, so weights, the optimiser and the
record so far are the full state: the random generators have nothing to save.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from linphase.study.files import TEMPORARY, write


class CheckpointError(ValueError):
    """A checkpoint belongs to another run, or cannot be read."""


def fingerprint(tensors: Iterable[Tensor]) -> str:
    """Digest of the values of tensors, in their order, wherever they lie."""
    digest = blake2b(digest_size=16)
    for tensor in tensors:
        values = np.ascontiguousarray(tensor.detach().cpu().numpy())
        digest.update(f"{values.dtype}{values.shape}".encode())
        digest.update(values.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def save(path: Path, identity: Mapping[str, str], state: Mapping[str, Any]) -> None:
    """Write a state with the identity of its run; a kill leaves the old file or the new one."""
    buffer = BytesIO()
    torch.save({"identity": dict(identity), "threads": torch.get_num_threads(), "state": dict(state)}, buffer)
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, buffer.getvalue())


def load(path: Path, identity: Mapping[str, str], device: torch.device) -> dict[str, Any] | None:
    """Return the state in a file, or None if there is no file.

    Raises
    ------
    CheckpointError
        If the file is damaged, or its identity differs; the sentence says in what.

    Warns
    -----
    RuntimeWarning
        If it was written under another number of threads: then the last digits may differ.
    """
    if path.parent.is_dir():
        for left in path.parent.iterdir():  # by a kill in the middle of `save`
            if left.name.startswith(path.name) and left.name.endswith(TEMPORARY):
                left.unlink(missing_ok=True)
    if not path.is_file():
        return None
    try:
        content = torch.load(path, map_location=device, weights_only=True)
        theirs, threads, state = dict(content["identity"]), content["threads"], dict(content["state"])
    except Exception as error:
        raise CheckpointError(f"checkpoint {path} cannot be read: {type(error).__name__}") from error
    for name, ours in identity.items():
        if theirs.get(name) != ours:
            raise CheckpointError(
                f"checkpoint {path} is of another run: its {name} is {theirs.get(name)}, here it is {ours}"
            )
    if device.type == "cpu" and threads != torch.get_num_threads():
        warnings.warn(
            f"checkpoint {path} was written with {threads} threads, here are {torch.get_num_threads()}: "
            "the last digits may differ from those of an uninterrupted run",
            RuntimeWarning,
            stacklevel=2,
        )
    return state
