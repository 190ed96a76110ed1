"""The local energy of one walker, from whatever Hamiltonian the user has, with an error that
names the site.
"""

from collections.abc import Callable, Mapping

import jax.numpy as jnp
from jaxtyping import Array

from pnct.distributions.base import Measured
from pnct.hamiltonian import LocalEnergy, Values


def local_energy(
    hamiltonian: Callable, measured: Measured, values: Mapping[str, Array], site: str
) -> LocalEnergy:
    """hamiltonian(measured, values). values: of all sites, that of the measured `site` among them.

    Raises ValueError where that is not a LocalEnergy of numbers, naming the site.
    """
    expected = (
        f"At site '{site}': Expected a hamiltonian (distribution, values) -> LocalEnergy of numbers for "
        "a value of "
        f"shape {values[site].shape}; got "
    )
    try:
        found = hamiltonian(measured, Values(values, site))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{expected}{type(error).__name__}: {str(error).splitlines()[0]}") from error
    if not isinstance(found, LocalEnergy):
        raise ValueError(f"{expected}{type(found).__name__}.")
    numbers = {"kinetic": found.kinetic, "potential": found.potential} | dict(found.diagnostics)
    wrong = [f"{name} of shape {jnp.shape(x)}" for name, x in numbers.items() if jnp.shape(x)]
    if wrong:
        raise ValueError(f"{expected}{', '.join(wrong)}.")
    return found
