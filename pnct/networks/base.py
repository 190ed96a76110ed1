"""The contract of a network of p(K):  (input features of electrons, cache) -> corrections of their logits."""

import abc

import equinox as eqx
from jaxtyping import Array, ArrayLike, Float, Int


class OccupationNetwork(eqx.Module):
    """Input features of consecutive electrons -> one number per orbital, added to the logits of the ideal
    gas.

    Its cache, a pytree of arrays or None, holds what it remembers of the electrons before.
    """

    @abc.abstractmethod
    def __call__(
        self, x: Float[Array, "T F"], electrons: Int[ArrayLike, " T"], cache
    ) -> tuple[Float[Array, "T M"], object]:
        """Corrections for the T consecutive electrons with the features x, and the cache with them in it."""

    @abc.abstractmethod
    def empty_cache(self, num_electrons: int):
        """The cache before the first of so many electrons."""

    def shell_shifts(self) -> Float[Array, " shells"] | None:
        """What is added to the energy of each shell, in units of T; None where nothing is."""
        return None

    def with_shell_shifts(self, shifts: Float[Array, " shells"]) -> "OccupationNetwork":
        """The same network with other shifts, or one of shell energies where its own have fewer parameters.

        Raises ValueError where there are no shifts.
        """
        raise ValueError(f"Expected a network with an energy for each shell; got {type(self).__name__}.")
