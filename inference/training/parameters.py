"""Trained parameters in a file, for later and for other processes.

>>> import jax, optax
>>> from pnct import ElectronGas, hamiltonian
>>> from pnct.inference import VariationalFreeEnergy, load, save
>>> from pnct.models import electron_gas
>>> gas = ElectronGas((2, 0), dim=2, rs=4.0, theta=0.3, twist=0.25, cutoff=1.3)
>>> vfe = VariationalFreeEnergy(electron_gas, hamiltonian(gas), optax.sgd(0.1), num_walkers=8)
>>> result = vfe.run(jax.random.key(0), 0, gas)
>>> save("gas.npz", result)
>>> params = load("gas.npz", electron_gas, gas)
>>> sorted(params)
['flow', 'occupation']

The file is an .npz, see `archive`: np.load("gas.npz") shows every array by its place, such as
"params/flow/..."; its header says of what modules they are, by what versions.
"""

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from pnct.inference.runs.archive import host_array, named_leaves, read_archive, write_archive
from pnct.inference.runs.fingerprint import LIBRARIES, describe, differences
from pnct.inference.sampling.sites import Params, init_params
from pnct.inference.training.loop import RunResult

PREFIX = "params"
TEXT = ("source", "uses")  # what a description says of program text, which may change from version to version


def save(path: str | Path, result: RunResult | Params) -> None:
    """Writes the parameters of a result, or these, to one file that is complete or absent."""
    params = result.params if isinstance(result, RunResult) else result
    arrays = {name: host_array(leaf) for name, leaf in named_leaves(PREFIX, params).items()}
    versions = {name: version(name) for name in LIBRARIES}
    write_archive(Path(path), arrays, {"modules": _modules(params), "versions": versions})


def load(path: str | Path, model: Callable, *args) -> Params:
    """The parameters in a file of `save`, as the modules that this model makes for these arguments.

    Numbers such as rs and theta may be others than those of the training. Raises ValueError where the modules
    are others, such as those of another cutoff, with the names of what differs; DamagedError, a ValueError,
    where the file is not what was written.
    """
    arrays, header = read_archive(Path(path))
    if "modules" not in header:
        raise ValueError(f"Expected parameters that pnct.inference.save has written; got {path}.")
    like = jax.eval_shape(lambda key: init_params(model, key, args), jax.random.key(0))
    leaves = named_leaves(PREFIX, like)
    found = _shapes(arrays)
    different = differences(found, _shapes(leaves)) or differences(header["modules"], _modules(like))
    if different:
        raise ValueError(f"Expected the parameters of this model; got {path}, which differs in {different}.")
    loaded = [jnp.asarray(arrays[name]) for name in leaves]
    narrowed = [name for name, leaf in zip(leaves, loaded, strict=True) if leaf.dtype != arrays[name].dtype]
    if narrowed:
        raise ValueError(
            f"Expected jax_enable_x64, for the parameters in {path} have {arrays[narrowed[0]].dtype}; "
            f"got {loaded[0].dtype}."
        )
    return jax.tree.unflatten(jax.tree.structure(like), loaded)


def _shapes(arrays: dict[str, Any]) -> dict[str, str]:
    """{"flow/weight": "(3, 4)"}. The precision is that of the training."""
    return {name.removeprefix(f"{PREFIX}/"): str(tuple(x.shape)) for name, x in arrays.items()}


def _modules(params: Params) -> dict[str, Any]:
    """The modules without their numbers, and without program text."""
    return _without_text(describe(jax.tree.map(lambda leaf: str(leaf.shape), params)))


def _without_text(x):
    if isinstance(x, dict):
        return {name: _without_text(value) for name, value in x.items() if name not in TEXT}
    return [_without_text(value) for value in x] if isinstance(x, list) else x
