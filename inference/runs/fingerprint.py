"""What a run is of, as plain JSON, so that two runs can be compared, with what differs.

A function is described by its name, its source, and the values that it closes over, which are also those of
its default and of its bound arguments; an object by its type and its fields; an array by its numbers, or by
its shape, dtype and norm where it is long. Of a function or class outside the libraries the constants,
functions and classes of its own file that it uses are described as well. What cannot be described: state that
is held by compiled extensions, and files that a function reads.
"""

import ast
import dataclasses
import functools
import hashlib
import importlib
import inspect
import math
import sys
import textwrap
from importlib.metadata import version
from types import CodeType
from typing import Any

import jax
import numpy as np

from pnct.systems.base import System

LIBRARIES = ("pnct", "jax", "jaxlib", "numpy", "numpyro", "distrax", "equinox", "optax")
NUMERICAL = (  # the files whose constants decide the numbers of a run
    "pnct.inference.training.step",
    "pnct.inference.optimisation.gradients",
    "pnct.inference.optimisation.natural_gradient",
    "pnct.inference.sampling.batch",
    "pnct.inference.sampling.metropolis_fallback",
    "pnct.inference.closed_form.boltzmann_weights",
    "pnct.inference.closed_form.diagonalisation",
    "pnct.distributions.spin_states",
    "pnct.flows.inverse",
    "pnct.states.electron_by_electron",
    "pnct.states.projection_dpp",
    "pnct.states.jastrow",
    "pnct.states.slater_jastrow",
    "pnct.states.superposition",
)
MEMORY = "CHUNK"  # in the name of a constant that bounds memory and changes no number
LISTED = 64  # entries of an array that are worth listing
NAMED = 3  # differences that are worth naming


def describe_run(vfe, hamiltonian, start, args: tuple) -> dict[str, Any]:
    """Model, Hamiltonian, optimiser, system, its table, constants, versions, and the state it starts
    from: its random key, its step, its precision, and the norms of its parameters.
    """
    tables = [arg.table for arg in args if isinstance(arg, System)]
    return {
        "model": describe(vfe.model),
        "hamiltonian": describe(hamiltonian),
        "optim": describe_optimiser(vfe.optim),
        "system": describe(args),
        "tables": [describe(table, listed=math.inf) for table in tables],
        "num_walkers": vfe.num_walkers,
        "key": np.asarray(jax.random.key_data(start.key)).tolist(),
        "precision": sorted({str(leaf.dtype) for leaf in jax.tree.leaves(start.params)}),
        "start": {"step": int(start.step)} | {name: _norms(x) for name, x in start.params.items()},
        "constants": {name.removeprefix("pnct."): constants(name) for name in NUMERICAL},
        "versions": {name: version(name) for name in LIBRARIES},
    }


def describe_optimiser(optim) -> dict[str, Any]:
    """The settings of an optax transformation: what its `update` closes over, by name, and so for `init`."""
    update = describe(optim.update)
    init = describe(optim.init)
    same = {name for name in init if update.get(name) == init[name]}
    return update | {"init": {name: value for name, value in init.items() if name not in same}}


def constants(module: str) -> dict[str, Any]:
    """The numbers that a file names in capitals, but for those that bound memory alone."""
    found = vars(importlib.import_module(module))
    return {
        name: describe(value)
        for name, value in sorted(found.items())
        if name.isupper() and MEMORY not in name and _is_plain(value)
    }


def describe(x, listed: float = LISTED, path: tuple[int, ...] = ()):
    """x as JSON: numbers, strings, lists and dicts. Arrays of more than `listed` entries give their shape,
    dtype and norm.

    path: the objects that x is inside of; one that holds itself ends there.
    """
    if x is None or isinstance(x, bool | int | float | str):
        return x
    if isinstance(x, complex):
        return {"real": x.real, "imag": x.imag}
    if isinstance(x, np.generic | np.ndarray | jax.Array):
        return _describe_array(x, listed)
    if id(x) in path:
        return "itself"

    inner = functools.partial(describe, listed=listed, path=(*path, id(x)))
    if isinstance(x, dict):
        return {str(name): inner(value) for name, value in x.items()}
    if isinstance(x, set | frozenset):
        return sorted((inner(value) for value in x), key=repr)
    if isinstance(x, tuple | list) and not hasattr(x, "_fields"):
        return [inner(value) for value in x]
    if isinstance(x, functools.partial):
        bound = {str(i): inner(value) for i, value in enumerate(x.args)} | inner(x.keywords)
        return {"partial": inner(x.func), "bound": bound}
    if inspect.ismethod(x):
        return inner(x.__func__) | {"self": inner(x.__self__)}
    if inspect.isfunction(x):
        return _describe_function(x, inner)
    if inspect.isclass(x):
        return {"class": f"{x.__module__}.{x.__qualname__}", "source": _source(x)}
    if isinstance(x, np.dtype):
        return str(x)
    if inspect.isfunction(inspect.unwrap(x)):  # compiled by jit, or with a derivative of its own
        return inner(inspect.unwrap(x)) | {"wrapped": type(x).__name__}
    return _describe_object(x, inner)


