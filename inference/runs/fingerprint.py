"""What a run is of, as plain JSON, so that two runs can be compared and a reader told what differs.

A function is described by its name and its source, an object by its type and its fields, an array by its
numbers, or by its shape and dtype alone where it is long.
"""

import ast
import dataclasses
import hashlib
import inspect
import math
import textwrap
from importlib.metadata import version
from typing import Any

import jax
import numpy as np

from pnct.systems.base import System

LIBRARIES = ("pnct", "jax", "jaxlib", "numpy", "numpyro", "distrax", "equinox", "optax")
LISTED = 64  # entries of an array that are worth listing
NAMED = 3  # differences that are worth naming


def describe_run(model, hamiltonian, num_walkers: int, start, args: tuple) -> dict[str, Any]:
    """Model, Hamiltonian, system, orbital lists, versions, and the random key and the precision of the state
    it starts from.
    """
    orbitals = [arg.orbitals for arg in args if isinstance(arg, System)]
    return {
        "model": describe(model),
        "hamiltonian": describe(hamiltonian),
        "system": describe(args),
        "orbitals": [describe(table, listed=math.inf) for table in orbitals],
        "num_walkers": num_walkers,
        "key": np.asarray(jax.random.key_data(start.key)).tolist(),
        "precision": sorted({str(leaf.dtype) for leaf in jax.tree.leaves(start.params)}),
        "versions": {name: version(name) for name in LIBRARIES},
    }


def describe(x, listed: float = LISTED):
    """x as JSON: numbers, strings, lists and dicts. Arrays of more than `listed` entries give their shape and
    dtype.
    """
    if x is None or isinstance(x, bool | int | float | str):
        return x
    if isinstance(x, np.generic | np.ndarray | jax.Array):
        array = np.asarray(x)
        if np.iscomplexobj(array):  # which JSON does not know
            return {"real": describe(array.real, listed), "imag": describe(array.imag, listed)}
        return array.tolist() if array.size <= listed else f"{array.dtype}{list(array.shape)}"
    if isinstance(x, dict):
        return {str(name): describe(value, listed) for name, value in x.items()}
    if isinstance(x, tuple | list) and not hasattr(x, "_fields"):
        return [describe(value, listed) for value in x]
    if inspect.isfunction(x) or inspect.ismethod(x) or inspect.isclass(x):
        return {"function": f"{x.__module__}.{x.__qualname__}", "source": _source(x)}
    if dataclasses.is_dataclass(x):
        fields = {field.name: getattr(x, field.name) for field in dataclasses.fields(x)}
    else:
        fields = x._asdict() if hasattr(x, "_asdict") else getattr(x, "__dict__", {})
    return {"type": type(x).__name__} | {name: describe(value, listed) for name, value in fields.items()}


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

    told = [f"{name} ({value(there, name)} there, {value(here, name)} here)" for name in names[:NAMED]]
    more = [f"{len(names) - NAMED} more"] if len(names) > NAMED else []
    return ", ".join(told + more)


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
        return math.isclose(a, b, rel_tol=1e-12)
    return type(a) is type(b) and a == b


def _source(function) -> str | None:
    """A checksum of the program text, blind to comments and layout; None where there is no text to be had."""
    try:
        text = ast.unparse(ast.parse(textwrap.dedent(inspect.getsource(function))))
    except (OSError, TypeError, SyntaxError):
        return None
    return hashlib.sha256(text.encode()).hexdigest()[:16]
