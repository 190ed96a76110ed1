"""How XLA compiles what is written here: what it computes once, and how hard it optimises.

XLA merges a cheap computation into each loop that reads its result, and then repeats it in all of them. On a
CPU it forgets `jax.lax.optimization_barrier` before it does so (jax 0.10). A call of a function that it
may not inline stays.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, wraps
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.xla_metadata import set_xla_metadata

# Kernels by way of MLIR take longer to be compiled and are not faster. Later versions know no such flag.
_KERNELS = {"xla_cpu_use_fusion_emitters": False} if jax.__version_info__ < (0, 11) else {}
# Of programs that run once: LLVM's optimisation takes longer than it saves.
RUN_ONCE = {"xla_backend_optimization_level": 0} | _KERNELS
# Of programs that run again and again on a CPU: more makes no step faster.
RUN_OFTEN = {"xla_backend_optimization_level": 1} | _KERNELS


def compiled(function: Callable) -> Callable:
    """function, compiled as a program that runs again and again; inside of jit it is a part of that one."""

    traced = eqx.filter_jit(function)  # once for its shapes and for its program

    @cache
    def program():  # not before a backend is asked for
        hurried = jax.config.read("jax_disable_most_optimizations")
        options = RUN_OFTEN if jax.default_backend() == "cpu" and not hurried else {}
        return eqx.filter_jit(traced, compiler_options=options)

    @wraps(function)
    def call(*args):
        if is_traced(args):
            return function(*args)
        if _ahead.submit is not None:
            return _ahead.submit(traced, program(), args)
        _ahead.wait()
        return program()(*args)

    call.lower = lambda *args: program().lower(*args)
    return call


class _Ahead(threading.local):
    """The programs of this thread that are being compiled, and what takes more of them."""

    def __init__(self):
        self.submit = None
        self.pending = []

    def wait(self):
        """Until all are compiled: a program that is called before is compiled once more."""
        try:
            for program in self.pending:
                program.result()
        finally:
            for program in self.pending:
                program.cancel()  # if it was not waited for
            self.pending = []


_ahead = _Ahead()


def compile_ahead(function: Callable, *args) -> None:
    """Traces a function whose parts are `compiled`, without running it, and has them compiled in the
    background, one while the next is traced. Called later, they wait for that.

    function: may look at the shapes of what its parts return, not at the numbers, which are zeros here.
    """

    def submit(traced, program, args):
        shapes = eqx.filter_eval_shape(traced, *args)
        _ahead.pending.append(_THREADS.submit(program.lower(*args).compile))
        return zeros(shapes)

    _ahead.submit = submit
    try:
        function(*args)
    finally:
        _ahead.submit = None


def zeros(shapes):
    """Arrays of these shapes, as of eqx.filter_eval_shape, of no memory until somebody writes to them."""

    def blank(x):
        if not isinstance(x, jax.ShapeDtypeStruct) or jax.dtypes.issubdtype(x.dtype, jax.dtypes.extended):
            return x  # no array; or one of keys, of which only the shape is known
        return np.zeros(x.shape, x.dtype)

    return jax.tree.map(blank, shapes)


def is_traced(*trees) -> bool:
    """Whether this is inside of a transformation of jax, where numbers have no values."""
    # Of a function under jit every new array is traced; under grad and vmap only what comes from its inputs.
    return any(isinstance(leaf, jax.core.Tracer) for leaf in (jnp.zeros(()), *jax.tree.leaves(trees)))


def in_background(program: Callable, *args) -> Callable[[], Any]:
    """Compiles a filter_jit program for these arguments in a thread. What is returned waits, and calls it.

    It is traced before that: of numpyro's handlers there is one stack for all threads.
    """
    lowered = program.lower(*args)
    executable = _THREADS.submit(lowered.compile)
    return lambda: executable.result()(*args)


_THREADS = ThreadPoolExecutor(2)


def computed_once(x):
    """The arrays of x, which XLA computes apart from what reads them, and not again for every reader. For use
    in jit.
    """
    if jax.default_backend() != "cpu":
        return jax.lax.optimization_barrier(x)
    with set_xla_metadata(inlineable="false"):
        return _identity(x)


@jax.jit
def _identity(x):
    return x
