r"""One batch of walkers:  K ~ p(K),  R ~ |Psi_K|^2,  with E_loc(K, R) and, for a gradient, the scores of
both.

For a gradient, every other walker takes its state from a broader distribution, and weights make up for it:

    q(K) = sum_s c_s p_s(K),    weight = p(K)/q(K),    p_s = p with every conditional raised to the power s

p alone would hardly ever draw the excited states of a cold gas, so the flow would serve them badly, their E_K
would stay too high, p would shun them even more, and the entropy, which is made of them, would come out too
low. The flow may be trained on q: any weights that fall with the energy have the eigenstates as their minimum
(Gross, Oliveira, Kohn, Phys. Rev. A 37, 2805 (1988)). F itself is always that of p.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from pnct.compilation import compiled
from pnct.inference.sampling.local_energy import hamiltonian_of, local_energy
from pnct.inference.sampling.metropolis_fallback import metropolis_if_not_exact
from pnct.inference.sampling.parallel import map_walkers
from pnct.inference.sampling.scores import complex_score, flattened, flattened_rows, value_and_score
from pnct.inference.sampling.sites import (
    Params,
    Sites,
    as_unconstrained,
    draw_classical,
    draw_measured,
    log_modulus_and_phase,
    log_prob,
    measured_and_others,
    measured_at,
    tempered,
)
from pnct.inference.sampling.state_energy import state_energy

BROADENED_SHARE = 1 / 2  # of the walkers of a training step
# from broad to nearly p, so that no one of them need suit every N and temperature
BROADENING_POWERS = (0.3, 0.5, 0.75)
LOG_PROB_OF = "log_prob_"  # the names of ln p of one site begin so, where there are several
CLASSICAL_CHUNK = 8  # walkers whose classical sites are drawn together, at least: they take little memory


class WalkerBatch(NamedTuple):
    """B walkers; each leaf has a leading axis (B,). Energies are totals, in the Hamiltonian's unit."""

    values: dict[str, Any]  # of all unobserved sites
    log_prob: jax.Array
    weight: jax.Array  # p/q; 1 where all are drawn from p
    kinetic: jax.Array
    potential: jax.Array
    diagnostics: dict[str, jax.Array]  # by the names of the measured distribution; ln p of each site
    # where asked for: {"classical": d ln p, "measured": d ln Psi}, a matrix for each module of parameters;
    # where all x are summed over, "state", the StateEnergy of K
    scores: dict[str, Any]
    label: jax.Array  # (B, n) which state it is
    closeness: jax.Array  # small where the configuration is dangerous
    is_exact: jax.Array  # False where the exact draw failed and the value comes from Metropolis

    @property
    def energy(self) -> jax.Array:
        """E_loc, complex."""
        return self.kinetic + self.potential

    @property
    def is_folded(self) -> jax.Array:
        """Where the change of variables of what is measured is not one-to-one."""
        return self.diagnostics.get("det_sign", jnp.ones(len(self.log_prob))) <= 0


class Batching(NamedTuple):
    """How many walkers, how many of them at once on a device, on which devices."""

    num_walkers: int
    chunk_size: int
    mesh: Mesh | None


def draw_batch(
    model: Callable,
    sites: Sites,
    hamiltonian: Callable,
    params: Params,
    args: tuple,
    key,
    batching: Batching,
    scores: bool = False,
) -> WalkerBatch:
    """Independent exact samples of the model at these parameters, of weight 1; with scores, those of a
    training step.

    Each part is a program of its own: XLA compiles one while the next is traced, and a training shares that
    of what is measured with the evaluation of its result.
    """
    of = (model, sites, batching, params, args)
    values, log_p, weight, classical, by_site = _classical_sites(*of, key, scores)
    x, label, closeness, is_exact = _measured_site(*of, key, values)
    kinetic, potential, diagnostics, measured = _energies(*of, hamiltonian, values, x, scores)
    diagnostics = diagnostics | by_site
    values, found = values | {sites.measured: x}, classical | measured
    return WalkerBatch(
        values, log_p, weight, kinetic, potential, diagnostics, found, label, closeness, is_exact
    )


