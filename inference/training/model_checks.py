"""What is looked at before the first step, so that an error names what is wrong: the sites, the measured
distribution, the Hamiltonian and its potential.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pnct.compilation import RUN_ONCE, in_background
from pnct.distributions.base import Checked
from pnct.hamiltonian import Hamiltonian, Values
from pnct.inference.runs.fingerprint import describe, differences
from pnct.inference.sampling.dependencies import dependencies
from pnct.inference.sampling.local_energy import potential_energy
from pnct.inference.sampling.sites import (
    Params,
    Sites,
    distribution,
    draw_classical,
    measured_and_others,
    measured_at,
    sample_values,
    tempered,
    trace_sites,
    transforms,
)
from pnct.inference.sampling.unconstrained import to_constrained, to_unconstrained
from pnct.systems.base import System

SHAKE = 0.1  # standard deviation of the numbers added to the parameters


def check_observed(model: Callable, args: tuple) -> None:
    """Lets the distribution of every observed site that can look at its value do so. Raises its ValueError,
    naming the site.
    """

    def look(key):
        for name, site in trace_sites(model, {}, {}, args, key).items():
            if site["type"] != "sample" or not site["is_observed"]:
                continue
            found = distribution(site)
            if isinstance(found, Checked):
                try:
                    found.check(site["value"])
                except ValueError as error:
                    raise ValueError(f"At the conditioned site '{name}': {error}") from None

    jax.eval_shape(look, jax.random.key(0))


def check_that_sites_matter(
    model: Callable, sites: Sites, hamiltonian: Callable, params: Params, args: tuple
) -> None:
    """Raises ValueError where neither the state nor the energy depends on a site, naming it.

    A variable that is free to no effect would lower F by T times its entropy, below the true free energy. An
    observed site of that kind (a factor, a likelihood) would be left out of F without a word.
    """
    shapes = jax.eval_shape(lambda key: sample_values(model, params, args, key), jax.random.key(0))
    values = {name: jnp.zeros(s.shape, s.dtype) for name, s in shapes.items()}

    def label(values):
        return measured_at(model, sites, params, values, args).label

    naming = dependencies(label, values)
    others = [name for name in values if name != sites.measured and name not in naming]
    if not others:
        return

    def used(values):
        measured = measured_at(model, sites, params, values, args)
        seen = Values(values, sites.measured, sites.observed)
        return measured.log_psi(values[sites.measured]), hamiltonian(measured, seen)

    matter = dependencies(used, values)
    for name in others:
        if name in matter:
            continue
        if name in sites.observed:
            raise ValueError(
                "Expected every observed site to be a condition on the state or the energy; got "
                f"'{name}', on which neither "
                "depends: factors and observations add nothing to a variational free energy."
            )
        raise ValueError(
            f"Expected every site to matter; got '{name}', on which neither the state nor the energy "
            "depends: F would fall by "
            "T times its entropy, below the true free energy. Remove it, or let the state or the "
            "Hamiltonian use it."
        )


def measured_check(model, sites: Sites, params, args: tuple) -> Callable[[], None]:
    """A check, compiled in the background. Called, it raises ValueError where the measured distribution
    breaks one of its own requirements, naming the site.
    """
    rng = np.random.default_rng(0)  # on the host, where nothing has to be compiled for it
    free = unconstrained_params(model, sites, params, args)
    free = jax.tree.map(lambda x: x + (SHAKE * rng.normal(size=x.shape)).astype(x.dtype), free)
    moved = _constrained(model, sites, params, free, args) if sites.constrained else free
    requirements = in_background(_requirements, model, sites, params, moved, args)

    def check():
        for requirement in requirements():
            if requirement.violation > 0:
                got = requirement.got.format(float(requirement.violation))
                raise ValueError(f"At site '{sites.measured}': Expected {requirement.expected}; {got}.")

    return check


def unconstrained_params(model: Callable, sites: Sites, params: Params, args: tuple) -> Params:
    """The parameters in the unconstrained space, where an optimiser moves them.

    Raises ValueError where one is not within its constraint, naming it.
    """
    if not sites.constrained:
        return params
    free, is_within = _unconstrained(model, sites, params, args)
    for name in sites.constrained:
        if not is_within[name]:
            raise ValueError(
                f"Expected the first value of parameter '{name}' to be within its constraint, and not at the "
                f"edge; got {params[name]}."
            )
    return free


@eqx.filter_jit
def _unconstrained(model, sites, params, args):
    maps = transforms(model, sites, params, args)
    free = to_unconstrained(maps, params)
    back = to_constrained(maps, free)
    close = {name: jnp.allclose(back[name], params[name], rtol=1e-3) for name in maps}
    return free, {name: close[name] & jnp.all(jnp.isfinite(free[name])) for name in maps}


@eqx.filter_jit
def _constrained(model, sites, params, free, args):
    return to_constrained(transforms(model, sites, params, args), free)


@eqx.filter_jit(compiler_options=RUN_ONCE)
def _requirements(model, sites, params, moved, args):
    """Those of the measured distribution, at equal values of all sites but the one that names the state."""
    values = draw_classical(model, sites, params, jax.random.key(0), args)
    others = {name: value for name, value in values.items() if name not in sites.state}

    def in_another_state(key):
        return measured_at(tempered(model, 0.0), sites, moved, others, args, key)

    return measured_at(model, sites, params, values, args, jax.random.key(0)).check(in_another_state)


def potential_check(
    model: Callable, sites: Sites, hamiltonian: Hamiltonian, params: Params, args: tuple
) -> Callable[[], None]:
    """A check, compiled in the background. Called, it raises ValueError where the potential energy is no real
    number, or not the same for values that are physically the same, such as electrons exchanged or moved by a
    lattice vector, naming the site.
    """
    potentials = in_background(_potentials, model, sites, hamiltonian, params, args)

    def check():
        for change, (one, other) in potentials().items():
            one, other = np.asarray(one), np.asarray(other)
            finite = np.isfinite(one) & np.isfinite(other)
            size = np.max(np.abs(one), where=finite, initial=0.0)
            apart = np.zeros(one.shape)  # what is no number is reported of the walkers that meet it
            apart[finite] = np.abs(one[finite] - other[finite])
            i = np.argmax(apart)
            if apart[i] > np.sqrt(np.finfo(one.dtype).eps) * size:
                raise ValueError(
                    f"At site '{sites.measured}': Expected a potential energy that does not change under "
                    f"{change}; got {one[i]:.6g} and {other[i]:.6g} at a random place."
                )

    return check


@eqx.filter_jit(compiler_options=RUN_ONCE)
def _potentials(model, sites, hamiltonian, params, args):
    """Those of the equivalent values of what is measured, at one sample of all sites before it."""
    values = draw_classical(model, sites, params, jax.random.key(0), args)
    measured, others = measured_and_others(model, sites, params, values, args)

    def potential(x):
        return potential_energy(hamiltonian, measured, others | {sites.measured: x}, sites)

    return {
        change: tuple(jax.lax.map(potential, x) for x in pair)
        for change, pair in measured.equivalent_values().items()
    }


def check_hamiltonian(hamiltonian: Hamiltonian, args: tuple) -> None:
    """Raises ValueError where a Hamiltonian is that of another system than the one among the arguments of the
    model.

    With a Hamiltonian of the user's own nothing is compared.
    """

    def numbers(x):
        return describe(jax.tree.map(_in_one_precision, x))

    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((hamiltonian, args))):
        return
    for system in (arg for arg in args if isinstance(arg, System)):
        different = [differences(numbers(hamiltonian), numbers(x)) for x in hamiltonian.of_system(system)]
        if different and all(different):
            raise ValueError(
                "Expected the hamiltonian of the system of the model; got one that differs in "
                f"{different[0]}."
            )


def _in_one_precision(x) -> np.ndarray:
    # On the host, so that it has a value inside of jit too.
    x = np.asarray(x)
    return x.astype(jax.dtypes.canonicalize_dtype(x.dtype))
