r"""What every flow of a Born distribution has to be, looked at before the first step so that an error names
what is wrong:

T(P R) = P T(R)            P exchanges electrons of one spin; at parameters moved at random, since many flows
                           begin as T = 1
T(R + L n) = T(R) + L n    in a periodic cell, n any whole numbers; likewise
T_K = T_K'                 unless K and K' differ in a quantum number that T_K conserves: else <Psi_K|Psi_K'>
                           is not 0
det dT/dR > 0              at the first parameters, in SAMPLES random configurations
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from pnct.distributions.base import Requirement
from pnct.distributions.equivalent_places import SAMPLES, exchanged, lattice_vectors, random_places

STATES = 64  # of which some have the same quantum numbers
DIFFERENCE = "got a difference of {:.2g} at a random R"


def flow_requirements(born, moved: Callable[[Array], object]) -> tuple[Requirement, ...]:
    """The requirements above, each 0 where it is obeyed to rounding. In jit.

    born: a Born distribution at the first parameters.  moved: key -> one at other parameters and in another
    state.
    """
    space = born.space
    dtype = born.dtype
    places = random_places(space, dtype)
    R = places[0]
    Ln = lattice_vectors(space, dtype)
    zeta = jax.vmap(moved(jax.random.key(0)).flow)(jnp.stack([R, exchanged(R, space), R + Ln]))
    exchange = jnp.max(jnp.abs(zeta[1] - exchanged(zeta[0], space)))
    shift = jnp.max(jnp.abs(zeta[2] - zeta[0] - Ln)) if space.is_periodic else jnp.zeros((), dtype)
    tolerance = jnp.sqrt(jnp.finfo(dtype).eps) * jnp.maximum(jnp.max(jnp.abs(zeta)), 1)

    symmetries = (space.conserved_motion, *born.states.symmetries)

    def state(key):
        other = moved(key)
        zeta = jax.vmap(other.flow)(jnp.stack([R, *(move(R) for move in symmetries)]))
        images = jnp.stack([move(zeta[0]) for move in symmetries])
        return other.states.quantum_numbers(other.K), zeta[0], jnp.max(jnp.abs(zeta[1:] - images))

    Q, of_state, motion = jax.vmap(state)(jax.random.split(jax.random.key(0), STATES))
    apart = jnp.max(jnp.abs(of_state[:, None] - of_state), axis=(2, 3))
    same = jnp.all(jnp.abs(Q[:, None] - Q) * space.L < 1e-3, axis=2)
    unlike = jnp.max(jnp.where(same, apart, 0.0))
    motion = jnp.where(jnp.max(apart) > tolerance, jnp.max(motion), 0.0)

    def is_folded(R):
        with jax.default_matmul_precision("highest"):
            zeta, J = born.flow.jacobian(R)
        return (jnp.linalg.slogdet(J)[0] <= 0) | ~jnp.all(jnp.isfinite(zeta)) | ~jnp.all(jnp.isfinite(J))

    def beyond_rounding(x):
        return jnp.where(x > tolerance, x, 0.0)

    return (
        Requirement(
            "an equivariant flow, which exchanges zeta where two electrons of one spin are exchanged",
            DIFFERENCE,
            beyond_rounding(exchange),
        ),
        Requirement("a periodic flow, T(R + L n) = T(R) + L n", DIFFERENCE, beyond_rounding(shift)),
        Requirement(
            "one flow for all states, or for all of the same quantum numbers, without which they are "
            "not orthonormal",
            DIFFERENCE,
            beyond_rounding(unlike),
        ),
        Requirement(
            "a flow that depends on quantum numbers to conserve them, moving with the electrons where "
            "they move "
            "as one or flip",
            DIFFERENCE,
            beyond_rounding(motion),
        ),
        Requirement(
            "a one-to-one flow, det J > 0, at the first parameters",
            f"got det J <= 0, or no number, at {{:.0f}} of {SAMPLES} random R",
            jnp.sum(jax.lax.map(is_folded, places)),
        ),
    )
