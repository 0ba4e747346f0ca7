"""Whatever comes in: a call of linphase.deep returns, or raises one sentence that names the argument.

A seeded generator replaces one or two arguments of a small valid call by hostile values. Warnings are errors
throughout. What a user's own code raises passes through.
"""

import functools
import inspect
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from small_runs import blobs, convolutional, network, normed  # noqa: E402
from torch import nn  # noqa: E402

import linphase as lp  # noqa: E402
from linphase import deep  # noqa: E402
from linphase.deep import sources  # noqa: E402
from linphase.deep.losses import LOSSES  # noqa: E402

pytestmark = pytest.mark.usefixtures("torch_state")

LONGEST = 400


class Broken(Exception):  # noqa: N818
    """What a user's own code raises."""


# -------------------------------------------------------------------------------------------- hostile values


def raising(*_):
    raise Broken


class Answer(nn.Module):
    """A network that answers as a function says."""

    def __init__(self, answer):
        super().__init__()
        self.inner, self.answer = nn.Linear(5, 3), answer

    def forward(self, x):
        return self.answer(self.inner, x)


class Unprintable:
    def __repr__(self):
        raise Broken


NEVER = {
    "an object": object,
    "an unprintable object": Unprintable,
    "bytes": lambda: b"0.1",
    "NaN": lambda: float("nan"),
    "complex": lambda: 1 + 2j,
    "a complex tensor": lambda: torch.zeros(24, 5, dtype=torch.complex64),
    "an array of NaN": lambda: np.full((24, 5), np.nan),
    "NaN of NumPy": lambda: np.float32("nan"),
    "a NaN tensor of no dimension": lambda: torch.tensor(torch.nan),
    "an array of objects": lambda: np.array([object(), None], dtype=object),
}
"""No argument takes these."""

WITHIN = {
    "a list of NaN", "a list of huge integers", "a huge fraction", "10**400", "10**5000", "-10**5000",
    "inputs with NaN", "inputs with infinity", "huge inputs", "complex64 inputs", "float8 inputs",
    "inputs on meta", "sparse inputs", "labels on meta", "responses with NaN", "a network on meta",
    "a lazy network", "a bare module", "a network that raises", "a network that returns a dict",
    "a factory of a network on meta", "a factory of a network that raises", "bounds with NaN",
    "a negative tensor", "a tensor on meta", "three bounds", "bounds that fall", "a class of networks",
}  # fmt: skip
"""Nor these of the pools below."""

ANYTHING = NEVER | {
    "None": lambda: None,
    "a string": lambda: "abc",
    "an empty string": str,
    "a number in a string": lambda: "0.5",
    "a string of 1,000 letters": lambda: "a" * 1000,
    "a string with a line break and a zero": lambda: "a\n\0b",
    "True": lambda: True,
    "False": lambda: False,
    "a dict": lambda: {0: 1, "a": object()},
    "an empty dict": dict,
    "an empty list": list,
    "a list of strings": lambda: ["a", "b"],
    "a list of NaN": lambda: [0.1, float("nan")],
    "a list of lists": lambda: [[0.1], [0.2]],
    "a falling list": lambda: [0.2, 0.1],
    "a list of huge integers": lambda: [10**30, 10**400],
    "a generator": lambda: (0.1 * k for k in range(1, 3)),
    "a set": lambda: {1, 2},
    "a function": lambda: raising,
    "a lambda": lambda: lambda *_: None,
    "a type": lambda: dict,
    "inf": lambda: float("inf"),
    "-inf": lambda: float("-inf"),
    "-1": lambda: -1,
    "-0.5": lambda: -0.5,
    "0": lambda: 0,
    "0.5": lambda: 0.5,
    "2.0": lambda: 2.0,
    "1e-320": lambda: 1e-320,
    "1e300": lambda: 1e300,
    "-1e300": lambda: -1e300,
    "1e30": lambda: 1e30,
    "10**9 + 1": lambda: 10**9 + 1,
    "10**30": lambda: 10**30,
    "10**400": lambda: 10**400,
    "10**5000": lambda: 10**5000,
    "-10**5000": lambda: -(10**5000),
    "a fraction": lambda: Fraction(1, 3),
    "a huge fraction": lambda: Fraction(10**400, 3),
    "a number of NumPy": lambda: np.float64(0.5),
    "an integer of NumPy": lambda: np.int64(2),
    "a bool of NumPy": lambda: np.True_,
    "an array of no dimension": lambda: np.array(0.5),
    "an integer array of no dimension": lambda: np.array(2),
    "an array of booleans": lambda: np.ones(3, bool),
    "an array": lambda: np.full((24, 5), 0.5),
    "a masked array": lambda: np.ma.masked_invalid([0.1, np.nan]),
    "an empty array": lambda: np.empty(0),
    "a tensor of no dimension": lambda: torch.tensor(0.5),
    "a tensor": lambda: torch.full((3,), 0.1),
    "a network": network,
    "a dtype": lambda: torch.float16,
    "a device": lambda: torch.device("meta"),
    "a missing device": lambda: "cuda:77",
}


