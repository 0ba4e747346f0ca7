"""A fuzz of calls: valid ones with one or two arguments replaced by hostile values, each judged.

A call returns a right answer or raises one sentence that names the argument; `violation` says what else
it did.
"""

import linecache
import math
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

import linphase
from linphase import AdversarialProblem, CertificateError
from linphase.estimates import Estimate

PACKAGE = str(Path(linphase.__file__).parent)
LONGEST = 400
SENTENCES = (TypeError, ValueError)
NUMERICAL = (CertificateError, FloatingPointError)


@dataclass(frozen=True)
class Entry:
    """A function with a valid call.

    Attributes
    ----------
    call : callable
    base : callable
        Returns valid arguments by name, new ones at each call.
    answers : type or tuple of types
    beside : str
        "inf" or "inf, nan": documented answers that are not finite.
    alike : bool
        Arguments that hold the same numbers in another form give the same answer.
    called : tuple of str
        Other names that a sentence may use: those inside an argument.
    """

    call: Callable[..., Any]
    base: Callable[[], dict[str, Any]]
    answers: Any
    beside: str = ""
    alike: bool = True
    called: tuple[str, ...] = ()


# ------------------------------------------------------------------------------------------ hostile values

ANYTHING = [
    None, "", "text", "0.5", b"bytes", True, False, np.bool_(True), 1 + 2j, np.complex64(1), (), [], {},
    {"a": 1}, frozenset(), object(), object, len, lambda x: x, math, range(3), datetime(2026, 1, 1),
    np.datetime64("2026-01-01", "ns"), np.timedelta64(5), math.nan, math.inf, -math.inf, -1, -0.5, 0, -0.0,
    1e-320, 1e300, -1e300, 1e61, 1e44, 1e-44, 1e-170, 10**400, -(10**400), 10**30, Fraction(1, 3),
    Fraction(10**400), Decimal("0.5"), Decimal("nan"), np.float16(0.5), np.longdouble("1e400"),
    np.array(0.5), np.array("a"), np.array(None), np.ma.masked, np.ma.masked_array(0.5, True),
    [[1.0, 2.0], [3.0]], [None, 1.0], ["a", "b"], [10**400, 1], [1 + 2j, 1], np.empty(0), np.empty((0, 3)),
    np.zeros((2, 2, 2)), np.array([object(), 1.0]), np.zeros(3, dtype="f8,i4"),
    np.arange("2026-01", "2026-04", dtype="M8[M]"), np.array(["1", "2", "3"]), pd.Series(["a", "b", "c"]),
    pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]}), iter(()), pd.array([1, None], dtype="Int64"),
    sparse.eye(3), ValueError("a\nb" * 300), "long " * 500, "two\nlines", ["x" * 999] * 9,
]  # fmt: skip

TEXTS = ["", "text", "a/b", "two\nlines", "long " * 500, "\ud800", "\0"]


def _poisoned(value):
    def put(array, rng):
        array = array.copy()
        array.flat[rng.integers(array.size)] = value
        return array

    return put


def _masked(array, rng):
    return np.ma.masked_array(array, rng.random(array.shape) < 0.5)


def _scattered(array, rng):
    return array * 10.0 ** rng.uniform(-70, 70, array.shape)


def _frame(array, rng):
    kind = {1: pd.Series, 2: pd.DataFrame}.get(array.ndim)
    return kind(array) if kind else array


def _strided(array, rng):
    """The same numbers in a view that skips, runs backwards and cannot be written."""
    wide = np.repeat(array, 2, axis=-1)[..., ::-1]
    view = wide[..., ::-1][..., ::2]
    view.setflags(write=False)
    return view


def _tensor(array, rng):
    """A tensor of torch where that is installed."""
    if find_spec("torch") is None:
        return array
    import torch

    return torch.from_numpy(np.array(array))


ALIKE_ARRAYS = [
    lambda a, rng: a.tolist(),
    lambda a, rng: np.asfortranarray(a),
    lambda a, rng: a.astype(np.float32),
    lambda a, rng: a.astype(np.longdouble),
    lambda a, rng: a.astype(object),
    _frame,
    _strided,
    _tensor,
]

