"""What the outputs of a function depend on: read off its program, the jaxpr, where no number is computed.

Of a function under jit the program is read, too. A loop or a branch counts as a whole: each of its outputs
depends on each of its inputs.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Literal


def dependencies(f: Callable, inputs: dict[str, Any], gradients: bool = False) -> tuple[str, ...]:
    """The names of the inputs that f depends on; with `gradients`, not through stop_gradient."""
    leaves = jax.tree_util.tree_leaves_with_path(inputs)
    reached = _reached(jax.make_jaxpr(f)(inputs), [{path[0].key} for path, _ in leaves], gradients)
    result = set().union(*reached)
    return tuple(name for name in inputs if name in result)


def _reached(program: ClosedJaxpr, names: list[set[str]], gradients: bool) -> list[set[str]]:
    """For each output, the names that reach it from the inputs."""
    by_var = dict(zip(program.jaxpr.invars, names, strict=True))

    def of(var):
        return set() if isinstance(var, Literal) else by_var.get(var, set())

    for equation in program.eqns:
        inputs = [of(var) for var in equation.invars]
        if gradients and equation.primitive.name == "stop_gradient":
            continue
        if equation.primitive.name == "jit":
            outputs = _reached(equation.params["jaxpr"], inputs, gradients)
        else:
            outputs = [set().union(*inputs)] * len(equation.outvars)
        by_var.update(zip(equation.outvars, outputs, strict=True))
    return [of(var) for var in program.jaxpr.outvars]
