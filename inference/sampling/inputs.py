"""What a caller hands over, looked at before anything is traced: a key, parameters, a model without a key of
its own.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from numpyro.primitives import Messenger

from pnct.compilation import is_traced


class unseeded(Messenger):
    """A handler: refuses a sample site that has a random key before the one of its walker reaches it.

    Each walker draws with its own key; with one that the model brings along all of them would be the same.
    """

    def __init__(self, fn: Callable):
        super().__init__(fn)

    def process_message(self, msg):
        if msg["type"] != "sample" or msg["is_observed"] or msg["kwargs"].get("rng_key") is None:
            return
        raise ValueError(
            f"Expected a model without a random key; got one that draws site '{msg['name']}' with a key of "
            "its own, which would be the same for every walker. Hand over the model itself, not "
            "seed(model, key)."
        )


def checked_key(key):
    """Raises ValueError unless it is a random key, and has a value."""
    if not (isinstance(key, jax.Array) and jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key)):
        raise ValueError(f"Expected a typed random key, jax.random.key(0); got {key!r}.")
    check_outside_of_jit(key)
    return key


def check_outside_of_jit(*trees) -> None:
    """Raises ValueError inside of a transformation of jax, where numbers have no values."""
    if is_traced(*trees):
        raise ValueError(
            "Expected a call outside of jit, grad, vmap and scan; got traced values. This routine compiles "
            "what it needs itself; inside of jit or scan, use `update`."
        )


def check_params(params: Any) -> None:
    """Raises ValueError unless they are a dict of real numbers, as `init` and `run` give."""
    if not isinstance(params, dict):
        raise ValueError(
            "Expected parameters, a dict by site such as `result.params`; got "
            f"{'a ' + type(params).__name__ if params is not None else 'None'}."
        )
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        dtype = jnp.result_type(leaf)
        if not jnp.issubdtype(dtype, jnp.floating):
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            raise ValueError(
                f"Expected real parameters; got {dtype} at '{name}'. Write a complex number as two real "
                "ones, an integer as a constant."
            )
