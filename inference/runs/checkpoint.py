"""A run's state in one file:  the sha256 of the rest, a line;  a header in JSON, a line;  the arrays, one
after the other.

The header names every array (its path in the state, shape, dtype) and what the run is of: model, system,
orbitals, versions. A file is complete or absent: it is written under another name, flushed to the disk and
renamed. There is no pickle, so a file holds numbers only and runs no code.
"""

import hashlib
import json
import math
import os
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pnct.inference.runs.fingerprint import differences
from pnct.inference.sampling.parallel import placed

PATTERN = "step-*.checkpoint"


class Checkpoint(NamedTuple):
    """The state after some steps, and {field: array} with one entry per step done."""

    state: Any
    history: dict[str, np.ndarray]


class DamagedError(ValueError):
    """A file that is not what was written: cut short, or changed."""


def save(directory: Path, step: int, checkpoint: Checkpoint, run: dict) -> Path:
    """Writes `step-<step>.checkpoint` and returns its path. run: what the run is of, from
    `description.describe_run`.
    """
    arrays = []
    entries = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(checkpoint._asdict()):
        entry, array = _entry(jax.tree_util.keystr(path), leaf)
        arrays.append(array)
        entries.append(entry)
    header = json.dumps({"step": step, "run": run, "arrays": entries}).encode()
    rest = b"\n".join([header, b"".join(array.tobytes() for array in arrays)])
    path = directory / f"step-{step:09d}.checkpoint"
    write_atomically(path, hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest)
    return path


def load(path: Path, like: Any, run: dict, fields: tuple[str, ...] = ()) -> Checkpoint:
    """The checkpoint in a file, its state with the structure of `like`. fields: of the history, where it has
    to have these.

    Raises DamagedError where the file is not what was written, and ValueError where it is of another run,
    saying what differs.
    """
    header, data = _read(path)
    different = differences(header["run"], run)
    if different:
        raise ValueError(f"Expected a checkpoint of this run; got {path}, which differs in {different}.")

    stored = {}
    offset = 0
    for entry in header["arrays"]:
        dtype = np.dtype(entry["dtype"])
        count = math.prod(entry["shape"])
        array = np.frombuffer(data, dtype, count, offset).reshape(entry["shape"])
        stored[entry["path"]] = (entry, array)
        offset += count * dtype.itemsize

    templates = jax.tree_util.tree_leaves_with_path({"state": like})
    expected = {
        e["path"]: e for e in (_entry(jax.tree_util.keystr(path), leaf)[0] for path, leaf in templates)
    }
    found = {name: entry for name, (entry, _) in stored.items() if name.startswith("['state']")}
    different = differences(found, expected)
    if different:
        raise ValueError(
            f"Expected a checkpoint of this model and optimiser; got {path}, which differs in {different}."
        )
    leaves = [
        _restored(*stored[name], leaf) for name, leaf in zip(expected, jax.tree.leaves(like), strict=True)
    ]
    history = {
        name[len("['history']['") : -2]: array
        for name, (_, array) in stored.items()
        if name.startswith("['history']")
    }
    different = sorted(set(history) ^ set(fields))
    if fields and history and different:
        raise ValueError(
            f"Expected a history with the fields of this program; got {path}, which differs in {', '.join(different)}."
        )
    return Checkpoint(jax.tree.unflatten(jax.tree.structure(like), leaves), history)


def newest(
    directory: Path, like: Any, run: dict, fields: tuple[str, ...] = ()
) -> tuple[Path, Checkpoint] | None:
    """The newest sound checkpoint of a directory, see `load`, or None where there is no file of this kind.

    Warns of every damaged file that is passed over. Raises ValueError where all are damaged, or where one is
    of another run.
    """
    paths = sorted(directory.glob(PATTERN), reverse=True)
    for path in paths:
        try:
            return path, load(path, like, run, fields)
        except DamagedError as error:
            warnings.warn(f"{error} The checkpoint before it is used instead.", stacklevel=2)
    if paths:
        raise ValueError(
            f"Expected a sound checkpoint in {directory}; got {len(paths)}, all of them damaged."
        )
    return None


def keep_only(directory: Path, paths: tuple[Path | None, ...]) -> None:
    """Removes the checkpoints that are not among `paths`, and what an interrupted writing has left behind."""
    for path in (*directory.glob(PATTERN), *directory.glob(f".{PATTERN}.part")):
        if path not in paths:
            path.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """The file holds either its old content or the new one, whenever the machine stops."""
    part = path.with_name(f".{path.name}.part")
    with open(part, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
    folder = os.open(path.parent, os.O_RDONLY)  # the new name itself has to reach the disk too
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _read(path: Path) -> tuple[dict, bytes]:
    digest, _, rest = path.read_bytes().partition(b"\n")
    if hashlib.sha256(rest).hexdigest().encode() != digest:
        raise DamagedError(f"{path} is damaged: its content does not have the checksum that it names.")
    header, _, data = rest.partition(b"\n")
    return json.loads(header), data


def _entry(path: str, leaf) -> tuple[dict, np.ndarray]:
    key = None
    if isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        key = str(jax.random.key_impl(leaf))
        leaf = jax.random.key_data(leaf)
    array = np.ascontiguousarray(jax.device_get(leaf))
    array = array.astype(array.dtype.newbyteorder("<"), copy=False).reshape(np.shape(leaf))
    return {"path": path, "shape": list(array.shape), "dtype": array.dtype.str, "key": key}, array


def _restored(entry: dict, array: np.ndarray, like):
    array = jnp.asarray(array.astype(array.dtype.newbyteorder("=")))
    leaf = array if entry["key"] is None else jax.random.wrap_key_data(array, impl=entry["key"])
    # On the same devices, and bound to them only if the first state was: or the step would be compiled once
    # more.
    return placed(leaf, like.sharding) if getattr(like, "committed", False) else leaf