def ladder(num_walkers: int) -> np.ndarray:
    """The power s of the distribution that each walker of a training step is drawn from."""
    broadened = int(num_walkers * BROADENED_SHARE)
    return np.concatenate([np.ones(num_walkers - broadened), np.resize(BROADENING_POWERS, broadened)])


@compiled
def _classical_sites(model, sites, batching, params, args, key, scores):
    """The values, ln p, the weight, the scores, and the part of each site in ln p."""
    powers = ladder(batching.num_walkers) if scores and sites.classical else np.ones(batching.num_walkers)
    free_model, free = as_unconstrained(model, sites, params, args)

    def one(shared, walker):
        params, free, args = shared
        key, power = walker
        values = draw_classical(tempered(model, power), sites, params, key, args)
        own = {name: free[name] for name in sites.classical_params} if scores else {}

        def log_p(p):
            return log_prob(free_model, sites, free | p, values, args)

        value, rows = value_and_score(log_p, own) if own else (log_p({}), {})
        weight = jnp.exp(value - _log_mixture(model, sites, powers, params, values, args))
        by_site = {}
        if len(sites.classical) > 1 and not scores:  # which part of the entropy is whose
            by_site = {
                f"{LOG_PROB_OF}{name}": log_prob(model, sites, params, values, args, (name,))
                for name in sites.classical
            }
        return values, value, weight, {"classical": flattened_rows(rows)} if own else {}, by_site

    each = keys_of_walkers(key, 0, batching), jnp.asarray(powers)
    chunk_size = max(batching.chunk_size, CLASSICAL_CHUNK)
    return map_walkers(one, (params, free, args), each, chunk_size, batching.mesh)


def _log_mixture(model, sites, powers, params, values, args):
    """ln q of what all walkers together are drawn from."""
    rungs, counts = np.unique(powers, return_counts=True)

    def at(power):
        return log_prob(tempered(model, power), sites, params, values, args)

    return jax.nn.logsumexp(jax.vmap(at)(jnp.asarray(rungs)), b=counts / len(powers))


@compiled
def _measured_site(model, sites, batching, params, args, key, values):
    """x, which state it is in, how close it is to danger, and whether its draw was exact."""

    def one(shared, walker):
        params, args = shared
        key, fallback_key, values = walker
        measured, x, is_exact = draw_measured(model, sites, params, values, key, args)
        x = metropolis_if_not_exact(fallback_key, measured, x, is_exact)
        return x, measured.label, measured.closeness(x), jnp.asarray(is_exact)

    each = keys_of_walkers(key, 1, batching), keys_of_walkers(key, 2, batching), values
    return map_walkers(one, (params, args), each, batching.chunk_size, batching.mesh)


@compiled
def _energies(model, sites, batching, params, args, hamiltonian, values, x, scores):
    """Kinetic and potential energies, the diagnostics, and the scores of what is measured: in one loop, where
    XLA finds what they share.
    """
    free_model, free = as_unconstrained(model, sites, params, args)

    def one(shared, walker):
        hamiltonian, params, free, args = shared
        values, x = walker
        measured, others = measured_and_others(model, sites, params, values, args)
        energy = local_energy(hamiltonian, measured, others | {sites.measured: x}, sites)
        diagnostics = dict(energy.diagnostics) or measured.diagnostics(x)
        own = {name: free[name] for name in sites.measured_params} if scores else {}
        if not own:
            return energy.kinetic, energy.potential, diagnostics, {}
        at_x = values | {sites.measured: x}

        def log_psi(p):
            return log_modulus_and_phase(free_model, sites, free | p, at_x, args)

        found = {"measured": flattened_rows(complex_score(log_psi, own))}
        if measured.all_values() is not None:
            of_state = state_energy(
                lambda p: measured_at(free_model, sites, free | p, values, args),
                own,
                lambda x: local_energy(hamiltonian, measured, others | {sites.measured: x}, sites).total,
            )
            found["state"] = of_state._replace(slope=flattened(of_state.slope))
        return energy.kinetic, energy.potential, diagnostics, found

    shared = hamiltonian_of(hamiltonian, args), params, free, args
    return map_walkers(one, shared, (values, x), batching.chunk_size, batching.mesh)


def keys_of_walkers(key, stream: int, batching: Batching):
    """The keys of all walkers in one of three streams."""
    return jax.random.split(key, (3, batching.num_walkers))[stream]