def inputs(**options):
    return torch.rand(24, 5, generator=torch.Generator().manual_seed(3)).to(**options)


def with_entry(value):
    x = inputs()
    x[3, 2] = value
    return x


TENSORS = {
    **{
        f"{kind} inputs": functools.partial(inputs, dtype=getattr(torch, kind))
        for kind in ("float16", "bfloat16", "float64", "int32", "uint8", "bool", "complex64")
    },
    "float8 inputs": lambda: inputs(dtype=torch.float8_e5m2),
    "inputs on meta": lambda: inputs(device="meta"),
    "inputs with NaN": lambda: with_entry(torch.nan),
    "inputs with infinity": lambda: with_entry(torch.inf),
    "inputs outside": lambda: with_entry(1.5),
    "huge inputs": lambda: with_entry(1e38),
    "inputs with a gradient": lambda: inputs().requires_grad_(),
    "inputs that are not contiguous": lambda: torch.rand(5, 24).T,
    "expanded inputs": lambda: torch.full((1, 1), 0.5).expand(24, 5),
    "sparse inputs": lambda: inputs().to_sparse(),
    "no inputs": lambda: torch.empty(0, 5),
    "inputs without features": lambda: torch.empty(24, 0),
    "one input": lambda: torch.rand(1, 5),
    "inputs of six features": lambda: torch.rand(24, 6),
    "flat inputs": lambda: torch.rand(24),
    "images": lambda: torch.rand(24, 3, 8, 8),
    "a number": lambda: torch.tensor(0.5),
    "labels": lambda: torch.arange(24) % 3,
    "int32 labels": lambda: (torch.arange(24) % 3).int(),
    "uint8 labels": lambda: (torch.arange(24) % 3).byte(),
    "float labels": lambda: (torch.arange(24) % 3).float(),
    "labels of shape (n, 1)": lambda: (torch.arange(24) % 3)[:, None],
    "labels out of range": lambda: torch.arange(24) % 4,
    "huge labels": lambda: torch.full((24,), 2**62),
    "negative labels": lambda: -torch.ones(24, dtype=torch.int64),
    "labels on meta": lambda: torch.zeros(24, dtype=torch.int64, device="meta"),
    "fewer labels": lambda: torch.arange(23) % 3,
    "no labels": lambda: torch.empty(0, dtype=torch.int64),
    "labels in an array": lambda: np.arange(24) % 3,
    "labels in a list": lambda: [0, 1, 2] * 8,
    "responses with NaN": lambda: torch.full((24,), torch.nan),
}


def frozen():
    model = network()
    for value in model.parameters():
        value.requires_grad_(False)
    return model


def poisoned(value=torch.nan):
    model = network()
    with torch.no_grad():
        next(model.parameters())[0, 0] = value
    return model


