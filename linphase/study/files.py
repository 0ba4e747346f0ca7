"""Files that are whole or absent."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

TEMPORARY = ".part"


def write(path: Path, data: bytes) -> None:
    """Write a file through a temporary one beside it, so that a kill leaves the old file or the new one."""
    handle, name = tempfile.mkstemp(suffix=TEMPORARY, prefix=path.name, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(name).chmod(0o644)  # mkstemp's own mode is private
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def sweep(folder: Path) -> None:
    """Remove the temporary files that a killed run left in a folder."""
    for path in folder.glob(f"*{TEMPORARY}"):
        path.unlink(missing_ok=True)


def pack(arrays: Mapping[str, NDArray[Any]], *, compress: bool = False) -> bytes:
    """Return arrays as the bytes of an npz file; the same arrays give the same bytes."""
    buffer = BytesIO()
    save = np.savez_compressed if compress else np.savez
    save(buffer, allow_pickle=False, **arrays)  # NumPy stamps every member with 1980
    return buffer.getvalue()


def unpack(path: Path) -> dict[str, NDArray[Any]] | None:
    """Return the arrays of an npz file, or None if it is absent, truncated or damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, KeyError, BadZipFile):
        return None
