"""What the outputs of a function depend on: read off its program, the jaxpr, where no number is computed.

An equation that is a program itself, as that of a function under jit, counts as a whole: each of its outputs
depends on each of its inputs.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax.extend.core import Literal


def dependencies(f: Callable, inputs: dict[str, Any], gradients: bool = False) -> tuple[str, ...]:
    """The names of the inputs that f depends on; with `gradients`, not through stop_gradient."""
    leaves = jax.tree_util.tree_leaves_with_path(inputs)
    program = jax.make_jaxpr(f)(inputs).jaxpr
    reached = {var: {path[0].key} for var, (path, _) in zip(program.invars, leaves, strict=True)}
    for equation in program.eqns:
        if gradients and equation.primitive.name == "stop_gradient":
            continue
        names = set().union(*(reached.get(v, set()) for v in equation.invars if not isinstance(v, Literal)))
        reached.update({v: names for v in equation.outvars})
    result = set().union(*(reached.get(v, set()) for v in program.outvars if not isinstance(v, Literal)))
    return tuple(name for name in inputs if name in result)
