"""One batch of the ensemble:  K ~ p(K),  R ~ |Psi_K|^2,  with E_loc(K, R) and, for a gradient, the scores of both laws.

First the classical sites of all walkers, then their electrons: the former take little memory, and share the most work.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from pnct.inference import laws as law
from pnct.inference.faults import smallest_distance
from pnct.inference.gradients import complex_score, real_score
from pnct.inference.walkers import map_walkers

CLASSICAL_CHUNK = 32  # walkers whose classical sites are drawn together, at least


class Ensemble(NamedTuple):
    """B walkers; each leaf has a leading axis (B,). Energies are totals, hartree."""

    values: dict[str, Any]  # of all unobserved sites
    log_prob: jax.Array
    kinetic: jax.Array
    potential: jax.Array
    log_det_jacobian: jax.Array
    det_sign: jax.Array
    scores: dict[str, Any]  # {law: d ln p or d ln Psi by the law's parameters}, where asked for
    K: jax.Array  # (B, N) occupied orbitals of the Born law
    smallest_distance: jax.Array  # of a pair of electrons


class Layout(NamedTuple):
    """How many walkers, how many of them at once on a device, on which devices."""

    num_walkers: int
    chunk_size: int
    mesh: Mesh | None


def draw_ensemble(
    model: Callable, laws: law.Laws, hamiltonian, params: law.Params, args: tuple, key, layout: Layout, scores: bool = False
) -> Ensemble:
    """Independent exact samples of the model at these parameters."""
    keys = jax.random.split(key, (2, layout.num_walkers))
    shared = (hamiltonian, params, args)
    one = partial(_classical, model, laws, scores)
    chunk_size = max(layout.chunk_size, CLASSICAL_CHUNK)
    values, log_prob, classical = map_walkers(one, shared, keys[0], chunk_size, layout.mesh)
    one = partial(_quantum, model, laws, scores)
    R, energy, quantum, K, distance = map_walkers(one, shared, (keys[1], values), layout.chunk_size, layout.mesh)
    return Ensemble(values | {laws.born: R}, log_prob, *energy, classical | quantum, K, distance)


def _classical(model, laws, scores, shared, key):
    _, params, args = shared
    values, log_prob = law.draw_classical(model, laws, params, key, args)
    if not (scores and laws.classical_params):
        return values, log_prob, {}
    own = {name: params[name] for name in laws.classical_params}
    rows = real_score(lambda p: law.log_prob(model, laws, params | p, values, args), own)
    return values, log_prob, {"classical": rows}


def _quantum(model, laws, scores, shared, walker):
    (hamiltonian, params, args), (key, values) = shared, walker
    born, R = law.draw_electrons(model, laws, params, values, key, args)
    K, distance = jnp.asarray(born.K), smallest_distance(R, born.orbitals.cell)
    if not (scores and laws.quantum_params):
        return R, hamiltonian(born, R), {}, K, distance
    own = {name: params[name] for name in laws.quantum_params}
    rows = complex_score(lambda p: law.log_psi(model, laws, params | p, values | {laws.born: R}, args), own)
    return R, hamiltonian(born, R), {"quantum": rows}, K, distance
