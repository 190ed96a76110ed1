"""Several processes of one program on this machine, each with its share of the cores and of the walkers.

XLA hardly spreads the many small operations of a walker over the threads of one process; several processes
share the walkers instead, and tell each other only sums. The numbers are those of one process, to rounding.

`launch` starts them; in each of them `join` finds the others, before jax is used. The first sum over all
processes connects them, for which jax gives them 30 seconds; but one may compile for minutes what another has
cached. So they meet at a barrier and connect before anything else is done, and later wait for each other as
long as it takes.
"""

import itertools
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack

import jax
import jax.numpy as jnp
import numpy as np
from jax._src import distributed
from jax.sharding import Mesh, PartitionSpec

PLACE = "PNCT_PLACE"  # port, number of processes and rank of one that `launch` has started
PATIENCE = 10.0  # seconds for the others to end by themselves, once a signal has ended one
GRACE = 2.0  # likewise, once one has failed
MEETING_MINUTES = 30  # that a process may come later than another
MEETINGS = itertools.count()  # every barrier has a name of its own


def join() -> None:
    """Finds the other processes of `launch`; of Slurm or MPI, where they have started this one. To be called
    before jax is used.
    """
    # SIGTERM ends a process where no training waits for it.
    jax.config.update("jax_enable_preemption_service", False)
    if PLACE in os.environ:
        port, number, rank = map(int, os.environ[PLACE].split())
        jax.distributed.initialize(f"localhost:{port}", number, rank)
    else:
        jax.distributed.initialize()
    connect()


def connect(mesh: Mesh | None = None) -> None:
    """Waits for all processes, and sums a number over the devices of the mesh, by default all: from then on
    they are connected. Nothing, where there is only one process.
    """
    if jax.process_count() == 1:
        return
    meet()
    mesh = Mesh(np.array(jax.devices()), ("devices",)) if mesh is None else mesh
    (axis,) = mesh.axis_names

    def total(x):
        return jax.lax.psum(x, axis)

    sums = jax.shard_map(total, mesh=mesh, in_specs=PartitionSpec(), out_specs=PartitionSpec())
    jax.jit(sums)(jnp.ones(())).block_until_ready()


def meet(minutes: float = MEETING_MINUTES) -> None:
    """A barrier: no process goes on before all are here. Raises an error where one does not come in time."""
    client = distributed.global_state.client
    if client is not None:
        client.wait_at_barrier(f"pnct-{next(MEETINGS)}", round(60_000 * minutes))


def launch(command: list[str], processes: int) -> int:
    """Starts `command`, a script and its flags, so many times; each has to `join`. Returns the first status
    that is not zero, or zero.

    Only the first process is heard, unless another one fails before it; the failure of one ends all. Raises
    ValueError where there are more processes than cores.
    """
    if not 1 <= processes <= len(cores()):
        raise ValueError(
            f"Expected processes between 1 and {len(cores())}, the cores of this machine; got {processes}."
        )
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    # Two threads each: with one, a process that waits for the others can do nothing else.
    setting = {"PJRT_NPROC": str(max(2, len(cores()) // processes)), "JAX_PLATFORMS": "cpu"} | os.environ
    with ExitStack() as stack:
        errors = [None] + [stack.enter_context(tempfile.TemporaryFile()) for _ in range(1, processes)]
        started = []
        for rank, (error, share) in enumerate(zip(errors, _shares(processes), strict=True)):
            # Inherited: a process that moves to its cores by itself leaves threads behind that it has started
            # before.
            _move_to(share)
            place = {PLACE: f"{port} {processes} {rank}"}
            output = subprocess.DEVNULL if rank else None
            started.append(
                subprocess.Popen([sys.executable, *command], env=setting | place, stdout=output, stderr=error)
            )
        # Ctrl-C reaches all of them by itself; each ends when all is saved, and this one waits for that.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: [process.terminate() for process in started])
        failed = _first_failure(started)
        if failed:
            errors[failed].seek(0)
            sys.stderr.write(errors[failed].read().decode(errors="replace"))
    status = started[failed or 0].returncode
    if failed is not None and not _by_signal(status):
        others = "the other has been ended" if processes == 2 else "the others have been ended"
        sys.stderr.write(f"Process {failed} of {processes} failed with status {status}; {others}.\n")
    return status if status >= 0 else 128 - status


def cores() -> list[int]:
    """Those that this process may use."""
    return (
        sorted(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else list(range(os.cpu_count() or 1))
    )


def _shares(number: int) -> list[list[int]]:
    every = cores()
    return [every[rank::number] for rank in range(number)]


def _move_to(cores: list[int]) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


def _first_failure(processes: list[subprocess.Popen]) -> int | None:
    """Waits for all. The rank of the first with a status that is not zero; the others have to follow it
    soon.
    """
    failed = None
    deadline = float("inf")
    while True:
        states = [process.poll() for process in processes]
        if failed is None and any(states):
            failed = next(rank for rank, state in enumerate(states) if state)
            deadline = time.monotonic() + (PATIENCE if _by_signal(states[failed]) else GRACE)
        if None not in states:
            return failed
        if time.monotonic() > deadline:
            for process in processes:
                process.kill()
        time.sleep(0.1)


def _by_signal(status: int) -> bool:
    """Whether it is of a process that SIGTERM or Ctrl-C ended."""
    ends = (signal.SIGINT, signal.SIGTERM)
    return status in (*(128 + signum for signum in ends), *(-signum for signum in ends))
