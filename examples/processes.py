"""--processes N: the same command in N processes on this machine, each on its share of the cores and of the
walkers.

XLA hardly spreads the many small operations of a walker over the threads of one process; several processes
share the walkers instead, and tell each other only sums. The numbers are those of one process, to rounding.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack

import jax
from shared import PLACE, output_directory

PATIENCE = 10.0  # seconds for the others to end by themselves, once one has failed


def process_flags(parser: argparse.ArgumentParser) -> None:
    """--processes and --distributed."""
    many = parser.add_mutually_exclusive_group()
    many.add_argument(
        "--processes", type=int, default=1, help="how many to start on the cores of this machine"
    )
    many.add_argument(
        "--distributed", action="store_true", help="one of several processes, as Slurm or MPI start them"
    )


def share_the_work(args: argparse.Namespace, parser: argparse.ArgumentParser, command: list[str]) -> None:
    """Joins the other processes, if there are to be any. To be called before jax is used.

    With --processes > 1 it starts `command`, a script and its flags, so many times, and ends with their
    status. What is wrong with --out is said before.
    """
    jax.config.update(
        "jax_enable_preemption_service", False
    )  # SIGTERM ends a process where no training waits for it
    if args.distributed:
        jax.distributed.initialize()
    elif PLACE in os.environ:
        port, number, rank = map(int, os.environ[PLACE].split())
        jax.distributed.initialize(f"localhost:{port}", number, rank)
    elif args.processes > 1:
        if args.processes > len(_cores()):
            parser.error(
                f"Expected --processes <= {len(_cores())}, the cores of this machine; got {args.processes}."
            )
        output_directory(args, parser)
        sys.exit(_run(command, args.processes))
    elif args.processes < 1:
        parser.error(f"Expected --processes >= 1; got {args.processes}.")


def _cores() -> list[int]:
    return (
        sorted(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else list(range(os.cpu_count() or 1))
    )


def _shares(number: int) -> list[list[int]]:
    cores = _cores()
    return [cores[rank::number] for rank in range(number)]


def _move_to(cores: list[int]) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


def _run(command: list[str], number: int) -> int:
    """The first status that is not zero, or zero. Only the first process is heard, unless another one fails
    before it.
    """
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    # Two threads each: with one, a process that waits for the others can do nothing else.
    setting = {"PJRT_NPROC": str(max(2, len(_cores()) // number)), "JAX_PLATFORMS": "cpu"} | os.environ
    with ExitStack() as stack:
        errors = [None] + [stack.enter_context(tempfile.TemporaryFile()) for _ in range(1, number)]
        processes = []
        for rank, (error, cores) in enumerate(zip(errors, _shares(number), strict=True)):
            # Inherited: a process that moves to its cores by itself leaves threads behind that it has started
            # before.
            _move_to(cores)
            place = {PLACE: f"{port} {number} {rank}"}
            output = subprocess.DEVNULL if rank else None
            processes.append(
                subprocess.Popen([sys.executable, *command], env=setting | place, stdout=output, stderr=error)
            )
        # Ctrl-C reaches all of them by itself; each ends when all is saved, and this one waits for that.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: [process.terminate() for process in processes])
        failed = _first_failure(processes)
        if failed:
            errors[failed].seek(0)
            sys.stderr.write(errors[failed].read().decode())
    status = processes[failed or 0].returncode
    return status if status >= 0 else 128 - status


def _first_failure(processes: list[subprocess.Popen]) -> int | None:
    """Waits for all. The rank of the first with a status that is not zero; the others have to
    follow it soon.
    """
    failed = None
    deadline = float("inf")
    while True:
        states = [process.poll() for process in processes]
        if failed is None and any(states):
            failed = next(rank for rank, state in enumerate(states) if state)
            deadline = time.monotonic() + PATIENCE
        if None not in states:
            return failed
        if time.monotonic() > deadline:
            for process in processes:
                process.kill()
        time.sleep(0.1)
