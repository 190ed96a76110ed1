r"""What every flow and every Hamiltonian has to be, looked at before the first step, so that an error names
what is wrong:

T(P R) = P T(R)            P exchanges electrons of one spin; at parameters moved at random, since many flows
begin as T = 1 T(R + L n) = T(R) + L n    in a periodic cell, n any whole numbers; likewise T_K = T_K'
unless K and K' differ in a quantum number that T_K conserves: else <Psi_K|Psi_K'> is not 0 det dT/dR > 0
at the first parameters, in SAMPLES random configurations
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pnct.flows.base import jacobian
from pnct.hamiltonian import Hamiltonian
from pnct.hamiltonian import hamiltonian as hamiltonian_of
from pnct.inference.runs.fingerprint import describe, differences
from pnct.inference.sampling import sites as program
from pnct.space import Cell
from pnct.systems.base import System, SystemPotential

SAMPLES = 16
STATES = 64  # of which some have the same quantum numbers
SHAKE = 0.1  # standard deviation of the numbers added to the parameters


def check_flow(model, sites: program.Sites, params, args: tuple) -> None:
    """Raises ValueError where the flow of the Born site breaks one of these laws, naming the site."""
    rng = np.random.default_rng(0)  # on the host, where nothing has to be compiled for it
    shaken = jax.tree.map(lambda x: x + (SHAKE * rng.normal(size=x.shape)).astype(x.dtype), params)
    places = rng.uniform(size=(SAMPLES, *sites.shape))
    exchange, shift, unlike, motion, folds = (
        float(x) for x in _violations(model, sites, params, shaken, args, places)
    )
    at = f"At site '{sites.born}': Expected"
    difference = "got a difference of {:.2g} at a random R."
    if exchange > 0:
        what = "an equivariant flow, which exchanges zeta where two electrons of one spin are exchanged"
        raise ValueError(f"{at} {what}; {difference.format(exchange)}")
    if shift > 0:
        raise ValueError(f"{at} a periodic flow, T(R + L n) = T(R) + L n; {difference.format(shift)}")
    if unlike > 0:
        what = "one flow for all states, or for all of the same quantum numbers, without which they are not orthonormal"
        raise ValueError(f"{at} {what}; {difference.format(unlike)}")
    if motion > 0:
        what = "a flow that depends on quantum numbers to conserve them, moving with the electrons where they move as one or flip"
        raise ValueError(f"{at} {what}; {difference.format(motion)}")
    if folds:
        got = f"got det J <= 0, or no number, at {folds:.0f} of {SAMPLES} random R"
        raise ValueError(f"{at} a one-to-one flow, det J > 0, at the first parameters; {got}.")


def check_hamiltonian(hamiltonian, args: tuple) -> None:
    """Raises ValueError where a Hamiltonian is that of another system than the one among the arguments of the
    model.

    A potential of no system here is the user's own, and nothing is compared.
    """

    def numbers(x):  # (in one precision)
        return describe(jax.tree.map(jnp.asarray, x))

    for system in (arg for arg in args if isinstance(arg, System)):
        made = [hamiltonian_of(system, coulomb) for coulomb in (True, False)]
        alike = [
            x
            for x in made
            if isinstance(hamiltonian, Hamiltonian) and type(hamiltonian.potential) is type(x.potential)
        ]
        if (
            isinstance(hamiltonian, Hamiltonian)
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
                f"Expected the hamiltonian of the system of the model; got one that differs in {different[0]}."
            )


@eqx.filter_jit
def _violations(model, sites, params, shaken, args, places):
    """How far the flow is from each law: 0 where it is obeyed to rounding, else the difference; and the
    number of folds.
    """
    born = _born(model, sites, shaken, args)
    space = born.states.space
    dtype = born.dtype
    places = space.L * jnp.asarray(places, dtype)
    R = places[0]
    n = jnp.arange(R.size, dtype=dtype).reshape(R.shape) % 3 - 1

    def exchanged(x):
        return jnp.concatenate([jnp.roll(x[spin], 1, axis=0) for spin in space.species])

    zeta = jax.vmap(born.flow)(jnp.stack([R, exchanged(R), R + space.L * n]))
    exchange = jnp.max(jnp.abs(zeta[1] - exchanged(zeta[0])))
    shift = (
        jnp.max(jnp.abs(zeta[2] - zeta[0] - space.L * n)) if isinstance(space, Cell) else jnp.zeros((), dtype)
    )
    tolerance = jnp.sqrt(jnp.finfo(dtype).eps) * jnp.maximum(jnp.max(jnp.abs(zeta)), 1)

    def beyond_rounding(x):
        return jnp.where(x > tolerance, x, 0.0)

    symmetries = (space.conserved_motion, *born.states.symmetries)

    def state(key):
        born = _born(program.tempered(model, 0.0), sites, shaken, args, key)
        zeta = jax.vmap(born.flow)(jnp.stack([R, *(move(R) for move in symmetries)]))
        moved = jnp.stack([move(zeta[0]) for move in symmetries])
        return born.states.quantum_numbers(born.K), zeta[0], jnp.max(jnp.abs(zeta[1:] - moved))

    Q, of_state, motion = jax.vmap(state)(jax.random.split(jax.random.key(0), STATES))
    apart = jnp.max(jnp.abs(of_state[:, None] - of_state), axis=(2, 3))
    same = jnp.all(jnp.abs(Q[:, None] - Q) * space.L < 1e-3, axis=2)
    unlike = jnp.max(jnp.where(same, apart, 0.0))
    motion = jnp.where(jnp.max(apart) > tolerance, jnp.max(motion), 0.0)

    flow = _born(model, sites, params, args).flow

    def one_to_one(R):
        zeta, J = jacobian(flow, R)
        return (jnp.linalg.slogdet(J)[0] > 0) & jnp.all(jnp.isfinite(zeta))

    violations = (beyond_rounding(x) for x in (exchange, shift, unlike, motion))
    return *violations, jnp.sum(~jax.lax.map(one_to_one, places))


def _born(model, sites, params, args, key=None):
    """The Born law of one draw of the classical sites."""
    values = {sites.born: jnp.zeros(sites.shape)}
    key = jax.random.key(0) if key is None else key
    return program.trace_sites(model, params, values, args, key)[sites.born]["fn"].distribution
