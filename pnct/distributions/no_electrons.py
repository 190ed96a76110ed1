"""Where there are no electrons: the measured site of a program of classical particles alone.

Such a program has X ~ p(X) and nothing to measure beside it. Its measured value has a row without numbers for
each particle, of which energies are counted per.
"""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Complex, Float

from pnct.distributions.base import Measured
from pnct.validation import checked_integer


class NoElectrons(Measured):
    """The one value of shape (num_particles, 0), with ln Psi = 0."""

    def __init__(self, num_particles: int):
        self.num_particles = checked_integer("num_particles", num_particles, 1)

    @property
    def event_shape(self) -> tuple[int, int]:
        return (self.num_particles, 0)

    @property
    def dtype(self):
        return jnp.zeros(()).dtype

    @property
    def dims(self) -> tuple[str, str]:
        return ("proton", "nothing")

    @property
    def label(self) -> Array:
        """There is one state."""
        return jnp.zeros(1, jnp.int32)

    def log_psi(self, x: Float[ArrayLike, "P 0"]) -> Complex[Array, ""]:
        return jnp.zeros((), jnp.result_type(x, jnp.complex64))

    def draw(self, key: Array) -> tuple[Float[Array, "P 0"], bool]:
        return jnp.zeros(self.event_shape, self.dtype), True
