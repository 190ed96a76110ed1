"""Arrays by name in one file that numpy reads without pickle, and that shows any damage:

    file = np.load(path);  file["state/params/flow/weight"];  json.loads(file["header"].item())

It is an .npz, that is a zip archive, whose comment, the last 64 bytes, is the SHA-256 of all bytes before it.
A file is complete or absent: it is written under another name, flushed to the disk and renamed. There is no
pickle, so a file holds numbers only and runs no code.
"""

import hashlib
import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import jax
import numpy as np

HEADER = "header"
DIGEST = 64  # hexadecimal digits


class DamagedError(ValueError):
    """A file that is not what was written: cut short, or changed."""


def write_archive(path: Path, arrays: dict[str, np.ndarray], header: dict[str, Any]) -> None:
    """header: plain JSON."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in ({HEADER: np.array(json.dumps(header).encode())} | arrays).items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
        archive.comment = b"0" * DIGEST
    content = buffer.getvalue()[:-DIGEST]
    write_atomically(path, content + hashlib.sha256(content).hexdigest().encode())


def read_archive(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """What was written. Raises DamagedError where the content does not have the checksum that it names."""
    content = path.read_bytes()
    if hashlib.sha256(content[:-DIGEST]).hexdigest().encode() != content[-DIGEST:]:
        raise DamagedError(f"{path} is damaged: its content does not have the checksum that it names.")
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = dict(file)
    return arrays, json.loads(arrays.pop(HEADER).item())


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


def named_leaves(prefix: str, tree: Any) -> dict[str, Any]:
    """{"prefix/path/in/the/tree": leaf}, in the order of the leaves."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        "/".join([prefix, jax.tree_util.keystr(path, simple=True, separator="/")]).rstrip("/"): leaf
        for path, leaf in leaves
    }


def is_key(leaf) -> bool:
    """Whether it is a typed random key."""
    return isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def host_array(leaf) -> np.ndarray:
    """On the host, contiguous; of a random key its data."""
    array = np.asarray(jax.device_get(jax.random.key_data(leaf) if is_key(leaf) else leaf))
    return np.ascontiguousarray(array).reshape(array.shape)
