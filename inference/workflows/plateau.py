r"""Trains until F no longer falls, as fresh samples at frozen parameters tell it, and keeps the best
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
from pnct.inference.runs.checkpoint import PATTERN, Checkpoint, keep_only, newest, save
from pnct.inference.runs.fingerprint import describe_run
from pnct.inference.runs.run_directory import BEST, stacked, unstacked
from pnct.inference.sampling.draws import Draws
from pnct.inference.sampling.sites import Params
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
    progress_bar: bool = True,
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
    state = vfe.init(key, *args)
    infos = []
    run = describe_run(vfe.model, vfe.hamiltonian_for(args), vfe.num_walkers, state, args)
    run |= {"evaluation": {"block": block, "num_samples": num_samples}}
    best, rows = _found(checkpoint, state.params, run)

    def train(steps):
        """Up to this number of steps in all; the averaged parameters."""
        nonlocal state, infos
        done = len(infos) if checkpoint is None else 0
        start = state if checkpoint is None else None
        told = callback and (lambda step, info: callback(done + step, info))
        result = vfe.run(
            key,
            steps - done,
            *args,
            init_state=start,
            progress_bar=progress_bar,
            checkpoint=checkpoint,
            callback=told,
        )
        state = result.state
        infos = infos[:done] + unstacked(result.history._asdict())
        return result.params

    while not rows or (rows[-1]["steps"] < max_steps and not is_plateau(rows, patience)):
        steps = min(block * (len(rows) + 1), max_steps)
        params = train(steps)
        rows.append(_row(steps, vfe.evaluate(jax.random.fold_in(key, steps), params, num_samples, *args)))
        if rows[-1]["free_energy"] <= min(row["free_energy"] for row in rows):
            best = params
        _keep(checkpoint, best, rows, run)

    train(rows[-1]["steps"])  # nothing to do, unless all of it was found in the directory
    return PlateauResult(
        best, state, Info(**stacked(infos)), Evaluations(**stacked(rows)), is_plateau(rows, patience)
    )


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


def _found(checkpoint, params: Params, run: dict) -> tuple[Params, list[dict]]:
    found = None if checkpoint is None else newest(Path(checkpoint) / BEST, params, run, Evaluations._fields)
    return (params, []) if found is None else (found[1].state, unstacked(found[1].history))


def _keep(checkpoint, best: Params, rows: list[dict], run: dict) -> None:
    if checkpoint is None or jax.process_index() > 0:
        return
    directory = Path(checkpoint) / BEST
    directory.mkdir(exist_ok=True)
    previous = sorted(directory.glob(PATTERN))[-1:]
    keep_only(
        directory, (*previous, save(directory, rows[-1]["steps"], Checkpoint(best, stacked(rows)), run))
    )
