"""What a model is written with: NumPyro's `sample` and `param`, which accept distrax distributions,
and `module` for networks.
"""

from collections.abc import Callable

import distrax
import equinox as eqx
import jax
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
        return numpyro.sample(name, fn, obs=obs, **kwargs)
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


def module(name: str, make: Callable):
    """A network with trainable parameters at site `name`: `make` is a function key -> eqx.Module.

    The parameters are the module's inexact jax arrays; numpy arrays and everything else stay constant.
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

    return eqx.combine(param(name, parameters), _constants(name, make))


def is_trained(leaf) -> bool:
    """Whether a leaf of a network is a parameter."""
    return isinstance(leaf, jax.Array) and eqx.is_inexact_array(leaf)


def _constants(name, make):
    """What is not trainable in the module that `make` makes: no parameter is computed for it."""
    found = []
    jax.eval_shape(
        lambda key: found.append(eqx.filter(make(key), is_trained, inverse=True)), jax.random.key(0)
    )
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(found)):
        raise ValueError(f"Expected integer constants of module '{name}' to be numpy arrays; got jax arrays.")
    return found[0]