HOSTILE_ARRAYS = [
    _poisoned(math.nan), _poisoned(math.inf), _poisoned(-math.inf), _poisoned(1e61), _poisoned(1e44),
    _poisoned(0.0), _poisoned(1e-170), _masked, _scattered, lambda a, rng: a * 1e61,
    lambda a, rng: a * 1e55, lambda a, rng: a * 1e25, lambda a, rng: a * 1e-25, lambda a, rng: a * 1e-55,
    lambda a, rng: a * 1e-170, lambda a, rng: a * 1e-320, lambda a, rng: -a,
    lambda a, rng: np.zeros_like(a), lambda a, rng: np.full_like(a, a.flat[0]), lambda a, rng: a[:-1],
    lambda a, rng: a[:0], lambda a, rng: a[..., :0], lambda a, rng: a[None], lambda a, rng: a[0],
    lambda a, rng: np.repeat(a, 2, axis=0), lambda a, rng: a.T, lambda a, rng: a.astype(complex),
    lambda a, rng: a.astype(str), lambda a, rng: a.astype(bool), lambda a, rng: (10 * a).astype(np.int8),
    lambda a, rng: np.abs(10 * a).astype(np.uint64),
    lambda a, rng: np.where(rng.random(a.shape) < 0.2, None, a),
    lambda a, rng: np.array([Decimal(1)] * a.size).reshape(a.shape), lambda a, rng: a.view("V8"),
    lambda a, rng: a.astype("M8[s]"),
    lambda a, rng: sparse.csr_array(np.atleast_2d(a)) if a.ndim < 3 else None,
    lambda a, rng: [*a.tolist(), None], lambda a, rng: [a.tolist(), 1.0],
]  # fmt: skip

SCALES = [0.0, 1e-43, 1e-30, 1.0, 1e30, 1e45]


def _problem(problem, rng):
    """A problem of the same shape at the ends of what is allowed."""
    X = problem.X / np.abs(problem.X).max() * rng.choice(SCALES)
    y = problem.y / np.abs(problem.y).max() * rng.choice(SCALES)
    return AdversarialProblem(X, y, rng.choice(SCALES))


def alike(value, rng):
    """Another form of the same value, or None if there is none."""
    if isinstance(value, np.ndarray) and value.dtype == np.float64:
        return ALIKE_ARRAYS[rng.integers(len(ALIKE_ARRAYS))](value, rng)
    if isinstance(value, (bool, int, float)):
        forms = (
            [np.array, np.bool_] if isinstance(value, bool) else [np.array, np.int8, np.uint64, _tensor_of]
        )
        if isinstance(value, float):
            forms = [np.array, np.float32, np.float64, Fraction, _tensor_of]
        return forms[rng.integers(len(forms))](value)
    return None


def _tensor_of(value):
    return _tensor(value, None)


def hostile(value, rng):
    """A value that takes the place of a valid one."""
    if isinstance(value, np.ndarray) and value.dtype == np.float64 and rng.random() < 0.6:
        return HOSTILE_ARRAYS[rng.integers(len(HOSTILE_ARRAYS))](value, rng)
    if isinstance(value, AdversarialProblem) and rng.random() < 0.6:
        return _problem(value, rng)
    if isinstance(value, str) and rng.random() < 0.5:
        return TEXTS[rng.integers(len(TEXTS))]
    if isinstance(value, (list, tuple)) and len(value) and rng.random() < 0.5:
        changed = [*value]
        changed[rng.integers(len(changed))] = ANYTHING[rng.integers(len(ANYTHING))]
        return changed
    if isinstance(value, dict) and value and rng.random() < 0.7:
        key = [*value][rng.integers(len(value))]
        return value | {key: hostile(value[key], rng)}
    return ANYTHING[rng.integers(len(ANYTHING))]


# ------------------------------------------------------------------------------------------------ verdicts


def snapshot(value):
    """What must not change in an argument."""
    plain = isinstance(value, np.ndarray) and not isinstance(value, np.ma.MaskedArray)
    if plain and value.dtype != object:
        return value.tobytes()
    return repr(value)


def state(arguments):
    """The states of the generators among the arguments."""
    return [v.bit_generator.state for v in arguments.values() if isinstance(v, np.random.Generator)]


