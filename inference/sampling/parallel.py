"""Maps a function of one walker over all walkers: in chunks, so that memory is bounded, and over all devices
of a mesh.

Walker i always gets the i-th input, so results depend neither on the chunk size nor on the number of devices.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXIS = "walkers"


def default_mesh() -> Mesh | None:
    """All devices on one axis; None where there is only one."""
    return Mesh(np.array(jax.devices()), (AXIS,)) if jax.device_count() > 1 else None


def default_chunk_size(num_electrons: int) -> int:
    """Walkers that go through the program together: on a CPU so many that they stay in the cache, which the
    electrons of a few walkers do, and of large ones the N^2 numbers of a Hessian along an electron.
    """
    if jax.default_backend() != "cpu":
        return 512
    return max(1, min(64, 128 // num_electrons, 4000 // num_electrons**2))


def replicated(state, mesh: Mesh | None):
    """The same arrays on every device of the mesh, as the first step finds them and every step
    leaves them.
    """
    if mesh is None:
        return state
    return jax.tree.map(lambda leaf: placed(leaf, NamedSharding(mesh, PartitionSpec())), state)


def placed(leaf, sharding):
    """An array that every process has in full, laid out under a sharding of the devices of all processes."""
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(
            placed(jax.random.key_data(leaf), sharding), impl=jax.random.key_impl(leaf)
        )
    array = np.asarray(leaf)
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


def gathered(results, mesh: Mesh | None):
    """In jit: the whole of every array on every device, so that each process can read it."""
    return (
        results
        if mesh is None
        else jax.lax.with_sharding_constraint(results, NamedSharding(mesh, PartitionSpec()))
    )


def map_walkers(f: Callable, shared, each, chunk_size: int, mesh: Mesh | None):
    """f(shared, x) for the x of every walker, the leading axis (B,) of all leaves of `each`; results stacked
    likewise.

    `shared` (parameters, arguments) is the same for all walkers. At most chunk_size walkers per device are
    alive at once.
    """
    num_walkers = len(jax.tree.leaves(each)[0])
    num_devices = 1 if mesh is None else mesh.size
    chunk_size = min(chunk_size, -(-num_walkers // num_devices))
    padded = -(-num_walkers // (chunk_size * num_devices)) * chunk_size * num_devices
    each = jax.tree.map(lambda leaf: leaf[jnp.arange(padded) % num_walkers], each)

    def mapped(shared, each):
        num_chunks = len(jax.tree.leaves(each)[0]) // chunk_size
        chunks = jax.tree.map(lambda leaf: leaf.reshape(num_chunks, chunk_size, *leaf.shape[1:]), each)
        results = jax.lax.map(jax.vmap(lambda x: f(shared, x)), chunks)
        return jax.tree.map(lambda leaf: leaf.reshape(leaf.shape[0] * chunk_size, *leaf.shape[2:]), results)

    if mesh is not None:
        spec = PartitionSpec(AXIS)
        mapped = jax.shard_map(
            mapped, mesh=mesh, in_specs=(PartitionSpec(), spec), out_specs=spec, check_vma=False
        )
    return jax.tree.map(lambda leaf: leaf[:num_walkers], mapped(shared, each))


def as_arrays(args):
    """Numbers become arrays, so that another r_s or theta does not compile the program again."""
    return jax.tree.map(lambda x: jnp.asarray(x) if isinstance(x, float) else x, args)
