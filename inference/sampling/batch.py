"""One batch of the ensemble:  K ~ p(K),  R ~ |Psi_K|^2,  with E_loc(K, R) and, for a gradient, the scores of
both laws.

For a gradient, every other walker takes its classical sites from a broader law, and weights make up for it:

    q(K) = sum_s c_s p_s(K),    weight = p(K)/q(K),    p_s = p with every conditional law raised to the power s

p alone would hardly ever draw the excited states of a cold gas, so the flow would serve them badly, their E_K
would stay too high, p would shun them even more, and the entropy, which is made of them, would come out too
low. The flow may be trained on q: any weights that fall with the energy have the eigenstates as their minimum
(Gross, Oliveira, Kohn, Phys. Rev. A 37, 2805 (1988)). F itself is always that of p.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float

from pnct.inference.sampling import sites as program
from pnct.inference.sampling.local_energy import local_energy
from pnct.inference.sampling.metropolis_fallback import metropolis_if_not_inverted
from pnct.inference.sampling.parallel import map_walkers
from pnct.inference.sampling.scores import complex_score, real_score
from pnct.space import Space

BROADENED_SHARE = 1 / 2  # of the walkers of a training step
BROADENING_POWERS = (
    0.3,
    0.5,
    0.75,
)  # the powers, from broad to nearly p, so that no one of them need suit every N and temperature
CLASSICAL_CHUNK = 8  # walkers whose classical sites are drawn together, at least: they take little memory


class WalkerBatch(NamedTuple):
    """B walkers; each leaf has a leading axis (B,). Energies are totals, hartree."""

    values: dict[str, Any]  # of all unobserved sites
    log_prob: jax.Array
    weight: jax.Array  # p/q; 1 where all are drawn from p
    kinetic: jax.Array
    potential: jax.Array
    log_det_jacobian: jax.Array
    det_sign: jax.Array
    scores: dict[str, Any]  # {law: d ln p or d ln Psi by the law's parameters}, where asked for
    K: jax.Array  # (B, N) occupied orbitals of the Born law
    smallest_distance: jax.Array  # of a pair of electrons
    exact: jax.Array  # False where no inverse of the flow was found and R comes from Metropolis, see fallback


class Batching(NamedTuple):
    """How many walkers, how many of them at once on a device, on which devices."""

    num_walkers: int
    chunk_size: int
    mesh: Mesh | None


def draw_batch(
    model: Callable,
    sites: program.Sites,
    hamiltonian,
    params: program.Params,
    args: tuple,
    key,
    batching: Batching,
    scores: bool = False,
) -> WalkerBatch:
    """Independent exact samples of the model at these parameters, of weight 1; with scores, those of a
    training step.
    """
    keys = jax.random.split(key, (3, batching.num_walkers))
    shared = (hamiltonian, params, args)
    powers = ladder(batching.num_walkers) if scores and sites.classical else np.ones(batching.num_walkers)
    one = partial(_classical, model, sites, powers, scores)
    chunk_size = max(batching.chunk_size, CLASSICAL_CHUNK)
    values, log_prob, weight, classical = map_walkers(
        one, shared, (keys[0], jnp.asarray(powers)), chunk_size, batching.mesh
    )
    one = partial(_quantum, model, sites, scores)
    R, energy, quantum, *rest = map_walkers(
        one, shared, (keys[1], keys[2], values), batching.chunk_size, batching.mesh
    )
    return WalkerBatch(values | {sites.born: R}, log_prob, weight, *energy, classical | quantum, *rest)


def ladder(num_walkers: int) -> np.ndarray:
    """The power s of the law that each walker of a training step is drawn from."""
    hot = int(num_walkers * BROADENED_SHARE)
    return np.concatenate([np.ones(num_walkers - hot), np.resize(BROADENING_POWERS, hot)])


def _classical(model, sites, powers, scores, shared, walker):
    _, params, args = shared
    key, power = walker
    values = program.draw_classical(program.tempered(model, power), sites, params, key, args)
    log_prob = program.log_prob(model, sites, params, values, args)
    weight = jnp.exp(log_prob - _log_mixture(model, sites, powers, params, values, args))
    if not (scores and sites.classical_params):
        return values, log_prob, weight, {}
    own = {name: params[name] for name in sites.classical_params}
    rows = real_score(lambda p: program.log_prob(model, sites, params | p, values, args), own)
    return values, log_prob, weight, {"classical": rows}


def _log_mixture(model, sites, powers, params, values, args):
    """ln q of the law that all walkers together are drawn from."""
    rungs, counts = np.unique(powers, return_counts=True)
    log_p = jax.vmap(lambda s: program.log_prob(program.tempered(model, s), sites, params, values, args))(
        jnp.asarray(rungs)
    )
    return jax.nn.logsumexp(log_p, b=counts / len(powers))


def _quantum(model, sites, scores, shared, walker):
    hamiltonian, params, args = shared
    key, fallback_key, values = walker
    born, inversion = program.draw_electrons(model, sites, params, values, key, args)
    R = metropolis_if_not_inverted(fallback_key, born, inversion)
    energy = local_energy(hamiltonian, born, R, sites.born)
    rest = jnp.asarray(born.K), smallest_distance(R, born.states.space), inversion.converged
    if not (scores and sites.quantum_params):
        return R, energy, {}, *rest
    own = {name: params[name] for name in sites.quantum_params}
    rows = complex_score(
        lambda p: program.log_psi(model, sites, params | p, values | {sites.born: R}, args), own
    )
    return R, energy, {"quantum": rows}, *rest


def smallest_distance(R: Float[Array, "N dim"], space: Space) -> Float[Array, ""]:
    """The smallest distance of a pair; inf for one electron."""
    i, j = np.triu_indices(R.shape[0], 1)
    return jnp.min(jnp.linalg.norm(space.nearest(R[i] - R[j], space.L), axis=-1), initial=jnp.inf)