def parts(answer):
    """All numbers and arrays in an answer."""
    if isinstance(answer, (float, complex, np.number, np.ndarray)):
        yield answer
    elif is_dataclass(answer) and not isinstance(answer, type):
        # The degrees of freedom of the normal law are infinite.
        own = [
            f.name
            for f in fields(answer)
            if not (isinstance(answer, Estimate) and f.name in ("df", "sample"))
        ]
        for name in own:
            yield from parts(getattr(answer, name))
    elif isinstance(answer, dict):
        for value in answer.values():
            yield from parts(value)
    elif isinstance(answer, (list, tuple)):
        for value in answer:
            yield from parts(value)


def sound(answer, beside):
    """Whether all numbers in an answer are finite, or of the other kinds that are documented."""
    for part in parts(answer):
        array = np.asarray(part)
        if array.dtype.kind in "fc" and (
            (np.isnan(array).any() and "nan" not in beside) or (np.isinf(array).any() and "inf" not in beside)
        ):
            return False
    return True


def same(one, other):
    """Whether two answers hold the same numbers."""
    mine, theirs = list(parts(one)), list(parts(other))
    return len(mine) == len(theirs) and all(
        np.array_equal(np.asarray(a), np.asarray(b), equal_nan=np.asarray(a).dtype.kind in "fc")
        for a, b in zip(mine, theirs, strict=True)
    )


def raised_by_us(error):
    """Whether an error comes from a raise in the package, not from below it."""
    trace = error.__traceback__
    while trace.tb_next:
        trace = trace.tb_next
    file = trace.tb_frame.f_code.co_filename
    return file.startswith(PACKAGE) and linecache.getline(file, trace.tb_lineno).lstrip().startswith("raise ")


def bad_sentence(error, replaced):
    """What is wrong with an error, or None."""
    said = str(error)
    if type(error) not in SENTENCES + NUMERICAL:
        return f"{type(error).__name__}: {said}"
    if not raised_by_us(error):
        return f"an error from below, {type(error).__name__}: {said}"
    if not 0 < len(said) <= LONGEST:
        return f"{len(said)} characters: {said}"
    if not said.isprintable():
        return f"not one printable line: {said}"
    if type(error) in SENTENCES and not any(re.search(rf"(?<!\w){name}(?!\w)", said) for name in replaced):
        return f"{', '.join(replaced)} not named: {said}"
    return None


def violation(entry, arguments, replaced, expected=None):
    """What a call did against the contract, or None; ``expected`` is the only right answer if it is given."""
    before, states = {name: snapshot(value) for name, value in arguments.items()}, state(arguments)
    answer = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            answer = entry.call(**arguments)
    except Exception as error:
        if bad := bad_sentence(error, [*replaced, *entry.called]):
            return bad
        if expected is not None:
            return f"refused: {error}"
        if type(error) in SENTENCES and state(arguments) != states:
            return f"drew random numbers before it said: {error}"
    else:
        if not isinstance(answer, entry.answers):
            return f"answer of type {type(answer).__name__}"
        if not sound(answer, entry.beside):
            return f"answer not finite: {answer!r:.200}"
        if expected is not None and not same(answer, expected):
            return f"another answer: {answer!r:.100} for {expected!r:.100}"
    changed = [
        name
        for name, value in arguments.items()
        if snapshot(value) != before[name] and not isinstance(value, np.random.Generator)
    ]
    return f"changed in place: {', '.join(changed)}" if changed else None


def fuzz(entry, calls, rng):
    """Return (number of violations, one sentence for each kind of them) among so many calls."""
    expected = entry.call(**entry.base())
    assert sound(expected, entry.beside)
    count, kinds = 0, {}
    for _ in range(calls):
        arguments = entry.base()
        names = [*arguments]
        replaced = [
            str(n) for n in rng.choice(names, size=min(len(names), 1 + (rng.random() < 0.2)), replace=False)
        ]
        right = None
        if entry.alike and rng.random() < 0.25:
            replaced = replaced[:1]
            form = alike(arguments[replaced[0]], rng)
            if form is None:
                continue
            arguments[replaced[0]], right = form, expected
        else:
            for name in replaced:
                arguments[name] = hostile(arguments[name], rng)
        if bad := violation(entry, arguments, replaced, right):
            count += 1
            values = "; ".join(f"{name} = {arguments[name]!r:.90}" for name in replaced)
            kinds.setdefault((replaced[0], bad[:25]), f"{values} -> {bad:.300}")
    return count, list(kinds.values())
