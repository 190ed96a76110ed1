"""Any optimiser as an optax transformation that accepts `scores`: optax's own, numpyro's, and our natural gradient."""

import jax
import jax.numpy as jnp
import optax
from numpyro.optim import _NumPyroOptim


def as_optax(optim) -> optax.GradientTransformationExtraArgs:
    """The optax form of an optax or numpyro optimiser. Raises ValueError for anything else."""
    if isinstance(optim, _NumPyroOptim):
        return _from_numpyro(optim)
    if isinstance(optim, optax.GradientTransformation):
        return optax.with_extra_args_support(optim)
    raise ValueError(
        f"Expected optim to be an optax or numpyro optimiser; got {optim!r}. "
        "For example: natural_gradient(), optax.adam(1e-3), numpyro.optim.Adam(1e-3)."
    )


def _from_numpyro(optim) -> optax.GradientTransformationExtraArgs:
    def update(updates, state, params=None, **extra):
        del extra
        state = optim.update(updates, state)
        return jax.tree.map(jnp.subtract, optim.get_params(state), params), state

    return optax.GradientTransformationExtraArgs(optim.init, update)
