"""What is looked at before the first step, so that an error names what is wrong: the measured distribution
and the Hamiltonian.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pnct.hamiltonian import ElectronHamiltonian, Hamiltonian
from pnct.hamiltonian import hamiltonian as hamiltonian_of
from pnct.inference.runs.fingerprint import describe, differences
from pnct.inference.sampling.sites import Sites, draw_classical, measured_at, tempered
from pnct.systems.base import System, SystemPotential

SHAKE = 0.1  # standard deviation of the numbers added to the parameters


def check_measured(model, sites: Sites, params, args: tuple) -> None:
    """Raises ValueError where the measured distribution breaks one of its own requirements,
    naming the site.
    """
    rng = np.random.default_rng(0)  # on the host, where nothing has to be compiled for it
    moved = jax.tree.map(lambda x: x + (SHAKE * rng.normal(size=x.shape)).astype(x.dtype), params)
    for requirement in _requirements(model, sites, params, moved, args):
        if requirement.violation > 0:
            got = requirement.got.format(float(requirement.violation))
            raise ValueError(f"At site '{sites.measured}': Expected {requirement.expected}; {got}.")


@eqx.filter_jit
def _requirements(model, sites, params, moved, args):
    """Those of the measured distribution, at equal values of all sites but the one that names the state."""
    values = draw_classical(model, sites, params, jax.random.key(0), args)
    others = {name: value for name, value in values.items() if name not in sites.state}

    def in_another_state(key):
        return measured_at(tempered(model, 0.0), sites, moved, others, args, key)

    return measured_at(model, sites, params, values, args, jax.random.key(0)).check(in_another_state)


def system_among(args: tuple):
    """The system among the arguments of a model: the first one that is of that kind, or else the
    first one.
    """
    if not args:
        raise ValueError("Expected the model to have arguments, the system first; got none.")
    return next((arg for arg in args if isinstance(arg, System)), args[0])


def check_hamiltonian(hamiltonian: Hamiltonian, args: tuple) -> None:
    """Raises ValueError where a Hamiltonian is that of another system than the one among the arguments of the
    model.

    A potential of no system here is the user's own, and nothing is compared.
    """

    def numbers(x):
        return describe(jax.tree.map(jnp.asarray, x))  # in one precision

    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((hamiltonian, args))):
        return
    for system in (arg for arg in args if isinstance(arg, System)):
        made = [hamiltonian_of(system, coulomb) for coulomb in (True, False)]
        alike = [
            x
            for x in made
            if isinstance(hamiltonian, ElectronHamiltonian)
            and type(hamiltonian.potential) is type(x.potential)
        ]
        if (
            isinstance(hamiltonian, ElectronHamiltonian)
            and isinstance(hamiltonian.potential, SystemPotential)
            and not alike
        ):
            kinds = type(system).__name__, type(hamiltonian.potential).__name__
            raise ValueError(
                "Expected the hamiltonian of the model's {}; got one with the potential {}.".format(*kinds)
            )
        different = [differences(numbers(hamiltonian), numbers(x)) for x in alike]
        if different and all(different):
            raise ValueError(
                "Expected the hamiltonian of the system of the model; got one that differs in "
                f"{different[0]}."
            )
