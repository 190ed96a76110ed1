"""Training in rounds: steps of the optimiser, then what has an optimum in closed form: mixed states, and
levels of p(K).

Each helps the other: the flow is trained for the states as they are, and the best states depend on the flow.
Before the first round the states are mixed without training: which combinations of degenerate determinants
there are is settled then, and the flow does not first learn to serve the wrong ones.
"""

from pathlib import Path

import jax
import numpy as np

from pnct.inference.closed_form.diagonalisation import diagonalise
from pnct.inference.closed_form.step import closed_form_step
from pnct.inference.free_energy import VariationalFreeEnergy
from pnct.inference.sampling.sites import module_of_kind
from pnct.inference.training.loop import RunResult
from pnct.inference.training.step import Info, TrainState
from pnct.states.configuration_interaction import ConfigurationInteraction
from pnct.validation import checked_integer


def run_in_rounds(
    vfe: VariationalFreeEnergy,
    key,
    num_steps: int,
    system,
    rounds: int = 2,
    num_samples: int = 16_384,
    init_state: TrainState | None = None,
    progress_bar: bool = True,
    checkpoint: str | Path | None = None,
) -> RunResult:
    """vfe.run with its num_steps parted into rounds, each followed by `diagonalise` and `fit_shell_energies`
    of num_samples fresh samples.

    What the model does not have is left out: a module "ci" of configuration_interaction; p(K), where K is
    given. In place of `fit_shell_energies`, a tabulated p(K) has `fit_untabulated`: its listed states are at
    their optimum already. The parameters returned are those after the last round; history has all steps.
    checkpoint: a directory, with a folder for each round; the same call made again goes on where it stood,
    with the same numbers.
    """
    num_steps = checked_integer("num_steps", num_steps, 0)
    rounds = checked_integer("rounds", rounds, 1)
    state = vfe.init(key, system) if init_state is None else init_state
    parts = np.diff(num_steps * np.arange(rounds + 1) // rounds)
    if module_of_kind(state.params, ConfigurationInteraction) is not None:
        params = diagonalise(vfe, jax.random.fold_in(key, rounds), state.params, num_samples, system)
        state = state._replace(params=params, average=params)
    histories = []
    for i, steps in enumerate(parts):
        directory = None if checkpoint is None else Path(checkpoint) / f"round_{i}"
        result = vfe.run(
            key, int(steps), system, init_state=state, progress_bar=progress_bar, checkpoint=directory
        )
        params = closed_form_step(vfe, jax.random.fold_in(key, i), result.params, num_samples, system)
        state = result.state._replace(params=params, average=params)
        histories.append(result.history)
    told = [history for history in histories if len(history.free_energy)] or histories[
        :1
    ]  # an empty one has no shapes
    return RunResult(state.params, state, Info(*(np.concatenate(x) for x in zip(*told, strict=True))))
