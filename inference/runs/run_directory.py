"""A run that outlives its process: a directory with its last two checkpoints and steps.jsonl, one line per
step.

Nothing is asked of the caller but to make the same run again: it goes on from the newest intact checkpoint. A
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

from pnct.inference.runs.archive import write_atomically
from pnct.inference.runs.checkpoint import Checkpoint, keep_only, newest, save_checkpoint

LOG = "steps.jsonl"
WRITING_SHARE = 0.05  # of the time


def found_in(
    directory: str | Path, like: Checkpoint, run: dict, fields: tuple[str, ...]
) -> tuple[Path, Checkpoint] | None:
    """Where the run in this directory stands, and in which file; None where it has not begun. Makes the
    directory.

    like: before the first step.  run: what the run is of.  fields: of the history. Of several processes all
    read, so the directory has to be one that all of them see. Raises ValueError where the directory holds
    another run, or a log and no checkpoint; OSError where it cannot be written.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    found = newest(directory, like, run, fields)
    log = directory / LOG
    if found is None and jax.process_index() == 0 and log.exists() and log.stat().st_size:
        raise ValueError(
            f"Expected a directory with a checkpoint, or a new one; got {directory}, which has only {LOG}."
        )
    return found


@contextmanager
def run_directory(
    directory: str | Path, path: Path | None, start: Checkpoint, run: dict, memory: Callable[[], Any]
) -> Iterator[Callable]:
    """A hook that keeps the run. start: where it stands, as found in the file `path`, or new, with None.
    memory: gives what is to be kept beside the state after a step.

    The hooks that change the state come before it: a checkpoint holds all that belongs to its step. Of
    several processes only the first one writes.
    """
    directory = Path(directory)
    if jax.process_index() > 0:
        yield _nothing
        return

    infos = unstacked(start.history)
    latest = (start.state, len(infos), start.memory)
    previous = path
    written = len(infos)
    cost = 0.0

    def write():
        nonlocal previous, written, cost, last
        begun = time.monotonic()
        state, done, remembered = latest
        new = save_checkpoint(directory, done, Checkpoint(state, stacked(infos[:done]), remembered), run)
        keep_only(directory, (previous, new))
        previous = new
        written = done
        last = time.monotonic()
        cost = last - begun

    last = time.monotonic()
    if previous is None:
        write()
    write_atomically(
        directory / LOG, "".join(log_line(step, info) for step, info in enumerate(infos, 1)).encode()
    )
    with open(directory / LOG, "a") as file:

        def after_step(step, state, info):
            nonlocal latest
            infos.append(info._asdict())
            latest = (state, len(infos), memory())  # at once: whatever interrupts finds what belongs together
            file.write(log_line(len(infos), infos[-1]))
            file.flush()
            if time.monotonic() - last >= cost / WRITING_SHARE:
                write()

        try:
            yield after_step
        finally:
            if latest[1] > written:
                write()


def clear(directory: Path) -> None:
    """Removes the checkpoints and the log, so that a run can start anew."""
    keep_only(directory, ())
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


def _nothing(step, state, info) -> None:
    return None
