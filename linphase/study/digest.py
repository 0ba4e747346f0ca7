"""What a block's values depend on: a digest of all code that its computation reaches.

From the block function the walk follows every name that its code mentions. What lies in the script's own
folder counts function by function, constant by constant, so that a caption or a claim beside them does not.
What lies in this package counts as whole modules, with all that they import from the package in turn. Other
libraries count by version. Comments, docstrings and line numbers do not count.
"""

from __future__ import annotations

import dis
import importlib
import inspect
import pickle
import sys
import textwrap
from collections.abc import Callable
from functools import cache, partial
from hashlib import blake2b
from importlib import metadata
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from linphase.study.modules import PACKAGE, closure, essence, source


@cache
def sources(block: Callable[..., Any]) -> str:
    """Return the hexadecimal digest of the sources that a block function reaches.

    Raises
    ------
    TypeError
        If it reaches an object whose content cannot be told; that belongs into the setting.
    """
    walk = _Walk(block)
    walk.visit(block)
    modules, libraries = closure(walk.modules)
    lines = [*walk.lines, *(f"{name} {source(name)}" for name in sorted(modules))]
    lines += [f"{name} {_version(name)}" for name in sorted(libraries | walk.others)]
    lines.append(f"python {sys.version_info[:2]}")
    return blake2b("\n".join(lines).encode(), digest_size=16).hexdigest()


