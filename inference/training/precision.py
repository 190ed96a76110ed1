"""The precision of a training is that of its numbers: float32 is faster, float64 is for what is read off in the end.

The gradient of a batch is noisy by itself, so float32 will do for it; a free energy to five digits needs more.
"""

import jax
import jax.numpy as jnp


def in_precision(tree, dtype):
    """The same tree, its real arrays in `dtype`: a `TrainState` to train on from, or parameters to evaluate.

    jax knows float64 only where jax_enable_x64 is set. The linear system of the natural gradient is then solved in float64
    whatever the parameters have.
    """
    return jax.tree.map(lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree)