MODELS = {
    "a network that returns a dict": lambda: Answer(lambda inner, x: {"logits": inner(x)}),
    "a network that returns a tuple": lambda: Answer(lambda inner, x: (inner(x), x)),
    "a network that returns None": lambda: Answer(lambda inner, x: None),
    "a network that returns an array": lambda: Answer(lambda inner, x: inner(x).detach().numpy()),
    "a network that returns one row": lambda: Answer(lambda inner, x: inner(x)[:1]),
    "a network that returns a number": lambda: Answer(lambda inner, x: inner(x).sum()),
    "a network that returns one output": lambda: Answer(lambda inner, x: inner(x)[..., 0]),
    "a network that returns integers": lambda: Answer(lambda inner, x: inner(x).long()),
    "a network that returns complex": lambda: Answer(lambda inner, x: inner(x).to(torch.complex64)),
    "a network that returns NaN": lambda: Answer(lambda inner, x: inner(x) * torch.nan),
    "a network that returns meta": lambda: Answer(lambda inner, x: inner(x).to("meta")),
    "a network without gradients": lambda: Answer(lambda inner, x: inner(x).detach()),
    "a network that forgets its inputs": lambda: Answer(lambda inner, x: inner(x * 0).detach() + inner.bias),
    "a network without parameters": nn.Flatten,
    "a frozen network": frozen,
    "a network that raises": lambda: Answer(raising),
    "a network of other inputs": lambda: deep.mlp((6, 3)),
    "a network of fewer classes": lambda: deep.mlp((5, 2)),
    "a network of one output": lambda: deep.mlp((5, 1)),
    "a network in float64": lambda: network().double(),
    "a network in float16": lambda: network().half(),
    "a network on meta": lambda: network().to("meta"),
    "a lazy network": lambda: nn.Sequential(nn.LazyLinear(3)),
    "a network with NaN": poisoned,
    "a network with infinity": lambda: poisoned(torch.inf),
    "a network with batch norm": normed,
    "a network with batch norm without statistics": lambda: nn.Sequential(
        nn.Linear(5, 8), nn.BatchNorm1d(8, track_running_stats=False), nn.Linear(8, 3)
    ),
    "a convolutional network": convolutional,
    "an empty network": nn.Sequential,
    "a bare module": nn.Module,
    "a stack": lambda: deep.Stack(network(), 2),
    "a class of networks": lambda: nn.Linear,
    "a function": lambda: lambda x: x[:, :3],
}

FACTORIES = {
    f"a factory of {name}": functools.partial(lambda make: make, make) for name, make in MODELS.items()
}
FACTORIES |= {
    "a factory that raises": lambda: raising,
    "a factory of nothing": lambda: lambda: None,
    "a factory of a string": lambda: lambda: "network",
    "a factory that wants an argument": lambda: lambda size: network(),
    "a class that is no network": lambda: dict,
}


def data(n=24, **changes):
    made = blobs(n, tests=12)
    fields = {name: getattr(made, name) for name in ("name", "x", "y", "x_test", "y_test", "classes")}
    return deep.Data(**(fields | changes))


def pictures():
    x, y = torch.rand(6, 3, 8, 8), torch.arange(6) % 3
    return deep.Data("pictures", x, y, x, y, classes=3, augment="crop-flip")


RECIPE = deep.Recipe(epochs=1, batch_size=12, attack=deep.Attack(steps=1))

SETS = {
    "a regression": lambda: data(y=torch.rand(24), y_test=torch.rand(12), classes=None),
    "images": pictures,
    "one example": lambda: data(1),
    "two examples": lambda: data(2),
    "a batch and one": lambda: data(25),
    "data in float16": lambda: data().to("cpu", torch.float16),
    "data without bounds": lambda: data(bounds=None),
    "more classes": lambda: data(classes=7),
    "the fields of data": lambda: vars(data()),
    "a class": lambda: deep.Data,
}

