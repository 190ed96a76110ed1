"""The Hamiltonian of a model, and the local energy of one walker from whatever the user has, with an error
that names the site.
"""

from collections.abc import Callable, Mapping

import jax.numpy as jnp
from jaxtyping import Array, Float

from pnct.distributions.base import Measured
from pnct.hamiltonian import Hamiltonian, LocalEnergy, Values
from pnct.inference.sampling.parallel import as_arrays
from pnct.inference.sampling.sites import Sites
from pnct.systems.base import System


def hamiltonian_of(made: Callable, args: tuple) -> Hamiltonian:
    """A Hamiltonian, or what a function system -> Hamiltonian makes of the system among the arguments of a
    model: the first one that is of that kind, or else the first one.
    """
    if isinstance(made, Hamiltonian):
        return made
    if not args:
        raise ValueError("Expected the model to have arguments, the system first; got none.")
    found = made(next((arg for arg in args if isinstance(arg, System)), args[0]))
    if not isinstance(found, Hamiltonian):
        raise ValueError(
            "Expected a pnct.hamiltonian.Hamiltonian, or a function system -> Hamiltonian; got one that "
            f"returned {type(found).__name__}."
        )
    return as_arrays(found)


def local_energy(
    hamiltonian: Callable, measured: Measured, values: Mapping[str, Array], sites: Sites
) -> LocalEnergy:
    """hamiltonian(measured, values). values: of all sites, that of the measured one among them.

    Raises ValueError where that is not a LocalEnergy of numbers, naming the measured site.
    """
    found = _called(hamiltonian, measured, values, sites)
    if not isinstance(found, LocalEnergy):
        raise ValueError(f"{_expected(values, sites.measured)}{type(found).__name__}.")
    _check_numbers(
        {"kinetic": found.kinetic, "potential": found.potential} | dict(found.diagnostics),
        values,
        sites.measured,
    )
    return found


def potential_energy(
    hamiltonian: Hamiltonian, measured: Measured, values: Mapping[str, Array], sites: Sites
) -> Float[Array, ""]:
    """Its potential part alone; raises alike."""
    found = _called(hamiltonian.potential_energy, measured, values, sites)
    _check_numbers({"potential": found}, values, sites.measured)
    return found


def _called(f, measured, values, sites):
    try:
        return f(measured, Values(values, sites.measured, sites.observed))
    except (AttributeError, TypeError, ValueError) as error:
        got = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        raise ValueError(f"{_expected(values, sites.measured)}{got}") from error


def _check_numbers(numbers, values, site):
    wrong = [f"{name} of shape {jnp.shape(x)}" for name, x in numbers.items() if jnp.shape(x)]
    if jnp.iscomplexobj(numbers["potential"]):
        wrong.append("a potential that is complex (a potential energy is real)")
    if wrong:
        raise ValueError(f"{_expected(values, site)}{', '.join(wrong)}.")


def _expected(values, site):
    return (
        f"At site '{site}': Expected a hamiltonian (distribution, values) -> LocalEnergy of numbers for "
        "a value of "
        f"shape {values[site].shape}; got "
    )
