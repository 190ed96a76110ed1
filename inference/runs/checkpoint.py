"""Where a run stands, in one file `step-<step>.npz`: see `archive`.

Its arrays are named by their place: state/... (the TrainState), memory/... (what a workflow has to remember
beside it, such as the best parameters so far) and history/<field> with one entry per step. The header has the
step, the kinds of random keys, and what the run is of: model, system, optimiser, orbitals, versions.
"""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pnct.inference.runs.archive import (
    DamagedError,
    host_array,
    is_key,
    named_leaves,
    read_archive,
    write_archive,
)
from pnct.inference.runs.fingerprint import differences
from pnct.inference.sampling.parallel import placed
from pnct.user_warning import warn_user

PATTERN = "step-*.npz"


class Checkpoint(NamedTuple):
    """The state after some steps, {field: array} with one entry per step made, and what is remembered.

    memory: a pytree whose arrays, unlike those of the state, may grow.
    """

    state: Any
    history: dict[str, np.ndarray]
    memory: Any = None


def save_checkpoint(directory: Path, step: int, checkpoint: Checkpoint, run: dict) -> Path:
    """Writes `step-<step>.npz` and returns its path. run: what the run is of, from
    `fingerprint.describe_run`.
    """
    leaves = {name: leaf for part in Checkpoint._fields for name, leaf in _leaves(checkpoint, part).items()}
    keys = {name: _key_kind(leaf) for name, leaf in leaves.items() if is_key(leaf)}
    path = directory / f"step-{step:09d}.npz"
    arrays = {name: host_array(leaf) for name, leaf in leaves.items()}
    write_archive(path, arrays, {"step": step, "run": run, "keys": keys})
    return path


def load_checkpoint(path: Path, like: Checkpoint, run: dict, fields: tuple[str, ...] = ()) -> Checkpoint:
    """The checkpoint in a file, its state and memory with the structure of those of `like`. fields: of the
    history, where it has to have these.

    Raises DamagedError where the file is not what was written, and ValueError where it is of another run,
    saying what differs.
    """
    arrays, header = read_archive(path)
    _refuse("a checkpoint of this run", path, differences(header["run"], run))
    keys = header["keys"]
    found = {name: _shape(x, keys.get(name)) for name, x in arrays.items() if name.startswith("state/")}
    expected = {name: _shape_of(leaf) for name, leaf in _leaves(like, "state").items()}
    _refuse("a checkpoint of this model and optimiser", path, differences(found, expected))
    found = sorted(name for name in arrays if name.startswith("memory/"))
    _refuse("a checkpoint of this workflow", path, differences(found, sorted(_leaves(like, "memory"))))

    history = {name.removeprefix("history/"): x for name, x in arrays.items() if name.startswith("history/")}
    different = sorted(set(history) ^ set(fields))
    if fields and history:
        _refuse("a history with the fields of this program", path, ", ".join(different))

    def restored(part):
        leaves = [_restored(arrays[name], keys.get(name), leaf) for name, leaf in _leaves(like, part).items()]
        return jax.tree.unflatten(jax.tree.structure(getattr(like, part)), leaves)

    return Checkpoint(restored("state"), history, restored("memory"))


def newest(
    directory: Path, like: Checkpoint, run: dict, fields: tuple[str, ...] = ()
) -> tuple[Path, Checkpoint] | None:
    """The newest intact checkpoint of a directory, see `load_checkpoint`, or None where there is no file of
    this kind.

    Warns of every damaged file that is passed over. Raises ValueError where all are damaged, or where one is
    of another run.
    """
    paths = sorted(directory.glob(PATTERN), reverse=True)
    for path in paths:
        try:
            return path, load_checkpoint(path, like, run, fields)
        except DamagedError as error:
            warn_user(f"{error} The checkpoint before it is used instead.")
    if paths:
        raise ValueError(
            f"Expected an intact checkpoint in {directory}; got {len(paths)}, all of them damaged."
        )
    return None


def keep_only(directory: Path, paths: tuple[Path | None, ...]) -> None:
    """Removes the checkpoints that are not among `paths`, and what an interrupted writing has left behind."""
    for path in (*directory.glob(PATTERN), *directory.glob(f".{PATTERN}.part")):
        if path not in paths:
            path.unlink(missing_ok=True)


def _leaves(checkpoint: Checkpoint, part: str) -> dict[str, Any]:
    return named_leaves(part, getattr(checkpoint, part))


def _refuse(expected: str, path: Path, different: str) -> None:
    if different:
        raise ValueError(f"Expected {expected}; got {path}, which differs in {different}.")


def _key_kind(leaf) -> str | None:
    return str(jax.random.key_impl(leaf)) if is_key(leaf) else None


def _shape(array: np.ndarray, key: str | None) -> dict[str, Any]:
    return {"shape": list(array.shape), "dtype": str(array.dtype), "key": key}


def _shape_of(leaf) -> dict[str, Any]:
    return _shape(host_array(leaf), _key_kind(leaf))


def _restored(array: np.ndarray, key: str | None, like):
    if isinstance(like, np.ndarray):
        return array
    array = jnp.asarray(array)
    leaf = array if key is None else jax.random.wrap_key_data(array, impl=key)
    # On the same devices, and bound to them only if the first state was: or the step would be compiled once
    # more.
    return placed(leaf, like.sharding) if getattr(like, "committed", False) else leaf
