"""A run that outlives its process: a directory with its last two checkpoints and steps.jsonl, one line per
step.

Nothing is asked of the caller but to make the same run again: it goes on from the newest sound checkpoint. A
checkpoint is written after every step whose writing costs no more than a twentieth of the time since the last
one, and at the end, however it comes. The log follows the checkpoint: what it says of later steps is cut off,
and those steps are made again.
"""

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np

from pnct.inference.runs.checkpoint import Checkpoint, keep_only, newest, save, write_atomically

LOG = "steps.jsonl"
BEST = "best"  # a folder in it, where a run to a plateau keeps its best parameters and all evaluations
WRITING_SHARE = 0.05  # of the time


@contextmanager
def run_directory(
    directory: str | Path, like: Any, run: dict, fields: tuple[str, ...]
) -> Iterator[tuple[Checkpoint, Callable[[Any, Any], None]]]:
    """Gives (checkpoint, record): where the run stands, and `record(state, info)`, to be called after each
    step.

    like: the state before the first step.  run: what the run is of.  info: a NamedTuple of host numbers and
    arrays, of these fields. Of several processes only the first one writes; all read, so the directory has to
    be one that all of them see. Raises ValueError where the directory holds another run, or a log and no
    checkpoint; OSError where it cannot be written.
    """
    directory = Path(directory)
    writes = jax.process_index() == 0
    directory.mkdir(parents=True, exist_ok=True)
    path, start = newest(directory, like, run, fields) or (None, Checkpoint(like, {}))
    if not writes:
        yield start, lambda state, info: None
        return
    log = directory / LOG
    if path is None and log.exists() and log.stat().st_size:
        raise ValueError(
            f"Expected a directory with a checkpoint, or a new one; got {directory}, which has only {LOG}."
        )

    infos = unstacked(start.history)
    latest = (start.state, len(infos))
    previous = path
    written = len(infos)
    cost = 0.0

    def write():
        nonlocal previous, written, cost, last
        begun = time.monotonic()
        state, done = latest
        new = save(directory, done, Checkpoint(state, stacked(infos[:done])), run)
        keep_only(directory, (previous, new))
        previous = new
        written = done
        last = time.monotonic()
        cost = last - begun

    last = time.monotonic()
    if path is None:
        write()
    write_atomically(log, "".join(log_line(step, info) for step, info in enumerate(infos, 1)).encode())
    with open(log, "a") as file:

        def record(state, info):
            nonlocal latest
            infos.append(info._asdict())
            latest = (
                state,
                len(infos),
            )  # at once: an interruption finds a state and as many lines as it has steps
            file.write(log_line(len(infos), infos[-1]))
            file.flush()
            if time.monotonic() - last >= cost / WRITING_SHARE:
                write()

        try:
            yield start, record
        finally:
            if latest[1] > written:
                write()


def clear(directory: Path) -> None:
    """Removes the checkpoints and the log, so that a run can start anew."""
    for folder in (directory, directory / BEST):
        keep_only(folder, ())
    (directory / LOG).unlink(missing_ok=True)


def stacked(infos: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """{field: array} with the step as first axis."""
    return {name: np.stack([np.asarray(info[name]) for info in infos]) for name in infos[0]} if infos else {}


def unstacked(history: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """The inverse of `stacked`."""
    steps = min((len(column) for column in history.values()), default=0)
    return [{name: column[i] for name, column in history.items()} for i in range(steps)]


def log_line(step: int, info: dict[str, Any]) -> str:
    """One step in JSON, which knows no nan: null stands where a number is not finite."""
    return (
        json.dumps({"step": step} | {name: _plain(np.asarray(info[name]).tolist()) for name in sorted(info)})
        + "\n"
    )


def _plain(x):
    if isinstance(x, list):
        return [_plain(y) for y in x]
    return None if isinstance(x, float) and not math.isfinite(x) else x