RECIPES = {
    **{
        f"a recipe with {changes}": functools.partial(RECIPE.but, **changes)
        for changes in (
            {"loss": "squared"}, {"loss": "trades"}, {"loss": "mart"}, {"precision": "float64"},
            {"precision": "bfloat16"}, {"batch_size": 1}, {"batch_size": None}, {"align": 0.1},
            {"select": "last", "monitor": False}, {"channels_last": True}, {"lr": 1e-30}, {"lr": 1e10},
            {"attack": deep.Attack("l2", 2, restarts=2)}, {"attack": deep.Attack(mode="eval", steps=1)},
            {"epochs": 2, "eps_warmup": 1}, {"test_batch_size": 1}, {"judged_examples": 10**9},
        )
    },
    "an attack": lambda: deep.FGM,
    "the fields of a recipe": lambda: vars(RECIPE),
    "a class": lambda: deep.Recipe,
}  # fmt: skip

OTHERS = {
    "an attack": lambda: deep.PGD,
    "an L2 attack": lambda: deep.Attack("l2", 1),
    "a class": lambda: deep.Attack,
    "a tuning": deep.Tuning,
    "a tracker": lambda: deep.Tracker(1.0, 0.1),
    "a curve": lambda: deep.Curve(network(0), network(1)),
    "a curve of other networks": lambda: deep.Curve(deep.mlp((5, 3)), deep.mlp((5, 3))),
    "a loss": lambda: LOSSES["squared"],
    "a generator of torch": torch.Generator,
    "a path": lambda: Path("folder") / "file",
    "the folder": lambda: ".",
    "a strength for each": lambda: torch.tensor([0.1, 0.2]),
    "a negative tensor": lambda: torch.tensor([-0.1, 0.2]),
    "a tensor on meta": lambda: torch.zeros(2, device="meta"),
    "bounds that fall": lambda: (1.0, 0.0),
    "bounds with NaN": lambda: (0.0, float("nan")),
    "bounds of strings": lambda: ("a", "b"),
    "three bounds": lambda: (0.0, 0.5, 1.0),
    "open bounds": lambda: (0.0, float("inf")),
    "huge bounds": lambda: (0, 10**400),
    "large bounds": lambda: (-1e300, 1e300),
}

POOLS = {
    "model": MODELS, "first": MODELS, "last": MODELS, "third": MODELS, "trained": MODELS,
    "model_factory": FACTORIES, "x": TENSORS, "y": TENSORS, "x_test": TENSORS, "y_test": TENSORS,
    "data": SETS, "recipe": RECIPES,
}  # fmt: skip

# ---------------------------------------------------------------------------------------------- valid calls


def batch():
    made = data()
    return {"x": made.x, "y": made.y}


def networks(*names):
    return {name: network(seed) for seed, name in enumerate(names)}


def plane():
    rows = np.arange(3.0)
    corners = np.array([[0, 0], [2, 0], [1, 1.0]])
    loss = 1.0 + rows[:, None] + rows
    return deep.Plane(
        rows - 0.5, rows - 0.5, loss, loss, loss, corners, np.ones(3), np.empty((0, 2)), 0.0, 1.0
    )


def fields(kind):
    """Arguments of a class with their defaults."""
    found = inspect.signature(kind).parameters.values()
    return {p.name: p.default for p in found if p.default is not p.empty}


def defaults(function, **given):
    return fields(function) | given


@functools.cache
def histories():
    return (
        deep.train(network(), data(), RECIPE, 0.1),
        deep.train(deep.Stack(network(), 2), data(), RECIPE, 0.1),
    )


def searching():
    return {"model_factory": network, "data": data(), "recipe": RECIPE}


def of(make, name):
    """A method, whose object is made anew for each call."""
    return lambda **arguments: getattr(make(), name)(**arguments)


def curve():
    return deep.Curve(network(0), network(1))


ATTACKED = {"eps": 0.1, "attack": deep.Attack(steps=1)}

