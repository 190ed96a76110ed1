"""The training loop, and the hooks around it:  state, info = update(state),  then each hook sees the step.

A hook is a context manager, entered before the first step and left at the end, however that comes, that gives
a function (step, state, info) -> None, a new state, or STOP; step counts from 1. Progress, failure reports,
the directory of a run, callbacks, signals and the workflows are such hooks.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pnct.inference.runs.checkpoint import Checkpoint
from pnct.inference.runs.fingerprint import describe_run
from pnct.inference.runs.launch import connect
from pnct.inference.runs.run_directory import found_in, run_directory, stacked, unstacked
from pnct.inference.runs.signals import Interrupted, stopped_by_signals
from pnct.inference.sampling.inputs import check_outside_of_jit
from pnct.inference.sampling.sites import Params, read_sites
from pnct.inference.training.failures import (
    TrainingFailedError,
    failure_reports,
    given_up,
    stages,
)
from pnct.inference.training.progress import progress
from pnct.inference.training.step import Info, TrainState

STOP = object()  # what a hook returns that ends the run after this step

Hook = AbstractContextManager[Callable[[int, TrainState, Info], TrainState | object | None]]


class RunResult(NamedTuple):
    """What `run` returns: the averaged parameters, the state to go on from, an Info of arrays with one entry
    per step.
    """

    params: Params
    state: TrainState
    history: Info


class Options(NamedTuple):
    """How a run is shown and kept; none of it changes a number."""

    progress_bar: bool | str = True  # a text is what its lines begin with
    checkpoint: str | Path | None = None
    callback: Callable[[int, Info], None] | None = None


class Workflow:
    """What is done between the steps of a run. This one does nothing.

    settings: plain JSON, part of the fingerprint.  memory: a pytree of arrays, kept in the checkpoints.
    """

    def __init__(self, settings: dict[str, Any] | None = None, memory: Any = None):
        self.settings = settings or {}
        self.memory = memory

    def begin(self, state: TrainState) -> TrainState:
        """The state before the first step, where the run is a new one."""
        return state

    def finished(self) -> bool:
        """Whether a run that was found needs no further step."""
        return False

    def stage(self, step: int) -> str:
        """What this step is a part of, in the words of the progress line."""
        return ""

    def after_step(self, step: int, state: TrainState, info: Info) -> TrainState | object | None:
        """As of a hook."""


def train(
    update: Callable[[TrainState], tuple[TrainState, Info]],
    start: TrainState,
    num_steps: int,
    hooks: tuple[Hook, ...] = (),
    infos: tuple[Info, ...] = (),
) -> RunResult:
    """Steps from `start` until there are num_steps of them. infos: of the steps made before, on the host.

    Interrupted and TrainingFailedError leave with the result up to there.
    """
    infos = list(infos)
    made = (start, len(infos))
    try:
        with ExitStack() as stack:
            # Signals are caught before a directory is made, and that is done before "compiling" is shown.
            after_step = [stack.enter_context(hook) for hook in reversed(hooks)][::-1]
            for step in range(len(infos) + 1, num_steps + 1):
                state, info = update(made[0])
                infos.append(jax.device_get(info))
                made = (state, step)
                answers = []
                for look in after_step:
                    answers.append(look(step, made[0], infos[-1]))
                    if isinstance(answers[-1], TrainState):
                        made = (answers[-1], step)
                if STOP in answers:
                    break
    except (Interrupted, TrainingFailedError) as stop:
        stop.result = _result(made[0], infos[: made[1]])
        raise
    return _result(made[0], infos)


def run_steps(
    vfe,
    update: Callable[[TrainState], tuple[TrainState, Info]],
    start: TrainState,
    num_steps: int,
    args: tuple,
    options: Options,
    workflow: Workflow | None = None,
) -> RunResult:
    """`train` from `start` with all that a long run of a VariationalFreeEnergy needs around it. args: of the
    model.

    Raises ValueError where the directory holds another run, or more steps.
    """
    check_outside_of_jit(start, args)
    connect(vfe.sharding)
    workflow = Workflow() if workflow is None else workflow
    directory = options.checkpoint
    hamiltonian = vfe.hamiltonian_for(args)
    run = describe_run(vfe, hamiltonian, start, args) | workflow.settings
    found = None
    if directory is not None:
        found = found_in(directory, Checkpoint(start, {}, workflow.memory), run, Info._fields)
    if found is None:
        path = None
        begun = Checkpoint(workflow.begin(start), {}, workflow.memory)
    else:
        path, begun = found
        workflow.memory = begun.memory
    infos = [Info(**info) for info in unstacked(begun.history)]
    done = len(infos)
    if done > num_steps:
        raise ValueError(f"Expected num_steps >= {done}, the steps that {directory} holds; got {num_steps}.")
    if workflow.finished():
        num_steps = done

    sites = read_sites(vfe.model, start.params, args)
    name = options.progress_bar if isinstance(options.progress_bar, str) else ""

    def label(step):
        return "".join(f"{part}   " for part in (name, workflow.stage(step)) if part)

    shown = bool(options.progress_bar) and done < num_steps and jax.process_index() == 0
    hooks = [
        progress(num_steps, shown, sites.num_particles, done, hamiltonian.unit, label=label),
        nullcontext(workflow.after_step),
        failure_reports(stages(sites), vfe.num_walkers),
        nullcontext(_callback(options.callback)),
        given_up(infos, directory),
        stopped_by_signals(done, num_steps, directory),
    ]
    if directory is not None:  # after what changes the state, before what may end the run
        hooks.insert(2, run_directory(directory, path, begun, run, lambda: workflow.memory))
    return train(update, begun.state, num_steps, tuple(hooks), tuple(infos))


def _callback(callback):
    def after_step(step, state, info):
        if callback is not None:
            callback(step, info)

    return after_step


def _result(state: TrainState, infos: list[Info]) -> RunResult:
    columns = stacked([info._asdict() for info in infos]) or dict.fromkeys(Info._fields, np.zeros(0))
    return RunResult(state.average, state, Info(**columns))


def in_precision(tree, dtype):
    """The same tree, its real arrays in `dtype`: a `TrainState` to train on from, or parameters to evaluate.

    jax knows float64 only where jax_enable_x64 is set. The linear system of the natural gradient is then
    solved in float64 whatever the parameters have.
    """
    return jax.tree.map(lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree)
