"""Checks of arguments. Each returns the value in the type that the code works with, or raises one sentence.

The sentence names the argument, says what is allowed and shows the value: a ``TypeError`` for a value of a
wrong kind, a ``ValueError`` for one outside its range. A check comes before any work.
"""

import math
from collections.abc import Sequence
from numbers import Integral, Real
from pathlib import Path
from reprlib import Repr
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
T = TypeVar("T")

LARGEST = 1e60
"""Entries of data are at most this large: their fourth powers stay finite."""

SMALLEST = 1e-60
"""A column of data is 0 or has an entry of at least this size: its fourth power does not vanish."""

MOST = 10**9
"""Counts are at most this large."""

_WIDTH = 60  # characters of a value in a message


def shown(value: Any) -> str:
    """Return a value as one line of at most 60 characters, whatever it is."""
    value = _scalar(value)
    try:
        if isinstance(value, np.ndarray) and value.size > 8:
            return f"an array of shape {value.shape} and type {value.dtype}"
        brief = Repr()
        brief.maxstring = brief.maxother = brief.maxlong = _WIDTH
        text = " ".join(brief.repr(value).split())
    except Exception:  # a repr may fail in any way, an integer of 10,000 digits has none
        text = f"an object of type {type(value).__name__}"
    return text if len(text) <= _WIDTH else text[: _WIDTH - 3] + "..."


def check_real(name: str, value: Any, ndim: int, axis: int | None = None) -> Array:
    """Return a nonempty C-ordered float64 array of ``ndim`` dimensions with entries of at most 1e60 in size.

    With an ``axis``, no slice along it may consist of entries below 1e-60 that are not all 0.
    """
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} must not be a masked array: drop or fill the masked entries first")
    try:
        array = np.asarray(value)
        numbers = array.dtype.kind in "buif" or (
            array.dtype.kind == "O" and all(isinstance(entry, Real) for entry in array.flat)
        )
        array = np.ascontiguousarray(array, dtype=np.float64) if numbers else array
    except OverflowError:  # an integer that no float64 holds
        raise ValueError(
            f"{name} must be finite and at most {LARGEST:g} in size, got {shown(value)}"
        ) from None
    except Exception:
        numbers = False
    if not numbers:
        raise TypeError(f"{name} must hold real numbers, got {type(value).__name__} {shown(value)}")
    if array.ndim != ndim or array.size == 0:
        raise ValueError(f"{name} must be a nonempty array of {ndim} dimension(s), got shape {array.shape}")
    sizes = np.maximum(array.max(axis), -array.min(axis))
    largest = sizes if axis is None else sizes.max()
    if not largest <= LARGEST:
        raise ValueError(
            f"{name} must be finite and at most {LARGEST:g} in size, got an entry of {largest:g}"
        )
    if axis is not None and ((sizes > 0.0) & (sizes < SMALLEST)).any():
        what = f"every column of {name}" if ndim - axis % ndim == 2 else name
        found = sizes[(sizes > 0.0) & (sizes < SMALLEST)].min()
        raise ValueError(
            f"{what} must be 0 or have an entry of at least {SMALLEST:g} in size, got at most {found:g}"
        )
    return array


def check_data(X: ArrayLike, y: ArrayLike, ndim: int = 2) -> tuple[Array, Array]:
    """Return X (n, d) and y (n,), or for ``ndim=3`` X (m, n, d) and y (m, n), as float64 in C order."""
    X, y = check_real("X", X, ndim, axis=-2), check_real("y", y, ndim - 1, axis=-1)
    if X.shape[:-1] == y.shape:
        return X, y
    if ndim > 2:
        raise ValueError(f"y must have shape {X.shape[:-1]}, as X has shape {X.shape}, got {y.shape}")
    raise ValueError(f"X and y must have the same length, got {len(X)} rows and {len(y)} responses")


def check_number(name: str, value: Any, allowed: str = "finite", low: float = -math.inf) -> float:
    """Return a finite number of at least ``low``; ``allowed`` says so in words.

    Python's and NumPy's scalars count as numbers, and arrays or tensors of no dimension.
    """
    number = _scalar(value)
    if isinstance(number, bool) or not isinstance(number, Real):
        raise TypeError(f"{name} must be a real number, got {shown(value)}")
    try:
        number = float(number)
    except OverflowError:  # an integer or a fraction that no float holds
        number = math.inf
    if not low <= number < math.inf:
        raise ValueError(f"{name} must be {allowed}, got {shown(value)}")
    return number