CALLS = {
    "Attack": (deep.Attack, lambda: fields(deep.Attack)),
    "Attack.describe": (of(deep.Attack, "describe"), lambda: {"eps": 0.1}),
    "Curve": (deep.Curve, lambda: networks("first", "last") | {"kind": "chain", "bends": 2}),
    "Curve.bend": (of(curve, "bend"), lambda: {"index": 0}),
    "Curve.coefficients": (of(curve, "coefficients"), lambda: {"t": 0.5}),
    "Curve.network": (of(curve, "network"), lambda: {"t": 0.5}),
    "Curve.weights": (of(curve, "weights"), lambda: {"t": 0.5}),
    "Data": (
        deep.Data,
        lambda: {field: getattr(data(), field) for field in inspect.signature(deep.Data).parameters},
    ),
    "Data.subset": (of(data, "subset"), lambda: {"n": 10, "seed": 0}),
    "Data.to": (of(data, "to"), lambda: {"device": "cpu", "dtype": torch.float64, "channels_last": False}),
    "History.at_best": (of(lambda: histories()[1], "at_best"), lambda: {"name": "test_loss"}),
    "History.member": (of(lambda: histories()[1], "member"), lambda: {"index": 1}),
    "Plane.asymmetry": (of(plane, "asymmetry"), lambda: {"level": 2.0, "margin": None}),
    "Plane.border": (of(plane, "border"), lambda: {"level": 2.0}),
    "Plane.levels": (of(plane, "levels"), lambda: {"count": 3}),
    "Recipe": (deep.Recipe, lambda: fields(deep.Recipe)),
    "Recipe.but": (RECIPE.but, lambda: {"epochs": 2, "lr": 0.1}),
    "Search": (deep.Search, lambda: defaults(deep.Search, **searching())),
    "Search.finetune": (
        of(lambda: deep.Search(**searching()), "finetune"),
        lambda: {"tuning": deep.Tuning(follow=False)},
    ),
    "Search.root_on": (
        of(lambda: deep.Search(**searching(), trained=network()), "root_on"),
        lambda: {"examples": 12, "tolerance": 0.1},
    ),
    "Search.scratch": (
        of(lambda: deep.Search(**searching()), "scratch"),
        lambda: {"grid": (0.1, 0.3), "refine": 0, "side_by_side": False, "tries": 2},
    ),
    "Stack": (deep.Stack, lambda: {"model": network(), "members": 2}),
    "Stack.member": (of(lambda: deep.Stack(network(), 2), "member"), lambda: {"index": 1}),
    "Tracker": (deep.Tracker, lambda: defaults(deep.Tracker, target=1.0, start=0.1)),
    "Tuning": (deep.Tuning, lambda: fields(deep.Tuning)),
    "catastrophic_overfitting": (
        deep.catastrophic_overfitting,
        lambda: (
            defaults(deep.catastrophic_overfitting, **searching(), eps=(0.1, 0.2))
            | {"judge": deep.Attack(steps=1), "judged_examples": 6, "detector_examples": 4}
        ),
    ),
    "critical_strength": (
        deep.critical_strength,
        lambda: defaults(deep.critical_strength, **searching(), grid=(0.1, 0.3), refine=0),
    ),
    "critical_strength, finetune": (
        functools.partial(deep.critical_strength, method="finetune"),
        lambda: searching() | {"trained": network(), "tuning": deep.Tuning(), "seeds": (1,)},
    ),
    "critical_strength, attack-only": (
        functools.partial(deep.critical_strength, method="attack-only"),
        lambda: searching() | {"trained": network(), "tolerance": 0.1, "seeds": (1,)},
    ),
    "digits": (deep.digits, lambda: fields(deep.digits)),
    "evaluate": (
        deep.evaluate,
        lambda: defaults(deep.evaluate, model=network(), **batch(), **ATTACKED),
    ),
    "evaluate, a stack": (
        deep.evaluate,
        lambda: {"model": deep.Stack(network(), 2), **batch(), **ATTACKED, "batch_size": 7},
    ),
    "fgm": (deep.fgm, lambda: defaults(deep.fgm, model=network(), **batch(), eps=0.1)),
    "load": (deep.load, lambda: defaults(deep.load, name="digits")),
    "load, mnist": (deep.load, lambda: {"name": "mnist", "folder": "nowhere", "download": False}),
    "loss_plane": (
        deep.loss_plane,
        lambda: (
            defaults(deep.loss_plane, **networks("first", "last", "third"), data=data(), recipe=RECIPE)
            | {"grid": 2, "path": curve()}
        ),
    ),
    "mlp": (deep.mlp, lambda: defaults(deep.mlp, widths=(5, 8, 3))),
    "mnist_cnn": (deep.mnist_cnn, lambda: fields(deep.mnist_cnn)),
    "mode_connectivity": (
        deep.mode_connectivity,
        lambda: (
            defaults(deep.mode_connectivity, **networks("first", "last"), data=data(), recipe=RECIPE)
            | {"points": 3, "eps": 0.1}
        ),
    ),
    "pgd": (deep.pgd, lambda: defaults(deep.pgd, model=network(), **batch(), eps=0.1, steps=2)),
    "preact_resnet18": (deep.preact_resnet18, lambda: fields(deep.preact_resnet18)),
    "recompute_batch_norm": (
        deep.recompute_batch_norm,
        lambda: defaults(deep.recompute_batch_norm, model=normed(), x=data().x, batch_size=7),
    ),
    "train": (deep.train, lambda: defaults(deep.train, model=network(), data=data(), recipe=RECIPE, eps=0.1)),
    "train, a stack": (
        deep.train,
        lambda: {"model": deep.Stack(network(), 2), "data": data(), "recipe": RECIPE, "eps": 0.1},
    ),
    "train, followed": (
        deep.train,
        lambda: {"model": network(), "data": data(), "recipe": RECIPE, "tracker": deep.Tracker(1.0, 0.1)},
    ),
    "wide_resnet34": (deep.wide_resnet34, lambda: defaults(deep.wide_resnet34, k=1)),
}

