"""No call, however strange its arguments, ends in anything but a right answer or one clear sentence."""

import inspect

import pytest
from fuzz import LONGEST, Entry, fuzz, violation
from fuzz_table import TABLE

import linphase as lp
from linphase import (
    asymptotics,
    batch,
    critical,
    descent,
    designs,
    estimates,
    evidence,
    path,
    plotting,
    problem,
    radii,
    solver,
    streams,
    two_layer,
)
from linphase.study import model

MODULES = [
    asymptotics, batch, critical, descent, designs, estimates, evidence, path, plotting, problem, radii,
    solver, streams, two_layer, model,
]  # fmt: skip

# Classes that hold the answers of functions and check nothing, what serves inside, and what has no argument.
EXEMPT = {
    "Batch", "CertificateError", "CriticalStrength", "Extra", "Path", "Prediction", "Solution", "Trajectory",
    "TwoLayerNet", "Verdict", "Verdict.as_dict", "relative_gap", "style",
}  # fmt: skip
# Faults that are known and not yet repaired; each entry goes with its repair.
OPEN: set[str] = set()
# Names that two modules have.
ASYMPTOTIC = {"critical_strength", "zero_radius", "predict"}


def public_names():
    """Every public function, class and method that the modules define, as the table writes it."""
    names = set()
    for module in MODULES:
        for name, item in vars(module).items():
            own = getattr(item, "__module__", None) == module.__name__ and not name.startswith("_")
            if not own or not (inspect.isclass(item) or inspect.isfunction(item)):
                continue
            names.add(f"asymptotics.{name}" if module is asymptotics and name in ASYMPTOTIC else name)
            if inspect.isclass(item):
                names |= {
                    f"{name}.{method}" for method, f in vars(item).items() if is_public_method(method, f)
                }
    return names


def is_public_method(name, item):
    return inspect.isfunction(item) and not name.startswith("_")


def entries():
    """Names of the table without the group that they stand in, and without what tells two calls apart."""
    return {name.split(": ")[1].split()[0] for name in TABLE}


def test_every_public_name_is_fuzzed():
    assert public_names() - entries() - EXEMPT == set()
    assert set(lp.__all__) - entries() - EXEMPT == {"asymptotics"}


@pytest.mark.parametrize("name", [name for name, entry in TABLE.items() if inspect.isfunction(entry.call)])
def test_every_argument_is_fuzzed(name):
    parameters = inspect.signature(TABLE[name].call).parameters.values()
    named = {p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
    left_out = {"linear: gradient_descent clean": {"batch_size", "rng"}}.get(name, set())
    assert named - TABLE[name].base().keys() - left_out == set()


def run(name, calls, seed, folder, monkeypatch):
    monkeypatch.chdir(folder)  # `plotting.save` writes here
    count, said = fuzz(TABLE[name], calls, lp.stream(seed, "fuzz", name))
    if count and name in OPEN:
        pytest.xfail(said[0])
    assert not count, f"{count} of {calls} calls:\n" + "\n".join(said)


@pytest.mark.parametrize("name", TABLE)
def test_strange_arguments_get_an_answer_or_a_sentence(name, tmp_path, monkeypatch):
    run(name, 25, 0, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLE)
def test_a_hundred_thousand_calls(name, tmp_path, monkeypatch):
    run(name, 100_000 // len(TABLE) + 1, 1, tmp_path, monkeypatch)


# ------------------------------------------------------------------------------- the fuzz sees each fault


def silent(x):
    return x + 1.0


def nameless(x):
    raise ValueError("must be positive")


def long_winded(x):
    raise ValueError("x " * LONGEST)


def spoiling(x):
    x[0] = 7.0
    return 1.0


@pytest.mark.parametrize(
    ("function", "value", "says"),
    [
        (silent, float("nan"), "answer not finite"),
        (silent, None, "an error from below, TypeError"),
        (silent, {}, "an error from below, TypeError"),
        (nameless, -1.0, "an error from below"),  # raised outside the package
        (spoiling, [1.0], "changed in place: x"),
        (lambda x: "text", 1.0, "answer of type str"),
        (lambda x: {}[x], 1.0, "KeyError"),
        (lambda x: x.real.imag.none, 1.0, "AttributeError"),
    ],
)
def test_the_fuzz_sees_faults(function, value, says):
    entry = Entry(function, lambda: {"x": 1.0}, float)
    assert violation(entry, {"x": value}, ["x"]).startswith(says)
