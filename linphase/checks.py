"""Checks of arguments. Each returns the value in the type that the code works with, or raises one sentence.

The sentence names the argument, says what is allowed and shows the value: a ``TypeError`` for a value of a
wrong kind, a ``ValueError`` for one outside its range. A check comes before any work.
"""

import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from reprlib import Repr
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from linphase._kernels.sizes import largest

Array = NDArray[np.float64]
T = TypeVar("T")

LARGEST = 1e45
"""Entries of data are at most this large: products of six of them stay finite."""

SMALLEST = 1e-45
"""A column of data is 0 or has an entry of at least this size: products of six do not vanish."""

MOST = 10**9
"""Counts are at most this large."""

_WIDTH = 60  # characters of a value in a message
_NO_NUMBERS = (bool, np.timedelta64)  # although they count as integers
_MAX = float(np.finfo(np.float64).max)


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


def check_numbers(name: str, value: Any) -> Array:
    """Return a C-ordered float64 array of any shape; its numbers may be NaN or infinite."""
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} must not be a masked array: drop or fill the masked entries first")
    try:
        array = np.asarray(value)
        if array.dtype.kind in "buif" or (
            array.dtype.kind == "O" and all(isinstance(entry, Real) for entry in array.flat)
        ):
            with np.errstate(over="ignore"):
                return np.asarray(array, dtype=np.float64, order="C")
    except OverflowError:  # an integer that no float64 holds
        raise ValueError(
            f"{name} must be finite and at most {LARGEST:g} in size, got {shown(value)}"
        ) from None
    except Exception:  # a ragged list, a tensor with a gradient: whatever NumPy makes no array of
        pass
    raise TypeError(f"{name} must hold real numbers, got {type(value).__name__} {shown(value)}")


def check_array(name: str, value: Any, most: float = LARGEST) -> Array:
    """Return a nonempty C-ordered float64 array of any shape, with entries of at most ``most`` in size."""
    array = check_numbers(name, value)
    if array.size == 0:
        raise ValueError(f"{name} must hold at least one number, got shape {array.shape}")
    _check_sizes(name, np.array([max(array.max(), -array.min())]), most=most)
    return array


def check_real(name: str, value: Any, ndim: int) -> Array:
    """Return a nonempty C-ordered float64 array of ``ndim`` dimensions, with entries of at most 1e45."""
    array = _check_ndim(name, value, ndim)
    _check_sizes(name, np.array([max(array.max(), -array.min())]))
    return array


def check_columns(name: str, value: Any, ndim: int) -> Array:
    """Return such an array whose columns are 0 or have an entry of at least 1e-45 in size.

    Columns run along the last axis but one, or along the only one.
    """
    array = _check_ndim(name, value, ndim)
    if ndim == 1:
        _check_sizes(name, largest(array.reshape(1, -1, 1)), name)
    else:
        _check_sizes(name, largest(array.reshape(-1, *array.shape[-2:])), f"every column of {name}")
    return array


def check_data(X: ArrayLike, y: ArrayLike, ndim: int = 2) -> tuple[Array, Array]:
    """Return X (n, d) and y (n,), or for ``ndim=3`` X (m, n, d) and y (m, n), as float64 in C order.

    Their columns are 0, or have a largest entry between 1e-45 and 1e45.
    """
    X, y = check_columns("X", X, ndim), _check_ndim("y", y, ndim - 1)
    _check_sizes("y", largest(y.reshape(-1, y.shape[-1], 1)), "y")
    if X.shape[:-1] == y.shape:
        return X, y
    if ndim > 2:
        raise ValueError(f"y must have shape {X.shape[:-1]}, as X has shape {X.shape}, got {y.shape}")
    raise ValueError(f"X and y must have the same length, got {len(X)} rows and {len(y)} responses")


def _check_ndim(name: str, value: Any, ndim: int) -> Array:
    array = check_numbers(name, value)
    if array.ndim != ndim or array.size == 0:
        raise ValueError(f"{name} must be a nonempty array of {ndim} dimension(s), got shape {array.shape}")
    return array


def _check_sizes(name: str, sizes: Array, columns: str | None = None, most: float = LARGEST) -> None:
    """Raise unless the largest entries of some columns are at most ``most``, and 0 or at least 1e-45."""
    if not (found := sizes.max()) <= most:  # NaN is not
        raise ValueError(f"{name} must be finite and at most {most:g} in size, got an entry of {found:g}")
    if columns and sizes.min() < SMALLEST and (tiny := sizes[(sizes > 0.0) & (sizes < SMALLEST)]).size:
        raise ValueError(
            f"{columns} must be 0 or have an entry of at least {SMALLEST:g} in size, got at most {tiny[0]:g}"
        )


