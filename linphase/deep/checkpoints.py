"""Training states as files that are whole or absent, and that refuse to go on with another run.

Every draw of an epoch is a function of the seed and the epoch's number, so weights, momenta and the record so
far are the full state: the random generators have nothing to save. A checksum over the whole file is compared
before anything in it is read, and the form of a state before a run takes anything from it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from linphase.study.files import prepare, seal, unseal, write


class CheckpointError(ValueError):
    """A checkpoint belongs to another run, or cannot be read; without the file the run begins anew."""


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
    write(path, seal(buffer.getvalue()))


def resume(
    path: Path,
    identity: Mapping[str, str],
    device: torch.device,
    restore: Callable[[Mapping[str, Any]], None],
) -> None:
    """Let a run go on from the state in a file, if there is one; its folder is made.

    ``restore`` takes over the state, or raises an error if that has not the form of the run's own.

    Raises
    ------
    CheckpointError
        If the file is damaged, or its identity differs; the sentence says in what.

    Warns
    -----
    RuntimeWarning
        If it was written under another number of threads: then the last digits may differ.
    """
    prepare(path.parent)
    if not path.exists():
        return
    if not path.is_file():
        raise CheckpointError(f"checkpoint {path} cannot be read: it is no file; remove it, or name another")
    sealed = path.read_bytes()
    try:
        content = torch.load(BytesIO(unseal(sealed)), map_location=device, weights_only=True)
        theirs, threads, state = dict(content["identity"]), content["threads"], dict(content["state"])
    except (MemoryError, torch.OutOfMemoryError):  # no fault of the file's
        raise
    except Exception as error:
        raise _unreadable(path, error) from error
    for name, ours in identity.items():
        if theirs.get(name) != ours:
            raise CheckpointError(
                f"checkpoint {path} is of another run: its {name} is {theirs.get(name)}, here it is {ours}; "
                "delete it, or name another file"
            )
    try:
        restore(state)
    except Exception as error:
        raise _unreadable(path, error) from error
    if device.type == "cpu" and threads != torch.get_num_threads():
        warnings.warn(
            f"checkpoint {path} was written with {threads} threads, here are {torch.get_num_threads()}: "
            "the last digits may differ from those of an uninterrupted run",
            RuntimeWarning,
            stacklevel=3,
        )


def _unreadable(path: Path, error: Exception) -> CheckpointError:
    ours = type(error) is ValueError
    reason = error if ours else f"its content is no training state ({type(error).__name__})"
    return CheckpointError(f"checkpoint {path} cannot be read: {reason}; delete it, and the run begins anew")


def check_form(saved: Any, own: Any) -> None:
    """Check that a saved state has the form of a run's own: types, keys, lengths, and shapes of tensors.

    Raises
    ------
    ValueError
        If it has another form.
    """
    if not _alike(saved, own):
        raise ValueError("its state does not have the form of this run's")


def _alike(saved: Any, own: Any) -> bool:
    if isinstance(own, Tensor):
        return isinstance(saved, Tensor) and (saved.shape, saved.dtype) == (own.shape, own.dtype)
    if isinstance(own, Mapping):
        keys = isinstance(saved, Mapping) and saved.keys() == own.keys()
        return keys and all(_alike(saved[key], value) for key, value in own.items())
    if isinstance(own, list):
        length = isinstance(saved, list) and len(saved) == len(own)
        return length and all(map(_alike, saved, own))
    return type(saved) is type(own)


def momenta(optimiser: torch.optim.SGD) -> list[Tensor]:
    """Return the momentum of each parameter, zero before the first step.

    It is the whole state of an optimiser whose settings are those of a recipe.
    """
    kept = (
        (value, optimiser.state.get(value, {}).get("momentum_buffer")) for value in _parameters(optimiser)
    )
    return [torch.zeros_like(value) if own is None else own for value, own in kept]


def set_momenta(optimiser: torch.optim.SGD, values: Sequence[Tensor]) -> None:
    """Give each parameter its momentum."""
    for value, own in zip(_parameters(optimiser), values, strict=True):
        optimiser.state[value]["momentum_buffer"] = own


def _parameters(optimiser: torch.optim.SGD) -> list[Tensor]:
    return [value for group in optimiser.param_groups for value in group["params"]]
