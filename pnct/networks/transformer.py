r"""A causal transformer over electrons: the correction to the logits of the ideal gas.

The token x_t of the t-th electron names the orbital taken before it, and the species of both. With
h = tanh(x W + b),

    h_t <- h_t + sum_{s <= t} softmax_s(q_t.k_s/sqrt(d)) v_s W_o
    h_t <- h_t + tanh(h_t W_1 + b_1) W_2 + b_2                     in each layer
    correction_t = tanh(h_t) W_out + b_out                         W_out = b_out = 0 at first

so the distribution starts exactly at the ideal gas. Keys and values are kept in a cache of fixed size: one
call takes one electron or all of them, through the same lines. Network: Vaswani et al., NeurIPS 2017; for
p(K): Xie, Zhang, Wang, SciPost Phys. 14, 154 (2023).
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

from pnct.networks.base import OccupationNetwork
from pnct.networks.layers import random_weight
from pnct.validation import checked_integer


class Cache(NamedTuple):
    """Keys and values of the electrons seen so far, one pair per layer; zero beyond."""

    keys: Float[Array, "heads d N"]
    values: Float[Array, "N heads d"]


class Linear(NamedTuple):
    """x W + b."""

    weight: Float[Array, "A B"]
    bias: Float[Array, " B"]

    def __call__(self, x: Float[Array, "T A"]) -> Float[Array, "T B"]:
        return x @ self.weight + self.bias


class Layer(NamedTuple):
    """Attention (W_q, W_k, W_v side by side) and the two maps after it."""

    attention: Linear
    mix: Linear
    widen: Linear
    narrow: Linear


class Transformer(OccupationNetwork):
    """Tokens of consecutive electrons -> corrections of their logits, one number per orbital.

    `energy_shifts`: one per level of the gas, in units of T, added to the orbital energies; None where not
    learned.
    """

    embed: Linear
    layers: tuple[Layer, ...]
    out: Linear
    energy_shifts: Float[Array, " levels"] | None
    heads: int = eqx.field(static=True)

    def shell_shifts(self) -> Float[Array, " shells"] | None:
        return self.energy_shifts

    def with_shell_shifts(self, shifts: Float[Array, " shells"]) -> "Transformer":
        if self.energy_shifts is None:
            raise ValueError(
                "Expected a transformer with learn_energies=True; got one without shell energies."
            )
        return eqx.tree_at(lambda network: network.energy_shifts, self, shifts)

    def empty_cache(self, N: int) -> tuple[Cache, ...]:
        """The cache before the first of N electrons."""
        width = self.embed.bias.shape[0]
        dtype = self.embed.bias.dtype
        nothing = jnp.zeros((N, self.heads, width // self.heads), dtype)
        return tuple(Cache(jnp.moveaxis(nothing, 0, -1), nothing) for _ in self.layers)

    def __call__(
        self, x: Float[Array, "T F"], electrons: Int[ArrayLike, " T"], caches: tuple[Cache, ...]
    ) -> tuple[Float[Array, "T M"], tuple[Cache, ...]]:
        """Corrections for the T consecutive electrons with the tokens x, and the cache that now has them."""
        h = jnp.tanh(self.embed(x))
        new_caches = []
        for layer, cache in zip(self.layers, caches, strict=True):
            q, k, v = jnp.split(layer.attention(h).reshape(len(x), 3 * self.heads, -1), 3, axis=1)
            cache = place(cache, k, v, electrons[0])
            h = h + layer.mix(attend(q, cache, electrons).reshape(h.shape))
            h = h + layer.narrow(jnp.tanh(layer.widen(h)))
            new_caches.append(cache)
        return self.out(jnp.tanh(h)), tuple(new_caches)


def place(cache: Cache, k: Float[Array, "T heads d"], v: Float[Array, "T heads d"], start) -> Cache:
    """The cache with the keys and values of the electrons from `start` on."""
    keys = jax.lax.dynamic_update_slice(cache.keys, jnp.moveaxis(k, 0, -1), (0, 0, start))
    return Cache(keys, jax.lax.dynamic_update_slice(cache.values, v, (start, 0, 0)))


def attend(
    q: Float[Array, "T heads d"], cache: Cache, electrons: Int[ArrayLike, " T"]
) -> Float[Array, "T heads d"]:
    """Each electron looks at itself and at those before it."""
    seen = jnp.arange(len(cache.values)) <= electrons[:, None]
    if len(q) > 1:
        scores = jnp.einsum("thd,hds->ths", q, cache.keys)
    else:  # XLA is slow with such small matrices
        scores = jnp.sum(q[..., None] * cache.keys, axis=2)
    weights = jax.nn.softmax(jnp.where(seen[:, None], scores / q.shape[-1] ** 0.5, -jnp.inf), axis=-1)
    if len(q) > 1:
        return jnp.einsum("ths,shd->thd", weights, cache.values)
    return jnp.sum(jnp.swapaxes(weights, 1, 2)[..., None] * cache.values, axis=1)


def transformer(
    system, layers: int = 2, width: int = 16, heads: int = 4, learn_energies: bool = True
) -> Callable[[Array], Transformer]:
    """A function key -> Transformer for the orbitals of `system`, at first no correction to the ideal gas."""
    num_levels = int(system.shell_index.max()) + 1
    num_features = tokens(system, np.zeros(1, int), np.zeros(1, int)).shape[-1]
    num_energies = num_levels if learn_energies else None
    return causal_transformer(num_features, len(system.orbitals), layers, width, heads, num_energies)


def causal_transformer(
    num_features: int, num_outputs: int, layers: int, width: int, heads: int, num_energies: int | None = None
) -> Callable[[Array], Transformer]:
    """A function key -> Transformer from tokens of so many features to so many corrections, zero at first.

    num_energies: of learned shell energies; None for a network without.
    """
    layers = checked_integer("layers", layers, 1)
    width = checked_integer("width", width, 1)
    heads = checked_integer("heads", heads, 1)
    if width % heads:
        raise ValueError(
            f"Expected width a multiple of heads; got layers = {layers}, heads = {heads}, width = {width}."
        )

    def linear(key, fan_in, fan_out):
        return Linear(random_weight(key, (fan_in, fan_out), fan_in), jnp.zeros(fan_out))

    def make(key: Array) -> Transformer:
        first, *keys = jax.random.split(key, 1 + layers)
        shapes = (width, 3 * width), (width, width), (width, width), (width, width)
        return Transformer(
            embed=linear(first, num_features, width),
            layers=tuple(
                Layer(*(linear(k, *shape) for k, shape in zip(jax.random.split(key, 4), shapes, strict=True)))
                for key in keys
            ),
            out=Linear(jnp.zeros((width, num_outputs)), jnp.zeros(num_outputs)),
            energy_shifts=None if num_energies is None else jnp.zeros(num_energies),
            heads=heads,
        )

    return make


def tokens(
    system, previous: Int[ArrayLike, " T"], electrons: Int[ArrayLike, " T"], dtype=None
) -> Float[Array, "T F"]:
    """The input features of the network: those of the orbital taken before, and both species.

    previous: that orbital; ignored for the very first electron, which has none.
    """
    up = system.num_electrons[0]
    order = np.arange(system.N)
    # nobody before, down before, down itself
    species = np.stack([order == 0, order > up, order >= up], axis=-1)

    orbital = jnp.asarray(system.orbitals.features, dtype)[previous]
    orbital = jnp.where((electrons == 0)[:, None], 0, orbital)
    return jnp.concatenate([orbital, jnp.asarray(species, orbital.dtype)[electrons]], axis=-1)
