"""The training loop: steps until their number is reached, with all that a long run needs around them.

Progress is shown, faults are told, every step is kept where a directory is given, and signals wait for the
end of the step.
"""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from signal import Signals
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pnct.inference.runs.run_directory import run_directory, stacked, unstacked
from pnct.inference.runs.signals import Interrupted, deferred_signals
from pnct.inference.sampling.sites import Params, Sites
from pnct.inference.training import failures
from pnct.inference.training.progress import progress
from pnct.inference.training.step import Info, TrainState


class RunResult(NamedTuple):
    """What `run` returns: the averaged parameters, the state to go on from, an Info of arrays with one entry
    per step.
    """

    params: Params
    state: TrainState
    history: Info


def train(
    update: Callable[[TrainState], tuple[TrainState, Info]],
    start: TrainState,
    num_steps: int,
    num_walkers: int,
    sites: Sites,
    run: dict,
    progress_bar: bool,
    checkpoint: str | Path | None,
    callback: Callable[[int, Info], None] | None,
    unit: str,
) -> RunResult:
    """The run of VariationalFreeEnergy, from `start`. run: its description, by which its checkpoints are
    known.

    unit: the name of that of the energies in `Info`.
    """
    state = start
    infos = []
    with ExitStack() as stack:

        def signalled():
            return None

        def record(state, info):
            return None

        if checkpoint is not None:
            found, record = stack.enter_context(run_directory(checkpoint, start, run, Info._fields))
            state = found.state
            infos = [Info(**info) for info in unstacked(found.history)]
            signalled = stack.enter_context(deferred_signals())
        done = len(infos)
        if done > num_steps:
            raise ValueError(
                f"Expected num_steps >= {done}, the steps that {checkpoint} holds; got {num_steps}."
            )

        shown = progress_bar and done < num_steps and jax.process_index() == 0
        report = stack.enter_context(progress(num_steps, shown, sites.num_particles, done, unit))
        warn = stack.enter_context(failures.failure_reports(failures.stages(sites), num_walkers))
        for step in range(done, num_steps):
            state, info = update(state)
            infos.append(jax.device_get(info))
            record(state, infos[-1])
            report(step, infos[-1])
            warn(step + 1, infos[-1])
            if callback is not None:
                callback(step + 1, infos[-1])

            skipped = failures.skipped_in_a_row(infos)
            if skipped and skipped % failures.STEPS_IN_A_ROW == 0:
                raise failures.TrainingFailedError(
                    _failure(step + 1, skipped, checkpoint), _result(state, infos)
                )
            if signalled() and step + 1 < num_steps:
                raise Interrupted(signalled(), _farewell(signalled(), step + 1, num_steps, checkpoint))
    return _result(state, infos)


def _result(state: TrainState, infos: list[Info]) -> RunResult:
    columns = stacked([info._asdict() for info in infos]) or dict.fromkeys(Info._fields, np.zeros(0))
    return RunResult(state.average, state, Info(**columns))


def _failure(step: int, skipped: int, checkpoint) -> str:
    kept = (
        "are in the attribute `result` of this error" if checkpoint is None else f"are kept in {checkpoint}"
    )
    return f"The last {skipped} updates, up to step {step}, were not finite and not made. The last good parameters {kept}."


def _farewell(signum: int, step: int, num_steps: int, checkpoint) -> str:
    return (
        f"Stopped by {Signals(signum).name} after step {step} of {num_steps}; all of it is kept in {checkpoint}. "
        "To go on, make the same run again."
    )


def in_precision(tree, dtype):
    """The same tree, its real arrays in `dtype`: a `TrainState` to train on from, or parameters to evaluate.

    jax knows float64 only where jax_enable_x64 is set. The linear system of the natural gradient is then
    solved in float64 whatever the parameters have.
    """
    return jax.tree.map(lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree)
