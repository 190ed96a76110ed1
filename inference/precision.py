"""The precision of a training is that of its numbers: float32 in half the time or so, float64 where results are read off.

Rounding is noise of 1e-6 in a gradient whose own noise is a thousand times larger, but not in a free energy to five digits.
"""

import jax
import jax.numpy as jnp


def in_precision(tree, dtype):
    """The same tree, its real arrays in `dtype`: a `TrainState` to train on from, or parameters to evaluate.

    jax knows float64 only where jax_enable_x64 is set. The linear system of the natural gradient is then solved in float64
    whatever the parameters have.
    """
    return jax.tree.map(lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree)
