"""Files that are whole or absent, whose content shows when a bit of it has changed."""

from __future__ import annotations

import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from errno import ENOTDIR
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FORMAT = "linphase-1"
"""Stands before the checksum at the end of a sealed file."""
HERE = re.sub(r"\W", "", platform.node())[:20] or "host"
DAY = 86_400.0


def write(path: Path, data: bytes) -> None:
    """Write a file through a temporary one beside it, so that a kill leaves the old file or the new one.

    The content is on the disk before the name is: a loss of power leaves no empty file of that name either.
    The temporary file bears the name of this host and the number of this process, for `sweep`.

    Raises
    ------
    OSError
        With the name of the file, if it cannot be written.
    """
    try:
        _write(path, data)
    except OSError as error:
        raise named(error, path) from error


def _write(path: Path, data: bytes) -> None:
    mark = f".{HERE}-{os.getpid()}-"
    handle, name = tempfile.mkstemp(suffix=".part", prefix=f"{path.name}{mark}", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)  # mkstemp's own mode is private
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    if hasattr(os, "O_DIRECTORY"):
        with suppress(OSError):  # some file systems cannot do it, and the file is whole without it
            folder = os.open(path.parent, os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


def prepare(folder: Path) -> None:
    """Make a folder where there is none, and sweep it.

    Raises
    ------
    OSError
        With the name of the folder, if it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(ENOTDIR, os.strerror(ENOTDIR), str(folder)) from error
    sweep(folder)


def sweep(folder: Path) -> None:
    """Remove the temporary files that killed processes left in a folder.

    Other runs that are alive may share the folder, and their files must stay. A process of this host can be
    asked for; one of another host cannot, but no process takes a day to write a file.
    """
    for path in folder.glob("*.part"):
        named = re.fullmatch(r".+\.(\w+)-(\d+)-\w+\.part", path.name)
        with suppress(OSError):  # what cannot be removed is no reason to end a run
            if named and _abandoned(path, *named.groups()):
                path.unlink()


def _abandoned(path: Path, host: str, process: str) -> bool:
    if host == HERE and os.name == "posix":  # elsewhere the question would end the process
        try:
            os.kill(int(process), 0)
        except (ProcessLookupError, OverflowError):
            return True
        except PermissionError:
            pass
    return time.time() - path.stat().st_mtime > DAY


def remove(path: Path) -> None:
    """Remove a file or a folder with all that is in it; nothing where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def named(error: OSError, path: Path) -> OSError:
    """Return an error of the system with the name of the file that was to be read or written."""
    return OSError(error.errno, error.strerror or str(error), str(path))


def told(error: Exception) -> str:
    """Return an error as half a sentence; one of the system says what cannot be read or written, and why."""
    if not isinstance(error, OSError):
        return str(error)
    reason = error.strerror or str(error) or type(error).__name__
    return f"{error.filename} cannot be read or written ({reason})" if error.filename else reason


def seal(content: bytes, name: str = "") -> bytes:
    """Return content with a last line that bears its checksum, and that of a name where it must have one.

    It stands at the end because readers of zip archives, such as NumPy's and torch's, do not mind it there.
    """
    digest = blake2b(f"{name}\n".encode())
    digest.update(content)
    return content + f"\n{FORMAT} {digest.hexdigest()}\n".encode()


def unseal(sealed: bytes, name: str = "") -> bytes:
    """Return the content of sealed bytes.

    Raises
    ------
    ValueError
        If a bit of them has changed, or some are missing.
    """
    content = sealed[: len(sealed) - len(seal(b""))]
    if seal(content, name) != sealed:
        raise ValueError("its checksum is wrong or missing")
    return content


def pack(arrays: Mapping[str, NDArray[Any]], *, compress: bool = False) -> bytes:
    """Return arrays as the bytes of an npz file; the same arrays give the same bytes."""
    buffer = BytesIO()
    save = np.savez_compressed if compress else np.savez
    save(buffer, allow_pickle=False, **arrays)  # NumPy stamps every member with 1980
    return buffer.getvalue()


def unpack(packed: bytes) -> dict[str, NDArray[Any]]:
    """Return the arrays in the bytes of an npz file.

    Raises
    ------
    ValueError
        If they are no such file, or a damaged one; nothing in them is executed.
    """
    try:
        with np.load(BytesIO(packed), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except Exception as error:  # NumPy and zipfile have a dozen kinds for what may be wrong
        raise ValueError(f"it is no readable npz file: {error or type(error).__name__}") from error
    if not all(isinstance(array, np.ndarray) for array in arrays.values()):
        raise ValueError("it holds something that is no array")
    return arrays
