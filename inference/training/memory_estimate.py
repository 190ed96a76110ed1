"""How much memory a training step asks for, before anything is traced:

    walkers x (numbers of p(K) + 2 x numbers of Psi)  scores, which the optimiser needs together,
    walkers of a chunk x N x M                        logits of p(K) for N electrons in M orbitals,

each several times over; what else there is does not grow with the table of orbitals.
"""

import jax
import numpy as np

from pnct.inference.sampling.batch import CLASSICAL_CHUNK, Batching
from pnct.inference.sampling.sites import Params, Sites
from pnct.memory import check_memory, machine_memory
from pnct.systems.base import System

SCORES = 2  # times the scores: themselves, and as the optimiser lays them out
LOGITS = 8  # arrays of logits of a walker: of each power of p(K), and for their derivatives


def check_step_fits(sites: Sites, params: Params, batching: Batching, args: tuple) -> None:
    """Raises ValueError where a step asks for more memory than there is, with what to lower."""
    size = {name: sum(x.size for x in jax.tree.leaves(param)) for name, param in params.items()}
    item = max((np.dtype(x.dtype).itemsize for x in jax.tree.leaves(params)), default=8)
    rows = sum(size[name] for name in sites.classical_params)
    rows += 2 * sum(size[name] for name in sites.measured_params)
    tables = [(arg.N, *arg.choices) for arg in args if isinstance(arg, System)]
    chunk = min(max(batching.chunk_size, CLASSICAL_CHUNK), batching.num_walkers)
    logits = max((N * M for N, M, _ in tables), default=0) if sites.classical_params else 0
    orbitals = " and ".join(f"{M} {name}" for _, M, name in tables) or "the model"
    devices = 1 if batching.mesh is None else batching.mesh.size
    check_memory(
        item * (SCORES * batching.num_walkers * rows / devices + LOGITS * chunk * logits),
        f"a step of {batching.num_walkers} walkers with {rows} numbers each, for {orbitals},",
        "Lower num_walkers, theta or `cutoff`, or the width of the networks.",
        device_memory(),
    )


def device_memory() -> float:
    """Bytes of one device: of the machine, where that is its CPU."""
    if jax.default_backend() == "cpu":
        return machine_memory()
    stats = jax.local_devices()[0].memory_stats() or {}
    return float(stats.get("bytes_limit", np.inf))