class _Walk:
    """Lines of text that name all content on the way.

    What a block looks up by a computed name, or reads from a file, is not seen.
    """

    def __init__(self, block: Callable[..., Any]) -> None:
        self.lines: list[str] = []
        self.seen: dict[int, Any] = {}  # keeps what it has seen alive, so that no id is used twice
        self.modules: set[str] = set()  # of this package
        self.others: set[str] = set()  # top names of other libraries
        module = sys.modules[inspect.unwrap(getattr(block, "func", block)).__module__]
        file = getattr(module, "__file__", None)
        self.root = Path(file).resolve().parents[module.__name__.count(".")] if file else None

    def visit(self, value: Any) -> None:
        """Add a value that the block reaches."""
        if isinstance(value, (type(None), bool, int, float, complex, str, bytes, range, type(...))):
            self.lines.append(repr(value))
        elif isinstance(value, (np.ndarray, np.generic)) and value.dtype != object:
            self.lines.append(f"{value.dtype.str} {value.shape} {value.tobytes().hex()}")
        elif isinstance(value, CodeType):
            self._code(value)
        elif id(value) in self.seen:
            self.lines.append(f"again {type(value).__name__}")
        else:
            self.seen[id(value)] = value
            self.lines.append(f"{type(value).__name__} {getattr(value, '__qualname__', '')}")
            self._compound(value)

    def _compound(self, value: Any) -> None:
        if isinstance(value, (list, tuple)):
            self._all(value)
        elif isinstance(value, dict):
            self._all(x for pair in value.items() for x in pair)
        elif isinstance(value, (set, frozenset)):
            self._all(sorted(value, key=repr))
        elif isinstance(value, partial):
            self._all((value.func, value.args, value.keywords))
        elif isinstance(value, MethodType):
            self._all((value.__func__, value.__self__))
        elif isinstance(value, ModuleType):  # kept in a container: no name tells what of it is used
            if self._own(value.__name__) and value.__file__:
                self.lines.append(essence(Path(value.__file__).read_text(encoding="utf-8")))
        elif hasattr(value, "py_func"):  # a Numba function
            self._all((value.py_func, getattr(value, "targetoptions", None)))
        elif isinstance(value, FunctionType):
            if self._own(value.__module__):
                self._function(value)
        elif hasattr(value, "__wrapped__"):  # functools.cache
            self.visit(value.__wrapped__)
        elif isinstance(value, type):
            if self._own(value.__module__):
                self._class(value)
        elif type(value).__module__.partition(".")[0] == PACKAGE or self._local(type(value).__module__):
            self._all((type(value), value.__getstate__()))
        else:
            self._foreign(value)

    def _all(self, values: Any) -> None:
        for value in values:
            self.visit(value)

    def _own(self, module: str) -> bool:
        """Tell whether a module belongs to the script; if not, count it as a whole."""
        top = module.partition(".")[0]
        if top == PACKAGE:
            self.modules.add(module)
        elif self._local(module):
            return True
        else:
            self.lines.append(module)
            self.others.add(top)
        return False

    def _local(self, module: str) -> bool:
        file = getattr(sys.modules.get(module), "__file__", None)
        if self.root is None or file is None:
            return module == "__main__"
        path = Path(file).resolve()
        return path.is_relative_to(self.root) and "site-packages" not in path.relative_to(self.root).parts

    def _function(self, function: FunctionType) -> None:
        code = function.__code__
        self._code(code, doc=function.__doc__)
        self._all((function.__defaults__, function.__kwdefaults__))
        for name, held in zip(code.co_freevars, function.__closure__ or (), strict=True):
            self.lines.append(name)
            self.visit(held.cell_contents)
        names, attributes, imports = _mentions(code)
        done: set[str] = set()
        for module in sorted(imports):
            self._module(importlib.import_module(module), attributes, done)
        for name in sorted(names & function.__globals__.keys()):
            self._named(name, function.__globals__[name], attributes, done)

    def _named(self, name: str, value: Any, attributes: set[str], done: set[str]) -> None:
        self.lines.append(name)
        if isinstance(value, ModuleType):
            self._module(value, attributes, done)
        else:
            self.visit(value)

    def _module(self, module: ModuleType, attributes: set[str], done: set[str]) -> None:
        """Add what a function mentions of a module of the script, or of this package's public names."""
        if module.__name__ in done:
            return
        if module.__name__ == PACKAGE:  # whatever happens to be loaded of it
            names = attributes & set(module.__all__)
            inner = (f"{PACKAGE}.{name}" for name in attributes - names)
            self.modules.update(name for name in inner if source(name))
        elif self._own(module.__name__):
            names = {name for name in attributes if hasattr(module, name)}
        else:
            return
        done.add(module.__name__)
        for name in sorted(names):
            self._named(name, getattr(module, name), attributes, done)

    def _code(self, code: CodeType, doc: str | None = None) -> None:
        self.lines.append(f"{code.co_code.hex()} {code.co_names} {code.co_varnames} {code.co_freevars}")
        constants = code.co_consts
        self._all(constants[1:] if doc is not None and constants[:1] == (doc,) else constants)

    def _class(self, owner: type) -> None:
        self.lines.append(essence(textwrap.dedent(inspect.getsource(owner))))
        self._all(owner.__bases__)
        for value in vars(owner).values():
            inner = getattr(value, "fget", getattr(value, "__func__", value))
            if isinstance(inner, FunctionType) and inner.__module__ == owner.__module__:
                self._function(inner)

    def _foreign(self, value: Any) -> None:
        try:
            self.lines.append(pickle.dumps(value, protocol=4).hex())
        except Exception as error:
            message = f"a block reaches {value!r}, whose content cannot be told: put it into the setting"
            raise TypeError(message) from error
        self.others.add(type(value).__module__.partition(".")[0])


def _mentions(code: CodeType) -> tuple[set[str], set[str], set[str]]:
    """Return the global names, the attributes and the imports of code and of the functions inside it."""
    names, attributes, imports = set[str](), set[str](), set[str]()
    for step in dis.get_instructions(code):
        if step.opname == "IMPORT_NAME":
            imports.add(step.argval)
        elif "GLOBAL" in step.opname or step.opname == "LOAD_NAME":
            names.add(step.argval)
        elif step.argval in code.co_names:
            attributes.add(step.argval)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            inner = _mentions(constant)
            names, attributes, imports = names | inner[0], attributes | inner[1], imports | inner[2]
    return names, attributes, imports


@cache
def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:  # the standard library
        return ""
