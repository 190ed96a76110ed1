"""Several processes: each runs the programs of one for its part of the walkers, and they share the results.

XLA executes a program of one device faster than the same one laid out over several processes, and it can be
compiled before its arguments are there.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from pnct.compilation import is_traced
from pnct.inference.sampling.parallel import AXIS, Batching, gathered


def over_processes(program: Callable, shared, each, batching: Batching):
    """program(shared, each, batching) -> results of every walker, the leading axis (B,) of all leaves of
    `each`.

    Of several processes each runs it for a part of the walkers, on its own devices, and the results lie where
    they were made. Where B is no multiple of the devices the first walkers follow once more at the end;
    `in_one_piece`, or `[:B]` in jit, leaves them out. In jit it is one program of all processes.
    """
    mesh = batching.mesh
    if not _has_others(mesh) or is_traced(shared, each):
        return program(shared, each, batching)
    number = len(jax.tree.leaves(each)[0])
    padded = -(-number // mesh.size) * mesh.size
    sharding = NamedSharding(mesh, PartitionSpec(AXIS))
    parts = sharding.addressable_devices_indices_map((padded,))
    mine = np.concatenate([np.arange(padded)[index] for index in parts.values()]) % number
    some = jax.tree.map(lambda leaf: leaf[mine], each)
    found = program(_own(shared, mesh), some, batching._replace(mesh=own_mesh(mesh)))
    return jax.tree.map(lambda leaf: _laid_out(leaf, padded, sharding, list(parts)), found)


def in_one_piece(results, number: int, mesh: Mesh | None):
    """The results of so many walkers, such that this process can read all of them."""
    return _exchanged(results, number, mesh) if _has_others(mesh) else results


@eqx.filter_jit
def _exchanged(results, number, mesh):
    return gathered(jax.tree.map(lambda leaf: leaf[:number], results), mesh)


def _laid_out(leaf, padded: int, sharding: NamedSharding, devices):
    """The part of this process as an array of all walkers."""
    pieces = [leaf]
    if len(devices) > 1:
        split = leaf.reshape(len(devices), -1, *leaf.shape[1:])
        pieces = [jax.device_put(piece, device) for piece, device in zip(split, devices, strict=True)]
    return jax.make_array_from_single_device_arrays((padded, *leaf.shape[1:]), sharding, pieces)


def own_mesh(mesh: Mesh | None) -> Mesh | None:
    """The devices of the mesh that are those of this process; None where that is the one it uses anyway."""
    if not _has_others(mesh):
        return mesh
    local = mesh.local_mesh
    return None if list(local.devices.flat) == jax.local_devices()[:1] else local


def _own(tree, mesh: Mesh):
    """What lies on all devices in full, on those of this process alone; nothing is copied."""
    is_one = own_mesh(mesh) is None
    sharding = NamedSharding(mesh.local_mesh, PartitionSpec())

    def part(leaf):
        if not isinstance(leaf, jax.Array) or leaf.is_fully_addressable:
            return leaf
        if is_one:
            return leaf.addressable_data(0)
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(part(jax.random.key_data(leaf)), impl=jax.random.key_impl(leaf))
        pieces = [shard.data for shard in leaf.addressable_shards]
        return jax.make_array_from_single_device_arrays(leaf.shape, sharding, pieces)

    return jax.tree.map(part, tree)


def _has_others(mesh: Mesh | None) -> bool:
    return mesh is not None and jax.process_count() > 1
