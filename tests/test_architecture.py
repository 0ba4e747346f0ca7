"""Imports run one way, kernels stand alone, and the package loads light."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import linphase

PACKAGE = Path(linphase.__file__).parent

# A module imports from its own layer or one below. Every module stands in one.
LAYERS = [
    {"_kernels", "streams", "checks", "interrupts"},
    {"precision", "problem", "designs", "estimates", "evidence"},
    {"newton", "coordinates", "radii", "certificate", "refinement", "solver", "batch", "path"}
    | {"descent", "two_layer", "asymptotics"},
    {"critical"},
    {"study", "plotting", "estimator"},
    {"deep"},
    {"__init__", "__main__"},
]
DEEP_USES = {"checks", "streams", "problem", "critical", "estimates", "evidence", "study", "deep"}


def imports(path):
    """All modules of linphase that a file imports, at whatever depth, as 'linphase.x.y'."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the direction"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] == "linphase"}


def room(name):
    """The module or folder directly under linphase to which 'linphase.x.y' belongs."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def graph():
    """Each room with the rooms it imports."""
    uses = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts[0] != "simulations":  # a copy of the scripts inside the wheel
            rooms = {room(name) for name in imports(path)}
            uses.setdefault(parts[0], set()).update(rooms - {parts[0]})
    return uses


def violations(uses):
    """Every sentence there is to say against a graph of imports."""
    layer = {name: i for i, names in enumerate(LAYERS) for name in names}
    said = [f"{name} stands in no layer" for name in uses.keys() - layer.keys()]
    for name, used in uses.items():
        for other in used & layer.keys():
            if layer[other] > layer.get(name, len(LAYERS)):
                said.append(f"{name} imports {other} from above")
    said += [f"deep imports {other}" for other in uses.get("deep", set()) - DEEP_USES]
    try:
        TopologicalSorter(uses).prepare()
    except CycleError as cycle:
        said.append(f"imports in a circle: {' < '.join(cycle.args[1])}")
    return said


def test_imports_run_one_way():
    assert violations(graph()) == []


@pytest.mark.parametrize(
    ("name", "other", "sentence"),
    [
        ("problem", "solver", "problem imports solver from above"),
        ("study", "deep", "study imports deep from above"),
        ("deep", "plotting", "deep imports plotting"),
        ("solver", "__init__", "solver imports __init__ from above"),
        ("novelty", "problem", "novelty stands in no layer"),
    ],
)
def test_a_wrong_import_would_be_seen(name, other, sentence):
    uses = graph()
    uses.setdefault(name, set()).add(other)
    assert sentence in violations(uses)


def test_a_circle_would_be_seen():
    said = violations({"problem": {"designs"}, "designs": {"problem"}})
    assert len(said) == 1
    assert said[0].startswith("imports in a circle")


def test_kernels_import_nothing_of_the_package():
    """A cached kernel goes stale when a jitted callee in another file changes."""
    kernels = list((PACKAGE / "_kernels").glob("*.py"))
    assert len(kernels) > 1
    assert {path.name: imports(path) for path in kernels if imports(path)} == {}


@pytest.mark.parametrize("first", ["import sys", "import sys, matplotlib"])
def test_importing_the_package_loads_nothing_slow(first):
    slow = ["torch", "statsmodels", "matplotlib", "pandas", "linphase.deep"]
    probe = f"{first}; import linphase; print([name for name in {slow} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", probe], check=True, capture_output=True, text=True).stdout
    assert loaded.strip() == str([name for name in slow if name in first])


def test_public_names_are_loaded_when_they_are_asked_for():
    probe = (
        "import sys, linphase; print('numpy' in sys.modules); linphase.solve; print('numpy' in sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", probe], check=True, capture_output=True, text=True).stdout
    assert loaded == "False\nTrue\n"
    homes = linphase._HOMES.values()
    assert sorted(["asymptotics", *(name for names in homes for name in names)]) == sorted(linphase.__all__)
    for name in linphase.__all__:
        assert name in dir(linphase)
        assert getattr(linphase, name) is not None
    with pytest.raises(AttributeError, match="module 'linphase' has no attribute 'nothing'"):
        _ = linphase.nothing