def differences(there: Any, here: Any) -> str:
    """The first few places where two descriptions differ, as "rs (4.0 there, 5.0 here)"; empty where they
    agree.
    """
    there = _flat(there)
    here = _flat(here)
    names = [name for name in dict.fromkeys([*there, *here]) if not _agree(there.get(name), here.get(name))]
    if not names:
        return ""

    def value(side, name):
        return repr(side[name]) if name in side else "absent"

    messages = [f"{name} ({value(there, name)} there, {value(here, name)} here)" for name in names[:NAMED]]
    more = [f"{len(names) - NAMED} more"] if len(names) > NAMED else []
    return ", ".join(messages + more)


def _describe_array(x, listed: float):
    if isinstance(x, jax.Array) and jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
        x = jax.random.key_data(x)
    array = np.asarray(x)
    if np.iscomplexobj(array):  # which JSON does not know
        return {"real": _describe_array(array.real, listed), "imag": _describe_array(array.imag, listed)}
    if array.size <= listed or not (np.issubdtype(array.dtype, np.number) or array.dtype == bool):
        return array.tolist()
    return f"{array.dtype}{list(array.shape)} of norm {_norm(array)}"


def _describe_function(x, inner) -> dict[str, Any]:
    closure = {}
    for name, cell in zip(x.__code__.co_freevars, x.__closure__ or (), strict=True):
        try:
            closure[name] = inner(cell.cell_contents)
        except ValueError:  # of a variable that has no value yet
            closure[name] = "unset"
    defaults = {
        name: inner(parameter.default)
        for name, parameter in inspect.signature(x, follow_wrapped=False).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }
    used = {} if _in_library(x.__module__) else _used(x, inner)
    return {"function": f"{x.__module__}.{x.__qualname__}", "source": _source(x)} | used | defaults | closure


def _describe_object(x, inner) -> dict[str, Any]:
    if dataclasses.is_dataclass(x):
        fields = {
            field.name: getattr(x, field.name) for field in dataclasses.fields(x) if hasattr(x, field.name)
        }
    else:
        fields = x._asdict() if hasattr(x, "_asdict") else getattr(x, "__dict__", {})
    kind = type(x)
    name = {"type": kind.__name__}
    if not _in_library(kind.__module__):
        name["source"] = _source(kind)
    elif not fields and hasattr(x, "__name__"):  # a function of a compiled extension
        name["name"] = x.__name__
    return name | {name: inner(value) for name, value in fields.items()}


def _used(function, inner) -> dict[str, Any]:
    """What a function uses of its own file: constants, other functions, and classes."""
    found = {}
    for name in sorted(_names(function.__code__)):
        value = function.__globals__.get(name)
        if (
            _is_plain(value)
            or isinstance(value, np.ndarray | jax.Array)
            or (
                (inspect.isfunction(value) or inspect.isclass(value))
                and value.__module__ == function.__module__
            )
        ):
            found[name] = inner(value)
    return {"uses": found} if found else {}


def _names(code: CodeType) -> set[str]:
    inside = [_names(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    return set(code.co_names).union(*inside)


def _is_plain(x) -> bool:
    """Whether it is a number, or a tuple of numbers."""
    return (
        all(_is_plain(y) for y in x) if isinstance(x, tuple) else isinstance(x, bool | int | float | complex)
    )


def _in_library(module: str | None) -> bool:
    top = (module or "builtins").partition(".")[0]
    return top in LIBRARIES or (top in sys.stdlib_module_names and top != "__main__")


def _norms(module) -> list[float]:
    return [_norm(leaf) for leaf in jax.tree.leaves(module)]


def _norm(array) -> float:
    """To six digits: its last ones may differ from one machine to another."""
    array = np.asarray(array)
    return float(f"{np.linalg.norm(np.abs(array).astype(float).ravel()):.6g}")


def _flat(x, path="") -> dict[str, Any]:
    if isinstance(x, dict):
        children = [(f"{path}.{name}" if path else str(name), value) for name, value in x.items()]
    elif isinstance(x, list):
        children = [(f"{path}[{i}]", value) for i, value in enumerate(x)]
    else:
        return {path: x}
    return {name: leaf for child, value in children for name, leaf in _flat(value, child).items()}


def _agree(a, b) -> bool:
    # The last digit of a power or a square root may differ from one machine's library to another's.
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-12) or (math.isnan(a) and math.isnan(b))
    return type(a) is type(b) and a == b


@functools.lru_cache(maxsize=4096)
def _source(x) -> str:
    """A checksum of the program text, blind to comments and layout; where there is no text, of the compiled
    code.
    """
    try:
        text = textwrap.dedent(inspect.getsource(x))
    except (OSError, TypeError):
        text = _code_text(x.__code__) if inspect.isfunction(x) else ""
    try:
        text = ast.unparse(ast.parse(text))
    except SyntaxError:  # a lambda in the middle of an expression
        text = " ".join(text.split())
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _code_text(code: CodeType) -> str:
    parts = [_code_text(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return " ".join([code.co_code.hex(), *parts, *code.co_names])
