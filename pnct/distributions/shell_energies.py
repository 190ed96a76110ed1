"""Learned levels  epsilon_s/T = b_s + shift_s,  one number per level of the system and no correction beyond them."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float


class Levels(eqx.Module):
    """energy_shifts: one per level, in units of T."""

    energy_shifts: Float[Array, " levels"]


def levels(gas) -> Callable[[Array], Levels]:
    """A function key -> Levels of a system, at first those of the ideal gas."""
    return lambda key: Levels(jnp.zeros(int(gas.shells.max()) + 1))
