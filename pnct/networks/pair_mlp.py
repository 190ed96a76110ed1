r"""eta_gm(x): a small network of features x that do not change under r -> -r, with its own weights for each
spin channel g, and a number for each direction m of the space.

h <- softplus(h W_g + b_g) in each hidden layer, from h = x;  eta_g = h W'_g, zero at first.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pnct.networks.layers import random_weight, softplus


class Layer(NamedTuple):
    """F -> W numbers, in each of G spin channels."""

    weight: Float[Array, "G F W"]
    bias: Float[Array, "G W"]


class PairMLP(eqx.Module):
    """eta: (features, spin channel) -> M numbers."""

    hidden: tuple[Layer, ...]
    out: Float[Array, "G W M"]

    def __call__(self, x: Float[Array, "*pairs F"], g: int) -> Float[Array, "*pairs M"]:
        for layer in self.hidden:
            x = softplus(x @ layer.weight[g] + layer.bias[g])
        return x @ self.out[g]


def pair_mlp(
    key: Array, spin_channels: int, features: int, depth: int, width: int, directions: int = 1
) -> PairMLP:
    """`depth` hidden layers of `width` numbers, M = `directions`; zero, whatever the features."""
    hidden = []
    for level, k in enumerate(jax.random.split(key, depth)):
        F = width if level else features
        hidden.append(
            Layer(random_weight(k, (spin_channels, F, width), F), jnp.zeros((spin_channels, width)))
        )
    return PairMLP(tuple(hidden), jnp.zeros((spin_channels, width, directions)))
