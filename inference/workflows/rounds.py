"""Training in rounds: steps of the optimiser, then what has an optimum in closed form: mixed states, and
shell energies of p(K).

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
from pnct.inference.sampling.sites import Params, module_of_kind
from pnct.inference.training.loop import Options, RunResult, Workflow, run_steps
from pnct.inference.training.step import TrainState, checked_state
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
    progress_bar: bool | str = True,
    checkpoint: str | Path | None = None,
) -> RunResult:
    """vfe.run with its num_steps parted into rounds, each followed by `diagonalise` and `fit_shell_energies`
    of num_samples fresh samples.

    What the model does not have is left out: a module of configuration_interaction; p(K), where K is given.
    In place of `fit_shell_energies`, a tabulated p(K) has `fit_untabulated`: its listed states are at their
    optimum already. The parameters returned are those after the last round; history has all steps.
    checkpoint: a directory; the same call made again goes on where it stood, with the same numbers.
    """
    num_steps = checked_integer("num_steps", num_steps, 0)
    rounds = checked_integer("rounds", rounds, 1)
    state = vfe.start(key, system) if init_state is None else checked_state(init_state)
    ends = num_steps * np.arange(1, rounds + 1) // rounds
    workflow = Rounds(vfe, key, ends, num_samples, system)

    return run_steps(
        vfe, vfe.updates(system), state, num_steps, (system,), Options(progress_bar, checkpoint), workflow
    )


class Rounds(Workflow):
    """The steps in closed form after the training steps `ends`."""

    def __init__(self, vfe: VariationalFreeEnergy, key, ends, num_samples: int, system):
        self.vfe = vfe
        self.key = key
        self.ends = [int(end) for end in ends]
        self.num_samples = num_samples
        self.system = system
        key_data = np.asarray(jax.random.key_data(key)).tolist()
        super().__init__({"rounds": {"ends": self.ends, "num_samples": num_samples, "key": key_data}})

    def begin(self, state: TrainState) -> TrainState:
        if module_of_kind(state.params, ConfigurationInteraction) is not None:
            key = jax.random.fold_in(self.key, len(self.ends))
            state = _at(diagonalise(self.vfe, key, state.params, self.num_samples, self.system), state)
        return self.after_step(0, state, None)

    def stage(self, step: int) -> str:
        current = next((i for i, end in enumerate(self.ends, 1) if step <= end), len(self.ends))
        return f"round {current}/{len(self.ends)}"

    def after_step(self, step, state, info) -> TrainState:
        for i, end in enumerate(self.ends):
            if end == step:
                key = jax.random.fold_in(self.key, i)
                params = closed_form_step(self.vfe, key, state.average, self.num_samples, self.system)
                state = _at(params, state)
        return state


def _at(params: Params, state: TrainState) -> TrainState:
    return state._replace(params=params, average=params)