HELD = {"a bare module", "a network that raises", "a network that returns a dict", "a network on meta"}
UNCALLED = {"a factory of a network that raises", "a factory of a network on meta"}
UNUSED = {
    ("Stack", "model"): HELD,  # copied, and run by whoever uses the stack
    ("Search", "trained"): HELD,
    ("critical_strength, attack-only", "model_factory"): UNCALLED,  # a trained network is given
    ("critical_strength, finetune", "model_factory"): UNCALLED,
    ("recompute_batch_norm", "model"): HELD,  # without batch norm there is nothing to recompute
    ("preact_resnet18", "mean"): {"three bounds"},  # one for each channel
    ("preact_resnet18", "std"): {"three bounds"},
    ("wide_resnet34", "mean"): {"three bounds"},
    ("wide_resnet34", "std"): {"three bounds"},
}
"""What some arguments may hold all the same, because the call does not use it or it is right there."""

CONSTANTS = {"FGM", "FGM_RANDOM", "PGD"}
ERRORS = {"CheckpointError", "ChecksumError", "DivergenceError"}
RECORDS = {"CatastrophicOverfitting", "Connection", "CriticalStrength", "History", "Plane", "Point", "Score"}
"""What functions return; they hold what they are given, and only their methods take arguments of users."""

ALSO = {
    "model_factory": ("model",),
    "trained": ("model",),
    "recipe": ("model", "loss", "batch_size", "monitor", "y"),  # a loss that does not fit
    "data": ("model", "trained", "first", "x", "y"),
    "x": ("model", "y"),
    "y": ("model", "x"),
    "x_test": ("y_test",),
    "y_test": ("x_test",),
    "bounds": ("x",),
    "loss": ("model", "y"),
    "model": ("y", "tracker", "recipe"),  # labels outside a network's classes; a stack
    "classes": ("y",),
    "first": ("y",),
    "last": ("y", "first"),
    "third": ("first",),
    "monitor": ("select",),
    "checkpoints": ("checkpoint",),
    "seeds": ("seed",),
    "precision": ("model",),
}
"""Other names by which a sentence may call what an argument does not fit."""