def check_number(
    name: str, value: Any, allowed: str = "finite", low: float = -_MAX, high: float = _MAX
) -> float:
    """Return a number from ``low`` to ``high``, by default any finite one; ``allowed`` says so in words.

    Python's and NumPy's scalars count as numbers, and arrays or tensors of no dimension.
    """
    number = _scalar(value)
    if isinstance(number, _NO_NUMBERS) or not isinstance(number, Real):
        raise TypeError(f"{name} must be a real number, got {shown(value)}")
    try:
        number = float(number)
    except OverflowError:  # an integer or a fraction that no float holds
        number = math.inf if number > 0 else -math.inf
    if not low <= number <= high:
        raise ValueError(f"{name} must be {allowed}, got {shown(value)}")
    return number


def check_nonnegative(name: str, value: Any) -> float:
    """Return a number of at least 0 and at most 1e45."""
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
    return check_number(name, value, allowed, math.nextafter(low, high), math.nextafter(high, low))


def check_count(name: str, value: Any, least: int = 1, most: int = MOST) -> int:
    """Return an integer from ``least`` to ``most``."""
    number = _scalar(value)
    if isinstance(number, _NO_NUMBERS) or not isinstance(number, Integral):
        raise TypeError(f"{name} must be an integer, got {shown(value)}")
    if not least <= int(number) <= most:
        limit = f"at least {least}" if number < least else f"at most {most}"
        raise ValueError(f"{name} must be {limit}, got {shown(value)}")
    return int(number)


def check_flag(name: str, value: Any) -> bool:
    """Return True or False; nothing else counts as one of them."""
    flag = _scalar(value)
    if not isinstance(flag, bool):
        raise TypeError(f"{name} must be True or False, got {shown(value)}")
    return flag


def check_choice(name: str, value: Any, choices: Sequence[str]) -> str:
    """Return a string that is one of ``choices``."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {shown(value)}")
    return value


def check_kind(name: str, value: Any, kind: type[T] | tuple[type[T], ...], what: str) -> T:
    """Return an instance of ``kind``, which the sentence calls ``what``."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be {what}, got {shown(value)}")
    return value


def check_text(name: str, value: Any) -> str:
    """Return a string."""
    return check_kind(name, value, str, "a string")


def check_callable(name: str, value: T) -> T:
    """Return a function, or what can be called like one."""
    if not callable(value):
        raise TypeError(f"{name} must be callable, got {shown(value)}")
    return value


def check_mapping(name: str, value: Any) -> Mapping[str, Any]:
    """Return a mapping from strings."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise TypeError(f"{name} must be a mapping from strings, got {shown(value)}")
    return value


def check_sequence(name: str, value: Any, kind: type[T], what: str) -> list[T]:
    """Return the items of a list or tuple, each an instance of ``kind``; the sentence calls them ``what``."""
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, kind) for item in value):
        raise TypeError(f"{name} must be a list or tuple of {what}, got {shown(value)}")
    return list(value)


def check_rng(rng: Any) -> np.random.Generator:
    """Return a NumPy generator."""
    return check_kind("rng", rng, np.random.Generator, "a numpy Generator, as stream() returns")


def check_amount(name: str, value: Any, most: float) -> float:
    """Return a number above 0 and at most ``most``."""
    number = check_positive(name, value)
    if number > most:
        raise ValueError(f"{name} must be at most {most:g}, got {shown(value)}")
    return number


def check_entries(name: str, values: Any, what: str) -> list[Any]:
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
    if not isinstance(value, (list, tuple)) and np.ndim(_scalar(value)) == 0:
        return np.full(length, check_number(name, value))
    vector = check_real(name, value, 1)
    if len(vector) not in (1, length):
        raise ValueError(f"{name} must be a number or have shape ({length},), got {len(vector)} entries")
    return np.ascontiguousarray(np.broadcast_to(vector, length))


def broadcast(**arrays: Array) -> list[Array]:
    """Return arrays in their common shape."""
    try:
        return list(np.broadcast_arrays(*arrays.values()))
    except ValueError:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise ValueError(f"the inputs must broadcast against each other, got shapes {shapes}") from None


def _scalar(value: Any) -> Any:
    """The Python number inside a NumPy scalar or an array or tensor of no dimension."""
    if getattr(value, "ndim", None) != 0 or isinstance(
        value, (np.ma.MaskedArray, np.datetime64, np.timedelta64)
    ):
        return value
    try:
        return value.item()
    except Exception:  # a tensor without data has no number
        return value
