"""The local energy of one walker, from whatever Hamiltonian the user has, with an error that names the site
where it is none.
"""

import jax.numpy as jnp

from pnct.hamiltonian import LocalEnergy


def local_energy(hamiltonian, born, R, site: str) -> LocalEnergy:
    """hamiltonian(born, R). Raises ValueError where that is not a LocalEnergy of numbers, naming the site."""
    expected = f"At site '{site}': Expected a hamiltonian (law, R) -> LocalEnergy of numbers for R of shape {R.shape}; got "
    try:
        found = hamiltonian(born, R)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{expected}{type(error).__name__}: {str(error).splitlines()[0]}") from error
    if not isinstance(found, LocalEnergy):
        raise ValueError(f"{expected}{type(found).__name__}.")
    wrong = [f"{name} of shape {jnp.shape(x)}" for name, x in found._asdict().items() if jnp.shape(x)]
    if wrong:
        raise ValueError(f"{expected}{', '.join(wrong)}.")
    return found
