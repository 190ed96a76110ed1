r"""Trains until F no longer falls, judged by fresh samples at frozen parameters, and keeps the best
parameters by evaluated F.

The training history would not do: its batches are small, each belongs to other parameters, and a minimum over
them is a lucky draw. So after every block of steps F and S are evaluated anew. With e the standard errors, a
plateau is reached where, of the last `patience` evaluations i against the best one b before them and the one
a at their beginning,

    F_i > F_b - Z (e_i^2 + e_b^2)^(1/2) for all of them,        |S_last - S_a| < Z (e_last^2 + e_a^2)^(1/2)

The second condition is there because at low temperature F stands still long before the entropy does.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from pnct.inference.free_energy import VariationalFreeEnergy
from pnct.inference.runs.run_directory import stacked, unstacked
from pnct.inference.sampling.draws import Draws
from pnct.inference.sampling.sites import Params
from pnct.inference.training.loop import STOP, Options, Workflow, run_steps
from pnct.inference.training.step import Info, TrainState
from pnct.validation import checked_integer

Z = 2.0  # standard errors that count as a change


class Evaluations(NamedTuple):
    """Totals in hartree and k_B with standard errors, one entry per evaluation."""

    steps: Int[Array, " E"]
    free_energy: Float[Array, " E"]
    free_energy_error: Float[Array, " E"]
    entropy: Float[Array, " E"]
    entropy_error: Float[Array, " E"]


class PlateauResult(NamedTuple):
    """`params`: the best by evaluated F. Evaluate them once more: the lowest of several noisy values is too
    low on average.
    """

    params: Params
    state: TrainState
    history: Info
    evaluations: Evaluations
    reached: bool  # False where max_steps came first


def run_to_plateau(
    vfe: VariationalFreeEnergy,
    key,
    max_steps: int,
    *args,
    block: int = 50,
    num_samples: int = 4096,
    patience: int = 3,
    progress_bar: bool | str = True,
    checkpoint: str | Path | None = None,
    callback: Callable[[int, Info], None] | None = None,
) -> PlateauResult:
    """vfe.run in blocks of steps, each followed by an evaluation of num_samples samples, until the plateau or
    max_steps.

    checkpoint, callback: as in vfe.run; the same call made again goes on where it stood, with the same
    numbers. Raises ValueError where the directory holds another run, or one with another block or
    num_samples.
    """
    max_steps = checked_integer("max_steps", max_steps, 1)
    block = checked_integer("block", block, 1)
    num_samples = checked_integer("num_samples", num_samples, 2)
    patience = checked_integer("patience", patience, 1)
    state = vfe.start(key, *args)
    workflow = Plateau(vfe, key, args, max_steps, block, num_samples, patience, state.params)

    options = Options(progress_bar, checkpoint, callback)
    result = run_steps(vfe, vfe.updates(*args), state, max_steps, args, options, workflow)
    memory = workflow.memory
    return PlateauResult(
        memory["best"], result.state, result.history, memory["evaluations"], workflow.finished()
    )


class Plateau(Workflow):
    """Evaluates after every block of steps, remembers the best parameters and all evaluations, and stops."""

    def __init__(self, vfe, key, args, max_steps, block, num_samples, patience, params):
        self.vfe = vfe
        self.key = key
        self.args = args
        self.max_steps = max_steps
        self.block = block
        self.num_samples = num_samples
        self.patience = patience
        none = Evaluations(np.zeros(0, int), *(np.zeros(0) for _ in Evaluations._fields[1:]))
        super().__init__(
            settings={"evaluation": {"block": block, "num_samples": num_samples}},
            memory={"best": params, "evaluations": none},
        )

    def rows(self) -> list[dict[str, float]]:
        return unstacked(self.memory["evaluations"]._asdict())

    def finished(self) -> bool:
        return is_plateau(self.rows(), self.patience)

    def after_step(self, step, state, info):
        rows = self.rows()
        if step != min(self.block * (len(rows) + 1), self.max_steps):
            return None
        params = state.average
        key = jax.random.fold_in(self.key, step)
        rows.append(_row(step, self.vfe.evaluate(key, params, self.num_samples, *self.args)))
        best = self.memory["best"]
        if rows[-1]["free_energy"] <= min(row["free_energy"] for row in rows):
            best = params
        self.memory = {"best": best, "evaluations": Evaluations(**stacked(rows))}
        return STOP if self.finished() else None


def is_plateau(rows: list[dict], patience: int) -> bool:
    """Whether F and S have stood still during the last `patience` of these evaluations, dicts of the fields
    of Evaluations.
    """
    before = rows[:-patience]
    last = rows[-patience:]
    if not before:
        return False
    lowest = min(before, key=lambda row: row["free_energy"])

    def change(name, a, b):
        return (b[name] - a[name]) / np.hypot(a[f"{name}_error"], b[f"{name}_error"])

    falls = any(change("free_energy", lowest, row) < -Z for row in last)
    drifts = abs(change("entropy", before[-1], last[-1])) > Z
    return not (falls or drifts)


def _row(steps: int, draws: Draws) -> dict[str, float]:
    found = draws.estimates()
    F = found["free_energy"]
    S = found["entropy"]
    return Evaluations(steps, F.value, F.error, S.value, S.error)._asdict()
