"""What a model is written with: NumPyro's `sample` and `param`, which accept distrax distributions,
and `module` for networks.
"""

from collections.abc import Callable
from inspect import isabstract

import distrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from numpyro import param

from pnct.distributions.bridge import DistraxSite

__all__ = ["module", "param", "sample"]


def sample(name: str, fn, obs=None, **kwargs):
    """numpyro.sample, where `fn` may also be a distrax distribution. All NumPyro handlers work on
    the site.
    """
    if isinstance(fn, distrax.Distribution):
        fn = DistraxSite(fn)
    try:
        value = numpyro.sample(name, fn, obs=obs, **kwargs)
    except (AssertionError, ValueError) as error:
        unseeded = not str(error) or "seeded model" in str(error)
        if not unseeded and isinstance(error, ValueError):
            raise ValueError(f"At site '{name}': {error}") from error
        if not unseeded:
            raise
        raise ValueError(
            f"Expected a seeded model; got site '{name}' without a random key. Wrap the model: "
            "numpyro.handlers.seed(model, key)."
        ) from None
    _check_value(name, fn, value)
    return value


def _check_value(name, fn, value) -> None:
    """What a handler has put in the place of a draw is an array, of whole numbers where the draws are."""
    if not isinstance(value, jax.Array | np.ndarray | np.generic | bool | int | float | complex):
        raise ValueError(
            f"At site '{name}': Expected an array; got a {type(value).__name__}. Write np.array([...])."
        )
    dtype = jnp.result_type(value)
    counted = isinstance(fn, DistraxSite) and jnp.issubdtype(fn.distribution.dtype, jnp.integer)
    if counted and not jnp.issubdtype(dtype, jnp.integer):
        raise ValueError(f"At site '{name}': Expected whole numbers, an array of integers; got {dtype}.")


def module(name: str, make: Callable):
    """A network with trainable parameters at site `name`: `make` is a function key -> eqx.Module.

    The parameters are the module's inexact jax arrays; numpy arrays and everything else stay constant. Given
    in their place may also be another module that stands for itself: one of the same contract, the abstract
    class that both are of, with no array but parameters. It is returned as it is.
    """
    if isinstance(make, eqx.Module) or not callable(make):
        raise ValueError(f"Expected a function key -> eqx.Module for '{name}'; got {type(make).__name__}.")

    def parameters(key):
        if key is None:
            raise ValueError(
                f"Expected a seeded model or given parameters; got module '{name}' with neither. "
                "Wrap the model: numpyro.handlers.seed(model, key), or substitute(model, params)."
            )
        return eqx.filter(make(key), is_trained)

    made, constants = _made(name, make)
    value = param(name, parameters)
    if _stands_for_itself(value, made):
        return value
    different = _difference(value, made)
    if different:
        raise ValueError(
            f"Expected the parameters of module '{name}' as they are made for these arguments; got others: "
            f"{different}. Parameters belong to one number of electrons and one table of orbitals: give all "
            "systems one `cutoff`."
        )
    return eqx.combine(value, constants)


def is_trained(leaf) -> bool:
    """Whether a leaf of a network is a parameter."""
    return isinstance(leaf, jax.Array) and eqx.is_inexact_array(leaf)


def _stands_for_itself(value, made) -> bool:
    """Whether a value is not the parameters of what is made, but another module that can be in its place."""
    if type(value) is type(made) or not isinstance(value, eqx.Module):
        return False
    contracts = [kind for kind in type(made).__mro__ if issubclass(kind, eqx.Module) and isabstract(kind)]
    leaves = jax.tree.leaves(value, is_leaf=lambda leaf: leaf is None)  # None where a constant was
    return isinstance(value, tuple(contracts)) and all(map(is_trained, leaves))


def _made(name, make):
    """Shapes and dtypes of the parameters of the module that `make` makes, and what is not trainable in it:
    no parameter is computed for it.
    """
    constants = []

    def made(key):
        network = make(key)
        constants.append(eqx.filter(network, is_trained, inverse=True))
        return eqx.filter(network, is_trained)

    shapes = jax.eval_shape(made, jax.random.key(0))
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(constants)):
        raise ValueError(f"Expected integer constants of module '{name}' to be numpy arrays; got jax arrays.")
    return shapes, constants[0]


def _difference(value, made) -> str:
    """Where parameters have another shape than those that are made, or another structure; empty where they
    fit.
    """
    there, here = (
        {jax.tree_util.keystr(path, simple=True, separator="/"): jnp.shape(leaf) for path, leaf in leaves}
        for leaves in map(jax.tree_util.tree_leaves_with_path, (value, made))
    )
    for name in dict.fromkeys([*there, *here]):
        shapes = there.get(name, "none"), here.get(name, "none")
        if shapes[0] != shapes[1]:
            return f"{name or 'the array'} has shape {shapes[0]} in place of {shapes[1]}"
    if jax.tree.structure(value) == jax.tree.structure(made):
        return ""
    return "its constants, such as electron numbers and symmetries, are others"