def check_nonnegative(name: str, value: Any) -> float:
    """Return a number of at least 0 and at most 1e60."""
    number = check_number(name, value, "finite and at least 0", low=0.0)
    if number > LARGEST:
        raise ValueError(f"{name} must be at most {LARGEST:g}, got {shown(value)}")
    return number


def check_positive(name: str, value: Any) -> float:
    """Return a finite number above 0."""
    return check_number(name, value, "positive and finite", low=math.nextafter(0.0, 1.0))


def check_between(name: str, value: Any, low: float = 0.0, high: float = 1.0) -> float:
    """Return a number strictly between ``low`` and ``high``."""
    allowed = f"strictly between {low:g} and {high:g}"
    number = check_number(name, value, allowed, math.nextafter(low, math.inf))
    if not number < high:
        raise ValueError(f"{name} must be {allowed}, got {shown(value)}")
    return number


def check_count(name: str, value: Any, least: int = 1, most: int = MOST) -> int:
    """Return an integer from ``least`` to ``most``."""
    number = _scalar(value)
    if isinstance(number, bool) or not isinstance(number, Integral):
        raise TypeError(f"{name} must be an integer, got {shown(value)}")
    if not least <= int(number) <= most:
        limit = f"at least {least}" if number < least else f"at most {most}"
        raise ValueError(f"{name} must be {limit}, got {shown(value)}")
    return int(number)


def check_flag(name: str, value: Any) -> bool:
    """Return True or False; nothing else counts as one of them."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {shown(value)}")
    return bool(value)


def check_choice(name: str, value: Any, choices: Sequence[str]) -> str:
    """Return a string that is one of ``choices``."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {shown(value)}")
    return value


def check_kind(name: str, value: Any, kind: type[T], what: str) -> T:
    """Return an instance of ``kind``, which the sentence calls ``what``."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be {what}, got {shown(value)}")
    return value


def check_rng(rng: Any) -> np.random.Generator:
    """Return a NumPy generator."""
    return check_kind("rng", rng, np.random.Generator, "a numpy Generator, as stream() returns")


def check_amount(name: str, value: Any, most: float) -> float:
    """Return a number above 0 and at most ``most``."""
    number = check_positive(name, value)
    if number > most:
        raise ValueError(f"{name} must be at most {most:g}, got {shown(value)}")
    return number


def check_callable(name: str, value: T) -> T:
    """Return a function, or whatever else can be called."""
    if not callable(value):
        raise TypeError(f"{name} must be callable, got {shown(value)}")
    return value


def check_sequence(name: str, values: Any, what: str) -> list[Any]:
    """Return the entries of a nonempty list, tuple, range or array of one dimension."""
    listed = values
    if getattr(values, "ndim", None) == 1 and hasattr(values, "tolist"):
        try:
            listed = values.tolist()
        except Exception:  # a tensor without data has no entries
            listed = None
    if not isinstance(listed, (list, tuple, range)):
        raise TypeError(f"{name} must be a nonempty sequence of {what}, got {shown(values)}")
    if not len(listed):
        raise ValueError(f"{name} must be a nonempty sequence of {what}, got {shown(values)}")
    return list(listed)


def check_path(name: str, value: Any) -> Path:
    """Return the path that a string or a path names."""
    if not isinstance(value, (str, Path)):
        raise TypeError(f"{name} must be a path, got {shown(value)}")
    try:
        Path(value).exists()
    except (OSError, ValueError):  # too long, or with a character that no path has
        raise ValueError(f"{name} must be a path that can exist here, got {shown(value)}") from None
    if not str(value) or "\0" in str(value):
        raise ValueError(f"{name} must be a path that can exist here, got {shown(value)}")
    return Path(value)


def check_steps(step: ArrayLike, n_steps: int) -> Array:
    """Return one positive step size for each of ``n_steps`` updates."""
    steps = check_vector("step", step, n_steps)
    if not (steps > 0).all():
        raise ValueError(f"step must be positive, got {steps.min():g}")
    return steps


def check_vector(name: str, value: ArrayLike, length: int) -> Array:
    """Return an array of shape (length,) from one number or as many as that."""
    if np.ndim(_scalar(value)) == 0:
        return np.full(length, check_number(name, value))
    vector = check_real(name, value, 1)
    if len(vector) not in (1, length):
        raise ValueError(f"{name} must be a number or have shape ({length},), got {len(vector)} entries")
    return np.ascontiguousarray(np.broadcast_to(vector, length))


def _scalar(value: Any) -> Any:
    """The Python number inside a NumPy scalar or an array or tensor of no dimension."""
    if getattr(value, "ndim", None) != 0 or isinstance(value, np.ma.MaskedArray):
        return value
    try:
        return value.item()
    except Exception:  # a tensor without data has no number
        return value
