r"""p(K) at its optimum for the states that hold most of it:  ln p(K) + E_K/T the same for all of them.

With a the change of the parameters of p(K), y_t = ln p(K_t) + E_t/T relative to its mean over p, and s_t the
noise of E_t/T, likewise relative to the mean,

    a minimises  |a|^2/c + sum_t y_t(a)^2/s_t^2,      c <|d y_t/d a|^2> = 1

so that E_t/T is where p(K) has it, to within 1, where the samples do not know better. In each Gauss-Newton
step, O = d y/d a,

    a -> -c O^T (c O O^T + s^2)^-1 (y - O a),

as many equations as states; it is shortened until the sum falls. All that p(K) can say is fitted, not its
shell energies alone: the states of one shell have energies that differ by more than T.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Float, Int

from pnct.inference.closed_form.state_energies import StateEnergies, state_energies
from pnct.inference.free_energy import VariationalFreeEnergy
from pnct.inference.sampling.inputs import checked_key
from pnct.inference.sampling.parallel import as_arrays, default_mesh, gathered, map_walkers
from pnct.inference.sampling.sites import Params, Sites, draw_classical, log_prob, read_sites
from pnct.inference.training.failures import NumericalWarning
from pnct.user_warning import warn_user
from pnct.validation import checked_integer

NUM_DRAWN = 32_768  # states that are looked at for the list
CHUNK = 256  # of them at once
LEAST_MASS = 0.5  # of p(K), that the list has to hold
LEAST_SHARE = np.exp(-4.0)  # of the samples, relative to the state that has most
NEWTON_STEPS = 20
SHORTEST = 1e-3  # part of a step
ROUNDING = 1e-10  # of y^2


def fit_state_probabilities(
    vfe: VariationalFreeEnergy, key, params: Params, num_samples: int, system, num_states: int = 96
) -> Params:
    """The parameters with p(K) at its optimum for its num_states most probable states, as far as num_samples
    samples of all of them together tell. The flow stays as it is.

    Where they hold less than half of p(K), all stays as it is, with a NumericalWarning. Raises ValueError at
    T = 0, and unless one site names the states and there is no other.
    """
    num_states = checked_integer("num_states", num_states, 2)
    T = float(vfe.hamiltonian_for((system,)).temperature)
    if not T > 0:
        raise ValueError(f"Expected a temperature > 0; got T = {T:g}.")
    listing, sampling = jax.random.split(checked_key(key))
    sites = read_sites(vfe.model, params, (system,))
    states, log_p = most_probable(vfe.model, sites, params, listing, num_states, system)
    if (mass := np.sum(np.exp(log_p))) < LEAST_MASS:
        warn_user(
            f"The {len(states)} most probable states hold {mass:.2f} of p(K), which stays as it is. Raise "
            "num_states.",
            NumericalWarning,
        )
        return params
    log_shares = np.maximum(log_p / 2, log_p[0] / 2 + np.log(LEAST_SHARE))
    found = state_energies(vfe, sampling, params, states, log_shares, num_samples, system)
    return at_optimum(vfe.model, sites, params, states, found, T, system)


def most_probable(
    model, sites: Sites, params: Params, key, num_states: int, *args
) -> tuple[Int[np.ndarray, "states N"], Float[np.ndarray, " states"]]:
    """The most probable of the states that are drawn, no two alike, and ln p of them, falling."""
    keys = jax.random.split(key, NUM_DRAWN)
    drawn, log_p = jax.device_get(_drawn(model, sites, default_mesh(), (params, as_arrays(args)), keys))
    states, first = np.unique(drawn, axis=0, return_index=True)
    order = np.argsort(-log_p[first], kind="stable")[:num_states]
    return states[order], np.asarray(log_p[first][order], float)


def at_optimum(
    model, sites: Sites, params: Params, states: Int[np.ndarray, "states N"], found: StateEnergies, T, *args
) -> Params:
    """The parameters of p(K) fitted to these energies, as above."""
    flat, unravel = ravel_pytree({name: params[name] for name in sites.classical_params})
    shared = (params, as_arrays(args))
    mesh = default_mesh()

    def moved(a):
        return unravel(flat + jnp.asarray(a, flat.dtype))

    def log_p_and_scores(a):
        log_p, O = jax.device_get(_scores(model, sites, mesh, (moved(a), *shared), jnp.asarray(states)))
        return np.asarray(log_p, float), np.asarray(O, float)

    a = np.zeros(flat.size)
    log_p, O = log_p_and_scores(a)
    p = np.exp(log_p) / np.sum(np.exp(log_p))

    def centred(x):
        return x - p @ x

    noise = found.error_of(lambda energy: centred(energy / T)) ** 2 + ROUNDING
    scale = 1 / (p @ np.sum(centred(O) ** 2, axis=1))
    y, O = centred(log_p + found.energy / T), centred(O)

    def objective(a, y):
        return a @ a / scale + np.sum(y**2 / noise)

    share = 1.0
    for _ in range(NEWTON_STEPS):
        step = -scale * O.T @ np.linalg.solve(scale * O @ O.T + np.diag(noise), y - O @ a) - a
        while share > SHORTEST:
            log_p, tried = log_p_and_scores(a + share * step)
            there = centred(log_p + found.energy / T)
            if objective(a + share * step, there) < objective(a, y):
                break
            share = share / 2
        else:
            break
        a, y, O = a + share * step, there, centred(tried)
        share = min(1.0, 2 * share)
    return params | moved(a)


@eqx.filter_jit
def _drawn(model, sites, mesh, shared, keys):
    """K of each key, and ln p of it."""

    def one(shared, key):
        params, args = shared
        values = draw_classical(model, sites, params, key, args)
        return values[sites.state[0]], log_prob(model, sites, params, values, args)

    return gathered(map_walkers(one, shared, keys, CHUNK, mesh), mesh)


@eqx.filter_jit
def _scores(model, sites, mesh, shared, states):
    """ln p of each state, and its gradient by its own parameters, (states, P)."""

    def one(shared, K):
        own, params, args = shared

        def log_p(own):
            return log_prob(model, sites, params | own, {sites.state[0]: K}, args)

        value, row = jax.value_and_grad(log_p)(own)
        return value, ravel_pytree(row)[0]

    return gathered(map_walkers(one, shared, states, CHUNK, mesh), mesh)
