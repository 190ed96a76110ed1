r"""The entropy of a trained density matrix by itself:  S = -E[ ln p(K) ],  from states alone.

The states Psi_K are orthonormal, so the entropy of rho = sum_K p(K) |Psi_K><Psi_K| is that of p(K). A state
without its electrons takes a small part of the time of a sample with its local energy: S can have many more
of them than F.
"""

from collections.abc import Callable

import jax
import numpy as np

from pnct.compilation import compiled
from pnct.estimate import Estimate, mean_of_independent
from pnct.inference.sampling.inputs import checked_key
from pnct.inference.sampling.parallel import as_arrays, default_mesh, gathered, map_walkers
from pnct.inference.sampling.sites import Params, draw_classical, log_prob, read_sites
from pnct.validation import checked_integer

BATCH = 65_536  # states that are drawn together
CHUNK = 256  # of them at once on a device


def entropy(model: Callable, key, params: Params, num_samples: int, *args) -> Estimate:
    """S of all classical sites of the model together, in k_B, from num_samples fresh independent states at
    frozen parameters.

    Raises ValueError where every site but that of the electrons is conditioned: then there is no law to have
    one.
    """
    num_samples = checked_integer("num_samples", num_samples, 2)
    key = checked_key(key)
    sites = read_sites(model, params, args)
    mesh = default_mesh()
    if not sites.classical:
        raise ValueError("Expected a model with an unobserved site before that of the electrons; got none.")
    found = []
    batch = min(BATCH, num_samples)
    for i, start in enumerate(range(0, num_samples, batch)):
        drawn = _log_prob(model, sites, mesh, params, jax.random.fold_in(key, i), as_arrays(args), batch)
        found.append(np.asarray(drawn, float)[: num_samples - start])
    return mean_of_independent(-np.concatenate(found))


@compiled
def _log_prob(model, sites, mesh, params, key, args, number):
    def one(shared, key):
        params, args = shared
        values = draw_classical(model, sites, params, key, args)
        return log_prob(model, sites, params, values, args)

    return gathered(map_walkers(one, (params, args), jax.random.split(key, number), CHUNK, mesh), mesh)