def said(error, names):
    """What is wrong with a sentence, or None."""
    text = str(error)
    if len(text) > LONGEST or "\n" in text:
        return f"a message of {len(text)} characters and {text.count(chr(10)) + 1} lines"
    known = [other for name in names for other in (name, *ALSO.get(name, ()))]
    if not any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) for name in known):
        return "a message that does not name the argument"
    return None


def ending(error, arguments, replaced):
    """What is wrong with an exception, or None."""
    if "report" in replaced and callable(arguments["report"]):
        return None  # by a user's own code, which may raise anything
    text = f"{type(error).__name__}: {str(error)[:200]}"
    if isinstance(error, (deep.DivergenceError, FloatingPointError, FileNotFoundError)):
        wrong = said(error, replaced) if len(str(error)) > LONGEST or "\n" in str(error) else None
    elif isinstance(error, (TypeError, ValueError)):
        wrong = said(error, replaced)
    else:
        return text
    return wrong if wrong is None else f"{wrong}: {text}"


def verdict(name, arguments, replaced):
    """Make a call; return what is wrong with its end, or None."""
    function, _ = CALLS[name]
    model = arguments.get("model")
    before = None
    if isinstance(model, nn.Module) and "model" not in replaced:
        before = [value.clone() for value in model.parameters()]
    try:
        function(**arguments)
    except Broken:
        return None
    except Exception as error:
        wrong = ending(error, arguments, replaced)
        if wrong is not None or before is None or "report" in replaced or isinstance(error, ArithmeticError):
            return wrong
        same = all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
        return None if same else "work before the check"
    taken = {
        value
        for argument, value in replaced.items()
        if value in NEVER or (value in WITHIN and value not in UNUSED.get((name, argument), ()))
    }
    return f"{', '.join(taken)} taken" if taken else None


def hostile(rng, name):
    """A label and a maker of a value, half of the time of the kind that an argument takes."""
    own = POOLS.get(name, OTHERS)
    pool = own if rng.random() < 0.5 else ANYTHING
    label = list(pool)[rng.integers(len(pool))]
    return label, pool[label]


def failures(name, seed, calls):
    """Sentences about the calls of one row that end badly; ``calls`` for each argument."""
    rng, found = lp.stream(seed, "fuzz", name), []
    _, make = CALLS[name]
    for _ in range(calls * len(make())):
        arguments, replaced = make(), {}
        for key in rng.permutation(list(arguments))[: 1 + (rng.random() < 0.3)].tolist():
            replaced[key], value = hostile(rng, key)
            arguments[key] = value()
        wrong = verdict(name, arguments, replaced)
        if wrong is not None:
            found.append(f"{name}({', '.join(f'{k}={v}' for k, v in replaced.items())}): {wrong}")
    return found


@pytest.fixture(autouse=True)
def _apart(tmp_path, monkeypatch):
    """Files go to a folder of the test, and nothing to the network."""

    def fetch(*_):
        raise Broken

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sources, "fetch", fetch)


def test_every_public_name_is_in_the_table():
    called = {name.split(".")[0].split(",")[0] for name in CALLS}
    assert called | CONSTANTS | ERRORS | RECORDS == set(deep.__all__)
    assert not called & (CONSTANTS | ERRORS)
    for name, (function, make) in CALLS.items():
        if function is getattr(deep, name, None):  # every argument of these can be replaced
            assert make().keys() == inspect.signature(function).parameters.keys(), name


@pytest.mark.parametrize("name", CALLS)
def test_the_calls_themselves_are_valid(name):
    function, make = CALLS[name]
    if name == "load, mnist":
        with pytest.raises(FileNotFoundError, match="folder must exist"):
            function(**make())
    else:
        function(**make())


@pytest.mark.parametrize("name", CALLS)
def test_hostile_arguments_get_a_sentence(name):
    assert failures(name, 0, 7) == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 8))
@pytest.mark.parametrize("name", CALLS)
def test_hostile_arguments_get_a_sentence_at_length(name, seed):
    assert failures(name, seed, 15) == []
